//! One file's TOML to declarations. Keys are matched here, with a reader for each; unknown ones are
//! reported and skipped, so that one run shows every problem of the file.

use std::collections::BTreeMap;
use std::net::IpAddr;

use toml::de::{DeTable, DeValue};

use super::conditional::Conditional;
use super::declare::{
    AnnotationsDeclaration, CacheDeclaration, DockerfileDeclaration, GroupDeclaration, Layer,
    ProjectDeclaration, TargetDeclaration, VarDeclaration,
};
use super::entries::EntryDeclaration;
use super::include::{self, Include};
use super::keys::{self, Section};
use super::lint;
use super::platforms::PlatformSetDeclaration;
use super::table::{Key, Reader, Role, Value, integer};
use super::text::Text;
use super::{
    append, builder, conditional, entries, matrix, platforms, removal, resources, sandbox, secret, size, ssh,
    tagging, test, var, verify,
};
use crate::base::Platform;
use crate::diag::{Located, Place, Problem};
use crate::model::{Builder, Call, Emulate, Lint, Network, Requirement};

/// What one file declares, in the order of the file; names may repeat.
#[derive(Debug, Default)]
pub struct FileDeclarations {
    pub include: Vec<Include>,
    pub project: Option<ProjectDeclaration>,
    pub lint: Option<Lint>,
    pub platform_sets: Vec<(String, PlatformSetDeclaration)>,
    pub caches: Vec<(String, CacheDeclaration)>,
    pub builders: Vec<(String, Builder)>,
    pub vars: Vec<(String, VarDeclaration)>,
    pub groups: Vec<(String, GroupDeclaration)>,
    pub targets: Vec<(String, TargetDeclaration)>,
}

impl FileDeclarations {
    /// Takes over what a file declares that is included. It cannot speak for the project.
    pub fn append(&mut self, other: Self) {
        self.platform_sets.extend(other.platform_sets);
        self.caches.extend(other.caches);
        self.builders.extend(other.builders);
        self.vars.extend(other.vars);
        self.groups.extend(other.groups);
        self.targets.extend(other.targets);
    }
}

/// Whether a file was named by the user or found through `include`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    Root,
    Included,
}

pub fn read(reader: &mut Reader<'_>, document: &DeTable<'_>, rank: Rank) -> FileDeclarations {
    let mut found = FileDeclarations::default();
    for (key, value) in document {
        match key.get_ref().as_ref() {
            "version" => check_version(reader, value),
            word @ ("project" | "lint") if rank == Rank::Included => {
                let place = reader.place(key.span());
                reader.report(
                    Problem::input("config::root-only", format!("`{word}` is for the root file alone"))
                        .at(place, "in an included file")
                        .help("included files hold vars, groups, targets and their kin"),
                );
            }
            "include" => found.include = include::read(reader, value),
            "lint" => found.lint = Some(lint::read(reader, value)),
            "project" => found.project = Some(read_project(reader, value)),
            "vars" => {
                for (name, var) in declared(reader, "vars", "variable", value, var::read_short) {
                    found.vars.push((name, var));
                }
            }
            "var" => found.vars.extend(declared(reader, "var", "variable", value, var::read_long)),
            "platforms" => {
                let sets = declared(reader, "platforms", "platform set", value, platforms::read_set);
                found.platform_sets = sets
                    .into_iter()
                    .filter(|(name, set)| platforms::check_set_name(reader, name, &set.place))
                    .collect();
            }
            "cache" => found.caches = declared(reader, "cache", "cache", value, read_cache),
            "builder" => found.builders = builder::read_all(reader, value),
            "group" => found.groups = declared(reader, "group", "group", value, read_group),
            "target" => found.targets = declared(reader, "target", "target", value, read_target),
            _ => reader.unknown_key(Section::Root, key),
        }
    }
    found
}

fn check_version(reader: &mut Reader<'_>, value: &Value<'_>) {
    match value.get_ref() {
        DeValue::Integer(number) if integer(number) == Some(1) => {}
        DeValue::Integer(number) => {
            let place = reader.place(value.span());
            reader.report(
                Problem::input("config::version", format!("version `{number}` of the format is not known"))
                    .at(place, "not a known version")
                    .help("this mab reads version 1"),
            );
        }
        _ => reader.mismatch("version", value, "the number 1"),
    }
}

