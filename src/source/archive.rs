//! Archives as contexts: unpacked below a folder of the store, whoever made them.
//!
//! What an archive is, and which folder has its files; `unpacking` writes them.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::SourceError;
#[cfg(target_os = "linux")]
use super::unpacking::unpack_into;
use super::{Sources, blocking};
use crate::base::{Digest, HashingReader};
use crate::layer::{EntryKind, LayerError, LayerReader};
use crate::store::{SnapshotKey, Store};

impl Sources {
    /// The files of the archive at `path`; `what` names it in messages.
    pub(super) async fn unpacked(&self, path: &Path, what: &str) -> Result<PathBuf, SourceError> {
        let (store, path, what) = (self.store().clone(), path.to_path_buf(), what.to_string());
        blocking(move || unpack(&store, &path, &what)).await
    }

    /// The newest time of the files in an archive; nothing for other files.
    pub async fn newest_in_archive(&self, path: &Path) -> Result<Option<i64>, SourceError> {
        let path = path.to_path_buf();
        blocking(move || {
            let file = open(&path)?;
            Ok(newest(file).ok().flatten())
        })
        .await
    }
}

/// Whether a file is a tar archive, plain or compressed, as far as its beginning tells.
pub(super) fn is_archive(path: &Path) -> Result<bool, SourceError> {
    let mut head = Vec::with_capacity(1024);
    let file = open(path)?;
    file.take(1024)
        .read_to_end(&mut head)
        .map_err(|cause| SourceError::Unreadable { path: path.to_path_buf(), cause })?;
    let compressed: [&[u8]; 4] = [b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    Ok(compressed.iter().any(|magic| head.starts_with(magic)) || begins_like_tar(&head))
}

/// A first header whose sum is right, or an archive without any member.
fn begins_like_tar(head: &[u8]) -> bool {
    let Some((header, _)) = head.split_first_chunk::<512>() else { return false };
    if header.iter().all(|byte| *byte == 0) {
        return head.len() == 1024 && head.iter().all(|byte| *byte == 0);
    }
    let sum: u32 = header
        .iter()
        .enumerate()
        .map(|(place, byte)| match place {
            148..156 => u32::from(b' '),
            _ => u32::from(*byte),
        })
        .sum();
    let written = String::from_utf8_lossy(&header[148..156]);
    let written = written.trim_matches(|character: char| character == '\0' || character == ' ');
    u32::from_str_radix(written, 8).is_ok_and(|written| written == sum)
}

fn open(path: &Path) -> Result<File, SourceError> {
    File::open(path).map_err(|cause| SourceError::Unreadable { path: path.to_path_buf(), cause })
}

fn unpack(store: &Store, path: &Path, what: &str) -> Result<PathBuf, SourceError> {
    let unreadable = |cause| SourceError::Unreadable { path: path.to_path_buf(), cause };
    let mut reader = HashingReader::new(open(path)?);
    io::copy(&mut reader, &mut io::sink()).map_err(unreadable)?;
    let (digest, _) = reader.finish();
    let key = archive_key(digest);
    if let Some(path) = store.snapshots().get(&key)? {
        return Ok(path);
    }
    let _turn = store.exclusive(&digest)?;
    if let Some(path) = store.snapshots().get(&key)? {
        return Ok(path);
    }
    let pending = store.snapshots().begin(&key)?;
    // What is unpacked is what was hashed, or nothing.
    let mut reader = HashingReader::new(open(path)?);
    unpack_into(store, what, &mut reader, &pending.path())?;
    io::copy(&mut reader, &mut io::sink()).map_err(unreadable)?;
    if reader.finish().0 != digest {
        return Err(unreadable(io::Error::other("it changed while it was being read")));
    }
    Ok(pending.commit()?)
}

fn archive_key(digest: Digest) -> SnapshotKey {
    SnapshotKey::new("archive", digest)
}

/// The store's folders take links, modes and times as only Linux makes them without races.
#[cfg(not(target_os = "linux"))]
fn unpack_into(_: &Store, what: &str, _: &mut impl Read, _: &Path) -> Result<(), SourceError> {
    let cause = io::Error::new(io::ErrorKind::Unsupported, "archives are unpacked on Linux alone");
    Err(SourceError::Unreadable { path: PathBuf::from(what), cause })
}

fn newest(file: File) -> Result<Option<i64>, LayerError> {
    let mut reader = LayerReader::new(file, "")?;
    let mut newest = None;
    while let Some(entry) = reader.next_entry()? {
        if matches!(entry.kind, EntryKind::File { .. }) {
            newest = newest.max(Some(entry.mtime));
        }
    }
    Ok(newest)
}
