//! The result of a step: a stack of layers, and what can be known of it without unpacking anything.

use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::base::{Digest, Hasher};
use crate::layer::{Compression, FORMAT, Tree};
use crate::oci::Descriptor;

/// A root file system as layers, lowest first.
#[derive(Clone, Debug, Default)]
pub struct FileSystem {
    pub layers: Vec<Layer>,
    tree: Arc<OnceLock<Arc<Tree>>>,
    /// The tree of all layers but the last, where somebody needed it.
    below: Option<Arc<OnceLock<Arc<Tree>>>>,
}

/// One layer: what it is uncompressed, and its blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub diff_id: Digest,
    pub blob: Descriptor,
    /// How the blob is compressed; `None` for what others made.
    pub compression: Option<Compression>,
    /// The base it belongs to, an index into the job's bases; `None` for one made here.
    pub base: Option<usize>,
    /// When it was made, for the image's history; a base's layers have a history of their own.
    pub created: i64,
}

/// What the store remembers of a step under its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    pub diff_id: Digest,
    pub blob: Descriptor,
    /// As [`Compression`] is written, and the version of the bytes that layers have.
    pub compression: Option<String>,
    pub format: u32,
    pub created: i64,
}

impl FileSystem {
    pub fn new(layers: Vec<Layer>) -> Self {
        Self { layers, tree: Arc::default(), below: None }
    }

    /// This file system with one more layer on top.
    pub fn with(&self, layer: Layer) -> Self {
        let layers = self.layers.iter().cloned().chain([layer]).collect();
        Self { layers, tree: Arc::default(), below: Some(self.tree.clone()) }
    }

    /// The identity of the content: the uncompressed layers in order, whatever made them.
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        for layer in &self.layers {
            hasher.update(layer.diff_id.as_bytes());
        }
        hasher.finish()
    }

    /// The merged view, where it was made before.
    pub fn known_tree(&self) -> Option<Arc<Tree>> {
        self.tree.get().cloned()
    }

    /// The merged view of a lowest part of the layers that was made before, and how many layers it covers.
    pub fn nearest_tree(&self) -> (Tree, usize) {
        match self.below.as_ref().and_then(|below| below.get()) {
            Some(tree) => (Tree::clone(tree), self.layers.len() - 1),
            None => (Tree::new(), 0),
        }
    }

    pub fn remember_tree(&self, tree: Arc<Tree>) -> Arc<Tree> {
        self.tree.get_or_init(|| tree).clone()
    }
}

impl From<&Layer> for StepRecord {
    fn from(layer: &Layer) -> Self {
        Self {
            diff_id: layer.diff_id,
            blob: layer.blob.clone(),
            compression: layer.compression.map(|compression| compression.to_string()),
            format: FORMAT,
            created: layer.created,
        }
    }
}

impl From<StepRecord> for Layer {
    fn from(record: StepRecord) -> Self {
        // What cannot be read is compressed again where it matters.
        let compression = record.compression.and_then(|text| text.parse().ok());
        let compression = compression.filter(|_| record.format == FORMAT);
        Self { diff_id: record.diff_id, blob: record.blob, compression, base: None, created: record.created }
    }
}
