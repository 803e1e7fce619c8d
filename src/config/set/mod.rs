//! `--set` as the strongest layers of targets.
//!
//! The arguments are lines of one source, so that problems point into them, and their values go through the
//! reader that files go through. Targets that the same arguments change share a layer.

mod parse;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::declare::{DockerfileDeclaration, Layer};
use super::entries::split_csv;
use super::import::is_true;
use super::keys::{Section, suggestion};
use super::read::{read_layer_key, read_on_key};
use super::removal::{self, Removal};
use super::roster::Roster;
use super::shape::Shape;
use super::table::{Reader, Role, Value};
use super::target::World;
use super::template::GitUse;
use super::text::{File, Text};
use crate::base::Platform;
use crate::diag::{Located, Problem, Source};
use crate::pattern::Glob;

pub use parse::Override;

/// The layers by target.
#[derive(Default)]
pub struct Sets {
    overrides: Vec<Override>,
    layers: Vec<SetLayer>,
    /// Of each layer, the overrides it is made of.
    chosen: Vec<Vec<usize>>,
    by_target: BTreeMap<String, usize>,
}

/// What the command line says about a target.
#[derive(Default)]
pub struct SetLayer {
    pub layer: Layer,
    pub on: Vec<(Located<Platform>, Layer)>,
    /// Platforms that the target must have, since it was named in full.
    pub exact: Vec<Located<Platform>>,
}

impl Sets {
    pub fn of(&self, target: &str) -> Option<&SetLayer> {
        self.by_target.get(target).map(|at| &self.layers[*at])
    }

    /// The overrides that change a target, in their order.
    pub fn said(&self, target: &str) -> impl Iterator<Item = &Override> {
        let chosen = self.by_target.get(target).into_iter().flat_map(|at| &self.chosen[*at]);
        chosen.map(|at| &self.overrides[*at])
    }

    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().map(|set| &set.layer)
    }
}

/// What templates in the arguments ask git for.
pub fn git_use(arguments: &[String]) -> GitUse {
    let mut asked = GitUse::default();
    for argument in arguments {
        asked.add(GitUse::of_template(argument));
        asked.tags |= argument.contains(".tag-rules") || argument.contains(".compat");
    }
    asked
}

/// Reads `--set` for the targets of a run. `environment` gives `TARGET.args.NAME` without a value its value;
/// paths are relative to `directory`.
pub fn read(
    arguments: &[String],
    world: &World<'_, '_>,
    roster: &Roster<'_>,
    environment: &BTreeMap<String, String>,
    directory: &Path,
    problems: &mut Vec<Problem>,
) -> Sets {
    if arguments.is_empty() {
        return Sets::default();
    }
    let source = Source::new("--set", arguments.join("\n"));
    let file = Arc::new(File { source, directory: directory.to_path_buf(), is_literal: false });
    let mut by_target: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut overrides: Vec<Override> = Vec::new();
    let mut start = 0;
    for argument in arguments {
        let span = start..start + argument.len();
        start = span.end + 1;
        let read = match parse::parse(&file, span) {
            Ok(read) => read,
            Err(problem) => {
                problems.push(*problem);
                continue;
            }
        };
        match matching(&read.pattern, world, roster) {
            Ok(targets) => {
                for target in targets {
                    by_target.entry(target.to_string()).or_default().push(overrides.len());
                }
                overrides.push(read);
            }
            Err(problem) => problems.push(*problem),
        }
    }
    let mut reader = Reader { file, problems, uses_git: GitUse::default() };
    let mut sets = Sets::default();
    let mut known: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
    for (target, chosen) in by_target {
        let at = *known.entry(chosen).or_insert_with_key(|chosen| {
            let all: Vec<&Override> = chosen.iter().map(|at| &overrides[*at]).collect();
            sets.layers.push(layer(&mut reader, &all, environment));
            sets.chosen.push(chosen.clone());
            sets.layers.len() - 1
        });
        sets.by_target.insert(target, at);
    }
    sets.overrides = overrides;
    sets
}

