//! Looking at everything in a store: whether bytes are what their names say, and whether what refers to something finds
//! it. And taking away what is damaged, so that the next build makes it again.
//!
//! Unpacked trees have no digest; of them it is known only that they were committed. What a cache mount holds is
//! nobody's but the steps'.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::composed::{self, Composition, has_blob};
use super::kind::Kind;
use super::leases::{random_name, remove_if_there};
use super::snapshots::bury;
use super::unsynced::names;
use super::{Inner, Notice, StoreError, keys};
use crate::base::{Digest, HashingReader};

/// How a look at a store went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Blobs that were read.
    pub blobs: usize,
    pub bytes: u64,
    pub records: usize,
    /// By kind and name.
    pub damages: Vec<Damage>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    pub kind: Kind,
    /// A digest, or a path in the store.
    pub name: String,
    pub flaw: Flaw,
    /// What the records that need it are about, such as `api linux/amd64`.
    pub needed_by: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// Records need it, and it is not there.
    Missing,
    /// It has other bytes than its digest says.
    Altered,
    /// It cannot be read, and why.
    Unreadable(String),
    /// It was not committed as a whole.
    Torn,
    /// What SQLite says of the database.
    Database(String),
    /// What opening the store has repaired already.
    Repaired(String),
}

/// What was looked at so far, and of how much.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub done: u64,
    pub total: u64,
}

pub(super) fn verify(store: &Inner, progress: &(dyn Fn(Progress) + Sync)) -> Result<Verified, StoreError> {
    let repaired = store.notices().into_iter().map(|notice| Damage {
        kind: match notice {
            Notice::DatabaseRebuilt { .. } => Kind::Keys,
            Notice::BlobsDropped { .. } => Kind::Images,
        },
        name: "store".into(),
        flaw: Flaw::Repaired(notice.problem().message),
        needed_by: Vec::new(),
    });
    let mut damages: Vec<Damage> = repaired.collect();
    let database = check_database(store);
    let needed = match database {
        Some(flaw) => {
            damages.push(Damage { kind: Kind::Keys, name: "db.sqlite".into(), flaw, needed_by: Vec::new() });
            Needed::default()
        }
        None => Needed::read(store)?,
    };
    let all = blobs(store)?;
    let total = all.iter().map(|(_, bytes)| bytes).sum();
    let done = AtomicU64::new(0);
    let altered: Vec<(Digest, Flaw)> = all
        .par_iter()
        .with_max_len(1)
        .filter_map(|(digest, _)| {
            let flaw = check_blob(&store.path, digest, &mut |bytes| {
                let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
                progress(Progress { done, total });
            });
            flaw.map(|flaw| (*digest, flaw))
        })
        .collect();
    let missing = needed.missing.iter().map(|digest| (*digest, Flaw::Missing));
    damages.extend(altered.into_iter().chain(missing).map(|(digest, flaw)| Damage {
        kind: Kind::Images,
        name: digest.to_string(),
        flaw,
        needed_by: needed.subjects(&digest),
    }));
    damages.extend(check_folders(&store.path)?);
    damages.sort();
    damages.dedup();
    Ok(Verified { blobs: all.len(), bytes: total, records: needed.records, damages })
}

/// Which records need which blobs.
#[derive(Default)]
struct Needed {
    records: usize,
    by_blob: BTreeMap<Digest, BTreeSet<String>>,
    missing: BTreeSet<Digest>,
}

impl Needed {
    /// While nothing can be removed, so that what is missing is missing.
    fn read(store: &Inner) -> Result<Self, StoreError> {
        store.gate.shared_long(|| {
            let mut needed = Self::default();
            for (subject, blobs) in keys::subjects(store)? {
                needed.records += 1;
                for digest in blobs {
                    if !needed.by_blob.contains_key(&digest) && !is_there(&store.path, &digest) {
                        needed.missing.insert(digest);
                    }
                    needed.by_blob.entry(digest).or_default().insert(subject.clone());
                }
            }
            Ok(needed)
        })
    }

    fn subjects(&self, digest: &Digest) -> Vec<String> {
        self.by_blob.get(digest).into_iter().flatten().cloned().collect()
    }
}

/// In any form, whole or not.
fn is_there(store: &Path, digest: &Digest) -> bool {
    has_blob(store, digest) || composed::path(store, digest).exists()
}

