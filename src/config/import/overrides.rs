//! `--set PATTERN.KEY[.SUBKEY][+]=VALUE` and the flags that are short for it.
//!
//! Reading is one thing, applying another: what is read here could change targets of any file.

use std::collections::BTreeMap;

use super::entries::{
    Attestation, Entry as _, Export, Policy, Secret, from_texts, is_true, last_of_each, without_repeats,
};
use super::names::matches;
use super::target::Target;

/// Changes by target and key, in the order in which they are applied.
#[derive(Debug, Default)]
pub struct Changes(BTreeMap<String, BTreeMap<Key, Change>>);

/// The key of a change: keys that others build on come first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    is_delivery: bool,
    name: String,
    sub: Option<String>,
}

/// What several overrides of one key say together.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub values: Vec<String>,
    pub appends: bool,
    pub clears: bool,
}

impl Changes {
    pub fn of(&self, target: &str) -> Option<&BTreeMap<Key, Change>> {
        self.0.get(target)
    }
}

/// Keys with several names have one meaning.
const ALIASES: [(&str, &str); 11] = [
    ("annotations", "annotation"),
    ("args", "arg"),
    ("entitlements", "entitlement"),
    ("extra-hosts", "extra-host"),
    ("labels", "label"),
    ("platforms", "platform"),
    ("resources", "resource"),
    ("secrets", "secret"),
    ("tags", "tag"),
    ("ulimits", "ulimit"),
    ("no-cache-filters", "no-cache-filter"),
];

const LISTS: [&str; 12] = [
    "output",
    "cache-to",
    "cache-from",
    "tag",
    "platform",
    "ssh",
    "attest",
    "entitlement",
    "annotation",
    "policy",
    "ulimit",
    "no-cache-filter",
];
const TABLES: [&str; 5] = ["arg", "contexts", "label", "extra-host", "resource"];
const SINGLES: [&str; 10] =
    ["context", "dockerfile", "target", "call", "no-cache", "shm-size", "network", "pull", "push", "load"];

/// Reads overrides for targets of these names. `environment` gives `T.args.NAME` without a value its value.
pub fn read(
    texts: &[String],
    targets: &[&str],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Changes, String> {
    let mut changes = Changes::default();
    for text in texts {
        read_one(text, targets, environment, &mut changes)
            .map_err(|message| format!("`{text}`: {message}"))?;
    }
    Ok(changes)
}

fn read_one(
    text: &str,
    targets: &[&str],
    environment: &dyn Fn(&str) -> Option<String>,
    changes: &mut Changes,
) -> Result<(), String> {
    let (path, value) = match text.split_once('=') {
        Some((path, value)) => (path, Some(value)),
        None => (text, None),
    };
    let (path, appends) = match path.strip_suffix('+') {
        Some(path) => (path, true),
        None => (path, false),
    };
    let mut parts = path.splitn(3, '.');
    let (Some(pattern), Some(name)) = (parts.next(), parts.next()) else {
        return Err("an override begins with `TARGET.KEY`".to_string());
    };
    let alias = ALIASES.iter().find(|(many, _)| *many == name);
    let name = alias.map_or(name, |(_, one)| *one);
    let sub = parts.next();
    check_form(name, sub, appends, value)?;
    let value = match (value, sub) {
        (Some(value), _) => value.to_string(),
        (None, Some(variable)) => match environment(variable) {
            Some(value) => value,
            None => return Ok(()),
        },
        (None, None) => String::new(),
    };
    let is_delivery = matches!(name, "push" | "load");
    let key = Key { is_delivery, name: name.to_string(), sub: sub.map(str::to_string) };
    for target in matching(pattern, targets)? {
        let change = changes.0.entry(target.to_string()).or_default().entry(key.clone()).or_default();
        change.add(name, &value, appends, sub.is_some());
    }
    Ok(())
}

impl Change {
    fn add(&mut self, name: &str, value: &str, appends: bool, has_sub: bool) {
        let is_list = !has_sub && (LISTS.contains(&name) || name == "secret");
        if !is_list {
            self.values = vec![value.to_string()];
            return;
        }
        if !appends && value.is_empty() {
            self.clears = true;
            self.values.clear();
        } else {
            self.values.push(value.to_string());
        }
        self.appends = appends && !self.clears;
    }

    fn value(&self) -> &str {
        self.values.last().map_or("", String::as_str)
    }
}

fn check_form(name: &str, sub: Option<&str>, appends: bool, value: Option<&str>) -> Result<(), String> {
    let is_table = TABLES.contains(&name);
    if is_table && sub.is_none_or(str::is_empty) {
        return Err(format!("`{name}` needs the name of what is set, as in `{name}.NAME`"));
    }
    if sub.is_some() && (LISTS.contains(&name) || SINGLES.contains(&name)) {
        return Err(format!("`{name}` has no parts"));
    }
    if appends && (name == "resource" || (name == "secret" && sub.is_some())) {
        return Err(format!("nothing can be added to `{name}`"));
    }
    if value.is_none() && name != "arg" {
        return Err("an override has the form `TARGET.KEY=VALUE`".to_string());
    }
    if !is_table && !LISTS.contains(&name) && !SINGLES.contains(&name) && name != "secret" {
        return Err(format!("there is no key `{name}` that can be set"));
    }
    Ok(())
}

/// An exact name, or all that a pattern matches.
fn matching<'t>(pattern: &str, targets: &[&'t str]) -> Result<Vec<&'t str>, String> {
    if let Some(exact) = targets.iter().find(|target| **target == pattern) {
        return Ok(vec![exact]);
    }
    let found: Vec<&str> = targets.iter().copied().filter(|target| matches(pattern, target)).collect();
    if found.is_empty() { Err(format!("no target matches `{pattern}`")) } else { Ok(found) }
}