/// What somebody means who declares something without its name, or as less than a table.
fn nameless(key: &str, name: &str, value: &Value<'_>) -> Option<String> {
    match (key, value.get_ref()) {
        (_, DeValue::Table(_)) | ("platforms" | "vars", _) => None,
        ("group", DeValue::Array(_)) => Some(format!("write `[group.{name}]`, and `targets = […]` below it")),
        ("var", _) => Some(format!("write `[vars]`, and `{name} = …` below it")),
        _ => Some(format!("give it a name: `[{key}.NAME]`, and `{name} = …` below it")),
    }
}

/// Of one kind in one file; a project of more is refused.
const MOST_DECLARED: usize = 20_000;

/// The members of a table of declarations.
pub(super) fn declared<T>(
    reader: &mut Reader<'_>,
    key: &str,
    kind: &str,
    value: &Value<'_>,
    read_one: impl Fn(&mut Reader<'_>, Place, &Value<'_>) -> Option<T>,
) -> Vec<(String, T)> {
    let mut members = Vec::new();
    for (name, value) in reader.table(key, value).into_iter().flatten() {
        let place = reader.place(name.span());
        if let Some(help) = nameless(key, name.get_ref(), value) {
            let message = format!("`[{key}]` holds a table for each {kind}, and this is none");
            let place = reader.place(name.span());
            reader.report(Problem::input("config::wrong-type", message).at(place, "not a table").help(help));
            continue;
        }
        if members.len() >= MOST_DECLARED {
            let message = format!("there are more than {MOST_DECLARED} {kind}s");
            reader.report(Problem::input("config::too-many", message).at(place, "one of them"));
            break;
        }
        // The members are read in any case, for the problems in them.
        let member = read_one(reader, place, value);
        if let (Some(name), Some(member)) = (reader.name(kind, name), member) {
            members.push((name, member));
        }
    }
    members
}

pub(super) fn read_project(reader: &mut Reader<'_>, value: &Value<'_>) -> ProjectDeclaration {
    let mut project = ProjectDeclaration::default();
    let mut images = Images::default();
    for (key, value) in reader.table("project", value).into_iter().flatten() {
        match key.get_ref().as_ref() {
            "name" => project.name = reader.text("name", value, Role::Plain),
            "image" | "images" => images.read(reader, key, value),
            "platforms" => project.layer.platforms = platforms::read_list(reader, value),
            "source-date-epoch" => project.layer.source_date_epoch = read_epoch(reader, value),
            "default-branch" => project.default_branch = reader.text("default-branch", value, Role::Plain),
            name if tagging::is_key(name) => tagging::read(reader, &mut project.layer, name, value),
            _ => reader.unknown_key(Section::Project, key),
        }
    }
    project.layer.images = images.texts;
    project
}

/// What a group says of its members, but for flags.
const DELIVERED: [&str; 14] = [
    "tags",
    "annotations",
    "output",
    "attest",
    "cache",
    "cache-to",
    "tag-rules",
    "flavor",
    "compat",
    "floating",
    "git-tag-prefix",
    "oci-labels",
    "oci-annotations",
    "oci-levels",
];

pub(super) fn read_group(
    reader: &mut Reader<'_>,
    place: Place,
    value: &Value<'_>,
) -> Option<GroupDeclaration> {
    let table = reader.table("group", value)?;
    let mut group = GroupDeclaration::new(place.clone());
    let mut has_targets = false;
    let asks_for_tags = reader.uses_git.tags;
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        match name {
            "targets" => {
                has_targets = true;
                group.targets = reader.texts("targets", value, Role::Plain).unwrap_or_default();
            }
            "description" => group.description = reader.text("description", value, Role::Raw),
            "push" => group.layer.push = reader.boolean("push", value),
            "load" => group.layer.load = reader.boolean("load", value),
            _ if DELIVERED.contains(&name) => read_layer_key(reader, &mut group.layer, key, value),
            "append" => group.layer.append = append::read(reader, append::GROUP, table, value),
            "require" => group.require = read_requirements(reader, value),
            _ => reader.unknown_key(Section::Group, key),
        }
        if DELIVERED.contains(&name) || matches!(name, "push" | "load" | "append") {
            group.places.insert(name.to_string(), reader.place(key.span()));
        }
    }
    // Its rules count only where it is baked.
    reader.uses_git.tags = asks_for_tags;
    if !has_targets {
        reader.report(
            Problem::input("config::missing-key", "a group needs `targets`")
                .at(place, "names no targets")
                .help("write `targets = [\"…\"]`"),
        );
    }
    Some(group)
}

