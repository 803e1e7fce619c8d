//! Cache mounts of the store as layers: found, measured, written, and put in place of what was there.
//!
//! A layer of a cache holds the directory `source` and what is in it. Reading and unpacking happen in the
//! sandbox's helper, where files have the owners that steps saw. Where layers come from and go to is not
//! known here.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::cache_identity::CacheIdentity;
use super::sandbox::{HelperTask, Supervisor, TaskOutput, UnpackTarget};
use super::supervisors::{self, MORE_IDS, Supervisors};
use super::{fault, snapshots};
use crate::diag::Problem;
use crate::layer::{Compression, FinishedLayer};
use crate::store::{CacheFolder, FoundFolder, Store};

/// A cache mount that has content.
#[derive(Clone, Debug)]
pub struct StoredCache {
    pub identity: CacheIdentity,
    pub folder: FoundFolder,
}

impl StoredCache {
    /// What a step sees, and the directory around it.
    pub fn content(&self) -> PathBuf {
        self.folder.path.join("fs")
    }
}

/// The cache mounts of a store, by identity and number; those of another kind of user are not among them.
pub fn stored_caches(store: &Store) -> Result<Vec<StoredCache>, Box<Problem>> {
    let found = store.caches().list().map_err(|error| Box::new(error.problem()))?;
    let named = found
        .into_iter()
        .filter_map(|folder| Some(StoredCache { identity: CacheIdentity::of(&folder.path)?, folder }));
    let mut caches: Vec<StoredCache> = named.filter(|cache| cache.content().is_dir()).collect();
    caches.sort_by(|left, right| {
        (&left.identity, left.folder.number).cmp(&(&right.identity, right.folder.number))
    });
    Ok(caches)
}

/// What became of a cache that was to be put into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    New,
    Replaced,
    /// There was one, and it was not to be replaced.
    Kept,
    /// A step uses it.
    Busy,
}

/// Work on the files of caches, by one helper.
pub struct CacheFiles<'s> {
    store: &'s Store,
    supervisor: Supervisor,
}

impl<'s> CacheFiles<'s> {
    pub async fn open(store: &'s Store) -> Result<Self, Box<Problem>> {
        Ok(Self { store, supervisor: Supervisors::new(store).any().await? })
    }

    /// The bytes of all files in a cache.
    pub async fn measure(&self, cache: &StoredCache) -> Result<u64, Box<Problem>> {
        match self.call(HelperTask::Measure { paths: vec![cache.content()] }, None).await? {
            TaskOutput::Measured { bytes } => Ok(bytes.iter().sum()),
            other => unreachable!("measuring gives a measure, not {other:?}"),
        }
    }

    /// Writes a cache as layer into `out`, while nobody uses it. `None` when somebody does and one is not
    /// `patient`, or when it is gone.
    pub async fn export(
        &self,
        cache: &StoredCache,
        patient: bool,
        out: &File,
    ) -> Result<Option<FinishedLayer>, Box<Problem>> {
        let Some(taken) = self.take(&cache.identity, cache.folder.number, patient).await? else {
            return Ok(None);
        };
        let content = taken.path().join("fs");
        if !content.is_dir() {
            return Ok(None);
        }
        let export = HelperTask::Export {
            upper: content,
            lowers: Vec::new(),
            compression: Compression::ZSTD,
            clamp_mtime: None,
        };
        match self.call(export, Some(out)).await? {
            TaskOutput::Exported(exported) => {
                let layer = exported.into_layer();
                layer
                    .map(Some)
                    .map_err(|error| fault::io("read a layer's index", &std::io::Error::other(error)))
            }
            other => unreachable!("an export gives a layer, not {other:?}"),
        }
    }

    /// Makes a layer, which is known to hold `source` and nothing beside it, the content of a cache. A
    /// warning comes along when files lost their owners.
    pub async fn import(
        &self,
        identity: &CacheIdentity,
        media_type: &str,
        blob: &File,
        replaces: bool,
    ) -> Result<(Placement, Option<Problem>), Box<Problem>> {
        let (number, has_content) = self.first_folder(identity)?;
        if has_content && !replaces {
            return Ok((Placement::Kept, None));
        }
        let Some(taken) = self.take(identity, number, false).await? else {
            return Ok((Placement::Busy, None));
        };
        let content = taken.path().join("fs");
        if content.is_dir() && !replaces {
            return Ok((Placement::Kept, None));
        }
        let made = taken.path().join("made");
        self.call(HelperTask::Remove { paths: vec![made.clone()] }, None).await?;
        let warning = match self.unpack(&made, media_type, blob).await {
            Ok(warning) => warning,
            Err(problem) => {
                // What stays is removed by the next one who fills this cache.
                let _ = self.call(HelperTask::Remove { paths: vec![made] }, None).await;
                return Err(problem);
            }
        };
        identity.describe(taken.path()).map_err(|error| fault::io("describe a cache", &error))?;
        self.put_in_place(&made, &content).await.map(|placement| (placement, warning))
    }

    async fn unpack(
        &self,
        made: &Path,
        media_type: &str,
        blob: &File,
    ) -> Result<Option<Problem>, Box<Problem>> {
        std::fs::create_dir(made).map_err(|error| fault::io("make a cache", &error))?;
        let target = UnpackTarget::Lower { into: made.to_path_buf() };
        let unpack = HelperTask::Unpack { media_type: media_type.to_string(), target };
        let TaskOutput::Unpacked(unpacked) = self.call(unpack, Some(blob)).await? else { return Ok(None) };
        let message = "files of other users in the cache became this user's";
        let warning = || Problem::warning("host::id-map", message).help(MORE_IDS);
        Ok((unpacked.ownership_lost && snapshots::is_mapped()).then(warning))
    }

    /// At every moment the content is the old one or the new one.
    async fn put_in_place(&self, made: &Path, content: &Path) -> Result<Placement, Box<Problem>> {
        let failed = |error: std::io::Error| fault::io("put a cache in its place", &error);
        if !content.is_dir() {
            std::fs::rename(made, content).map_err(failed)?;
            return Ok(Placement::New);
        }
        renameat_with(CWD, made, CWD, content, RenameFlags::EXCHANGE)
            .map_err(|errno| failed(errno.into()))?;
        self.call(HelperTask::Remove { paths: vec![made.to_path_buf()] }, None).await?;
        Ok(Placement::Replaced)
    }

    /// The folder that the next user is given, and whether it has content.
    fn first_folder(&self, identity: &CacheIdentity) -> Result<(u32, bool), Box<Problem>> {
        let key = identity.key();
        let found = self.store.caches().list().map_err(|error| Box::new(error.problem()))?;
        let first = found.iter().find(|folder| folder.key == key);
        Ok(first.map_or((0, false), |folder| (folder.number, folder.path.join("fs").is_dir())))
    }

    async fn take(
        &self,
        identity: &CacheIdentity,
        number: u32,
        patient: bool,
    ) -> Result<Option<CacheFolder>, Box<Problem>> {
        let (store, key) = (self.store.clone(), identity.key());
        let taken = fault::blocking(move || store.caches().take_folder(&key, number, patient)).await;
        taken.map_err(|error| Box::new(error.problem()))
    }

    async fn call(&self, task: HelperTask, file: Option<&File>) -> Result<TaskOutput, Box<Problem>> {
        let descriptors: Vec<_> = file.iter().map(|file| file.as_fd()).collect();
        let done = self.supervisor.call(task, &descriptors).await;
        done.map_err(|error| Box::new(supervisors::problem(&error)))
    }
}
