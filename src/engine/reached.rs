//! What a COPY reaches in a build context, as a list of paths: for telling which of them changed. Made only where
//! somebody wants to know; keys use [`super::selection`].
//!
//! Packed, in order of paths: the length of the path as u16, the path, one byte for the kind, the mode as u16, and
//! eight bytes of a digest of the content; all numbers little-endian. The whole is compressed with zstd.

use std::collections::BTreeMap;
use std::io::{self, Read as _};

use super::selection::{content_digests, position};
use crate::base::Hasher;
use crate::base::explanation::{Change, Part, Reason};
use crate::context::Context;
use crate::layer::EntryKind;
use crate::steps::{CopyOp, select};

/// Paths in the context and how they looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    entries: BTreeMap<Vec<u8>, Seen>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    kind: u8,
    mode: u16,
    content: [u8; 8],
}

/// Larger lists are of somebody else's making.
const LARGEST: u64 = 1 << 30;

impl Reached {
    /// Nothing where the selection fails; whoever builds says why.
    pub fn new(copy: &CopyOp, context: &Context) -> Option<Self> {
        let tree = context.tree().ok()?;
        let selection = select(copy, tree).ok()?;
        let digests = content_digests(context, tree, &selection).ok()?;
        let mut entries = BTreeMap::new();
        for node in selection.nodes() {
            let entry = tree.entry(node);
            let mut hasher = Hasher::new();
            let kind = match &entry.kind {
                EntryKind::File { .. } => b'f',
                EntryKind::Directory => b'd',
                EntryKind::Symlink { target } => {
                    hasher.update(target);
                    b'l'
                }
                other => {
                    hasher.update(format!("{other:?}").as_bytes());
                    b'o'
                }
            };
            if let Some(digest) = position(tree, node).and_then(|position| digests.get(&position)) {
                hasher.update(digest.as_bytes());
            }
            if let Some(capability) = entry.xattrs.get(&b"security.capability"[..]) {
                hasher.update(capability);
            }
            let mut content = [0; 8];
            content.copy_from_slice(&hasher.finish().as_bytes()[..8]);
            let mode = u16::try_from(entry.mode & 0o7777).expect("twelve bits fit");
            entries.insert(tree.path(node).to_vec(), Seen { kind, mode, content });
        }
        Some(Self { entries })
    }

    pub fn pack(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for (path, seen) in &self.entries {
            // Longer paths are in no image.
            let Ok(length) = u16::try_from(path.len()) else { continue };
            bytes.extend(length.to_le_bytes());
            bytes.extend(path);
            bytes.push(seen.kind);
            bytes.extend(seen.mode.to_le_bytes());
            bytes.extend(seen.content);
        }
        zstd::bulk::compress(&bytes, 1)
    }

    /// `None` for bytes that are no list.
    pub fn unpack(packed: &[u8]) -> Option<Self> {
        let mut bytes = Vec::new();
        zstd::stream::Decoder::new(packed).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
        let mut entries = BTreeMap::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (path, after) = after.split_at_checked(u16::from_le_bytes(*length).into())?;
            let (kind, after) = after.split_first()?;
            let (mode, after) = after.split_first_chunk::<2>()?;
            let (content, after) = after.split_first_chunk::<8>()?;
            let seen = Seen { kind: *kind, mode: u16::from_le_bytes(*mode), content: *content };
            entries.insert(path.to_vec(), seen);
            rest = after;
        }
        Some(Self { entries })
    }

    /// What is another than in `old`, in order of paths; `shown` says how a path is told to people. A folder that came
    /// or went is told by what is in it.
    pub fn changes_since(&self, old: &Self, shown: impl Fn(&[u8]) -> String) -> Vec<Reason> {
        let mut changed: Vec<(&[u8], Option<Seen>, Option<Seen>)> = Vec::new();
        for (path, now) in &self.entries {
            let before = old.entries.get(path).copied();
            if before != Some(*now) {
                changed.push((path, before, Some(*now)));
            }
        }
        let gone = old.entries.iter().filter(|(path, _)| !self.entries.contains_key(*path));
        changed.extend(gone.map(|(path, before)| (path.as_slice(), Some(*before), None)));
        changed.sort_by_key(|(path, ..)| *path);
        let reasons = changed.iter().enumerate().filter_map(|(place, (path, before, now))| {
            let has_told_content = changed.get(place + 1).is_some_and(|(next, ..)| is_below(next, path));
            let change = match (before, now) {
                (None, Some(now)) if now.kind == b'd' && has_told_content => return None,
                (Some(before), None) if before.kind == b'd' && has_told_content => return None,
                (None, _) => Change::Added,
                (_, None) => Change::Removed,
                (Some(before), Some(now)) => difference(*before, *now),
            };
            Some(Reason::new(Part::File, shown(path), change))
        });
        reasons.collect()
    }
}

fn is_below(path: &[u8], folder: &[u8]) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(b"/"))
}

fn difference(before: Seen, now: Seen) -> Change {
    let kind = |kind: u8| match kind {
        b'f' => "file",
        b'd' => "folder",
        b'l' => "link",
        _ => "special file",
    };
    let values = if before.kind != now.kind {
        Some((kind(before.kind).to_string(), kind(now.kind).to_string()))
    } else if before.content == now.content {
        Some((format!("mode {:o}", before.mode), format!("mode {:o}", now.mode)))
    } else {
        None
    };
    Change::Changed(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(entries: &[(&str, u8, u16, u8)]) -> Reached {
        let entries = entries.iter().map(|(path, kind, mode, content)| {
            (path.as_bytes().to_vec(), Seen { kind: *kind, mode: *mode, content: [*content; 8] })
        });
        Reached { entries: entries.collect() }
    }

    #[test]
    fn lists_come_back_and_others_do_not() {
        let list = reached(&[("", b'd', 0o755, 0), ("a/b", b'f', 0o644, 1), ("c", b'l', 0o777, 2)]);
        let packed = list.pack().unwrap();
        assert_eq!(Reached::unpack(&packed), Some(list));
        assert_eq!(Reached::unpack(&packed[1..]), None);
        assert_eq!(Reached::unpack(b""), None);
        assert_eq!(Reached::unpack(&zstd::bulk::compress(b"\x09\x00short", 1).unwrap()), None);
    }

    #[test]
    fn changes_are_named_by_path() {
        let old = reached(&[
            ("a", b'f', 0o644, 1),
            ("b", b'f', 0o644, 1),
            ("c", b'f', 0o644, 1),
            ("d", b'd', 0o755, 0),
            ("d/x", b'f', 0o644, 1),
            ("e", b'd', 0o755, 0),
        ]);
        let new = reached(&[
            ("a", b'f', 0o644, 2),
            ("b", b'f', 0o755, 1),
            ("c", b'l', 0o777, 3),
            ("f", b'd', 0o755, 0),
            ("f/y", b'f', 0o644, 1),
        ]);
        let told: Vec<String> = new
            .changes_since(&old, |path| String::from_utf8_lossy(path).into_owned())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "a changed",
                "b changed (mode 644 → mode 755)",
                "c changed (file → link)",
                "d/x removed",
                "e removed",
                "f/y added"
            ]
        );
        assert!(new.changes_since(&new, |_| String::new()).is_empty());
    }
}
