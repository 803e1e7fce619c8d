//! Where a COPY, ADD or WORKDIR puts things: the entries of the layer it makes.
//!
//! The destination tree decides where links lead, which parents exist and what stands in the way. The
//! entries *are* the layer but for times, so their digest is a key that moves between bases on which
//! the same entries come out. Archives are placed in `unpack`.

use std::collections::BTreeMap;
use std::io::Write as _;

use super::op::{Chmod, CopyFrom, CopyOp};
use super::reach::{Item, Selection, Within, clean, copied};
use super::surface::{Links, Standing, Surface};
use super::unpack::Archives;
use crate::base::{Digest, Hasher};
use crate::layer::{Entry, EntryKind, MAX_PATH_BYTES, NodeRef, Tree, TreeError};

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
    /// The bytes of a member of an archive, which is a file of the source tree.
    Member {
        archive: NodeRef,
        position: u32,
    },
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
    #[error("`{path}` leads by a link to `{missing}`, which is not there")]
    Dangling { path: String, missing: String },
    #[error("`{0}` cannot be in a layer: names starting with `.wh.` mark removed files there")]
    Reserved(String),
    #[error("a path would be longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
    #[error("`{path}` is a hard link to `{target}`, which the archive does not bring")]
    NoLinkTarget { path: String, target: String },
}

/// Places what `copy` selected of `source` onto `base`, the files among it that are `archives` unpacked.
pub fn place_copy(
    copy: &CopyOp,
    selection: &Selection,
    source: &Tree,
    archives: &Archives,
    base: &Tree,
    settings: Settings,
) -> Result<Placement, PlaceError> {
    let empty = Tree::new();
    let base = if copy.link { &empty } else { base };
    let mut placer = Placer::new(base, settings, copy.chmod.as_ref());
    for item in &selection.items {
        placer.item += 1;
        match archives.get(&item.node) {
            Some(members) => placer.unpack(&copy.destination, item.node, members)?,
            None => placer.place_item(copy, source, item)?,
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
    placer.make_directories(&into, placer.made)?;
    Ok(placer.finish())
}

impl Placement {
    /// The digest of the layer's entries without their times; `None` while a content digest is unknown.
    pub fn digest(&self, content: impl Fn(NodeRef) -> Option<Digest>) -> Option<Digest> {
        let mut hasher = Hasher::new();
        let mut properties = Vec::new();
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for placed in &self.entries {
            let entry = &placed.entry;
            field(&entry.path);
            properties.clear();
            let _ = write!(properties, "{:?} {:o} {} {}", entry.kind, entry.mode, entry.uid, entry.gid);
            field(&properties);
            for (name, value) in &entry.xattrs {
                field(name);
                field(value);
            }
            match &placed.content {
                Content::None => field(b""),
                Content::Source(node) => field(content(*node)?.as_bytes()),
                Content::Member { archive, position } => {
                    field(content(*archive)?.as_bytes());
                    field(&position.to_le_bytes());
                }
                Content::Bytes(bytes) => field(Digest::of(bytes).as_bytes()),
            }
        }
        Some(hasher.finish())
    }
}

/// What directories that are made on the way get.
#[derive(Clone, Copy)]
pub(super) struct Made {
    pub mode: u32,
    /// Where nobody says so, the user is root and the group what the directory above makes it.
    pub owner: Option<Owner>,
}

const ROOT: Owner = Owner { uid: 0, gid: 0 };

impl Made {
    /// As anything makes them that says nothing else.
    pub const PLAIN: Self = Self { mode: 0o755, owner: Some(ROOT) };
}

/// What several paths may have in common: they are one file. Names that different sources give a file are
/// files of their own, as in BuildKit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OneFile {
    Source { item: u32, first: NodeRef },
    Member { item: u32, position: u32 },
}

pub(super) struct Placer<'a> {
    pub surface: Surface<'a>,
    pub settings: Settings,
    chmod: Option<&'a Chmod>,
    pub made: Made,
    /// Counts the sources.
    pub item: u32,
    pub names: BTreeMap<Vec<u8>, OneFile>,
    /// What the last name of a file said of it, where that is said with each name.
    pub said: BTreeMap<OneFile, Entry>,
}

