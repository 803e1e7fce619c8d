//! Files of other tools as a multiarch.toml: what is shared stays shared, variables stay variables, and
//! what has no equal is written as it comes out, with a word about it.
//!
//! ```text
//! blocks (attributes, translate) ─┐
//! services ───────────────────────┼─▶ document ─ lineage, shared ─▶ Draft ─ write ─▶ text
//! variables ──────────────────────┘
//! ```
//!
//! A draft is a claim: [`Draft::refuse`] and [`Draft::settle`] are for whoever reads it back and compares.

mod attributes;
mod blocks;
mod comments;
mod inline;
mod lineage;
mod literal;
mod renderer;
mod services;
mod shared;
mod translate;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::bake::{self, Given};
use super::definition::{Definition, Selection};
use super::{Imported, Request, Sorted, compose, given, hcl, home, select, sort};
use crate::config::budget::Budget;
use crate::config::files::Files;
use crate::config::filters;
use crate::config::value::VarValue;
use crate::diag::Problem;
use crate::facts::Facts;
use crate::model::Project;

use crate::config::write::{Document, Item, Kind, Section, Tree, Written};
use blocks::Blocks;
use renderer::Renderer;
use translate::Translator;
use variables::Variables;

/// A file that is being written.
#[derive(Debug)]
pub struct Draft {
    document: Document,
    /// Everything that the files define, for comparison.
    pub imported: Imported,
    /// Targets that have another name here.
    pub renamed: BTreeMap<String, String>,
    /// What the files were read with.
    pub facts: Facts,
}

/// What the files are as a multiarch.toml. The file is for everybody, so the environment of whoever asks counts
/// only where the files cannot be read without it.
pub fn rewrite(request: &Request, facts: &Facts, disk: &(dyn Files + Sync)) -> Result<Draft, Vec<Problem>> {
    let mut neutral = facts.clone();
    neutral.environment.retain(|name, _| name == "HOME" || name.starts_with("BUILDX_BAKE_"));
    super::on_large_stack(|| {
        rewrite_here(request, &neutral, disk).or_else(|_| rewrite_here(request, facts, disk))
    })
}

fn rewrite_here(request: &Request, facts: &Facts, disk: &(dyn Files + Sync)) -> Result<Draft, Vec<Problem>> {
    let given = given(request, facts);
    let Sorted { compose, bake, mut problems } = sort(request, &given, facts, disk);
    let mut base = Definition::default();
    if !compose.is_empty() {
        match compose::read(&compose, &given, facts, disk) {
            Ok(read) => {
                base = read.definition;
                problems.extend(read.warnings);
            }
            Err(found) => problems.extend(found),
        }
    }
    let definitions = bake::read(&bake);
    if problems.iter().chain(&definitions.problems).any(Problem::is_error) {
        problems.extend(definitions.problems);
        return Err(problems);
    }
    let surroundings = || hcl::Surroundings::new(facts.now, home(facts), request.seed);
    let resolver = bake::open(&definitions, &given, surroundings());
    let mut variables = variables::collect(&definitions, &resolver);
    let marked = marked_services(&compose, &given, facts, disk, &mut variables);
    let budget = Budget::default();
    let environment = filters::environment(&BTreeMap::new(), &budget, filters::Asked::default());
    let mut document = Document::default();
    let renderer = Renderer::new(&environment, &variables.values, budget);
    let names: BTreeMap<String, String> =
        variables.names.iter().map(|(name, ours)| (name.to_string(), ours.clone())).collect();
    services::write(&mut document, &base, marked.as_ref(), &names, &renderer);
    let mut translator = Translator::new(&definitions, &variables.names);
    variables::add_rules(&mut variables.sections, &definitions, &mut translator, &renderer);
    let inherited = inherited(&definitions, &resolver);
    let mut blocks = Blocks {
        definitions: &definitions,
        resolver,
        translator,
        renderer,
        document: &mut document,
        inherited,
    };
    blocks.write();

    let resolved = bake::resolve(&definitions, &given, surroundings(), base);
    problems.extend(resolved.problems);
    let definition = super::definition::finish(resolved.definition, super::is_file_relative(facts));
    let imported = everything(&definition, request, &given, problems)?;
    let mut draft = Draft { document, imported, renamed: BTreeMap::new(), facts: facts.clone() };
    draft.finish(variables);
    Ok(draft)
}

