//! Builds on other machines: BuildKit daemons, reached over sockets.
//!
//! A job goes to a worker (`route`, `client`) as a request to the Dockerfile frontend that it has built in (`request`);
//! while it builds, it asks this side for files, images, secrets and agents (`session` and what it serves), tells how
//! it goes (`status`) and sends the image (`result`). What an earlier run knows is never asked for again: keys are made
//! here. BuildKit's gRPC and fsutil's DiffCopy are spoken as of 0.12.

mod auth;
mod client;
mod content;
mod endpoint;
mod error;
mod file_sync;
mod house;
mod needs;
mod request;
mod result;
mod route;
mod secrets;
mod session;
mod solve;
mod ssh;
mod status;
mod survey;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::{BuildJob, BuildOutcome, Engine, EngineInfo};
use crate::base::Platform;
use crate::cache::Caches;
use crate::diag::{Kind, Place, Problem};
use crate::docker::Surroundings;
use crate::model::{Builder, Emulate, Worker};
use crate::registry::{Credentials, Registry};
use crate::steps::Lowered;
use crate::store::Store;

pub use house::{KeepRules, Kept, WorkerReport, disk_usage, inspect, prune};
pub use needs::{Need, needs};
pub use survey::Wanted;

use client::Client;
use error::WorkerError;
use needs::Language;
use route::{Offer, best, wishes};
use solve::{Failed, solve};

/// The machines of one builder.
pub struct Buildkit {
    name: String,
    place: Place,
    workers: Vec<Remote>,
    /// How many jobs each worker has.
    loads: Mutex<Vec<usize>>,
    tools: Tools,
}

/// What the engine is given.
pub struct BuildkitOptions {
    /// The builder's name.
    pub name: String,
    pub builder: Builder,
    pub store: Store,
    pub registry: Registry,
    pub credentials: Credentials,
    pub caches: Arc<Caches>,
    /// What tells where Docker Engines are.
    pub surroundings: Surroundings,
}

/// What jobs work with.
struct Tools {
    store: Store,
    registry: Registry,
    credentials: Credentials,
    caches: Arc<Caches>,
    surroundings: Surroundings,
}

/// A worker, and the connection to it once there is one.
struct Remote {
    worker: Worker,
    declared: Option<Offer>,
    connection: tokio::sync::Mutex<Option<Connected>>,
    /// Why it was not there when the run began.
    absence: OnceLock<WorkerError>,
}

/// A worker that has said what it is.
#[derive(Clone)]
struct Connected {
    client: Client,
    offer: Offer,
    language: Language,
}

impl Remote {
    fn new(worker: Worker) -> Self {
        let declared = Offer::declared(&worker.platforms);
        Self { worker, declared, connection: tokio::sync::Mutex::default(), absence: OnceLock::new() }
    }

    /// Whether it has all of the labels.
    fn has(&self, labels: &BTreeMap<String, String>) -> bool {
        labels.iter().all(|(key, value)| self.worker.labels.get(key) == Some(value))
    }

    async fn connect(&self, surroundings: &Surroundings) -> Result<Connected, WorkerError> {
        let mut connection = self.connection.lock().await;
        if let Some(connected) = &*connection {
            return Ok(connected.clone());
        }
        let (client, about) = Client::connect(&self.worker, surroundings).await?;
        let offer = self.declared.clone().unwrap_or_else(|| Offer::told(&about.platforms));
        let language = Language::of_buildkit(&about.version);
        Ok(connection.insert(Connected { client, offer, language }).clone())
    }

    /// What the worker offers, without asking it where that is declared.
    async fn offer(&self, surroundings: &Surroundings) -> Result<Offer, WorkerError> {
        if let Some(absence) = self.absence.get() {
            return Err(absence.clone());
        }
        match &self.declared {
            Some(declared) => Ok(declared.clone()),
            None => self.connect(surroundings).await.map(|connected| connected.offer),
        }
    }

    /// Whether it is known not to do one of these.
    async fn lacks(&self, needs: &[Need]) -> bool {
        let connection = self.connection.lock().await;
        connection.as_ref().is_some_and(|known| needs.iter().any(|need| known.language.lacks(need)))
    }
}

