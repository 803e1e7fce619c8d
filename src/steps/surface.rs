//! What a path shows while a layer is being placed: the base, and over it what was placed so far.
//!
//! Says what stands where and where links lead. What may take whose place is not decided here.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::placement::{Content, PlaceError, Placed, display};
use super::reach::copied;
use crate::layer::{Entry, EntryKind, MAX_PATH_BYTES, Tree, TreeError};

/// As many symlinks in one lookup as Linux follows.
const MAX_SYMLINKS: usize = 40;

pub(super) struct Surface<'a> {
    base: &'a Tree,
    placed: BTreeMap<Vec<u8>, Placed>,
    /// Directories of the base that something else took the place of: nothing in them shows any more.
    hidden: BTreeSet<Vec<u8>>,
}

/// What a link may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// To nothing, too, which is then made where it leads.
    Anywhere,
    /// To what is there.
    ToSomething,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing<'s> {
    Directory,
    Link(&'s [u8]),
    Other,
}

impl<'a> Surface<'a> {
    pub fn new(base: &'a Tree) -> Self {
        Self { base, placed: BTreeMap::new(), hidden: BTreeSet::new() }
    }

    /// What stands at a clean path; nothing where nothing does.
    pub fn at(&self, path: &[u8]) -> Option<Standing<'_>> {
        if path.is_empty() {
            return Some(Standing::Directory);
        }
        self.entry(path).map(|entry| match &entry.kind {
            EntryKind::Directory => Standing::Directory,
            EntryKind::Symlink { target } => Standing::Link(target),
            _ => Standing::Other,
        })
    }

    /// What a path shows.
    pub fn entry(&self, path: &[u8]) -> Option<&Entry> {
        self.placed.get(path).map(|placed| &placed.entry).or_else(|| self.below(path))
    }

    pub fn placed(&self, path: &[u8]) -> Option<&Placed> {
        self.placed.get(path)
    }

    pub fn placed_mut(&mut self, path: &[u8]) -> Option<&mut Placed> {
        self.placed.get_mut(path)
    }

    pub fn put(&mut self, placed: Placed) {
        self.placed.insert(placed.entry.path.clone(), placed);
    }

    /// Repeats a directory of the base, so that the layer stands alone.
    pub fn repeat(&mut self, path: &[u8]) -> Option<&mut Placed> {
        if !self.placed.contains_key(path) {
            let mut entry = copied(self.below(path)?);
            entry.path = path.to_vec();
            self.put(Placed { entry, content: Content::None });
        }
        self.placed.get_mut(path)
    }

    /// Takes away what stands at a path, with everything in it; gives the paths that were placed there.
    pub fn remove(&mut self, path: &[u8]) -> Vec<Vec<u8>> {
        if self.below(path).is_some_and(Entry::is_directory) {
            self.hidden.insert(path.to_vec());
        }
        let inner = [path, b"/"].concat();
        let after = [path, b"0"].concat();
        let mut gone: Vec<Vec<u8>> = self.placed.range(inner..after).map(|(path, _)| path.clone()).collect();
        gone.push(path.to_vec());
        for path in &gone {
            self.placed.remove(path);
        }
        gone
    }

    /// Where `path` leads below `root`, links followed inside it as after `chroot`; the rest that is missing
    /// stays as it stands.
    pub fn resolve(&self, root: &[u8], path: &[u8], links: Links) -> Result<Vec<u8>, PlaceError> {
        let mut pending: Vec<Vec<u8>> = Vec::new();
        push_names(&mut pending, path);
        let mut here = root.to_vec();
        let mut above: Vec<usize> = Vec::new();
        let mut followed = 0;
        // How many names are left when those of the outermost link are walked.
        let mut of_link = usize::MAX;
        while let Some(name) = pending.pop() {
            if pending.len() < of_link {
                of_link = usize::MAX;
            }
            if name == b".." {
                here.truncate(above.pop().unwrap_or(root.len()));
                continue;
            }
            let length = here.len();
            if length > 0 {
                here.push(b'/');
            }
            here.extend_from_slice(&name);
            match self.at(&here) {
                Some(Standing::Link(target)) => {
                    followed += 1;
                    if followed > MAX_SYMLINKS {
                        let cause = TreeError::Loop { path: display(path), limit: MAX_SYMLINKS };
                        return Err(PlaceError::Unresolvable { path: display(path), cause });
                    }
                    let target = target.to_vec();
                    match target.starts_with(b"/") {
                        true => {
                            above.clear();
                            here.truncate(root.len());
                        }
                        false => here.truncate(length),
                    }
                    of_link = of_link.min(pending.len());
                    push_names(&mut pending, &target);
                }
                Some(Standing::Other) if !pending.is_empty() => {
                    return Err(PlaceError::NotADirectory(display(&here)));
                }
                None if links == Links::ToSomething && pending.len() >= of_link => {
                    return Err(PlaceError::Dangling { path: display(path), missing: display(&here) });
                }
                Some(Standing::Directory | Standing::Other) | None => above.push(length),
            }
        }
        if here.len() > MAX_PATH_BYTES { Err(PlaceError::TooLong) } else { Ok(here) }
    }

    /// Everything that was placed, in byte order of the paths. Directories that are as the base has them are
    /// left out unless there is something in them.
    pub fn finish(mut self) -> Vec<Placed> {
        let mut wanted: HashSet<Vec<u8>> = HashSet::new();
        let mut idle: Vec<Vec<u8>> = Vec::new();
        for (path, placed) in self.placed.iter().rev() {
            if placed.entry.is_directory() && !wanted.contains(path) && self.is_repeated(&placed.entry) {
                idle.push(path.clone());
                continue;
            }
            if let Some(end) = path.iter().rposition(|byte| *byte == b'/')
                && !wanted.contains(&path[..end])
            {
                wanted.insert(path[..end].to_vec());
            }
        }
        for path in idle {
            self.placed.remove(&path);
        }
        self.conceal();
        self.placed.into_values().collect()
    }

    /// A directory that a directory took the place of, by way of something else, shows nothing of the base.
    fn conceal(&mut self) {
        for path in std::mem::take(&mut self.hidden) {
            if self.placed.get(&path).is_some_and(|placed| placed.entry.is_directory()) {
                let entry = Entry::new(path.clone(), EntryKind::Opaque, 0);
                // Sorts directly behind the directory and before what is in it.
                self.placed.insert([&path, &b"/"[..]].concat(), Placed { entry, content: Content::None });
            }
        }
    }

    /// Whether the base has this directory, whenever it was changed: what makes no difference to overlayfs.
    fn is_repeated(&self, entry: &Entry) -> bool {
        let is_same = |below: &Entry| {
            let xattrs = copied(below).xattrs;
            below.is_directory()
                && (below.mode, below.uid, below.gid, &xattrs)
                    == (entry.mode, entry.uid, entry.gid, &entry.xattrs)
        };
        self.below(&entry.path).is_some_and(is_same)
    }

    /// What the base shows at a path.
    fn below(&self, path: &[u8]) -> Option<&'a Entry> {
        let is_hidden = |hidden: &Vec<u8>| {
            path.strip_prefix(hidden.as_slice()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
        };
        if self.hidden.iter().any(is_hidden) {
            return None;
        }
        self.base.get(path).map(|node| self.base.entry(node))
    }
}

/// Puts the names of `path` on top, the first one uppermost.
fn push_names(pending: &mut Vec<Vec<u8>>, path: &[u8]) {
    let first = pending.len();
    pending.extend(
        path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec),
    );
    pending[first..].reverse();
}