/// The targets of a pattern: an exact name, the targets of a matrix, or all that match.
fn matching<'r>(
    pattern: &Text,
    world: &World<'_, '_>,
    roster: &'r Roster<'_>,
) -> Result<Vec<&'r str>, Box<Problem>> {
    let name = pattern.value.as_str();
    if let Some((name, _)) = roster.members.get_key_value(name) {
        return Ok(vec![name]);
    }
    if let Some(targets) = roster.matrices.get(name) {
        return Ok(targets.iter().map(String::as_str).filter(|target| roster.has(target)).collect());
    }
    let Ok(glob) = Glob::parse(name.as_bytes()) else {
        let message = format!("`{name}` is not a pattern");
        return Err(Box::new(Problem::input("config::set", message).at(pattern.place(), "no pattern")));
    };
    let matches = |name: &str| glob.matches(name.as_bytes());
    let found: Vec<&str> = roster.names().filter(|name| matches(name)).collect();
    // What its `when` leaves out is not there in this run, and may be in the next.
    if found.is_empty() && !roster.left_out.keys().any(|name| matches(name)) {
        return Err(Box::new(nothing_matches(pattern, world, roster)));
    }
    Ok(found)
}

fn nothing_matches(pattern: &Text, world: &World<'_, '_>, roster: &Roster<'_>) -> Problem {
    let name = pattern.value.as_str();
    let problem = Problem::input("config::unknown-name", format!("no target matches `{name}`"))
        .at(pattern.place(), "no target");
    if world.declared.targets.contains_key(name) {
        return problem.help("it is a template, which is never built; name the targets that inherit from it");
    }
    if let Some(group) = world.declared.groups.get(name) {
        let members = group.targets.iter().map(|member| member.value.as_str());
        let members = super::keys::quoted_list(members);
        return problem.help(format!("it is a group; `--set` changes targets, here {members}"));
    }
    let known: Vec<&str> = roster.names().chain(roster.matrices.keys().copied()).collect();
    match suggestion(name, known.iter().copied()) {
        Some(suggestion) => problem.help(suggestion),
        None => problem.help(format!("there are {}", super::keys::quoted_list(known))),
    }
}

/// One layer of the overrides, in their order.
fn layer(
    reader: &mut Reader<'_>,
    overrides: &[&Override],
    environment: &BTreeMap<String, String>,
) -> SetLayer {
    let mut set = SetLayer::default();
    let mut done: Vec<(Option<&Platform>, &str)> = Vec::new();
    for first in overrides {
        let platform = first.platform.as_ref().map(|platform| &platform.value);
        let key = (platform, first.key.value.as_str());
        if done.contains(&key) {
            continue;
        }
        done.push(key);
        let same = overrides.iter().copied().filter(|one| {
            (one.platform.as_ref().map(|platform| &platform.value), one.key.value.as_str()) == key
        });
        let same: Vec<&Override> = same.collect();
        match &first.platform {
            None => read_key(reader, &mut set.layer, false, &same, environment),
            Some(platform) => {
                if !first.pattern.value.contains(['*', '?', '[']) {
                    set.exact.push(platform.clone());
                }
                let at = set.on.iter().position(|(known, _)| known == platform).unwrap_or_else(|| {
                    set.on.push((platform.clone(), Layer::default()));
                    set.on.len() - 1
                });
                read_key(reader, &mut set.on[at].1, true, &same, environment);
            }
        }
    }
    set
}

/// What all overrides of one key say, there is at least one.
fn read_key(
    reader: &mut Reader<'_>,
    layer: &mut Layer,
    is_on: bool,
    overrides: &[&Override],
    environment: &BTreeMap<String, String>,
) {
    let Some(first) = overrides.first() else { return };
    match first.shape {
        Shape::Table => {
            let entries = overrides.iter().filter_map(|one| {
                let sub = one.sub.as_ref()?;
                let value = match &one.value {
                    Some(value) => string(value),
                    None => spanned(sub, environment.get(&sub.value)?.clone()),
                };
                Some((Spanned::new(sub.place().span, sub.value.clone().into()), value))
            });
            let table: DeTable<'_> = entries.collect();
            give(reader, layer, is_on, &first.key, DeValue::Table(table));
        }
        Shape::List if first.key.value == "remove" => {
            let section = if is_on { Section::On } else { Section::Target };
            for one in overrides {
                let values = DeValue::Array(members(&first.key, one.value.as_ref()).into_iter().collect());
                let mut removals =
                    removal::read(reader, section, &Spanned::new(one.key.place().span, values));
                let is_lenient = one.pattern.value.contains(['*', '?', '[']);
                removals.iter_mut().for_each(|removal| removal.is_lenient = is_lenient);
                layer.remove.extend(removals);
            }
        }
        Shape::List => read_list(reader, layer, overrides),
        Shape::Boolean => {
            let Some(last) = overrides.last() else { return };
            match last.value.as_ref().and_then(|value| is_true(&value.value)) {
                Some(truth) => give_truth(reader, layer, last, truth),
                None => reader.report(not_a_truth(last)),
            }
        }
        Shape::Single => {
            let Some(Override { key, value: Some(value), .. }) = overrides.last() else { return };
            if value.value.is_empty() {
                // Bake's way back to the default.
                layer.remove.push(Removal::of_key(key));
            } else {
                give_at(reader, layer, is_on, key, string(value));
            }
        }
    }
}

