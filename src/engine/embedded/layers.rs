//! What is in layers, without unpacking them: indexes, merged trees, single files.
//!
//! A base's layer is fetched when the first question about it comes; its index is made by one pass over
//! it, which also proves its diff id.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;

use super::fault;
use super::filesystem::{FileSystem, Layer};
use super::flights::Flights;
use crate::base::Digest;
use crate::cache::Caches;
use crate::diag::Problem;
use crate::engine::BuildJob;
use crate::engine::base::{Origin, fetch_blob};
use crate::layer::{
    ContentReader, EntryKind, Index, LayerError, Origin as EntryOrigin, Tree, is_independent,
};
use crate::registry::Registry;
use crate::store::Store;

type Known = Result<Arc<Index>, Arc<Problem>>;

/// The layers of one run.
pub struct Layers {
    store: Store,
    registry: Registry,
    caches: Arc<Caches>,
    indexes: Mutex<HashMap<Digest, Arc<Index>>>,
    flights: Flights<Digest, Known>,
    /// Small files that were read, by layer and position: every RUN asks for the same two.
    texts: Mutex<HashMap<(Digest, u32), String>>,
    fetches: Flights<Digest, Result<(), Arc<Problem>>>,
    /// Whether the uppermost layer of a chain can be unpacked by itself, by the chain's digest.
    standing_alone: Mutex<HashMap<Digest, bool>>,
}

/// The most bytes of a file such as `/etc/passwd` that is read into memory.
const SMALL_FILE: u64 = 16 << 20;

impl Layers {
    pub fn new(store: Store, registry: Registry, caches: Arc<Caches>) -> Self {
        Self {
            store,
            registry,
            caches,
            indexes: Mutex::default(),
            flights: Flights::default(),
            texts: Mutex::default(),
            fetches: Flights::default(),
            standing_alone: Mutex::default(),
        }
    }

