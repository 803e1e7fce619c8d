//! `output`: `type=image,push=true`, a directory, or `-`.

use std::collections::BTreeMap;

use super::fields::{fields, pairs};
use super::{Entry, texts_json, texts_of, texts_value};
use crate::config::import::hcl::{Type, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    pub kind: String,
    pub attributes: BTreeMap<String, String>,
    pub destination: String,
}

impl Export {
    pub fn plain(kind: &str) -> Self {
        Self { kind: kind.to_string(), attributes: BTreeMap::new(), destination: String::new() }
    }

    fn all(&self) -> BTreeMap<String, String> {
        let mut entries = self.attributes.clone();
        entries.insert("type".to_string(), self.kind.clone());
        if !self.destination.is_empty() {
            entries.insert("dest".to_string(), self.destination.clone());
        }
        entries
    }

    /// Key and value of everything, the type first.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let mut entries = self.all();
        let kind = entries.remove("type").unwrap_or_default();
        std::iter::once(("type".to_string(), kind)).chain(entries).collect()
    }
}

impl Entry for Export {
    fn parse(text: &str) -> Result<Vec<Self>, String> {
        let fields = fields(text)?;
        if fields == [text] && !text.starts_with("type=") {
            let kind = if text == "-" { "tar" } else { "local" };
            return Ok(vec![Self { destination: text.to_string(), ..Self::plain(kind) }]);
        }
        let mut found = Self::plain("");
        for (key, value) in pairs(text)? {
            match key.to_lowercase().trim() {
                "type" => found.kind = value,
                "dest" => found.destination = value,
                key => {
                    found.attributes.insert(key.to_string(), value);
                }
            }
        }
        if found.kind.is_empty() {
            return Err(format!("the output `{text}` has no `type`"));
        }
        Ok(vec![found])
    }

    fn from_table(value: &Value) -> Result<Self, String> {
        let mut attributes = texts_of(value)?;
        let destination = attributes.remove("dest").unwrap_or_default();
        match attributes.remove("type").filter(|kind| !kind.is_empty()) {
            Some(kind) => Ok(Self { kind, attributes, destination }),
            None => Err("the output has no `type`".to_string()),
        }
    }

    fn to_value(&self) -> Value {
        let mut entries = self.all();
        entries.insert("dest".to_string(), self.destination.clone());
        texts_value(entries)
    }

    fn to_json(&self) -> serde_json::Value {
        texts_json(self.all())
    }

    fn kind() -> Type {
        Type::map(Type::String)
    }
}
