//! Results by key, in places that machines share: directories, registries, object stores, CI services.
//!
//! One entry per key and no index over them, so targets, platforms and machines never overwrite each other, and
//! nothing is ever lost to two writers. Knows keys, documents and blobs; it does not know what a key is made of
//! or what a result means.
//!
//! Rules that hold for every place: whatever it answers may be wrong, so blobs are checked against their digest
//! and entries against their key on the way in; a failure is a miss, counted, told once, and after a few of them
//! the place is left alone; an entry is written after everything it needs, beside the build, and never the
//! build's failure.

mod access;
mod backend;
mod chunks;
mod circuit;
mod entry;
mod error;
mod folder;
mod github;
mod memory;
#[cfg(feature = "remote-cache")]
mod object_stores;
#[cfg(feature = "remote-cache")]
mod object_transport;
#[cfg(feature = "remote-cache")]
mod objects;
mod patience;
mod place;
mod places;
mod repository;
mod shared;
mod uploads;
mod web;
mod webdav;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;

pub use access::Access;
pub use backend::Progress;
pub use entry::{Entry, EntryKind, Found};
pub use error::CacheError;
pub use patience::Patience;

use crate::base::{Digest, Reference};
use crate::diag::Problem;
use crate::event::EventSink;
use crate::model::{Cache, CacheMode, CacheUse};
use crate::oci::Descriptor;
use crate::registry::Registry;
use crate::store::{Store, StoreError};
use places::{Places, Wanted};
use shared::Shared;
use uploads::Uploads;

/// What the caches of a run work with.
pub struct CachesOptions {
    pub store: Store,
    pub registry: Registry,
    /// Nobody is asked anything; directories are.
    pub offline: bool,
    /// Where credentials are that a cache's own parameters do not give.
    pub environment: Arc<BTreeMap<String, String>>,
    pub events: Arc<dyn EventSink>,
    pub patience: Patience,
}

/// The caches of one run.
pub struct Caches {
    shared: Arc<Shared>,
    /// None where there are none to be opened.
    places: Option<Places>,
    uploads: Uploads,
}

impl Caches {
    /// For runs without caches: every access is empty.
    pub fn none(store: Store) -> Arc<Self> {
        Arc::new(Self { shared: Arc::new(Shared::new(store)), places: None, uploads: Uploads::default() })
    }

    /// Contacts nobody yet.
    pub fn new(options: CachesOptions) -> Arc<Self> {
        let shared = Arc::new(Shared::new(options.store.clone()));
        Arc::new(Self { shared, places: Some(Places::new(options)), uploads: Uploads::default() })
    }

    /// Opens what a target's caches name, each place once per run, however many targets name it.
    ///
    /// With `trusted_only`, caches without `trust = true` are not read, which is told once. `images` are the
    /// repositories of the target's own image, where an inline cache is.
    pub fn access(
        &self,
        caches: &CacheUse,
        named: &BTreeMap<String, Cache>,
        images: &[Reference],
        trusted_only: bool,
    ) -> Result<Access, Box<Problem>> {
        match &self.places {
            Some(places) => places.access(&Wanted { caches, named, images, trusted_only }),
            None => Ok(Access::none()),
        }
    }

    /// What the first of the read caches says that has the entry; all are asked at once. Every failure is a miss.
    pub async fn get(&self, access: &Access, kind: EntryKind, key: &Digest) -> Option<Found> {
        let places = match kind {
            EntryKind::Mount => &access.lists().read_mounts,
            EntryKind::Node | EntryKind::Step | EntryKind::Index => &access.lists().read,
        };
        let asked = places.iter().map(|place| async move { (place, place.look_up(kind, key).await) });
        let mut answers: FuturesOrdered<_> = asked.collect();
        while let Some((place, answer)) = answers.next().await {
            if let Some(entry) = answer {
                self.shared.note_found(place, &entry);
                return Some(Found { entry, cache: place.name.clone() });
            }
        }
        None
    }

    /// Brings a blob that some found entry named into the store; false when no cache has it whole. Only what the
    /// store cannot do is an error.
    pub async fn fetch(&self, blob: &Descriptor, progress: Progress<'_>) -> Result<bool, StoreError> {
        self.shared.fetch(blob, progress).await
    }

    /// Whether [`Caches::fetch`] may find it: some entry that was found in this run names it.
    pub fn knows(&self, digest: &Digest) -> bool {
        self.shared.knows(digest)
    }

    /// Repositories of registry caches whose found entries name the blob: a push to the same registry can mount it
    /// from there.
    pub fn repositories_with(&self, digest: &Digest) -> Vec<Reference> {
        self.shared.repositories_with(digest)
    }

    /// Queues an upload to the write caches that take it and are not known to have it; returns at once. The blobs
    /// are in the store, or were named by a found entry. `is_of_result`: whether caches with `mode=min` take it.
    /// To be called on a runtime.
    pub fn offer(&self, access: &Access, entry: Entry, is_of_result: bool) {
        let takers: Vec<_> = access
            .lists()
            .write
            .iter()
            .filter(|(place, mode)| {
                (is_of_result || *mode == CacheMode::Max)
                    && (entry.kind != EntryKind::Mount || access.lists().keeps_mounts(place))
                    && place.takes_more()
                    && !self.has(place, entry.kind, &entry.key)
            })
            .collect();
        if takers.is_empty() {
            return;
        }
        let document = match entry.document() {
            Ok(document) => Arc::new(document),
            Err(error) => {
                let message = format!("a result is not written to any cache: {error}");
                self.tell(Problem::warning("cache::entry", message));
                return;
            }
        };
        for (place, _) in takers {
            if place.is_new_offer(&document) {
                self.uploads.start(&self.shared, place, &document, &access.lists().images);
            }
        }
    }

    /// Whether there is nothing to offer: every write cache is known to have the key already, or is left alone.
    pub fn all_have(&self, access: &Access, kind: EntryKind, key: &Digest) -> bool {
        access.lists().write.iter().all(|(place, _)| !place.takes_more() || self.has(place, kind, key))
    }

    fn has(&self, place: &place::Place, kind: EntryKind, key: &Digest) -> bool {
        self.shared.memory.has(&self.shared.store, place, kind, key)
    }

    /// Waits for the uploads, bounded, and tells what was not written. `progress` is told how many of how many
    /// bytes have gone out.
    pub async fn finish(&self, progress: Progress<'_>) {
        let Some(places) = &self.places else { return };
        self.uploads.finish(places.options().patience.finish, progress).await;
        for place in places.all() {
            place.tell_failures();
        }
        if let Err(error) = self.shared.memory.save(&self.shared.store) {
            let message = format!("what caches have is not remembered: {error}");
            self.tell(Problem::warning("cache::memory", message));
        }
    }

    fn tell(&self, problem: Problem) {
        if let Some(places) = &self.places {
            places.tell(problem);
        }
    }
}
