//! One file of a context as the walk saw it.

use crate::layer::{Entry, EntryKind};
use crate::store::Stamp;

/// The name of the attribute that carries a file's capabilities, the only one that images keep.
pub const CAPABILITY: &str = "security.capability";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextEntry {
    /// Relative to the root, clean.
    pub path: Vec<u8>,
    /// A second name of a file is a file here too: see [`ContextEntry::hard_link`]. A socket is an empty file.
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Whole seconds since the epoch.
    pub mtime: i64,
    pub stamp: Stamp,
    pub has_more_names: bool,
    pub is_socket: bool,
    /// The value of `security.capability`. Only asked for where somebody may execute the file, because the
    /// question costs as much as everything else about a file.
    pub capability: Option<Vec<u8>>,
}

impl ContextEntry {
    /// Device and inode of a file with several names. Entries with equal ones are the same file.
    pub fn hard_link(&self) -> Option<(u64, u64)> {
        self.has_more_names.then_some((self.stamp.device, self.stamp.inode))
    }

    pub fn is_file(&self) -> bool {
        matches!(self.kind, EntryKind::File { .. })
    }

    pub fn is_directory(&self) -> bool {
        self.kind == EntryKind::Directory
    }

    pub fn to_layer_entry(&self) -> Entry {
        let mut entry = Entry::new(self.path.clone(), self.kind.clone(), self.mode);
        (entry.uid, entry.gid, entry.mtime) = (self.uid, self.gid, self.mtime);
        entry.xattrs.extend(self.capability.iter().map(|value| (CAPABILITY.into(), value.clone())));
        entry
    }
}
