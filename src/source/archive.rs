//! Archives as contexts: unpacked below a folder of the store, whoever made them.
//!
//! An archive is hostile. No entry leaves the folder or goes through a link, devices are left out, and what does
//! not fit into the space that is left is refused while it is unpacked.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::SourceError;
use super::{Sources, blocking};
use crate::base::{Digest, HashingReader};
use crate::layer::{Applier, ApplyOptions, Entry, EntryKind, EntrySink, Form, Ids, LayerError, LayerReader};
use crate::store::{SnapshotKey, Store, free_space};

/// How many bytes come between two looks at the space that is left.
const BETWEEN_LOOKS: u64 = 16 << 20;

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
    Unpacking { store, what, since_look: 0 }.run(&mut reader, &pending.path())?;
    io::copy(&mut reader, &mut io::sink()).map_err(unreadable)?;
    if reader.finish().0 != digest {
        return Err(unreadable(io::Error::other("it changed while it was being read")));
    }
    Ok(pending.commit()?)
}

fn archive_key(digest: Digest) -> SnapshotKey {
    SnapshotKey::new("archive", digest)
}

struct Unpacking<'a> {
    store: &'a Store,
    what: &'a str,
    since_look: u64,
}

impl Unpacking<'_> {
    fn run(&mut self, archive: &mut impl Read, into: &Path) -> Result<(), SourceError> {
        let options = ApplyOptions { form: Form::Lower, ids: Ids::Single };
        let mut applier =
            Applier::open(into, options).map_err(SourceError::local("open a folder of the store"))?;
        let mut reader = LayerReader::new(archive, "").map_err(|cause| self.no_archive(cause))?;
        while let Some(mut entry) = reader.next_entry().map_err(|cause| self.no_archive(cause))? {
            self.watch(entry.size())?;
            if self.is_left_out(&entry)? {
                continue;
            }
            // Contexts know neither owners nor attributes but capabilities, which an ordinary user cannot set.
            (entry.uid, entry.gid) = (0, 0);
            entry.xattrs.clear();
            if entry.is_directory() {
                entry.mode |= 0o700;
            }
            let failed = |cause: io::Error| self.failed(&entry, cause);
            applier.append(&entry, &mut reader).map_err(failed)?;
        }
        applier.finish().map(drop).map_err(SourceError::local("finish unpacking"))
    }

    fn is_left_out(&self, entry: &Entry) -> Result<bool, SourceError> {
        match entry.kind {
            EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } => Ok(true),
            EntryKind::Whiteout | EntryKind::Opaque => {
                Err(self.wrong(entry, "is a mark of a layer, which a context has not"))
            }
            EntryKind::File { .. }
            | EntryKind::Directory
            | EntryKind::Symlink { .. }
            | EntryKind::HardLink { .. }
            | EntryKind::Fifo => Ok(false),
        }
    }

    fn watch(&mut self, size: u64) -> Result<(), SourceError> {
        self.since_look = self.since_look.saturating_add(size).saturating_add(512);
        if self.since_look < BETWEEN_LOOKS {
            return Ok(());
        }
        self.since_look = 0;
        match free_space::shortage_after(self.store.path(), size) {
            None => Ok(()),
            Some(shortage) => Err(SourceError::Full { what: self.what.to_string(), shortage }),
        }
    }

    fn no_archive(&self, cause: LayerError) -> SourceError {
        SourceError::Archive { what: self.what.to_string(), cause }
    }

    fn wrong(&self, entry: &Entry, reason: &str) -> SourceError {
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        SourceError::ArchiveEntry { what: self.what.to_string(), path, reason: reason.to_string() }
    }

    fn failed(&self, entry: &Entry, cause: io::Error) -> SourceError {
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                SourceError::Local { action: "unpack an archive", cause }
            }
            _ => self.wrong(entry, &format!("cannot be unpacked: {cause}")),
        }
    }
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
