//! The layer a step made the last time it ran: most of it is often in the new one, too.

use super::filesystem::{Layer, StepRecord};
use super::solve::Task;
use crate::base::Digest;
use crate::layer::{Earlier, Extents, Index};
use crate::store::KeyKind;

impl Task {
    /// That layer's blob and its blocks, if it is still there and was written as this one will be. Whatever
    /// stands in the way, the new layer is only a little slower to write.
    pub fn earlier(&self) -> Option<(Digest, Earlier)> {
        if !self.job.may_reuse(&self.step) {
            return None;
        }
        let store = &self.engine.store;
        let record = store.keys().latest(KeyKind::Step, &self.subject()).ok()??;
        let layer = Layer::from(serde_json::from_slice::<StepRecord>(&record.value).ok()?);
        if layer.compression != Some(self.engine.layer_options(self).compression) {
            return None;
        }
        let index = Index::from_bytes(&store.indexes().read(&layer.blob.digest).ok()??).ok()?;
        let blob = Extents::new(store.blobs().ranges(&layer.blob.digest).ok()?).ok()?;
        Some((layer.blob.digest, Earlier::new(blob, &index)))
    }
}
