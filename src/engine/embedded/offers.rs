//! What caches give to the steps of a job, and what they are offered of it: layers by the keys of steps, and what is
//! in layers, so that a COPY on top of one needs none of its bytes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fault;
use super::filesystem::{FileSystem, Layer, StepRecord};
use super::layers::Layers;
use super::solve::{Solver, Task};
use serde::Deserialize as _;

use crate::base::{Digest, StepId};
use crate::cache::{Entry, EntryKind};
use crate::diag::Problem;
use crate::engine::BuildJob;
use crate::layer::Index;
use crate::oci::Descriptor;
use crate::steps::Lowered;
use crate::store::KeyKind;

/// What the entry index of a layer is called where blobs have types. Its own first bytes name its version.
const INDEX_TYPE: &str = "application/vnd.mab.layer-index";
/// No index is larger: a layer of a million entries has one of some 60 MB.
const LARGEST_INDEX: u64 = 256 << 20;

/// The steps whose layers are the result's own.
pub(super) fn of_result(steps: &Lowered) -> BTreeSet<StepId> {
    let mut chain = BTreeSet::new();
    let mut next = Some(steps.result);
    while let Some(id) = next.filter(|id| chain.insert(*id)) {
        next = steps.step(id).op.inputs().first().copied();
    }
    chain
}

impl Task {
    /// The layer that another machine made of the same step. It is remembered as if it had been made here, and
    /// found by that once its bytes are here, too.
    pub async fn shared(&self, key: &Digest) -> Result<Option<Layer>, Arc<Problem>> {
        if !self.job.caches.reads() || !self.job.may_reuse(&self.step) {
            return Ok(None);
        }
        let found = self.engine.caches.get(&self.job.caches, EntryKind::Step, key).await;
        // What cannot be read was written by another version, or by nobody who can be believed.
        let record = found.as_ref().and_then(|found| StepRecord::deserialize(&found.entry.value).ok());
        let Some(record) = record.filter(|record| is_named(found.as_ref(), &record.blob)) else {
            return Ok(None);
        };
        let layer = Layer::from(record);
        self.record(KeyKind::Step, key, Some(&self.parts), &layer)?;
        Ok(Some(layer))
    }
}

fn is_named(found: Option<&crate::cache::Found>, blob: &Descriptor) -> bool {
    found.is_some_and(|found| found.entry.blobs.iter().any(|named| named.digest == blob.digest))
}

impl Solver {
    /// Tells caches of a step's layer, if they want to know.
    pub(super) fn offer(&self, step: StepId, key: &Digest, layer: &Layer) {
        let caches = &self.engine.caches;
        let is_of_result = self.result.contains(&step);
        if !self.job.caches.writes() || caches.all_have(&self.job.caches, EntryKind::Step, key) {
            return;
        }
        let value = serde_json::to_value(StepRecord::from(layer)).expect("a step's record is plain data");
        let entry = Entry { kind: EntryKind::Step, key: *key, value, blobs: vec![layer.blob.clone()] };
        caches.offer(&self.job.caches, entry, is_of_result);
        self.engine.layers.offer_index(layer, &self.job, is_of_result);
    }

    /// Tells caches what is in the layers of bases, which many images share.
    pub(super) fn offer_bases(&self, files: &FileSystem) {
        for layer in files.layers.iter().filter(|layer| layer.base.is_some()) {
            self.engine.layers.offer_index(layer, &self.job, true);
        }
    }
}

impl Layers {
    /// What a cache says is in a layer. It is believed as far as the layer itself is: both come from whoever may
    /// write to the cache.
    pub(super) async fn shared_index(
        &self,
        layer: &Layer,
        job: &BuildJob,
    ) -> Result<Option<Arc<Index>>, Arc<Problem>> {
        // Bytes that are here are read instead: that is as quick, and proves more.
        if !job.caches.reads() || self.store().blobs().contains(&layer.blob.digest) {
            return Ok(None);
        }
        let found = self.caches().get(&job.caches, EntryKind::Index, &layer.blob.digest).await;
        let Some(blob) = found.and_then(|found| found.entry.blobs.into_iter().next()) else {
            return Ok(None);
        };
        if blob.size > LARGEST_INDEX {
            return Ok(None);
        }
        let fetched = self.caches().fetch(&blob, &|_, _| {}).await;
        if !fetched.map_err(|error| Arc::new(error.problem()))? {
            return Ok(None);
        }
        let bytes = self.store().blobs().read(&blob.digest, LARGEST_INDEX);
        let bytes = bytes.map_err(|error| Arc::new(*fault::io("read an index", &error)))?;
        let Ok(index) = Index::from_bytes(&bytes) else { return Ok(None) };
        self.remember(layer.blob.digest, index).map_err(|problem| Arc::new(*problem))?;
        Ok(self.known_index(&layer.blob.digest))
    }

    fn offer_index(&self, layer: &Layer, job: &BuildJob, is_of_result: bool) {
        let key = layer.blob.digest;
        if !job.caches.writes() || self.caches().all_have(&job.caches, EntryKind::Index, &key) {
            return;
        }
        // An index that is not here, or cannot be written, is made again by whoever needs it.
        let Ok(Some(bytes)) = self.store().indexes().read(&key) else { return };
        if self.store().blobs().put_bytes(&bytes).is_err() {
            return;
        }
        let blobs = vec![Descriptor::of(INDEX_TYPE, &bytes)];
        let entry = Entry { kind: EntryKind::Index, key, value: serde_json::Value::Null, blobs };
        self.caches().offer(&job.caches, entry, is_of_result);
    }
}
