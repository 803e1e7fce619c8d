//! `remove`: what a layer takes away from weaker ones, and the names by which entries of lists are known.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::conditional::Conditional;
use super::declare::{AnnotationsDeclaration, Layer};
use super::entries::EntryDeclaration;
use super::keys::{self, Section, quoted_list, suggestion};
use super::layers::Layers;
use super::path;
use super::platforms::PlatformEntry;
use super::secret::SecretDeclaration;
use super::shape::{self, Shape};
use super::ssh::SshDeclaration;
use super::table::{Reader, Role, Value};
use super::tagging::LEVELS;
use super::text::Text;
use crate::base::Platform;
use crate::diag::{Located, Problem};
use crate::model::{AnnotationLevel, Entitlement, Requirement, Ulimit};

/// `KEY`, or `KEY.ENTRY` for one entry of a table or a list.
#[derive(Clone, Debug)]
pub struct Removal {
    /// In one spelling: `images` also for `image`, `dockerfile` also for `dockerfile-inline`.
    pub key: String,
    pub entry: Option<String>,
    pub text: Text,
    /// Whether it may find nothing.
    pub is_lenient: bool,
}

impl Removal {
    /// Takes away the whole of `key`, if there is any.
    pub fn of_key(key: &Text) -> Self {
        let name = path::one_spelling(&key.value).to_string();
        Self { key: name, entry: None, text: key.clone(), is_lenient: true }
    }

    /// Takes away one entry of `key`, which must be there.
    pub fn of_entry(key: &Text, entry: &Text) -> Self {
        Self { entry: Some(entry.value.clone()), text: entry.clone(), is_lenient: false, ..Self::of_key(key) }
    }

    fn path(&self) -> String {
        match &self.entry {
            Some(entry) => format!("{}.{entry}", self.key),
            None => self.key.clone(),
        }
    }
}

/// An entry of a list, which has a name: its text, or its id.
pub trait Entry {
    /// Whether the entry, added to a list, takes the place of a weaker one of its name.
    const REPLACES: bool = true;

    fn name(&self) -> Cow<'_, str>;
}

impl Entry for Text {
    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.value)
    }
}

impl<T: Entry> Entry for Conditional<T> {
    const REPLACES: bool = T::REPLACES;

    fn name(&self) -> Cow<'_, str> {
        self.value.name()
    }
}

/// A platform in one spelling; a set by its name.
impl Entry for PlatformEntry {
    fn name(&self) -> Cow<'_, str> {
        match self.0.value.parse::<Platform>() {
            Ok(platform) => Cow::Owned(platform.to_string()),
            Err(_) => Cow::Borrowed(&self.0.value),
        }
    }
}

impl Entry for Located<Requirement> {
    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.value.name())
    }
}

impl Entry for Located<Entitlement> {
    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.value.name())
    }
}

impl Entry for Located<AnnotationLevel> {
    fn name(&self) -> Cow<'_, str> {
        let known = LEVELS.iter().find(|(_, level)| *level == self.value);
        Cow::Borrowed(known.map_or("", |(name, _)| name))
    }
}

impl Entry for Ulimit {
    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }
}

impl Entry for SecretDeclaration {
    fn name(&self) -> Cow<'_, str> {
        Cow::Owned(self.id())
    }
}

impl Entry for SshDeclaration {
    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.id())
    }
}

/// Outputs, caches and their like are known by their type, of which there may be several.
impl Entry for EntryDeclaration {
    const REPLACES: bool = false;

    fn name(&self) -> Cow<'_, str> {
        match self {
            Self::Line(text) => {
                let kind = text.value.split(',').find_map(|field| field.trim().strip_prefix("type="));
                Cow::Borrowed(kind.unwrap_or(if text.value == "-" { "tar" } else { "local" }))
            }
            Self::Table { entries, .. } => {
                let kind = entries.iter().find(|(key, _)| key.value == "type");
                Cow::Borrowed(kind.map_or("", |(_, text)| &text.value))
            }
        }
    }
}

