//! One entry of a layer or of a file tree: everything of a file but its bytes.

use std::collections::BTreeMap;

/// A file, directory, link or special file, or the mark that one is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the root, clean: no leading or trailing `/`, no `.`, no `..`. Empty for the root itself.
    pub path: Vec<u8>,
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since the epoch. Layers carry whole seconds.
    pub mtime: i64,
    /// Extended attributes by their full name, such as `security.capability`.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File {
        size: u64,
    },
    Directory,
    Symlink {
        target: Vec<u8>,
    },
    /// Another name of an earlier entry of the same layer; `target` is its clean path.
    HardLink {
        target: Vec<u8>,
    },
    CharDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
    Fifo,
    /// The path, whatever it was in lower layers, is gone. In a tar: `.wh.NAME`.
    Whiteout,
    /// The directory at the path shows nothing of lower layers. In a tar: `.wh..wh..opq` inside it.
    Opaque,
}

impl Entry {
    pub fn new(path: impl Into<Vec<u8>>, kind: EntryKind, mode: u32) -> Self {
        Self { path: path.into(), kind, mode, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new() }
    }

    /// The bytes of content that follow the entry in a tar.
    pub fn size(&self) -> u64 {
        match self.kind {
            EntryKind::File { size } => size,
            _ => 0,
        }
    }

    pub fn is_directory(&self) -> bool {
        self.kind == EntryKind::Directory
    }
}

/// Takes the entries of a layer one by one, with the bytes of each.
pub trait EntrySink {
    fn append(&mut self, entry: &Entry, content: &mut dyn std::io::Read) -> std::io::Result<()>;
}
