//! Directories that builds keep for the next one: `RUN --mount=type=cache`. What is in them is the caller's.
//!
//! ```text
//! caches/<hex>/<number>/lock   shared, or exclusive, as long as somebody uses the folder
//! caches/<hex>/<number>/…      the caller's
//! ```
//! A cache has several folders once it was in use where somebody wanted one to himself. Which one a user gets
//! follows BuildKit: the first that is free for his way of sharing; else a new one, but who locks waits.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};

use super::flights::is_at;
use super::indexes::note_use;
use super::lock::{open_lock, try_lock, wait_for};
use super::unsynced::names;
use super::{Inner, StoreError};
use crate::base::Digest;

/// How somebody shares a cache with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheUse {
    /// With all who share it.
    Shared,
    /// A folder of one's own, another one if need be.
    Private,
    /// A folder of one's own, waited for if need be.
    Locked,
}

/// A folder of a cache in use. Dropping it, or dying, lets go of it.
#[derive(Debug)]
pub struct CacheFolder {
    path: PathBuf,
    _lock: File,
}

impl CacheFolder {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Who is in a folder of a cache at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupancy {
    Free,
    Shared,
    /// One user, for himself.
    Locked,
}

/// A folder of a cache, as it is found.
#[derive(Clone, Debug)]
pub struct FoundFolder {
    pub key: Digest,
    /// Users are given the lowest that is free.
    pub number: u32,
    pub path: PathBuf,
    pub occupancy: Occupancy,
    /// In seconds since the epoch, to the hour.
    pub last_used: i64,
}

#[derive(Clone, Copy)]
pub struct Caches<'a> {
    store: &'a Inner,
}

enum Attempt {
    Taken(CacheFolder),
    /// Somebody else has it; to be waited for.
    Busy(PathBuf, File),
}

impl<'a> Caches<'a> {
    pub(super) fn new(store: &'a Inner) -> Self {
        Self { store }
    }

    /// A folder of the cache named `key`. Blocks the thread while [`CacheUse::Locked`] has to wait.
    pub fn take(&self, key: &Digest, usage: CacheUse) -> Result<CacheFolder, StoreError> {
        loop {
            // Under the gate, so that prune cannot bury what is just being taken.
            let (path, lock) = match self.store.gate.shared(|| self.attempt(key, usage))? {
                Attempt::Taken(folder) => return Ok(folder),
                Attempt::Busy(path, lock) => (path, lock),
            };
            let failed = |source: io::Error| StoreError::io("lock", &path, source);
            wait_for(&lock, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
            // Prune may have buried it before this one came to its turn.
            if is_at(&lock, &path.join("lock")).map_err(failed)? {
                note_use(&path, self.store);
                return Ok(CacheFolder { path, _lock: lock });
            }
        }
    }

    /// Which process has the first folder of a cache to itself, as far as the kernel tells.
    pub fn holder(&self, key: &Digest) -> Option<u32> {
        let path = self.store.path.join("caches").join(key.hex());
        let first = numbers(&path).ok()?.first()?.to_string();
        let inode = fs::metadata(path.join(first).join("lock")).ok()?.ino();
        holder_in(&fs::read_to_string("/proc/locks").ok()?, inode)
    }

    /// All folders, by key and number.
    pub fn list(&self) -> Result<Vec<FoundFolder>, StoreError> {
        // Nobody takes a folder meanwhile, so looking whether one is free turns nobody away from it.
        self.store.gate.exclusive(|| {
            let caches = self.store.path.join("caches");
            let mut found = Vec::new();
            for hex in names_if_there(&caches)? {
                let Ok(key) = format!("sha256:{hex}").parse() else { continue };
                for number in numbers(&caches.join(&hex))? {
                    found.push(look_at(key, number, caches.join(&hex).join(number.to_string()))?);
                }
            }
            found.sort_by_key(|folder| (folder.key, folder.number));
            Ok(found)
        })
    }

    /// One certain folder for oneself, made if it is missing. `None` when somebody uses it and one is not
    /// `patient`, or when it was pruned while one waited. Being patient blocks the thread.
    pub fn take_folder(
        &self,
        key: &Digest,
        number: u32,
        patient: bool,
    ) -> Result<Option<CacheFolder>, StoreError> {
        let path = self.store.path.join("caches").join(key.hex()).join(number.to_string());
        let failed = |source: io::Error| StoreError::io("lock", &path, source);
        let (lock, is_free) = self.store.gate.shared(|| {
            let lock = open_folder(&path).map_err(failed)?;
            let is_free = try_lock(&lock).map_err(|errno| failed(errno.into()))?;
            Ok((lock, is_free))
        })?;
        if !is_free && !patient {
            return Ok(None);
        }
        if !is_free {
            wait_for(&lock, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
        }
        let is_there = is_at(&lock, &path.join("lock")).map_err(failed)?;
        Ok(is_there.then_some(CacheFolder { path, _lock: lock }))
    }

    fn attempt(&self, key: &Digest, usage: CacheUse) -> Result<Attempt, StoreError> {
        let cache = self.store.path.join("caches").join(key.hex());
        let failed = |path: &Path, source: io::Error| StoreError::io("lock", path, source);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&cache)
            .map_err(|error| failed(&cache, error))?;
        let mut numbers = numbers(&cache)?;
        let unused = (0..).find(|number| !numbers.contains(number));
        let mut busy = None;
        if numbers.is_empty() || usage != CacheUse::Locked {
            numbers.extend(unused);
        }
        for number in numbers {
            let path = cache.join(number.to_string());
            let lock = open_folder(&path).map_err(|error| failed(&path, error))?;
            let free = match usage {
                CacheUse::Shared => try_share(&lock),
                CacheUse::Private | CacheUse::Locked => try_lock(&lock),
            };
            if free.map_err(|errno| failed(&path, errno.into()))? {
                note_use(&path, self.store);
                return Ok(Attempt::Taken(CacheFolder { path, _lock: lock }));
            }
            busy.get_or_insert((path, lock));
        }
        match busy {
            Some((path, lock)) if usage == CacheUse::Locked => Ok(Attempt::Busy(path, lock)),
            // Somebody took the new folder in this very moment.
            Some(_) | None => self.attempt(key, usage),
        }
    }
}

/// Who has an exclusive `flock` on a file, by lines such as `2: FLOCK  ADVISORY  WRITE 4711 fd:00:815 0 EOF`. Those who
/// wait have an arrow before.
fn holder_in(locks: &str, inode: u64) -> Option<u32> {
    let inode = format!(":{inode}");
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", process, file, ..] = words[..] else { return None };
        file.ends_with(&inode).then(|| process.parse().ok()).flatten()
    })
}

