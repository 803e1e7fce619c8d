//! `resources`: limits of build steps.

use serde_json::{Map, json};

use crate::config::import::hcl::{Entries, Number, Type, Value, convert};

/// Keys with texts, and with whole numbers, in the order they are printed.
const KEYS: [(&str, bool); 7] = [
    ("memory", false),
    ("memory-swap", false),
    ("cpu-shares", true),
    ("cpu-period", true),
    ("cpu-quota", true),
    ("cpuset-cpus", false),
    ("cpuset-mems", false),
];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    texts: std::collections::BTreeMap<&'static str, String>,
    numbers: std::collections::BTreeMap<&'static str, i64>,
}

impl Resources {
    pub fn from_value(value: &Value) -> Result<Self, String> {
        let converted = convert(value, &kind())?;
        let mut found = Self::default();
        for (name, is_number) in KEYS {
            match converted.entries().and_then(|entries| entries.get(name)) {
                Some(Value::String(text)) => {
                    found.texts.insert(name, text.to_string());
                }
                Some(Value::Number(number)) if is_number => {
                    let whole = number.to_i64().ok_or_else(|| format!("`{name}` must be a whole number"))?;
                    found.numbers.insert(name, whole);
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Sets one key, as `--set` does.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let Some((name, is_number)) = KEYS.into_iter().find(|(name, _)| *name == key) else {
            return Err(format!("resources have no key `{key}`"));
        };
        if is_number {
            let number =
                value.parse().map_err(|_| format!("`{key}` must be a whole number, not `{value}`"))?;
            self.numbers.insert(name, number);
        } else {
            self.texts.insert(name, value.to_string());
        }
        Ok(())
    }

    /// Takes over what `other` says.
    pub fn merge(&mut self, other: &Self) {
        self.texts.extend(other.texts.iter().map(|(name, text)| (*name, text.clone())));
        self.numbers.extend(&other.numbers);
    }

    /// Key and value of everything that is said.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let texts = self.texts.iter().map(|(name, text)| (*name, text.clone()));
        texts.chain(self.numbers.iter().map(|(name, number)| (*name, number.to_string()))).collect()
    }

    pub fn to_value(&self) -> Value {
        let entries = KEYS.into_iter().map(|(name, is_number)| {
            let value = match (self.texts.get(name), self.numbers.get(name)) {
                (Some(text), _) => Value::from(text.as_str()),
                (None, Some(number)) => Value::Number(Number::from(*number)),
                (None, None) => Value::Null(if is_number { Type::Number } else { Type::String }),
            };
            (name.into(), value)
        });
        Value::object(entries.collect::<Entries>())
    }

    pub fn to_json(&self) -> serde_json::Value {
        let mut entries = Map::new();
        for (name, _) in KEYS {
            if let Some(text) = self.texts.get(name) {
                entries.insert(name.to_string(), json!(text));
            } else if let Some(number) = self.numbers.get(name) {
                entries.insert(name.to_string(), json!(number));
            }
        }
        entries.into()
    }
}

/// The type of the table.
pub fn kind() -> Type {
    let keys = KEYS.map(|(name, is_number)| (name, if is_number { Type::Number } else { Type::String }));
    Type::optional(&keys)
}
