//! Removing what nobody needs: by age, by kind, and down to a size, then whatever no record and no process refers to.
//!
//! All of it happens under the exclusive gate, so nobody can find a thing that is about to go. Big removals
//! stay short because blobs are renamed away under the gate and unlinked after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::composed::{self, Composition};
use super::held::{self, Held};
use super::keys::{self, Reference};
use super::kind::Kind;
use super::leases::{InUse, Item, random_name, remove_if_there};
use super::snapshots::{self, bury};
use super::unsynced::names;
use super::{Inner, StoreError};
use crate::base::Digest;

/// What may go besides what nothing refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// What was not used for longer than this; with zero, everything. `None`: nothing for its age.
    pub unused_for: Option<Duration>,
    /// Things go, the least recently used first, until what is left has no more bytes than this.
    pub keep_bytes: Option<u64>,
    /// Only of these; of all when there are none.
    pub kinds: BTreeSet<Kind>,
    /// The bytes of folders, for `keep_bytes`; those of others count for nothing.
    pub folder_bytes: BTreeMap<PathBuf, u64>,
    /// Only says what would go.
    pub is_dry_run: bool,
}

impl PruneOptions {
    fn takes(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }
}

/// What went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub records: usize,
    pub kinds: BTreeMap<Kind, Gone>,
    /// Folders to be removed by the caller: see [`super::Snapshots::dead_paths`].
    pub dead_paths: Vec<PathBuf>,
}

/// What went of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    pub count: usize,
    /// Without those of `folders`.
    pub bytes: u64,
    /// Folders of which nobody said how much is in them, where they are now: among the dead paths, unless this was
    /// a dry run.
    pub folders: Vec<PathBuf>,
}

impl Pruned {
    pub fn of(&self, kind: Kind) -> Gone {
        self.kinds.get(&kind).cloned().unwrap_or_default()
    }

    fn note(&mut self, kind: Kind, bytes: u64) -> &mut Gone {
        let gone = self.kinds.entry(kind).or_default();
        gone.count += 1;
        gone.bytes += bytes;
        gone
    }
}