fn check_database(store: &Inner) -> Option<Flaw> {
    let checked = store
        .database
        .look(|connection| connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)));
    match checked {
        Ok(said) if said == "ok" => None,
        Ok(said) => Some(Flaw::Database(said)),
        Err(error) => Some(Flaw::Database(error.to_string())),
    }
}

/// All blobs, composed ones as well, with their lengths; the largest first, which keeps all processors at work.
fn blobs(store: &Inner) -> Result<Vec<(Digest, u64)>, StoreError> {
    let mut found: BTreeMap<Digest, u64> = BTreeMap::new();
    for name in names(&store.path.join("composed"))? {
        let Ok(digest) = format!("sha256:{name}").parse() else { continue };
        let length = Composition::read(&store.path, &digest).map_or(0, |composition| composition.length());
        found.insert(digest, length);
    }
    found.extend(super::prune::sizes(store)?);
    let mut found: Vec<(Digest, u64)> = found.into_iter().collect();
    found.sort_by_key(|(digest, bytes)| (std::cmp::Reverse(*bytes), *digest));
    Ok(found)
}

/// What is wrong with a blob's bytes. One that is gone by now is nobody's concern here.
fn check_blob(store: &Path, digest: &Digest, read: &mut dyn FnMut(u64)) -> Option<Flaw> {
    let path = composed::file_of(store, digest);
    let hashed = match File::open(&path) {
        Ok(file) => hash(file, read),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match Composition::read(store, digest) {
            Some(composition) => composition.open(store).and_then(|whole| hash(whole, read)),
            None if composed::path(store, digest).exists() => return Some(Flaw::Altered),
            None => return None,
        },
        Err(error) => Err(error),
    };
    match hashed {
        Ok(found) if found == *digest => None,
        Ok(_) => Some(Flaw::Altered),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(Flaw::Altered),
        Err(error) => Some(Flaw::Unreadable(error.to_string())),
    }
}

fn hash(source: impl io::Read, read: &mut dyn FnMut(u64)) -> io::Result<Digest> {
    let mut reader = HashingReader::new(source);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(reader.finish().0),
            count => read(count as u64),
        }
    }
}

fn check_folders(store: &Path) -> Result<Vec<Damage>, StoreError> {
    let mut damages = Vec::new();
    let mut note = |kind: Kind, name: String, flaw: Flaw| {
        damages.push(Damage { kind, name, flaw, needed_by: Vec::new() });
    };
    for name in names(&store.join("indexes"))? {
        let flaw = match fs::read(store.join("indexes").join(&name)) {
            Ok(bytes) if super::indexes::is_whole(&bytes) => continue,
            Ok(_) => Flaw::Altered,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => Flaw::Unreadable(error.to_string()),
        };
        note(Kind::Indexes, format!("indexes/{name}"), flaw);
    }
    for kind in names(&store.join("snapshots"))? {
        for name in names(&store.join("snapshots").join(&kind))? {
            let folder = store.join("snapshots").join(&kind).join(&name);
            if !folder.join("fs").is_dir() && folder.exists() {
                note(Kind::of_snapshots(&kind), format!("snapshots/{kind}/{name}"), Flaw::Torn);
            }
        }
    }
    for hex in names(&store.join("caches"))? {
        let is_named = format!("sha256:{hex}").parse::<Digest>().is_ok();
        for number in names(&store.join("caches").join(&hex))? {
            let is_folder = store.join("caches").join(&hex).join(&number).is_dir();
            if !is_named || !is_folder || number.parse::<u32>().is_err() {
                note(Kind::Mounts, format!("caches/{hex}/{number}"), Flaw::Torn);
            }
        }
    }
    Ok(damages)
}

