//! A layer's tar cut into blocks: where each ends, and which of them an earlier layer already has compressed.
//!
//! Blocks are cut where they serve random access and reuse. An entry that does not fit what is left of a
//! block begins a new one, and an entry longer than a block shares none of its blocks. Once a block has
//! some length, an entry may begin a new one because of its name: after a file that changed its size the cuts
//! so fall where they fell before. The rule looks at sizes and names alone, so the same tar is cut in the same
//! places by whoever compresses it.

use std::fs::File;
use std::io::{self, Read};

use super::compress::{BLOCK_BYTES, Compression};
use super::index::{Block, Index, IndexedEntry, position};
use super::pipeline::{Pipeline, Work};
use super::reuse::{Earlier, KnownBlock, Piece, block_key};
use super::write::FinishedLayer;
use crate::base::HashState;
use crate::scan::{Found, Programs};

/// Names cut no block shorter than this.
const SHORTEST: usize = BLOCK_BYTES / 8;
/// Names cut once in so many bytes.
const BETWEEN_NAMES: u64 = BLOCK_BYTES as u64 / 2;

/// The tar being cut. Content is what the caller fills in; entries only say where it goes.
pub(super) struct Blocks {
    pipeline: Pipeline,
    compression: Compression,
    earlier: Option<Earlier>,
    block: Vec<u8>,
    /// Bytes of the tar in blocks already handed on.
    flushed: u64,
    starts: Vec<u64>,
    entries: Vec<IndexedEntry>,
    programs: Option<Programs>,
    /// The first entry that may reach into the current block.
    first: usize,
}

impl Blocks {
    pub(super) fn new(out: File, compression: Compression, workers: usize) -> io::Result<Self> {
        Ok(Self {
            pipeline: Pipeline::new(out, compression, workers)?,
            compression,
            earlier: None,
            block: Vec::new(),
            flushed: 0,
            starts: Vec::new(),
            entries: Vec::new(),
            programs: Some(Programs::default()),
            first: 0,
        })
    }

    /// Takes compressed blocks from an earlier layer where they would come out the same.
    pub(super) fn reuse(&mut self, earlier: Earlier) {
        self.earlier = Some(earlier);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Notes what was found in an entry by its place.
    pub(super) fn note(&mut self, place: usize, found: Found) {
        if let Some(programs) = &mut self.programs {
            programs.insert(position(place), found);
        }
    }

    /// Takes over what is known of a layer with the same entries.
    pub(super) fn take_programs(&mut self, programs: Option<Programs>) {
        self.programs = programs;
    }

    /// Begins an entry of `whole` bytes, headers and padding included; its content begins `head` bytes in.
    pub(super) fn begin(&mut self, mut indexed: IndexedEntry, head: u64, whole: u64) -> io::Result<()> {
        if begins_block(self.block.len(), &indexed.entry.path, whole) {
            self.cut()?;
        }
        indexed.offset = self.flushed + self.block.len() as u64 + head;
        self.entries.push(indexed);
        Ok(())
    }

    /// Ends an entry of `whole` bytes.
    pub(super) fn end(&mut self, whole: u64) -> io::Result<()> {
        if whole > BLOCK_BYTES as u64 { self.cut() } else { Ok(()) }
    }

    /// Appends at most `size` bytes to the tar, cutting full blocks; how many there were.
    pub(super) fn fill(&mut self, source: &mut dyn Read, size: u64) -> io::Result<u64> {
        // Pages not written to cost nothing, growing step by step would.
        if self.block.capacity() == 0 {
            self.block.reserve_exact(BLOCK_BYTES);
        }
        let mut filled = 0;
        while filled < size {
            if self.block.len() == BLOCK_BYTES {
                self.cut()?;
            }
            let room = ((BLOCK_BYTES - self.block.len()) as u64).min(size - filled);
            let read = source.take(room).read_to_end(&mut self.block)? as u64;
            if read == 0 {
                break;
            }
            filled += read;
        }
        Ok(filled)
    }

    /// As [`fill`](Self::fill), for bytes at hand.
    pub(super) fn fill_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.fill(&mut &bytes[..], bytes.len() as u64).map(drop)
    }

