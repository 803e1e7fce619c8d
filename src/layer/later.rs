//! Writes a layer whose contents are known before they are read: most of them often need not be read.
//!
//! Entries wait until their block is full. One that an earlier, uncompressed layer has is copied from there;
//! only the files of others are opened. The bytes are those that [`LayerWriter`] writes.

use std::io::{self, Read};

use super::blocks::begins_block;
use super::compress::BLOCK_BYTES;
use super::entry::Entry;
use super::index::IndexedEntry;
use super::reuse::{Earlier, block_key};
use super::tar_header::{self, padding};
use super::write::{FinishedLayer, LayerWriter};
use crate::base::Digest;

/// Gives the content of an entry by a number that the caller chose.
pub type ReadContent<'a> =
    dyn FnMut(usize, &mut dyn FnMut(&mut dyn Read) -> io::Result<()>) -> io::Result<()> + 'a;

/// An entry that waits for its block to be full.
struct Waiting {
    indexed: IndexedEntry,
    number: Option<usize>,
}

/// A [`LayerWriter`] that asks for content when it needs it.
pub struct LaterWriter<'a> {
    writer: LayerWriter,
    earlier: Earlier,
    read: &'a mut ReadContent<'a>,
    waiting: Vec<Waiting>,
    /// Bytes that the waiting entries have in the tar.
    filled: usize,
    header: Vec<u8>,
}

impl<'a> LaterWriter<'a> {
    /// `earlier` is a layer without compression, and so is the one that is written.
    pub fn new(writer: LayerWriter, earlier: Earlier, read: &'a mut ReadContent<'a>) -> Self {
        Self { writer, earlier, read, waiting: Vec::new(), filled: 0, header: Vec::new() }
    }

    /// Appends an entry; with content, its digest and the number to ask for it with.
    pub fn append(&mut self, entry: &Entry, content: Option<(Digest, usize)>) -> io::Result<()> {
        let entry = self.writer.canonical(entry);
        self.header.clear();
        tar_header::encode(&entry, &mut self.header)?;
        let size = entry.size();
        let whole = size.saturating_add((self.header.len() + padding(size)) as u64);
        if begins_block(self.filled, &entry.path, whole) {
            self.flush(true)?;
        }
        let offset = (self.filled + self.header.len()) as u64;
        let indexed = IndexedEntry { entry, offset, content: content.map(|(digest, _)| digest) };
        self.waiting.push(Waiting { indexed, number: content.map(|(_, number)| number) });
        if whole > BLOCK_BYTES as u64 {
            return self.flush(false);
        }
        self.filled += whole as usize;
        Ok(())
    }

    pub fn finish(mut self) -> io::Result<FinishedLayer> {
        // The last block has the archive's end as well.
        self.flush(false)?;
        self.writer.finish()
    }

    /// Writes what waits; `is_block` when it is a block exactly.
    fn flush(&mut self, is_block: bool) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let length = std::mem::take(&mut self.filled) as u64;
        if is_block && self.copy(&waiting, length)? {
            return Ok(());
        }
        for Waiting { indexed, number } in waiting {
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

    fn copy(&mut self, waiting: &[Waiting], length: u64) -> io::Result<bool> {
        let entries: Vec<IndexedEntry> = waiting.iter().map(|waiting| waiting.indexed.clone()).collect();
        let known = block_key(&entries, &mut 0, 0..length).and_then(|key| self.earlier.find(&key));
        let bytes = known.map(|known| known.read()).transpose()?;
        match bytes.filter(|bytes| bytes.len() as u64 == length) {
            Some(bytes) => self.writer.append_block(entries, bytes).map(|()| true),
            None => Ok(false),
        }
    }
}
