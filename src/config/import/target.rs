//! A target as bake has it, and how two of them become one. `None` is what no file says; an empty list or
//! table was said.

use std::collections::BTreeMap;

use super::entries::{
    Attestation, Cache, Export, Policy, Resources, Secret, Ssh, last_of_each, without_repeats,
};
use crate::diag::Place;

/// Names to texts; `None` stands for null, which says nothing.
pub type Texts = BTreeMap<String, Option<String>>;

#[derive(Clone, Debug, Default)]
pub struct Target {
    pub name: String,
    pub description: String,
    pub inherits: Vec<String>,
    pub annotations: Option<Vec<String>>,
    pub attest: Option<Vec<Attestation>>,
    pub context: Option<String>,
    pub contexts: Option<BTreeMap<String, String>>,
    pub dockerfile: Option<String>,
    pub dockerfile_inline: Option<String>,
    pub args: Option<Texts>,
    pub labels: Option<Texts>,
    pub tags: Option<Vec<String>>,
    pub cache_from: Option<Vec<Cache>>,
    pub cache_to: Option<Vec<Cache>>,
    pub stage: Option<String>,
    pub secrets: Option<Vec<Secret>>,
    pub ssh: Option<Vec<Ssh>>,
    pub platforms: Option<Vec<String>>,
    pub outputs: Option<Vec<Export>>,
    pub pull: Option<bool>,
    pub no_cache: Option<bool>,
    pub network: Option<String>,
    pub no_cache_filter: Option<Vec<String>>,
    pub shm_size: Option<String>,
    pub ulimits: Option<Vec<String>>,
    pub resources: Option<Resources>,
    pub call: Option<String>,
    pub entitlements: Option<Vec<String>>,
    pub extra_hosts: Option<Texts>,
    pub policy: Option<Vec<Policy>>,
    /// Where the target is declared.
    pub place: Option<Place>,
    /// Where the value of an attribute stands, by the attribute's name.
    pub places: BTreeMap<&'static str, Place>,
    /// Directories that paths in the files are relative to, if not to the working directory.
    pub bases: Bases,
}

/// What relative contexts are relative to, with `BUILDX_BAKE_FILE_RELATIVE_PATHS`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bases {
    /// Of the file that declares the target last.
    pub file: Option<String>,
    /// Of the context that a file sets.
    pub context: Option<String>,
    /// The target whose context this one takes.
    pub context_from: Option<String>,
    pub contexts: BTreeMap<String, String>,
    /// No file sets a context, so that the file's directory is one.
    pub is_wanted: bool,
}

/// Targets by one name.
#[derive(Clone, Debug, Default)]
pub struct Group {
    pub name: String,
    pub description: String,
    pub targets: Vec<String>,
    pub place: Option<Place>,
    /// Where its members stand.
    pub members: Option<Place>,
}

impl Target {
    /// Takes over what `other` says, which wins.
    pub fn merge(&mut self, other: &Self) {
        replace(&mut self.context, &other.context);
        replace(&mut self.dockerfile, &other.dockerfile);
        replace(&mut self.dockerfile_inline, &other.dockerfile_inline);
        replace(&mut self.tags, &other.tags);
        replace(&mut self.stage, &other.stage);
        replace(&mut self.call, &other.call);
        replace(&mut self.platforms, &other.platforms);
        replace(&mut self.cache_to, &other.cache_to);
        replace(&mut self.outputs, &other.outputs);
        replace(&mut self.pull, &other.pull);
        replace(&mut self.no_cache, &other.no_cache);
        replace(&mut self.network, &other.network);
        replace(&mut self.shm_size, &other.shm_size);
        merge_texts(&mut self.args, &other.args);
        merge_texts(&mut self.labels, &other.labels);
        merge_texts(&mut self.extra_hosts, &other.extra_hosts);
        if let Some(contexts) = other.contexts.as_ref().filter(|contexts| !contexts.is_empty()) {
            let own = self.contexts.get_or_insert_default();
            own.extend(contexts.iter().map(|(name, context)| (name.clone(), context.clone())));
        }
        append(&mut self.annotations, &other.annotations);
        append(&mut self.policy, &other.policy);
        append(&mut self.no_cache_filter, &other.no_cache_filter);
        append(&mut self.ulimits, &other.ulimits);
        append(&mut self.entitlements, &other.entitlements);
        append(&mut self.attest, &other.attest);
        append(&mut self.secrets, &other.secrets);
        append(&mut self.ssh, &other.ssh);
        append(&mut self.cache_from, &other.cache_from);
        if let Some(resources) = &other.resources {
            self.resources.get_or_insert_default().merge(resources);
        }
        if !other.description.is_empty() {
            self.description.clone_from(&other.description);
        }
        self.inherits.extend(other.inherits.iter().cloned());
        self.merge_places(other);
    }

