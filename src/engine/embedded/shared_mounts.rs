//! Cache mounts that machines share: restored from a cache where this machine has none, and offered to it after the
//! run. Only caches that say so keep them: a cache mount may be large, and what is in it decides no result.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::cache_identity::CacheIdentity;
use super::cache_layer::check_cache_layer;
use super::cache_transfer::{CacheFiles, StoredCache, stored_caches};
use super::sandbox::{HelperTask, Supervisor, UnpackTarget};
use super::solve::Task;
use super::{Embedded, fault, supervisors};
use crate::base::{Digest, Parts};
use crate::cache::{Access, Entry, EntryKind};
use crate::diag::Problem;
use crate::engine::JobEvents;
use crate::event::Transfer;
use crate::oci::Descriptor;

/// The cache mounts of a run that are to be offered, each to the caches of whoever wrote to it last.
#[derive(Default)]
pub(super) struct SharedMounts(Mutex<BTreeMap<CacheIdentity, (Access, JobEvents)>>);

/// The name of a cache mount on every machine.
fn shared_key(identity: &CacheIdentity) -> Digest {
    let mut parts = Parts::new();
    parts.text("id", &identity.id);
    parts.text("platform", identity.platform.to_string());
    parts.text("beginning", identity.beginning.to_string());
    parts.digest()
}

impl SharedMounts {
    pub fn note(&self, task: &Task, identity: &CacheIdentity) {
        let access = &task.job.caches;
        if access.writes_mounts() {
            let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            noted.insert(identity.clone(), (access.clone(), task.job.events.clone()));
        }
    }

    fn take(&self) -> BTreeMap<CacheIdentity, (Access, JobEvents)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Unpacks what a cache has of the mount into a new folder; whether there is anything. Whatever goes wrong, the mount
/// begins as it would without a cache, and that is said.
pub(super) async fn restore(
    task: &Task,
    identity: &CacheIdentity,
    into: &Path,
    supervisor: &Supervisor,
) -> bool {
    if !task.job.caches.reads_mounts() {
        return false;
    }
    match unpack(task, identity, into, supervisor).await {
        Ok(is_there) => is_there,
        Err(cause) => {
            let message = format!("the cache mount `{identity}` begins empty: {cause}");
            task.job.events.notice(Problem::warning("cache::mount", message));
            false
        }
    }
}

async fn unpack(
    task: &Task,
    identity: &CacheIdentity,
    into: &Path,
    supervisor: &Supervisor,
) -> Result<bool, String> {
    let (caches, store) = (&task.engine.caches, &task.engine.store);
    let found = caches.get(&task.job.caches, EntryKind::Mount, &shared_key(identity)).await;
    let Some(blob) = found.and_then(|found| found.entry.blobs.into_iter().next()) else { return Ok(false) };
    let (events, size) = (task.job.events.clone(), blob.size);
    let item = identity.to_string();
    let progress = move |done: u64, _: u64| events.transfer(Transfer::Pull, item.clone(), done, Some(size));
    if !caches.fetch(&blob, &progress).await.map_err(|error| error.to_string())? {
        return Err("no cache can give what one told of".to_string());
    }
    let (media_type, open) = (blob.media_type.clone(), store.blobs().open(&blob.digest));
    let file = open.map_err(|error| error.to_string())?;
    let checked = file.try_clone().map_err(|error| error.to_string())?;
    fault::blocking(move || check_cache_layer(&checked, &media_type)).await?;
    std::io::Seek::rewind(&mut &file).map_err(|error| error.to_string())?;
    let target = UnpackTarget::Lower { into: into.to_path_buf() };
    let unpack = HelperTask::Unpack { media_type: blob.media_type.clone(), target };
    let done = supervisor.call(unpack, &[file.as_fd()]).await;
    done.map(|_| true).map_err(|error| supervisors::problem(&error).message)
}

impl Embedded {
    /// Offers what commands left in cache mounts. What fails is said, and costs nobody anything.
    pub(super) async fn share_mounts(&self) {
        let noted = self.mounts.take();
        if noted.is_empty() {
            return;
        }
        let Ok(stored) = stored_caches(&self.store) else { return };
        for (identity, (access, events)) in noted {
            // Of several folders the first is what the next step is given.
            let Some(cache) = stored.iter().find(|cache| cache.identity == identity) else { continue };
            match self.packed(cache).await {
                Ok(Some(blob)) => {
                    let (key, value) = (shared_key(&identity), serde_json::Value::Null);
                    let entry = Entry { kind: EntryKind::Mount, key, value, blobs: vec![blob] };
                    self.caches.offer(&access, entry, true);
                }
                // In use by another process, which offers it itself.
                Ok(None) => {}
                Err(problem) => {
                    let message = format!("the cache mount `{identity}` is not shared: {}", problem.message);
                    events.notice(Problem::warning("cache::mount", message));
                }
            }
        }
    }

    async fn packed(&self, cache: &StoredCache) -> Result<Option<Descriptor>, Box<Problem>> {
        let blob = self.store.blobs().writer().map_err(|error| Box::new(error.problem()))?;
        let Some(layer) = CacheFiles::open(&self.store).await?.export(cache, false, blob.file()).await?
        else {
            return Ok(None);
        };
        blob.commit(&layer.digest, layer.size).map_err(|error| Box::new(error.problem()))?;
        Ok(Some(Descriptor::new(layer.media_type, layer.digest, layer.size)))
    }
}
