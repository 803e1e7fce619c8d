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
use super::{Embedded, fault, supervisors};
use crate::base::{Digest, Hasher};
use crate::diag::Problem;
use crate::engine::BuildJob;
use crate::layer::{Entry, Index};
use crate::store::{SnapshotKey, Store};

/// The lower directories of a file system, topmost first.
///
/// A layer that comes twice is there once, at its upper place: overlay refuses one directory under two
/// names, and all that the lower one says the upper one says again.
pub(super) async fn lowers(
    engine: &Embedded,
    job: &BuildJob,
    files: &FileSystem,
    supervisor: &Supervisor,
) -> Result<Vec<PathBuf>, Arc<Problem>> {
    let stand_alone = engine.layers.stand_alone(files, job).await?;
    let place = Place { engine, job, supervisor };
    let alone = files.layers.iter().zip(&stand_alone).filter(|(_, alone)| **alone).map(|(layer, _)| layer);
    // These need nothing of each other: side by side, as far as the helper's children find cores.
    try_join_all(alone.map(|layer| tree_of(place, layer_key(layer.diff_id), layer, &[]))).await?;
    let mut lowers: Vec<PathBuf> = Vec::with_capacity(files.layers.len());
    for (number, (layer, alone)) in files.layers.iter().zip(stand_alone).enumerate() {
        let path = match alone {
            true => tree_of(place, layer_key(layer.diff_id), layer, &[]).await?,
            false => tree_of(place, chain_key(&files.layers[..=number]), layer, &lowers).await?,
        };
        put_on_top(&mut lowers, path);
    }
    Ok(lowers)
}

/// Where trees are made, and for which job.
#[derive(Clone, Copy)]
struct Place<'a> {
    engine: &'a Embedded,
    job: &'a BuildJob,
    supervisor: &'a Supervisor,
}

/// The tree of a layer: there already, or unpacked now onto `onto`.
async fn tree_of(
    place: Place<'_>,
    key: SnapshotKey,
    layer: &Layer,
    onto: &[PathBuf],
) -> Result<PathBuf, Arc<Problem>> {
    // What was found once stays: the store's lease keeps it for as long as this process lives.
    if let Some(path) = place.engine.trees().get(&key) {
        return Ok(path.clone());
    }
    if let Some(path) = find(&place.engine.store, &key)? {
        place.engine.trees().insert(key, path.clone());
        return Ok(path);
    }
    let index = place.engine.layers.index(layer, place.job).await?;
    warn_of_lost_owners(place.job, &index);
    Unpack { key, layer, onto }.run(place).await
}

fn put_on_top(lowers: &mut Vec<PathBuf>, path: PathBuf) {
    lowers.retain(|known| *known != path);
    lowers.insert(0, path);
}

/// Steps of a user with too few ids see files of others as root's, and what they change becomes root's.
fn warn_of_lost_owners(job: &BuildJob, index: &Index) {
    let reach = IdMaps::for_this_user().reach();
    let is_lost = |entry: &Entry| !(reach.covers(entry.uid) && reach.covers(entry.gid));
    if let Some(lost) = index.entries.iter().map(|indexed| &indexed.entry).find(|entry| is_lost(entry)) {
        let message = format!(
            "steps see files of other users as root's here, such as `/{}` of {}:{}",
            String::from_utf8_lossy(&lost.path),
            lost.uid,
            lost.gid
        );
        job.events.notice(Problem::warning("host::id-map", message).help(supervisors::MORE_IDS));
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
    async fn run(&self, place: Place<'_>) -> Result<PathBuf, Arc<Problem>> {
        let store = &place.engine.store;
        let (locked, lock) = (store.clone(), self.layer.diff_id);
        let flight = fault::blocking(move || locked.exclusive(&lock)).await;
        let _flight = flight.map_err(|error| Arc::new(error.problem()))?;
        if let Some(path) = find(store, &self.key)? {
            return Ok(path);
        }
        place.engine.layers.fetch(self.layer, place.job).await?;
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
        let done = place.supervisor.call(unpack, &[blob.as_fd()]).await;
        done.map_err(|error| Arc::new(supervisors::problem(&error)))?;
        pending.commit().map_err(|error| Arc::new(error.problem()))
    }
}