    /// Brings the layer's blob into the store if it is not there: once, however many builds ask for it.
    pub async fn fetch(self: &Arc<Self>, layer: &Layer, job: &BuildJob) -> Result<(), Arc<Problem>> {
        let (this, blob, events) = (self.clone(), layer.blob.clone(), job.events.clone());
        let origin = layer.base.map_or(Origin::Store, |base| job.bases[base].origin.clone());
        let work = move || -> futures_util::future::BoxFuture<'static, Result<(), Arc<Problem>>> {
            Box::pin(async move {
                let fetched =
                    fetch_blob(&this.store, &this.registry, &this.caches, &origin, &blob, &events).await;
                fetched.map_err(|problem| Arc::new(*problem))
            })
        };
        self.fetches.fly(layer.blob.digest, work).await.value
    }

    /// The layer's entries. Two who ask for the same layer wait for one fetch and one pass.
    pub async fn index(self: &Arc<Self>, layer: &Layer, job: &BuildJob) -> Known {
        if let Some(index) = self.known_index(&layer.blob.digest) {
            return Ok(index);
        }
        let (this, wanted, job) = (self.clone(), layer.clone(), job.clone());
        let work = move || -> futures_util::future::BoxFuture<'static, Known> {
            Box::pin(async move {
                if let Some(index) = this.stored_index(&wanted)? {
                    return Ok(index);
                }
                if let Some(index) = this.shared_index(&wanted, &job).await? {
                    return Ok(index);
                }
                this.fetch(&wanted, &job).await?;
                fault::blocking(move || this.scan(&wanted)).await.map_err(|problem| Arc::new(*problem))
            })
        };
        let landed = self.flights.fly(layer.blob.digest, work).await;
        landed.value
    }

    pub(super) fn caches(&self) -> &Caches {
        &self.caches
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn known_index(&self, blob: &Digest) -> Option<Arc<Index>> {
        self.known().get(blob).cloned()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<Index>>> {
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the index of a layer that was just written. It belongs to the blob: the same tar compressed in
    /// another way has its blocks elsewhere.
    pub fn remember(&self, blob: Digest, index: Index) -> Result<(), Box<Problem>> {
        self.store.indexes().write(&blob, &index.to_bytes()).map_err(|error| Box::new(error.problem()))?;
        self.known().insert(blob, Arc::new(index));
        Ok(())
    }

    fn stored_index(&self, layer: &Layer) -> Result<Option<Arc<Index>>, Arc<Problem>> {
        let bytes =
            self.store.indexes().read(&layer.blob.digest).map_err(|error| Arc::new(error.problem()))?;
        // An index that cannot be read is made again.
        let Some(index) = bytes.and_then(|bytes| Index::from_bytes(&bytes).ok()) else { return Ok(None) };
        let index = Arc::new(index);
        self.known().insert(layer.blob.digest, index.clone());
        Ok(Some(index))
    }

    fn scan(&self, layer: &Layer) -> Result<Arc<Index>, Box<Problem>> {
        let damaged = |error: &LayerError| fault::layer(&layer.blob.digest, error);
        let file =
            self.store.blobs().open(&layer.blob.digest).map_err(|error| fault::io("open a layer", &error))?;
        let (index, diff_id) = Index::scan(file, &layer.blob.media_type).map_err(|error| damaged(&error))?;
        if diff_id != layer.diff_id {
            let text = format!("its content is {diff_id} where the image's config says {}", layer.diff_id);
            return Err(damaged(&LayerError::Malformed(text)));
        }
        self.remember(layer.blob.digest, index)?;
        Ok(self.known()[&layer.blob.digest].clone())
    }

    /// The merged view of a file system.
    pub async fn tree(
        self: &Arc<Self>,
        files: &FileSystem,
        job: &BuildJob,
    ) -> Result<Arc<Tree>, Arc<Problem>> {
        if let Some(tree) = files.known_tree() {
            return Ok(tree);
        }
        let (mut tree, covered) = files.nearest_tree();
        // Fetched and scanned side by side, then applied in order.
        try_join_all(files.layers[covered..].iter().map(|layer| self.index(layer, job))).await?;
        for (place, layer) in files.layers.iter().enumerate().skip(covered) {
            let index = self.index(layer, job).await?;
            let ordinal = u32::try_from(place).expect("an image has fewer than 2^32 layers");
            tree.apply(ordinal, &index).map_err(|error| {
                Arc::new(*fault::layer(&layer.blob.digest, &LayerError::Malformed(error.to_string())))
            })?;
        }
        Ok(files.remember_tree(Arc::new(tree)))
    }

    /// For each layer of `files` whether it can be unpacked by itself and laid over those below. Layers made
    /// here can: they describe every directory they use, and go through no link. What others made is looked
    /// at, since the same layer may stand alone on one base and not on another.
    pub async fn stand_alone(
        self: &Arc<Self>,
        files: &FileSystem,
        job: &BuildJob,
    ) -> Result<Vec<bool>, Arc<Problem>> {
        let mut answers = Vec::with_capacity(files.layers.len());
        let mut below = Some(Tree::new());
        for (place, layer) in files.layers.iter().enumerate() {
            if layer.base.is_none() {
                answers.push(true);
                continue;
            }
            let chain = FileSystem::new(files.layers[..=place].to_vec()).digest();
            let known = self.standing_alone().get(&chain).copied();
            if let Some(known) = known {
                answers.push(known);
                below = None;
                continue;
            }
            let mut tree = match below.take() {
                Some(tree) => tree,
                None => {
                    Tree::clone(&*self.tree(&FileSystem::new(files.layers[..place].to_vec()), job).await?)
                }
            };
            let index = self.index(layer, job).await?;
            let answer = is_independent(&tree, &index);
            self.standing_alone().insert(chain, answer);
            answers.push(answer);
            let ordinal = u32::try_from(place).expect("an image has fewer than 2^32 layers");
            below = tree.apply(ordinal, &index).is_ok().then_some(tree);
        }
        Ok(answers)
    }

    fn standing_alone(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, bool>> {
        self.standing_alone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The text of a small file, links followed; `None` when there is no such file.
    pub async fn text(
        self: &Arc<Self>,
        files: &FileSystem,
        path: &str,
        job: &BuildJob,
    ) -> Result<Option<String>, Arc<Problem>> {
        let tree = self.tree(files, job).await?;
        let Ok(Some(node)) = tree.resolve(path.trim_start_matches('/').as_bytes(), true) else {
            return Ok(None);
        };
        let EntryKind::File { size } = tree.entry(node).kind else { return Ok(None) };
        if size > SMALL_FILE {
            return Ok(None);
        }
        let Some(EntryOrigin { layer, position }) = tree.origin(node) else { return Ok(None) };
        let layer = files.layers[layer as usize].clone();
        let place = (layer.diff_id, position);
        if let Some(text) = self.texts.lock().unwrap_or_else(PoisonError::into_inner).get(&place) {
            return Ok(Some(text.clone()));
        }
        let index = self.index(&layer, job).await?;
        self.fetch(&layer, job).await?;
        let store = self.store.clone();
        let read = fault::blocking(move || -> Result<String, Box<Problem>> {
            let blob =
                store.blobs().open(&layer.blob.digest).map_err(|error| fault::io("open a layer", &error))?;
            let mut bytes = Vec::new();
            ContentReader::open(blob, &layer.blob.media_type, &index)
                .visit(&[position], |_, _, content| {
                    content.take(SMALL_FILE).read_to_end(&mut bytes).map(drop).map_err(LayerError::from)
                })
                .map_err(|error| fault::layer(&layer.blob.digest, &error))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        });
        let text = read.await.map_err(|problem| Arc::new(*problem))?;
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).insert(place, text.clone());
        Ok(Some(text))
    }
}
