//! The disk with some files as they are to be: texts in memory stand in for what is there.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::{Disk, Entry, Files};

/// Texts by path, links and dots resolved.
#[derive(Clone, Debug, Default)]
pub struct Overlay(BTreeMap<PathBuf, String>);

impl Overlay {
    pub fn insert(&mut self, path: PathBuf, text: String) {
        self.0.insert(path, text);
    }

    /// What stands in for the file at `path`.
    pub fn get(&self, path: &Path) -> Option<&str> {
        match self.0.is_empty() {
            true => None,
            false => self.0.get(&path.canonicalize().ok()?).map(String::as_str),
        }
    }

    /// The text at a resolved path, from here or from disk.
    pub fn text(&self, path: &Path) -> Option<String> {
        self.0.get(path).cloned().or_else(|| std::fs::read_to_string(path).ok())
    }
}

impl Files for Overlay {
    fn read(&self, path: &Path) -> io::Result<String> {
        match self.get(path) {
            Some(text) => Ok(text.to_string()),
            None => Disk.read(path),
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        Disk.list(directory)
    }
}
