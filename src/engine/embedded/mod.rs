//! The engine inside `mab`: no daemon, no privileges beyond a user namespace.
//!
//! A job is solved step by step (`solve`). COPY, ADD and WORKDIR write layers straight from their
//! sources (`file_step`, `file_layer`); only RUN unpacks anything (`run_step`, `snapshots`), in a sandbox. What is in
//! layers is known from their indexes (`layers`).

mod accounts;
pub(in crate::engine) mod agent;
mod archives;
mod bound;
mod cache_identity;
mod cache_layer;
mod cache_mount;
mod cache_transfer;
pub mod container;
mod earlier;
pub mod emulate;
mod export;
mod fault;
mod file_layer;
mod file_source;
mod file_step;
mod filesystem;
mod flights;
pub mod found_files;
mod layers;
pub(in crate::engine) mod mask;
mod merge_step;
mod offers;
mod run_mounts;
mod run_step;
pub mod sandbox;
mod shared_mounts;
mod snapshots;
mod solve;
mod source_step;
mod supervisors;
mod tiny_program;
pub mod trial;
mod watchdog;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;

use super::{BuildJob, BuildOutcome, Engine, EngineInfo};
use crate::base::{Digest, Platform};
use crate::cache::Caches;
use crate::diag::Problem;
use crate::layer::{Compression, FinishedLayer, LayerOptions};
use crate::oci::Descriptor;
use crate::registry::Registry;
use crate::source::Sources;
use crate::steps::{Lowered, Op};
use crate::store::{BlobWriter, KeyKind, SnapshotKey, Store, StoreError};

pub use cache_identity::{Beginning, CacheIdentity};
pub use cache_layer::check_cache_layer;
pub use cache_transfer::{CacheFiles, Placement, StoredCache, stored_caches};
pub use watchdog::Ended;

use emulate::Execution;
use filesystem::{Layer, StepRecord};
use flights::Flights;
use layers::Layers;
use sandbox::{HelperTask, TaskOutput};
use shared_mounts::SharedMounts;
use solve::{Landed, Solver, Task};
use supervisors::Supervisors;

/// Builds on this machine.
pub struct Embedded {
    this: Weak<Self>,
    store: Store,
    sources: Sources,
    caches: Arc<Caches>,
    layers: Arc<Layers>,
    supervisors: Supervisors,
    /// By key, and whether the store may answer.
    flights: Flights<(Digest, bool), Landed>,
    permits: Semaphore,
    /// Cache mounts that commands of this run wrote to.
    mounts: SharedMounts,
    /// Unpacked layers that were found in this run.
    trees: Mutex<HashMap<SnapshotKey, PathBuf>>,
    info: EngineInfo,
}

/// What the engine is given.
pub struct EmbeddedOptions {
    pub store: Store,
    pub registry: Registry,
    pub sources: Sources,
    pub caches: Arc<Caches>,
    /// Steps running at one time.
    pub jobs: usize,
}

