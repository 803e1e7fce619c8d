//! Everything in a store that has a path of its own and may go: unpacked trees, caches, fetched folders, indexes,
//! logs. Blobs go by their records instead.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::indexes::path_digest;
use super::kind::Kind;
use super::leases::{InUse, Item};
use super::unsynced::names;
use super::{Inner, StoreError, caches};

/// One thing, as it is found.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
    /// In seconds since the epoch, to the hour.
    pub(super) last_used: i64,
    /// Of a file. Who may look into folders measures them.
    pub(super) bytes: Option<u64>,
    /// How leases name it. A cache has a lock of its own.
    item: Option<Item>,
}

impl Held {
    pub(super) fn is_folder(&self) -> bool {
        !matches!(self.kind, Kind::Indexes | Kind::Logs)
    }

    /// To be asked under the exclusive gate.
    pub(super) fn is_used(&self, in_use: &InUse) -> Result<bool, StoreError> {
        match self.item {
            Some(item) => Ok(in_use.contains(item)),
            None => caches::is_used(&self.path),
        }
    }
}

/// All of them, in no order. What goes away meanwhile is left out.
pub(super) fn all(store: &Inner) -> Result<Vec<Held>, StoreError> {
    let mut found = Vec::new();
    let snapshots = store.path.join("snapshots");
    for folder in names(&snapshots)? {
        let kind = Kind::of_snapshots(&folder);
        let item = |hex: &str| Some(Item::Path(path_digest(&folder, hex)));
        look_at(&snapshots.join(&folder), kind, item, &mut found)?;
    }
    let mounts = store.path.join("caches");
    for hex in names(&mounts)? {
        look_at(&mounts.join(hex), Kind::Mounts, |_| None, &mut found)?;
    }
    for (folder, kind) in [("indexes", Kind::Indexes), ("logs", Kind::Logs)] {
        let item = |name: &str| Some(Item::Path(path_digest(folder, name)));
        look_at(&store.path.join(folder), kind, item, &mut found)?;
    }
    Ok(found)
}

fn look_at(
    folder: &Path,
    kind: Kind,
    item: impl Fn(&str) -> Option<Item>,
    found: &mut Vec<Held>,
) -> Result<(), StoreError> {
    for name in names(folder)? {
        let path = folder.join(&name);
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata.map_err(|source| StoreError::io("look at", &path, source))?,
        };
        let last_used = metadata.modified().map_or(0, seconds);
        let bytes = match metadata.is_dir() {
            true => noted_bytes(&path),
            false => Some(metadata.len()),
        };
        found.push(Held { kind, path, last_used, bytes, item: item(&name) });
    }
    Ok(())
}

fn seconds(time: SystemTime) -> i64 {
    let passed = time.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    i64::try_from(passed).unwrap_or(i64::MAX)
}

/// Notes that something was used at this time. Not being able to only makes it look different to prune than it is.
pub(super) fn note_used_at(path: &Path, time: i64) {
    let time = UNIX_EPOCH + Duration::from_secs(u64::try_from(time).unwrap_or(0));
    let _ = File::open(path).and_then(|file| file.set_modified(time));
}

/// The file beside a tree that says how many bytes are in it.
const BYTES: &str = "bytes";

fn noted_bytes(folder: &Path) -> Option<u64> {
    fs::read_to_string(folder.join(BYTES)).ok()?.trim().parse().ok()
}

/// Writes down how many bytes an unpacked tree has, which it has for good. It counts as used when it did before.
pub(super) fn note_bytes(folder: &Path, bytes: u64) {
    let note = || {
        let modified = fs::metadata(folder)?.modified()?;
        fs::write(folder.join(BYTES), bytes.to_string())?;
        File::open(folder)?.set_modified(modified)
    };
    // Without the note the tree is measured again.
    let _ = note();
}
