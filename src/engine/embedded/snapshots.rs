//! Layers unpacked as overlay's lower directories, each once.
//!
//! A layer that stands alone is unpacked by itself and shared by every image that has it. One that needs
//! what is below it (a path through a link, a hard link across layers) is applied on top of that, and
//! belongs to its chain.

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::filesystem::{FileSystem, Layer};
use super::sandbox::{HelperTask, IdMaps, Supervisor, UnpackTarget};
use super::solve::Task;
use super::{fault, supervisors};
use crate::base::{Digest, Hasher};
use crate::diag::Problem;
use crate::layer::{Entry, Index};
use crate::store::{SnapshotKey, Store};

/// The lower directories of a file system, topmost first.
///
/// A layer that comes twice is there once, at its upper place: overlay refuses one directory under two
/// names, and all that the lower one says the upper one says again.
pub(super) async fn lowers(
    task: &Task,
    files: &FileSystem,
    supervisor: &Supervisor,
) -> Result<Vec<PathBuf>, Arc<Problem>> {
    let stand_alone = task.engine.layers.stand_alone(files, &task.job).await?;
    let alone = files.layers.iter().zip(&stand_alone).filter(|(_, alone)| **alone).map(|(layer, _)| layer);
    // These need nothing of each other: side by side, as far as the helper's children find cores.
    try_join_all(alone.map(|layer| tree_of(task, supervisor, layer_key(layer.diff_id), layer, &[]))).await?;
    let mut lowers: Vec<PathBuf> = Vec::with_capacity(files.layers.len());
    for (place, (layer, alone)) in files.layers.iter().zip(stand_alone).enumerate() {
        let path = match alone {
            true => tree_of(task, supervisor, layer_key(layer.diff_id), layer, &[]).await?,
            false => tree_of(task, supervisor, chain_key(&files.layers[..=place]), layer, &lowers).await?,
        };
        put_on_top(&mut lowers, path);
    }
    Ok(lowers)
}

/// The tree of a layer: there already, or unpacked now onto `onto`.
async fn tree_of(
    task: &Task,
    supervisor: &Supervisor,
    key: SnapshotKey,
    layer: &Layer,
    onto: &[PathBuf],
) -> Result<PathBuf, Arc<Problem>> {
    // What was found once stays: the store's lease keeps it for as long as this process lives.
    if let Some(path) = task.engine.trees().get(&key) {
        return Ok(path.clone());
    }
    if let Some(path) = find(&task.engine.store, &key)? {
        task.engine.trees().insert(key, path.clone());
        return Ok(path);
    }
    let index = task.engine.layers.index(layer, &task.job).await?;
    warn_of_lost_owners(task, &index);
    Unpack { key, layer, onto }.run(task, supervisor).await
}

fn put_on_top(lowers: &mut Vec<PathBuf>, path: PathBuf) {
    lowers.retain(|known| *known != path);
    lowers.insert(0, path);
}

/// Steps of a user with too few ids see files of others as root's, and what they change becomes root's.
fn warn_of_lost_owners(task: &Task, index: &Index) {
    let reach = IdMaps::for_this_user().reach();
    let is_lost = |entry: &Entry| !(reach.covers(entry.uid) && reach.covers(entry.gid));
    if let Some(lost) = index.entries.iter().map(|indexed| &indexed.entry).find(|entry| is_lost(entry)) {
        let message = format!(
            "steps see files of other users as root's here, such as `/{}` of {}:{}",
            String::from_utf8_lossy(&lost.path),
            lost.uid,
            lost.gid
        );
        task.job.events.notice(Problem::warning("host::id-map", message).help(supervisors::MORE_IDS));
    }
}

/// The snapshot of a layer that stands alone; the changes of a RUN always do.
pub(super) fn layer_key(diff_id: Digest) -> SnapshotKey {
    SnapshotKey::new(if is_mapped() { "layer-mapped" } else { "layer" }, diff_id)
}

/// Whether files on disk belong to other ids than in the image. Root and an ordinary user who share a store
/// must not take each other's trees: their owners would be wrong.
pub(super) fn is_mapped() -> bool {
    !rustix::process::geteuid().is_root()
}

fn chain_key(layers: &[Layer]) -> SnapshotKey {
    let mut hasher = Hasher::new();
    for layer in layers {
        hasher.update(layer.diff_id.as_bytes());
    }
    SnapshotKey::new(if is_mapped() { "chain-mapped" } else { "chain" }, hasher.finish())
}

fn find(store: &Store, key: &SnapshotKey) -> Result<Option<PathBuf>, Arc<Problem>> {
    store.snapshots().get(key).map_err(|error| Arc::new(error.problem()))
}

/// One layer to be unpacked.
struct Unpack<'a> {
    key: SnapshotKey,
    layer: &'a Layer,
    /// What it is applied on; empty when it stands alone.
    onto: &'a [PathBuf],
}

impl Unpack<'_> {
    /// Unpacks, unless somebody else does or did.
    async fn run(&self, task: &Task, supervisor: &Supervisor) -> Result<PathBuf, Arc<Problem>> {
        let store = &task.engine.store;
        let (locked, lock) = (store.clone(), self.layer.diff_id);
        let flight = fault::blocking(move || locked.exclusive(&lock)).await;
        let _flight = flight.map_err(|error| Arc::new(error.problem()))?;
        if let Some(path) = find(store, &self.key)? {
            return Ok(path);
        }
        task.engine.layers.fetch(self.layer, &task.job).await?;
        let blob = store
            .blobs()
            .open(&self.layer.blob.digest)
            .map_err(|error| Arc::new(*fault::io("open a layer", &error)))?;
        let pending = store.snapshots().begin(&self.key).map_err(|error| Arc::new(error.problem()))?;
        let target = if self.onto.is_empty() {
            UnpackTarget::Lower { into: pending.path() }
        } else {
            let work = pending.folder().join("work");
            std::fs::create_dir(&work)
                .map_err(|error| Arc::new(*fault::io("make a work directory", &error)))?;
            UnpackTarget::Onto { lowers: self.onto.to_vec(), upper: pending.path(), work }
        };
        let unpack = HelperTask::Unpack { media_type: self.layer.blob.media_type.clone(), target };
        let done = supervisor.call(unpack, &[blob.as_fd()]).await;
        done.map_err(|error| Arc::new(supervisors::problem(&error)))?;
        pending.commit().map_err(|error| Arc::new(error.problem()))
    }
}
