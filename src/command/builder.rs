//! `mab builder`: what there is, and what its workers say.

use super::builders::{self, Known, Origin};
use super::session::surroundings;
use super::{Failure, ProjectOptions, build_files, project};
use crate::config::OWN_BUILDER;
use crate::diag::{Problem, Severity};
use crate::engine::buildkit::{self, KeepRules, Kept, WorkerReport};
use crate::facts::Facts;
use crate::model::{Project, Results, Worker};

/// One of the builders, as it is declared.
pub struct Listed {
    pub name: String,
    pub origin: Origin,
    /// By bakes that name none.
    pub is_used: bool,
    pub workers: Result<Vec<Worker>, Box<Problem>>,
    pub results: Results,
}

/// What the workers of a builder say.
pub struct Answer<T> {
    pub name: String,
    pub workers: Vec<Told<T>>,
}

pub struct Told<T> {
    pub worker: Worker,
    pub told: Result<T, Box<Problem>>,
}

/// What there is, and why the build file's are not among it, if it cannot be read.
pub struct Listing {
    pub builders: Vec<Listed>,
    pub warnings: Vec<Problem>,
}

/// The build file of the current folder, for its builders; there need be none.
fn here(facts: &mut Facts) -> Result<Option<Project>, Failure> {
    match project::load(&ProjectOptions::default(), facts) {
        Ok(loaded) => Ok(Some(loaded.project)),
        Err(_) if !build_files::is_any(facts) => Ok(None),
        Err(problems) => Err(problems),
    }
}

/// All builders, the one of this machine first.
pub fn list(facts: &mut Facts) -> Result<Listing, Failure> {
    let (project, problems) = match here(facts) {
        Ok(project) => (project, Vec::new()),
        Err(problems) => (None, problems),
    };
    let as_warning = |problem| Problem { severity: Severity::Warning, ..problem };
    let used = builders::in_use(facts);
    let own = Listed {
        name: OWN_BUILDER.to_string(),
        origin: Origin::BuiltIn,
        is_used: used.is_none(),
        workers: Ok(Vec::new()),
        results: Results::default(),
    };
    let known = builders::all(project.as_ref(), facts)?.into_iter();
    let listed = known.map(|(name, Known { origin, builder })| Listed {
        is_used: used.as_deref() == Some(name.as_str()),
        name,
        origin,
        results: builder.as_ref().map(|builder| builder.results).unwrap_or_default(),
        workers: builder.map(|builder| builder.workers),
    });
    Ok(Listing {
        builders: std::iter::once(own).chain(listed).collect(),
        warnings: problems.into_iter().map(as_warning).collect(),
    })
}

/// The workers of a builder, or of the one in use.
fn workers(name: Option<&str>, facts: &mut Facts) -> Result<(String, Vec<Worker>), Failure> {
    let (project, unread) = match here(facts) {
        Ok(project) => (project, Vec::new()),
        Err(problems) => (None, problems),
    };
    let name = name.map(String::from).or_else(|| builders::in_use(facts));
    let name = name.unwrap_or_else(|| OWN_BUILDER.to_string());
    // A builder that is not found may be one of a build file that cannot be read.
    let found = builders::find(&name, project.as_ref(), facts);
    let found = found.map_err(|problems| [problems, unread].concat())?;
    let Some((name, builder)) = found else {
        let problem = Problem::input("builder::own", "builder `default` is this machine, and has no workers");
        return Err(vec![problem.help(
            "name another one: `mab builder ls` shows them; `mab cache` is about what this machine keeps",
        )]);
    };
    Ok((name, builder.workers))
}

async fn ask<T>(
    name: Option<&str>,
    facts: &mut Facts,
    ask: impl AsyncFn(&Worker) -> Result<T, Box<Problem>>,
) -> Result<Answer<T>, Failure> {
    let (name, workers) = workers(name, facts)?;
    let asked = futures_util::future::join_all(workers.iter().map(|worker| ask(worker))).await;
    let workers = workers.iter().cloned().zip(asked).map(|(worker, told)| Told { worker, told }).collect();
    Ok(Answer { name, workers })
}

/// With `is_bootstrapped`, workers that are containers are started, and waited for.
pub async fn inspect(
    name: Option<&str>,
    is_bootstrapped: bool,
    facts: &mut Facts,
) -> Result<Answer<WorkerReport>, Failure> {
    let surroundings = surroundings(facts);
    let ask_worker = async |worker: &Worker| {
        if is_bootstrapped {
            buildkit::bootstrap(worker, &surroundings).await?;
        }
        buildkit::inspect(worker, &surroundings).await
    };
    ask(name, facts, ask_worker).await
}

pub async fn disk_usage(name: Option<&str>, facts: &mut Facts) -> Result<Answer<Kept>, Failure> {
    let surroundings = surroundings(facts);
    ask(name, facts, async |worker| buildkit::disk_usage(worker, &surroundings).await).await
}

pub async fn prune(name: Option<&str>, rules: KeepRules, facts: &mut Facts) -> Result<Answer<Kept>, Failure> {
    let surroundings = surroundings(facts);
    ask(name, facts, async |worker| buildkit::prune(worker, rules, &surroundings).await).await
}

/// Adds a worker to a builder of `mab builder`'s own.
pub fn add(name: &str, worker: Worker, results: Option<Results>, facts: &Facts) -> Result<(), Failure> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_good) || matches!(name, OWN_BUILDER | builders::DOCKER) {
        let message = format!("a builder cannot be called `{name}`");
        let help = "take letters, digits, `.`, `_` and `-`; `default` and `docker` are there already";
        return Err(vec![Problem::input("builder::name", message).help(help)]);
    }
    buildkit::check_endpoint(&worker).map_err(|problem| vec![*problem])?;
    builders::add(name, worker, results, facts)
}

/// Makes a builder the one of bakes that name none, wherever they are: one of this build file alone cannot be it.
pub fn choose(name: &str, facts: &mut Facts) -> Result<(), Failure> {
    let project = here(facts).ok().flatten();
    match project.and_then(|project| project.builders.get(name).cloned()) {
        Some(builder) if !builders::all(None, facts)?.contains_key(name) => {
            let message = format!("builder `{name}` is there for this build file alone");
            Err(vec![Problem::input("builder::here-alone", message).at(builder.place, "declared here").help(
                format!("name it when you build, `--builder {name}`, or set MAB_BUILDER; `mab builder add` makes one for all"),
            )])
        }
        _ => builders::choose(name, facts),
    }
}

pub use builders::remove;