    /// Leaves known blocks where they are. Before the first one.
    pub(super) fn compose(&mut self) {
        self.pipeline.compose();
    }

    /// Appends entries without their bytes, of which whole blocks of `earlier` follow; offsets count from the first's
    /// start.
    pub(super) fn append_entries(&mut self, entries: Vec<IndexedEntry>, earlier: &Earlier) -> io::Result<()> {
        self.cut()?;
        match earlier.programs_among(&entries) {
            Some(found) => {
                let first = self.entries.len();
                found.into_iter().for_each(|(place, found)| self.note(first + place, found));
            }
            None => self.programs = None,
        }
        let start = self.flushed;
        let moved = |entry: IndexedEntry| IndexedEntry { offset: start + entry.offset, ..entry };
        self.entries.extend(entries.into_iter().map(moved));
        Ok(())
    }

    /// A whole block that an earlier blob without compression has.
    pub(super) fn append_block(&mut self, known: KnownBlock) -> io::Result<()> {
        let block = known.read()?;
        self.starts.push(self.flushed);
        self.flushed += block.len() as u64;
        self.pipeline.push(Work { block, known: Some(known) })
    }

    /// As [`append_block`](Self::append_block), without reading it. See [`Pipeline::keep`].
    pub(super) fn keep_block(&mut self, known: &KnownBlock, after: &HashState) -> io::Result<()> {
        let range = known.range();
        self.starts.push(self.flushed);
        self.flushed += range.end - range.start;
        self.pipeline.keep(known, after)
    }

    /// Ends the tar with `tail`, what follows its last entry; also what it is made of, when known blocks were
    /// left where they are.
    pub(super) fn finish(mut self, tail: &[u8]) -> io::Result<(FinishedLayer, Option<Vec<Piece>>)> {
        if self.block.len() + tail.len() > BLOCK_BYTES {
            self.cut()?;
        }
        self.fill_bytes(tail)?;
        self.cut()?;
        let written = self.pipeline.finish()?;
        let starts = self.starts.iter().zip(&written.starts);
        let blocks = starts.map(|(&uncompressed, &compressed)| Block { uncompressed, compressed }).collect();
        let finished = FinishedLayer {
            diff_id: written.diff_id,
            digest: written.digest,
            size: written.size,
            uncompressed_size: self.flushed,
            media_type: self.compression.media_type(),
            index: Index { entries: self.entries, blocks, states: written.states, programs: self.programs },
        };
        Ok((finished, written.pieces))
    }

    fn cut(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = std::mem::take(&mut self.block);
        let range = self.flushed..self.flushed + block.len() as u64;
        let known = self.earlier.as_ref().and_then(|earlier| {
            let key = block_key(&self.entries, &mut self.first, range.clone())?;
            earlier.find(&key)
        });
        self.starts.push(range.start);
        self.flushed = range.end;
        self.pipeline.push(Work { block, known })
    }
}

/// Whether an entry of `whole` bytes begins a block where the current one has `filled`.
pub(super) fn begins_block(filled: usize, path: &[u8], whole: u64) -> bool {
    let is_full = whole > (BLOCK_BYTES - filled) as u64;
    filled > 0 && (is_full || (filled >= SHORTEST && is_cutting(path, whole)))
}

/// Whether a name cuts, the more often the longer the entry is. FNV-1a, whose upper bits siblings share, so
/// mixed once more.
fn is_cutting(path: &[u8], whole: u64) -> bool {
    let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    let hash = path.iter().fold(0xcbf2_9ce4_8422_2325, add);
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 32) * BETWEEN_NAMES) >> 32 < whole
}