    fn merge_places(&mut self, other: &Self) {
        self.places.extend(other.places.iter().map(|(name, place)| (*name, place.clone())));
        self.place = other.place.clone().or_else(|| self.place.take());
        if other.bases.file.is_some() {
            self.bases.file.clone_from(&other.bases.file);
            self.bases.is_wanted = other.bases.is_wanted;
        }
        if other.context.is_some() {
            self.bases.context.clone_from(&other.bases.context);
            self.bases.context_from.clone_from(&other.bases.context_from);
        }
        for name in other.contexts.iter().flat_map(BTreeMap::keys) {
            match other.bases.contexts.get(name) {
                Some(base) => self.bases.contexts.insert(name.clone(), base.clone()),
                None => self.bases.contexts.remove(name),
            };
        }
    }

    /// Drops what is empty or there twice.
    pub fn normalise(&mut self) {
        let lists = [
            &mut self.annotations,
            &mut self.tags,
            &mut self.platforms,
            &mut self.no_cache_filter,
            &mut self.ulimits,
        ];
        lists.into_iter().flatten().for_each(without_repeated_texts);
        if self.network.as_deref() == Some("host") {
            self.entitlements.get_or_insert_default().push("network.host".to_string());
        }
        self.entitlements.iter_mut().for_each(without_repeated_texts);
        self.attest = filled(self.attest.take().map(|all| last_of_each(all, |one| one.kind.clone())));
        self.secrets = filled(self.secrets.take().map(|all| last_of_each(all, |one| one.id.clone())));
        self.ssh = filled(self.ssh.take().map(|all| last_of_each(all, |one| one.id.clone())));
        self.cache_from.iter_mut().for_each(without_repeats);
        self.cache_to.iter_mut().for_each(without_repeats);
        self.outputs.iter_mut().for_each(without_repeats);
        self.cache_from = filled(self.cache_from.take());
        self.cache_to = filled(self.cache_to.take());
        self.outputs = filled(self.outputs.take());
        if let Some(contexts) = &mut self.contexts {
            contexts.retain(|_, context| !context.is_empty());
        }
        self.contexts = self.contexts.take().filter(|contexts| !contexts.is_empty());
    }

    /// The targets whose results this one uses.
    pub fn links(&self) -> impl Iterator<Item = &str> {
        let contexts = self.contexts.iter().flat_map(BTreeMap::values);
        contexts.filter_map(|context| context.strip_prefix("target:"))
    }
}

fn replace<T: Clone>(own: &mut Option<T>, other: &Option<T>) {
    if other.is_some() {
        own.clone_from(other);
    }
}

fn append<T: Clone>(own: &mut Option<Vec<T>>, other: &Option<Vec<T>>) {
    if let Some(other) = other {
        own.get_or_insert_default().extend(other.iter().cloned());
    }
}

/// Nulls say nothing, so they take nothing away.
fn merge_texts(own: &mut Option<Texts>, other: &Option<Texts>) {
    for (name, text) in other.iter().flatten() {
        if text.is_some() {
            own.get_or_insert_default().insert(name.clone(), text.clone());
        }
    }
}

fn without_repeated_texts(texts: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    texts.retain(|text| !text.is_empty() && seen.insert(text.clone()));
}

fn filled<T>(list: Option<Vec<T>>) -> Option<Vec<T>> {
    list.filter(|list| !list.is_empty())
}
