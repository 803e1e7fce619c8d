//! From the build file to a plan: find, read, resolve, select, read Dockerfiles, compile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Failure;
use super::build_files::{self, BuildFiles, OwnFile};
use super::changed::{self, Changed};
use super::dockerfiles::{DockerfileReader, Found};
use super::grants::{self, Bounded, Grant};
use super::lock_file;
use super::remote::{self, RemoteDefinition};
use super::session::Session;
use super::user;
use crate::config::import::Imported;
use crate::config::{self, Files, Overrides, PlatformName};
use crate::diag::Problem;
use crate::facts::{Facts, GitFacts};
use crate::model::{Call, Project, Target};
use crate::plan::{self, Dockerfiles, Plan, Request, Selection};

/// What the command line says about the build file.
#[derive(Clone, Debug, Default)]
pub struct ProjectOptions {
    /// `--file`
    pub files: Vec<PathBuf>,
    pub vars: BTreeMap<String, String>,
    /// `--set`
    pub overrides: Vec<String>,
    /// Overrides that flags are short for; they matter to files of other tools alone.
    pub shorthands: Vec<String>,
    pub platforms: Vec<PlatformName>,
    /// Targets and groups; `default` when empty.
    pub names: Vec<String>,
    pub changed: ChangedOption,
    /// `--only`: of the targets that `names` mean these, which stay what their groups make of them; all without any.
    pub only: Vec<String>,
    /// `--allow`
    pub grants: Vec<Grant>,
    /// `--builder`
    pub builder: Option<String>,
    /// The build file is from elsewhere.
    pub remote: Option<RemoteDefinition>,
}

/// `--changed`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ChangedOption {
    /// Not given.
    #[default]
    All,
    /// Only what differs from where this branch left the default branch.
    SinceMergeBase,
    Since(String),
}

/// A project whose plan stands.
#[derive(Debug)]
pub struct Planned {
    pub project: Project,
    pub plan: Arc<Plan>,
    /// The targets that were asked for.
    pub requested: Vec<String>,
    /// Others that were asked for, of which something else is wanted than to be built.
    pub called: Vec<Target>,
    pub warnings: Vec<Problem>,
    /// What `--changed` found.
    pub changed: Option<Changed>,
}

/// A build file that was read.
#[derive(Debug)]
pub struct Loaded {
    pub project: Project,
    /// What is odd about it.
    pub warnings: Vec<Problem>,
    /// Targets and groups that are asked for.
    pub names: Vec<String>,
    /// The file is bake's or Compose's, which allow more.
    pub is_foreign: bool,
    /// Where the first file is, and the lock beside it.
    pub folder: PathBuf,
}

/// The resolved project.
pub fn load(options: &ProjectOptions, facts: &mut Facts) -> Result<Loaded, Failure> {
    load_files(build_files::find(options, facts)?, options, facts)
}

/// The project that `files` resolve to, if it asks for nothing that is not granted.
pub(super) fn load_files(
    files: BuildFiles,
    options: &ProjectOptions,
    facts: &mut Facts,
) -> Result<Loaded, Failure> {
    load_from(files, options, facts, &*remote::disk(options))
}

/// The project as `files` say it on another disk.
pub(super) fn load_from(
    files: BuildFiles,
    options: &ProjectOptions,
    facts: &mut Facts,
    disk: &(dyn Files + Sync),
) -> Result<Loaded, Failure> {
    let mut loaded = load_ungranted(files, options, facts, disk)?;
    // What is wrong with the names is said by whoever needs them.
    let selection = plan::select(&loaded.project, &loaded.names);
    let targets: Vec<&Target> = match &selection {
        Ok(selection) => selection.all().collect(),
        Err(_) => loaded.project.targets.values().collect(),
    };
    grants::check(&loaded.project, &targets, options, facts).map_err(|problem| vec![*problem])?;
    let told = targets.iter().filter_map(|target| target.tagging.as_ref());
    let told: Vec<Problem> =
        told.flat_map(|tagging| &tagging.problems).filter(|one| !one.is_error()).cloned().collect();
    drop(targets);
    loaded.warnings.extend(told);
    dedup(&mut loaded.warnings);
    let odd = user::check_builders(&mut loaded.project, options.builder.as_deref(), facts)?;
    loaded.warnings.extend(odd);
    Ok(loaded)
}

