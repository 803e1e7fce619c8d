//! The same tar under another compression.
//!
//! The tar's bytes stay, and with them the diff id. Blocks are cut as the writer of layers cuts them, so a
//! layer that was written here comes out as if it had been written with the other compression at once.

use std::fs::File;
use std::io::Read;

use super::blocks::Blocks;
use super::compress::Compression;
use super::decompress::Decompressor;
use super::error::LayerError;
use super::index::{Index, IndexedEntry};
use super::pipeline::default_workers;
use super::tar_header::padding;
use super::write::FinishedLayer;

/// The most bytes after the last entry that are kept in one block with it. An archive's end has a thousand.
const LONGEST_TAIL: u64 = 64 << 10;

/// Writes the layer `blob`, which `index` describes, to `out`.
pub fn recompress(
    blob: impl Read,
    media_type: &str,
    index: &Index,
    out: File,
    compression: Compression,
) -> Result<FinishedLayer, LayerError> {
    let mut tar = Decompressor::new(blob, media_type)?;
    let mut blocks = Blocks::new(out, compression, default_workers())?;
    blocks.take_programs(index.programs.clone());
    let mut start = 0;
    for (place, indexed) in index.entries.iter().enumerate() {
        let end = end_of(indexed, index.entries.get(place + 1))?;
        let head = indexed.offset.checked_sub(start).ok_or_else(|| foreign(indexed))?;
        let whole = end.checked_sub(start).ok_or_else(|| foreign(indexed))?;
        blocks.begin(indexed.clone(), head, whole)?;
        if blocks.fill(&mut tar, whole)? < whole {
            return Err(LayerError::Truncated("an entry"));
        }
        blocks.end(whole)?;
        start = end;
    }
    let mut tail = Vec::new();
    (&mut tar).take(LONGEST_TAIL).read_to_end(&mut tail)?;
    if tail.len() as u64 == LONGEST_TAIL {
        blocks.fill_bytes(&tail)?;
        tail.clear();
        blocks.fill(&mut tar, u64::MAX)?;
    }
    blocks.finish(&tail).map(|(finished, _)| finished).map_err(LayerError::from)
}

/// Where an entry ends. What others made may store less of a file than its size, and has headers that no
/// entry of the index stands for; both count as part of the next entry.
fn end_of(indexed: &IndexedEntry, next: Option<&IndexedEntry>) -> Result<u64, LayerError> {
    let size = indexed.entry.size();
    let padded = size.checked_add(padding(size) as u64).and_then(|size| indexed.offset.checked_add(size));
    let end = padded.ok_or_else(|| foreign(indexed))?;
    Ok(next.map_or(end, |next| end.min(next.offset)))
}

fn foreign(indexed: &IndexedEntry) -> LayerError {
    LayerError::ForeignIndex(String::from_utf8_lossy(&indexed.entry.path).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Entry, EntryKind, EntrySink as _, LayerOptions, LayerWriter};

    fn write(compression: Compression, sizes: &[usize]) -> (FinishedLayer, Vec<u8>) {
        let out = tempfile::tempfile().unwrap();
        let options = LayerOptions { compression, clamp_mtime: None };
        let mut writer = LayerWriter::create(out.try_clone().unwrap(), options).unwrap();
        for (number, size) in sizes.iter().enumerate() {
            let entry = Entry::new(format!("f{number}"), EntryKind::File { size: *size as u64 }, 0o644);
            let content: Vec<u8> = (0..*size).map(|at| (at * (number + 3) % 251) as u8).collect();
            writer.append(&entry, &mut &content[..]).unwrap();
        }
        (writer.finish().unwrap(), bytes_of(out))
    }

    fn bytes_of(mut file: File) -> Vec<u8> {
        let mut bytes = Vec::new();
        std::io::Seek::rewind(&mut file).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_way_does_not_show() {
        let ways = [Compression::None, Compression::GZIP, Compression::Gzip { level: 6 }, Compression::ZSTD];
        for sizes in [&[][..], &[10, 0, 700_000, 3_000_000, 5, 400_000, 400_000, 1 << 20], &[1_047_000]] {
            for from in ways {
                let (made, bytes) = write(from, sizes);
                let (scanned, _) = Index::scan(&bytes[..], made.media_type).unwrap();
                for to in ways {
                    let expected = write(to, sizes);
                    for index in [&made.index, &scanned] {
                        let out = tempfile::tempfile().unwrap();
                        let copy = out.try_clone().unwrap();
                        let finished = recompress(&bytes[..], made.media_type, index, copy, to).unwrap();
                        assert!(bytes_of(out) == expected.1, "{from:?} to {to:?}, {sizes:?}");
                        assert_eq!((finished.digest, finished.diff_id), (expected.0.digest, made.diff_id));
                    }
                }
            }
        }
    }

    #[test]
    fn an_index_of_another_layer_is_refused() {
        let (made, _) = write(Compression::GZIP, &[10, 3000]);
        let (_, other) = write(Compression::GZIP, &[10]);
        let out = tempfile::tempfile().unwrap();
        assert!(recompress(&other[..], made.media_type, &made.index, out, Compression::ZSTD).is_err());
    }
}
