//! What is in the layers that the store has: known from their indexes, and found out once where those do not say it.

use std::io::Read;
use std::sync::Arc;

use crate::layer::{ContentReader, EntryKind, Index, LayerError};
use crate::oci::Descriptor;
use crate::scan::{Probe, Programs, scan};
use crate::store::{Store, StoreError};

/// Of a layer as much is asked as is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Which files there are.
    Files,
    /// And which of them are programs.
    Programs,
}

#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// The index of a layer; nothing where the store has too little of it. What is found out is written down, so that nobody
/// reads the layer for it again.
pub fn known_index(
    store: &Store,
    layer: &Descriptor,
    wanted: Known,
) -> Result<Option<Arc<Index>>, StoredError> {
    let bytes = store.indexes().read(&layer.digest)?;
    // An index that cannot be read is made again.
    let index = bytes.and_then(|bytes| Index::from_bytes(&bytes).ok());
    if let Some(index) = index {
        if wanted == Known::Files || index.programs.is_some() {
            return Ok(Some(Arc::new(index)));
        }
        if !store.blobs().contains(&layer.digest) {
            return Ok(None);
        }
        let programs = look_into(store, layer, &index)?;
        return keep(store, layer, Index { programs: Some(programs), ..index }).map(Some);
    }
    if !store.blobs().contains(&layer.digest) {
        return Ok(None);
    }
    look_through(store, layer, open(store, layer)?).map(Some)
}

/// The index of a layer from bytes of it that the store does not keep.
pub fn look_through(
    store: &Store,
    layer: &Descriptor,
    content: impl Read,
) -> Result<Arc<Index>, StoredError> {
    let (index, _) = Index::scan(content, &layer.media_type)?;
    keep(store, layer, index)
}

fn keep(store: &Store, layer: &Descriptor, index: Index) -> Result<Arc<Index>, StoredError> {
    store.indexes().write(&layer.digest, &index.to_bytes())?;
    Ok(Arc::new(index))
}

/// The programs of a layer whose files are known.
fn look_into(store: &Store, layer: &Descriptor, index: &Index) -> Result<Programs, StoredError> {
    let files = index.entries.iter().zip(0..);
    let files =
        files.filter(|(indexed, _)| matches!(indexed.entry.kind, EntryKind::File { size } if size > 0));
    let positions: Vec<u32> = files.map(|(_, position)| position).collect();
    let (mut probe, mut programs) = (Probe::default(), Programs::default());
    ContentReader::open(open(store, layer)?, &layer.media_type, index).visit(
        &positions,
        |position, indexed, content| -> Result<(), LayerError> {
            if let Some(found) = scan(&mut probe, indexed.entry.size(), content)? {
                programs.insert(position, found);
            }
            Ok(())
        },
    )?;
    Ok(programs)
}

fn open(store: &Store, layer: &Descriptor) -> Result<std::fs::File, LayerError> {
    store.blobs().open(&layer.digest).map_err(LayerError::from)
}
