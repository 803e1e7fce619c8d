//! Where a COPY, ADD or WORKDIR puts things: the entries of the layer it makes.
//!
//! The destination tree decides where links lead, which parents exist and what stands in the way. The
//! entries *are* the layer but for times, so their digest is a key that moves between bases on which
//! the same entries come out.

use std::collections::{BTreeMap, BTreeSet};

use super::op::{Chmod, CopyOp};
use super::reach::{Selection, clean, copied};
use crate::base::{Digest, Hasher};
use crate::layer::{Entry, EntryKind, NodeRef, Tree, TreeError};

/// Entries of a layer to be written, parents first, with where their bytes come from.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    pub entries: Vec<Placed>,
}

#[derive(Clone, Debug)]
pub struct Placed {
    pub entry: Entry,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    None,
    /// The bytes of a file of the source tree.
    Source(NodeRef),
    Bytes(Vec<u8>),
}

/// Numeric owner of what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// What placing needs besides the operation itself.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `--chown` or `USER`, looked up in the destination.
    pub owner: Option<Owner>,
    /// Sources keep their own owner (they come from an image); else they become root's.
    pub keep_owner: bool,
    /// The time of directories made on the way.
    pub now: i64,
}

/// Why something cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    #[error("cannot replace the directory `{0}` with a file or link")]
    FileOverDirectory(String),
    #[error("cannot replace `{0}`, which is not a directory, with a directory")]
    DirectoryOverFile(String),
    #[error("`{0}` is not a directory")]
    NotADirectory(String),
    #[error("destination `{path}`: {cause}")]
    Unresolvable { path: String, cause: TreeError },
}

/// Places what `copy` selected of `source` onto `base`.
pub fn place_copy(
    copy: &CopyOp,
    selection: &Selection,
    source: &Tree,
    base: &Tree,
    settings: Settings,
) -> Result<Placement, PlaceError> {
    let empty = Tree::new();
    let base = if copy.link { &empty } else { base };
    let mut placer = Placer::new(base, settings, copy.chmod.as_ref());
    for item in &selection.items {
        let into = placer.destination(&copy.destination, item.is_directory, &item.name)?;
        if item.is_directory {
            placer.make_directories(&into)?;
            for (path, node) in &item.contents {
                placer.place_node(source, *node, &join(&into, path))?;
            }
        } else {
            placer.make_parents(&into)?;
            placer.place_node(source, item.node, &into)?;
        }
    }
    for file in &copy.inline {
        let into = placer.destination(&copy.destination, false, file.name.as_bytes())?;
        placer.make_parents(&into)?;
        placer.place_inline(&into, file.content.as_bytes())?;
    }
    Ok(placer.finish())
}

/// Makes the directory `path` and what is missing above it.
pub fn place_directory(path: &str, base: &Tree, settings: Settings) -> Result<Placement, PlaceError> {
    let mut placer = Placer::new(base, settings, None);
    let into = placer.resolve(&clean(path).join(&b'/'))?;
    placer.make_directories(&into)?;
    Ok(placer.finish())
}

impl Placement {
    /// The digest of the layer's entries without their times; `None` while a content digest is unknown.
    pub fn digest(&self, content: impl Fn(NodeRef) -> Option<Digest>) -> Option<Digest> {
        let mut hasher = Hasher::new();
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for placed in &self.entries {
            let entry = &placed.entry;
            field(&entry.path);
            field(format!("{:?} {:o} {} {}", entry.kind, entry.mode, entry.uid, entry.gid).as_bytes());
            for (name, value) in &entry.xattrs {
                field(name);
                field(value);
            }
            match &placed.content {
                Content::None => field(b""),
                Content::Source(node) => field(content(*node)?.as_bytes()),
                Content::Bytes(bytes) => field(Digest::of(bytes).as_bytes()),
            }
        }
        Some(hasher.finish())
    }
}

struct Placer<'a> {
    base: &'a Tree,
    settings: Settings,
    chmod: Option<&'a Chmod>,
    placed: BTreeMap<Vec<u8>, Placed>,
    /// The source file of what is placed, where that has several names.
    groups: BTreeMap<Vec<u8>, NodeRef>,
    /// Parents that exist and are repeated in the layer, so that it stands alone.
    repeated: BTreeSet<Vec<u8>>,
}

impl<'a> Placer<'a> {
    fn new(base: &'a Tree, settings: Settings, chmod: Option<&'a Chmod>) -> Self {
        Self {
            base,
            settings,
            chmod,
            placed: BTreeMap::new(),
            groups: BTreeMap::new(),
            repeated: BTreeSet::new(),
        }
    }

    /// The path an item lands on: below the destination when that is, or is written as, a directory.
    fn destination(&self, written: &str, is_directory: bool, name: &[u8]) -> Result<Vec<u8>, PlaceError> {
        let resolved = self.resolve(&clean(written).join(&b'/'))?;
        let means_directory = written.ends_with('/') || written.ends_with("/.") || resolved.is_empty();
        if is_directory || !(means_directory || self.kind(&resolved) == Some(Kind::Directory)) {
            return Ok(resolved);
        }
        Ok(join(&resolved, name))
    }

    /// Follows links of the base; of what this layer has placed itself, nothing is a followed link.
    fn resolve(&self, path: &[u8]) -> Result<Vec<u8>, PlaceError> {
        self.base
            .resolve_missing(path, true)
            .map_err(|cause| PlaceError::Unresolvable { path: display(path), cause })
    }

