//! A file in chunks that fit into memory, for uploads that are made of parts.

use std::fs::File;
use std::io::{self, Read as _};

use bytes::Bytes;

use super::CacheError;

/// Object stores take parts from 5 MiB on, at most ten thousand of them.
const CHUNK: u64 = 8 << 20;
const MOST_CHUNKS: u64 = 9_000;

pub struct Chunks {
    file: Option<File>,
    size: usize,
}

impl Chunks {
    /// Of a file of `length` bytes.
    pub fn new(file: File, length: u64) -> Self {
        Self { file: Some(file), size: chunk_size(length) }
    }

    /// How large all of them are but the last.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The next one; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CacheError> {
        let Some(file) = self.file.take() else { return Ok(None) };
        let size = self.size as u64;
        let read = tokio::task::spawn_blocking(move || -> io::Result<(File, Vec<u8>)> {
            let mut bytes = Vec::new();
            (&file).take(size).read_to_end(&mut bytes)?;
            Ok((file, bytes))
        });
        let read = read.await.unwrap_or_else(|cause| Err(io::Error::other(cause)));
        let (file, bytes) = read.map_err(|cause| CacheError::local(&cause))?;
        self.file = Some(file);
        Ok(if bytes.is_empty() { None } else { Some(bytes.into()) })
    }
}

fn chunk_size(length: u64) -> usize {
    let size = CHUNK.max(length.div_ceil(MOST_CHUNKS));
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_with_the_blob() {
        for (length, expected) in [(0, 8 << 20), (1 << 30, 8 << 20), (1 << 40, 122_167_959)] {
            assert_eq!(chunk_size(length), expected, "{length}");
        }
    }
}
