//! Build contexts: one stat walk per context and run, ignore rules, content digests.
//!
//! A context is what a walk saw of a directory. Reading a file later makes sure that it still is what was
//! seen, so nothing mixes two states of a file. Dockerfiles are not known here, nor what a build selects.

mod beneath;
mod contexts;
mod derived;
mod digest;
mod entry;
mod error;
mod ignore_file;
mod walk;

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use rayon::prelude::*;

use crate::base::Digest;
use crate::layer::{EntryKind, Origin, Tree};
use crate::store::{Stamp, StampedDigest, StatCache, Store};

use derived::{Answer, Signature};

pub use beneath::read_in_root;
pub use contexts::{Contexts, Ignoring, Wanted};
pub use entry::{CAPABILITY, ContextEntry};
pub use error::ContextError;
pub use ignore_file::IgnoreFile;

/// A directory as one walk saw it.
pub struct Context {
    root: PathBuf,
    directory: File,
    entries: Vec<ContextEntry>,
    /// Made when the first one is asked for.
    digests: OnceLock<Vec<OnceLock<Digest>>>,
    tree: OnceLock<Tree>,
    known: Option<Known>,
}

/// What earlier runs knew of the files, and what this one learnt.
struct Known {
    store: Store,
    /// Names the root in the stat cache: device, inode and path.
    root: Vec<u8>,
    /// Names the text of the ignore rules.
    rules: Digest,
    signature: Signature,
    cache: OnceLock<StatCache>,
    learnt: Mutex<Learnt>,
}

#[derive(Default)]
struct Learnt {
    hashed: Vec<StampedDigest>,
    used: Vec<Stamp>,
    answers: Vec<Answer>,
}

impl Context {
    /// Walks `root`, which may be reached through links, without what `ignore` names. What is learnt is remembered in
    /// the store, if there is one.
    pub fn walk(
        root: &Path,
        ignore: Option<&IgnoreFile>,
        store: Option<Store>,
    ) -> Result<Self, ContextError> {
        let rules = ignore.map(IgnoreFile::parse).transpose()?.unwrap_or_default();
        let failed = |source| ContextError::Root { root: root.to_path_buf(), source };
        let path = fs::canonicalize(root).map_err(failed)?;
        let directory = File::open(&path).map_err(failed)?;
        let metadata = directory.metadata().map_err(failed)?;
        if !metadata.is_dir() {
            return Err(failed(std::io::ErrorKind::NotADirectory.into()));
        }
        let begun = SystemTime::now();
        let entries = walk::walk(&path, directory.as_fd(), &rules)?;
        let numbers = [metadata.dev().to_le_bytes(), metadata.ino().to_le_bytes()].concat();
        let name = [&numbers, path.as_os_str().as_bytes()].concat();
        let known = store.map(|store| Known {
            store,
            root: name,
            rules: Digest::of(ignore.map_or(&[][..], |file| &file.text)),
            signature: Signature::of(&entries, begun),
            cache: OnceLock::new(),
            learnt: Mutex::default(),
        });
        Ok(Self { root: path, directory, entries, digests: OnceLock::new(), tree: OnceLock::new(), known })
    }

    /// The root, free of links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// By path in byte order. An entry's place in this list is its position.
    pub fn entries(&self) -> &[ContextEntry] {
        &self.entries
    }

    /// The position of the entry at a clean path.
    pub fn find(&self, path: &[u8]) -> Option<usize> {
        self.entries.binary_search_by(|entry| entry.path.as_slice().cmp(path)).ok()
    }

    /// Whether there is something at a clean path that the ignore rules keep out.
    pub fn leaves_out(&self, path: &[u8]) -> bool {
        self.find(path).is_none() && beneath::open_beneath(&self.directory, path, beneath::PASSING).is_ok()
    }