fn load_ungranted(
    files: BuildFiles,
    options: &ProjectOptions,
    facts: &mut Facts,
    disk: &(dyn Files + Sync),
) -> Result<Loaded, Failure> {
    match files {
        BuildFiles::Own(file) => load_own(&file, options, facts, disk),
        BuildFiles::Foreign(files) => {
            let root = options.remote.as_ref().and_then(RemoteDefinition::root).map(Path::to_path_buf);
            let folder = root.unwrap_or_else(|| build_files::folder(&files, facts));
            let imported = build_files::import(files, options, facts, disk)?;
            let platforms =
                PlatformName::without_sets(&options.platforms).map_err(|problem| vec![problem])?;
            let (project, more) = imported.project(facts, &platforms).map_err(|problems| {
                // What is odd may be why something is wrong.
                imported.warnings.iter().cloned().chain(problems).collect::<Vec<_>>()
            })?;
            let names = imported.requested();
            let warnings = imported.warnings.into_iter().chain(more).collect();
            Ok(Loaded { project, warnings, names, is_foreign: true, folder })
        }
    }
}

/// Refuses files of other tools that reach further than is granted.
pub(super) fn check_imported(
    imported: &Imported,
    options: &ProjectOptions,
    facts: &Facts,
) -> Result<(), Failure> {
    if !grants::bounds(options, facts) {
        return Ok(());
    }
    // Whoever builds nothing does not mind what cannot be built; the environment was read all the same.
    let resolved = imported.project(facts, &[]).map(|(project, _)| project);
    let (environment, targets) = match &resolved {
        Ok(project) => (&project.environment, project.targets.values().collect()),
        Err(_) => (&imported.environment, Vec::new()),
    };
    let root = options.remote.as_ref().and_then(RemoteDefinition::root).unwrap_or(&facts.directories.current);
    grants::check_reach(root, environment, &targets, options, facts).map_err(|problem| vec![*problem])
}

fn load_own(
    file: &OwnFile,
    options: &ProjectOptions,
    facts: &mut Facts,
    disk: &(dyn Files + Sync),
) -> Result<Loaded, Failure> {
    let (loaded, overrides) = read_own(file, options, facts, disk)?;
    let (mut project, warnings) = config::resolve(&loaded, facts, &overrides)?;
    if let Some(remote) = &options.remote {
        remote.write_here(&mut project, &facts.directories.current);
    }
    Ok(Loaded { project, warnings, names: options.names.clone(), is_foreign: false, folder: loaded.root })
}

/// multiarch.toml before it is resolved, with what the command line says about it and the facts it asks for.
pub(super) fn read_own(
    file: &OwnFile,
    options: &ProjectOptions,
    facts: &mut Facts,
    disk: &(dyn Files + Sync),
) -> Result<(config::Loaded, Overrides), Failure> {
    let overrides = Overrides {
        vars: options.vars.clone(),
        sets: options.overrides.clone(),
        names: options.names.clone(),
        platforms: options.platforms.clone(),
    };
    if let Some(asked) = options.shorthands.iter().find(|set| asks_for_attestation(set)) {
        let (_, value) = asked.split_once('=').unwrap_or_default();
        let message = format!("an attestation (`{value}`) is not supported by this version of mab yet");
        let help = "take `--sbom`, `--provenance` and `--attest` out, or say `=false`";
        return Err(vec![Problem::input("config::not-yet", message).help(help)]);
    }
    let root = file.folder(facts);
    let disk = Bounded::new(disk, &root, options, facts).map_err(|problem| vec![*problem])?;
    let loaded = file.load(&disk, facts);
    if let Some(need) = config::needs_git(&loaded, &overrides, facts.ci.as_ref())
        && facts.git.is_none()
        // What is around the store is not its repository.
        && options.remote.is_none()
    {
        match GitFacts::read(&loaded.root, need.questions) {
            Ok(git) => facts.git = git,
            // CI says what rules need, and that not all tags are known is told with what follows from it.
            Err(_) if need.is_optional => {}
            Err(error) => {
                let message = format!("the build file asks for git, which cannot be read: {error}");
                let problem = Problem::input("facts::git", message);
                return Err(vec![problem.help("run mab inside a git work tree, with `git` installed")]);
            }
        }
    }
    Ok((loaded, overrides))
}

/// `*.attest=type=sbom` and the like, unless it says `disabled`.
fn asks_for_attestation(set: &str) -> bool {
    set.strip_prefix("*.attest=").is_some_and(|value| !value.split(',').any(|field| field == "disabled=true"))
}