impl Embedded {
    pub fn new(options: EmbeddedOptions) -> Arc<Self> {
        let supervisors = Supervisors::new(&options.store);
        let info =
            EngineInfo { kind: "embedded", platform: Platform::host(), degraded: supervisors.degraded() };
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            layers: Arc::new(Layers::new(options.store.clone(), options.registry, options.caches.clone())),
            supervisors,
            store: options.store,
            sources: options.sources,
            caches: options.caches,
            flights: Flights::default(),
            permits: Semaphore::new(options.jobs.max(1)),
            mounts: SharedMounts::default(),
            trees: Mutex::default(),
            info,
        })
    }

    fn trees(&self) -> std::sync::MutexGuard<'_, HashMap<SnapshotKey, PathBuf>> {
        self.trees.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How commands of `platform` run here.
    fn execution(&self, platform: &Platform) -> Execution {
        self.supervisors.execution(platform)
    }

    /// Removes unpacked trees that nothing refers to any more, if a helper stands that may.
    pub async fn tidy(&self) {
        let Some(supervisor) = self.supervisors.running() else { return };
        let Ok(paths) = self.store.snapshots().dead_paths() else { return };
        if !paths.is_empty() {
            // What cannot be removed now stays dead, and the next run tries again.
            let _ = supervisor.call(HelperTask::Remove { paths }, &[]).await;
        }
    }

    /// A layer that was made before, if all of it is still there.
    fn recorded(&self, kind: KeyKind, key: &Digest) -> Result<Option<Layer>, Arc<Problem>> {
        let record = self.store.keys().get(kind, key).map_err(|error| Arc::new(error.problem()))?;
        // A record that cannot be read is one of another version: a miss.
        Ok(record
            .and_then(|record| serde_json::from_slice::<StepRecord>(&record.value).ok())
            .map(Layer::from))
    }

    fn layer_options(&self, task: &Task) -> LayerOptions {
        // What is only mounted is never shipped, and unpacked at once.
        let is_mounted = matches!(&task.step.op, Op::Copy(copy) if copy.is_mounted);
        let compression = if is_mounted { Compression::None } else { task.job.compression };
        LayerOptions { compression, clamp_mtime: task.job.epoch }
    }

    /// Gives a written layer its name in the store.
    fn commit_layer(
        &self,
        blob: BlobWriter<'_>,
        finished: FinishedLayer,
        task: &Task,
    ) -> std::io::Result<Result<Layer, Problem>> {
        let committed = blob.commit(&finished.digest, finished.size);
        Ok(self.remember_layer(committed, finished, task))
    }

    /// The layer whose blob was committed.
    fn remember_layer(
        &self,
        committed: Result<(), StoreError>,
        finished: FinishedLayer,
        task: &Task,
    ) -> Result<Layer, Problem> {
        committed.map_err(|error| error.problem())?;
        self.layers.remember(finished.digest, finished.index).map_err(|problem| *problem)?;
        let blob = Descriptor::new(finished.media_type, finished.digest, finished.size);
        if task.step.id == task.job.steps.result
            && let Some(tell) = &task.job.last_layer
        {
            tell(&blob);
        }
        let compression = Some(self.layer_options(task).compression);
        Ok(Layer { diff_id: finished.diff_id, blob, compression, base: None, created: task.job.now })
    }
}

impl Engine for Embedded {
    fn info(&self) -> EngineInfo {
        self.info.clone()
    }

    fn emulators(&self, steps: &Lowered) -> BTreeMap<String, String> {
        let runs = steps.steps.iter().filter(|step| matches!(step.op, Op::Run(_)));
        runs.filter_map(|step| {
            Some((step.platform.to_string(), self.execution(&step.platform).emulator_identity()?))
        })
        .collect()
    }

    async fn build(&self, job: BuildJob) -> Result<BuildOutcome, Box<Problem>> {
        let this = self.this.upgrade().expect("an engine that builds is alive");
        let solver = Solver::new(this.clone(), job);
        let files = solver.solve().await.map_err(|problem| Box::new((*problem).clone()))?;
        solver.offer_bases(&files);
        export::complete(&this, &solver.job, &files).await?;
        let (job, counts) = (solver.job.clone(), solver.counts());
        fault::blocking(move || export::write(&this, &job, &files, counts)).await
    }

    async fn settle(&self) {
        self.share_mounts().await;
    }
}

/// Deletes unpacked trees, whose files may belong to ids that only a user namespace has.
pub async fn remove_trees(store: &Store, paths: &[PathBuf]) -> Result<(), Box<Problem>> {
    if paths.is_empty() {
        return Ok(());
    }
    let supervisor = Supervisors::new(store).any().await?;
    let removed = supervisor.call(HelperTask::Remove { paths: paths.to_vec() }, &[]).await;
    removed.map(drop).map_err(|error| Box::new(supervisors::problem(&error)))
}

/// How many bytes the files of each of these trees have, whoever they belong to; one that is gone has none.
pub async fn measure_trees(store: &Store, paths: &[PathBuf]) -> Result<Vec<u64>, Box<Problem>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let supervisor = Supervisors::new(store).any().await?;
    match supervisor.call(HelperTask::Measure { paths: paths.to_vec() }, &[]).await {
        Ok(TaskOutput::Measured { bytes }) => Ok(bytes),
        Ok(other) => unreachable!("measuring gives measures, not {other:?}"),
        Err(error) => Err(Box::new(supervisors::problem(&error))),
    }
}

#[cfg(test)]
mod tests;
