//! From the build file to a plan: find, read, resolve, select, read Dockerfiles, compile.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::Failure;
use super::dockerfiles::{DockerfileReader, Found};
use super::session::Session;
use crate::base::Platform;
use crate::config::{self, Disk, Overrides};
use crate::diag::Problem;
use crate::facts::{Facts, GitFacts};
use crate::model::{Call, Project, Target};
use crate::plan::{self, Dockerfiles, Plan, Request, Selection};

/// What the command line says about the build file.
#[derive(Clone, Debug, Default)]
pub struct ProjectOptions {
    /// `--file`
    pub file: Option<PathBuf>,
    pub vars: BTreeMap<String, String>,
    pub platforms: Vec<Platform>,
    /// Targets and groups; `default` when empty.
    pub names: Vec<String>,
}

/// A project whose plan stands.
#[derive(Debug)]
pub struct Planned {
    pub project: Project,
    pub plan: Arc<Plan>,
    /// The targets that were asked for.
    pub requested: Vec<String>,
    /// Those of them that are checked instead of being built.
    pub checked: Vec<Target>,
    pub warnings: Vec<Problem>,
}

/// The resolved project and what is odd about it.
pub fn load(options: &ProjectOptions, facts: &mut Facts) -> Result<(Project, Vec<Problem>), Failure> {
    let file = find(options, facts).map_err(|problem| vec![*problem])?;
    let loaded = config::load(&file, &Disk);
    if config::needs_git(&loaded) && facts.git.is_none() {
        facts.git = GitFacts::read(&loaded.root).map_err(|error| {
            vec![
                Problem::input(
                    "facts::git",
                    format!("the build file asks for git, which cannot be read: {error}"),
                )
                .help("run mab inside a git work tree, with `git` installed"),
            ]
        })?;
    }
    let overrides = Overrides { vars: options.vars.clone(), platforms: options.platforms.clone() };
    config::resolve(&loaded, facts, &overrides)
}

fn find(options: &ProjectOptions, facts: &Facts) -> Result<PathBuf, Box<Problem>> {
    let current = &facts.directories.current;
    if let Some(file) = &options.file {
        let path = current.join(file);
        let path = if path.is_dir() { path.join(config::FILE_NAME) } else { path };
        return if path.is_file() {
            Ok(path)
        } else {
            Err(Box::new(
                Problem::input("config::missing-file", format!("there is no file `{}`", file.display()))
                    .help("check the path given with `--file`"),
            ))
        };
    }
    config::find(current).ok_or_else(|| {
        Box::new(
            Problem::input(
                "config::missing-file",
                format!("there is no `{}` in `{}` or above it", config::FILE_NAME, current.display()),
            )
            .help("go to the project's folder, or name the file with `--file`"),
        )
    })
}

/// Compiles the plan of what `options` names. `call` stands in for what the targets say is to be done.
pub async fn plan(
    options: &ProjectOptions,
    request: &Request,
    call: Option<Call>,
    facts: &mut Facts,
    session: &Session<'_>,
) -> Result<Planned, Failure> {
    let (project, mut warnings) = load(options, facts)?;
    let selection = plan::select(&project, &options.names)?;
    let (selection, checked) = match call {
        None => selection.without_checks(&project),
        Some(Call::Build) => (selection, Vec::new()),
        Some(Call::Check) => {
            let all: Vec<&Target> = selection.requested;
            (Selection::default(), all)
        }
    };
    let checked: Vec<Target> = checked.into_iter().cloned().collect();
    let mut problems = Vec::new();
    let mut reader = DockerfileReader::new(facts, session);
    let mut dockerfiles = Dockerfiles::new();
    let mut found = Found { problems: &mut problems, warnings: &mut warnings };
    for target in selection.all() {
        for variant in &target.variants {
            if let Some(dockerfile) = reader.read(variant, &mut found).await {
                dockerfiles.insert((target.name.clone(), variant.platform.value.clone()), dockerfile);
            }
        }
    }
    let compiled = plan::compile(&selection, request, &dockerfiles);
    let requested = selection.requested.iter().map(|target| target.name.clone()).collect();
    match compiled {
        Ok(plan) if problems.is_empty() => {
            Ok(Planned { project, plan: Arc::new(plan), requested, checked, warnings })
        }
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            dedup(&mut problems);
            Err(problems)
        }
    }
}

/// The same Dockerfile for two platforms has its problems once.
pub(super) fn dedup(problems: &mut Vec<Problem>) {
    let mut seen: Vec<Problem> = Vec::new();
    problems.retain(|problem| {
        let known = seen.contains(problem);
        if !known {
            seen.push(problem.clone());
        }
        !known
    });
}
