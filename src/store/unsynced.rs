//! Which content is not yet known to be on disk.
//!
//! Content gets a mark before it gets its final name, so where the name survived a loss of power the mark did
//! too (file systems keep the order of such changes). [`Unsynced::sync`] syncs what is marked, a few files by themselves
//! and more with the whole file system at once, and clears the marks; marks of an earlier boot say what must not be believed without looking.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

use super::leases::{random_name, remove_if_there};
use super::lock::Gate;
use super::{StoreError, composed, snapshots};
use crate::base::{Digest, HashingReader};

pub(super) struct Unsynced {
    /// The marks of this boot.
    folder: PathBuf,
    created: OnceLock<()>,
}

/// How marks of compositions begin; no kind of snapshot is called that.
const COMPOSED: &str = "composed";

/// What a mark is about.
enum Marked {
    Blob(Digest),
    /// What a blob is composed of. It shows itself whether it is whole.
    Composition(Digest),
    Snapshot {
        kind: String,
        hex: String,
    },
}

impl Unsynced {
    pub(super) fn new(store: &Path, boot_id: &str) -> Self {
        Self { folder: store.join("unsynced").join(boot_id), created: OnceLock::new() }
    }

    /// As [`mark`](Self::mark), for what says of what a blob is composed.
    pub(super) fn mark_composition(&self, blob: &Digest) -> Result<(), StoreError> {
        self.mark(&format!("{COMPOSED}.{}", blob.hex()))
    }

    pub(super) fn forget_composition(&self, blob: &Digest) -> Result<(), StoreError> {
        self.forget(&format!("{COMPOSED}.{}", blob.hex()))
    }

    pub(super) fn mark(&self, name: &str) -> Result<(), StoreError> {
        let path = self.folder.join(name);
        let failed = |source: io::Error| StoreError::io("mark", &path, source);
        if self.created.get().is_none() {
            self.create_folder().map_err(failed)?;
            let _ = self.created.set(());
        }
        match File::create(&path) {
            // Another process cleared the folder away after a sync.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create_folder().and_then(|()| File::create(&path)).map_err(failed)?;
            }
            created => drop(created.map_err(failed)?),
        }
        Ok(())
    }

    /// For content that was removed. Another process's `sync` must not take a later one of that name for
    /// the one it saw, which the gate ensures.
    pub(super) fn forget(&self, name: &str) -> Result<(), StoreError> {
        remove_if_there(&self.folder.join(name))
    }

    /// Once per boot, and made durable: from here on the order of changes does the rest.
    fn create_folder(&self) -> io::Result<()> {
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => match self.folder.parent() {
                Some(parent) => File::open(parent)?.sync_all(),
                None => Ok(()),
            },
        }
    }

    /// Content that has its final name now is complete, so after the sync its mark may go. A mark without
    /// content belongs to a process that is still writing, and stays.
    pub(super) fn sync(&self, store: &Path, gate: &Gate) -> Result<(), StoreError> {
        gate.shared_long(|| {
            let mut complete = Vec::new();
            for name in names(&self.folder)? {
                if Marked::parse(&name).is_some_and(|marked| marked.path(store).exists()) {
                    complete.push(name);
                }
            }
            if complete.is_empty() {
                return Ok(());
            }
            let failed = |source: io::Error| StoreError::io("sync", store, source);
            write_out(store, &complete).map_err(failed)?;
            complete.iter().try_for_each(|name| remove_if_there(&self.folder.join(name)))
        })
    }

    /// Verifies or drops what earlier boots left unsynced; the number of blobs that did not survive.
    pub(super) fn sweep_earlier_boots(&self, store: &Path, gate: &Gate) -> Result<usize, StoreError> {
        let folder = store.join("unsynced");
        let is_earlier = |name: &String| folder.join(name) != self.folder;
        if !names(&folder)?.iter().any(is_earlier) {
            return Ok(0);
        }
        gate.exclusive(|| {
            let mut dropped = 0;
            for boot in names(&folder)?.into_iter().filter(is_earlier) {
                let boot = folder.join(boot);
                for name in names(&boot)? {
                    dropped += usize::from(!survived(store, &name)?);
                    remove_if_there(&boot.join(name))?;
                }
                fs::remove_dir(&boot).map_err(|source| StoreError::io("remove", &boot, source))?;
            }
            Ok(dropped)
        })
    }
}

