//! Builds on other machines: BuildKit daemons, reached over sockets.
//!
//! A job goes to a worker (`route`, `client`) as a request to the Dockerfile frontend that it has built in (`request`);
//! while it builds, it asks this side for files, images, secrets and agents (`session` and what it serves), tells how
//! it goes (`status`) and sends the image (`result`). What an earlier run knows is never asked for again: keys are made
//! here. BuildKit's gRPC and fsutil's DiffCopy are spoken as of 0.12.

mod auth;
mod classic;
mod client;
mod content;
mod endpoint;
mod error;
mod file_sync;
mod house;
mod left;
mod needs;
mod policy;
mod request;
mod result;
mod route;
mod secrets;
mod sent;
mod session;
mod solve;
mod ssh;
mod status;
mod step_caches;
mod survey;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::{BuildJob, BuildOutcome, Engine, EngineInfo};
use crate::base::Platform;
use crate::base::payload::WorkerName;
use crate::cache::Caches;
use crate::diag::{Kind, Place, Problem, Severity};
use crate::docker::Surroundings;
use crate::model::{Builder, Emulate, Entitlement, Results, Worker};
use crate::registry::{Credentials, Registry};
use crate::source::Sources;
use crate::steps::Lowered;
use crate::store::Store;

pub use house::{KeepRules, Kept, WorkerReport, bootstrap, disk_usage, inspect, prune};
pub use needs::{Asks, Need, needs};
pub use survey::Wanted;

use client::Client;
use error::WorkerError;
use futures_util::future::join_all;
use needs::Abilities;
use route::{Load, Offer, best, wishes};
use solve::{Failed, solve};
use turns::{Turn, Turns};

/// The machines of one builder.
pub struct Buildkit {
    name: String,
    place: Place,
    workers: Vec<Remote>,
    results: Results,
    turns: Turns,
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
    pub sources: Sources,
    /// What tells where Docker Engines are.
    pub surroundings: Surroundings,
}

/// What jobs work with.
struct Tools {
    store: Store,
    registry: Registry,
    credentials: Credentials,
    caches: Arc<Caches>,
    sources: Sources,
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
    abilities: Abilities,
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
        let has_classic_store = client.classic.is_some();
        let abilities = Abilities { language: about.language, has_classic_store, denied: BTreeSet::new() };
        Ok(connection.insert(Connected { client, offer, abilities }).clone())
    }

    /// The same, with which of the entitlements it does not grant.
    async fn probe(
        &self,
        entitlements: &BTreeSet<Entitlement>,
        surroundings: &Surroundings,
    ) -> Result<Connected, WorkerError> {
        let mut connected = self.connect(surroundings).await?;
        for entitlement in entitlements {
            if !connected.client.grants(*entitlement).await {
                connected.abilities.denied.insert(*entitlement);
            }
        }
        Ok(self.connection.lock().await.insert(connected).clone())
    }

    /// What the worker offers, without asking it where that is declared.
    async fn offer(&self, surroundings: &Surroundings) -> Result<Offer, WorkerError> {
        if let Some(absence) = self.absence.get() {
            return Err(absence.clone());
        }
        match &self.declared {
            Some(declared) => Ok(declared.clone()),
            None => {
                let connected = self.connect(surroundings).await;
                // Who does not answer is not waited for by one job after the other.
                connected.map(|connected| connected.offer).inspect_err(|error| {
                    self.absence.get_or_init(|| error.clone());
                })
            }
        }
    }

    /// What it is known not to do of what a job needs.
    async fn lack(&self, job: &BuildJob, leaves_results: bool) -> Option<String> {
        let connection = self.connection.lock().await;
        let abilities = &connection.as_ref()?.abilities;
        let left = (leaves_results && job.destination.is_some()).then(Need::left);
        let times = Need::of_sources(&job.sources);
        let mut needs = job.recipe.needs.iter().chain(&left).chain(&times);
        needs.find(|need| abilities.lacks(need)).map(|need| need.what.clone())
    }
}

