//! Cache mounts: which folder of the store they are, made when it is not there, and who may use it when.
//!
//! Which cache it is, its identity says (`cache_identity`). It has its content in `fs/source`, which is there whole or
//! not at all.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::cache_identity::{Beginning, CacheIdentity};
use super::filesystem::FileSystem;
use super::run_mounts::inputs;
use super::sandbox::{HelperTask, Kept, Supervisor, UnpackTarget};
use super::solve::Task;
use super::{fault, shared_mounts, supervisors};
use crate::base::Digest;
use crate::diag::Problem;
use crate::dockerfile::Sharing;
use crate::steps::{CacheMount, MountKind, RunOp};
use crate::store::{CacheFolder, CacheUse};

/// Waiting no longer than this is not worth a word.
const UNSAID: Duration = Duration::from_secs(1);

/// The caches of one RUN, taken.
#[derive(Default)]
pub(super) struct Caches {
    /// By the mount's place.
    folders: BTreeMap<usize, PathBuf>,
    /// What keeps them taken.
    pub kept: Vec<Kept>,
}

/// One cache, however often a RUN mounts it.
struct Wanted<'t> {
    usage: CacheUse,
    cache: &'t CacheMount,
    identity: CacheIdentity,
    seed: Option<&'t Arc<FileSystem>>,
    places: Vec<usize>,
}

impl Caches {
    pub fn path_of(&self, place: usize) -> PathBuf {
        self.folders[&place].join("fs/source")
    }
}

/// Takes the caches that a RUN mounts. One after the other in the order of their keys, so that two commands
/// that lock the same two caches do not wait for each other.
pub(super) async fn take(task: &Task, run: &RunOp, supervisor: &Supervisor) -> Result<Caches, Arc<Problem>> {
    let mut caches = Caches::default();
    for (key, wanted) in wanted(task, run) {
        let (store, usage) = (task.engine.store.clone(), wanted.usage);
        let taking = fault::blocking(move || store.caches().take(&key, usage));
        tokio::pin!(taking);
        let taken = match tokio::time::timeout(UNSAID, &mut taking).await {
            Ok(taken) => taken,
            Err(_) => {
                task.job.events.notice(waits(task, &wanted, &key));
                taking.await
            }
        };
        let folder = taken.map_err(|error| Arc::new(error.problem()))?;
        let described = wanted.identity.describe(folder.path());
        described.map_err(|error| Arc::new(*fault::io("describe a cache", &error)))?;
        fill(task, &wanted, &folder, supervisor).await?;
        task.engine.mounts.note(task, &wanted.identity);
        for place in wanted.places {
            caches.folders.insert(place, folder.path().to_path_buf());
        }
        caches.kept.push(Box::new(folder));
    }
    Ok(caches)
}

fn waits(task: &Task, wanted: &Wanted<'_>, key: &Digest) -> Problem {
    let holder = match task.engine.store.caches().holder(key) {
        Some(process) if process == std::process::id() => "another step of this run has".to_string(),
        Some(process) => format!("process {process} has"),
        None => "another step has".to_string(),
    };
    let (text, id) = (&task.step.text, &wanted.cache.id);
    let message = format!("`{text}` waits for the cache mount `{id}`, which {holder} locked");
    Problem::warning("build::cache-wait", message)
        .help("where commands can share it, `sharing=shared` waits for nobody; `sharing=private` takes another folder")
}

fn wanted<'t>(task: &'t Task, run: &'t RunOp) -> BTreeMap<Digest, Wanted<'t>> {
    let seeds: BTreeMap<usize, &Arc<FileSystem>> = inputs(task, run).collect();
    let mut all: BTreeMap<Digest, Wanted<'t>> = BTreeMap::new();
    for (place, mount) in run.mounts.iter().enumerate() {
        let MountKind::Cache(cache) = &mount.kind else { continue };
        let seed = seeds.get(&place).copied();
        let usage = match cache.sharing {
            Sharing::Shared => CacheUse::Shared,
            Sharing::Private => CacheUse::Private,
            Sharing::Locked => CacheUse::Locked,
        };
        let identity = identity(task, cache, seed);
        let key = identity.key();
        let new = || Wanted { usage, cache, identity, seed, places: Vec::new() };
        let wanted = all.entry(key).or_insert_with(new);
        wanted.usage = wanted.usage.max(usage);
        wanted.places.push(place);
    }
    all
}

fn identity(task: &Task, cache: &CacheMount, seed: Option<&Arc<FileSystem>>) -> CacheIdentity {
    let access = cache.access;
    let beginning = match seed {
        Some(seed) => Beginning::Seed(seed.digest()),
        None => Beginning::Empty(format!("{:o} {}:{}", access.mode, access.uid, access.gid)),
    };
    CacheIdentity { id: cache.id.clone(), platform: task.step.platform.clone(), beginning }
}

/// Makes the content, unless it is there.
async fn fill(
    task: &Task,
    wanted: &Wanted<'_>,
    folder: &CacheFolder,
    supervisor: &Supervisor,
) -> Result<(), Arc<Problem>> {
    let content = folder.path().join("fs");
    if content.is_dir() {
        return Ok(());
    }
    // Others may share the folder already.
    let (store, lock) = (task.engine.store.clone(), Digest::of(folder.path().as_os_str().as_encoded_bytes()));
    let flight = fault::blocking(move || store.exclusive(&lock)).await;
    let _flight = flight.map_err(|error| Arc::new(error.problem()))?;
    if content.is_dir() {
        return Ok(());
    }
    let made = folder.path().join("made");
    let io = |error: std::io::Error| Arc::new(*fault::io("make a cache", &error));
    call(supervisor, HelperTask::Remove { paths: vec![made.clone()] }).await?;
    std::fs::create_dir(&made).map_err(io)?;
    if shared_mounts::restore(task, &wanted.identity, &made, supervisor).await {
        return std::fs::rename(&made, &content).map_err(io);
    }
    // A restore that failed may have left something.
    call(supervisor, HelperTask::Remove { paths: vec![made.clone()] }).await?;
    std::fs::create_dir(&made).map_err(io)?;
    match wanted.seed {
        Some(seed) => unpack(task, seed, &made, supervisor).await?,
        None => {
            let access = wanted.cache.access;
            let (path, mode) = (made.join("source"), access.mode);
            call(supervisor, HelperTask::MakeDirectory { path, mode, uid: access.uid, gid: access.gid })
                .await?;
        }
    }
    std::fs::rename(&made, &content).map_err(io)
}

/// A seed is a step made for this: one layer with `/source`.
async fn unpack(
    task: &Task,
    seed: &FileSystem,
    into: &Path,
    supervisor: &Supervisor,
) -> Result<(), Arc<Problem>> {
    for layer in &seed.layers {
        task.engine.layers.fetch(layer, &task.job).await?;
        let blob = task.engine.store.blobs().open(&layer.blob.digest);
        let blob = blob.map_err(|error| Arc::new(*fault::io("open a layer", &error)))?;
        let target = UnpackTarget::Lower { into: into.to_path_buf() };
        let unpack = HelperTask::Unpack { media_type: layer.blob.media_type.clone(), target };
        let done = supervisor.call(unpack, &[blob.as_fd()]).await;
        done.map_err(|error| Arc::new(supervisors::problem(&error)))?;
    }
    Ok(())
}

async fn call(supervisor: &Supervisor, task: HelperTask) -> Result<(), Arc<Problem>> {
    let done = supervisor.call(task, &[]).await;
    done.map(drop).map_err(|error| Arc::new(supervisors::problem(&error)))
}