    fn kind(&self, path: &[u8]) -> Option<Kind> {
        if path.is_empty() {
            return Some(Kind::Directory);
        }
        if let Some(placed) = self.placed.get(path) {
            return Some(Kind::of(&placed.entry));
        }
        self.base.get(path).map(|node| Kind::of(self.base.entry(node)))
    }

    fn make_parents(&mut self, path: &[u8]) -> Result<(), PlaceError> {
        match path.iter().rposition(|byte| *byte == b'/') {
            Some(end) => self.make_directories(&path[..end]),
            None => Ok(()),
        }
    }

    fn make_directories(&mut self, path: &[u8]) -> Result<(), PlaceError> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        for end in ends.chain([path.len()]).filter(|end| *end > 0) {
            self.make_directory(&path[..end])?;
        }
        Ok(())
    }

    fn make_directory(&mut self, path: &[u8]) -> Result<(), PlaceError> {
        match self.kind(path) {
            Some(Kind::Directory) if self.placed.contains_key(path) => Ok(()),
            Some(Kind::Directory) => {
                let node = self.base.get(path).expect("the directory is the base's");
                let mut entry = copied(self.base.entry(node));
                entry.path = path.to_vec();
                self.repeated.insert(path.to_vec());
                self.placed.insert(path.to_vec(), Placed { entry, content: Content::None });
                Ok(())
            }
            Some(Kind::Other) => Err(PlaceError::NotADirectory(display(path))),
            None => {
                let mode = match self.chmod {
                    Some(Chmod::Octal(mode)) => *mode,
                    Some(Chmod::Symbolic(_)) | None => 0o755,
                };
                let mut entry = Entry::new(path, EntryKind::Directory, mode);
                entry.mtime = self.settings.now;
                self.own(&mut entry, true);
                self.put(Placed { entry, content: Content::None });
                Ok(())
            }
        }
    }

    fn place_node(&mut self, source: &Tree, node: NodeRef, path: &[u8]) -> Result<(), PlaceError> {
        let mut entry = copied(source.entry(node));
        entry.path = path.to_vec();
        let is_directory = entry.is_directory();
        self.refuse_mismatch(path, is_directory)?;
        self.own(&mut entry, false);
        if !matches!(entry.kind, EntryKind::Symlink { .. })
            && let Some(chmod) = self.chmod
        {
            entry.mode = chmod.apply(entry.mode, is_directory);
        }
        let content = match entry.kind {
            EntryKind::File { size } if size > 0 => Content::Source(node),
            _ => Content::None,
        };
        self.put(Placed { entry, content });
        if let Some(group) = source.link_group(node) {
            self.groups.insert(path.to_vec(), group);
        }
        Ok(())
    }

    fn place_inline(&mut self, path: &[u8], bytes: &[u8]) -> Result<(), PlaceError> {
        self.refuse_mismatch(path, false)?;
        let mut entry = Entry::new(path, EntryKind::File { size: bytes.len() as u64 }, 0o644);
        entry.mtime = self.settings.now;
        self.own(&mut entry, true);
        if let Some(chmod) = self.chmod {
            entry.mode = chmod.apply(entry.mode, false);
        }
        self.put(Placed { entry, content: Content::Bytes(bytes.to_vec()) });
        Ok(())
    }

    fn refuse_mismatch(&self, path: &[u8], is_directory: bool) -> Result<(), PlaceError> {
        match (self.kind(path), is_directory) {
            (Some(Kind::Directory), false) => Err(PlaceError::FileOverDirectory(display(path))),
            (Some(Kind::Other), true) => Err(PlaceError::DirectoryOverFile(display(path))),
            _ => Ok(()),
        }
    }

    fn own(&self, entry: &mut Entry, is_made: bool) {
        match self.settings.owner {
            Some(owner) => (entry.uid, entry.gid) = (owner.uid, owner.gid),
            None if is_made || !self.settings.keep_owner => (entry.uid, entry.gid) = (0, 0),
            None => {}
        }
    }

    fn put(&mut self, placed: Placed) {
        self.repeated.remove(&placed.entry.path);
        self.groups.remove(&placed.entry.path);
        self.placed.insert(placed.entry.path.clone(), placed);
    }

    /// Of the names that one source file has in the end, all but the first become hard links to it. Not
    /// before the end, since a later source may take the place of any of them.
    fn link(&mut self) {
        let mut first: BTreeMap<NodeRef, &Vec<u8>> = BTreeMap::new();
        for (path, group) in &self.groups {
            let target = *first.entry(*group).or_insert(path);
            if target != path
                && let Some(placed) = self.placed.get_mut(path)
            {
                placed.entry.kind = EntryKind::HardLink { target: target.clone() };
                placed.content = Content::None;
            }
        }
    }

    /// Entries in byte order of their paths, which puts parents before children; hard links last, since
    /// their target must come first. A layer that adds nothing repeats no parents either.
    fn finish(mut self) -> Placement {
        if self.placed.len() == self.repeated.len() {
            return Placement::default();
        }
        self.link();
        let (links, mut entries): (Vec<Placed>, Vec<Placed>) = self
            .placed
            .into_values()
            .partition(|placed| matches!(placed.entry.kind, EntryKind::HardLink { .. }));
        entries.extend(links);
        Placement { entries }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    Other,
}

impl Kind {
    fn of(entry: &Entry) -> Self {
        if entry.is_directory() { Self::Directory } else { Self::Other }
    }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match (directory.is_empty(), name.is_empty()) {
        (true, _) => name.to_vec(),
        (_, true) => directory.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}

fn display(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}
