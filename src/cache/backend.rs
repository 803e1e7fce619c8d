//! What a place must be able to do to be a cache: hold documents by key and blobs by digest.
//!
//! Backends do one exchange and say how it went. Who is asked, how often, and what a failure means is decided by
//! [`super::place`]; that a blob is what its digest says is checked here, on its way to the file.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};

use futures_util::future::BoxFuture;

use super::CacheError;
use super::entry::{Document, EntryKind};
use crate::base::{Digest, Hasher, Reference};
use crate::oci::Descriptor;

pub type Answer<'a, T> = BoxFuture<'a, Result<T, CacheError>>;
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

pub trait Backend: Send + Sync {
    /// The document under a key, if there is one; at most as large as its kind may be, and not checked further.
    fn entry<'a>(&'a self, kind: EntryKind, key: &'a Digest) -> Answer<'a, Option<Vec<u8>>>;

    fn has_entry<'a>(&'a self, kind: EntryKind, key: &'a Digest) -> Answer<'a, bool>;

    /// Writes a blob to an empty file, and says whether there is one. Bytes that are not the blob's are an error.
    fn read_blob<'a>(
        &'a self,
        blob: &'a Descriptor,
        to: &'a File,
        progress: Progress<'a>,
    ) -> Answer<'a, bool>;

    fn has_blob<'a>(&'a self, blob: &'a Descriptor) -> Answer<'a, bool>;

    fn write_blob<'a>(&'a self, upload: BlobUpload<'a>) -> Answer<'a, ()>;

    /// All blobs of the document are there.
    fn write_entry<'a>(&'a self, document: &'a Document) -> Answer<'a, ()>;

    /// The repository, where it is one: others of the same registry can take blobs from it without moving them.
    fn repository(&self) -> Option<&Reference> {
        None
    }
}

/// A blob on its way to a cache.
#[derive(Clone, Copy)]
pub struct BlobUpload<'a> {
    pub blob: &'a Descriptor,
    /// Opens the bytes from the start, once for every try.
    pub open: &'a (dyn Fn() -> io::Result<File> + Send + Sync),
    /// Repositories that may have it.
    pub mount_from: &'a [Reference],
    pub progress: Progress<'a>,
}

/// Takes the bytes of a blob as they come, and knows in the end whether they are the blob's.
pub struct Sink<'a> {
    blob: &'a Descriptor,
    file: &'a File,
    progress: Progress<'a>,
    hasher: Hasher,
    done: u64,
}

impl<'a> Sink<'a> {
    pub fn new(blob: &'a Descriptor, file: &'a File, progress: Progress<'a>) -> Self {
        Self { blob, file, progress, hasher: Hasher::new(), done: 0 }
    }

    /// How many bytes there are, which is where a broken transfer goes on.
    pub fn done(&self) -> u64 {
        self.done
    }

    pub fn push(&mut self, bytes: &[u8]) -> Result<(), CacheError> {
        if self.done + bytes.len() as u64 > self.blob.size {
            return Err(CacheError::Damaged { digest: self.blob.digest });
        }
        self.file.write_all(bytes).map_err(|cause| CacheError::local(&cause))?;
        self.hasher.update(bytes);
        self.done += bytes.len() as u64;
        (self.progress)(self.done, self.blob.size);
        Ok(())
    }

    pub fn finish(self) -> Result<(), CacheError> {
        match self.done == self.blob.size && self.hasher.finish() == self.blob.digest {
            true => Ok(()),
            false => Err(CacheError::Damaged { digest: self.blob.digest }),
        }
    }
}

/// Small bytes as the file that uploads are made of.
pub fn unnamed(bytes: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}