/// Changes a target.
pub fn apply(target: &mut Target, changes: Option<&BTreeMap<Key, Change>>) -> Result<(), String> {
    for (key, change) in changes.into_iter().flatten() {
        apply_one(target, key, change)?;
    }
    Ok(())
}

fn apply_one(target: &mut Target, key: &Key, change: &Change) -> Result<(), String> {
    let value = change.value().to_string();
    let sub = key.sub.clone().unwrap_or_default();
    match key.name.as_str() {
        "context" => {
            target.context = Some(value);
            target.bases.context = None;
        }
        "dockerfile" => target.dockerfile = Some(value),
        "target" => target.stage = Some(value),
        "call" => target.call = Some(value),
        "shm-size" => target.shm_size = Some(value),
        "network" => target.network = Some(value),
        "no-cache" => target.no_cache = Some(truth("no-cache", &value)?),
        "pull" => target.pull = Some(truth("pull", &value)?),
        "push" => set_push(target, truth("push", &value)?),
        "load" => set_load(target, truth("load", &value)?),
        "arg" => {
            target.args.get_or_insert_default().insert(sub, Some(value));
        }
        "label" => {
            target.labels.get_or_insert_default().insert(sub, Some(value));
        }
        "extra-host" => {
            target.extra_hosts.get_or_insert_default().insert(sub, Some(value));
        }
        "contexts" => {
            target.contexts.get_or_insert_default().insert(sub, value);
        }
        "resource" => target.resources.get_or_insert_default().set(&sub, &value)?,
        "secret" if key.sub.is_some() => set_secret(target, &sub, &value)?,
        _ => return apply_list(target, &key.name, change),
    }
    Ok(())
}

fn truth(key: &str, value: &str) -> Result<bool, String> {
    is_true(value).ok_or_else(|| format!("`{key}` must be true or false, not `{value}`"))
}

