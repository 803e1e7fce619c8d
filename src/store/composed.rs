//! Blobs that are ranges of other blobs, one after the other: what a layer is of which little changed.
//!
//! What a blob is composed of stands in a small file, which carries its own SHA-256 in front: one that does not fit
//! is not there. The ranges are of blobs with files of their own, which live as long as
//! what is composed of them. Whoever wants such a blob as one file has it written then ([`Composition::write_whole`]).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::leases::remove_if_there;
use super::unsynced::names;
use super::{Inner, StoreError};
use crate::base::Digest;

/// What a blob consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Composition {
    pub(super) parts: Vec<(Digest, Range<u64>)>,
}

const PART: usize = 32 + 8 + 8;

impl Composition {
    /// That of a blob, if it is composed and all it is made of is there.
    pub(super) fn read(store: &Path, digest: &Digest) -> Option<Self> {
        let bytes = fs::read(path(store, digest)).ok()?;
        let (hash, rest) = bytes.split_first_chunk::<32>()?;
        if Digest::of(rest).as_bytes() != hash {
            return None;
        }
        let composition = Self { parts: rest.chunks_exact(PART).map(decode).collect() };
        let is_whole = composition.sources().all(|source| file_of(store, source).exists());
        is_whole.then_some(composition)
    }

    pub(super) fn write(&self, temporary: &Path, store: &Path, digest: &Digest) -> io::Result<()> {
        let parts: Vec<u8> = self.parts.iter().flat_map(encode).collect();
        let path = path(store, digest);
        // A store of an earlier version has no such folder yet.
        fs::create_dir_all(path.parent().expect("it lies in a folder"))?;
        fs::write(temporary, [Digest::of(&parts).as_bytes(), &parts[..]].concat())?;
        fs::rename(temporary, path)
    }

    pub(super) fn length(&self) -> u64 {
        self.parts.iter().map(|(_, range)| range.end - range.start).sum()
    }

    pub(super) fn sources(&self) -> impl Iterator<Item = &Digest> {
        self.parts.iter().map(|(source, _)| source)
    }

    /// What a range of the blob consists of.
    pub(super) fn within(&self, wanted: &Range<u64>) -> Vec<(Digest, Range<u64>)> {
        let mut found = Vec::new();
        let mut start = 0;
        for (source, range) in &self.parts {
            let end = start + (range.end - range.start);
            let (from, to) = (wanted.start.max(start), wanted.end.min(end));
            if from < to {
                found.push((*source, range.start + (from - start)..range.start + (to - start)));
            }
            start = end;
        }
        found
    }

    /// Writes the blob.
    pub(super) fn write_whole(&self, store: &Path, mut out: &File) -> io::Result<()> {
        let mut files: BTreeMap<Digest, File> = BTreeMap::new();
        for (source, range) in &self.parts {
            if !files.contains_key(source) {
                files.insert(*source, File::open(file_of(store, source))?);
            }
            let mut file = &files[source];
            file.seek(io::SeekFrom::Start(range.start))?;
            let length = range.end - range.start;
            if io::copy(&mut file.take(length), &mut out)? != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// The ranges one after the other, read and not written.
pub(super) struct Whole {
    parts: std::vec::IntoIter<(Digest, Range<u64>)>,
    files: BTreeMap<Digest, File>,
    current: Option<io::Take<File>>,
}

impl Composition {
    pub(super) fn open(self, store: &Path) -> io::Result<Whole> {
        let mut files = BTreeMap::new();
        for source in self.sources() {
            if !files.contains_key(source) {
                files.insert(*source, File::open(file_of(store, source))?);
            }
        }
        Ok(Whole { parts: self.parts.into_iter(), files, current: None })
    }
}

impl io::Read for Whole {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(current) = &mut self.current {
                match current.read(buffer)? {
                    0 if current.limit() > 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    0 => self.current = None,
                    count => return Ok(count),
                }
            }
            let Some((source, range)) = self.parts.next() else { return Ok(0) };
            // Clones share one position, but only one part is read at a time.
            let mut file = self.files[&source].try_clone()?;
            file.seek(io::SeekFrom::Start(range.start))?;
            self.current = Some(file.take(range.end - range.start));
        }
    }
}

fn encode((source, range): &(Digest, Range<u64>)) -> impl Iterator<Item = u8> {
    let numbers = [range.start.to_le_bytes(), range.end.to_le_bytes()].concat();
    source.as_bytes().to_vec().into_iter().chain(numbers)
}

fn decode(bytes: &[u8]) -> (Digest, Range<u64>) {
    let number = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let source = bytes[..32].try_into().expect("a part begins with 32 bytes");
    (Digest::from_bytes(source), number(32)..number(40))
}

pub(super) fn path(store: &Path, digest: &Digest) -> PathBuf {
    store.join("composed").join(digest.hex())
}

pub(super) fn file_of(store: &Path, digest: &Digest) -> PathBuf {
    store.join("blobs/sha256").join(digest.hex())
}

/// Whether the blob is there, in whatever form.
pub(super) fn has_blob(store: &Path, digest: &Digest) -> bool {
    file_of(store, digest).exists() || Composition::read(store, digest).is_some()
}

/// For a blob that has a file of its own now.
pub(super) fn forget(store: &Inner, digest: &Digest) -> io::Result<()> {
    let forgotten = remove_if_there(&path(&store.path, digest));
    forgotten.and_then(|()| store.unsynced.forget_composition(digest)).map_err(io::Error::other)
}

/// All blobs that are composed, and the files of those that are so in vain: because something is missing, or
/// because they have a file of their own. Under the exclusive gate.
pub(super) fn all(store: &Inner) -> Result<(BTreeMap<Digest, Composition>, Vec<PathBuf>), StoreError> {
    let (mut compositions, mut useless) = (BTreeMap::new(), Vec::new());
    for name in names(&store.path.join("composed"))? {
        let digest = format!("sha256:{name}").parse().ok();
        let is_whole = |digest: &Digest| file_of(&store.path, digest).exists();
        let read = |digest: Digest| Some((digest, Composition::read(&store.path, &digest)?));
        match digest.filter(|digest| !is_whole(digest)).and_then(read) {
            Some((digest, composition)) => drop(compositions.insert(digest, composition)),
            None => useless.push(store.path.join("composed").join(name)),
        }
    }
    Ok((compositions, useless))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::super::*;
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        (folder, store)
    }

