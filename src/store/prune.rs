//! Removing what nobody needs: records by age and size, then whatever no record and no process refers to.
//!
//! All of it happens under the exclusive gate, so nobody can find a thing that is about to go. Big removals
//! stay short because blobs are renamed away under the gate and unlinked after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::caches;
use super::composed::{self, Composition};
use super::indexes::path_digest;
use super::keys::{self, Reference};
use super::leases::{InUse, Item, random_name, remove_if_there};
use super::snapshots::{self, bury};
use super::unsynced::names;
use super::{Inner, StoreError};
use crate::base::Digest;

/// What may go besides what nothing refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// Records, snapshots, caches, indexes and logs not used for longer than this. `None`: none for their age.
    pub unused_for: Option<Duration>,
    /// Records go, the least recently used first, until the blobs take no more than this.
    pub keep_bytes: Option<u64>,
    /// Only says what would go; of snapshots, indexes and logs nothing is said.
    pub is_dry_run: bool,
}

/// What went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub records: usize,
    pub blobs: usize,
    /// The bytes of those blobs.
    pub bytes: u64,
    /// Folders of caches, where they are now: among `dead_paths`, unless this was a dry run.
    pub caches: Vec<PathBuf>,
    /// Folders to be removed by the caller: see [`super::Snapshots::dead_paths`].
    pub dead_paths: Vec<PathBuf>,
}

pub(super) fn prune(store: &Inner, options: &PruneOptions) -> Result<Pruned, StoreError> {
    keys::flush_last_used(store)?;
    let oldest = options
        .unused_for
        .map_or(i64::MIN, |age| store.now().saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX)));
    let (mut pruned, condemned) = store.gate.exclusive(|| {
        let in_use = InUse::collect(&store.path)?;
        let (compositions, useless) = composed::all(store)?;
        let victims = choose(store, &in_use, &compositions, options, oldest)?;
        let pruned = Pruned {
            records: victims.records.len(),
            blobs: victims.blobs.len(),
            bytes: victims.blobs.iter().map(|(_, size)| size).sum(),
            caches: caches::unused(store, oldest, options.is_dry_run)?,
            dead_paths: Vec::new(),
        };
        if options.is_dry_run {
            return Ok((pruned, Vec::new()));
        }
        let mut condemned = abandoned_temporaries(store, &in_use)?;
        snapshots::bury_unused(store, &in_use, oldest)?;
        condemned.extend(old_files(store, &in_use, oldest)?);
        keys::delete(store, &victims.records)?;
        // First, so that none outlives what it is made of.
        useless.iter().try_for_each(|path| remove_if_there(path))?;
        for digest in &victims.composed {
            composed::forget(store, digest)
                .map_err(|source| StoreError::io("remove", &composed::path(&store.path, digest), source))?;
        }
        condemned.extend(set_aside(store, &victims.blobs)?);
        Ok((pruned, condemned))
    })?;
    condemned.iter().try_for_each(|path| remove_if_there(path))?;
    pruned.dead_paths = snapshots::Snapshots::new(store).dead_paths()?;
    Ok(pruned)
}

#[derive(Default)]
struct Victims {
    records: Vec<i64>,
    blobs: Vec<(Digest, u64)>,
    /// Those that are composed of others.
    composed: Vec<Digest>,
}