/// Parents of any target.
fn inherited(definitions: &bake::Definitions, resolver: &bake::Resolver<'_>) -> Vec<String> {
    let blocks = 0..definitions.blocks.len();
    let targets = blocks.flat_map(|block| resolver.expansions(block)).map(|one| &one.target);
    targets.flat_map(|target| target.inherits.iter().cloned()).collect()
}

/// All targets and groups, as if somebody asked for each.
fn everything(
    definition: &Definition,
    request: &Request,
    given: &Given,
    mut problems: Vec<Problem>,
) -> Result<Imported, Vec<Problem>> {
    let groups = definition.groups.iter().map(|group| group.name.clone());
    let mut seen = BTreeSet::new();
    let names = definition.target_names().map(str::to_string).chain(groups);
    let names: Vec<String> = names.filter(|name| seen.insert(name.clone())).collect();
    let request = Request { names, ..request.clone() };
    if problems.iter().any(Problem::is_error) {
        return Err(problems);
    }
    let selected =
        if request.names.is_empty() { Ok(Selection::default()) } else { select(definition, &request, given) };
    match selected {
        Ok(mut selection) => {
            problems.append(&mut selection.warnings);
            Ok(Imported {
                selection,
                variables: Vec::new(),
                groups: Vec::new(),
                environment: BTreeMap::new(),
                warnings: problems,
                root: None,
            })
        }
        Err(problem) => {
            problems.push(*problem);
            Err(problems)
        }
    }
}

/// The Compose files with marks for the values of their variables, which become ours.
fn marked_services(
    files: &[super::ImportFile],
    given: &Given,
    facts: &Facts,
    disk: &(dyn Files + Sync),
    variables: &mut Variables,
) -> Option<Definition> {
    let known = compose::variables(given, facts, disk).unwrap_or_default();
    let mut marks = given.clone();
    let asked = files.iter().flat_map(|file| services::asked(&file.text));
    for (name, default) in asked.filter(|(name, _)| name != "COMPOSE_PROJECT_NAME") {
        marks.vars.insert(name.clone(), services::mark(&name));
        if variables.names.contains_key(name.as_str()) {
            continue;
        }
        let ours = name.to_lowercase();
        let is_taken = variables.names.values().any(|other| *other == ours);
        let ours = if is_taken { name.clone() } else { ours };
        let value = known.peek(&name).cloned().or(default).unwrap_or_default();
        let mut section = Section::new(Kind::Var, &ours);
        let comments = known.peek(&name).is_some().then(|| "from `.env`, which is not read here".to_string());
        section.put(Item::new("default", Tree::text(&value)).noted(comments));
        section.put(Item::new("env", Tree::text(&name)));
        variables.sections.push(section);
        variables.values.push((ours.clone(), VarValue::text(value)));
        variables.names.insert(Rc::from(name), ours);
    }
    compose::read(files, &marks, facts, disk).ok().map(|read| read.definition)
}

impl Draft {
    fn finish(&mut self, variables: Variables) {
        let document = &mut self.document;
        lineage::cut_circles(document);
        lineage::add_up(document);
        self.renamed = lineage::rename(document);
        dockerfiles_of_the_directory(document);
        self.give_platforms();
        let selection = &self.imported.selection;
        let platforms = |name: &str| {
            let target = selection.targets.get(name);
            target.and_then(|target| target.platforms.clone()).unwrap_or_default()
        };
        leave_defaults_out(&mut self.document);
        shared::lift_platforms(&mut self.document, &platforms);
        shared::lift_image(&mut self.document);
        self.keep_used(variables);
        self.sort();
    }