    /// The entries as a tree of one layer: the position of a node's origin is the one of the entry. Names of one
    /// file are hard links to the first of them.
    pub fn tree(&self) -> Result<&Tree, ContextError> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree);
        }
        let tree = self.build_tree()?;
        Ok(self.tree.get_or_init(|| tree))
    }

    fn build_tree(&self) -> Result<Tree, ContextError> {
        let mut tree = Tree::new();
        let mut first_names = HashMap::new();
        for (position, entry) in (0..).zip(&self.entries) {
            let mut inserted = entry.to_layer_entry();
            if let Some(file) = entry.hard_link() {
                let first = *first_names.entry(file).or_insert(&entry.path);
                if *first != entry.path {
                    inserted.kind = EntryKind::HardLink { target: first.clone() };
                }
            }
            tree.insert(&inserted, Origin { layer: 0, position })?;
        }
        Ok(tree)
    }

    /// Opens the file at a position, if it still is the file that the walk saw.
    pub fn open(&self, position: usize) -> Result<File, ContextError> {
        digest::open(self, &self.entries[position])
    }

    /// The error that reading the file at a position failed.
    pub fn unreadable(&self, position: usize, error: std::io::Error) -> ContextError {
        ContextError::unreadable(&self.root, &self.entries[position].path, error)
    }

    /// To be asked after the file at a position was read: an error if it changed since the walk.
    pub fn verify(&self, position: usize, file: &File) -> Result<(), ContextError> {
        digest::verify(self, &self.entries[position], file)
    }

    /// The digests of the files at these positions, in their order. Files nobody has read since they last
    /// changed are read, in parallel.
    pub fn digests(&self, positions: &[usize]) -> Result<Vec<Digest>, ContextError> {
        let digests = self.slots();
        let missing = self.look_up(positions)?;
        let hashed: Vec<Option<StampedDigest>> = missing
            .par_iter()
            .map(|position| {
                let hashed = digest::hash(self, &self.entries[*position])?;
                let _ = digests[*position].set(hashed.digest);
                Ok(hashed.settled)
            })
            .collect::<Result<_, ContextError>>()?;
        if let Some(known) = &self.known {
            known.learnt().hashed.extend(hashed.into_iter().flatten());
        }
        let known = positions.iter().filter_map(|position| digests[*position].get().copied());
        Ok(known.collect())
    }

    /// Of every entry, what is known of its digest.
    fn slots(&self) -> &[OnceLock<Digest>] {
        self.digests.get_or_init(|| std::iter::repeat_with(OnceLock::new).take(self.entries.len()).collect())
    }

    /// Fills in what the stat cache knows and returns what nobody knows.
    fn look_up(&self, positions: &[usize]) -> Result<Vec<usize>, ContextError> {
        let digests = self.slots();
        let mut missing: Vec<usize> =
            positions.iter().copied().filter(|position| digests[*position].get().is_none()).collect();
        missing.sort_unstable();
        missing.dedup();
        let (Some(known), false) = (&self.known, missing.is_empty()) else { return Ok(missing) };
        let cache = known.cache()?;
        let mut used = Vec::new();
        missing.retain(|position| {
            let entry = &self.entries[*position];
            let Some(digest) = cache.get(&entry.stamp) else { return true };
            let _ = digests[*position].set(digest);
            used.push(entry.stamp);
            false
        });
        known.learnt().used.append(&mut used);
        Ok(missing)
    }

    fn save(&self) -> Result<(), ContextError> {
        let Some(known) = &self.known else { return Ok(()) };
        let Learnt { hashed, used, answers } = std::mem::take(&mut *known.learnt());
        known.store.stat_caches().save(&known.root, &hashed, &used)?;
        if answers.is_empty() {
            return Ok(());
        }
        known.save_answers(&self.root.to_string_lossy(), &answers)
    }
}

impl Known {
    fn learnt(&self) -> std::sync::MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cache(&self) -> Result<&StatCache, ContextError> {
        if let Some(cache) = self.cache.get() {
            return Ok(cache);
        }
        let loaded = self.store.stat_caches().load(&self.root)?;
        Ok(self.cache.get_or_init(|| loaded))
    }
}

#[cfg(test)]
mod tests;
