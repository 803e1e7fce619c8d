//! Where ADD puts what is in an archive.
//!
//! As moby's archive package does after its `chroot` to the destination: links lead no further than that, a
//! member takes the place of whatever stands there unless both are directories, missing parents become
//! root's with mode 0755, and what a hard link's own header says is true of the file. `--chown` is for all
//! members, `--chmod` and `--exclude` are for none.

use std::collections::BTreeMap;

use super::placement::{Content, Made, OneFile, PlaceError, Placed, Placer, display, join};
use super::reach::{clean, copied};
use super::surface::{Links, Standing};
use crate::layer::{Entry, EntryKind, NodeRef};

/// The members of the files that are archives, in their order.
pub type Archives = BTreeMap<NodeRef, Vec<Entry>>;

/// The parent of the last member: archives list what is in a directory together.
#[derive(Default)]
struct Parent {
    written: Option<Vec<u8>>,
    resolved: Vec<u8>,
}

impl Placer<'_> {
    pub(super) fn unpack(
        &mut self,
        destination: &str,
        archive: NodeRef,
        members: &[Entry],
    ) -> Result<(), PlaceError> {
        let root = self.surface.resolve(b"", &clean(destination).join(&b'/'), Links::Anywhere)?;
        self.make_directories(&root, Made { mode: Made::PLAIN.mode, ..self.made })?;
        let mut parent = Parent::default();
        for (position, member) in (0..).zip(members) {
            self.place_member(&root, archive, position, member, &mut parent)?;
        }
        Ok(())
    }

    fn place_member(
        &mut self,
        root: &[u8],
        archive: NodeRef,
        position: u32,
        member: &Entry,
        parent: &mut Parent,
    ) -> Result<(), PlaceError> {
        let (directory, name) = split(&member.path);
        if parent.written.as_deref() != Some(directory) {
            parent.resolved = self.surface.resolve(root, directory, Links::ToSomething)?;
            self.make_directories(&parent.resolved, Made::PLAIN)?;
            parent.written = Some(directory.to_vec());
        }
        let path = join(&parent.resolved, name);
        let (placed, file) = match &member.kind {
            EntryKind::HardLink { target } => self.linked(root, &path, target, position)?,
            _ => (self.member(archive, position, member, &path), None),
        };
        let stands = self.surface.at(&path);
        let is_replaced = stands.is_some() && !(stands == Some(Standing::Directory) && member.is_directory());
        if is_replaced {
            for gone in self.surface.remove(&path) {
                self.names.remove(&gone);
            }
        }
        if is_replaced || matches!(member.kind, EntryKind::Symlink { .. }) {
            parent.written = None;
        }
        self.put(placed)?;
        if let Some(file) = file {
            self.names.insert(path, file);
            self.said.insert(file, self.owned(copied(member)));
        }
        Ok(())
    }

    fn member(&self, archive: NodeRef, position: u32, member: &Entry, path: &[u8]) -> Placed {
        let mut entry = self.owned(copied(member));
        entry.path = path.to_vec();
        if matches!(entry.kind, EntryKind::Symlink { .. }) {
            // Links have no mode of their own; this is what every file system shows.
            entry.mode = 0o777;
        }
        let content = match entry.kind {
            EntryKind::File { size } if size > 0 => Content::Member { archive, position },
            _ => Content::None,
        };
        Placed { entry, content }
    }

    fn owned(&self, mut entry: Entry) -> Entry {
        if let Some(owner) = self.settings.owner {
            (entry.uid, entry.gid) = (owner.uid, owner.gid);
        }
        entry
    }

    /// Another name of what was placed before.
    fn linked(
        &mut self,
        root: &[u8],
        path: &[u8],
        target: &[u8],
        position: u32,
    ) -> Result<(Placed, Option<OneFile>), PlaceError> {
        let (directory, name) = split(target);
        let target = join(&self.surface.resolve(root, directory, Links::ToSomething)?, name);
        let found = self.surface.placed(&target).filter(|placed| !placed.entry.is_directory());
        let mut placed = found
            .cloned()
            .ok_or_else(|| PlaceError::NoLinkTarget { path: display(path), target: display(&target) })?;
        placed.entry.path = path.to_vec();
        let file = OneFile::Member { item: self.item, position };
        let file = *self.names.entry(target).or_insert(file);
        Ok((placed, Some(file)))
    }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}
