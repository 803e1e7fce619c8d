//! What a COPY would write although it stands there already, in every respect. BuildKit's layers leave it out:
//! after `COPY package.json .` a `COPY . .` brings everything else.

use std::collections::HashSet;

use super::placement::{Content, Placed, Placement};
use super::reach::copied;
use crate::layer::{Entry, EntryKind, NodeRef, Tree};

impl Placement {
    /// Leaves out what `base` has as it is, and the directories with nothing else in them. Whether a file of
    /// the base has the bytes of a content is for `has_bytes` to say.
    pub fn without_repeated(mut self, base: &Tree, has_bytes: impl Fn(NodeRef, &Content) -> bool) -> Self {
        let kept = self.kept_whole();
        let mut wanted: HashSet<Vec<u8>> = HashSet::new();
        let mut is_left_out = |placed: &Placed| {
            let path = &placed.entry.path;
            let is_hidden = || parents(path).any(|parent| kept.contains(parent));
            let is_repeated = !wanted.contains(path)
                && !kept.contains(path)
                && !is_hidden()
                && base.get(path).is_some_and(|node| {
                    is_described_by(base.entry(node), &placed.entry)
                        && (placed.content == Content::None || has_bytes(node, &placed.content))
                });
            if !is_repeated {
                let parent = parents(path).next().filter(|parent| !wanted.contains(*parent));
                wanted.extend(parent.map(<[u8]>::to_vec));
            }
            is_repeated
        };
        let left_out: Vec<bool> = self.entries.iter().rev().map(&mut is_left_out).collect();
        let mut left_out = left_out.into_iter().rev();
        self.entries.retain(|_| !left_out.next().expect("there is one for each entry"));
        self
    }

    /// The paths of directories that hide the base's, and of files that others are linked to.
    fn kept_whole(&self) -> HashSet<Vec<u8>> {
        let kept = self.entries.iter().filter_map(|placed| match &placed.entry.kind {
            EntryKind::Opaque => Some(placed.entry.path.clone()),
            EntryKind::HardLink { target } => Some(target.clone()),
            _ => None,
        });
        kept.collect()
    }
}

/// The directories that a path is in, innermost first, without the root.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let above = |path: &&[u8]| path.iter().rposition(|byte| *byte == b'/');
    std::iter::successors(Some(path), move |path| Some(&path[..above(path)?])).skip(1)
}

/// Whether `below` is what `entry` says. The time of a directory is not its own: it is of what happened in it.
fn is_described_by(below: &Entry, entry: &Entry) -> bool {
    let has_own_time = !entry.is_directory();
    (&below.kind, below.mode, below.uid, below.gid) == (&entry.kind, entry.mode, entry.uid, entry.gid)
        && copied(below).xattrs == entry.xattrs
        && (!has_own_time || below.mtime == entry.mtime)
}
