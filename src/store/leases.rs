//! What a running process uses, where prune can read it.
//!
//! A lease is a file that its process keeps locked and appends to: 33 bytes for every thing in use, a letter
//! and a digest. When the process dies the lock goes, and the lease means nothing any more. Leases are
//! created and read under the store's gate, so nobody takes one that is just being born for a dead one.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::StoreError;
use super::lock::{locked, try_lock};
use crate::base::Digest;

/// One thing a process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Item {
    Blob(Digest),
    Key(Digest),
    /// A snapshot or a layer index, by the digest of its path in the store.
    Path(Digest),
}

impl Item {
    fn encode(self) -> [u8; ITEM_LENGTH] {
        let (letter, digest) = match self {
            Self::Blob(digest) => (b'b', digest),
            Self::Key(digest) => (b'k', digest),
            Self::Path(digest) => (b'p', digest),
        };
        let mut bytes = [letter; ITEM_LENGTH];
        bytes[1..].copy_from_slice(digest.as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (letter, digest) = bytes.split_first()?;
        let digest = Digest::from_bytes(digest.try_into().ok()?);
        match letter {
            b'b' => Some(Self::Blob(digest)),
            b'k' => Some(Self::Key(digest)),
            b'p' => Some(Self::Path(digest)),
            _ => None,
        }
    }
}

const ITEM_LENGTH: usize = 33;

/// This process's lease. It comes to life with the first thing to protect.
pub(super) struct Lease {
    path: PathBuf,
    name: String,
    counter: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    file: Option<File>,
    protected: HashSet<Item>,
}

impl Lease {
    pub(super) fn new(store: &Path) -> Result<Self, StoreError> {
        let name = random_name()?;
        let path = store.join("leases").join(&name);
        Ok(Self { path, name, counter: AtomicU64::new(0), state: Mutex::default() })
    }

    pub(super) fn is_held(&self) -> bool {
        locked(&self.state).file.is_some()
    }

    pub(super) fn covers(&self, items: &[Item]) -> bool {
        let state = locked(&self.state);
        state.file.is_some() && items.iter().all(|item| state.protected.contains(item))
    }

    /// To be called under the gate.
    pub(super) fn protect(&self, items: &[Item]) -> Result<(), StoreError> {
        let mut state = locked(&self.state);
        let new: Vec<Item> = items.iter().copied().filter(|item| !state.protected.contains(item)).collect();
        let failed = |source: io::Error| StoreError::io("write the lease", &self.path, source);
        if state.file.is_none() {
            state.file = Some(create(&self.path).map_err(failed)?);
        }
        if let (Some(file), false) = (&mut state.file, new.is_empty()) {
            let bytes: Vec<u8> = new.iter().flat_map(|item| item.encode()).collect();
            file.write_all(&bytes).map_err(failed)?;
        }
        state.protected.extend(new);
        Ok(())
    }

    pub(super) fn temporary_name(&self) -> String {
        format!("{}.{}", self.name, self.counter.fetch_add(1, Ordering::Relaxed))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_held() {
            // A lease that stays is unlocked, and the next prune removes it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create_new(true).open(path)?;
    match try_lock(&file)? {
        true => Ok(file),
        false => Err(io::Error::other("somebody else locked a file with a random name")),
    }
}

/// What the processes that are alive use, and who they are.
#[derive(Default)]
pub(super) struct InUse {
    items: HashSet<Item>,
    processes: HashSet<String>,
}

impl InUse {
    /// Reads the live leases and removes the dead ones. To be called under the exclusive gate.
    pub(super) fn collect(store: &Path) -> Result<Self, StoreError> {
        let folder = store.join("leases");
        let failed = |source: io::Error| StoreError::io("read the leases", &folder, source);
        let mut in_use = Self::default();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let file = match File::open(entry.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(failed)?,
            };
            if try_lock(&file).map_err(|errno| failed(errno.into()))? {
                remove_if_there(&entry.path())?;
                continue;
            }
            let bytes = fs::read(entry.path()).or_else(none_if_missing).map_err(failed)?;
            in_use.items.extend(bytes.chunks_exact(ITEM_LENGTH).filter_map(Item::decode));
            in_use.processes.extend(entry.file_name().into_string());
        }
        Ok(in_use)
    }

    pub(super) fn contains(&self, item: Item) -> bool {
        self.items.contains(&item)
    }

    /// Whether the file of that name in `tmp/` has a living owner.
    pub(super) fn owns_temporary(&self, name: &str) -> bool {
        name.split_once('.').is_some_and(|(process, _)| self.processes.contains(process))
    }
}

fn none_if_missing(error: io::Error) -> io::Result<Vec<u8>> {
    if error.kind() == io::ErrorKind::NotFound { Ok(Vec::new()) } else { Err(error) }
}

pub(super) fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, error)),
        _ => Ok(()),
    }
}

pub(super) fn random_name() -> Result<String, StoreError> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Random(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
