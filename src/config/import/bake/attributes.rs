//! The attributes of targets and groups: from values, and to values for those who refer to them.

use std::collections::BTreeMap;

use crate::config::import::entries::Resources;
use crate::config::import::entries::{self, Attestation, Cache, Entry, Export, Policy, Secret, Ssh};
use crate::config::import::hcl::{Entries, Type, Value, convert};
use crate::config::import::target::{Group, Target, Texts};

pub const GROUP_ATTRIBUTES: [&str; 2] = ["description", "targets"];

/// All of bake's; `matrix` and `name` say how many targets there are, not what they are.
pub const TARGET_ATTRIBUTES: [&str; 31] = [
    "annotations",
    "args",
    "attest",
    "cache-from",
    "cache-to",
    "call",
    "context",
    "contexts",
    "description",
    "dockerfile",
    "dockerfile-inline",
    "entitlements",
    "extra-hosts",
    "inherits",
    "labels",
    "matrix",
    "name",
    "network",
    "no-cache",
    "no-cache-filter",
    "output",
    "platforms",
    "policy",
    "pull",
    "resources",
    "secret",
    "shm-size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

type Read<T> = Result<T, String>;

/// Sets an attribute of a target.
pub fn set_target(target: &mut Target, name: &str, value: &Value) -> Read<()> {
    match name {
        "description" => target.description = text(value)?,
        "inherits" => target.inherits = texts(value)?.unwrap_or_default(),
        "annotations" => target.annotations = texts(value)?,
        "attest" => target.attest = list::<Attestation>(value)?,
        "context" => target.context = optional_text(value)?,
        "contexts" => target.contexts = plain_table(value)?,
        "dockerfile" => target.dockerfile = optional_text(value)?,
        "dockerfile-inline" => target.dockerfile_inline = optional_text(value)?,
        "args" => target.args = table(value)?,
        "labels" => target.labels = table(value)?,
        "tags" => target.tags = texts(value)?,
        "cache-from" => target.cache_from = list::<Cache>(value)?,
        "cache-to" => target.cache_to = list::<Cache>(value)?,
        "target" => target.stage = optional_text(value)?,
        "secret" => target.secrets = list::<Secret>(value)?,
        "ssh" => target.ssh = list::<Ssh>(value)?,
        "platforms" => target.platforms = texts(value)?,
        "output" => target.outputs = list::<Export>(value)?,
        "pull" => target.pull = optional_bool(value)?,
        "no-cache" => target.no_cache = optional_bool(value)?,
        "network" => target.network = optional_text(value)?,
        "no-cache-filter" => target.no_cache_filter = texts(value)?,
        "shm-size" => target.shm_size = optional_text(value)?,
        "ulimits" => target.ulimits = texts(value)?,
        "resources" if value.is_null() => target.resources = None,
        "resources" => target.resources = Some(Resources::from_value(value)?),
        "call" => target.call = optional_text(value)?,
        "entitlements" => target.entitlements = texts(value)?,
        "extra-hosts" => target.extra_hosts = table(value)?,
        "policy" => target.policy = list::<Policy>(value)?,
        _ => {}
    }
    Ok(())
}

/// Sets an attribute of a group.
pub fn set_group(group: &mut Group, name: &str, value: &Value) -> Read<()> {
    match name {
        "description" => group.description = text(value)?,
        "targets" => group.targets = texts(value)?.unwrap_or_default(),
        _ => {}
    }
    Ok(())
}

fn text(value: &Value) -> Read<String> {
    optional_text(value)?.ok_or_else(|| "a text is required, but this is null".to_string())
}

fn optional_text(value: &Value) -> Read<Option<String>> {
    Ok(convert(value, &Type::String)?.as_str().map(str::to_string))
}

fn optional_bool(value: &Value) -> Read<Option<bool>> {
    match convert(value, &Type::Bool)? {
        Value::Bool(value) => Ok(Some(value)),
        _ => Ok(None),
    }
}

fn texts(value: &Value) -> Read<Option<Vec<String>>> {
    let converted = convert(value, &Type::list(Type::String))?;
    let Some(elements) = converted.elements() else { return Ok(None) };
    let texts = elements.iter().enumerate().map(|(index, element)| {
        element.as_str().map(str::to_string).ok_or_else(|| format!("element {index} is null"))
    });
    Ok(Some(texts.collect::<Read<_>>()?))
}

fn table(value: &Value) -> Read<Option<Texts>> {
    let converted = convert(value, &Type::map(Type::String))?;
    let entries = converted.entries().map(|entries| {
        let entries = entries.iter();
        entries.map(|(name, value)| (name.to_string(), value.as_str().map(str::to_string))).collect()
    });
    Ok(entries)
}

fn plain_table(value: &Value) -> Read<Option<BTreeMap<String, String>>> {
    let Some(entries) = table(value)? else { return Ok(None) };
    let entries = entries.into_iter();
    let plain = entries.map(|(name, text)| match text {
        Some(text) => Ok((name, text)),
        None => Err(format!("`{name}` is null")),
    });
    Ok(Some(plain.collect::<Read<_>>()?))
}

fn list<E: Entry>(value: &Value) -> Read<Option<Vec<E>>> {
    if value.is_null() {
        return Err("null is not allowed here".to_string());
    }
    Ok(Some(entries::from_value(value)?))
}

/// The target as others refer to it: every attribute is there, unset ones are null or empty.
pub fn target_value(target: &Target) -> Value {
    let text = |text: &Option<String>| text.as_deref().map_or(Value::Null(Type::String), Value::from);
    let flag = |flag: Option<bool>| flag.map_or(Value::Null(Type::Bool), Value::Bool);
    let texts = |texts: &Option<Vec<String>>| match texts {
        Some(texts) => Value::strings(texts.iter().map(String::as_str)),
        None => Value::Null(Type::list(Type::String)),
    };
    let table = |texts: &Option<Texts>| match texts {
        Some(texts) => texts_value(texts.iter().map(|(name, text)| (name, text.as_deref()))),
        None => Value::Null(Type::map(Type::String)),
    };
    let contexts = match &target.contexts {
        Some(contexts) => texts_value(contexts.iter().map(|(name, text)| (name, Some(text.as_str())))),
        None => Value::Null(Type::map(Type::String)),
    };
    let entries = [
        ("name", Value::from(target.name.as_str())),
        ("description", Value::from(target.description.as_str())),
        ("inherits", Value::strings(target.inherits.iter().map(String::as_str))),
        ("annotations", texts(&target.annotations)),
        ("attest", entries_value(&target.attest)),
        ("context", text(&target.context)),
        ("contexts", contexts),
        ("dockerfile", text(&target.dockerfile)),
        ("dockerfile-inline", text(&target.dockerfile_inline)),
        ("args", table(&target.args)),
        ("labels", table(&target.labels)),
        ("tags", texts(&target.tags)),
        ("cache-from", entries_value(&target.cache_from)),
        ("cache-to", entries_value(&target.cache_to)),
        ("target", text(&target.stage)),
        ("secret", entries_value(&target.secrets)),
        ("ssh", entries_value(&target.ssh)),
        ("platforms", texts(&target.platforms)),
        ("output", entries_value(&target.outputs)),
        ("pull", flag(target.pull)),
        ("no-cache", flag(target.no_cache)),
        ("network", text(&target.network)),
        ("no-cache-filter", texts(&target.no_cache_filter)),
        ("shm-size", text(&target.shm_size)),
        ("ulimits", texts(&target.ulimits)),
        ("resources", target.resources.as_ref().map_or_else(Value::null, Resources::to_value)),
        ("call", text(&target.call)),
        ("entitlements", texts(&target.entitlements)),
        ("extra-hosts", table(&target.extra_hosts)),
        ("policy", entries_value(&target.policy)),
    ];
    Value::object(entries.into_iter().map(|(name, value)| (name.into(), value)).collect::<Entries>())
}

/// The group as others refer to it.
pub fn group_value(group: &Group) -> Value {
    let entries = [
        ("name", Value::from(group.name.as_str())),
        ("description", Value::from(group.description.as_str())),
        ("targets", Value::strings(group.targets.iter().map(String::as_str))),
    ];
    Value::object(entries.into_iter().map(|(name, value)| (name.into(), value)).collect::<Entries>())
}

fn texts_value<'t>(texts: impl Iterator<Item = (&'t String, Option<&'t str>)>) -> Value {
    let entries =
        texts.map(|(name, text)| (name.as_str().into(), text.map_or(Value::Null(Type::String), Value::from)));
    Value::map(Type::String, entries.collect::<Entries>())
}

fn entries_value<E: Entry>(list: &Option<Vec<E>>) -> Value {
    entries::to_value(list.as_deref().unwrap_or_default())
}
