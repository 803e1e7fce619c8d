//! What kind of value a key takes, as the schema says it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::keys::{self, Section};
use super::schema;
use crate::diag::Problem;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Also where a table would do.
    List,
    Table,
    Boolean,
    /// A text, a number, a word.
    Single,
}

type Shapes = BTreeMap<String, Shape>;

/// The shape of `key`, if the section has it.
pub fn of(section: Section, key: &str) -> Option<Shape> {
    static TARGET: LazyLock<Shapes> = LazyLock::new(shapes_of::<schema::Target>);
    static ON: LazyLock<Shapes> = LazyLock::new(shapes_of::<schema::On>);
    static APPEND: LazyLock<Shapes> = LazyLock::new(shapes_of::<schema::Append>);
    static GROUP_APPEND: LazyLock<Shapes> = LazyLock::new(shapes_of::<schema::GroupAppend>);
    static GROUP: LazyLock<Shapes> = LazyLock::new(shapes_of::<schema::Group>);
    match section {
        Section::Target => TARGET.get(key).copied(),
        Section::On => ON.get(key).copied(),
        Section::GroupAppend => GROUP_APPEND.get(key).copied(),
        Section::Append => APPEND.get(key).copied(),
        Section::Group => GROUP.get(key).copied(),
        _ => None,
    }
}

/// Whether a target's key is a table with entries by name.
pub fn has_entries(key: &str) -> bool {
    of(Section::Target, key) == Some(Shape::Table)
}

/// Whether a target's value can be asked for by this key, in our spelling; else what is wrong with it. Entries have
/// names in tables alone.
pub fn key_problem(key: &str, has_entry: bool) -> Option<Problem> {
    let shape = match key {
        "push" | "load" => Some(Shape::Boolean),
        "inherits" | "matrix" | "on" | "append" | "remove" => None,
        _ => of(Section::Target, key),
    };
    match shape {
        None if of(Section::Target, key).is_some() => {
            Some(Problem::input("config::explain", format!("`{key}` is no value of a target")))
        }
        None => Some(keys::problem_of(Section::Target, key)),
        Some(Shape::Table) => None,
        Some(_) if has_entry => {
            let message = format!("`{key}` has no entries by name");
            Some(Problem::input("config::explain", message).help(format!("ask for `{key}`")))
        }
        Some(_) => None,
    }
}

fn shapes_of<T: JsonSchema>() -> Shapes {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    let definitions = schema.get("$defs").cloned().unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    properties
        .iter()
        .map(|(key, property)| {
            let mut types = Vec::new();
            gather(property, &definitions, &mut types);
            (key.clone(), shape_of(&types))
        })
        .collect()
}

fn shape_of(types: &[String]) -> Shape {
    let has = |name: &str| types.iter().any(|known| known == name);
    match () {
        () if has("array") => Shape::List,
        () if has("object") => Shape::Table,
        () if has("boolean") => Shape::Boolean,
        () => Shape::Single,
    }
}

/// The JSON types that a property may have. References are followed once, as far as they name its own form.
fn gather(schema: &Value, definitions: &Value, types: &mut Vec<String>) {
    match schema.get("type") {
        Some(Value::String(name)) => types.push(name.clone()),
        Some(Value::Array(names)) => types.extend(names.iter().filter_map(Value::as_str).map(str::to_string)),
        _ => {}
    }
    for form in schema.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
        gather(form, definitions, types);
    }
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/$defs/"));
    if let Some(definition) = name.and_then(|name| definitions.get(name)) {
        gather(definition, definitions, types);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_says_what_a_key_takes() {
        for (section, key, expected) in [
            (Section::Target, "tags", Some(Shape::List)),
            (Section::Target, "annotations", Some(Shape::List)),
            (Section::Target, "output", Some(Shape::List)),
            (Section::Target, "args", Some(Shape::Table)),
            (Section::Target, "no-cache", Some(Shape::Boolean)),
            (Section::Target, "network", Some(Shape::Single)),
            (Section::Target, "shm-size", Some(Shape::Single)),
            (Section::Target, "tgas", None),
            (Section::On, "args", Some(Shape::Table)),
            (Section::On, "tags", None),
            (Section::Group, "push", Some(Shape::Boolean)),
        ] {
            assert_eq!(of(section, key), expected, "{section:?} {key}");
        }
    }

    #[test]
    fn what_can_be_added_to_are_the_lists_of_a_target() {
        let lists = shapes_of::<schema::Target>()
            .into_iter()
            .filter(|(key, shape)| *shape == Shape::List && !matches!(key.as_str(), "inherits" | "remove"));
        let lists: Vec<String> = lists.map(|(key, _)| key).collect();
        let mut known = schema::keys_of::<schema::Append>();
        known.sort();
        assert_eq!(known, lists);
    }
}
