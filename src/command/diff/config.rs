//! What configs say, key by key.

use std::collections::BTreeMap;

use serde_json::Value;

/// A key whose value differs; nothing where one side does not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub key: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

pub fn changes(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Change> {
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let changes = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    changes
        .map(|key| Change { key: key.clone(), old: old.get(key).cloned(), new: new.get(key).cloned() })
        .collect()
}

/// A config as keys with dots: `config.Env.PATH`. Layers and how they came about are told otherwise.
pub fn flat(config: &[u8]) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    let Ok(Value::Object(members)) = serde_json::from_slice(config) else { return flat };
    for (key, value) in members.iter().filter(|(key, _)| !matches!(key.as_str(), "rootfs" | "history")) {
        add(&mut flat, key, value);
    }
    flat
}

fn add(flat: &mut BTreeMap<String, String>, key: &str, value: &Value) {
    match value {
        Value::Null => {}
        Value::Object(members) if !members.is_empty() => {
            members.iter().for_each(|(name, value)| add(flat, &format!("{key}.{name}"), value));
        }
        Value::Array(items) if key == "config.Env" => {
            for item in items.iter().filter_map(Value::as_str) {
                let (name, value) = item.split_once('=').unwrap_or((item, ""));
                flat.insert(format!("{key}.{name}"), value.to_string());
            }
        }
        Value::String(text) => drop(flat.insert(key.to_string(), text.clone())),
        other => drop(flat.insert(key.to_string(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_differ_key_by_key() {
        let old = br#"{"os":"linux","history":[1],"config":{"Env":["A=1","B=2"],"Cmd":["x"],"Labels":{"a.b":"c"}}}"#;
        let new = br#"{"os":"linux","history":[2],"config":{"Env":["A=1","B=3"],"User":"1","Labels":null}}"#;
        let changes = changes(&flat(old), &flat(new));
        let told: Vec<_> = changes
            .iter()
            .map(|change| (change.key.as_str(), change.old.as_deref(), change.new.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("config.Cmd", Some("[\"x\"]"), None),
                ("config.Env.B", Some("2"), Some("3")),
                ("config.Labels.a.b", Some("c"), None),
                ("config.User", None, Some("1")),
            ]
        );
    }
}
