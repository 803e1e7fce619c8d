//! `attest`: `type=sbom`, `type=provenance,mode=max`.

use std::collections::BTreeMap;

use super::fields::{is_true, pairs};
use super::{Entry, texts_of, texts_value};
use crate::config::import::hcl::{Type, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    pub kind: String,
    pub is_disabled: bool,
    pub attributes: BTreeMap<String, String>,
}

impl Attestation {
    /// The text for `--sbom` and `--provenance`, and Compose's `sbom` and `provenance`.
    pub fn text(kind: &str, given: &str) -> String {
        match is_true(given) {
            Some(enabled) => format!("type={kind},disabled={}", !enabled),
            None => format!("type={kind},{given}"),
        }
    }

    fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, String> {
        let mut found = Self { kind: String::new(), is_disabled: false, attributes: BTreeMap::new() };
        for (key, value) in pairs {
            match key.trim().to_lowercase().as_str() {
                "type" => found.kind = value,
                "disabled" => {
                    found.is_disabled =
                        is_true(&value).ok_or_else(|| format!("`disabled` cannot be `{value}`"))?;
                }
                _ => {
                    found.attributes.insert(key, value);
                }
            }
        }
        Ok(found)
    }

    fn all(&self) -> BTreeMap<String, String> {
        let mut entries = self.attributes.clone();
        entries.insert("type".to_string(), self.kind.clone());
        if self.is_disabled {
            entries.insert("disabled".to_string(), "true".to_string());
        }
        entries
    }

    /// Key and value of everything.
    pub fn pairs(&self) -> Vec<(String, String)> {
        self.all().into_iter().collect()
    }
}

impl Entry for Attestation {
    fn parse(text: &str) -> Result<Vec<Self>, String> {
        let found = Self::from_pairs(pairs(text)?)?;
        if found.kind.is_empty() {
            return Err(format!("the attestation `{text}` has no `type`"));
        }
        Ok(vec![found])
    }

    fn from_table(value: &Value) -> Result<Self, String> {
        Self::from_pairs(texts_of(value)?)
    }

    fn to_value(&self) -> Value {
        texts_value(self.all())
    }

    fn to_json(&self) -> serde_json::Value {
        let texts = self.attributes.iter().map(|(key, value)| (key.clone(), value.clone().into()));
        let mut entries: BTreeMap<String, serde_json::Value> = texts.collect();
        entries.insert("type".to_string(), self.kind.clone().into());
        if self.is_disabled {
            entries.insert("disabled".to_string(), true.into());
        }
        entries.into_iter().collect()
    }

    fn kind() -> Type {
        Type::map(Type::String)
    }
}