impl<'a> Placer<'a> {
    fn new(base: &'a Tree, settings: Settings, chmod: Option<&'a Chmod>) -> Self {
        let mode = match chmod {
            Some(Chmod::Octal(mode)) => *mode & 0o777,
            Some(Chmod::Symbolic(_)) | None => Made::PLAIN.mode,
        };
        let made = Made { mode, owner: settings.owner };
        Self {
            surface: Surface::new(base),
            settings,
            chmod,
            made,
            item: 0,
            names: BTreeMap::new(),
            said: BTreeMap::new(),
        }
    }

    fn place_item(&mut self, copy: &CopyOp, source: &Tree, item: &Item) -> Result<(), PlaceError> {
        let into = self.destination(&copy.destination, item.is_directory, &item.name)?;
        if !item.is_directory {
            self.make_parents(&into)?;
            return self.place_node(source, item.node, &into);
        }
        let is_new = self.surface.at(&into).is_none();
        // What is mounted is the directory itself.
        match copy.is_mounted {
            true => self.place_node(source, item.node, &into)?,
            false => self.make_directories(&into, self.made)?,
        }
        // As in BuildKit a repository becomes the directory, where it is not said to go into one.
        if is_new
            && matches!(copy.from, CopyFrom::Remote(_))
            && !copy.destination.ends_with('/')
            && let Some(chmod) = self.chmod
            && let Some(placed) = self.surface.placed_mut(&into)
        {
            placed.entry.mode = chmod.apply(placed.entry.mode, true);
        }
        // Of the uppermost directory nothing else is copied but its time.
        if source.origin(item.node).is_some()
            && let Some(placed) = self.surface.placed_mut(&into)
        {
            placed.entry.mtime = source.entry(item.node).mtime;
        }
        for within in &item.contents {
            let path = join(&into, &within.path);
            if within.is_taken {
                self.place_node(source, within.node, &path)?;
            } else {
                self.place_on_the_way(source, within, &path)?;
            }
        }
        Ok(())
    }

    /// The path an item lands on: below the destination when that is, or is written as, a directory.
    fn destination(&self, written: &str, is_directory: bool, name: &[u8]) -> Result<Vec<u8>, PlaceError> {
        let resolved = self.resolve(&clean(written).join(&b'/'))?;
        let means_directory = written.ends_with('/') || written.ends_with("/.") || resolved.is_empty();
        if is_directory || !(means_directory || self.surface.at(&resolved) == Some(Standing::Directory)) {
            return Ok(resolved);
        }
        Ok(join(&resolved, name))
    }

    fn resolve(&self, path: &[u8]) -> Result<Vec<u8>, PlaceError> {
        self.surface.resolve(b"", path, Links::Anywhere)
    }

    fn make_parents(&mut self, path: &[u8]) -> Result<(), PlaceError> {
        self.make_directories(parent(path), self.made)
    }

