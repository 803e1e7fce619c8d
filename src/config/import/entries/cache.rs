//! `cache-from` and `cache-to`: `type=registry,ref=…`, or bare references.

use std::collections::BTreeMap;

use super::fields::fields;
use super::{Entry, texts_json, texts_of, texts_value};
use crate::config::import::hcl::{Type, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    pub kind: String,
    pub attributes: BTreeMap<String, String>,
}

impl Cache {
    fn registry(reference: String) -> Self {
        let attributes = BTreeMap::from([("ref".to_string(), reference)]);
        Self { kind: "registry".to_string(), attributes }
    }

    fn all(&self) -> BTreeMap<String, String> {
        let mut entries = self.attributes.clone();
        entries.insert("type".to_string(), self.kind.clone());
        entries
    }

    /// Key and value of everything.
    pub fn pairs(&self) -> Vec<(String, String)> {
        self.all().into_iter().collect()
    }
}

impl Entry for Cache {
    fn parse(text: &str) -> Result<Vec<Self>, String> {
        let fields = fields(text)?;
        if !text.contains('=') {
            return Ok(fields.into_iter().map(Self::registry).collect());
        }
        if let [one] = fields.as_slice()
            && !one.contains('=')
        {
            return Ok(vec![Self::registry(one.clone())]);
        }
        let mut found = Self { kind: String::new(), attributes: BTreeMap::new() };
        for field in fields {
            let (key, value) =
                field.split_once('=').ok_or_else(|| format!("`{field}` is not of the form `key=value`"))?;
            match key.to_lowercase().as_str() {
                "type" => found.kind = value.to_string(),
                key => {
                    found.attributes.insert(key.to_string(), value.to_string());
                }
            }
        }
        if found.kind.is_empty() {
            return Err(format!("the cache `{text}` has no `type`"));
        }
        Ok(vec![found])
    }

    fn from_table(value: &Value) -> Result<Self, String> {
        let mut attributes = texts_of(value)?;
        match attributes.remove("type").filter(|kind| !kind.is_empty()) {
            Some(kind) => Ok(Self { kind, attributes }),
            None => Err("the cache has no `type`".to_string()),
        }
    }

    fn to_value(&self) -> Value {
        texts_value(self.all())
    }

    fn to_json(&self) -> serde_json::Value {
        texts_json(self.all())
    }

    fn kind() -> Type {
        Type::map(Type::String)
    }
}
