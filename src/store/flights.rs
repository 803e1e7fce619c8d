//! Work that one process at a time should do: a lock file per key.
//!
//! The file goes when its holder is done, so whoever gets the lock looks whether the file is still the one at
//! the path, and tries again when it is not.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::StoreError;
use super::lock::{open_lock, try_lock, wait_for};
use crate::base::Digest;

/// The right to do some work. Dropping it, or dying, lets the next one in.
#[derive(Debug)]
pub struct Flight {
    path: PathBuf,
    _file: File,
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Removed before the lock goes, so nobody else can hold a lock on this path yet. A file that stays
        // does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

pub(super) fn exclusive(store: &Path, key: &Digest) -> Result<Flight, StoreError> {
    let path = store.join("flights").join(key.hex());
    let failed = |source: io::Error| StoreError::io("lock", &path, source);
    loop {
        let file = open_lock(&path).map_err(failed)?;
        wait_for(&file, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
        if is_at(&file, &path).map_err(failed)? {
            return Ok(Flight { path: path.clone(), _file: file });
        }
    }
}

pub(super) fn try_exclusive(store: &Path, key: &Digest) -> Result<Option<Flight>, StoreError> {
    let path = store.join("flights").join(key.hex());
    let failed = |source: io::Error| StoreError::io("lock", &path, source);
    loop {
        let file = open_lock(&path).map_err(failed)?;
        if !try_lock(&file).map_err(|errno| failed(errno.into()))? {
            return Ok(None);
        }
        if is_at(&file, &path).map_err(failed)? {
            return Ok(Some(Flight { path: path.clone(), _file: file }));
        }
    }
}

/// Whether the open file is the one at the path now.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