fn choose(
    store: &Inner,
    in_use: &InUse,
    compositions: &BTreeMap<Digest, Composition>,
    options: &PruneOptions,
    oldest: i64,
) -> Result<Victims, StoreError> {
    let sources =
        |digest: &Digest| compositions.get(digest).into_iter().flat_map(Composition::sources).copied();
    let mut references = keys::references(store)?;
    for reference in &mut references {
        let sources: Vec<Digest> = reference.blobs.iter().flat_map(sources).collect();
        reference.blobs.extend(sources);
    }
    let used = compositions.keys().filter(|digest| in_use.contains(Item::Blob(**digest)));
    let used: BTreeSet<Digest> = used.flat_map(sources).collect();
    let mut counts = keys::counted(&references);
    let mut blobs = sizes(store)?;
    let mut victims = Victims::default();
    let is_needed = |digest: &Digest| in_use.contains(Item::Blob(*digest)) || used.contains(digest);
    for digest in blobs.keys().copied().collect::<Vec<_>>() {
        if !counts.contains_key(&digest) && !is_needed(&digest) {
            victims.blobs.extend(blobs.remove(&digest).map(|size| (digest, size)));
        }
    }
    let mut total: u64 = blobs.values().sum();
    for reference in &references {
        let is_old = reference.last_used < oldest;
        let is_too_much = options.keep_bytes.is_some_and(|limit| total > limit);
        if in_use.contains(Item::Key(reference.key)) || !(is_old || is_too_much) {
            continue;
        }
        victims.records.push(reference.id);
        for digest in released(&mut counts, reference) {
            if let (false, Some(size)) = (is_needed(&digest), blobs.remove(&digest)) {
                total -= size;
                victims.blobs.push((digest, size));
            }
        }
    }
    let unneeded = compositions.keys().filter(|digest| !counts.contains_key(digest) && !is_needed(digest));
    victims.composed = unneeded.copied().collect();
    Ok(victims)
}

/// The blobs only this record still referred to.
fn released(counts: &mut BTreeMap<Digest, usize>, reference: &Reference) -> Vec<Digest> {
    let mut free = Vec::new();
    for digest in &reference.blobs {
        if let Some(count) = counts.get_mut(digest) {
            *count -= 1;
            if *count == 0 {
                counts.remove(digest);
                free.push(*digest);
            }
        }
    }
    free
}

fn sizes(store: &Inner) -> Result<BTreeMap<Digest, u64>, StoreError> {
    let folder = store.path.join("blobs/sha256");
    let mut sizes = BTreeMap::new();
    for name in names(&folder)? {
        let path = folder.join(&name);
        let Ok(digest) = format!("sha256:{name}").parse() else { continue };
        let metadata = fs::metadata(&path).map_err(|source| StoreError::io("look at", &path, source))?;
        sizes.insert(digest, metadata.len());
    }
    Ok(sizes)
}

/// Moves blobs out of sight; the paths are to be removed after the gate is open again.
fn set_aside(store: &Inner, blobs: &[(Digest, u64)]) -> Result<Vec<PathBuf>, StoreError> {
    let name = random_name()?;
    let mut moved = Vec::with_capacity(blobs.len());
    for (digest, _) in blobs {
        let from = store.path.join("blobs/sha256").join(digest.hex());
        let to = store.path.join("tmp").join(format!("{name}.{}", digest.hex()));
        fs::rename(&from, &to).map_err(|source| StoreError::io("remove", &from, source))?;
        store.unsynced.forget(&digest.hex())?;
        moved.push(to);
    }
    Ok(moved)
}

/// Files left by dead processes; their folders are buried at once.
fn abandoned_temporaries(store: &Inner, in_use: &InUse) -> Result<Vec<PathBuf>, StoreError> {
    let folder = store.path.join("tmp");
    let mut files = Vec::new();
    for name in names(&folder)?.into_iter().filter(|name| !in_use.owns_temporary(name)) {
        let path = folder.join(name);
        if path.is_dir() {
            bury(&store.path, &path, &random_name()?)?;
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

fn old_files(store: &Inner, in_use: &InUse, oldest: i64) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    for folder in ["indexes", "logs"] {
        for name in names(&store.path.join(folder))? {
            let path = store.path.join(folder).join(&name);
            if !in_use.contains(Item::Path(path_digest(folder, &name))) && is_older(&path, oldest)? {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// Whether the modification time is before `oldest`, in seconds since the epoch.
pub(super) fn is_older(path: &Path, oldest: i64) -> Result<bool, StoreError> {
    let modified = match fs::symlink_metadata(path).and_then(|metadata| metadata.modified()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found.map_err(|source| StoreError::io("look at", path, source))?,
    };
    let seconds = modified.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    Ok(i64::try_from(seconds).unwrap_or(i64::MAX) < oldest)
}