    pub fn make_directories(&mut self, path: &[u8], made: Made) -> Result<(), PlaceError> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        for end in ends.chain([path.len()]).filter(|end| *end > 0) {
            self.make_directory(&path[..end], made)?;
        }
        Ok(())
    }

    fn make_directory(&mut self, path: &[u8], made: Made) -> Result<(), PlaceError> {
        match self.surface.at(path) {
            Some(Standing::Directory) => {
                self.surface.repeat(path);
                Ok(())
            }
            Some(Standing::Link(_) | Standing::Other) => Err(PlaceError::NotADirectory(display(path))),
            None => {
                let mut entry = Entry::new(path, EntryKind::Directory, made.mode);
                entry.mtime = self.settings.now;
                let owner = made.owner.unwrap_or(ROOT);
                (entry.uid, entry.gid) = (owner.uid, owner.gid);
                // A directory with setgid hands that down, and its group.
                if let Some(above) = self.surface.entry(parent(path)).filter(|above| above.mode & 0o2000 != 0)
                {
                    entry.mode |= 0o2000;
                    entry.gid = made.owner.map_or(above.gid, |owner| owner.gid);
                }
                self.put(Placed { entry, content: Content::None })
            }
        }
    }

    /// A directory that is there for what is in it: copied if it is missing, else only its mode is.
    fn place_on_the_way(&mut self, source: &Tree, within: &Within, path: &[u8]) -> Result<(), PlaceError> {
        if self.surface.at(path) != Some(Standing::Directory) {
            return self.place_node(source, within.node, path);
        }
        if let Some(placed) = self.surface.repeat(path) {
            placed.entry.mode = source.entry(within.node).mode;
        }
        Ok(())
    }

    fn place_node(&mut self, source: &Tree, node: NodeRef, path: &[u8]) -> Result<(), PlaceError> {
        let mut entry = copied(source.entry(node));
        entry.path = path.to_vec();
        let is_directory = entry.is_directory();
        self.refuse_mismatch(path, is_directory)?;
        match self.settings.owner {
            Some(owner) => (entry.uid, entry.gid) = (owner.uid, owner.gid),
            None if !self.settings.keep_owner => (entry.uid, entry.gid) = (0, 0),
            None => {}
        }
        if !matches!(entry.kind, EntryKind::Symlink { .. })
            && let Some(chmod) = self.chmod
        {
            entry.mode = chmod.apply(entry.mode, is_directory);
        }
        let content = match entry.kind {
            EntryKind::File { size } if size > 0 => Content::Source(node),
            _ => Content::None,
        };
        self.put(Placed { entry, content })?;
        if let Some(first) = source.link_group(node) {
            self.names.insert(path.to_vec(), OneFile::Source { item: self.item, first });
        }
        Ok(())
    }

    fn place_inline(&mut self, path: &[u8], bytes: &[u8]) -> Result<(), PlaceError> {
        self.refuse_mismatch(path, false)?;
        let mut entry = Entry::new(path, EntryKind::File { size: bytes.len() as u64 }, 0o644);
        entry.mtime = self.settings.now;
        let owner = self.made.owner.unwrap_or(ROOT);
        (entry.uid, entry.gid) = (owner.uid, owner.gid);
        if let Some(chmod) = self.chmod {
            entry.mode = chmod.apply(entry.mode, false);
        }
        self.put(Placed { entry, content: Content::Bytes(bytes.to_vec()) })
    }

    fn refuse_mismatch(&self, path: &[u8], is_directory: bool) -> Result<(), PlaceError> {
        match (self.surface.at(path), is_directory) {
            (Some(Standing::Directory), false) => Err(PlaceError::FileOverDirectory(display(path))),
            (Some(Standing::Link(_) | Standing::Other), true) => {
                Err(PlaceError::DirectoryOverFile(display(path)))
            }
            _ => Ok(()),
        }
    }

    pub fn put(&mut self, placed: Placed) -> Result<(), PlaceError> {
        let path = &placed.entry.path;
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if name.starts_with(b".wh.") {
            return Err(PlaceError::Reserved(display(path)));
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(PlaceError::TooLong);
        }
        if !self.names.is_empty() {
            self.names.remove(path);
        }
        self.surface.put(placed);
        Ok(())
    }

    /// Of the names that one source file has in the end, all but the first become hard links to it. Not
    /// before the end, since a later source may take the place of any of them.
    fn link(&mut self) {
        let mut first: BTreeMap<OneFile, &Vec<u8>> = BTreeMap::new();
        for (path, file) in &self.names {
            let target = *first.entry(*file).or_insert(path);
            let Some(placed) = self.surface.placed_mut(path) else { continue };
            if let Some(said) = self.said.get(file) {
                (placed.entry.uid, placed.entry.gid, placed.entry.mtime) = (said.uid, said.gid, said.mtime);
                if !matches!(placed.entry.kind, EntryKind::Symlink { .. }) {
                    placed.entry.mode = said.mode;
                }
            }
            if target != path {
                placed.entry.kind = EntryKind::HardLink { target: target.clone() };
                placed.content = Content::None;
            }
        }
    }

    /// Entries in byte order of their paths, which puts parents before children; hard links last, since
    /// their target must come first.
    fn finish(mut self) -> Placement {
        self.link();
        let is_link = |placed: &Placed| matches!(placed.entry.kind, EntryKind::HardLink { .. });
        let (links, mut entries): (Vec<Placed>, Vec<Placed>) =
            self.surface.finish().into_iter().partition(is_link);
        entries.extend(links);
        Placement { entries }
    }
}

pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match (directory.is_empty(), name.is_empty()) {
        (true, _) => name.to_vec(),
        (_, true) => directory.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}

/// The directory a path is in; the root is the empty path.
fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(b"", |end| &path[..end])
}

pub(super) fn display(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}
