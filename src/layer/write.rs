//! Writes a layer: entries in, a compressed blob and its index out, in one pass.
//!
//! Entries come in the caller's order, which has to be the same each time for the bytes to be the same.
//! Blocks are cut where they serve random access and reuse: an entry that does not fit what is left of a
//! block begins a new one, and an entry longer than a block shares none of its blocks. The rule looks at
//! sizes alone. The file belongs to the caller, who also removes it when writing fails.

use std::fs::File;
use std::io::{self, Read};

use super::compress::{BLOCK_BYTES, Compression};
use super::entry::{Entry, EntryKind, EntrySink};
use super::index::{Block, Index, IndexedEntry};
use super::pipeline::{Pipeline, default_workers};
use super::tar_header::{self, TAR_END, padding, refused};
use crate::base::Digest;

#[derive(Clone, Copy, Debug)]
pub struct LayerOptions {
    pub compression: Compression,
    /// No entry is younger than this: what `SOURCE_DATE_EPOCH` asks for.
    pub clamp_mtime: Option<i64>,
}

impl Default for LayerOptions {
    fn default() -> Self {
        Self { compression: Compression::GZIP, clamp_mtime: None }
    }
}

/// A layer whose blob is complete. Nothing is synced to disk yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedLayer {
    /// Of the uncompressed tar.
    pub diff_id: Digest,
    /// Of the blob.
    pub digest: Digest,
    /// Of the blob.
    pub size: u64,
    pub uncompressed_size: u64,
    pub media_type: &'static str,
    pub index: Index,
}

pub struct LayerWriter {
    pipeline: Pipeline,
    options: LayerOptions,
    block: Vec<u8>,
    /// Bytes of the tar in blocks already handed on.
    flushed: u64,
    starts: Vec<u64>,
    entries: Vec<IndexedEntry>,
    header: Vec<u8>,
    failed: bool,
}

impl LayerWriter {
    /// Writes to `out` from where it stands.
    pub fn create(out: File, options: LayerOptions) -> io::Result<Self> {
        Self::with_workers(out, options, default_workers())
    }

    pub(super) fn with_workers(out: File, options: LayerOptions, workers: usize) -> io::Result<Self> {
        Ok(Self {
            pipeline: Pipeline::new(out, options.compression, workers)?,
            options,
            block: Vec::new(),
            flushed: 0,
            starts: Vec::new(),
            entries: Vec::new(),
            header: Vec::new(),
            failed: false,
        })
    }

    /// As [`EntrySink::append`], for content whose digest is known; the index keeps it.
    pub fn append_with_digest(
        &mut self,
        entry: &Entry,
        content: &mut dyn Read,
        digest: Digest,
    ) -> io::Result<()> {
        self.append_entry(entry, content, Some(digest))
    }

    /// The number of entries so far, which is the position of the next one.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn finish(mut self) -> io::Result<FinishedLayer> {
        if self.failed {
            return Err(io::Error::other("writing the layer has failed before"));
        }
        if self.block.len() + TAR_END.len() > BLOCK_BYTES {
            self.cut()?;
        }
        self.block.extend_from_slice(&TAR_END);
        self.cut()?;
        let written = self.pipeline.finish()?;
        let starts = self.starts.iter().zip(&written.starts);
        let blocks = starts.map(|(&uncompressed, &compressed)| Block { uncompressed, compressed }).collect();
        Ok(FinishedLayer {
            diff_id: written.diff_id,
            digest: written.digest,
            size: written.size,
            uncompressed_size: self.flushed,
            media_type: self.options.compression.media_type(),
            index: Index { entries: self.entries, blocks },
        })
    }

    fn append_entry(
        &mut self,
        entry: &Entry,
        content: &mut dyn Read,
        digest: Option<Digest>,
    ) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("writing the layer has failed before"));
        }
        let entry = self.canonical(entry);
        self.header.clear();
        tar_header::encode(&entry, &mut self.header)?;
        // From here on a failure leaves half an entry behind.
        self.failed = true;
        let padding = padding(entry.size());
        let whole = entry.size().saturating_add((self.header.len() + padding) as u64);
        if whole > (BLOCK_BYTES - self.block.len()) as u64 && !self.block.is_empty() {
            self.cut()?;
        }
        let header = std::mem::take(&mut self.header);
        self.fill(&mut &header[..], header.len() as u64)?;
        self.header = header;
        let offset = self.flushed + self.block.len() as u64;
        self.fill_content(&entry, content)?;
        self.fill(&mut io::repeat(0), padding as u64)?;
        if whole > BLOCK_BYTES as u64 {
            self.cut()?;
        }
        self.entries.push(IndexedEntry { entry, offset, content: digest });
        self.failed = false;
        Ok(())
    }

    /// The entry as a reader of the tar sees it.
    fn canonical(&self, entry: &Entry) -> Entry {
        if matches!(entry.kind, EntryKind::Whiteout | EntryKind::Opaque) {
            return Entry::new(entry.path.clone(), entry.kind.clone(), 0);
        }
        let mut entry = entry.clone();
        entry.mode &= 0o7777;
        entry.mtime = self.options.clamp_mtime.map_or(entry.mtime, |latest| entry.mtime.min(latest));
        entry
    }

    fn fill_content(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        let in_context =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", shown(&entry.path)));
        let filled = self.fill(content, entry.size()).map_err(in_context)?;
        if filled < entry.size() {
            let reason = format!("has {filled} bytes of content instead of {}", entry.size());
            return Err(refused(&entry.path, &reason));
        }
        if content.take(1).read_to_end(&mut Vec::new()).map_err(in_context)? > 0 {
            let reason = format!("has more than the expected {} bytes of content", entry.size());
            return Err(refused(&entry.path, &reason));
        }
        Ok(())
    }

    /// Appends at most `size` bytes to the tar, cutting full blocks; how many there were.
    fn fill(&mut self, source: &mut dyn Read, size: u64) -> io::Result<u64> {
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

    fn cut(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = std::mem::take(&mut self.block);
        self.starts.push(self.flushed);
        self.flushed += block.len() as u64;
        self.pipeline.push(block)
    }
}

impl EntrySink for LayerWriter {
    /// Refuses content that is not exactly as long as the entry says.
    fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        self.append_entry(entry, content, None)
    }
}

fn shown(path: &[u8]) -> String {
    format!("layer entry `{}`", String::from_utf8_lossy(path))
}