pub fn read(reader: &mut Reader<'_>, section: Section, value: &Value<'_>) -> Vec<Removal> {
    let mut removals = Vec::new();
    for text in reader.texts("remove", value, Role::Raw).unwrap_or_default() {
        match parse(section, text) {
            Ok(removal) => removals.push(removal),
            Err(problem) => reader.report(*problem),
        }
    }
    removals
}

fn parse(section: Section, text: Text) -> Result<Removal, Box<Problem>> {
    let (key, entry) = match text.value.split_once('.') {
        Some((key, entry)) => (key, Some(entry)),
        None => (text.value.as_str(), None),
    };
    let place = text.place_of(&(0..key.len()));
    // Removing what makes a target what it is would leave another target.
    let is_fixed = matches!(key, "append" | "remove" | "inherits" | "matrix" | "on" | "when");
    let shape = shape::of(section, key).filter(|_| !is_fixed);
    let Some(shape) = shape else {
        let problem = match is_fixed && shape::of(section, key).is_some() {
            true => Problem::input("config::remove", format!("`{key}` cannot be removed")),
            false => keys::problem_of(section, key),
        };
        return Err(Box::new(problem.at(place, "not a key that `remove` takes")));
    };
    let entry = entry.map(path::unquoted).map(str::to_string);
    if matches!(shape, Shape::Boolean | Shape::Single)
        && let Some(entry) = &entry
    {
        let problem = Problem::input("config::remove", format!("`{key}` has no entries, so no `{entry}`"));
        return Err(Box::new(
            problem.at(text.place(), "no such path").help(format!("`\"{key}\"` takes the whole of it away")),
        ));
    }
    let entry = entry.map(|entry| normal(key, entry));
    Ok(Removal { key: path::one_spelling(key).to_string(), entry, text, is_lenient: false })
}

fn normal(key: &str, entry: String) -> String {
    match key {
        "platforms" => entry.parse::<Platform>().map_or(entry, |platform| platform.to_string()),
        _ => entry,
    }
}

impl Layer {
    pub fn removes_all_of(&self, key: &str) -> bool {
        self.remove.iter().any(|removal| removal.entry.is_none() && removal.key == key)
    }

    /// Entries of `key` that are taken away one by one.
    pub fn removed_entries<'l>(&'l self, key: &'l str) -> impl Iterator<Item = &'l str> {
        self.remove.iter().filter(move |removal| removal.key == key).filter_map(|one| one.entry.as_deref())
    }

    /// The names of the entries this layer gives `key`; empty for a single value, `None` when it says nothing.
    fn names(&self, key: &str) -> Option<Vec<String>> {
        fn list<T: Entry>(list: &Option<Vec<T>>) -> Option<Vec<String>> {
            list.as_ref().map(|list| list.iter().map(|entry| entry.name().into_owned()).collect())
        }
        fn table<T>(table: &BTreeMap<String, T>) -> Option<Vec<String>> {
            (!table.is_empty()).then(|| table.keys().cloned().collect())
        }
        let single = |is_said: bool| is_said.then(Vec::new);
        match key {
            "description" => single(self.description.is_some()),
            "context" => single(self.context.is_some()),
            "dockerfile" => single(self.dockerfile.is_some()),
            "stage" => single(self.stage.is_some()),
            "no-cache" => single(self.no_cache.is_some()),
            "pull" => single(self.pull.is_some()),
            "network" => single(self.network.is_some()),
            "shm-size" => single(self.shm_size.is_some()),
            "emulate" => single(self.emulate.is_some()),
            "call" => single(self.call.is_some()),
            "args" => table(&self.args),
            "contexts" => table(&self.contexts),
            "labels" => table(&self.labels),
            "extra-hosts" => table(&self.extra_hosts),
            "platforms" => list(&self.platforms),
            "tags" => list(&self.tags),
            "images" => list(&self.images),
            "output" => list(&self.outputs),
            "needs" => list(&self.needs),
            "secret" => list(&self.secrets),
            "ssh" => list(&self.ssh),
            "entitlements" => list(&self.entitlements),
            "ulimits" => list(&self.ulimits),
            "no-cache-filter" => list(&self.no_cache_filter),
            "cache" => list(&self.caches),
            "cache-from" => list(&self.cache_from),
            "cache-to" => list(&self.cache_to),
            "attest" => list(&self.attestations),
            "policy" => list(&self.policies),
            "tag-rules" => list(&self.tag_rules),
            "flavor" => list(&self.flavor),
            "oci-labels" => self.has_oci_labels.map(|_| list(&self.oci_labels).unwrap_or_default()),
            "oci-annotations" => {
                self.has_oci_annotations.map(|_| list(&self.oci_annotations).unwrap_or_default())
            }
            "oci-levels" => list(&self.oci_levels),
            "compat" => single(self.compat.is_some()),
            "floating" => single(self.floating.is_some()),
            "git-tag-prefix" => single(self.git_tag_prefix.is_some()),
            "require" => list(&self.requirements),
            "resources" => table(&self.resources),
            "worker-labels" => table(&self.worker_labels),
            "test" => table(&self.tests),
            "source-date-epoch" => single(self.source_date_epoch.is_some()),
            "verify" => single(self.verify.is_some()),
            "allow-failure" => single(self.allow_failure.is_some()),
            "annotations" => self.annotations.as_ref().map(annotation_names),
            _ => None,
        }
    }
}

