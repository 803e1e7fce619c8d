//! The layer a step made the last time it ran: most of it is often in the new one, too.

use std::sync::Arc;

use super::filesystem::{Layer, StepRecord};
use super::solve::Task;
use crate::base::Digest;
use crate::layer::{Earlier, Extents, FormerContents, Index};
use crate::store::KeyKind;

/// A layer that is still there and was written as the next one will be.
pub struct EarlierLayer {
    pub digest: Digest,
    pub blocks: Earlier,
    pub files: FormerContents,
}

impl Task {
    /// That layer, or the one it made for another platform. Whatever stands in the way, the new one is only a little
    /// slower to write.
    pub fn earlier(&self) -> Option<EarlierLayer> {
        if !self.job.may_reuse(&self.step) {
            return None;
        }
        self.latest(KeyKind::Step).or_else(|| self.latest(KeyKind::Content))
    }

    fn latest(&self, kind: KeyKind) -> Option<EarlierLayer> {
        let store = &self.engine.store;
        let record = store.keys().latest(kind, &self.subject(kind)).ok()??;
        let layer = Layer::from(serde_json::from_slice::<StepRecord>(&record.value).ok()?);
        let compression = self.engine.layer_options(self).compression;
        if layer.compression != Some(compression) {
            return None;
        }
        let index = Index::from_bytes(&store.indexes().read(&layer.blob.digest).ok()??).ok()?;
        let blob = Arc::new(Extents::new(store.blobs().ranges(&layer.blob.digest).ok()?).ok()?);
        Some(EarlierLayer {
            digest: layer.blob.digest,
            blocks: Earlier::new(blob.clone(), &index),
            files: FormerContents::new(blob, compression.media_type(), index),
        })
    }
}
