//! Where a path leads when symlinks are followed inside the root, as after `chroot`.

use super::super::entry::EntryKind;
use super::super::path::{self, MAX_PATH_BYTES};
use super::{NodeRef, ROOT, Tree, TreeError, shown};

/// As many symlinks in one lookup as Linux follows.
const MAX_SYMLINKS: usize = 40;
/// What all those symlinks' targets together may leave to be walked.
const MAX_PENDING: usize = 1 << 16;

/// Where a walk ended.
enum End {
    Found(NodeRef),
    /// The last directory there was, and the names below it that are missing.
    Missing(NodeRef, Vec<Vec<u8>>),
    /// Something that is no directory stands where one is needed.
    Blocked(NodeRef),
}

impl Tree {
    /// The node a path leads to; `path` need not be clean and counts from the root. Nothing when it is not there.
    pub fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Option<NodeRef>, TreeError> {
        match self.walk_to(path, follow_last)? {
            End::Found(node) => Ok(Some(node)),
            End::Missing(..) | End::Blocked(_) => Ok(None),
        }
    }

    /// The clean path that creating `path` would create, parents included: symlinks followed as far as there
    /// is anything, the missing rest as it stands. A symlink to nothing leads to where it points.
    pub fn resolve_missing(&self, path: &[u8], follow_last: bool) -> Result<Vec<u8>, TreeError> {
        let resolved = match self.walk_to(path, follow_last)? {
            End::Found(node) => self.path(node).to_vec(),
            End::Missing(node, names) => {
                names.iter().fold(self.path(node).to_vec(), |parent, name| path::join(&parent, name))
            }
            End::Blocked(node) => return Err(TreeError::NotADirectory { path: shown(self.path(node)) }),
        };
        if resolved.len() > MAX_PATH_BYTES {
            return Err(TreeError::TooLong { path: shown(&resolved) });
        }
        Ok(resolved)
    }

    fn walk_to(&self, path: &[u8], follow_last: bool) -> Result<End, TreeError> {
        // The names still to walk, the next one last.
        let mut pending: Vec<&[u8]> = Vec::new();
        push_names(&mut pending, path);
        let mut symlinks = 0;
        let mut trail = vec![ROOT];
        let mut missing: Vec<Vec<u8>> = Vec::new();
        while let Some(name) = pending.pop() {
            if name == b".." {
                if missing.pop().is_none() && trail.len() > 1 {
                    trail.pop();
                }
                continue;
            }
            let here = trail.last().copied().unwrap_or(ROOT);
            let next = if missing.is_empty() { self.child(here, name) } else { None };
            let Some(next) = next else {
                if !self.entry(here).is_directory() {
                    return Ok(End::Blocked(here));
                }
                missing.push(name.to_vec());
                continue;
            };
            match &self.entry(next).kind {
                EntryKind::Symlink { target } if follow_last || !pending.is_empty() => {
                    symlinks += 1;
                    if target.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    push_names(&mut pending, target);
                    if symlinks > MAX_SYMLINKS || pending.len() > MAX_PENDING {
                        return Err(TreeError::Loop { path: shown(path), limit: MAX_SYMLINKS });
                    }
                }
                _ => trail.push(next),
            }
        }
        let end = trail.last().copied().unwrap_or(ROOT);
        Ok(if missing.is_empty() { End::Found(end) } else { End::Missing(end, missing) })
    }
}

/// Puts the names of `path` on top, the first one uppermost.
fn push_names<'a>(pending: &mut Vec<&'a [u8]>, path: &'a [u8]) {
    let names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let first = pending.len();
    pending.extend(names);
    pending[first..].reverse();
}