    fn compose(store: &Store, whole: &str, new: &str, parts: &[BlobPart]) -> Result<Digest, StoreError> {
        let mut writer = store.blobs().writer().unwrap();
        writer.write_all(new.as_bytes()).unwrap();
        let digest = Digest::of(whole);
        writer.commit_composed(&digest, whole.len() as u64, parts).map(|()| digest)
    }

    fn has_file(store: &Store, digest: &Digest) -> bool {
        file_of(store.path(), digest).exists()
    }

    fn text(store: &Store, digest: &Digest) -> String {
        let ranges = store.blobs().ranges(digest).unwrap();
        let read = |(file, range): &(Arc<File>, Range<u64>)| {
            let mut file = &**file;
            file.seek(io::SeekFrom::Start(range.start)).unwrap();
            let mut text = String::new();
            file.take(range.end - range.start).read_to_string(&mut text).unwrap();
            text
        };
        ranges.iter().map(read).collect()
    }

    /// "one two" and, composed of it and of each other, "one three" and "one three four".
    fn three(store: &Store) -> [Digest; 3] {
        let first = store.blobs().put_bytes(b"one two").unwrap();
        let parts = [BlobPart::Of(first, 0..4), BlobPart::Written(5)];
        let second = compose(store, "one three", "three", &parts).unwrap();
        let parts = [BlobPart::Of(second, 0..9), BlobPart::Written(5)];
        let third = compose(store, "one three four", " four", &parts).unwrap();
        [first, second, third]
    }

    #[test]
    fn composed_blobs_are_there_and_get_a_file_when_they_are_opened() {
        let (_folder, store) = store();
        let blobs = store.blobs();
        let [_, second, third] = three(&store);
        for (digest, expected) in [(third, "one three four"), (second, "one three")] {
            assert!(blobs.contains(&digest) && !has_file(&store, &digest));
            assert_eq!(
                (blobs.size(&digest).unwrap(), text(&store, &digest)),
                (expected.len() as u64, expected.into())
            );
            assert_eq!(blobs.read(&digest, 100).unwrap(), expected.as_bytes());
            assert!(has_file(&store, &digest) && !path(store.path(), &digest).exists());
            assert_eq!(text(&store, &digest), expected);
        }
    }

    #[test]
    fn lengths_are_looked_at() {
        let (_folder, store) = store();
        let first = store.blobs().put_bytes(b"one two").unwrap();
        for written in [4, 6] {
            let parts = [BlobPart::Of(first, 0..4), BlobPart::Written(written)];
            assert!(matches!(compose(&store, "one three", "three", &parts), Err(StoreError::Size { .. })));
        }
        assert!(!store.blobs().contains(&Digest::of("one three")));
    }

    #[test]
    fn what_is_damaged_or_lacks_something_is_not_there() {
        let (_folder, store) = store();
        let [first, second, third] = three(&store);
        let place = path(store.path(), &second);
        let mut bytes = fs::read(&place).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&place, bytes).unwrap();
        assert!(!store.blobs().contains(&second) && store.blobs().open(&second).is_err());
        assert!(store.blobs().contains(&third), "it is made of files, not of compositions");
        fs::remove_file(file_of(store.path(), &first)).unwrap();
        assert!(!store.blobs().contains(&third) && store.blobs().ranges(&third).is_err());
        store.prune(&PruneOptions::default()).unwrap();
        assert_eq!(fs::read_dir(store.path().join("composed")).unwrap().count(), 0);
    }

    #[test]
    fn prune_keeps_what_composed_blobs_are_made_of() {
        let (folder, store) = store();
        let [first, second, third] = three(&store);
        let record = NewRecord {
            kind: KeyKind::Step,
            key: &Digest::of("key"),
            subject: "api linux/amd64",
            value: b"",
            parts: None,
            blobs: &[third],
        };
        store.keys().put(&record).unwrap();
        drop(store);
        // A process that uses nothing of it.
        let store = Store::open(&folder.path().join("store")).unwrap();
        store.prune(&PruneOptions::default()).unwrap();
        assert!(has_file(&store, &first) && !path(store.path(), &second).exists());
        assert_eq!(text(&store, &third), "one three four");
        // Now it is in use, also without its record.
        let pruned = store.prune(&PruneOptions { keep_bytes: Some(0), ..PruneOptions::default() }).unwrap();
        assert_eq!((pruned.records, text(&store, &third).as_str()), (1, "one three four"));
        drop(store);
        let store = Store::open(&folder.path().join("store")).unwrap();
        store.prune(&PruneOptions::default()).unwrap();
        assert!(!has_file(&store, &first) && !store.blobs().contains(&third));
        assert_eq!(fs::read_dir(store.path().join("blobs/sha256")).unwrap().count(), 0);
    }
}