/// Compiles the plan of what `options` names. `call` stands in for what the targets say is to be done.
pub async fn plan(
    options: &ProjectOptions,
    request: &Request,
    call: Option<Call>,
    facts: &mut Facts,
    session: &Session<'_>,
) -> Result<Planned, Failure> {
    let mut loaded = load(options, facts)?;
    session.set_pins(lock_file::pins(&loaded.folder, session.options(), facts)?);
    if let Some((name, builder)) = user::builder(&loaded.project, options.builder.as_deref(), facts)? {
        user::set_build_platforms(&mut loaded.project, &builder);
        session.set_builder(name, builder);
    }
    let changed = find_changed(options, &loaded, facts, session).await?;
    plan_chosen(loaded, (changed, &options.only), request, call, facts, session).await
}

/// Compiles the plan of a project. The session knows its lock already.
pub(super) async fn plan_loaded(
    loaded: Loaded,
    request: &Request,
    call: Option<Call>,
    facts: &Facts,
    session: &Session<'_>,
) -> Result<Planned, Failure> {
    plan_chosen(loaded, (None, &[]), request, call, facts, session).await
}

async fn plan_chosen(
    loaded: Loaded,
    (changed, only): (Option<Changed>, &[String]),
    request: &Request,
    call: Option<Call>,
    facts: &Facts,
    session: &Session<'_>,
) -> Result<Planned, Failure> {
    let Loaded { project, mut warnings, names, is_foreign, folder: _ } = loaded;
    if !project.refusals.is_empty() {
        return Err(project.refusals);
    }
    let has_workers = session.has_builder();
    let request = &Request { is_lenient: is_foreign, has_workers, ..request.clone() };
    let selection = match &changed {
        None => plan::select(&project, &names)?,
        Some(_) => plan::select(&project, &names_or_all(&project, &names))?,
    };
    // Before what has not changed is left out, which is no mistake.
    plan::check_only(&selection, only)?;
    let is_wanted = |target: &Target| {
        changed.as_ref().is_none_or(|changed| changed.has(&target.name))
            && (only.is_empty() || only.contains(&target.name))
    };
    let selection = match (&changed, only) {
        (None, []) => selection,
        _ => selection.only(&project, is_wanted),
    };
    let (selection, called) = match call {
        None => selection.without_calls(&project),
        Some(Call::Build) => (selection, Vec::new()),
        Some(Call::Check | Call::Outline | Call::Targets) => {
            let all: Vec<&Target> = selection.requested;
            (Selection::default(), all)
        }
    };
    let called: Vec<Target> = called.into_iter().cloned().collect();
    let mut problems = Vec::new();
    let mut reader = DockerfileReader::new(facts, session);
    let mut dockerfiles = Dockerfiles::new();
    reader.read_ahead(selection.all().flat_map(|target| &target.variants));
    let mut found = Found { problems: &mut problems, warnings: &mut warnings };
    for target in selection.all() {
        for variant in &target.variants {
            if let Some(dockerfile) = reader.read(variant, &mut found).await {
                dockerfiles.insert(&target.name, &variant.platform.value, dockerfile);
            }
        }
    }
    let compiled = plan::compile(&selection, request, &dockerfiles);
    let requested = selection.requested.iter().map(|target| target.name.clone()).collect();
    match compiled {
        Ok(plan) if problems.is_empty() => {
            Ok(Planned { project, plan: Arc::new(plan), requested, called, warnings, changed })
        }
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            dedup(&mut problems);
            Err(problems)
        }
    }
}

/// What of the targets that `options` names has changed, if that is asked for.
async fn find_changed(
    options: &ProjectOptions,
    loaded: &Loaded,
    facts: &mut Facts,
    session: &Session<'_>,
) -> Result<Option<Changed>, Failure> {
    let revision = match &options.changed {
        ChangedOption::All => return Ok(None),
        ChangedOption::SinceMergeBase => None,
        ChangedOption::Since(revision) => Some(revision.as_str()),
    };
    let project = &loaded.project;
    let selection = plan::select(project, &names_or_all(project, &loaded.names))?;
    changed::find(&selection, loaded, options, revision, facts, session).await.map(Some)
}

/// Without names and without a default, everything there is.
pub(super) fn names_or_all(project: &Project, names: &[String]) -> Vec<String> {
    let has_default = project.groups.contains_key("default") || project.targets.contains_key("default");
    match names.is_empty() && !has_default {
        true => project.targets.keys().cloned().collect(),
        false => names.to_vec(),
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
