//! Where unpacked file trees are. What fills them and what removes them is the caller's: the files in them may
//! belong to ids only a user namespace can name.
//!
//! A snapshot is a folder of the store's owner, `snapshots/<kind>/<hex>`, with the tree in `fs` inside, so it
//! can be renamed whoever owns the tree. It is made in `tmp/` and committed by the rename. Snapshots that were
//! not synced in the boot that made them are dead in the next.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::indexes::{note_use, path_digest};
use super::leases::{Item, random_name};
use super::unsynced::names;
use super::{Inner, StoreError};
use crate::base::Digest;

/// The name of a snapshot: what sort of tree it is, and the key of what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotKey {
    kind: &'static str,
    key: Digest,
}

impl SnapshotKey {
    /// `kind` becomes a folder name: lower-case letters and hyphens.
    pub const fn new(kind: &'static str, key: Digest) -> Self {
        let bytes = kind.as_bytes();
        assert!(!bytes.is_empty(), "a snapshot's kind has a name");
        let mut position = 0;
        while position < bytes.len() {
            assert!(matches!(bytes[position], b'a'..=b'z' | b'-'), "a snapshot's kind is a plain name");
            position += 1;
        }
        Self { kind, key }
    }

    fn item(&self) -> Item {
        Item::Path(path_digest(self.kind, &self.key.hex()))
    }
}

#[derive(Clone, Copy)]
pub struct Snapshots<'a> {
    store: &'a Inner,
}

impl<'a> Snapshots<'a> {
    pub(super) fn new(store: &'a Inner) -> Self {
        Self { store }
    }

    /// The tree, when it was committed. It stays for as long as this process lives.
    pub fn get(&self, key: &SnapshotKey) -> Result<Option<PathBuf>, StoreError> {
        self.store.protect(&[key.item()])?;
        let folder = self.folder(key);
        let tree = folder.join("fs");
        if !tree.is_dir() {
            return Ok(None);
        }
        note_use(&folder, self.store);
        Ok(Some(tree))
    }

    /// An empty folder to make the snapshot in.
    pub fn begin(&self, key: &SnapshotKey) -> Result<PendingSnapshot<'a>, StoreError> {
        self.store.protect(&[key.item()])?;
        let folder = self.store.temporary()?;
        let created = DirBuilder::new().mode(0o700).create(&folder);
        created
            .and_then(|()| DirBuilder::new().mode(0o755).create(folder.join("fs")))
            .map_err(|source| StoreError::io("create", &folder, source))?;
        Ok(PendingSnapshot { store: self.store, key: *key, folder, is_done: false })
    }

    /// An empty folder for a tree that nobody keeps.
    pub fn scratch(&self) -> Result<Scratch, StoreError> {
        let folder = self.store.temporary()?;
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|source| StoreError::io("create", &folder, source))?;
        Ok(Scratch { store: self.store.path.clone(), folder })
    }

    /// Makes a tree that turned out to be damaged a dead path. The caller sees to it that nobody uses it.
    pub fn discard(&self, key: &SnapshotKey) -> Result<(), StoreError> {
        bury(&self.store.path, &self.folder(key), &random_name()?)
    }

    /// Folders nothing refers to any more, for the caller to remove with whatever rights that takes.
    pub fn dead_paths(&self) -> Result<Vec<PathBuf>, StoreError> {
        let folder = self.store.path.join("dead");
        Ok(names(&folder)?.into_iter().map(|name| folder.join(name)).collect())
    }

    fn folder(&self, key: &SnapshotKey) -> PathBuf {
        self.store.path.join("snapshots").join(key.kind).join(key.key.hex())
    }
}

/// A snapshot being made. Dropping it without [`PendingSnapshot::commit`] makes it a dead path.
pub struct PendingSnapshot<'a> {
    store: &'a Inner,
    key: SnapshotKey,
    folder: PathBuf,
    is_done: bool,
}

impl PendingSnapshot<'_> {
    /// The root of the tree: an empty directory of mode 0755 (as far as the umask allows).
    pub fn path(&self) -> PathBuf {
        self.folder.join("fs")
    }

    /// The folder around the tree, on the same file system. What else is made in it, such as an overlay's
    /// work directory, stays with the snapshot.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the tree visible to everybody and returns where it is now. When somebody else made the same in
    /// the meantime, theirs is used and this one is dead.
    pub fn commit(self) -> Result<PathBuf, StoreError> {
        let key = self.key;
        self.commit_as(&key)
    }

    /// As [`PendingSnapshot::commit`], under a key that was not known when the tree was begun.
    pub fn commit_as(mut self, key: &SnapshotKey) -> Result<PathBuf, StoreError> {
        self.key = *key;
        let target = Snapshots::new(self.store).folder(&self.key);
        let failed = |source: io::Error| StoreError::io("commit", &target, source);
        if let Some(parent) = target.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
        }
        self.store.unsynced.mark(&format!("{}.{}", self.key.kind, self.key.key.hex()))?;
        match fs::rename(&self.folder, &target) {
            Ok(()) => self.is_done = true,
            Err(_) if target.join("fs").is_dir() => {}
            Err(error) => return Err(failed(error)),
        }
        Ok(target.join("fs"))
    }

    /// Gives the tree up.
    pub fn abandon(mut self) -> Result<(), StoreError> {
        self.is_done = true;
        bury(&self.store.path, &self.folder, &random_name()?)
    }
}

impl Drop for PendingSnapshot<'_> {
    fn drop(&mut self) {
        if let (false, Ok(name)) = (self.is_done, random_name()) {
            // What stays in `tmp/` is found by prune when this process is gone.
            let _ = bury(&self.store.path, &self.folder, &name);
        }
    }
}

/// A folder for a tree that nobody keeps: it becomes a dead path in the end.
pub struct Scratch {
    store: PathBuf,
    folder: PathBuf,
}

impl Scratch {
    pub fn path(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Ok(name) = random_name() {
            // As with a pending snapshot.
            let _ = bury(&self.store, &self.folder, &name);
        }
    }
}

/// Moves a folder to where dead ones wait for removal.
pub(super) fn bury(store: &Path, folder: &Path, name: &str) -> Result<(), StoreError> {
    match fs::rename(folder, store.join("dead").join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::io("set aside", folder, error))
        }
        _ => Ok(()),
    }
}
