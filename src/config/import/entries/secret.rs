//! `secret`: `id=token,env=TOKEN`, `id=key,src=key.pem`.

use serde_json::{Map, json};

use super::Entry;
use super::fields::fields;
use crate::config::import::hcl::{Entries, Type, Value, convert};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    pub id: String,
    pub source: String,
    pub environment: String,
}

impl Entry for Secret {
    fn parse(text: &str) -> Result<Vec<Self>, String> {
        let mut found = Self::default();
        let mut kind = String::new();
        for field in fields(text)? {
            let (key, value) =
                field.split_once('=').ok_or_else(|| format!("`{field}` is not of the form `key=value`"))?;
            match key.to_lowercase().as_str() {
                "type" if matches!(value, "file" | "env") => kind = value.to_string(),
                "type" => return Err(format!("there is no type of secret `{value}`")),
                "id" => found.id = value.to_string(),
                "source" | "src" => found.source = value.to_string(),
                "env" => found.environment = value.to_string(),
                other => return Err(format!("a secret has no key `{other}`")),
            }
        }
        if kind == "env" && found.environment.is_empty() {
            found.environment = std::mem::take(&mut found.source);
        }
        Ok(vec![found])
    }

    fn from_table(value: &Value) -> Result<Self, String> {
        let converted = convert(value, &Self::kind())?;
        let text = |name: &str| {
            let text = converted.entries().and_then(|entries| entries.get(name)?.as_str());
            text.unwrap_or_default().to_string()
        };
        Ok(Self { id: text("id"), source: text("src"), environment: text("env") })
    }

    fn to_value(&self) -> Value {
        let entries = [("id", &self.id), ("src", &self.source), ("env", &self.environment)];
        let entries = entries.into_iter().map(|(name, text)| (name.into(), Value::from(text.as_str())));
        Value::object(entries.collect::<Entries>())
    }

    fn to_json(&self) -> serde_json::Value {
        let mut entries = Map::new();
        for (name, text) in [("id", &self.id), ("src", &self.source), ("env", &self.environment)] {
            if !text.is_empty() {
                entries.insert(name.to_string(), json!(text));
            }
        }
        entries.into()
    }

    fn kind() -> Type {
        Type::optional(&[("id", Type::String), ("src", Type::String), ("env", Type::String)])
    }
}
