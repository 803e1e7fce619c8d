//! What is in a layer and where: its entries in order, and the blocks its blob can be read from.
//!
//! The index is kept beside the blob so that most questions about a layer never open it. On disk:
//! ```text
//! "mabidx" version | count, entries | count, blocks | count, states | programs   (see `index_codec`)
//! ```

use std::io::Read;

use super::entry::Entry;
use super::error::LayerError;
use super::read::{Dialect, LayerReader};
use crate::base::{Digest, HashState};
use crate::scan::{Probe, Programs, scan};

/// The most bytes of names, links and attributes that a layer may have all together.
pub const MAX_METADATA_BYTES: u64 = 512 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// In the order of the tar. An entry's position is its place here.
    pub entries: Vec<IndexedEntry>,
    /// Empty for a layer that others made: it can only be read from the beginning.
    pub blocks: Vec<Block>,
    /// Where hashing the tar stands at the beginning of each block; of layers without compression alone.
    pub states: Vec<HashState>,
    /// Nothing where not all files were looked at.
    pub programs: Option<Programs>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedEntry {
    pub entry: Entry,
    /// Where the content begins in the uncompressed tar.
    pub offset: u64,
    /// Of the content, when whoever wrote the layer knew it.
    pub content: Option<Digest>,
}

/// Where a block begins, in the uncompressed tar and in the blob. Decompression can begin here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    pub uncompressed: u64,
    pub compressed: u64,
}

impl Index {
    /// Reads a whole layer for its entries and programs; also gives its diff id. Content digests are left out.
    pub fn scan(reader: impl Read, media_type: &str) -> Result<(Self, Digest), LayerError> {
        let mut layer = LayerReader::new(reader, media_type)?;
        let mut entries = Vec::new();
        let mut budget = Budget::default();
        let (mut probe, mut programs) = (Probe::default(), Programs::default());
        while let Some(entry) = layer.next_entry()? {
            budget.spend(&entry)?;
            let offset = layer.content_offset();
            if let Some(found) = scan(&mut probe, entry.size(), &mut layer)? {
                programs.insert(position(entries.len()), found);
            }
            entries.push(IndexedEntry { entry, offset, content: None });
        }
        let diff_id = layer.finish()?;
        Ok((Self { entries, programs: Some(programs), ..Self::default() }, diff_id))
    }
}

impl Index {
    /// The entries of a tar that is no layer, such as an archive of an image. It is not compressed.
    pub fn of_tar(reader: impl Read) -> Result<Self, LayerError> {
        let mut tar = LayerReader::of_dialect(reader, "", Dialect::Archive)?;
        let (mut entries, mut budget) = (Vec::new(), Budget::default());
        while let Some(entry) = tar.next_entry()? {
            budget.spend(&entry)?;
            entries.push(IndexedEntry { entry, offset: tar.content_offset(), content: None });
        }
        Ok(Self { entries, ..Self::default() })
    }
}

/// The place of an entry.
pub(super) fn position(place: usize) -> u32 {
    u32::try_from(place).expect("a layer has fewer than 2^32 entries")
}

/// Bounds what an index holds in memory.
#[derive(Default)]
pub(super) struct Budget {
    spent: u64,
}

impl Budget {
    pub(super) fn spend(&mut self, entry: &Entry) -> Result<(), LayerError> {
        use super::entry::EntryKind::{HardLink, Symlink};
        let link = match &entry.kind {
            Symlink { target } | HardLink { target } => target.len(),
            _ => 0,
        };
        let xattrs: usize = entry.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.spent += (entry.path.len() + link + xattrs) as u64;
        if self.spent > MAX_METADATA_BYTES {
            return Err(LayerError::Limit {
                what: "bytes of names, links and attributes",
                limit: MAX_METADATA_BYTES,
            });
        }
        Ok(())
    }
}
