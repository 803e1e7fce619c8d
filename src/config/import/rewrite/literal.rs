//! Targets as they came out, as keys and values of multiarch.toml.

use crate::config::import::entries::Entry;
use crate::config::import::target::{Target, Texts};
use crate::config::write::{Tree, escaped};

/// Keys whose strings are templates.
const TEMPLATES: [&str; 16] = [
    "annotations",
    "args",
    "attest",
    "cache-from",
    "cache-to",
    "context",
    "contexts",
    "dockerfile",
    "image",
    "labels",
    "name",
    "output",
    "secret",
    "ssh",
    "stage",
    "tags",
];

/// The order of a target's keys.
pub const ORDER: [&str; 35] = [
    "description",
    "inherits",
    "context",
    "dockerfile",
    "dockerfile-inline",
    "stage",
    "platforms",
    "image",
    "tags",
    "output",
    "call",
    "pull",
    "no-cache",
    "no-cache-filter",
    "cache-from",
    "cache-to",
    "attest",
    "annotations",
    "secret",
    "ssh",
    "network",
    "entitlements",
    "shm-size",
    "ulimits",
    "policy",
    "contexts",
    "args",
    "labels",
    "extra-hosts",
    "resources",
    "matrix",
    "axes",
    "name",
    "env",
    "help",
];

pub fn is_template_key(key: &str) -> bool {
    TEMPLATES.contains(&key)
}

/// The place of a key among the others.
pub fn order(key: &str) -> usize {
    ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len())
}

/// Everything that is said of a target besides `inherits`.
pub fn attributes(target: &Target) -> Vec<(&'static str, Tree)> {
    let text = |text: &Option<String>| text.as_ref().filter(|text| !text.is_empty()).map(Tree::text);
    let texts = |texts: &Option<Vec<String>>| texts.as_ref().map(Tree::texts);
    let description = Some(&target.description).filter(|text| !text.is_empty());
    let contexts = target.contexts.as_ref().map(|contexts| {
        Tree::Table(contexts.iter().map(|(name, text)| (name.clone(), Tree::text(local(text)))).collect())
    });
    let values = [
        ("description", description.map(Tree::text)),
        ("context", target.context.as_deref().map(|context| Tree::text(local(context)))),
        ("dockerfile", text(&target.dockerfile).filter(|_| target.dockerfile_inline.is_none())),
        ("dockerfile-inline", text(&target.dockerfile_inline)),
        ("stage", text(&target.stage)),
        ("contexts", contexts),
        ("args", table(&target.args)),
        ("labels", table(&target.labels)),
        ("platforms", texts(&target.platforms)),
        ("tags", texts(&target.tags)),
        ("output", entries(&target.outputs)),
        ("call", text(&target.call).map(call)),
        ("pull", target.pull.map(Tree::Flag)),
        ("no-cache", target.no_cache.map(Tree::Flag)),
        ("no-cache-filter", texts(&target.no_cache_filter)),
        ("cache-from", entries(&target.cache_from)),
        ("cache-to", entries(&target.cache_to)),
        ("attest", entries(&target.attest)),
        ("annotations", texts(&target.annotations)),
        ("secret", entries(&target.secrets)),
        ("ssh", entries(&target.ssh)),
        ("network", text(&target.network)),
        ("entitlements", texts(&target.entitlements)),
        ("shm-size", text(&target.shm_size)),
        ("ulimits", texts(&target.ulimits)),
        ("extra-hosts", table(&target.extra_hosts)),
        ("resources", target.resources.as_ref().and_then(|resources| Tree::of_json(&resources.to_json()))),
        ("policy", entries(&target.policy)),
    ];
    values
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .map(|(key, value)| if is_template_key(key) { (key, value.map(&escaped)) } else { (key, value) })
        .collect()
}

/// Takes back what is said under a key.
pub fn clear(target: &mut Target, key: &str) {
    match key {
        "description" => target.description.clear(),
        "context" => target.context = None,
        "dockerfile" => target.dockerfile = None,
        "dockerfile-inline" => target.dockerfile_inline = None,
        "stage" => target.stage = None,
        "contexts" => target.contexts = None,
        "args" => target.args = None,
        "labels" => target.labels = None,
        "platforms" => target.platforms = None,
        "tags" => target.tags = None,
        "output" => target.outputs = None,
        "call" => target.call = None,
        "pull" => target.pull = None,
        "no-cache" => target.no_cache = None,
        "no-cache-filter" => target.no_cache_filter = None,
        "cache-from" => target.cache_from = None,
        "cache-to" => target.cache_to = None,
        "attest" => target.attest = None,
        "annotations" => target.annotations = None,
        "secret" => target.secrets = None,
        "ssh" => target.ssh = None,
        "network" => target.network = None,
        "entitlements" => target.entitlements = None,
        "shm-size" => target.shm_size = None,
        "ulimits" => target.ulimits = None,
        "extra-hosts" => target.extra_hosts = None,
        "resources" => target.resources = None,
        "policy" => target.policy = None,
        _ => {}
    }
}

/// Contexts of the working directory are relative to the file, which is there.
pub fn local(context: &str) -> String {
    match context.strip_prefix("cwd://") {
        Some("") => ".".to_string(),
        Some(path) => path.to_string(),
        None => context.to_string(),
    }
}

fn call(call: Tree) -> Tree {
    match call {
        Tree::Text(text) if text == "lint" => Tree::text("check"),
        other => other,
    }
}

fn table(texts: &Option<Texts>) -> Option<Tree> {
    let texts = texts.as_ref()?.iter();
    let said = texts.filter_map(|(name, text)| Some((name.clone(), Tree::text(text.as_ref()?))));
    Some(Tree::Table(said.collect()))
}

fn entries<E: Entry>(entries: &Option<Vec<E>>) -> Option<Tree> {
    let entries = entries.as_ref()?.iter().filter_map(|entry| Tree::of_json(&entry.to_json()));
    Some(Tree::List(entries.map(type_first).collect()))
}

fn type_first(entry: Tree) -> Tree {
    match entry {
        Tree::Table(mut members) => {
            members.sort_by_key(|(key, _)| match key.as_str() {
                "type" | "id" => 0,
                _ => 1,
            });
            Tree::Table(members)
        }
        other => other,
    }
}