/// Takes away what is damaged, and the records that need it. How many records went.
pub(super) fn heal(store: &Inner, damages: &[Damage]) -> Result<usize, StoreError> {
    let removed = store.gate.exclusive(|| {
        let mut condemned = Vec::new();
        let mut is_database_damaged = false;
        for damage in damages {
            match &damage.flaw {
                Flaw::Repaired(_) | Flaw::Missing => continue,
                Flaw::Database(_) => {
                    is_database_damaged = true;
                    continue;
                }
                Flaw::Altered | Flaw::Unreadable(_) | Flaw::Torn => {}
            }
            match damage.name.parse::<Digest>() {
                // Somebody may have removed it, and made it anew, since it was looked at.
                Ok(digest) if check_blob(&store.path, &digest, &mut |_| {}).is_some() => {
                    condemned.extend(take_away(store, &digest)?);
                }
                Ok(_) => {}
                Err(_) => {
                    let path = store.path.join(&damage.name);
                    match path.is_dir() {
                        true => bury(&store.path, &path, &random_name()?)?,
                        false => remove_if_there(&path)?,
                    }
                }
            }
        }
        if is_database_damaged {
            store.database.begin_anew()?;
            return Ok((0, condemned));
        }
        let incomplete: Vec<i64> = keys::references(store)?
            .into_iter()
            .filter(|reference| !reference.blobs.iter().all(|digest| has_blob(&store.path, digest)))
            .map(|reference| reference.id)
            .collect();
        keys::delete(store, &incomplete)?;
        Ok((incomplete.len(), condemned))
    });
    let (records, condemned) = removed?;
    condemned.iter().try_for_each(|path| remove_if_there(path))?;
    Ok(records)
}

/// Moves a blob's file out of sight, or forgets of what it is composed.
fn take_away(store: &Inner, digest: &Digest) -> Result<Option<std::path::PathBuf>, StoreError> {
    composed::forget(store, digest)
        .map_err(|source| StoreError::io("remove", &composed::path(&store.path, digest), source))?;
    let from = composed::file_of(&store.path, digest);
    let to = store.path.join("tmp").join(format!("{}.{}", random_name()?, digest.hex()));
    match fs::rename(&from, &to) {
        Ok(()) => store.unsynced.forget(&digest.hex()).map(|()| Some(to)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("remove", &from, error)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::{BlobPart, KeyKind, NewRecord, Store};
    use super::*;

    /// "one two", and composed of it "one three", which a record needs.
    fn composed() -> (tempfile::TempDir, Store, [Digest; 2]) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let first = store.blobs().put_bytes(b"one two").unwrap();
        let mut writer = store.blobs().writer().unwrap();
        writer.write_all(b"three").unwrap();
        let second = Digest::of("one three");
        writer.commit_composed(&second, 9, &[BlobPart::Of(first, 0..4), BlobPart::Written(5)]).unwrap();
        let record = NewRecord {
            kind: KeyKind::Step,
            key: &second,
            subject: "api linux/arm64",
            value: b"",
            parts: None,
            blobs: &[second],
        };
        store.keys().put(&record).unwrap();
        (folder, store, [first, second])
    }

    #[test]
    fn composed_blobs_are_read_and_not_written() {
        let (_folder, store, [first, second]) = composed();
        let seen = AtomicU64::new(0);
        let verified = store
            .verify(&|progress| {
                assert_eq!(progress.total, 7 + 5 + 9);
                seen.fetch_max(progress.done, Ordering::Relaxed);
            })
            .unwrap();
        assert_eq!(verified, Verified { blobs: 3, bytes: 21, records: 1, damages: Vec::new() });
        assert_eq!(seen.into_inner(), 21);
        assert!(!composed::file_of(store.path(), &second).exists());

        fs::write(composed::file_of(store.path(), &first), "one twp").unwrap();
        let damaged = |store: &Store| store.verify(&|_| {}).unwrap().damages;
        // Beyond what the composed one takes of it.
        assert_eq!(damaged(&store).len(), 1);
        fs::write(composed::file_of(store.path(), &first), "ond two").unwrap();
        let found = damaged(&store);
        let expected: BTreeSet<String> = [first, second].map(|digest| digest.to_string()).into();
        assert_eq!(found.iter().map(|damage| damage.name.clone()).collect::<BTreeSet<_>>(), expected);
        assert!(found.iter().all(|damage| damage.flaw == Flaw::Altered));
        let needed: Vec<_> = found.iter().flat_map(|damage| &damage.needed_by).collect();
        assert_eq!(needed, ["api linux/arm64"]);
        assert_eq!(store.heal(&found).unwrap(), 1);
        assert!(damaged(&store).is_empty());
        assert_eq!(store.keys().get(KeyKind::Step, &second).unwrap(), None);
    }

    #[test]
    fn what_was_made_anew_since_is_left_alone() {
        let (_folder, store, [first, _]) = composed();
        let path = composed::file_of(store.path(), &first);
        fs::write(&path, "ond two").unwrap();
        let found = store.verify(&|_| {}).unwrap().damages;
        fs::write(&path, "one two").unwrap();
        assert_eq!(store.heal(&found).unwrap(), 0);
        assert!(path.exists());
    }
}
