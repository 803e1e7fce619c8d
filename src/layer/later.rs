//! Writes a layer whose contents are known before they are read: most of them often need not be read.
//!
//! Entries wait until all are known, and are planned block by block. A block that an earlier, uncompressed layer has is
//! taken from there; only the files of others are opened. When enough of the layer is known, its known blocks
//! are not even copied: the layer is then composed of ranges of the earlier blob and of what is new. What it
//! begins with is not hashed again either. The bytes are those that [`LayerWriter`] writes.

use std::io::{self, Read};

use super::blocks::begins_block;
use super::compress::BLOCK_BYTES;
use super::entry::Entry;
use super::index::IndexedEntry;
use super::reuse::{Earlier, KnownBlock, Piece, block_key};
use super::tar_header::{self, padding};
use super::write::{FinishedLayer, LayerWriter};
use crate::base::{Digest, HashState};

/// Gives the content of an entry by a number that the caller chose.
pub type ReadContent<'a> =
    dyn FnMut(usize, &mut dyn FnMut(&mut dyn Read) -> io::Result<()>) -> io::Result<()> + 'a;

/// How a layer was written.
#[derive(Debug)]
pub enum LaterLayer {
    /// The file has all of it.
    Whole(FinishedLayer),
    /// The file has what is new; the layer is these pieces.
    Composed(FinishedLayer, Vec<Piece>),
}

/// Less than this is sooner copied than kept track of.
const LEAST_COMPOSED: u64 = 8 << 20;

/// A [`LayerWriter`] that asks for content when it needs it.
pub struct LaterWriter<'a> {
    writer: LayerWriter,
    earlier: Earlier,
    read: &'a mut ReadContent<'a>,
    planned: Vec<Planned>,
    /// Entries that wait for their block to be full.
    waiting: Waiting,
    header: Vec<u8>,
}

/// Entries, and the numbers of those with content. Their offsets count from the first one's start.
#[derive(Default)]
struct Waiting {
    entries: Vec<IndexedEntry>,
    numbers: Vec<Option<usize>>,
    /// The bytes that they have in the tar.
    length: u64,
}

/// Entries that begin with a block and end with one.
struct Planned {
    waiting: Waiting,
    /// Their blocks, when the earlier layer has all of them.
    known: Option<Vec<KnownBlock>>,
}

impl<'a> LaterWriter<'a> {
    /// `earlier` is a layer without compression, and so is the one that is written.
    pub fn new(writer: LayerWriter, earlier: Earlier, read: &'a mut ReadContent<'a>) -> Self {
        Self { writer, earlier, read, planned: Vec::new(), waiting: Waiting::default(), header: Vec::new() }
    }

    /// Appends an entry; with content, its digest and the number to ask for it with.
    pub fn append(&mut self, entry: &Entry, content: Option<(Digest, usize)>) -> io::Result<()> {
        let entry = self.writer.canonical(entry);
        self.header.clear();
        tar_header::encode(&entry, &mut self.header)?;
        let size = entry.size();
        let whole = size.saturating_add((self.header.len() + padding(size)) as u64);
        // What waits is shorter than a block.
        if begins_block(self.waiting.length as usize, &entry.path, whole) {
            self.plan();
        }
        let offset = self.waiting.length + self.header.len() as u64;
        let indexed = IndexedEntry { entry, offset, content: content.map(|(digest, _)| digest) };
        self.waiting.entries.push(indexed);
        self.waiting.numbers.push(content.map(|(_, number)| number));
        self.waiting.length = self.waiting.length.saturating_add(whole);
        if whole > BLOCK_BYTES as u64 {
            self.plan();
        }
        Ok(())
    }

    /// What waits ends with its block.
    fn plan(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        if !waiting.entries.is_empty() {
            let known = known_blocks(&self.earlier, &waiting);
            self.planned.push(Planned { waiting, known });
        }
    }

    pub fn finish(mut self) -> io::Result<LaterLayer> {
        let planned = std::mem::take(&mut self.planned);
        let is_composed = self.is_composed(&planned);
        let mut planned = planned.into_iter().peekable();
        if is_composed {
            self.writer.blocks().compose();
            let mut passed = 0;
            while let Some(states) = planned.peek().and_then(|planned| self.kept(planned, passed)) {
                let Planned { waiting, known } = planned.next().expect("it was looked at");
                let known = known.unwrap_or_default();
                passed += known.len();
                self.writer.blocks().append_entries(waiting.entries, &self.earlier)?;
                for (known, after) in known.iter().zip(&states) {
                    self.writer.blocks().keep_block(known, after)?;
                }
            }
        }
        planned.try_for_each(|planned| self.write(planned))?;
        // The last block has the archive's end as well.
        let waiting = std::mem::take(&mut self.waiting);
        self.write(Planned { waiting, known: None })?;
        let (finished, pieces) = self.writer.finish_composed()?;
        Ok(match pieces {
            Some(pieces) => LaterLayer::Composed(finished, pieces),
            None => LaterLayer::Whole(finished),
        })
    }

    /// Whether so much is known that the layer is better made of the earlier one.
    fn is_composed(&self, planned: &[Planned]) -> bool {
        let length = |planned: &Planned| planned.waiting.length;
        let all: u64 = planned.iter().map(length).sum();
        let known: u64 = planned.iter().filter(|planned| planned.known.is_some()).map(length).sum();
        known >= LEAST_COMPOSED && known >= all / 2 && !self.earlier.is_worn()
    }

    /// Where hashing stands after each block of `planned`, if these are the earlier layer's blocks from the
    /// `passed`th on.
    fn kept(&self, planned: &Planned, passed: usize) -> Option<Vec<HashState>> {
        let known = planned.known.as_ref()?;
        let after = |(place, block): (usize, &KnownBlock)| self.earlier.state_after(passed + place, block);
        known.iter().enumerate().map(after).collect()
    }

    fn write(&mut self, planned: Planned) -> io::Result<()> {
        let Planned { waiting, known } = planned;
        if let Some(known) = known {
            self.writer.blocks().append_entries(waiting.entries, &self.earlier)?;
            return known.into_iter().try_for_each(|known| self.writer.blocks().append_block(known));
        }
        for (indexed, number) in waiting.entries.into_iter().zip(waiting.numbers) {
            let IndexedEntry { entry, content, .. } = indexed;
            match (number, content) {
                (Some(number), Some(digest)) => {
                    let writer = &mut self.writer;
                    (self.read)(number, &mut |bytes| writer.append_with_digest(&entry, bytes, digest))?;
                }
                _ => self.writer.append_entry(&entry, &mut io::empty(), content)?,
            }
        }
        Ok(())
    }
}

/// The blocks of what begins with one and ends with one.
fn known_blocks(earlier: &Earlier, waiting: &Waiting) -> Option<Vec<KnownBlock>> {
    let (mut first, mut known, mut start) = (0, Vec::new(), 0);
    while start < waiting.length {
        let end = waiting.length.min(start + BLOCK_BYTES as u64);
        let block = earlier.find(&block_key(&waiting.entries, &mut first, start..end)?)?;
        let range = block.range();
        if range.end - range.start != end - start {
            return None;
        }
        known.push(block);
        start = end;
    }
    Some(known)
}
