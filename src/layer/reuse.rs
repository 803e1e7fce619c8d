//! The compressed blocks of a layer written before, found by what is in them.
//!
//! A block's key is what its entries say and the digests of their contents, so it is known without the
//! block's bytes. Equal keys mean equal bytes; under the same compression, equal compressed bytes.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::extents::Extents;
use super::index::{Index, IndexedEntry};
use super::index_codec::put_metadata;
use super::tar_header::padding;
use crate::base::{Digest, HashState, Hasher};
use crate::scan::Found;

/// A layer whose blocks may serve again in one that is written with the same compression.
pub struct Earlier {
    blob: Arc<Extents>,
    blocks: HashMap<Digest, Range<u64>>,
    /// Where each block begins in the blob.
    starts: Vec<u64>,
    states: Vec<HashState>,
    /// By the digest of their content; nothing where not all files were looked at.
    programs: Option<HashMap<Digest, Found>>,
}

/// A compressed block in an earlier layer's blob.
#[derive(Clone)]
pub(super) struct KnownBlock {
    blob: Arc<Extents>,
    range: Range<u64>,
}

/// A part of a blob that is composed of an earlier one and of what is new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A range of the earlier blob.
    Earlier(Range<u64>),
    /// So many of the new bytes.
    New(u64),
}

impl Earlier {
    /// From a blob and the index that was made with it.
    pub fn new(blob: impl Into<Arc<Extents>>, index: &Index) -> Self {
        let blob = blob.into();
        let compressed_end = blob.len();
        let mut blocks = HashMap::with_capacity(index.blocks.len());
        let mut first = 0;
        for (number, block) in index.blocks.iter().enumerate() {
            let next = index.blocks.get(number + 1);
            // What the last one ends with is the same for all layers that this program writes.
            let end = next.map_or(u64::MAX, |next| next.uncompressed);
            let compressed = block.compressed..next.map_or(compressed_end, |next| next.compressed);
            if let Some(key) = block_key(&index.entries, &mut first, block.uncompressed..end) {
                blocks.insert(key, compressed);
            }
        }
        Self {
            blob,
            blocks,
            starts: index.blocks.iter().map(|block| block.compressed).collect(),
            states: index.states.clone(),
            programs: programs_by_content(index),
        }
    }

    /// The programs among `entries`, whose blocks it has, by their places; nothing where that is unknown.
    pub(super) fn programs_among(&self, entries: &[IndexedEntry]) -> Option<Vec<(usize, Found)>> {
        let programs = self.programs.as_ref()?;
        let found =
            |(place, entry): (usize, &IndexedEntry)| Some((place, programs.get(&entry.content?)?.clone()));
        Some(entries.iter().enumerate().filter_map(found).collect())
    }

    pub(super) fn find(&self, key: &Digest) -> Option<KnownBlock> {
        let range = self.blocks.get(key)?.clone();
        Some(KnownBlock { blob: self.blob.clone(), range })
    }

    /// Where hashing the tar stands after `block`, if that is the block in this place.
    pub(super) fn state_after(&self, place: usize, block: &KnownBlock) -> Option<HashState> {
        let is_here = self.starts.get(place) == Some(&block.range.start);
        self.states.get(place + 1).filter(|_| is_here).copied()
    }

    /// Whether its blob is in too many pieces to make others of it.
    pub(super) fn is_worn(&self) -> bool {
        self.blob.is_worn()
    }
}

fn programs_by_content(index: &Index) -> Option<HashMap<Digest, Found>> {
    let found = index.programs.as_ref()?.iter();
    let by_content = |(position, found): (u32, &Found)| {
        let entry = index.entries.get(usize::try_from(position).ok()?)?;
        Some((entry.content?, found.clone()))
    };
    Some(found.filter_map(by_content).collect())
}

impl Piece {
    /// Appends it, as one with the last when it goes on there.
    pub(super) fn add_to(self, pieces: &mut Vec<Self>) {
        match (pieces.last_mut(), self) {
            (Some(Self::Earlier(last)), Self::Earlier(range)) if last.end == range.start => {
                last.end = range.end
            }
            (Some(Self::New(last)), Self::New(length)) => *last += length,
            (_, piece) => pieces.push(piece),
        }
    }
}

impl KnownBlock {
    pub(super) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.range.end.saturating_sub(self.range.start));
        let mut bytes = vec![0; length.map_err(io::Error::other)?];
        self.blob.read_exact_at(&mut bytes, self.range.start)?;
        Ok(bytes)
    }
}

/// The key of the block that holds `range` of the tar; `None` when it holds a file of unknown content.
/// `first` is the first entry that may reach into the block, and is moved on to the next block's.
pub(super) fn block_key(entries: &[IndexedEntry], first: &mut usize, range: Range<u64>) -> Option<Digest> {
    let mut key = Some(Vec::with_capacity(16 << 10));
    let mut start = first.checked_sub(1).map_or(0, |before| end_of(&entries[before]));
    for (place, indexed) in entries.iter().enumerate().skip(*first) {
        if start >= range.end {
            break;
        }
        let end = end_of(indexed);
        if let Some(text) = &mut key {
            put_part(text, indexed, start.max(range.start) - start, end.min(range.end) - start);
            if indexed.content.is_none() && indexed.entry.size() > 0 {
                key = None;
            }
        }
        *first = if end <= range.end { place + 1 } else { place };
        start = end;
    }
    let is_last = start < range.end;
    key.map(|text| {
        let mut hasher = Hasher::new();
        hasher.update(&text);
        hasher.update(if is_last { b"end" } else { b"" });
        hasher.finish()
    })
}

fn end_of(indexed: &IndexedEntry) -> u64 {
    let size = indexed.entry.size();
    indexed.offset + size + padding(size) as u64
}

/// What is of an entry in a block: all that decides its header, its content, and which part of both.
fn put_part(out: &mut Vec<u8>, indexed: &IndexedEntry, from: u64, to: u64) {
    out.extend_from_slice(&(indexed.entry.path.len() as u64).to_le_bytes());
    out.extend_from_slice(&indexed.entry.path);
    put_metadata(out, &indexed.entry);
    out.extend_from_slice(indexed.content.as_ref().map_or(&[0; 32], |digest| digest.as_bytes()));
    out.extend_from_slice(&from.to_le_bytes());
    out.extend_from_slice(&to.to_le_bytes());
}