impl Buildkit {
    pub fn new(options: BuildkitOptions) -> Result<Arc<Self>, Box<Problem>> {
        let BuildkitOptions { name, builder, store, registry, credentials, caches, surroundings } = options;
        for worker in &builder.workers {
            check_endpoint(worker)
                .map_err(|problem| Box::new(problem.at(builder.place.clone(), "a worker of this builder")))?;
        }
        let workers: Vec<Remote> = builder.workers.into_iter().map(Remote::new).collect();
        let loads = Mutex::new(vec![0; workers.len()]);
        let tools = Tools { store, registry, credentials, caches, surroundings };
        Ok(Arc::new(Self { name, place: builder.place, workers, loads, tools }))
    }

    /// The problem that no worker with the labels builds for a platform, as far as that is known without asking them.
    /// Without a platform any worker will do.
    pub fn refusal(
        &self,
        target: &str,
        platform: Option<&Platform>,
        labels: &BTreeMap<String, String>,
    ) -> Option<Problem> {
        let may_do = |remote: &Remote| {
            let offers = remote.declared.as_ref().zip(platform);
            remote.has(labels) && offers.is_none_or(|(offer, platform)| offer.has(platform))
        };
        if self.workers.iter().any(may_do) {
            return None;
        }
        let nothing = Offer::nothing();
        let offers = self.workers.iter().map(|remote| (remote, remote.declared.as_ref().unwrap_or(&nothing)));
        let offers = offers.map(|(remote, offer)| told(remote, offer)).collect();
        Some(self.no_match(target, platform.into_iter(), labels, offers))
    }

    fn no_match<'a>(
        &self,
        target: &str,
        platforms: impl Iterator<Item = &'a Platform>,
        labels: &BTreeMap<String, String>,
        offers: Vec<String>,
    ) -> Problem {
        let platforms = platforms.map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        let mut message = format!("no worker of builder `{}` builds `{target}`", self.name);
        if !platforms.is_empty() {
            message.push_str(&format!(" for {platforms}"));
        }
        if !labels.is_empty() {
            message.push_str(&format!(" with the labels {}", list(labels)));
        }
        Problem::new(Kind::Host, "builder::no-worker", message)
            .at(self.place.clone(), "this builder")
            .details(offers.join("\n"))
            .help("add a worker, or the platform to the `platforms` of one; without `--builder` this machine builds")
    }

    /// The best worker that has not failed yet, with a job more.
    async fn choose(&self, job: &BuildJob, failed: &[usize]) -> Result<Chosen<'_>, Choice> {
        let denies = job.recipe.emulate == Emulate::Deny;
        let (mut offers, mut errors) = (Vec::new(), Vec::new());
        for (place, remote) in self.workers.iter().enumerate().filter(|(place, _)| !failed.contains(place)) {
            if !remote.has(&job.recipe.worker_labels) || remote.lacks(&job.recipe.needs).await {
                continue;
            }
            match remote.offer(&self.tools.surroundings).await {
                Ok(offer) if denies => offers.push((place, Offer { emulated: Vec::new(), ..offer })),
                Ok(offer) => offers.push((place, offer)),
                Err(error) => errors.push(error),
            }
        }
        let wishes = wishes(&job.steps);
        let mut loads = self.loads();
        let workers = offers.iter().map(|(place, offer)| (*place, offer, loads[*place]));
        match best(&wishes, &job.platform, workers) {
            Some(place) => {
                loads[place] += 1;
                let offer = offers.into_iter().find(|(other, _)| *other == place).map(|(_, offer)| offer);
                let offer = offer.expect("what was chosen was offered");
                let emulated = wishes.into_keys().filter(|wish| !offer.is_native(wish)).collect();
                Ok(Chosen { engine: self, place, emulated })
            }
            None if errors.is_empty() => {
                let offers = offers.iter().map(|(place, offer)| told(&self.workers[*place], offer)).collect();
                Err(Choice::NoMatch(Box::new(self.no_match(
                    &job.target,
                    wishes.keys(),
                    &job.recipe.worker_labels,
                    offers,
                ))))
            }
            None => Err(Choice::Unreachable(errors)),
        }
    }

    fn loads(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why no worker was chosen.
enum Choice {
    NoMatch(Box<Problem>),
    /// Those that might do it are not there.
    Unreachable(Vec<WorkerError>),
}

/// A worker that has a job more until this is dropped.
struct Chosen<'a> {
    engine: &'a Buildkit,
    place: usize,
    /// Of the platforms whose commands the job runs.
    emulated: Vec<Platform>,
}