fn read_requirements(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<(Requirement, Place)> {
    let members = reader.list("require", value, "a list of `clean`, `tag` and `branch`").unwrap_or_default();
    let read = |member: &Value<'_>| {
        let requirement = read_word(reader, "require", member, &Requirement::NAMES)?;
        Some((requirement, reader.place(member.span())))
    };
    members.into_iter().filter_map(read).collect()
}

fn read_target(reader: &mut Reader<'_>, place: Place, value: &Value<'_>) -> Option<TargetDeclaration> {
    let table = reader.table("target", value)?;
    let mut target = TargetDeclaration {
        place,
        file: reader.file.clone(),
        inherits: Vec::new(),
        layer: Layer::default(),
        on: Vec::new(),
        matrix: None,
    };
    let mut images = Images::default();
    let mut dockerfile = Dockerfile::default();
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "append" => target.layer.append = append::read(reader, append::TARGET, table, value),
            "remove" => target.layer.remove = removal::read(reader, Section::Target, value),
            "inherits" => target.inherits = reader.texts("inherits", value, Role::Plain).unwrap_or_default(),
            "on" => target.on = read_on(reader, value),
            "matrix" => target.matrix = matrix::read(reader, value),
            "image" | "images" => images.read(reader, key, value),
            "dockerfile" | "dockerfile-inline" => dockerfile.read(reader, key, value),
            _ => read_layer_key(reader, &mut target.layer, key, value),
        }
    }
    target.layer.images = images.texts;
    target.layer.dockerfile = dockerfile.declaration;
    Some(target)
}

/// The keys of a target that stand for themselves.
pub(super) fn read_layer_key(reader: &mut Reader<'_>, layer: &mut Layer, key: &Key<'_>, value: &Value<'_>) {
    match key.get_ref().as_ref() {
        "description" => layer.description = reader.text("description", value, Role::Raw),
        "context" => layer.context = reader.text("context", value, Role::Template),
        "stage" => layer.stage = reader.text("stage", value, Role::Template),
        "when" => layer.when = reader.text("when", value, Role::Condition),
        "args" => layer.args = reader.text_table("args", value, Role::Template),
        "contexts" => layer.contexts = reader.text_table("contexts", value, Role::Template),
        "platforms" => layer.platforms = platforms::read_list(reader, value),
        "tags" => layer.tags = read_conditional(reader, "tags", Section::TagEntry, value),
        "labels" => layer.labels = reader.text_table("labels", value, Role::Template),
        "annotations" => layer.annotations = read_annotations(reader, value),
        "output" => layer.outputs = entries::read(reader, "output", value, Role::Template),
        "needs" => layer.needs = reader.texts("needs", value, Role::Template),
        "no-cache" => layer.no_cache = reader.boolean("no-cache", value),
        "pull" => layer.pull = reader.boolean("pull", value),
        "network" => layer.network = read_word(reader, "network", value, NETWORKS),
        "shm-size" => layer.shm_size = read_size(reader, value),
        "extra-hosts" => layer.extra_hosts = read_hosts(reader, value),
        "secret" => layer.secrets = secret::read(reader, value),
        "ssh" => layer.ssh = ssh::read(reader, value),
        "entitlements" => layer.entitlements = sandbox::read_entitlements(reader, value),
        "ulimits" => layer.ulimits = sandbox::read_ulimits(reader, value),
        "no-cache-filter" => layer.no_cache_filter = reader.texts("no-cache-filter", value, Role::Plain),
        "emulate" => layer.emulate = read_word(reader, "emulate", value, EMULATIONS),
        "call" => layer.call = read_word(reader, "call", value, &Call::NAMES),
        "cache" => layer.caches = reader.texts("cache", value, Role::Plain),
        "cache-from" => layer.cache_from = entries::read(reader, "cache-from", value, Role::Template),
        "cache-to" => layer.cache_to = entries::read(reader, "cache-to", value, Role::Template),
        "attest" => layer.attestations = entries::read(reader, "attest", value, Role::Template),
        "policy" => layer.policies = entries::read(reader, "policy", value, Role::Template),
        name if tagging::is_key(name) => tagging::read(reader, layer, name, value),
        "require" => layer.requirements = verify::read_requirements(reader, value),
        "resources" => layer.resources = resources::read(reader, value),
        "source-date-epoch" => layer.source_date_epoch = read_epoch(reader, value),
        "verify" => layer.verify = verify::read(reader, value),
        "test" => layer.tests = test::read(reader, value),
        _ => reader.unknown_key(Section::Target, key),
    }
}

