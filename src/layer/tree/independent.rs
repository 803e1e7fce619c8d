//! Whether a layer can be unpacked on its own, without the layers below it.

use std::collections::BTreeSet;

use super::super::entry::{Entry, EntryKind};
use super::super::index::Index;
use super::super::path;
use super::{IMPLIED_MODE, Tree};

/// Whether unpacking `index` into an empty directory and laying that over `lower`, as overlayfs does, shows the
/// same as applying it to `lower`. A doubt is a no: such layers are applied in order, which is only slower.
///
/// That holds when no entry leads through a symlink, every directory on the way is the layer's own and comes
/// first or is one of mode 0755 of root (as the unpacking creates it; its time is not looked at), hard links
/// lead to earlier files of the layer, and no path is named twice.
pub fn is_independent(lower: &Tree, index: &Index) -> bool {
    let mut layer =
        Layer { lower, directories: BTreeSet::new(), others: BTreeSet::new(), files: BTreeSet::new() };
    // The root is never created by an entry, so whether it is the layer's own is known only at the end.
    let described = index.entries.iter().any(|indexed| indexed.entry.path.is_empty());
    let root = lower.entry(lower.root());
    (described || is_as_implied(root)) && index.entries.iter().all(|indexed| layer.takes(&indexed.entry))
}

struct Layer<'a> {
    lower: &'a Tree,
    directories: BTreeSet<&'a [u8]>,
    /// Everything named that is no directory, whiteouts included.
    others: BTreeSet<&'a [u8]>,
    files: BTreeSet<&'a [u8]>,
}

impl<'a> Layer<'a> {
    fn takes(&mut self, entry: &'a Entry) -> bool {
        let path = &entry.path[..];
        if !path::ancestors(path).skip(1).all(|directory| self.is_safe_directory(directory, entry)) {
            return false;
        }
        let is_new = !self.directories.contains(path) && !self.others.contains(path);
        match &entry.kind {
            EntryKind::Directory => is_new && self.directories.insert(path),
            EntryKind::Opaque => path.is_empty() || self.is_safe_directory(path, entry),
            EntryKind::File { .. } => is_new && self.files.insert(path) && self.others.insert(path),
            EntryKind::HardLink { target } => {
                is_new
                    && self.files.contains(&target[..])
                    && self.files.insert(path)
                    && self.others.insert(path)
            }
            // Overlayfs takes the device for a whiteout.
            EntryKind::CharDevice { major: 0, minor: 0 } => false,
            EntryKind::Symlink { .. }
            | EntryKind::CharDevice { .. }
            | EntryKind::BlockDevice { .. }
            | EntryKind::Fifo
            | EntryKind::Whiteout => is_new && self.others.insert(path),
        }
    }

    /// Whether the directory on the way to `entry` is the layer's own, or one that may be created for it.
    fn is_safe_directory(&mut self, directory: &'a [u8], entry: &Entry) -> bool {
        if self.others.contains(directory) {
            return false;
        }
        if self.directories.contains(directory) {
            return true;
        }
        let safe = match self.lower.get(directory) {
            Some(node) => is_as_implied(self.lower.entry(node)),
            // Nothing to remove there; creating the directory to say so would show it.
            None => !matches!(entry.kind, EntryKind::Whiteout | EntryKind::Opaque),
        };
        // From now on it is there, so an entry of its own would come too late.
        safe && self.directories.insert(directory)
    }
}

fn is_as_implied(entry: &Entry) -> bool {
    entry.is_directory()
        && entry.mode == IMPLIED_MODE
        && (entry.uid, entry.gid) == (0, 0)
        && entry.xattrs.is_empty()
}
