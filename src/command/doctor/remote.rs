//! What the doctor asks of others: the registries that are spoken of here, and the workers of builders.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;

use super::DoctorOptions;
use crate::command::builders::{self, DOCKER};
use crate::command::dockerfiles::{DockerfileReader, Found};
use crate::command::session::{self, Session};
use crate::command::{bases, user};
use crate::diag::{Kind, Problem};
use crate::doctor::{Check, Finding, clock, remote};
use crate::engine::buildkit;
use crate::facts::Facts;
use crate::http::Retries;
use crate::model::{Project, Worker};
use crate::plan::BaseSource;
use crate::registry::{Greeting, Registry, RegistryOptions};
use crate::steps::Setting;

/// How long anybody is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks everybody at once.
pub async fn examine(options: &DoctorOptions, project: Option<&Project>, facts: &Facts) -> Vec<Finding> {
    if options.session.is_offline {
        let checks =
            [Check::Registry, Check::Builder].map(|check| Finding::note(check, "not asked: --offline"));
        return checks.into_iter().chain([clock(SystemTime::now(), &[], program_written())]).collect();
    }
    let registries = async {
        match options.wants(&[Check::Registry, Check::Clock]) {
            true => ask_registries(options, project, facts).await,
            false => Vec::new(),
        }
    };
    let workers = async {
        match options.wants(&[Check::Builder]) {
            true => ask_builders(project, facts).await,
            false => Vec::new(),
        }
    };
    let (registries, workers) = futures_util::future::join(registries, workers).await;
    registries.into_iter().chain(workers).collect()
}

async fn ask_registries(options: &DoctorOptions, project: Option<&Project>, facts: &Facts) -> Vec<Finding> {
    let client = match session::registry(facts, false) {
        Ok(client) => client,
        Err(problem) => return vec![remote::registry("credentials", Err(&problem))],
    };
    // One try says what is the case; builds are patient for other reasons.
    let once =
        |changed: &mut RegistryOptions| changed.retries = Retries { attempts: 1, ..changed.retries.clone() };
    let client = client.adjusted(once);
    let names = names(&client, options, project, facts).await;
    let greeted = join_all(names.iter().map(|name| greet(&client, name))).await;
    let clocks: Vec<(String, SystemTime)> = greeted
        .iter()
        .zip(&names)
        .filter_map(|(greeting, name)| Some((name.clone(), greeting.as_ref().ok()?.date?)))
        .collect();
    let mut findings: Vec<Finding> = names
        .iter()
        .zip(&greeted)
        .map(|(name, greeting)| remote::registry(name, greeting.as_ref()))
        .collect();
    if names.is_empty() {
        let said = "none is named by credentials, configuration or a build file";
        findings.push(Finding::note(Check::Registry, said));
    }
    findings.push(clock(SystemTime::now(), &clocks, program_written()));
    findings
}

fn program_written() -> Option<SystemTime> {
    std::env::current_exe().and_then(std::fs::metadata).and_then(|file| file.modified()).ok()
}

async fn greet(client: &Registry, name: &str) -> Result<Greeting, Problem> {
    match tokio::time::timeout(PATIENCE, client.greet(name)).await {
        Ok(greeting) => greeting.map_err(|error| error.problem()),
        Err(_) => {
            let message = format!("`{name}` did not answer within {} seconds", PATIENCE.as_secs());
            Err(Problem::new(Kind::Remote, "registry::unreachable", message))
        }
    }
}

/// The registries of credentials, of the user's configuration, and of the build file's images and bases.
async fn names(
    client: &Registry,
    options: &DoctorOptions,
    project: Option<&Project>,
    facts: &Facts,
) -> BTreeSet<String> {
    let mut names = client.options().credentials.registries();
    names.extend(
        user::config(facts)
            .map(|config| config.registries.into_keys().collect::<Vec<_>>())
            .unwrap_or_default(),
    );
    let Some(project) = project else { return names };
    let own = |name: &str, names: &mut BTreeSet<String>| {
        // Credentials for a folder of repositories tell of their registry as well.
        let is_known = names.iter().any(|known| known.split('/').next() == Some(name));
        if !is_known {
            names.insert(name.to_string());
        }
    };
    for target in project.targets.values() {
        let images = target.tags.iter().chain(&target.images);
        images.for_each(|image| own(image.value.registry(), &mut names));
    }
    for base in base_registries(options, project, facts).await {
        own(&base, &mut names);
    }
    names
}

async fn base_registries(options: &DoctorOptions, project: &Project, facts: &Facts) -> BTreeSet<String> {
    let session = Session::new(&options.session);
    let mut reader = DockerfileReader::new(facts, &session).offline(true);
    // Dockerfiles that cannot be read are for `mab check` to tell of.
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    let build = session::build_platform(facts);
    let mut registries = BTreeSet::new();
    for variant in project.targets.values().flat_map(|target| &target.variants) {
        let mut found = Found { problems: &mut problems, warnings: &mut warnings };
        let Some(dockerfile) = reader.read(variant, &mut found).await else { continue };
        let setting = Setting::new(&dockerfile, variant, &build);
        for source in bases::wanted(&[(setting, variant)], &mut problems).into_keys() {
            if let BaseSource::Registry(reference) = source {
                registries.insert(reference.registry().to_string());
            }
        }
    }
    registries
}

async fn ask_builders(project: Option<&Project>, facts: &Facts) -> Vec<Finding> {
    let known = match builders::all(project, facts) {
        Ok(known) => known,
        Err(problems) => {
            let first = problems.into_iter().next();
            return first.map(|problem| remote::builder("configuration", &problem)).into_iter().collect();
        }
    };
    let in_use = builders::in_use(facts);
    let surroundings = session::surroundings(facts);
    // The Docker Engine is always there by name, which says nothing about whether anybody wants it.
    let meant = known.into_iter().filter(|(name, _)| name != DOCKER || in_use.as_deref() == Some(DOCKER));
    let asked = meant.map(|(name, known)| {
        let surroundings = &surroundings;
        async move {
            let workers = match known.builder {
                Ok(builder) => builder.workers,
                Err(problem) => return vec![remote::builder(&name, &problem)],
            };
            let asked = workers.iter().map(|worker| ask_worker(&name, worker, surroundings));
            join_all(asked).await
        }
    });
    let findings: Vec<Finding> = join_all(asked).await.into_iter().flatten().collect();
    if findings.is_empty() {
        return vec![Finding::note(Check::Builder, "none but this machine")];
    }
    findings
}

async fn ask_worker(builder: &str, worker: &Worker, surroundings: &crate::docker::Surroundings) -> Finding {
    let report = match tokio::time::timeout(PATIENCE, buildkit::inspect(worker, surroundings)).await {
        Ok(report) => report.map_err(|problem| *problem),
        Err(_) => {
            let message =
                format!("`{}` did not answer within {} seconds", worker.endpoint, PATIENCE.as_secs());
            Err(Problem::new(Kind::Remote, "builder::unreachable", message))
        }
    };
    remote::worker(builder, &worker.endpoint, report.as_ref())
}