impl Drop for Chosen<'_> {
    fn drop(&mut self) {
        self.engine.loads()[self.place] -= 1;
    }
}

impl Chosen<'_> {
    fn remote(&self) -> &Remote {
        &self.engine.workers[self.place]
    }

    async fn build(&self, job: &BuildJob) -> Result<BuildOutcome, Failed> {
        let connected = self.remote().connect(&self.engine.tools.surroundings).await;
        let client = connected.map_err(Failed::Lost)?.client;
        if job.recipe.emulate == Emulate::Warn && !self.emulated.is_empty() {
            job.events.notice(emulated(&client.endpoint, &self.emulated));
        }
        let built = solve(&client, &self.engine.tools, job, self.emulated.clone()).await;
        if matches!(built, Err(Failed::Lost(_))) {
            self.remote().connection.lock().await.take();
        }
        built
    }
}

/// Whether it can be an address at all.
pub fn check_endpoint(worker: &Worker) -> Result<(), Box<Problem>> {
    endpoint::check(worker).map_err(|error| Box::new(error.problem()))
}

fn list(labels: &BTreeMap<String, String>) -> String {
    let labels = labels.iter().map(|(key, value)| format!("{key}={value}"));
    labels.collect::<Vec<_>>().join(", ")
}

fn told(remote: &Remote, offer: &Offer) -> String {
    let names =
        |platforms: &[Platform]| platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let native =
        if offer.native.is_empty() { "what it says itself".to_string() } else { names(&offer.native) };
    let mut text = format!("`{}` offers {native}", remote.worker.endpoint);
    if !offer.emulated.is_empty() {
        text.push_str(&format!("; emulated: {}", names(&offer.emulated)));
    }
    if !remote.worker.labels.is_empty() {
        text.push_str(&format!("; labels: {}", list(&remote.worker.labels)));
    }
    text
}

fn emulated(endpoint: &str, platforms: &[Platform]) -> Problem {
    let platforms = platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let message = format!("commands for {platforms} run under emulation on `{endpoint}`, which is slow");
    Problem::warning("run::emulated", message)
        .help("say `emulate = \"allow\"` in the target to hear no more of it, or `\"deny\"` to refuse it")
}

impl Engine for Buildkit {
    fn info(&self) -> EngineInfo {
        EngineInfo { kind: "buildkit", platform: Platform::host(), degraded: Vec::new() }
    }

    /// Whoever builds, results are the same: a worker is not asked before there is something to build.
    fn emulators(&self, _: &Lowered) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    async fn build(&self, job: BuildJob) -> Result<BuildOutcome, Box<Problem>> {
        let mut failed = Vec::new();
        let mut first: Option<WorkerError> = None;
        loop {
            let chosen = match self.choose(&job, &failed).await {
                Ok(chosen) => chosen,
                // What ended the first try is the reason that there is no second.
                Err(choice) => {
                    return Err(Box::new(match (first, choice) {
                        (Some(error), _) => error.problem(),
                        (None, Choice::NoMatch(problem)) => *problem,
                        (None, Choice::Unreachable(errors)) => unreachable(errors),
                    }));
                }
            };
            match chosen.build(&job).await {
                Ok(image) => return Ok(image),
                Err(Failed::Problem(problem)) => return Err(problem),
                Err(Failed::Lost(error)) if first.is_some() || !error.is_of_this_worker() => {
                    return Err(Box::new(error.problem()));
                }
                Err(Failed::Lost(error)) => {
                    failed.push(chosen.place);
                    if self.workers.len() > failed.len() {
                        let help = "another worker builds what it had";
                        let problem = Problem { severity: crate::diag::Severity::Warning, ..error.problem() };
                        job.events.notice(problem.help(help));
                    }
                    first = Some(error);
                }
            }
        }
    }

    async fn settle(&self) {}
}

fn unreachable(errors: Vec<WorkerError>) -> Problem {
    let rest: Vec<String> = errors.iter().skip(1).map(ToString::to_string).collect();
    let first = errors.first().expect("somebody was not reached").problem();
    if rest.is_empty() { first } else { first.details(rest.join("\n")) }
}
