//! Which layers say something about a target, in the order of their strength.
//!
//! Runs do not pay for it: what a layer says is looked up in the text of its file when somebody asks.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::declare::{GroupDeclaration, TargetDeclaration, is_template};
use super::keys::Section;
use super::load::Loaded;
use super::path;
use super::resolve::{Overrides, Run, prepare};
use super::set::Override;
use super::shape::{self, Shape};
use super::tagging;
use super::template::Scope;
use super::text::{File, Text};
use super::vars;
use crate::base::Platform;
use crate::diag::Place;
use crate::facts::Facts;

/// What one layer says about one value.
#[derive(Clone, Debug)]
pub struct Step {
    /// In the words of the documentation: `[project]`, template, target, `on`, group, `--set`.
    pub layer: String,
    /// The one platform that it is said for.
    pub platform: Option<Platform>,
    pub key: String,
    /// The entry of a table.
    pub entry: Option<String>,
    pub how: How,
    /// As it is written; empty for what is removed.
    pub text: String,
    /// What the templates in it come to.
    pub rendered: Option<String>,
    /// `None` for what comes from the environment.
    pub place: Option<Place>,
    /// The platforms for which no stronger layer has another word.
    pub holds_for: Vec<Platform>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    Removes,
    Gives,
    Adds,
}

/// Everything that layers say about `target`, weakest first; `None` when the run has no such target.
pub fn explain(
    loaded: &Loaded,
    facts: &Facts,
    overrides: &Overrides,
    target: &str,
    platforms: &[Platform],
) -> Option<Vec<Step>> {
    // Problems are for whoever resolves the file.
    let mut problems = Vec::new();
    prepare(loaded, facts, overrides, &mut problems, |run, _| {
        let member = run.roster.members.get(target)?;
        let scope = run.world.scope(Some(target), platforms.first(), member.matrix.clone());
        let mut explainer = Explainer { run, scope, steps: Vec::new() };
        explainer.file(&member.lineage, target);
        for said in run.by_target.get(target).into_iter().flatten() {
            explainer.group(said.name, said.group);
        }
        for on in [false, true] {
            for said in run.sets.said(target).filter(|said| said.platform.is_some() == on) {
                explainer.set(said);
            }
        }
        let mut steps = explainer.steps;
        decide(&mut steps, platforms);
        Some(steps)
    })
}

/// Where the value of a variable comes from, weakest first; `None` when none is declared.
pub fn explain_variable(
    loaded: &Loaded,
    facts: &Facts,
    overrides: &Overrides,
    name: &str,
) -> Option<Vec<Step>> {
    let var = loaded.declared.vars.get(name)?;
    let step = |layer: String, text: String, place| Step {
        layer,
        platform: None,
        key: format!("vars.{name}"),
        entry: None,
        how: How::Gives,
        text: if var.is_secret { "***".to_string() } else { text },
        rendered: None,
        place,
        holds_for: Vec::new(),
    };
    let mut steps = Vec::new();
    if let Some(default) = &var.default {
        let text = serde_json::to_string(&minijinja::Value::from(&default.value)).unwrap_or_default();
        steps.push(step("default".to_string(), text, default.place.clone()));
    }
    let mut given = vars::all_given(name, var, &overrides.vars, &facts.environment);
    given.reverse();
    for (origin, text) in given {
        steps.push(step(origin, quoted(text), None));
    }
    Some(steps)
}

struct Explainer<'r, 'w, 'e> {
    run: &'r Run<'w, 'e>,
    scope: Scope,
    steps: Vec<Step>,
}

/// A layer while its table is read.
struct Layer<'s> {
    name: String,
    platform: Option<&'s Platform>,
    place: &'s Place,
}

