//! `policy`: `filename=policy.rego,strict=true`.

use std::collections::BTreeMap;

use serde_json::json;

use super::fields::{is_true, pairs};
use super::{Entry, texts_value};
use crate::config::import::hcl::{Type, Value, convert};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub files: Vec<String>,
    pub resets: bool,
    pub is_disabled: bool,
    pub is_strict: Option<bool>,
    pub log_level: Option<String>,
}

const LEVELS: [&str; 7] = ["panic", "fatal", "error", "warning", "info", "debug", "trace"];

impl Policy {
    fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, String> {
        let mut found = Self::default();
        for (key, value) in pairs {
            let wrong = || format!("`{key}` cannot be `{value}`");
            let truth = || is_true(&value).ok_or_else(wrong);
            match key.trim().to_lowercase().as_str() {
                "filename" if value.is_empty() => return Err(wrong()),
                "filename" => found.files.push(value),
                "reset" => found.resets = truth()?,
                "disabled" => found.is_disabled = truth()?,
                "strict" => found.is_strict = Some(truth()?),
                "log-level" => {
                    let level = value.to_lowercase();
                    let level = if level == "warn" { "warning" } else { &level };
                    found.log_level =
                        Some(level.to_string()).filter(|level| LEVELS.contains(&level.as_str()));
                    if found.log_level.is_none() {
                        return Err(wrong());
                    }
                }
                _ => return Err(format!("a policy has no key `{key}`")),
            }
        }
        Ok(found)
    }

    /// Key and value of everything.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let files = self.files.iter().map(|file| ("filename", file.clone()));
        let flags = [("reset", self.resets), ("disabled", self.is_disabled)];
        let flags = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(key, _)| (key, "true".to_string()));
        let strict = self.is_strict.map(|strict| ("strict", strict.to_string()));
        let level = self.log_level.clone().map(|level| ("log-level", level));
        let all = files.chain(flags).chain(strict).chain(level);
        all.map(|(key, value)| (key.to_string(), value)).collect()
    }
}

impl Entry for Policy {
    fn parse(text: &str) -> Result<Vec<Self>, String> {
        Ok(vec![Self::from_pairs(pairs(text)?)?])
    }

    fn from_table(value: &Value) -> Result<Self, String> {
        let entries = value.entries().ok_or("a policy must be a text or a table")?;
        let mut texts = Vec::new();
        for (name, value) in entries.iter().filter(|(_, value)| !value.is_null()) {
            let text = convert(value, &Type::String)?;
            let text = text.as_str().unwrap_or_default();
            if !text.is_empty() {
                texts.push((name.to_string(), text.to_string()));
            }
        }
        Self::from_pairs(texts)
    }

    fn to_value(&self) -> Value {
        // Of several files a table holds one.
        let mut entries = BTreeMap::new();
        for (key, value) in self.pairs() {
            entries.entry(key).or_insert(value);
        }
        texts_value(entries)
    }

    /// Bake prints its own structure here, which it cannot read again.
    fn to_json(&self) -> serde_json::Value {
        let files: Vec<_> = self.files.iter().map(|file| json!({ "Filename": file, "Data": null })).collect();
        let files = if files.is_empty() { serde_json::Value::Null } else { files.into() };
        json!({
            "Files": files,
            "Reset": self.resets,
            "Disabled": self.is_disabled,
            "Strict": self.is_strict,
            "LogLevel": self.log_level,
        })
    }

    fn kind() -> Type {
        Type::map(Type::String)
    }
}
