//! The image of a solved job: config and manifest, written to the store.

use std::sync::Arc;

use jiff::Timestamp;

use super::Embedded;
use super::filesystem::{FileSystem, Layer};
use crate::base::payload::{StepCounts, WorkerName};
use crate::diag::Problem;
use crate::engine::{BuildJob, BuildOutcome};
use crate::oci::{Descriptor, History, ImageConfig, Manifest, media_type};

/// Writes config and manifest of `files` and names the image.
pub(super) fn write(
    engine: &Embedded,
    job: &BuildJob,
    files: &Arc<FileSystem>,
    counts: StepCounts,
) -> Result<BuildOutcome, Box<Problem>> {
    let config = config(job, files);
    let put = |bytes: &[u8]| engine.store.blobs().put_bytes(bytes).map_err(|error| Box::new(error.problem()));
    let config_bytes = config.to_bytes();
    put(&config_bytes)?;
    let config = Descriptor::of(media_type::OCI_CONFIG, &config_bytes);
    let layer = |layer: &Layer| {
        let mut descriptor = layer.blob.clone();
        descriptor.media_type = media_type::to_oci(&descriptor.media_type).to_string();
        descriptor
    };
    let manifest = Manifest::new(config.clone(), files.layers.iter().map(layer).collect());
    let manifest_bytes = manifest.to_bytes();
    put(&manifest_bytes)?;
    Ok(BuildOutcome {
        manifest: Descriptor::of(media_type::OCI_MANIFEST, &manifest_bytes).with_platform(&job.platform),
        config: config.digest,
        compressions: files.layers.iter().map(|layer| layer.compression).collect(),
        attestations: Vec::new(),
        repository: None,
        counts,
        worker: Some(WorkerName::here()),
    })
}

/// The lowered config with layers and times. A layer's history has the layer's time, what stands
/// between layers the time of the layer before, what stands before all the first one's: the same layers
/// give the same image at any time. An image without layers of its own has the epoch's time, or its base's,
/// and without these the run's.
fn config(job: &BuildJob, files: &FileSystem) -> ImageConfig {
    let mut config = job.steps.config.clone();
    config.rootfs.diff_ids = files.layers.iter().map(|layer| layer.diff_id).collect();
    let layers = files.layers.iter().filter(|layer| layer.base.is_none());
    let mut times = layers.map(|layer| text(clamp(layer.created, job))).peekable();
    let told = job.epoch.map(text).or_else(|| config.created.clone());
    let mut latest = times.peek().cloned().or(told).unwrap_or_else(|| text(job.now));
    let base_history = job.steps.base_history;
    for entry in &mut config.history[base_history..] {
        if !entry.empty_layer {
            latest = times.next().unwrap_or(latest);
        }
        entry.created = Some(latest.clone());
    }
    fill_missing_times(&mut config.history[..base_history]);
    config.created = Some(latest);
    config
}

/// Docker refuses configs whose history has no times.
fn fill_missing_times(history: &mut [History]) {
    let known = history.iter().rev().find_map(|entry| entry.created.clone());
    for entry in history.iter_mut().filter(|entry| entry.created.is_none()) {
        entry.created.clone_from(&known);
    }
}

fn clamp(time: i64, job: &BuildJob) -> i64 {
    job.epoch.map_or(time, |epoch| time.min(epoch))
}

fn text(seconds: i64) -> String {
    let fallback = Timestamp::UNIX_EPOCH;
    Timestamp::from_second(seconds).unwrap_or(fallback).to_string()
}

/// Brings every layer of the image into the store, so that any output can be written from it; but for those that
/// a cache has: they come when somebody needs them.
pub(super) async fn complete(
    engine: &Embedded,
    job: &BuildJob,
    files: &FileSystem,
) -> Result<(), Box<Problem>> {
    let is_wanted = |layer: &&Layer| layer.base.is_some() || !engine.caches.knows(&layer.blob.digest);
    let fetches = files.layers.iter().filter(is_wanted).map(|layer| engine.layers.fetch(layer, job));
    futures_util::future::try_join_all(fetches)
        .await
        .map(drop)
        .map_err(|problem| Box::new((*problem).clone()))
}