impl<'w> Explainer<'_, 'w, '_> {
    fn file(&mut self, lineage: &[&'w TargetDeclaration], target: &str) {
        let declared = self.run.world.declared;
        let project = &declared.project.layer;
        let place = project.images.iter().flatten().next().map(Text::place);
        let listed = project.platforms.iter().flatten().next();
        let place = place.or_else(|| listed.map(|platform| platform.value.0.place()));
        if let Some(place) = place {
            let layer = Layer { name: "`[project]`".to_string(), platform: None, place: &place };
            self.table(&layer, "project", Section::Project);
        }
        for platform_only in [false, true] {
            for declaration in lineage {
                let found = declared.targets.iter().find(|(_, known)| std::ptr::eq(*known, *declaration));
                let Some((name, _)) = found else { continue };
                let layer = match name {
                    name if is_template(name) => format!("template `{name}`"),
                    name if name == target || std::ptr::eq(*declaration, lineage[lineage.len() - 1]) => {
                        "target".to_string()
                    }
                    name => format!("target `{name}`"),
                };
                if !platform_only {
                    let layer = Layer { name: layer, platform: None, place: &declaration.place };
                    self.table(&layer, "target", Section::Target);
                    continue;
                }
                for (platform, _) in &declaration.on {
                    let layer = Layer {
                        name: format!("`on.\"{}\"` of {layer}", platform.value),
                        platform: Some(&platform.value),
                        place: &declaration.place,
                    };
                    self.on_table(&layer, &platform.value);
                }
            }
        }
    }

    fn group(&mut self, name: &str, group: &GroupDeclaration) {
        let layer = Layer { name: format!("group `{name}`"), platform: None, place: &group.place };
        self.table(&layer, "group", Section::Group);
    }

    /// The table of the layer: `kind` itself, or what is declared in it where the layer says.
    fn table(&mut self, layer: &Layer<'_>, kind: &str, section: Section) {
        let source = layer.place.source.clone();
        let (document, _) = DeTable::parse_recoverable(&source.text);
        let table = match section {
            Section::Project => inner(document.get_ref(), kind),
            _ => inner(document.get_ref(), kind).and_then(|all| declared_at(all, layer.place)),
        };
        if let Some(table) = table {
            self.read(layer, table, section);
        }
    }

    /// The `on` table, whose platform may be written in several ways.
    fn on_table(&mut self, layer: &Layer<'_>, platform: &Platform) {
        let source = layer.place.source.clone();
        let (document, _) = DeTable::parse_recoverable(&source.text);
        let target = inner(document.get_ref(), "target").and_then(|all| declared_at(all, layer.place));
        for (name, value) in target.and_then(|target| inner(target, "on")).into_iter().flatten() {
            let is_it = name.get_ref().parse::<Platform>().is_ok_and(|known| known == *platform);
            if let (true, DeValue::Table(table)) = (is_it, value.get_ref()) {
                self.read(layer, table, Section::On);
            }
        }
    }

    fn read(&mut self, layer: &Layer<'_>, table: &DeTable<'_>, section: Section) {
        let first = self.steps.len();
        for (key, value) in table {
            let key = key.get_ref().as_ref();
            let place = Place::new(&layer.place.source, value.span());
            match (key, value.get_ref()) {
                ("append", DeValue::Table(added)) => {
                    for (key, value) in added {
                        let place = Place::new(&layer.place.source, value.span());
                        self.value(layer, key.get_ref(), value.get_ref(), How::Adds, &place);
                    }
                }
                ("remove", DeValue::Array(paths)) => {
                    for removed in paths.iter() {
                        let place = Place::new(&layer.place.source, removed.span());
                        let path = removed.get_ref().as_str().unwrap_or_default();
                        let (key, entry) = path.split_once('.').map_or((path, None), |(k, e)| (k, Some(e)));
                        self.removal(layer, key, entry.map(path::unquoted), &place);
                    }
                }
                _ if is_of_value(section, key) => self.value(layer, key, value.get_ref(), How::Gives, &place),
                _ => {}
            }
        }
        // What a layer removes is gone before it says anything itself.
        self.steps[first..].sort_by_key(|step| step.how);
    }

    fn value(&mut self, layer: &Layer<'_>, key: &str, value: &DeValue<'_>, how: How, place: &Place) {
        match value {
            DeValue::Table(entries) => {
                for (entry, value) in entries {
                    let place = Place::new(&place.source, value.span());
                    // Bake's way to take a context away.
                    match (key, value.get_ref().as_str()) {
                        ("contexts", Some("")) => self.removal(layer, key, Some(entry.get_ref()), &place),
                        _ => self.step(layer, key, Some(entry.get_ref()), value.get_ref(), how, &place),
                    }
                }
            }
            _ => self.step(layer, key, None, value, how, place),
        }
    }

    fn removal(&mut self, layer: &Layer<'_>, key: &str, entry: Option<&str>, place: &Place) {
        self.steps.push(Step {
            layer: layer.name.clone(),
            platform: layer.platform.cloned(),
            key: path::one_spelling(key).to_string(),
            entry: entry.map(str::to_string),
            how: How::Removes,
            text: String::new(),
            rendered: None,
            place: Some(place.clone()),
            holds_for: Vec::new(),
        });
    }

    fn step(
        &mut self,
        layer: &Layer<'_>,
        key: &str,
        entry: Option<&str>,
        value: &DeValue<'_>,
        how: How,
        place: &Place,
    ) {
        let text = shown(value, &|text| Some(text.to_string())).unwrap_or_default();
        let is_raw = matches!(key, "dockerfile-inline" | "description" | "when")
            || tagging::is_key(key) && key != "git-tag-prefix";
        let rendered = (text.contains("{{") && !is_raw)
            .then(|| shown(value, &|text| self.rendered(text, place)))
            .flatten()
            .filter(|rendered| *rendered != text);
        self.steps.push(Step {
            layer: layer.name.clone(),
            platform: layer.platform.cloned(),
            key: path::one_spelling(key).to_string(),
            entry: entry.map(str::to_string),
            how,
            text,
            rendered,
            place: Some(place.clone()),
            holds_for: Vec::new(),
        });
    }

    fn rendered(&self, text: &str, place: &Place) -> Option<String> {
        let file = File { source: place.source.clone(), directory: Default::default(), is_literal: false };
        let text = Text::new(text, &std::sync::Arc::new(file), place.span.clone());
        self.run.world.templates.render(&text, &self.scope).ok().map(std::borrow::Cow::into_owned)
    }

    fn set(&mut self, said: &Override) {
        let layer = Layer {
            name: "`--set`".to_string(),
            platform: said.platform.as_ref().map(|platform| &platform.value),
            place: &said.key.place(),
        };
        let (key, entry) = (said.key.value.as_str(), said.sub.as_ref().map(|sub| sub.value.as_str()));
        let Some(value) = &said.value else { return };
        let place = value.place();
        let is_empty = value.value.is_empty();
        match (key, said.shape) {
            ("remove", _) => {
                for path in value.value.split(',') {
                    let (key, entry) = path.split_once('.').map_or((path, None), |(k, e)| (k, Some(e)));
                    self.removal(&layer, key, entry.map(path::unquoted), &place);
                }
            }
            ("contexts", _) if is_empty => self.removal(&layer, key, entry, &place),
            (_, Shape::List | Shape::Single) if is_empty => self.removal(&layer, key, None, &place),
            (_, shape) => {
                let how = if said.appends || shape == Shape::List && entry.is_some() {
                    How::Adds
                } else {
                    How::Gives
                };
                let entry = entry.filter(|_| shape == Shape::Table);
                let value = DeValue::String(value.value.as_str().into());
                self.step(&layer, key, entry, &value, how, &place);
            }
        }
    }
}

/// Whether a key is one whose value has layers.
fn is_of_value(section: Section, key: &str) -> bool {
    match section {
        Section::Project => matches!(key, "image" | "images" | "platforms") || tagging::is_key(key),
        Section::Group => {
            matches!(key, "push" | "load" | "tags" | "annotations" | "output") || tagging::is_key(key)
        }
        _ => !matches!(key, "inherits" | "matrix" | "on") && shape::of(section, key).is_some(),
    }
}

/// A value in one line, its strings as `text` has them; `None` when that has none.
fn shown(value: &DeValue<'_>, text: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    Some(match value {
        DeValue::String(string) => quoted(&text(string)?),
        DeValue::Integer(number) => number.as_str().to_string(),
        DeValue::Float(number) => number.as_str().to_string(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(date) => date.to_string(),
        DeValue::Array(members) => {
            let members: Option<Vec<String>> = members.iter().map(|one| shown(one.get_ref(), text)).collect();
            format!("[{}]", members?.join(", "))
        }
        DeValue::Table(entries) => {
            let entries: Option<Vec<String>> = entries
                .iter()
                .map(|(key, value)| Some(format!("{} = {}", key.get_ref(), shown(value.get_ref(), text)?)))
                .collect();
            format!("{{ {} }}", entries?.join(", "))
        }
    })
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn inner<'t>(table: &'t DeTable<'t>, name: &str) -> Option<&'t DeTable<'t>> {
    table.iter().find(|(key, _)| key.get_ref() == name)?.1.get_ref().as_table()
}

/// What is declared at `place`. Its name in the run may be another one: files are included with a prefix.
fn declared_at<'t>(all: &'t DeTable<'t>, place: &Place) -> Option<&'t DeTable<'t>> {
    all.iter().find(|(key, _)| key.span() == place.span)?.1.get_ref().as_table()
}

/// Marks for which platforms each step holds.
fn decide(steps: &mut [Step], platforms: &[Platform]) {
    let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        by_key.entry(step.key.clone()).or_default().push(at);
    }
    for at_key in by_key.values() {
        for platform in platforms {
            let mut live: Vec<usize> = Vec::new();
            for at in at_key {
                let step = &steps[*at];
                if step.platform.as_ref().is_some_and(|only| only != platform) {
                    continue;
                }
                match (step.how, &step.entry) {
                    (How::Gives | How::Removes, None) => live.clear(),
                    (How::Gives | How::Removes, entry) => live.retain(|known| steps[*known].entry != *entry),
                    (How::Adds, _) => {}
                }
                live.push(*at);
            }
            for at in live {
                steps[at].holds_for.push(platform.clone());
            }
        }
    }
}