fn read_on(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<(Located<Platform>, Layer)> {
    let mut tables: Vec<(Located<Platform>, Layer)> = Vec::new();
    for (name, value) in reader.table("on", value).into_iter().flatten() {
        let layer = read_on_layer(reader, value);
        let name = Text::new(name.get_ref(), &reader.file, name.span());
        let Some(platform) = reader.parsed("config::bad-platform", &name, str::parse::<Platform>) else {
            continue;
        };
        if let Some((first, _)) = tables.iter().find(|(known, _)| known.value == platform.value) {
            let mut problem = Problem::input(
                "config::duplicate",
                format!("there are two tables for platform `{}`", platform.value),
            )
            .at(name.place(), "again here");
            if let Some(place) = &first.place {
                problem = problem.at(place.clone(), "first here");
            }
            reader.report(problem.help("write one table with the keys of both"));
            continue;
        }
        tables.push((platform, layer));
    }
    tables
}

fn read_on_layer(reader: &mut Reader<'_>, value: &Value<'_>) -> Layer {
    let mut layer = Layer::default();
    let mut dockerfile = Dockerfile::default();
    for (key, value) in reader.table("on", value).into_iter().flatten() {
        match key.get_ref().as_ref() {
            "remove" => layer.remove = removal::read(reader, Section::On, value),
            "dockerfile" => dockerfile.read(reader, key, value),
            _ => read_on_key(reader, &mut layer, key, value),
        }
    }
    layer.dockerfile = dockerfile.declaration;
    layer
}

/// The keys of an `on` table that stand for themselves.
pub(super) fn read_on_key(reader: &mut Reader<'_>, layer: &mut Layer, key: &Key<'_>, value: &Value<'_>) {
    match key.get_ref().as_ref() {
        "context" | "contexts" | "stage" | "args" | "emulate" | "verify" | "test" => {
            read_layer_key(reader, layer, key, value);
        }
        "allow-failure" => layer.allow_failure = verify::read_allow_failure(reader, value),
        "worker-labels" => layer.worker_labels = reader.text_table("worker-labels", value, Role::Plain),
        _ => reader.unknown_key(Section::On, key),
    }
}

/// A list whose members may have conditions: `{ tag = "…", when = "…" }` in `tags`.
fn read_conditional(
    reader: &mut Reader<'_>,
    key: &str,
    section: Section,
    value: &Value<'_>,
) -> Option<Vec<Conditional<Text>>> {
    let name = key.trim_end_matches('s');
    conditional::read_texts(reader, (key, name), section, value, Role::Template)
}

fn read_annotations(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<AnnotationsDeclaration> {
    Some(match value.get_ref() {
        DeValue::Table(_) => {
            AnnotationsDeclaration::Table(reader.text_table("annotations", value, Role::Template))
        }
        DeValue::Array(_) => {
            let list = read_conditional(reader, "annotations", Section::AnnotationEntry, value)?;
            AnnotationsDeclaration::List(list)
        }
        _ => {
            reader.mismatch("annotations", value, "a list of strings or a table");
            return None;
        }
    })
}

/// `[cache.NAME]`: an entry, and whether it is trusted.
pub(super) fn read_cache(
    reader: &mut Reader<'_>,
    place: Place,
    value: &Value<'_>,
) -> Option<CacheDeclaration> {
    let trust = value.get_ref().as_table().and_then(|table| {
        let (_, value) = table.iter().find(|(key, _)| key.get_ref() == "trust")?;
        reader.boolean("trust", value)
    });
    let mut entry = entries::read_table(reader, "cache", value, Role::Template)?.value;
    if let EntryDeclaration::Table { entries, .. } = &mut entry {
        entries.retain(|(key, _)| key.value != "trust");
    }
    Some(CacheDeclaration { place, entry, trust })
}

pub(super) const NETWORKS: &[(&str, Network)] =
    &[("default", Network::Default), ("none", Network::None), ("host", Network::Host)];
const EMULATIONS: &[(&str, Emulate)] =
    &[("allow", Emulate::Allow), ("warn", Emulate::Warn), ("deny", Emulate::Deny)];

pub(super) fn read_word<T: Copy>(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
    words: &[(&str, T)],
) -> Option<T> {
    let word = reader.string(key, value)?;
    let found = words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value);
    if found.is_none() {
        let place = reader.place(value.span());
        let choices = keys::quoted_list(words.iter().map(|(known, _)| *known));
        reader.report(
            Problem::input("config::bad-value", format!("`{key}` cannot be `{word}`"))
                .at(place, "not a known word")
                .help(format!("the values are {choices}")),
        );
    }
    found
}

/// Seconds, or a template that gives them.
fn read_epoch(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Text> {
    if value.get_ref().as_bool().is_some() {
        reader.mismatch("source-date-epoch", value, "seconds or a text");
        return None;
    }
    reader.scalar_text("source-date-epoch", value, Role::Template)
}

fn read_size(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<u64> {
    let size = match value.get_ref() {
        DeValue::Integer(number) => integer(number).and_then(|bytes| u64::try_from(bytes).ok()),
        DeValue::String(text) => size::parse(text),
        _ => {
            reader.mismatch("shm-size", value, "a number of bytes or a text such as `64m`");
            return None;
        }
    };
    if size.is_none() {
        let place = reader.place(value.span());
        reader.report(
            Problem::input("config::bad-value", "`shm-size` is not a size")
                .at(place, "not a size")
                .help("write bytes, or a whole number with a unit: `b`, `k`, `m` or `g`"),
        );
    }
    size
}

fn read_hosts(reader: &mut Reader<'_>, value: &Value<'_>) -> BTreeMap<String, String> {
    let mut hosts = BTreeMap::new();
    for (host, text) in reader.text_table("extra-hosts", value, Role::Plain) {
        if text.value == "host-gateway" {
            let problem = keys::not_yet("`host-gateway`").at(text.place(), "not supported yet");
            reader.report(problem);
        } else if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '#') {
            reader.report(
                Problem::input("config::bad-value", format!("`{host}` is not a host name"))
                    .at(text.place(), "of this entry"),
            );
        } else if text.value.parse::<IpAddr>().is_err() {
            reader.report(
                Problem::input("config::bad-value", format!("`{}` is not an IP address", text.value))
                    .at(text.place(), "not an IP address"),
            );
        } else {
            hosts.insert(host, text.value);
        }
    }
    hosts
}

/// `image` and `images`, of which a table may have one.
#[derive(Default)]
struct Images {
    texts: Option<Vec<Text>>,
    place: Option<Place>,
}

impl Images {
    fn read(&mut self, reader: &mut Reader<'_>, key: &Key<'_>, value: &Value<'_>) {
        let place = reader.place(key.span());
        if let Some(first) = self.place.replace(place.clone()) {
            reader.report(either_or("image", "images", place, first));
            return;
        }
        self.texts = match key.get_ref().as_ref() {
            "image" => reader.text("image", value, Role::Template).map(|text| vec![text]),
            _ => reader.texts("images", value, Role::Template),
        };
    }
}

/// `dockerfile` and `dockerfile-inline`, of which a table may have one.
#[derive(Default)]
struct Dockerfile {
    declaration: Option<DockerfileDeclaration>,
    place: Option<Place>,
}

impl Dockerfile {
    fn read(&mut self, reader: &mut Reader<'_>, key: &Key<'_>, value: &Value<'_>) {
        let place = reader.place(key.span());
        if let Some(first) = self.place.replace(place.clone()) {
            reader.report(either_or("dockerfile", "dockerfile-inline", place, first));
            return;
        }
        self.declaration = match key.get_ref().as_ref() {
            "dockerfile" => reader.text("dockerfile", value, Role::Template).map(DockerfileDeclaration::File),
            _ => reader.text("dockerfile-inline", value, Role::Raw).map(DockerfileDeclaration::Inline),
        };
    }
}

fn either_or(one: &str, other: &str, again: Place, first: Place) -> Problem {
    Problem::input("config::conflict", format!("`{one}` and `{other}` say the same thing twice"))
        .at(again, "both cannot hold")
        .at(first, "already said here")
        .help("keep one of them")
}
