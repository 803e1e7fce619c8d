//! Writes a layer: entries in, a compressed blob and its index out, in one pass.
//!
//! Entries come in the caller's order, which has to be the same each time for the bytes to be the same.
//! Where blocks end is decided in `blocks`. The file belongs to the caller, who also removes it when writing
//! fails.

use std::fs::File;
use std::io::{self, Read};

use super::blocks::Blocks;
use super::compress::Compression;
use super::entry::{Entry, EntryKind, EntrySink};
use super::index::{Index, IndexedEntry};
use super::pipeline::default_workers;
use super::reuse::{Earlier, Piece};
use super::tar_header::{self, TAR_BLOCK, TAR_END, padding, refused};
use crate::base::Digest;
use crate::scan::Probe;

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
    blocks: Blocks,
    options: LayerOptions,
    header: Vec<u8>,
    probe: Probe,
    failed: bool,
}

impl LayerWriter {
    /// Writes to `out` from where it stands.
    pub fn create(out: File, options: LayerOptions) -> io::Result<Self> {
        Self::with_workers(out, options, default_workers())
    }

    pub(super) fn with_workers(out: File, options: LayerOptions, workers: usize) -> io::Result<Self> {
        Ok(Self {
            blocks: Blocks::new(out, options.compression, workers)?,
            options,
            header: Vec::new(),
            probe: Probe::default(),
            failed: false,
        })
    }

    /// Takes compressed blocks from a layer that was written with the same compression, where they would come
    /// out the same.
    #[must_use]
    pub fn reusing(mut self, earlier: Earlier) -> Self {
        self.blocks.reuse(earlier);
        self
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
        self.blocks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.len() == 0
    }

    pub fn finish(self) -> io::Result<FinishedLayer> {
        if self.failed {
            return Err(io::Error::other("writing the layer has failed before"));
        }
        self.blocks.finish(&TAR_END).map(|(finished, _)| finished)
    }

    /// As [`LayerWriter::finish`], with what the blob is made of.
    pub(super) fn finish_composed(self) -> io::Result<(FinishedLayer, Option<Vec<Piece>>)> {
        if self.failed {
            return Err(io::Error::other("writing the layer has failed before"));
        }
        self.blocks.finish(&TAR_END)
    }

    /// For whole blocks.
    pub(super) fn blocks(&mut self) -> &mut Blocks {
        &mut self.blocks
    }

    pub(super) fn append_entry(
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
        let indexed = IndexedEntry { entry: entry.clone(), offset: 0, content: digest };
        self.blocks.begin(indexed, self.header.len() as u64, whole)?;
        self.blocks.fill_bytes(&self.header)?;
        self.fill_content(&entry, content)?;
        self.blocks.fill_bytes(&[0; TAR_BLOCK][..padding])?;
        self.blocks.end(whole)?;
        self.failed = false;
        Ok(())
    }

    /// The entry as a reader of the tar sees it.
    pub(super) fn canonical(&self, entry: &Entry) -> Entry {
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
        self.probe.begin(entry.size());
        let mut watched = Watched { content, probe: &mut self.probe };
        let filled = self.blocks.fill(&mut watched, entry.size()).map_err(in_context)?;
        if let Some(found) = self.probe.end() {
            self.blocks.note(self.blocks.len() - 1, found);
        }
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
}

/// Content that is looked at on its way.
struct Watched<'a> {
    content: &'a mut dyn Read,
    probe: &'a mut Probe,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.probe.feed(&buffer[..count]);
        Ok(count)
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