fn apply_list(target: &mut Target, name: &str, change: &Change) -> Result<(), String> {
    match name {
        "tag" => set(&mut target.tags, change.values.clone(), change),
        "platform" => set(&mut target.platforms, change.values.clone(), change),
        "ulimit" => set(&mut target.ulimits, change.values.clone(), change),
        "no-cache-filter" => set(&mut target.no_cache_filter, change.values.clone(), change),
        "annotation" => add(&mut target.annotations, change.values.clone(), change),
        "entitlement" => add(&mut target.entitlements, change.values.clone(), change),
        "attest" => {
            add(&mut target.attest, from_texts::<Attestation, _>(&change.values)?, change);
            target.attest = target.attest.take().map(|all| last_of_each(all, |one| one.kind.clone()));
        }
        "policy" => {
            let policies: Result<Vec<Vec<Policy>>, String> =
                change.values.iter().map(|value| Policy::parse(value)).collect();
            set(&mut target.policy, policies?.concat(), change);
        }
        "cache-from" => set(&mut target.cache_from, from_texts(&change.values)?, change),
        "cache-to" => set(&mut target.cache_to, from_texts(&change.values)?, change),
        "output" => set(&mut target.outputs, from_texts(&change.values)?, change),
        "ssh" => {
            set(&mut target.ssh, from_texts(&change.values)?, change);
            target.ssh = target.ssh.take().map(|all| last_of_each(all, |one| one.id.clone()));
        }
        "secret" => {
            set(&mut target.secrets, from_texts(&change.values)?, change);
            target.secrets = target.secrets.take().map(|all| last_of_each(all, |one| one.id.clone()));
        }
        other => return Err(format!("there is no key `{other}`")),
    }
    target.cache_from.iter_mut().for_each(without_repeats);
    target.cache_to.iter_mut().for_each(without_repeats);
    Ok(())
}

/// Replaces a list, or adds to it.
fn set<T>(own: &mut Option<Vec<T>>, values: Vec<T>, change: &Change) {
    if change.appends {
        own.get_or_insert_default().extend(values);
    } else {
        *own = Some(values);
    }
}

/// Adds to a list that overrides never replace, but can clear.
fn add<T>(own: &mut Option<Vec<T>>, values: Vec<T>, change: &Change) {
    if change.clears {
        *own = None;
    }
    own.get_or_insert_default().extend(values);
}

fn set_secret(target: &mut Target, id: &str, value: &str) -> Result<(), String> {
    let declared = target.secrets.iter_mut().flatten().find(|secret| secret.id == id);
    let Some(secret) = declared else {
        return Err(format!("the secret `{id}` must be declared before it can be overridden"));
    };
    let next = Secret::parse(value)?.remove(0);
    if !next.id.is_empty() && next.id != id {
        return Err(format!("the id `{}` is not that of the secret `{id}`", next.id));
    }
    secret.environment = next.environment;
    secret.source = next.source;
    Ok(())
}

/// Pushes images, adding one if nothing is written out; or makes sure that nothing is pushed.
fn set_push(target: &mut Target, push: bool) {
    let outputs = target.outputs.get_or_insert_default();
    if !push {
        let mut at = 0;
        while at < outputs.len() {
            match outputs[at].kind.as_str() {
                "registry" => {
                    outputs.swap_remove(at);
                    continue;
                }
                "image" => {
                    outputs[at].attributes.insert("push".to_string(), "false".to_string());
                }
                _ => {}
            }
            at += 1;
        }
        return;
    }
    for output in outputs.iter_mut().filter(|output| output.kind == "image") {
        output.attributes.insert("push".to_string(), "true".to_string());
    }
    if outputs.iter().all(|output| output.kind == "docker") {
        let mut image = Export::plain("image");
        image.attributes.insert("push".to_string(), "true".to_string());
        outputs.push(image);
    }
}

/// Loads the image into Docker, unless something else than an image is written.
fn set_load(target: &mut Target, load: bool) {
    let outputs = target.outputs.get_or_insert_default();
    let is_settled = outputs.iter().any(|output| match output.kind.as_str() {
        "docker" => output.destination.is_empty(),
        "image" | "registry" | "oci" => false,
        _ => true,
    });
    if load && !is_settled {
        outputs.push(Export::plain("docker"));
    }
}
