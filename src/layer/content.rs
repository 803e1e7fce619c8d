//! The content of some of a layer's files, without unpacking the layer.
//!
//! Where the index has blocks, everything between the wanted files is passed over in the blob; elsewhere
//! the layer is read once, up to the last wanted file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::decompress::Decompressor;
use super::error::LayerError;
use super::index::{Block, Index, IndexedEntry};
use super::read::LayerReader;

pub struct ContentReader<'a> {
    blob: File,
    media_type: &'a str,
    index: &'a Index,
}

impl<'a> ContentReader<'a> {
    /// The blob, from its first byte, and the index that belongs to it.
    pub fn open(blob: File, media_type: &'a str, index: &'a Index) -> Self {
        Self { blob, media_type, index }
    }

    /// Calls `visit` with the position, the entry and the content of every wanted entry, in the order of the
    /// layer. `positions` are places in the index, ascending, each once. What is not a regular file has no content; for
    /// a hard link ask for the entry it leads to.
    pub fn visit<E: From<LayerError>>(
        &self,
        positions: &[u32],
        visit: impl FnMut(u32, &IndexedEntry, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), E> {
        if !positions.is_sorted_by(|one, next| one < next) {
            return Err(LayerError::Unordered.into());
        }
        let mut blob = &self.blob;
        blob.seek(SeekFrom::Start(0)).map_err(LayerError::from)?;
        if self.index.blocks.is_empty() {
            self.visit_in_passing(positions, visit)
        } else {
            self.visit_by_blocks(positions, visit)
        }
    }

    fn visit_in_passing<E: From<LayerError>>(
        &self,
        positions: &[u32],
        mut visit: impl FnMut(u32, &IndexedEntry, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut layer = LayerReader::new(&self.blob, self.media_type)?;
        let mut next = 0;
        for &position in positions {
            let indexed = self.indexed(position)?;
            while next <= position {
                let entry = layer.next_entry()?;
                if next == position && entry.as_ref() != Some(&indexed.entry) {
                    return Err(foreign(indexed).into());
                }
                next += 1;
            }
            visit(position, indexed, &mut layer)?;
        }
        Ok(())
    }

    fn visit_by_blocks<E: From<LayerError>>(
        &self,
        positions: &[u32],
        mut visit: impl FnMut(u32, &IndexedEntry, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut stream: Option<BlockStream<'_>> = None;
        for &position in positions {
            let indexed = self.indexed(position)?;
            if indexed.entry.size() == 0 {
                visit(position, indexed, &mut io::empty())?;
                continue;
            }
            let mut at = match stream.take() {
                Some(at) if at.reaches(&self.index.blocks, indexed.offset) => at,
                _ => self.stream_at(indexed)?,
            };
            at.pass_to(indexed)?;
            let mut content = Exactly { left: indexed.entry.size(), stream: &mut at };
            visit(position, indexed, &mut content)?;
            stream = Some(at);
        }
        Ok(())
    }

    fn indexed(&self, position: u32) -> Result<&'a IndexedEntry, LayerError> {
        self.index.entries.get(position as usize).ok_or(LayerError::Index("it has no such position"))
    }

    fn stream_at(&self, indexed: &IndexedEntry) -> Result<BlockStream<'_>, LayerError> {
        let block = block_of(&self.index.blocks, indexed.offset).ok_or_else(|| foreign(indexed))?;
        let mut blob = &self.blob;
        blob.seek(SeekFrom::Start(block.compressed))?;
        let reader = Decompressor::new(blob, self.media_type)?;
        Ok(BlockStream { reader, position: block.uncompressed })
    }
}

/// The block `offset` is in.
fn block_of(blocks: &[Block], offset: u64) -> Option<Block> {
    let after = blocks.partition_point(|block| block.uncompressed <= offset);
    after.checked_sub(1).map(|number| blocks[number])
}

fn foreign(indexed: &IndexedEntry) -> LayerError {
    LayerError::ForeignIndex(String::from_utf8_lossy(&indexed.entry.path).into_owned())
}

/// The uncompressed tar from some block on.
struct BlockStream<'a> {
    reader: Decompressor<&'a File>,
    position: u64,
}

impl BlockStream<'_> {
    /// Whether reading on is no more work than beginning at the block that has `offset`.
    fn reaches(&self, blocks: &[Block], offset: u64) -> bool {
        self.position <= offset
            && block_of(blocks, offset).is_some_and(|block| block.uncompressed <= self.position)
    }

    fn pass_to(&mut self, indexed: &IndexedEntry) -> Result<(), LayerError> {
        let distance = indexed.offset - self.position;
        let passed = io::copy(&mut self.take(distance), &mut io::sink())?;
        if passed == distance { Ok(()) } else { Err(foreign(indexed)) }
    }
}

impl Read for BlockStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// A file's content; a stream that ends in it is an error.
struct Exactly<'a, 'b> {
    left: u64,
    stream: &'a mut BlockStream<'b>,
}

impl Read for Exactly<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.stream.read(&mut buffer[..room])?;
        if count == 0 && room > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, LayerError::Truncated("a file")));
        }
        self.left -= count as u64;
        Ok(count)
    }
}
