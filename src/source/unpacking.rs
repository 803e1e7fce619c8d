//! The members of an archive written below a folder.
//!
//! An archive is hostile. No entry leaves the folder or goes through a link, devices are left out, and what does
//! not fit into the space that is left is refused while it is unpacked.

use std::io::{self, Read};
use std::path::Path;

use super::error::SourceError;
use crate::layer::{Applier, ApplyOptions, Entry, EntryKind, EntrySink, Form, Ids, LayerError, LayerReader};
use crate::store::{Store, free_space};

/// How many bytes come between two looks at the space that is left.
const BETWEEN_LOOKS: u64 = 16 << 20;

/// `what` names the archive in messages.
pub(super) fn unpack_into(
    store: &Store,
    what: &str,
    archive: &mut impl Read,
    into: &Path,
) -> Result<(), SourceError> {
    Unpacking { store, what, since_look: 0 }.run(archive, into)
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
