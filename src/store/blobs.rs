//! Blobs: bytes under the name of their digest.
//!
//! A blob has its name only when it is complete; it is written in `tmp/` and renamed. One that exists is
//! never replaced, so whoever has seen it can go on reading it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::leases::Item;
use super::{Inner, StoreError};
use crate::base::Digest;

#[derive(Clone, Copy)]
pub struct Blobs<'a> {
    store: &'a Inner,
}

impl<'a> Blobs<'a> {
    pub(super) fn new(store: &'a Inner) -> Self {
        Self { store }
    }

    /// Whether the blob is here. One that is stays for as long as this process lives.
    pub fn contains(&self, digest: &Digest) -> bool {
        // What cannot be protected does not count: prune might be about to remove it.
        self.protect(digest).is_ok() && self.path(digest).exists()
    }

    pub fn open(&self, digest: &Digest) -> io::Result<File> {
        self.protect(digest).map_err(io::Error::other)?;
        File::open(self.path(digest))
    }

    /// A small blob as a whole. More than `limit` bytes, and bytes that are not the blob's, are errors.
    pub fn read(&self, digest: &Digest, limit: u64) -> io::Result<Vec<u8>> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        let mut bytes = Vec::new();
        self.open(digest)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(invalid(format!("blob `{digest}` has more than {limit} bytes")));
        }
        if Digest::of(&bytes) != *digest {
            return Err(invalid(format!("blob `{digest}` is damaged in the store")));
        }
        Ok(bytes)
    }

    pub fn size(&self, digest: &Digest) -> io::Result<u64> {
        Ok(fs::metadata(self.path(digest))?.len())
    }

    /// Where the blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.store.path.join("blobs/sha256").join(digest.hex())
    }

    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if !self.contains(&digest) {
            let mut writer = self.writer()?;
            writer.write_all(bytes).map_err(|source| StoreError::io("write", &writer.path, source))?;
            writer.commit(&digest, bytes.len() as u64)?;
        }
        Ok(digest)
    }

    /// A file to write a blob into whose digest is not known yet.
    pub fn writer(&self) -> Result<BlobWriter<'a>, StoreError> {
        let path = self.store.temporary()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|source| StoreError::io("create", &path, source))?;
        Ok(BlobWriter { store: self.store, path, file })
    }

    fn protect(&self, digest: &Digest) -> Result<(), StoreError> {
        self.store.protect(&[Item::Blob(*digest)])
    }
}

/// A blob being written. Dropping it without [`BlobWriter::commit`] removes it.
pub struct BlobWriter<'a> {
    store: &'a Inner,
    path: PathBuf,
    file: File,
}

impl BlobWriter<'_> {
    /// For writers that copy inside the kernel or write at offsets.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the bytes their name. The caller computed `digest` and `size` while writing.
    pub fn commit(self, digest: &Digest, size: u64) -> Result<(), StoreError> {
        let failed = |source: io::Error| StoreError::io("finish", &self.path, source);
        let found = self.file.metadata().map_err(failed)?.len();
        if found != size {
            return Err(StoreError::Size { digest: *digest, expected: size, found });
        }
        let hex = digest.hex();
        self.store.protect(&[Item::Blob(*digest)])?;
        self.store.unsynced.mark(&hex)?;
        rename_new(&self.path, &self.store.path.join("blobs/sha256").join(hex)).map_err(failed)
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter<'_> {
    fn drop(&mut self) {
        // After a commit there is nothing here; what stays is removed by prune.
        let _ = fs::remove_file(&self.path);
    }
}

/// Renames unless the target exists: replacing a synced blob by an equal unsynced one would lose its
/// durability, because its mark may be cleared already.
fn rename_new(from: &PathBuf, to: &PathBuf) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        // File systems that do not know the flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if to.exists() => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::rename(from, to),
        Err(error) => Err(error.into()),
    }
}
