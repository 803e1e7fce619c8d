//! Blobs: bytes under the name of their digest.
//!
//! A blob has its name only when it is complete; it is written in `tmp/` and renamed. One that exists is
//! never replaced, so whoever has seen it can go on reading it. One that is composed of others gets a file of its
//! own when somebody opens it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, Write};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::composed::{self, Composition};
use super::leases::Item;
use super::lock::locked;
use super::{Inner, StoreError};
use crate::base::{Digest, HashingReader};

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
        self.protect(digest).is_ok() && composed::has_blob(&self.store.path, digest)
    }

    pub fn open(&self, digest: &Digest) -> io::Result<File> {
        self.protect(digest).map_err(io::Error::other)?;
        match File::open(self.path(digest)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.open_composed(digest, error),
            opened => opened,
        }
    }

    /// Writes the file that a composed blob has not.
    fn open_composed(&self, digest: &Digest, missing: io::Error) -> io::Result<File> {
        let Some(composition) = Composition::read(&self.store.path, digest) else {
            // Somebody else may have written it in this moment.
            return File::open(self.path(digest)).map_err(|_| missing);
        };
        let writer = self.writer().map_err(io::Error::other)?;
        composition.write_whole(&self.store.path, &writer.file)?;
        writer.commit(digest, composition.length()).map_err(io::Error::other)?;
        composed::forget(self.store, digest)?;
        File::open(self.path(digest))
    }

    /// Where a blob's bytes are: in its file, or in ranges of others'.
    pub fn ranges(&self, digest: &Digest) -> io::Result<Vec<(Arc<File>, Range<u64>)>> {
        self.protect(digest).map_err(io::Error::other)?;
        let composition = match File::open(self.path(digest)) {
            Ok(file) => {
                let length = file.metadata()?.len();
                return Ok(vec![(Arc::new(file), 0..length)]);
            }
            Err(error) => Composition::read(&self.store.path, digest).ok_or(error)?,
        };
        let mut files: BTreeMap<Digest, Arc<File>> = BTreeMap::new();
        for source in composition.sources() {
            if !files.contains_key(source) {
                files.insert(*source, Arc::new(File::open(self.path(source))?));
            }
        }
        let file = |(source, range): (Digest, Range<u64>)| (files[&source].clone(), range);
        Ok(composition.parts.into_iter().map(file).collect())
    }

    /// A small blob as a whole. More than `limit` bytes, and bytes that are not the blob's, are errors.
    pub fn read(&self, digest: &Digest, limit: u64) -> io::Result<Vec<u8>> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        let file = self.open(digest)?;
        let size = file.metadata()?.len().min(limit);
        // With a byte to spare the end is seen without asking for more memory.
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(invalid(format!("blob `{digest}` has more than {limit} bytes")));
        }
        if Digest::of(&bytes) != *digest {
            return Err(invalid(format!("blob `{digest}` is damaged in the store")));
        }
        Ok(bytes)
    }

    pub fn size(&self, digest: &Digest) -> io::Result<u64> {
        match fs::metadata(self.path(digest)) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) => {
                Composition::read(&self.store.path, digest).map(|found| found.length()).ok_or(error)
            }
        }
    }

    /// Where the blob's file is, or would be.
    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
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

    /// Whether the blob was written here since the store was opened, and not before.
    pub fn is_new(&self, digest: &Digest) -> bool {
        locked(&self.store.written).contains(digest)
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
        if rename_new(&self.path, &self.store.path.join("blobs/sha256").join(hex)).map_err(failed)? {
            locked(&self.store.written).insert(*digest);
        }
        Ok(())
    }
}

/// A part of a blob that is composed of another one and of what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobPart {
    Of(Digest, Range<u64>),
    /// So many of the written bytes.
    Written(u64),
}

impl BlobWriter<'_> {
    /// Gives the name to what `parts` are, one after the other; what was written becomes a blob of its own. The
    /// caller computed `digest` and `size`, and has the other blobs open.
    pub fn commit_composed(self, digest: &Digest, size: u64, parts: &[BlobPart]) -> Result<(), StoreError> {
        let failed = |source: io::Error| StoreError::io("finish", &self.path, source);
        let (written, length) = self.written().map_err(failed)?;
        let mut composition = Composition { parts: Vec::new() };
        let mut passed = 0;
        for part in parts {
            match part {
                BlobPart::Of(source, range) => {
                    let is_whole = self.store.path.join("blobs/sha256").join(source.hex()).exists();
                    match Composition::read(&self.store.path, source).filter(|_| !is_whole) {
                        Some(other) => composition.parts.extend(other.within(range)),
                        None => composition.parts.push((*source, range.clone())),
                    }
                }
                BlobPart::Written(length) => {
                    composition.parts.push((written, passed..passed + length));
                    passed += length;
                }
            }
        }
        let found = composition.length();
        if found != size || passed != length {
            return Err(StoreError::Size { digest: *digest, expected: size, found });
        }
        let store = self.store;
        store.protect(&composition.sources().chain([digest]).copied().map(Item::Blob).collect::<Vec<_>>())?;
        self.commit(&written, length)?;
        store.unsynced.mark_composition(digest)?;
        let temporary = store.temporary()?;
        let failed = |source: io::Error| StoreError::io("write", &temporary, source);
        composition.write(&temporary, &store.path, digest).map_err(failed)?;
        locked(&store.written).insert(*digest);
        Ok(())
    }

    /// Digest and length of what was written.
    fn written(&self) -> io::Result<(Digest, u64)> {
        let mut file = &self.file;
        file.rewind()?;
        let mut reader = HashingReader::new(file);
        io::copy(&mut reader, &mut io::sink())?;
        Ok(reader.finish())
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

/// Renames unless the target exists, which is the answer: replacing a synced blob by an equal unsynced one would lose its
/// durability, because its mark may be cleared already.
fn rename_new(from: &PathBuf, to: &PathBuf) -> io::Result<bool> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // File systems that do not know the flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if to.exists() => Ok(false),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::rename(from, to).map(|()| true),
        Err(error) => Err(error.into()),
    }
}
