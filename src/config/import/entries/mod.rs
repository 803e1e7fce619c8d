//! Entries of lists that bake takes as text or as tables: caches, outputs, attestations, secrets, ssh keys,
//! policies, and the table of resources.
//!
//! What is printed is bake's JSON; what other targets refer to is a value.

mod attestation;
mod cache;
mod export;
mod fields;
mod policy;
mod resources;
mod secret;
mod ssh;

use std::collections::BTreeMap;

pub use attestation::Attestation;
pub use cache::Cache;
pub use export::Export;
pub use fields::{fields, is_true};
pub use policy::Policy;
pub use resources::Resources;
pub use secret::Secret;
pub use ssh::Ssh;

use super::hcl::{Entries, Type, Value, convert};

/// One entry of such a list.
pub trait Entry: Sized {
    /// What one text means; a list of registry references is several caches.
    fn parse(text: &str) -> Result<Vec<Self>, String>;
    fn from_table(value: &Value) -> Result<Self, String>;
    fn to_value(&self) -> Value;
    fn to_json(&self) -> serde_json::Value;
    /// The type of `to_value`.
    fn kind() -> Type;
}

/// The entries of a list of texts and tables; empty texts are none.
pub fn from_value<E: Entry>(value: &Value) -> Result<Vec<E>, String> {
    let (Value::List(_, elements) | Value::Tuple(elements)) = value else {
        return Err(format!("a list is required, but this is a {}", value.kind().name()));
    };
    let mut entries = Vec::new();
    for element in elements.iter() {
        match element {
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => entries.extend(E::parse(text)?),
            Value::Null(_) => return Err("an entry is null".to_string()),
            table => entries.push(E::from_table(table)?),
        }
    }
    Ok(entries)
}

/// The entries that texts mean; empty ones are none.
pub fn from_texts<E: Entry, S: AsRef<str>>(texts: &[S]) -> Result<Vec<E>, String> {
    let mut entries = Vec::new();
    for text in texts.iter().map(AsRef::as_ref).filter(|text| !text.is_empty()) {
        entries.extend(E::parse(text)?);
    }
    Ok(entries)
}

pub fn to_value<E: Entry>(entries: &[E]) -> Value {
    Value::list(E::kind(), entries.iter().map(E::to_value).collect())
}

/// The texts of a table, with nulls left out.
fn texts_of(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let converted = convert(value, &Type::map(Type::String))?;
    let entries = converted.entries().into_iter().flatten();
    Ok(entries.filter_map(|(name, value)| Some((name.to_string(), value.as_str()?.to_string()))).collect())
}

fn texts_value(entries: impl IntoIterator<Item = (String, String)>) -> Value {
    let entries = entries.into_iter();
    let entries = entries.map(|(name, text)| (name.into(), Value::from(text)));
    Value::map(Type::String, entries.collect::<Entries>())
}

fn texts_json(entries: BTreeMap<String, String>) -> serde_json::Value {
    entries.into_iter().map(|(name, text)| (name, serde_json::Value::String(text))).collect()
}

/// Removes what is there twice, the way bake does: the later one makes room for the last.
pub fn without_repeats<E: PartialEq>(entries: &mut Vec<E>) {
    for at in (0..entries.len().saturating_sub(1)).rev() {
        if let Some(offset) = entries[at + 1..].iter().position(|other| *other == entries[at]) {
            entries.swap_remove(at + 1 + offset);
        }
    }
}

/// Keeps of each name the last entry, at the place of the first.
pub fn last_of_each<E, N: PartialEq>(entries: Vec<E>, name: impl Fn(&E) -> N) -> Vec<E> {
    let mut kept: Vec<E> = Vec::new();
    for entry in entries {
        match kept.iter().position(|known| name(known) == name(&entry)) {
            Some(at) => kept[at] = entry,
            None => kept.push(entry),
        }
    }
    kept
}
