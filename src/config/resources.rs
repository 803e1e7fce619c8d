//! `resources`: what RUN steps may use of the machine. Tables merge per key.

use std::collections::BTreeMap;

use super::keys::Section;
use super::layers::Layers;
use super::size;
use super::table::{Reader, Role, Value};
use super::text::Text;
use crate::diag::{Located, Problem};
use crate::model::{Resources, Swap};

pub fn read(reader: &mut Reader<'_>, value: &Value<'_>) -> BTreeMap<String, Text> {
    let mut texts = BTreeMap::new();
    for (key, value) in reader.table("resources", value).into_iter().flatten() {
        let name = key.get_ref().as_ref();
        if !KEYS.contains(&name) {
            reader.unknown_key(Section::Resources, key);
            continue;
        }
        let Some(text) = reader.scalar_text(&format!("resources.{name}"), value, Role::Plain) else {
            continue;
        };
        match set(&mut Resources::default(), name, &text.value) {
            Some(()) => drop(texts.insert(name.to_string(), text)),
            None => reader.report(
                Problem::input("config::bad-value", format!("`{name}` cannot be `{}`", text.value))
                    .at(text.place(), "not a value of it")
                    .help(what_it_is(name)),
            ),
        }
    }
    texts
}

/// What all layers say; placed at its first key.
pub fn resolve(layers: &Layers<'_>) -> Option<Located<Resources>> {
    let texts = layers.merged("resources", |layer| &layer.resources);
    let place = texts.values().next()?.place();
    let mut resources = Resources::default();
    for (key, text) in texts {
        // What does not parse was reported while it was read.
        let _ = set(&mut resources, key, &text.value);
    }
    Some(Located::new(resources, place))
}

const KEYS: [&str; 7] =
    ["memory", "memory-swap", "cpu-shares", "cpu-period", "cpu-quota", "cpuset-cpus", "cpuset-mems"];

/// Sets a key; nothing when it takes no such value.
pub fn set(resources: &mut Resources, key: &str, text: &str) -> Option<()> {
    match key {
        "memory" => resources.memory = Some(size::parse(text)?),
        "memory-swap" if text == "-1" => resources.memory_swap = Some(Swap::Unlimited),
        "memory-swap" => resources.memory_swap = Some(Swap::Bytes(size::parse(text)?)),
        "cpu-shares" => resources.cpu_shares = Some(text.parse().ok()?),
        "cpu-period" => resources.cpu_period = Some(text.parse().ok()?),
        "cpu-quota" => resources.cpu_quota = Some(text.parse().ok()?),
        "cpuset-cpus" => resources.cpuset_cpus = Some(set_of_numbers(text)?),
        "cpuset-mems" => resources.cpuset_mems = Some(set_of_numbers(text)?),
        _ => return None,
    }
    Some(())
}

/// `0-3,6`
fn set_of_numbers(text: &str) -> Option<String> {
    let is_range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        matches!((first.parse::<u32>(), last.parse::<u32>()), (Ok(first), Ok(last)) if first <= last)
    };
    text.split(',').all(is_range).then(|| text.to_string())
}

pub fn what_it_is(key: &str) -> &'static str {
    match key {
        "memory" => "write bytes, or a whole number with a unit: `b`, `k`, `m` or `g`",
        "memory-swap" => "write a size such as `2g`, of memory and swap together, or -1 for no limit",
        "cpuset-cpus" | "cpuset-mems" => "write numbers and ranges, as `0-3,6`",
        _ => "write a whole number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_of_their_kind() {
        for (key, text, fits) in [
            ("memory", "512m", true),
            ("memory", "-1", false),
            ("memory-swap", "-1", true),
            ("cpu-shares", "1024", true),
            ("cpu-shares", "1.5", false),
            ("cpu-quota", "-1", true),
            ("cpuset-cpus", "0-3,6", true),
            ("cpuset-cpus", "3-0", false),
            ("cpuset-mems", "", false),
        ] {
            assert_eq!(set(&mut Resources::default(), key, text).is_some(), fits, "{key} {text}");
        }
    }
}