pub(super) fn prune(store: &Inner, options: &PruneOptions) -> Result<Pruned, StoreError> {
    keys::flush_last_used(store)?;
    let now = store.now();
    let oldest = match options.unused_for {
        None => i64::MIN,
        Some(Duration::ZERO) => i64::MAX,
        Some(age) => now.saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX)),
    };
    let (mut pruned, condemned) = store.gate.exclusive(|| {
        let in_use = InUse::collect(&store.path)?;
        if !options.is_dry_run {
            keys::end_future(store, now)?;
        }
        let (compositions, useless) = composed::all(store)?;
        let victims = choose(store, &in_use, &compositions, options, (oldest, now))?;
        let mut pruned = Pruned { records: victims.records.len(), ..Pruned::default() };
        for (_, size, kind) in &victims.blobs {
            pruned.note(*kind, *size);
        }
        let mut condemned = abandoned(store, &in_use, options.is_dry_run, &mut pruned)?;
        condemned.extend(damaged_databases(store, oldest, &mut pruned)?);
        for held in victims.held {
            take_away(store, held, options, &mut pruned, &mut condemned)?;
        }
        if options.is_dry_run {
            return Ok((pruned, Vec::new()));
        }
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

/// Buries a folder, condemns a file, and counts it.
fn take_away(
    store: &Inner,
    held: Held,
    options: &PruneOptions,
    pruned: &mut Pruned,
    condemned: &mut Vec<PathBuf>,
) -> Result<(), StoreError> {
    let known = held.bytes.or_else(|| options.folder_bytes.get(&held.path).copied());
    let (is_folder, kind) = (held.is_folder(), held.kind);
    let gone = pruned.note(kind, known.unwrap_or(0));
    let place = match (is_folder, options.is_dry_run) {
        (false, true) => return Ok(()),
        (false, false) => {
            condemned.push(held.path);
            return Ok(());
        }
        (true, true) => held.path,
        (true, false) => {
            let name = random_name()?;
            bury(&store.path, &held.path, &name)?;
            if let (Kind::Mounts, Some(cache)) = (kind, held.path.parent()) {
                // Goes if it is empty now.
                let _ = fs::remove_dir(cache);
            }
            store.path.join("dead").join(name)
        }
    };
    if known.is_none() {
        gone.folders.push(place);
    }
    Ok(())
}

#[derive(Default)]
struct Victims {
    records: Vec<i64>,
    blobs: Vec<(Digest, u64, Kind)>,
    /// Those that are composed of others.
    composed: Vec<Digest>,
    held: Vec<Held>,
}

/// What is about to be looked at, the least recently used first.
enum Candidate {
    Record(usize),
    Held(Held),
}

fn choose(
    store: &Inner,
    in_use: &InUse,
    compositions: &BTreeMap<Digest, Composition>,
    options: &PruneOptions,
    (oldest, now): (i64, i64),
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
    if options.takes(Kind::Images) {
        for digest in blobs.keys().copied().collect::<Vec<_>>() {
            if !counts.contains_key(&digest) && !is_needed(&digest) {
                victims.blobs.extend(blobs.remove(&digest).map(|size| (digest, size, Kind::Images)));
            }
        }
    }
    let held = held_by(store, now, options.is_dry_run)?;
    let bytes_of =
        |held: &Held| held.bytes.or_else(|| options.folder_bytes.get(&held.path).copied()).unwrap_or(0);
    let mut total = blobs.values().sum::<u64>() + held.iter().map(bytes_of).sum::<u64>();
    for candidate in by_age(&references, held) {
        let (kind, last_used) = match &candidate {
            Candidate::Record(at) => (references[*at].kind(), references[*at].last_used),
            Candidate::Held(held) => (held.kind, held.last_used),
        };
        let is_too_much = options.keep_bytes.is_some_and(|limit| total > limit);
        if !options.takes(kind) || !(last_used < oldest || is_too_much) {
            continue;
        }
        match candidate {
            Candidate::Record(at) => {
                let reference = &references[at];
                if in_use.contains(Item::Key(reference.key)) {
                    continue;
                }
                victims.records.push(reference.id);
                for digest in released(&mut counts, reference) {
                    if let (false, Some(size)) = (is_needed(&digest), blobs.remove(&digest)) {
                        total -= size;
                        victims.blobs.push((digest, size, kind));
                    }
                }
            }
            Candidate::Held(held) if !held.is_used(in_use)? => {
                total = total.saturating_sub(bytes_of(&held));
                victims.held.push(held);
            }
            Candidate::Held(_) => {}
        }
    }
    let unneeded = compositions.keys().filter(|digest| !counts.contains_key(digest) && !is_needed(digest));
    victims.composed = unneeded.copied().collect();
    Ok(victims)
}

/// Everything with a path. What was used after `now` was used by a clock that was wrong, and counts as used now.
fn held_by(store: &Inner, now: i64, is_dry_run: bool) -> Result<Vec<Held>, StoreError> {
    let mut found = held::all(store)?;
    for held in found.iter_mut().filter(|held| held.last_used > now) {
        if !is_dry_run {
            held::note_used_at(&held.path, now);
        }
        held.last_used = now;
    }
    Ok(found)
}

fn by_age(references: &[Reference], held: Vec<Held>) -> Vec<Candidate> {
    let records = references.iter().enumerate();
    let mut candidates: Vec<(i64, Candidate)> =
        records.map(|(at, reference)| (reference.last_used, Candidate::Record(at))).collect();
    candidates.extend(held.into_iter().map(|held| (held.last_used, Candidate::Held(held))));
    candidates.sort_by_key(|(last_used, _)| *last_used);
    candidates.into_iter().map(|(_, candidate)| candidate).collect()
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

pub(super) fn sizes(store: &Inner) -> Result<BTreeMap<Digest, u64>, StoreError> {
    let folder = store.path.join("blobs/sha256");
    let mut sizes = BTreeMap::new();
    for name in names(&folder)? {
        let path = folder.join(&name);
        let Ok(digest) = format!("sha256:{name}").parse() else { continue };
        match fs::metadata(&path) {
            // Of late by somebody who heals, or by hand.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            metadata => {
                let metadata = metadata.map_err(|source| StoreError::io("look at", &path, source))?;
                sizes.insert(digest, metadata.len());
            }
        }
    }
    Ok(sizes)
}

/// Moves blobs out of sight; the paths are to be removed after the gate is open again.
fn set_aside(store: &Inner, blobs: &[(Digest, u64, Kind)]) -> Result<Vec<PathBuf>, StoreError> {
    let name = random_name()?;
    let mut moved = Vec::with_capacity(blobs.len());
    for (digest, _, _) in blobs {
        let from = store.path.join("blobs/sha256").join(digest.hex());
        let to = store.path.join("tmp").join(format!("{name}.{}", digest.hex()));
        fs::rename(&from, &to).map_err(|source| StoreError::io("remove", &from, source))?;
        store.unsynced.forget(&digest.hex())?;
        moved.push(to);
    }
    Ok(moved)
}

/// Files left by dead processes; their folders are buried at once.
fn abandoned(
    store: &Inner,
    in_use: &InUse,
    is_dry_run: bool,
    pruned: &mut Pruned,
) -> Result<Vec<PathBuf>, StoreError> {
    let folder = store.path.join("tmp");
    let mut files = Vec::new();
    // What has no process and no dot in its name is a place that all share, such as where sandboxes mount.
    let is_abandoned = |name: &String| name.contains('.') && !in_use.owns_temporary(name);
    for name in names(&folder)?.into_iter().filter(is_abandoned) {
        let path = folder.join(name);
        match (path.is_dir(), is_dry_run) {
            (true, true) => pruned.note(Kind::Remains, 0).folders.push(path),
            (true, false) => {
                let name = random_name()?;
                bury(&store.path, &path, &name)?;
                pruned.note(Kind::Remains, 0).folders.push(store.path.join("dead").join(name));
            }
            (false, _) => {
                pruned.note(Kind::Remains, length(&path));
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// Those that were set aside long enough ago.
fn damaged_databases(store: &Inner, oldest: i64, pruned: &mut Pruned) -> Result<Vec<PathBuf>, StoreError> {
    let mut files = Vec::new();
    for name in names(&store.path)?.into_iter().filter(|name| name.starts_with("db.damaged-")) {
        let path = store.path.join(name);
        if is_older(&path, oldest)? {
            pruned.note(Kind::Keys, length(&path));
            files.push(path);
        }
    }
    Ok(files)
}

fn length(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |metadata| metadata.len())
}

/// Whether the modification time is before `oldest`, in seconds since the epoch.
fn is_older(path: &Path, oldest: i64) -> Result<bool, StoreError> {
    let modified = match fs::symlink_metadata(path).and_then(|metadata| metadata.modified()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found.map_err(|source| StoreError::io("look at", path, source))?,
    };
    let seconds = modified.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    Ok(i64::try_from(seconds).unwrap_or(i64::MAX) < oldest)
}

/// The mark whose time is when somebody was last told to prune.
const MARK: &str = "pruned";

pub(super) fn is_due(store: &Inner, every: Duration) -> Result<bool, StoreError> {
    let path = store.path.join(MARK);
    let failed = |source: io::Error| StoreError::io("mark", &path, source);
    store.gate.exclusive(|| {
        let now = (store.environment.now)();
        let last = fs::metadata(&path).and_then(|metadata| metadata.modified());
        // A mark of the future is of a clock that was wrong.
        if last.is_ok_and(|last| now.duration_since(last).is_ok_and(|passed| passed < every)) {
            return Ok(false);
        }
        fs::File::create(&path).and_then(|file| file.set_modified(now)).map_err(failed)?;
        Ok(true)
    })
}
