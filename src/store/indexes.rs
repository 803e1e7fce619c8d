//! Entry indexes of layers, by the digest of their blob. What is in them is the caller's; the store keeps them whole.
//!
//! An index can be made again from its layer, so it is not synced: it carries its own SHA-256 in front, and
//! one that does not fit is not there.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::leases::Item;
use super::{Inner, StoreError};
use crate::base::Digest;

#[derive(Clone, Copy)]
pub struct Indexes<'a> {
    store: &'a Inner,
}

impl<'a> Indexes<'a> {
    pub(super) fn new(store: &'a Inner) -> Self {
        Self { store }
    }

    pub fn read(&self, blob: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.path(blob);
        self.store.protect(&[Item::Path(path_digest("indexes", &blob.hex()))])?;
        let mut bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|source| StoreError::io("read", &path, source))?,
        };
        if !is_whole(&bytes) {
            return Ok(None);
        }
        note_use(&path, self.store);
        Ok(Some(bytes.split_off(32)))
    }

    pub fn write(&self, blob: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(blob);
        self.store.protect(&[Item::Path(path_digest("indexes", &blob.hex()))])?;
        let temporary = self.store.temporary()?;
        let whole = [Digest::of(bytes).as_bytes(), bytes].concat();
        fs::write(&temporary, whole)
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(|source| StoreError::io("write", &path, source))
    }

    fn path(&self, blob: &Digest) -> PathBuf {
        self.store.path.join("indexes").join(blob.hex())
    }
}

/// Whether the bytes of a file are those that were written.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    bytes.split_first_chunk::<32>().is_some_and(|(hash, rest)| Digest::of(rest).as_bytes() == hash)
}

/// How leases name what is not a blob.
pub(super) fn path_digest(folder: &str, name: &str) -> Digest {
    Digest::of(format!("{folder}/{name}"))
}

const NOTED_EVERY: Duration = Duration::from_secs(3600);

/// The modification time of an index or of a snapshot's folder is its last use. Not being able to note it
/// only makes the thing look older to prune than it is.
pub(super) fn note_use(path: &PathBuf, store: &Inner) {
    let now = (store.environment.now)();
    let touch = || {
        let file = File::open(path)?;
        let noted = file.metadata()?.modified()?;
        // One of the future is of a clock that was wrong.
        if now.duration_since(noted).is_ok_and(|age| age > NOTED_EVERY)
            || noted.duration_since(now).is_ok_and(|lead| lead > NOTED_EVERY)
        {
            file.set_modified(now)?;
        }
        Ok::<_, io::Error>(())
    };
    let _ = touch();
}
