//! `ssh`: `default`, or `id=path,path`.

use serde_json::{Map, json};

use super::Entry;
use crate::config::import::hcl::{Entries, Type, Value, convert};

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ssh {
    pub id: String,
    pub paths: Vec<String>,
}

impl Entry for Ssh {
    fn parse(text: &str) -> Result<Vec<Self>, String> {
        let (id, paths) = match text.split_once('=') {
            Some((id, paths)) => (id, paths.split(',').map(str::to_string).collect()),
            None => (text, Vec::new()),
        };
        Ok(vec![Self { id: id.to_string(), paths }])
    }

    fn from_table(value: &Value) -> Result<Self, String> {
        let converted = convert(value, &Self::kind())?;
        let entry = |name: &str| converted.entries().and_then(|entries| entries.get(name));
        let id = entry("id").and_then(Value::as_str).unwrap_or_default().to_string();
        let paths = entry("paths").and_then(Value::elements).unwrap_or_default();
        let paths = paths.iter().map(|path| path.as_str().map(str::to_string));
        let paths: Option<Vec<String>> = paths.collect();
        Ok(Self { id, paths: paths.ok_or("a path is null")? })
    }

    fn to_value(&self) -> Value {
        let paths = Value::strings(self.paths.iter().map(String::as_str));
        let entries = [("id".into(), Value::from(self.id.as_str())), ("paths".into(), paths)];
        Value::object(entries.into_iter().collect::<Entries>())
    }

    fn to_json(&self) -> serde_json::Value {
        let mut entries = Map::new();
        if !self.id.is_empty() {
            entries.insert("id".to_string(), json!(self.id));
        }
        if !self.paths.is_empty() {
            entries.insert("paths".to_string(), json!(self.paths));
        }
        entries.into()
    }

    fn kind() -> Type {
        Type::optional(&[("id", Type::String), ("paths", Type::list(Type::String))])
    }
}