fn sync_file(path: &Path) -> io::Result<()> {
    match File::open(path) {
        // What says how a blob is composed goes when the blob gets a file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        opened => opened?.sync_all(),
    }
}

/// More files than this are not synced by themselves.
const FEW: usize = 16;

/// Makes durable what has these marks. Syncing the file system is simple, but it waits for everybody's writes.
fn write_out(store: &Path, marks: &[String]) -> io::Result<()> {
    let few = marks.iter().map(|name| match Marked::parse(name)? {
        Marked::Snapshot { .. } => None,
        file => Some(file.path(store)),
    });
    let few: Option<Vec<PathBuf>> = few.take(FEW + 1).collect();
    let Some(files) = few.filter(|files| files.len() <= FEW) else {
        return sync_file_system(store);
    };
    // Side by side, so that one turn of the disk serves several.
    thread::scope(|scope| {
        let syncing: Vec<_> = files.iter().map(|file| scope.spawn(|| sync_file(file))).collect();
        let ended = syncing.into_iter().map(|one| one.join().expect("syncing a file does not panic"));
        ended.collect::<io::Result<()>>()
    })?;
    let folders: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    folders.into_iter().try_for_each(|folder| File::open(folder)?.sync_all())
}

#[cfg(target_os = "linux")]
fn sync_file_system(store: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(store)?)?)
}

/// All file systems, where one alone cannot be asked for.
#[cfg(not(target_os = "linux"))]
fn sync_file_system(_: &Path) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

impl Marked {
    fn parse(name: &str) -> Option<Self> {
        match name.split_once('.') {
            Some((COMPOSED, hex)) => format!("sha256:{hex}").parse().ok().map(Self::Composition),
            Some((kind, hex)) => Some(Self::Snapshot { kind: kind.into(), hex: hex.into() }),
            None => format!("sha256:{name}").parse().ok().map(Self::Blob),
        }
    }

    fn path(&self, store: &Path) -> PathBuf {
        match self {
            Self::Blob(digest) => store.join("blobs/sha256").join(digest.hex()),
            Self::Composition(digest) => composed::path(store, digest),
            Self::Snapshot { kind, hex } => store.join("snapshots").join(kind).join(hex),
        }
    }
}

/// Whether no blob was lost. Snapshots are not looked into: they are rebuilt from blobs.
fn survived(store: &Path, name: &str) -> Result<bool, StoreError> {
    let Some(marked) = Marked::parse(name) else { return Ok(true) };
    let path = marked.path(store);
    if !path.exists() {
        return Ok(true);
    }
    match marked {
        Marked::Blob(digest) if has_digest(&path, &digest) => Ok(true),
        Marked::Composition(_) => Ok(true),
        Marked::Blob(_) => remove_if_there(&path).map(|()| false),
        Marked::Snapshot { .. } => snapshots::bury(store, &path, &random_name()?).map(|()| true),
    }
}

/// A file that cannot be read back is as good as lost.
fn has_digest(path: &Path, digest: &Digest) -> bool {
    let hash = || {
        let mut reader = HashingReader::new(File::open(path)?);
        let mut buffer = vec![0; 256 * 1024];
        while reader.read(&mut buffer)? > 0 {}
        Ok::<_, io::Error>(reader.finish().0)
    };
    hash().is_ok_and(|found| found == *digest)
}

pub(super) fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |source: io::Error| StoreError::io("list", folder, source);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}