    /// What only others use is built for their platforms, which bake does not say.
    fn give_platforms(&mut self) {
        let selection = &self.imported.selection;
        let linked: Vec<(String, Vec<String>)> = selection
            .targets
            .values()
            .flat_map(|target| {
                let platforms = target.platforms.clone().unwrap_or_default();
                target.links().map(move |link| (link.to_string(), platforms.clone())).collect::<Vec<_>>()
            })
            .collect();
        for (name, target) in &selection.targets {
            if target.platforms.as_ref().is_some_and(|platforms| !platforms.is_empty()) {
                continue;
            }
            let mut wanted: Vec<&String> =
                linked.iter().filter(|(link, _)| link == name).flat_map(|(_, platforms)| platforms).collect();
            wanted.sort();
            wanted.dedup();
            if wanted.is_empty() {
                continue;
            }
            let item = Item::new("platforms", Tree::texts(wanted.into_iter().cloned()))
                .noted([shared::OF_CONSUMERS.to_string()]);
            let name = self.renamed.get(name).unwrap_or(name);
            if let Some(section) = self.document.section_mut(Kind::Target, name) {
                section.put(item);
            }
        }
    }

    /// Variables that something asks for; of the others, a list.
    fn keep_used(&mut self, variables: Variables) {
        let text = self.document.write().text;
        let is_used = |name: &str| {
            text.match_indices(&format!("vars.{name}")).any(|(at, found)| {
                !text[at + found.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            })
        };
        let rules: String = variables
            .sections
            .iter()
            .filter_map(|section| Some(section.item("validate")?.value.inline()))
            .collect();
        let (used, unused): (Vec<_>, Vec<_>) = variables.sections.into_iter().partition(|section| {
            is_used(&section.name)
                || ["validate", "one-of", "pattern"].iter().any(|key| section.item(key).is_some())
                || rules.contains(&format!("vars.{}", section.name))
        });
        self.document.sections.extend(used);
        if !unused.is_empty() {
            let names: Vec<String> = unused.iter().map(|section| format!("`{}`", section.name)).collect();
            self.document.tail.push(format!("variables that no key here asks for: {}", names.join(", ")));
        }
        self.document.tail.extend(variables.remarks);
    }

    fn sort(&mut self) {
        self.document.sections.sort_by_key(|section| match section.kind {
            Kind::Project => 0,
            Kind::Var => 1,
            Kind::Group if section.name == "default" => 2,
            Kind::Group => 3,
            Kind::Target => 4,
        });
        for section in self.document.sections.iter_mut().filter(|section| section.kind == Kind::Target) {
            section.items.sort_by_key(|item| literal::order(&item.key));
        }
        for section in &mut self.document.sections {
            let is_empty = |item: &Item| matches!(&item.value, Tree::Table(members) if members.is_empty());
            section.items.retain(|item| !is_empty(item));
        }
    }

    pub fn write(&self) -> Written {
        self.document.write()
    }

    /// Makes the key in a line of the text a comment with the reason. One with templates becomes what they come
    /// to, first, unless it is the key that is wrong. Whether there was such a key.
    pub fn refuse(&mut self, line: usize, reason: &str, is_about_key: bool) -> bool {
        let written = self.document.write();
        let Some(Some((section, item, entry))) = written.origins.get(line.saturating_sub(1)).cloned() else {
            return false;
        };
        let (name, kind) =
            (self.document.sections[section].name.clone(), self.document.sections[section].kind);
        let key = self.document.sections[section].items[item].key.clone();
        let known = &self.document.sections[section].items[item];
        let may_be_plainer = kind == Kind::Target && !known.is_settled && known.value.has_template();
        if !is_about_key && may_be_plainer && self.settle(&name, &key, entry.as_deref()) {
            return true;
        }
        let item = &mut self.document.sections[section].items[item];
        match entry {
            Some(entry) if item.key != "matrix" => item.refused_entries.push((entry, reason.to_string())),
            _ => item.refused = Some(reason.to_string()),
        }
        true
    }

    /// Writes a key of a target as it came out, with everything inherited. Whether that changes anything.
    pub fn settle(&mut self, target: &str, key: &str, entry: Option<&str>) -> bool {
        let theirs = self.renamed.iter().find(|(_, ours)| *ours == target).map_or(target, |(name, _)| name);
        let Some(resolved) = self.imported.selection.targets.get(theirs) else { return false };
        let value = literal::attributes(resolved).into_iter().find(|(known, _)| *known == key);
        let Some(section) = self.document.section_mut(Kind::Target, target) else { return false };
        let note = "as it comes out there: templates and inheritance give something else here".to_string();
        let Some((_, value)) = value else { return false };
        if section.item(key).is_some_and(|item| item.is_settled && entry.is_none()) {
            return false;
        }
        match (entry, &value, section.item_mut(key)) {
            (Some(entry), Tree::Table(members), Some(Item { value: Tree::Table(own), notes, .. })) => {
                let Some((_, value)) = members.iter().find(|(name, _)| name == entry) else { return false };
                let Some(own) = own.iter_mut().find(|(name, _)| name == entry) else { return false };
                if own.1 == *value {
                    return false;
                }
                own.1 = value.clone();
                notes.push((entry.to_string(), note));
            }
            _ => {
                let mut item = Item::new(key, value);
                item.is_settled = true;
                section.put(item.noted([note]));
                if key == "dockerfile-inline" {
                    section.remove("dockerfile");
                }
            }
        }
        self.sort();
        true
    }

    /// Keys that stand in comments somewhere.
    pub fn incomparable(&self) -> BTreeSet<String> {
        let items = self.document.targets().flat_map(|section| &section.items);
        let refused = items.filter(|item| item.refused.is_some() || !item.refused_entries.is_empty());
        refused.map(|item| item.key.clone()).collect()
    }

    /// What the files are about, without what could not be carried over.
    pub fn project(&self) -> Result<Project, Vec<Problem>> {
        let mut selection = self.imported.selection.clone();
        for key in self.incomparable() {
            selection.targets.values_mut().for_each(|target| literal::clear(target, &key));
        }
        super::project::project(&selection, &self.facts, &[], None).map(|(project, _)| project)
    }

    /// Whether bake says for which platforms a target is.
    pub fn says_platforms(&self, target: &str) -> bool {
        let target = self.imported.selection.targets.get(target);
        target.is_some_and(|target| target.platforms.as_ref().is_some_and(|all| !all.is_empty()))
    }

    /// How many targets, and how many keys and entries that are comments.
    pub fn counts(&self) -> (usize, usize) {
        let items = || self.document.sections.iter().flat_map(|section| &section.items);
        let refused = items().map(|item| usize::from(item.refused.is_some()) + item.refused_entries.len());
        (self.document.targets().count(), refused.sum())
    }
}

/// The directory of the file is the context anyway, where nothing else is inherited.
fn leave_defaults_out(document: &mut Document) {
    for section in document.sections.iter_mut().filter(|section| section.kind == Kind::Target) {
        let is_alone = section.item("inherits").is_none();
        if is_alone && section.item("context").is_some_and(|item| item.value == Tree::text(".")) {
            section.remove("context");
        }
        if is_alone && section.item("dockerfile").is_some_and(|item| item.value == Tree::text("Dockerfile")) {
            section.remove("dockerfile");
        }
    }
}

/// `cwd://` in front of a Dockerfile's path: the working directory instead of the context.
fn dockerfiles_of_the_directory(document: &mut Document) {
    for section in document.sections.iter_mut().filter(|section| section.kind == Kind::Target) {
        let context = match section.item("context").map(|item| &item.value) {
            Some(Tree::Text(context)) => context.clone(),
            _ => ".".to_string(),
        };
        let up = hcl::clean_path(&context).split('/').filter(|part| !part.is_empty() && *part != ".").count();
        if let Some(item) = section.item_mut("dockerfile") {
            item.value = item.value.map(&|text| match text.strip_prefix("cwd://") {
                Some(path) => format!("{}{path}", "../".repeat(up)),
                None => text.to_string(),
            });
        }
    }
}