fn read_list(reader: &mut Reader<'_>, layer: &mut Layer, overrides: &[&Override]) {
    let (mut replaced, mut appended) = (None, Vec::new());
    for one in overrides {
        let Some(value) = &one.value else { continue };
        if let Some(id) = &one.sub {
            // As in bake, only a secret that is there can be changed.
            layer.remove.push(Removal::of_entry(&one.key, id));
            appended.push(spanned(value, format!("id={},{}", id.value, value.value)));
        } else if one.appends {
            appended.extend(members(&one.key, Some(value)));
        } else if value.value.is_empty() {
            (replaced, appended) = (None, Vec::new());
            layer.remove.push(Removal::of_key(&one.key));
        } else {
            replaced.get_or_insert_with(Vec::new).extend(members(&one.key, Some(value)));
        }
    }
    let Some(first) = overrides.first() else { return };
    if let Some(values) = replaced {
        give(reader, layer, false, &first.key, DeValue::Array(values.into_iter().collect()));
    }
    if !appended.is_empty() {
        let append = layer.append.get_or_insert_default();
        give(reader, append, false, &first.key, DeValue::Array(appended.into_iter().collect()));
    }
}

/// The entries of a value: those of a list of words have commas between them, others have commas themselves.
fn members<'v>(key: &Text, value: Option<&'v Text>) -> Vec<Value<'v>> {
    const WORDS: [&str; 10] = [
        "platforms",
        "tags",
        "images",
        "needs",
        "entitlements",
        "ulimits",
        "no-cache-filter",
        "remove",
        "cache",
        "require",
    ];
    let Some(value) = value else { return Vec::new() };
    let fields = match WORDS.contains(&key.value.as_str()) {
        true => split_csv(&value.value).unwrap_or_else(|| vec![value.value.clone()]),
        false => vec![value.value.clone()],
    };
    let fields = fields.into_iter().filter(|field| !field.trim().is_empty());
    fields.map(|field| spanned(value, field)).collect()
}

fn string(text: &Text) -> Value<'_> {
    spanned(text, text.value.clone())
}

/// `value`, which is said by `text`: placed to the letter where it stands there.
fn spanned(text: &Text, value: String) -> Value<'_> {
    let whole = text.place().span;
    let span = match text.value.find(&value) {
        Some(at) => whole.start + at..whole.start + at + value.len(),
        None => whole,
    };
    Spanned::new(span, DeValue::String(value.into()))
}

/// Hands a value to the reader of its key.
fn give(reader: &mut Reader<'_>, layer: &mut Layer, is_on: bool, key: &Text, value: DeValue<'_>) {
    give_at(reader, layer, is_on, key, Spanned::new(key.place().span, value));
}

fn give_at(reader: &mut Reader<'_>, layer: &mut Layer, is_on: bool, key: &Text, value: Value<'_>) {
    let span = key.place().span;
    match key.value.as_str() {
        "image" => layer.images = reader.text("image", &value, Role::Template).map(|text| vec![text]),
        "images" => layer.images = reader.texts("images", &value, Role::Template),
        "dockerfile" => {
            let text = reader.text("dockerfile", &value, Role::Template);
            layer.dockerfile = text.map(DockerfileDeclaration::File);
        }
        "dockerfile-inline" => {
            let text = reader.text("dockerfile-inline", &value, Role::Raw);
            layer.dockerfile = text.map(DockerfileDeclaration::Inline);
        }
        name => {
            let key = Spanned::new(span, name.to_string().into());
            if is_on {
                read_on_key(reader, layer, &key, &value);
            } else {
                read_layer_key(reader, layer, &key, &value);
            }
        }
    }
}

fn give_truth(reader: &mut Reader<'_>, layer: &mut Layer, said: &Override, truth: bool) {
    match said.key.value.as_str() {
        "push" => layer.push = Some(truth),
        "load" => layer.load = Some(truth),
        _ => give(reader, layer, said.platform.is_some(), &said.key, DeValue::Boolean(truth)),
    }
}

fn not_a_truth(said: &Override) -> Problem {
    let value = said.value.as_ref().unwrap_or(&said.key);
    let message = format!("`{}` must be `true` or `false`, not `{}`", said.key.value, value.value);
    Problem::input("config::wrong-type", message).at(value.place(), "neither")
}
