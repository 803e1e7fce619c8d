//! Build files of other tools, read by their rules: docker-bake.hcl, docker-bake.json and Compose files, as
//! `docker buildx bake` reads them.
//!
//! ```text
//! HCL, JSON ─ hcl, bake ─┐
//!                        ├─▶ definition ─ overrides ─▶ selection ─┬─ print ─▶ bake's JSON
//! Compose ──── compose ──┘                                       └─ project ─▶ model
//! ```
//!
//! What those tools pass over in silence is a warning here.

mod bake;
mod compose;
mod definition;
mod entries;
mod hcl;
mod names;
mod overrides;
mod print;
mod project;
mod rebase;
mod refused;
mod rewrite;
mod target;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::files::Files;
use super::variable::Variable;
use crate::base::Platform;
use crate::diag::{Place, Problem, Source};
use crate::facts::Facts;
use crate::model::Project;

pub use compose::yaml;
pub use entries::is_true;
pub(super) use hcl::{JsonKind, JsonNode, read_json};

use bake::{BakeFile, Given, Syntax};
use definition::{Definition, Selection};

pub use rewrite::{Draft, rewrite};

/// The files that bake looks for in the working directory, in the order in which it reads them.
pub const DEFAULT_FILES: [&str; 8] = [
    "compose.yaml",
    "compose.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "docker-bake.json",
    "docker-bake.hcl",
    "docker-bake.override.json",
    "docker-bake.override.hcl",
];

/// Stack for files that nest as deep as they may.
const STACK: usize = 256 << 20;

/// A file as it was named on the command line.
#[derive(Clone, Debug)]
pub struct ImportFile {
    pub name: String,
    pub text: String,
}

/// What is asked of the files.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub files: Vec<ImportFile>,
    /// Targets, groups and patterns; `default` when empty.
    pub names: Vec<String>,
    /// `--set`, and what flags are short for.
    pub overrides: Vec<String>,
    /// `--var`
    pub vars: BTreeMap<String, String>,
    /// What random values are made of.
    pub seed: [u8; 16],
    /// Where files of elsewhere were put: contexts are relative to it instead of the working directory.
    pub root: Option<PathBuf>,
    /// `BAKE_CMD_CONTEXT`, where the files are from elsewhere.
    pub command_context: Option<String>,
}

/// The targets that were asked for.
#[derive(Debug)]
pub struct Imported {
    selection: Selection,
    /// Those of bake files; Compose files have none of their own.
    pub variables: Vec<Variable>,
    /// The groups that files declare, with their members.
    pub groups: Vec<(String, Vec<String>)>,
    /// What the files have taken from the environment, and where.
    pub environment: BTreeMap<String, Option<Place>>,
    pub warnings: Vec<Problem>,
    root: Option<PathBuf>,
}

impl Imported {
    /// The JSON of `docker buildx bake --print`; of what bake refuses, all that is wrong.
    pub fn print(&self, facts: &Facts) -> Result<String, Vec<Problem>> {
        if refused::is_refused(&self.selection) {
            self.project(facts, &[]).map_err(|problems| [self.warnings.clone(), problems].concat())?;
        }
        Ok(print::print(&self.selection))
    }

    /// The names of the targets that were asked for, not only linked to.
    pub fn requested(&self) -> Vec<String> {
        let targets = self.selection.targets.keys();
        targets.filter(|name| !self.selection.linked.contains(*name)).cloned().collect()
    }

    /// Where the value of a target's attribute stands: the last place that gives it.
    pub fn place(&self, target: &str, key: &str) -> Option<&Place> {
        self.selection.targets.get(target)?.places.get(key)
    }

    /// The model, of which every platform is kept or only `platforms`.
    pub fn project(
        &self,
        facts: &Facts,
        platforms: &[Platform],
    ) -> Result<(Project, Vec<Problem>), Vec<Problem>> {
        let root = self.root.as_deref();
        let (mut project, warnings) = project::project(&self.selection, facts, platforms, root)?;
        project.environment.clone_from(&self.environment);
        Ok((project, warnings))
    }
}

/// Whether bake reads a file of this name; others are ours.
pub fn is_foreign(name: &str) -> bool {
    !name.to_lowercase().ends_with(".toml")
}

/// Reads the files and picks what was asked for. Pure but for `disk`, which Compose files may ask for more.
pub fn import(request: &Request, facts: &Facts, disk: &(dyn Files + Sync)) -> Result<Imported, Vec<Problem>> {
    on_large_stack(|| import_here(request, facts, disk))
}

fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T, Vec<Problem>> + Send) -> Result<T, Vec<Problem>> {
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        match worker.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => Err(vec![Problem::new(
                crate::diag::Kind::Host,
                "bake::thread",
                format!("the system gives no thread to read the file: {error}"),
            )]),
        }
    })
}