impl Buildkit {
    pub fn new(options: BuildkitOptions) -> Result<Arc<Self>, Box<Problem>> {
        let BuildkitOptions { name, builder, store, registry, credentials, caches, sources, surroundings } =
            options;
        for worker in &builder.workers {
            check_endpoint(worker)
                .map_err(|problem| Box::new(problem.at(builder.place.clone(), "a worker of this builder")))?;
        }
        let workers: Vec<Remote> = builder.workers.into_iter().map(Remote::new).collect();
        let turns = Turns::new(workers.iter().map(|remote| remote.worker.slots()));
        let tools = Tools { store, registry, credentials, caches, sources, surroundings };
        let (place, results) = (builder.place, builder.results);
        Ok(Arc::new(Self { name, place, workers, results, turns, tools }))
    }

    /// Whether images that are pushed go to their repository at once.
    pub fn leaves_results(&self) -> bool {
        self.results == Results::Registry
    }

    /// The problem that a target whose image would stay in its repository has none.
    pub fn not_pushed(&self, target: &str) -> Problem {
        let message = format!(
            "builder `{}` leaves results in the registry, and `{target}` is pushed to none",
            self.name
        );
        Problem::input("builder::not-pushed", message)
            .at(self.place.clone(), "this builder")
            .help("push it with `--push`, or have results come here: `results = \"store\"` in the builder")
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
        let offers = offers.map(|(remote, offer)| told(remote, offer, false)).collect();
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

    /// The best worker that has not failed yet, once it has a slot.
    async fn choose(&self, job: &BuildJob, failed: &[usize]) -> Result<Chosen<'_>, Choice> {
        let denies = job.recipe.emulate == Emulate::Deny;
        let labels = &job.recipe.worker_labels;
        let remotes = self.workers.iter().enumerate();
        let remotes = remotes.filter(|(place, remote)| !failed.contains(place) && remote.has(labels));
        let asked = remotes
            .map(|(place, remote)| async move { (place, remote.offer(&self.tools.surroundings).await) });
        let (mut offers, mut errors, mut unable) = (Vec::new(), Vec::new(), Vec::new());
        for (place, offer) in join_all(asked).await {
            if let Some(lack) = self.workers[place].lack(job, self.leaves_results()).await {
                unable.push(format!("`{}` does not do {lack}", self.workers[place].worker.endpoint));
                continue;
            }
            match offer {
                Ok(offer) if denies => offers.push((place, Offer { emulated: Vec::new(), ..offer })),
                Ok(offer) => offers.push((place, offer)),
                Err(error) => errors.push(error),
            }
        }
        let wishes = wishes(&job.steps);
        let choose = |loads: &[Load]| {
            let workers = offers.iter().map(|(place, offer)| (*place, offer, loads[*place]));
            best(&wishes, &job.platform, workers)
        };
        if let Some(turn) = self.turns.take(choose).await {
            let offer = offers.iter().find(|(place, _)| *place == turn.place).map(|(_, offer)| offer);
            let offer = offer.expect("what was chosen was offered");
            let emulated = wishes.keys().filter(|wish| !offer.is_native(wish)).cloned().collect();
            return Ok(Chosen { engine: self, turn, emulated });
        }
        if !errors.is_empty() {
            return Err(Choice::Unreachable(errors));
        }
        let offers = offers.iter().map(|(place, offer)| told(&self.workers[*place], offer, denies));
        let offers = offers.chain(unable).collect();
        Err(Choice::NoMatch(Box::new(self.no_match(&job.target, wishes.keys(), labels, offers))))
    }

    /// Removes what Docker Engines have of this run alone.
    pub async fn tidy(&self) {
        for remote in &self.workers {
            let connection = remote.connection.lock().await.clone();
            if let Some(classic) = connection.and_then(|connected| connected.client.classic) {
                classic.tidy().await;
            }
        }
    }
}

