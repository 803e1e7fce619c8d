//! Contents of files as an earlier layer has them, so that what did not change need not be opened again.
//!
//! Many small files cost more to open than their bytes cost to read: a layer has them side by side. What is found is
//! held to its digest, so that a damaged layer gives nothing rather than something else.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use super::compress::BLOCK_BYTES;
use super::decompress::Decompressor;
use super::extents::Extents;
use super::index::Index;
use crate::base::{Digest, processors};
use crate::oci::media_type;

/// More blocks than this are not read ahead: a layer is hashed slower than so many processors read it.
const MOST_AHEAD: usize = 8;

/// The contents that lie within one block of a layer.
pub struct FormerContents {
    blob: Arc<Extents>,
    media_type: &'static str,
    index: Index,
    /// Entries with content of known digest, by their paths.
    positions: HashMap<Vec<u8>, usize>,
    /// The block that was asked for last, and its number; nothing for a damaged one.
    read: Option<(usize, Option<Vec<u8>>)>,
    /// Those that follow, since entries come in the order that they had.
    ahead: VecDeque<(usize, Receiver<Option<Vec<u8>>>)>,
}

impl FormerContents {
    /// Begins to read at once.
    pub fn new(blob: Arc<Extents>, media_type: &'static str, index: Index) -> Self {
        let entries = index.entries.iter().enumerate();
        let known = entries.filter(|(_, entry)| entry.content.is_some() && entry.entry.size() > 0);
        let positions = known.map(|(position, entry)| (entry.entry.path.clone(), position)).collect();
        let mut former = Self { blob, media_type, index, positions, read: None, ahead: VecDeque::new() };
        former.read_ahead(0);
        former
    }

    /// What is at `path`, if that is content of this digest and size, and whole in one block.
    pub fn find(&mut self, path: &[u8], digest: &Digest, size: u64) -> Option<&[u8]> {
        let entry = &self.index.entries[*self.positions.get(path)?];
        if entry.content.as_ref() != Some(digest) || entry.entry.size() != size {
            return None;
        }
        let (start, end) = (entry.offset, entry.offset.checked_add(size)?);
        let number = self.index.blocks.partition_point(|block| block.uncompressed <= start).checked_sub(1)?;
        let block = self.index.blocks[number].uncompressed;
        let within = usize::try_from(start - block).ok()?..usize::try_from(end - block).ok()?;
        if within.end > BLOCK_BYTES {
            return None;
        }
        self.block(number)?.get(within).filter(|content| Digest::of(content) == *digest)
    }

    fn block(&mut self, number: usize) -> Option<&[u8]> {
        if self.read.as_ref().is_none_or(|(last, _)| *last != number) {
            self.ahead.retain(|(ahead, _)| *ahead >= number);
            if self.ahead.front().is_some_and(|(ahead, _)| *ahead != number) {
                self.ahead.clear();
            }
            self.read_ahead(number);
            let (_, block) = self.ahead.pop_front()?;
            self.read_ahead(number + 1);
            self.read = Some((number, block.recv().ok().flatten()));
        }
        self.read.as_ref()?.1.as_deref()
    }

    /// Has blocks read from `number` on, as far as they are not.
    fn read_ahead(&mut self, number: usize) {
        let begin = self.ahead.back().map_or(number, |(last, _)| last + 1);
        let end = (number + processors().min(MOST_AHEAD)).min(self.index.blocks.len());
        for number in begin..end {
            let (blob, media_type, range) = (self.blob.clone(), self.media_type, self.compressed(number));
            let (sender, block) = sync_channel(1);
            rayon::spawn(move || {
                // Nobody waits for it where entries have another order than they had.
                let _ = sender.send(read(&blob, media_type, range).ok());
            });
            self.ahead.push_back((number, block));
        }
    }

    fn compressed(&self, number: usize) -> Range<u64> {
        let next = self.index.blocks.get(number + 1);
        self.index.blocks[number].compressed..next.map_or(self.blob.len(), |next| next.compressed)
    }
}