/// The folders a cache has, ascending.
fn numbers(cache: &Path) -> Result<Vec<u32>, StoreError> {
    let mut numbers: Vec<u32> = names(cache)?.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The lock of a folder, which is made if it is missing.
fn open_folder(path: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    open_lock(&path.join("lock"))
}

fn look_at(key: Digest, number: u32, path: PathBuf) -> Result<FoundFolder, StoreError> {
    let failed = |source: io::Error| StoreError::io("look at", &path, source);
    let last_used = fs::metadata(&path).and_then(|metadata| metadata.modified()).map_err(failed)?;
    let last_used = last_used.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    let lock = open_lock(&path.join("lock")).map_err(failed)?;
    let occupancy = if try_lock(&lock).map_err(|errno| failed(errno.into()))? {
        Occupancy::Free
    } else if try_share(&lock).map_err(|errno| failed(errno.into()))? {
        Occupancy::Shared
    } else {
        Occupancy::Locked
    };
    let last_used = i64::try_from(last_used).unwrap_or(i64::MAX);
    Ok(FoundFolder { key, number, path, occupancy, last_used })
}

fn try_share(lock: &File) -> rustix::io::Result<bool> {
    match retry_on_intr(|| flock(lock, FlockOperation::NonBlockingLockShared)) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether somebody is in a folder of a cache. Under the exclusive gate.
pub(super) fn is_used(folder: &Path) -> Result<bool, StoreError> {
    let path = folder.join("lock");
    let failed = |source: io::Error| StoreError::io("lock", &path, source);
    let lock = open_lock(&path).map_err(failed)?;
    try_lock(&lock).map(|free| !free).map_err(|errno| failed(errno.into()))
}

/// A store of an earlier version has no caches yet.
fn names_if_there(folder: &Path) -> Result<Vec<String>, StoreError> {
    if folder.is_dir() { names(folder) } else { Ok(Vec::new()) }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, PruneOptions, Store};
    use super::*;
    use std::sync::{Arc, Barrier, mpsc};
    use std::thread;
    use std::time::{Duration, SystemTime};

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        (folder, store)
    }

    fn number(folder: &CacheFolder) -> String {
        folder.path().file_name().unwrap().to_string_lossy().into_owned()
    }

    #[test]
    fn users_share_as_they_say() {
        use CacheUse::{Locked, Private, Shared};
        // One after the other, all staying: the folder each one gets.
        let check = |users: &[(CacheUse, &str)]| {
            let (_folder, store) = store();
            let mut staying = Vec::new();
            for (usage, expected) in users {
                let taken = store.caches().take(&Digest::of("go"), *usage).unwrap();
                assert_eq!(number(&taken), *expected, "{users:?}");
                staying.push(taken);
            }
        };
        check(&[(Shared, "0"), (Shared, "0"), (Private, "1"), (Private, "2"), (Shared, "0")]);
        check(&[(Private, "0"), (Shared, "1"), (Shared, "1"), (Private, "2")]);
        check(&[(Locked, "0"), (Shared, "1"), (Private, "2")]);
    }

    #[test]
    fn who_locks_takes_any_free_folder_and_else_waits() {
        let (_folder, store) = store();
        let key = Digest::of("go");
        let first = store.caches().take(&key, CacheUse::Private).unwrap();
        drop(store.caches().take(&key, CacheUse::Private).unwrap());
        let second = store.caches().take(&key, CacheUse::Locked).unwrap();
        assert_eq!((number(&first).as_str(), number(&second).as_str()), ("0", "1"));
        let waiting = thread::spawn({
            let store = store.clone();
            move || number(&store.caches().take(&key, CacheUse::Locked).unwrap())
        });
        drop(first);
        assert_eq!(waiting.join().unwrap(), "0");
    }

    #[test]
    fn whoever_comes_at_the_same_moment_gets_another_folder_and_waits_for_nobody() {
        let (_folder, store) = store();
        for round in 0..200 {
            let key = Digest::of(format!("round {round}"));
            // All folders are held until everybody has one.
            let everybody = Arc::new(Barrier::new(4));
            let (done, outcomes) = mpsc::channel();
            for _ in 0..4 {
                let (store, everybody, done) = (store.clone(), everybody.clone(), done.clone());
                thread::spawn(move || {
                    let taken = store.caches().take(&key, CacheUse::Private).unwrap();
                    let _ = done.send(number(&taken));
                    everybody.wait();
                });
            }
            let deadline = Duration::from_secs(60);
            let mut taken: Vec<String> =
                (0..4).map(|_| outcomes.recv_timeout(deadline).expect("nobody waits for another")).collect();
            taken.sort_unstable();
            taken.dedup();
            assert_eq!(taken.len(), 4, "each has his own");
        }
    }

    #[test]
    fn the_kernel_tells_who_holds_a_cache() {
        let (_folder, store) = store();
        let key = Digest::of("go");
        assert_eq!(store.caches().holder(&key), None);
        let held = store.caches().take(&key, CacheUse::Locked).unwrap();
        assert_eq!(store.caches().holder(&key), Some(std::process::id()));
        drop(held);
        assert_eq!(store.caches().holder(&key), None);
        let locks = "1: FLOCK  ADVISORY  READ 7 fd:00:15 0 EOF\n2: FLOCK  ADVISORY  WRITE 8 fd:00:115 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 9 fd:00:15 0 EOF\n3: FLOCK  ADVISORY  WRITE 10 fd:00:15 0 EOF\n";
        assert_eq!(holder_in(locks, 15), Some(10));
    }

    #[test]
    fn another_key_is_another_cache() {
        let (_folder, store) = store();
        let one = store.caches().take(&Digest::of("one"), CacheUse::Locked).unwrap();
        let two = store.caches().take(&Digest::of("two"), CacheUse::Locked).unwrap();
        assert_ne!(one.path(), two.path());
    }

    #[test]
    fn a_folder_is_found_with_who_is_in_it_and_taken_by_its_number() {
        let (_folder, store) = store();
        let key = Digest::of("go");
        let found = || {
            let found = store.caches().list().unwrap();
            found.iter().map(|folder| (folder.number, folder.occupancy)).collect::<Vec<_>>()
        };
        assert_eq!(found(), []);
        let shared = store.caches().take(&key, CacheUse::Shared).unwrap();
        let private = store.caches().take(&key, CacheUse::Private).unwrap();
        assert_eq!(found(), [(0, Occupancy::Shared), (1, Occupancy::Locked)]);
        assert!(store.caches().take_folder(&key, 0, false).unwrap().is_none());
        drop((shared, private));
        let taken = store.caches().take_folder(&key, 0, false).unwrap().unwrap();
        assert_eq!(found(), [(0, Occupancy::Locked), (1, Occupancy::Free)]);
        let waiting = thread::spawn({
            let store = store.clone();
            move || number(&store.caches().take_folder(&key, 0, true).unwrap().unwrap())
        });
        drop(taken);
        assert_eq!(waiting.join().unwrap(), "0");
    }

    #[test]
    fn prune_takes_what_is_old_and_not_in_use() {
        let (_folder, store) = store();
        let age = |folder: &CacheFolder| {
            let yesterday = SystemTime::now() - Duration::from_secs(24 * 3600);
            File::open(folder.path()).unwrap().set_modified(yesterday).unwrap();
            folder.path().to_path_buf()
        };
        let used = store.caches().take(&Digest::of("used"), CacheUse::Shared).unwrap();
        let fresh = store.caches().take(&Digest::of("fresh"), CacheUse::Shared).unwrap().path().to_path_buf();
        let old = age(&store.caches().take(&Digest::of("old"), CacheUse::Shared).unwrap());
        age(&used);
        let options = PruneOptions { unused_for: Some(Duration::from_secs(3600)), ..PruneOptions::default() };
        let dry = store.prune(&PruneOptions { is_dry_run: true, ..options.clone() }).unwrap();
        assert_eq!((dry.of(Kind::Mounts).folders, old.is_dir()), (vec![old.clone()], true));
        let pruned = store.prune(&options).unwrap();
        let gone = pruned.of(Kind::Mounts);
        assert_eq!((gone.count, pruned.dead_paths == gone.folders), (1, true));
        assert!(used.path().is_dir() && fresh.is_dir() && !old.exists());
    }
}
