//! What lookups and uploads of a run share: where found blobs are, and how they come into the store.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::CacheError;
use super::backend::Progress;
use super::entry::{Entry, EntryKind};
use super::memory::Memory;
use super::place::Place;
use crate::base::{Digest, Reference};
use crate::oci::Descriptor;
use crate::registry::RegistryError;
use crate::store::{Store, StoreError};

pub struct Shared {
    pub store: Store,
    pub memory: Memory,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    holders: BTreeMap<Digest, Vec<Holder>>,
    flights: BTreeMap<Digest, Arc<tokio::sync::Mutex<()>>>,
}

/// Who says that a place has a blob.
#[derive(Clone)]
struct Holder {
    place: Arc<Place>,
    entry: (EntryKind, Digest),
}

impl Shared {
    pub fn new(store: Store) -> Self {
        Self { store, memory: Memory::default(), state: Mutex::default() }
    }

    pub fn note_found(&self, place: &Arc<Place>, entry: &Entry) {
        self.memory.note(place, entry.kind, &entry.key);
        let mut state = self.state();
        for blob in &entry.blobs {
            let holder = Holder { place: place.clone(), entry: (entry.kind, entry.key) };
            state.holders.entry(blob.digest).or_default().push(holder);
        }
    }

    pub fn knows(&self, digest: &Digest) -> bool {
        self.state().holders.contains_key(digest)
    }

    pub fn repositories_with(&self, digest: &Digest) -> Vec<Reference> {
        let mut repositories: Vec<Reference> = Vec::new();
        for holder in self.holders(digest) {
            let repository = holder.place.repository();
            repositories.extend(repository.filter(|known| !repositories.contains(known)).cloned());
        }
        repositories
    }

    fn holders(&self, digest: &Digest) -> Vec<Holder> {
        self.state().holders.get(digest).cloned().unwrap_or_default()
    }

    /// Brings a blob into the store; false when no cache that should have it has it whole.
    pub async fn fetch(&self, blob: &Descriptor, progress: Progress<'_>) -> Result<bool, StoreError> {
        let flight = self.state().flights.entry(blob.digest).or_default().clone();
        let _alone = flight.lock().await;
        if self.store.blobs().contains(&blob.digest) {
            return Ok(true);
        }
        let mut asked: Vec<Arc<Place>> = Vec::new();
        for holder in self.holders(&blob.digest) {
            if !asked.iter().any(|place| Arc::ptr_eq(place, &holder.place)) {
                if self.fetch_from(&holder.place, blob, progress).await? {
                    return Ok(true);
                }
                asked.push(holder.place.clone());
            }
        }
        self.forget(blob);
        Ok(false)
    }

    async fn fetch_from(
        &self,
        place: &Place,
        blob: &Descriptor,
        progress: Progress<'_>,
    ) -> Result<bool, StoreError> {
        let writer = self.store.blobs().writer()?;
        match place.bring(blob, writer.file(), progress).await {
            Ok(true) => writer.commit(&blob.digest, blob.size).map(|()| true),
            Ok(false) => Ok(false),
            Err(error) => Err(self.local(&error)),
        }
    }

    /// Nobody has the blob, so the entries that name it are not what they seem: they are written anew.
    fn forget(&self, blob: &Descriptor) {
        let holders = self.state().holders.remove(&blob.digest).unwrap_or_default();
        for Holder { place, entry: (kind, key) } in holders {
            place.note_damage(kind, &key);
        }
    }

    /// Has a blob in the store that is to be sent somewhere.
    pub async fn ensure(&self, blob: &Descriptor) -> Result<(), CacheError> {
        match self.fetch(blob, &|_, _| {}).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let cause = format!("the blob {} is neither here nor in a cache", blob.digest.short());
                Err(CacheError::Local { cause, errno: None })
            }
            Err(error) => Err(CacheError::Local { cause: error.to_string(), errno: None }),
        }
    }

    fn local(&self, error: &CacheError) -> StoreError {
        let path = self.store.path().join("tmp");
        let source = match error {
            CacheError::Local { errno: Some(errno), .. } => io::Error::from_raw_os_error(*errno),
            CacheError::Registry(RegistryError::Local { cause, .. }) => io::Error::other(cause.clone()),
            other => io::Error::other(other.to_string()),
        };
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full { path },
            _ => StoreError::Io { action: "write a blob to", path, source },
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
