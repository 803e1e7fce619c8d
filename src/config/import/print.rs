//! What `docker buildx bake --print` prints, byte for byte: its keys in its order, escaped so that bake can
//! read it again.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::definition::Selection;
use super::entries::Entry;
use super::rebase::printed_context;
use super::target::{Group, Target, Texts};

type Object = Map<String, Value>;

/// The document with its final line break.
pub fn print(selection: &Selection) -> String {
    let groups = selection.groups.iter().map(|(name, group)| (name.clone(), group_json(group)));
    let targets = selection.targets.iter().map(|(name, target)| (name.clone(), target_json(target)));
    let (groups, targets): (Object, Object) = (groups.collect(), targets.collect());
    let mut document = Object::new();
    if !groups.is_empty() {
        document.insert("group".to_string(), groups.into());
    }
    document.insert("target".to_string(), targets.into());
    format!("{}\n", html_safe(&format!("{:#}", Value::Object(document))))
}

/// Go escapes what means something in HTML; such letters stand in strings alone.
fn html_safe(json: &str) -> String {
    let mut written = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                written.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => written.push(c),
        }
    }
    written
}

fn group_json(group: &Group) -> Value {
    let mut object = Object::new();
    put_text(&mut object, "description", Some(&group.description).filter(|text| !text.is_empty()));
    // The group that Compose files make is null when nothing is built.
    let is_made = group.place.is_none() && group.targets.is_empty();
    object.insert("targets".to_string(), if is_made { Value::Null } else { json!(group.targets) });
    object.into()
}

fn target_json(target: &Target) -> Value {
    let mut object = Object::new();
    put_text(&mut object, "description", Some(&target.description).filter(|text| !text.is_empty()));
    let annotations = target.annotations.iter().flatten().map(|text| escaped(text));
    put_list(&mut object, "annotations", annotations);
    put_entries(&mut object, "attest", target.attest.as_ref());
    let context = target.context.as_deref().map(printed_context);
    put_text(&mut object, "context", context.as_ref());
    put_table(&mut object, "contexts", target.contexts.iter().flatten());
    put_text(&mut object, "dockerfile", target.dockerfile.as_ref());
    let inline = target.dockerfile_inline.as_deref().map(escaped);
    put_text(&mut object, "dockerfile-inline", inline.as_ref());
    put_texts(&mut object, "args", target.args.as_ref());
    put_texts(&mut object, "labels", target.labels.as_ref());
    put_list(&mut object, "tags", target.tags.iter().flatten());
    put_entries(&mut object, "cache-from", target.cache_from.as_ref());
    put_entries(&mut object, "cache-to", target.cache_to.as_ref());
    put_text(&mut object, "target", target.stage.as_ref());
    put_entries(&mut object, "secret", target.secrets.as_ref());
    put_entries(&mut object, "ssh", target.ssh.as_ref());
    put_list(&mut object, "platforms", target.platforms.iter().flatten());
    put_entries(&mut object, "output", target.outputs.as_ref());
    put_bool(&mut object, "pull", target.pull);
    put_bool(&mut object, "no-cache", target.no_cache);
    put_text(&mut object, "network", target.network.as_ref());
    put_list(&mut object, "no-cache-filter", target.no_cache_filter.iter().flatten());
    put_text(&mut object, "shm-size", target.shm_size.as_ref());
    put_list(&mut object, "ulimits", target.ulimits.iter().flatten());
    if let Some(resources) = &target.resources {
        object.insert("resources".to_string(), resources.to_json());
    }
    put_text(&mut object, "call", target.call.as_ref());
    put_list(&mut object, "entitlements", target.entitlements.iter().flatten());
    put_texts(&mut object, "extra-hosts", target.extra_hosts.as_ref());
    put_entries(&mut object, "policy", target.policy.as_ref());
    object.into()
}

/// So that the output can be read as a file: `${` and `%{` would be templates there.
fn escaped(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

fn put_text(object: &mut Object, key: &str, text: Option<&String>) {
    if let Some(text) = text {
        object.insert(key.to_string(), json!(text));
    }
}

fn put_bool(object: &mut Object, key: &str, value: Option<bool>) {
    if let Some(value) = value {
        object.insert(key.to_string(), json!(value));
    }
}

fn put_list(object: &mut Object, key: &str, items: impl Iterator<Item: AsRef<str>>) {
    let items: Vec<Value> = items.map(|item| json!(item.as_ref())).collect();
    if !items.is_empty() {
        object.insert(key.to_string(), items.into());
    }
}

fn put_table<'t>(object: &mut Object, key: &str, entries: impl Iterator<Item = (&'t String, &'t String)>) {
    let entries: Object = entries.map(|(name, text)| (name.clone(), json!(text))).collect();
    if !entries.is_empty() {
        object.insert(key.to_string(), entries.into());
    }
}

fn put_texts(object: &mut Object, key: &str, texts: Option<&Texts>) {
    let texts: BTreeMap<&String, Value> = texts
        .into_iter()
        .flatten()
        .map(|(name, text)| (name, text.as_deref().map_or(Value::Null, |text| json!(escaped(text)))))
        .collect();
    if !texts.is_empty() {
        let entries: Object = texts.into_iter().map(|(name, value)| (name.clone(), value)).collect();
        object.insert(key.to_string(), entries.into());
    }
}

fn put_entries<E: Entry>(object: &mut Object, key: &str, entries: Option<&Vec<E>>) {
    let entries: Vec<Value> = entries.into_iter().flatten().map(E::to_json).collect();
    if !entries.is_empty() {
        object.insert(key.to_string(), entries.into());
    }
}
