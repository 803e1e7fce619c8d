//! The blobs of a run's images: in the store, or where they can be had when somebody needs them.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Seek as _};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, try_join_all};

use crate::base::{Digest, Reference};
use crate::cache::Caches;
use crate::diag::{Kind, Problem};
use crate::engine::base::{Base, Origin, fetch_blob};
use crate::engine::{JobEvents, blocking, io_problem};
use crate::event::Transfer;
use crate::layer::LayerError;
use crate::oci::{Descriptor, media_type};
use crate::publish::merge::read_manifest;
use crate::publish::{BlobSource, PushSource};
use crate::registry::Registry;
use crate::store::Store;
use crate::verify::look_through;

pub(super) struct RunBlobs {
    store: Store,
    registry: Registry,
    caches: Arc<Caches>,
    /// Of the layers of bases.
    origins: Mutex<HashMap<Digest, Origin>>,
}

impl RunBlobs {
    pub fn new(store: Store, registry: Registry, caches: Arc<Caches>) -> Self {
        Self { store, registry, caches, origins: Mutex::default() }
    }

    /// Remembers where a base's layers come from.
    pub fn note(&self, base: &Base) {
        self.note_origin(&base.layers, &base.origin);
    }

    /// Remembers where blobs come from.
    pub fn note_origin(&self, blobs: &[Descriptor], origin: &Origin) {
        let mut origins = self.origins();
        for blob in blobs {
            origins.entry(blob.digest).or_insert_with(|| origin.clone());
        }
    }

    fn origins(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Origin>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is a layer of a base, which others keep.
    pub fn is_of_base(&self, digest: &Digest) -> bool {
        self.origins().contains_key(digest)
    }

    /// Whether it came into the store in this run, and is of no base.
    pub fn is_new(&self, digest: &Digest) -> bool {
        self.store.blobs().is_new(digest) && !self.is_of_base(digest)
    }

    pub fn has(&self, digest: &Digest) -> bool {
        self.store.blobs().contains(digest)
    }

    /// Whether every layer of an image is in the store.
    pub fn are_here(&self, image: &Descriptor) -> bool {
        read_manifest(&self.store, image)
            .is_ok_and(|manifest| manifest.layers.iter().all(|layer| self.has(&layer.digest)))
    }

    /// Brings every layer of an image into the store.
    pub async fn bring_image(&self, image: &Descriptor, events: &JobEvents) -> Result<(), Box<Problem>> {
        let manifest = read_manifest(&self.store, image)?;
        let layers = manifest.layers.iter().map(|layer| self.bring(layer, events));
        try_join_all(layers).await.map(drop)
    }

    /// Brings one blob into the store.
    pub async fn bring(&self, blob: &Descriptor, events: &JobEvents) -> Result<(), Box<Problem>> {
        let origin = self.origins().get(&blob.digest).cloned().unwrap_or(Origin::Store);
        fetch_blob(&self.store, &self.registry, &self.caches, &origin, blob, events).await
    }

    /// Finds out what a layer that a registry has holds, without keeping it.
    pub async fn look_into(&self, layer: &Descriptor, events: &JobEvents) -> Result<(), Box<Problem>> {
        let Some(Origin::Registry(repository)) = self.origins().get(&layer.digest).cloned() else {
            return self.bring(layer, events).await;
        };
        let writer = self.store.blobs().writer().map_err(|error| Box::new(error.problem()))?;
        let unread = |error: io::Error| Box::new(io_problem("write a layer", &error));
        let mut file = writer.file().try_clone().map_err(unread)?;
        let (item, sink) = (layer.digest.short(), events.clone());
        let progress =
            move |done: u64, total: u64| sink.transfer(Transfer::Pull, item.clone(), done, Some(total));
        let pulled = self.registry.pull_blob(&repository, layer, &mut file, &progress).await;
        pulled.map_err(|error| Box::new(error.problem()))?;
        let (store, scanned) = (self.store.clone(), layer.clone());
        let looked = blocking(move || {
            file.rewind().map_err(LayerError::from)?;
            look_through(&store, &scanned, file)
        });
        let looked = looked.await;
        // What was written is forgotten with it.
        drop(writer);
        looked.map(drop).map_err(|error| {
            let message = format!("layer {} cannot be verified: {error}", layer.digest);
            let problem = Problem::new(Kind::Remote, "verify::unreadable", message);
            Box::new(problem.help("bake with `--no-cache` to make it again"))
        })
    }

    /// Makes a registry take a blob from where it is without it coming here, or says that it must come here.
    pub async fn place(&self, repository: &Reference, blob: &Descriptor) -> bool {
        let holders = self.repositories_with(&blob.digest).into_iter();
        let holders = holders.filter(|holder| holder.registry() == repository.registry());
        let names: Vec<String> = holders.map(|holder| holder.repository().to_string()).collect();
        self.registry.place_blob(repository, blob, &names).await.unwrap_or(false)
    }

    pub fn repositories_with(&self, digest: &Digest) -> Vec<Reference> {
        let base = match self.origins().get(digest) {
            Some(Origin::Registry(reference)) => Some(reference.clone()),
            _ => None,
        };
        self.caches.repositories_with(digest).into_iter().chain(base).collect()
    }
}

/// The blobs as a node of the run pushes them.
pub(super) struct Pushed<'a> {
    pub blobs: &'a RunBlobs,
    pub events: JobEvents,
    /// The manifests and indexes of the images that were made in this run.
    pub made: HashSet<Digest>,
}

impl BlobSource for Pushed<'_> {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        self.blobs.store.blobs().open(digest)
    }
}

impl PushSource for Pushed<'_> {
    fn bring<'a>(&'a self, blob: &'a Descriptor) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async {
            let brought = self.blobs.bring(blob, &self.events).await;
            brought.map_err(|problem| io::Error::other(problem.message.clone()))
        })
    }

    fn repositories_with(&self, digest: &Digest) -> Vec<Reference> {
        self.blobs.repositories_with(digest)
    }

    fn is_new(&self, part: &Descriptor) -> bool {
        // Documents of what another machine made were written here, too.
        if media_type::is_manifest(&part.media_type) || media_type::is_index(&part.media_type) {
            return self.made.contains(&part.digest);
        }
        self.blobs.is_new(&part.digest)
    }
}
