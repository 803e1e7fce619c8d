//! The disk, with a note of every build file that was asked for and of every directory that was listed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::config::{Disk, Entry, Files};

/// What was asked of the disk, whether it was there or not.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Asked>);

#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub files: BTreeSet<PathBuf>,
    pub directories: BTreeSet<PathBuf>,
}

impl Recorder {
    pub fn asked(self) -> Asked {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, note: impl FnOnce(&mut Asked)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Files for Recorder {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.note(|asked| asked.files.extend([path.to_path_buf()]));
        Disk.read(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        self.note(|asked| asked.directories.extend([directory.to_path_buf()]));
        Disk.list(directory)
    }
}
