//! The digest of a file's bytes: from the stat cache, or by reading them.

use std::fs::File;
use std::io::Read;
use std::time::SystemTime;

use rustix::fs::{OFlags, fstat};

use super::Context;
use super::beneath::open_beneath;
use super::entry::ContextEntry;
use super::error::{ContextError, joined};
use super::walk::stamp;
use crate::base::{Digest, Hasher};
use crate::store::StampedDigest;

/// What reading a file gave.
pub(super) struct Hashed {
    pub(super) digest: Digest,
    /// For the stat cache, unless the file changed too recently for its stamp to be trusted.
    pub(super) settled: Option<StampedDigest>,
}

const BUFFER: usize = 128 * 1024;

/// Reads the file and makes sure that it is the one the walk saw, before and after.
pub(super) fn hash(context: &Context, entry: &ContextEntry) -> Result<Hashed, ContextError> {
    let failed = |error: std::io::Error| ContextError::unreadable(&context.root, &entry.path, error);
    let started = SystemTime::now();
    let mut file = open(context, entry)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; BUFFER.min(usize::try_from(entry.stamp.size).unwrap_or(BUFFER) + 1)];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    verify(context, entry, &file)?;
    let digest = hasher.finish();
    let is_settled = entry.stamp.is_settled_at(started) && !entry.is_socket;
    Ok(Hashed { digest, settled: is_settled.then_some(StampedDigest { stamp: entry.stamp, digest }) })
}

/// Opens the file beneath the root, if it still is the file that the walk saw.
pub(super) fn open(context: &Context, entry: &ContextEntry) -> Result<File, ContextError> {
    let failed = |error: std::io::Error| ContextError::unreadable(&context.root, &entry.path, error);
    if !entry.is_file() {
        return Err(ContextError::NotAFile { path: joined(&context.root, &entry.path) });
    }
    if entry.is_socket {
        return File::open("/dev/null").map_err(failed);
    }
    // Without NONBLOCK, a pipe put in the file's place would block here.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = File::from(open_beneath(&context.directory, &entry.path, flags).map_err(failed)?);
    verify(context, entry, &file)?;
    Ok(file)
}

/// Whether the open file still looks as the walk saw it: asked before its bytes are read, and after.
pub(super) fn verify(context: &Context, entry: &ContextEntry, file: &File) -> Result<(), ContextError> {
    let stat = fstat(file).map_err(|errno| ContextError::unreadable(&context.root, &entry.path, errno))?;
    if !entry.is_socket && stamp(&stat) != entry.stamp {
        return Err(ContextError::Changed { path: joined(&context.root, &entry.path) });
    }
    Ok(())
}
