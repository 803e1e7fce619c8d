//! What the build file says of a target, then and now: the keys that differ.

use serde_json::{Map, Value};

use super::Reason;
use super::earlier::Earlier;
use crate::model::{Project, Target};
use crate::report::bake_json::target_json;

pub(super) fn reasons(project: &Project, earlier: &Earlier, target: &Target) -> Vec<Reason> {
    let Some(before) = &earlier.project else { return vec![Reason::NoBuildFile] };
    let Some(then) = before.targets.get(&target.name) else { return vec![Reason::New] };
    let mut keys = Vec::new();
    compare("", &object(before, then), &object(project, target), &mut keys);
    keys.into_iter().map(|key| Reason::Value { key }).collect()
}

fn object(project: &Project, target: &Target) -> Map<String, Value> {
    match target_json(project, target) {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// The paths of what differs, down to where one of both is no table.
fn compare(above: &str, before: &Map<String, Value>, after: &Map<String, Value>, keys: &mut Vec<String>) {
    for key in before.keys().chain(after.keys().filter(|key| !before.contains_key(*key))) {
        let shown = if key.contains(['.', '/']) { format!("\"{key}\"") } else { key.clone() };
        let path = if above.is_empty() { shown } else { format!("{above}.{shown}") };
        match (before.get(key), after.get(key)) {
            (one, other) if one == other => {}
            (Some(Value::Object(one)), Some(Value::Object(other))) => compare(&path, one, other, keys),
            _ => keys.push(path),
        }
    }
}