fn annotation_names(declared: &AnnotationsDeclaration) -> Vec<String> {
    match declared {
        AnnotationsDeclaration::List(texts) => {
            texts.iter().map(|text| annotation_key(&text.value.value).to_string()).collect()
        }
        AnnotationsDeclaration::Table(table) => table.keys().cloned().collect(),
    }
}

/// The key of `[level[platform]:]key=value`.
fn annotation_key(text: &str) -> &str {
    let key = text.split_once('=').map_or(text, |(key, _)| key);
    key.rsplit_once(':').map_or(key, |(_, key)| key)
}

/// What the strongest of `layers` takes away that nothing below it gives.
pub fn check(strongest: &Layer, weaker: &Layers<'_>, problems: &mut Vec<Problem>) {
    let mut given: BTreeMap<&str, Option<Given>> = BTreeMap::new();
    for removal in strongest.remove.iter().filter(|removal| !removal.is_lenient) {
        let given = given.entry(&removal.key).or_insert_with(|| given_by(weaker, &removal.key));
        let is_there = match (&removal.entry, &given) {
            (Some(entry), Some(names)) => names.contains(entry),
            (None, given) => given.is_some(),
            (Some(_), None) => false,
        };
        if !is_there {
            problems.push(nothing_to_remove(removal, given.as_ref()));
        }
    }
}

/// The names of a key's entries; empty for a single value.
type Given = BTreeSet<String>;

/// What `layers` give `key`; `None` when none says anything.
fn given_by(layers: &Layers<'_>, key: &str) -> Option<Given> {
    let mut given: Option<Given> = None;
    for layer in layers.iter() {
        if layer.removes_all_of(key) {
            given = None;
        }
        if let Some(given) = &mut given {
            for name in layer.removed_entries(key) {
                given.remove(name);
            }
        }
        let said = [Some(layer), layer.append.as_deref()].into_iter().flatten();
        for names in said.filter_map(|said| said.names(key)) {
            given.get_or_insert_default().extend(names);
        }
    }
    given
}

fn nothing_to_remove(removal: &Removal, given: Option<&Given>) -> Problem {
    let message = format!("no weaker layer gives `{}`", removal.path());
    let problem =
        Problem::input("config::nothing-to-remove", message).at(removal.text.place(), "nothing to take away");
    let names = || given.into_iter().flatten().map(String::as_str);
    match &removal.entry {
        Some(entry) if names().next().is_some() => problem.help(match suggestion(entry, names()) {
            Some(suggestion) => suggestion,
            None => format!("`{}` has {}", removal.key, quoted_list(names())),
        }),
        _ => problem.help("take it out; a target removes what `[project]` and `inherits` give it"),
    }
}
