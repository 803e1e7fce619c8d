//! What is asked of workers besides work: what they are, what they keep, and to throw some of it away.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use tonic::{Code, Status};

use super::client::Client;
use super::endpoint::wake;
use super::error::WorkerError;
use super::route::Offer;
use crate::base::Platform;
use crate::diag::Problem;
use crate::docker::Surroundings;
use crate::model::Worker;

/// How long a worker that was started may take until it answers.
const STARTING: Duration = Duration::from_secs(30);
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// What a worker says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerReport {
    /// Of its BuildKit; nothing of one that was built without being told.
    pub version: Option<String>,
    pub native: Vec<Platform>,
    pub emulated: Vec<Platform>,
    /// How many images it is given at once, and how many more it could be given now; an old one does not tell.
    pub slots: usize,
    pub free: Option<usize>,
}

impl WorkerReport {
    /// What it is, for people.
    pub fn product(&self) -> String {
        match &self.version {
            Some(version) => format!("BuildKit {version}"),
            None => "BuildKit of an unknown version".to_string(),
        }
    }
}

/// How much a worker keeps, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    pub records: u64,
    pub bytes: u64,
    /// What no build uses at the moment.
    pub reclaimable: u64,
}

/// What a prune leaves alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepRules {
    pub unused_for: Option<Duration>,
    pub keep_bytes: Option<u64>,
}

/// Asks a worker what it is.
pub async fn inspect(worker: &Worker, surroundings: &Surroundings) -> Result<WorkerReport, Box<Problem>> {
    let (client, about) = Client::connect(worker, surroundings).await.map_err(boxed)?;
    let (slots, running) = (worker.slots(), running(&client).await?);
    let offer = Offer::declared(&worker.platforms).unwrap_or_else(|| Offer::told(&about.platforms));
    let free = running.map(|running| slots.saturating_sub(running));
    let version = Some(about.version).filter(|version| !version.is_empty());
    Ok(WorkerReport { version, native: offer.native, emulated: offer.emulated, slots, free })
}

/// How many builds a worker has at the moment, whoever asked for them; nothing of one that does not know the question.
async fn running(client: &Client) -> Result<Option<usize>, Box<Problem>> {
    match builds(client).await {
        Ok(builds) => Ok(Some(builds.len())),
        Err(status) if status.code() == Code::Unimplemented => Ok(None),
        Err(status) => Err(gone(client, &status)),
    }
}

async fn builds(client: &Client) -> Result<BTreeSet<String>, Status> {
    let request = proto::BuildHistoryRequest { active_only: true, early_exit: true, ..Default::default() };
    let mut events = client.control().listen_build_history(request).await?.into_inner();
    let mut builds = BTreeSet::new();
    while let Some(event) = events.message().await? {
        let is_running = event.r#type() != proto::BuildHistoryEventType::Deleted;
        let record = event.record.filter(|record| is_running && record.completed_at.is_none());
        builds.extend(record.map(|record| record.r#ref));
    }
    Ok(builds)
}

/// Starts a worker that is a container which stands still, and waits until it answers.
pub async fn bootstrap(worker: &Worker, surroundings: &Surroundings) -> Result<(), Box<Problem>> {
    wake(worker, surroundings).await.map_err(boxed)?;
    let begun = Instant::now();
    loop {
        match Client::connect(worker, surroundings).await {
            Ok(_) => return Ok(()),
            Err(error) if begun.elapsed() > STARTING => return Err(boxed(error)),
            Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
        }
    }
}

/// Asks a worker what it keeps.
pub async fn disk_usage(worker: &Worker, surroundings: &Surroundings) -> Result<Kept, Box<Problem>> {
    let (client, _) = Client::connect(worker, surroundings).await.map_err(boxed)?;
    let answer = client.control().disk_usage(proto::DiskUsageRequest::default()).await;
    let records = answer.map_err(|status| gone(&client, &status))?.into_inner().record;
    Ok(records.iter().fold(Kept::default(), count))
}

/// Removes what no build uses, but for what the rules keep, and says how much that was.
pub async fn prune(
    worker: &Worker,
    rules: KeepRules,
    surroundings: &Surroundings,
) -> Result<Kept, Box<Problem>> {
    let (client, _) = Client::connect(worker, surroundings).await.map_err(boxed)?;
    let nanoseconds = rules.unused_for.unwrap_or_default().as_nanos();
    let keep = i64::try_from(rules.keep_bytes.unwrap_or_default()).unwrap_or(i64::MAX);
    let request = proto::PruneRequest {
        all: true,
        keep_duration: i64::try_from(nanoseconds).unwrap_or(i64::MAX),
        reserved_space: keep,
        max_used_space: keep,
        ..proto::PruneRequest::default()
    };
    let answer = client.control().prune(request).await;
    let mut records = answer.map_err(|status| gone(&client, &status))?.into_inner();
    let mut removed = Kept::default();
    while let Some(record) = records.message().await.map_err(|status| gone(&client, &status))? {
        removed = count(removed, &record);
    }
    Ok(removed)
}

fn count(kept: Kept, record: &proto::UsageRecord) -> Kept {
    let bytes = u64::try_from(record.size).unwrap_or_default();
    Kept {
        records: kept.records + 1,
        bytes: kept.bytes + bytes,
        reclaimable: kept.reclaimable + if record.in_use { 0 } else { bytes },
    }
}

fn boxed(error: WorkerError) -> Box<Problem> {
    Box::new(error.problem())
}

fn gone(client: &Client, status: &Status) -> Box<Problem> {
    boxed(client.is_gone(status))
}