/// A block that has its compressed bytes there.
fn read(blob: &Extents, media_type: &str, range: Range<u64>) -> io::Result<Vec<u8>> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
    let mut compressed = vec![0; length];
    blob.read_exact_at(&mut compressed, range.start)?;
    if media_type == media_type::OCI_LAYER_GZIP {
        // A block is one member, whose length is bounded: that takes half the time of reading it as a stream.
        let mut bytes = vec![0; BLOCK_BYTES];
        let inflated = libdeflater::Decompressor::new().gzip_decompress(&compressed, &mut bytes);
        bytes.truncate(inflated.map_err(io::Error::other)?);
        return Ok(bytes);
    }
    let mut bytes = Vec::with_capacity(BLOCK_BYTES);
    let block = Decompressor::new(&compressed[..], media_type).map_err(io::Error::other)?;
    block.take(BLOCK_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::layer::{Compression, Entry, EntryKind, LayerOptions, LayerWriter};

    const FILES: [(&str, &[u8]); 3] = [("a", b"first"), ("b", b""), ("c", b"third")];

    fn layer(compression: Compression) -> (Vec<u8>, Index) {
        let mut blob = tempfile::tempfile().unwrap();
        let options = LayerOptions { compression, ..LayerOptions::default() };
        let mut writer = LayerWriter::create(blob.try_clone().unwrap(), options).unwrap();
        let large = vec![7; 3 << 20];
        for (path, content) in FILES.iter().copied().chain([("large", &large[..]), ("z", b"last")]) {
            let kind = EntryKind::File { size: content.len() as u64 };
            let entry = Entry::new(path.as_bytes().to_vec(), kind, 0o644);
            writer.append_with_digest(&entry, &mut &content[..], Digest::of(content)).unwrap();
        }
        let finished = writer.finish().unwrap();
        let mut bytes = Vec::new();
        io::Seek::rewind(&mut blob).unwrap();
        blob.read_to_end(&mut bytes).unwrap();
        (bytes, finished.index)
    }

    fn former(bytes: &[u8], compression: Compression, index: &Index) -> FormerContents {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        FormerContents::new(Arc::new(Extents::whole(file).unwrap()), compression.media_type(), index.clone())
    }

    #[test]
    fn content_is_found_by_path_digest_and_size() {
        for compression in [Compression::None, Compression::GZIP, Compression::ZSTD] {
            let (bytes, index) = layer(compression);
            let mut former = former(&bytes, compression, &index);
            let first = Digest::of("first");
            assert_eq!(former.find(b"c", &Digest::of("third"), 5), Some(&b"third"[..]));
            assert_eq!(former.find(b"a", &first, 5), Some(&b"first"[..]));
            assert_eq!(former.find(b"c", &first, 5), None, "it is elsewhere");
            assert_eq!(former.find(b"a", &first, 6), None);
            assert_eq!(former.find(b"d", &first, 5), None);
            let large = vec![7; 3 << 20];
            assert_eq!(former.find(b"large", &Digest::of(&large), 3 << 20), None, "it is in several blocks");
            assert_eq!(former.find(b"z", &Digest::of("last"), 4), Some(&b"last"[..]));
            assert_eq!(former.find(b"a", &first, 5), Some(&b"first"[..]), "it is before that");
        }
    }

    #[test]
    fn a_damaged_layer_gives_nothing_else() {
        for compression in [Compression::None, Compression::GZIP, Compression::ZSTD] {
            let (whole, index) = layer(compression);
            let (first, third) = (Digest::of("first"), Digest::of("third"));
            for place in 0..whole.len().min(2000) {
                let mut bytes = whole.clone();
                bytes[place] ^= 0x10;
                let mut former = former(&bytes, compression, &index);
                assert!(former.find(b"a", &first, 5).is_none_or(|content| content == b"first"));
                assert!(former.find(b"c", &third, 5).is_none_or(|content| content == b"third"));
            }
            assert_eq!(former(&whole[..40], compression, &index).find(b"c", &third, 5), None, "it is cut");
        }
    }
}