/// Why no worker was chosen.
enum Choice {
    NoMatch(Box<Problem>),
    /// Those that might do it are not there.
    Unreachable(Vec<WorkerError>),
}

/// A worker, and its slot for a job.
struct Chosen<'a> {
    engine: &'a Buildkit,
    turn: Turn<'a>,
    /// Of the platforms whose commands the job runs.
    emulated: Vec<Platform>,
}

impl Chosen<'_> {
    fn remote(&self) -> &Remote {
        &self.engine.workers[self.turn.place]
    }

    async fn build(&self, job: &BuildJob) -> Result<BuildOutcome, Failed> {
        let place = self.turn.place;
        let connected = self.remote().connect(&self.engine.tools.surroundings).await;
        let client = connected.map_err(|error| {
            self.engine.turns.set_lost(place, error.is_of_this_worker());
            Failed::Lost(error)
        });
        let client = client?.client;
        self.engine.turns.set_lost(place, false);
        let worker =
            WorkerName { builder: self.engine.name.clone(), endpoint: Some(client.endpoint.clone()) };
        job.events.assigned(worker.clone());
        if job.recipe.emulate == Emulate::Warn && !self.emulated.is_empty() {
            job.events.notice(emulated(&client.endpoint, &self.emulated));
        }
        let destination = job.destination.clone().filter(|_| self.engine.leaves_results());
        let job = BuildJob { destination, ..job.clone() };
        let built = solve(&client, &self.engine.tools, &job, self.emulated.clone()).await;
        if matches!(built, Err(Failed::Lost(_))) {
            self.engine.turns.set_lost(place, true);
            self.remote().connection.lock().await.take();
        }
        built.map(|image| BuildOutcome { worker: Some(worker), ..image })
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

/// What a worker offers; with what a target rules out that denies emulation.
fn told(remote: &Remote, offer: &Offer, denies: bool) -> String {
    let names =
        |platforms: &[Platform]| platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let native =
        if offer.native.is_empty() { "what it says itself".to_string() } else { names(&offer.native) };
    let mut text = format!("`{}` offers {native}", remote.worker.endpoint);
    if !offer.emulated.is_empty() {
        let but = if denies { ", which `emulate = \"deny\"` rules out" } else { "" };
        text.push_str(&format!("; emulated: {}{but}", names(&offer.emulated)));
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
        let mut last: Option<WorkerError> = None;
        // A job that was begun is begun once more: it may be what ends its workers.
        let mut was_begun = false;
        loop {
            let chosen = match (self.choose(&job, &failed).await, &last) {
                (Ok(chosen), None) => chosen,
                (Ok(chosen), Some(error)) => {
                    let problem = Problem { severity: Severity::Warning, ..error.problem() };
                    job.events.notice(problem.help("another worker builds what it had"));
                    chosen
                }
                // What ended the first try is the reason that there is no second.
                (Err(_), Some(error)) => return Err(Box::new(error.problem())),
                (Err(Choice::NoMatch(problem)), None) => return Err(problem),
                (Err(Choice::Unreachable(errors)), None) => return Err(Box::new(unreachable(errors))),
            };
            let error = match chosen.build(&job).await {
                Ok(image) => return Ok(image),
                Err(Failed::Problem(problem)) => return Err(problem),
                Err(Failed::Lost(error)) => error,
            };
            let is_begun = matches!(error, WorkerError::Lost { .. });
            if !error.is_of_this_worker() || is_begun && was_begun {
                return Err(Box::new(error.problem()));
            }
            was_begun |= is_begun;
            failed.push(chosen.turn.place);
            last = Some(error);
        }
    }

    async fn settle(&self) {}
}

fn unreachable(errors: Vec<WorkerError>) -> Problem {
    let rest: Vec<String> = errors.iter().skip(1).map(ToString::to_string).collect();
    let first = errors.first().expect("somebody was not reached").problem();
    if rest.is_empty() { first } else { first.details(rest.join("\n")) }
}
