//! What is asked of workers besides work: what they are, what they keep, and to throw some of it away.

use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use tonic::Status;

use super::client::Client;
use super::error::WorkerError;
use super::route::Offer;
use crate::base::Platform;
use crate::diag::Problem;
use crate::docker::Surroundings;
use crate::model::Worker;

/// What a worker says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerReport {
    /// Of its BuildKit.
    pub version: String,
    pub native: Vec<Platform>,
    pub emulated: Vec<Platform>,
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
    let (_, about) = Client::connect(worker, surroundings).await.map_err(boxed)?;
    let offer = Offer::declared(&worker.platforms).unwrap_or_else(|| Offer::told(&about.platforms));
    Ok(WorkerReport { version: about.version, native: offer.native, emulated: offer.emulated })
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