fn import_here(
    request: &Request,
    facts: &Facts,
    disk: &(dyn Files + Sync),
) -> Result<Imported, Vec<Problem>> {
    let given = given(request, facts);
    let mut reading = facts.clone();
    reading.directories.current = request.root.clone().unwrap_or(reading.directories.current);
    let sorted = sort(request, &given, &reading, disk);
    let mut problems = sorted.problems;
    let (mut base, mut environment) = (Definition::default(), BTreeMap::new());
    if !sorted.compose.is_empty() {
        match compose::read(&sorted.compose, &given, &reading, disk) {
            Ok(read) => {
                base = read.definition;
                environment = read.asked;
                problems.extend(read.warnings);
            }
            Err(found) => problems.extend(found),
        }
    }
    let definitions = bake::read(&sorted.bake);
    // With a file missing every name in it would be reported as unknown.
    if problems.iter().chain(&definitions.problems).any(Problem::is_error) {
        problems.extend(definitions.problems);
        return Err(problems);
    }
    environment.extend(bake::asked(&definitions, &given));
    let surroundings = hcl::Surroundings::new(facts.now, home(facts), request.seed);
    let resolved = bake::resolve(&definitions, &given, surroundings, base);
    problems.extend(resolved.problems);
    if problems.iter().any(Problem::is_error) {
        return Err(problems);
    }
    let definition = definition::finish(resolved.definition, is_file_relative(facts));
    match select(&definition, request, &given) {
        Ok(mut selection) => {
            problems.append(&mut selection.warnings);
            give_epoch(&mut selection, facts);
            let groups = definition.groups.iter().map(|group| (group.name.clone(), group.targets.clone()));
            let groups = groups.collect();
            let (variables, root) = (resolved.variables, request.root.clone());
            Ok(Imported { selection, variables, groups, environment, warnings: problems, root })
        }
        Err(problem) => {
            problems.push(*problem);
            Err(problems)
        }
    }
}

fn select(definition: &Definition, request: &Request, given: &Given) -> Result<Selection, Box<Problem>> {
    let targets: Vec<&str> = definition.target_names().collect();
    let environment = |name: &str| given.environment.get(name).cloned();
    let changes = overrides::read(&request.overrides, &targets, &environment).map_err(|message| {
        Box::new(Problem::input("bake::override", message).help(
            "an override is `TARGET.KEY=VALUE`, `TARGET.KEY+=VALUE` or `TARGET.KEY.NAME=VALUE`; \
             TARGET may have `*`",
        ))
    })?;
    definition.select(&request.names, &changes)
}

fn given(request: &Request, facts: &Facts) -> Given {
    let disabled = facts.environment.get("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP");
    let is_disabled = disabled.and_then(|text| is_true(text)).unwrap_or(false);
    let environment = if is_disabled { BTreeMap::new() } else { facts.environment.clone() };
    let builtins = [
        ("BAKE_CMD_CONTEXT".to_string(), request.command_context.clone().unwrap_or("cwd://".to_string())),
        ("BAKE_LOCAL_PLATFORM".to_string(), facts.host.to_string()),
    ];
    Given { vars: request.vars.clone(), environment, builtins: builtins.into() }
}

fn home(facts: &Facts) -> String {
    let home = facts.environment.get("HOME").filter(|home| !home.is_empty()).cloned();
    home.unwrap_or_else(|| "/".to_string())
}

fn is_file_relative(facts: &Facts) -> bool {
    let setting = facts.environment.get("BUILDX_BAKE_FILE_RELATIVE_PATHS");
    setting.and_then(|text| is_true(text.trim())).unwrap_or(false)
}

/// As bake, the epoch of the environment goes to every target that has none.
fn give_epoch(selection: &mut Selection, facts: &Facts) {
    const NAME: &str = "SOURCE_DATE_EPOCH";
    let Some(epoch) = facts.environment.get(NAME).filter(|epoch| !epoch.is_empty()) else { return };
    for target in selection.targets.values_mut() {
        let args = target.args.get_or_insert_default();
        args.entry(NAME.to_string()).or_insert_with(|| Some(epoch.clone()));
    }
}

/// The files by language.
struct Sorted {
    compose: Vec<ImportFile>,
    bake: Vec<BakeFile>,
    problems: Vec<Problem>,
}

/// By suffix; files of other names are read as Compose, then as HCL, then as JSON.
fn sort(request: &Request, given: &Given, facts: &Facts, disk: &(dyn Files + Sync)) -> Sorted {
    let mut sorted = Sorted { compose: Vec::new(), bake: Vec::new(), problems: Vec::new() };
    for file in &request.files {
        let lower = file.name.to_lowercase();
        let is_compose = if lower.ends_with(".yml") || lower.ends_with(".yaml") {
            true
        } else if lower.ends_with(".json") || lower.ends_with(".hcl") {
            false
        } else {
            compose::read(std::slice::from_ref(file), given, facts, disk).is_ok()
        };
        if is_compose {
            sorted.compose.push(file.clone());
            continue;
        }
        let bake_file = |syntax| BakeFile {
            source: Source::new(file.name.clone(), file.text.clone()),
            base: directory(&file.name),
            syntax,
        };
        let syntax = if lower.ends_with(".json") {
            Syntax::Json
        } else if lower.ends_with(".hcl") || reads(&bake_file(Syntax::Hcl)) {
            Syntax::Hcl
        } else if reads(&bake_file(Syntax::Json)) {
            Syntax::Json
        } else {
            Syntax::Hcl
        };
        sorted.bake.push(bake_file(syntax));
    }
    sorted
}

/// Whether a text is of the language that the file's name says.
pub fn can_be_parsed(name: &str, text: &str) -> bool {
    let source = Source::new(name, text);
    match name.rsplit('.').next() {
        Some("yaml" | "yml") => compose::can_be_parsed(&source),
        Some("json") => reads(&BakeFile { source, base: None, syntax: Syntax::Json }),
        _ => reads(&BakeFile { source, base: None, syntax: Syntax::Hcl }),
    }
}

fn reads(file: &BakeFile) -> bool {
    !bake::read(std::slice::from_ref(file)).problems.iter().any(Problem::is_error)
}

/// The directory of a file, as bake calls it; standard input has none.
fn directory(name: &str) -> Option<String> {
    if name.is_empty() || name == "-" {
        return None;
    }
    let parent = PathBuf::from(name).parent().map(|parent| parent.display().to_string());
    Some(parent.filter(|parent| !parent.is_empty()).unwrap_or_else(|| ".".to_string()))
}
