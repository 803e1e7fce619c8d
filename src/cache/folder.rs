//! A cache in a directory, perhaps of a network file system or one that the CI keeps between jobs.
//!
//! ```text
//! <path>/mab/v1/<kind>/<key hex>      an entry's document
//! <path>/mab/v1/blobs/<digest hex>    a blob
//! ```
//!
//! A file gets its name only when it is complete and on disk, so that whoever finds it can take it. Who else
//! writes here is not known; nothing is locked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use rustix::fs::OFlags;
use tokio::io::AsyncReadExt as _;

use super::CacheError;
use super::backend::{Answer, Backend, BlobUpload, Progress, Sink};
use super::entry::{Document, EntryKind};
use crate::base::Digest;
use crate::oci::Descriptor;

pub struct Folder {
    root: PathBuf,
}

const CHUNK: usize = 256 * 1024;
/// What a writer that was killed has left behind is removed after this time by the next one.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// How the names of files begin that are still being written.
const TEMPORARY: &str = ".writing-";

impl Folder {
    pub fn new(path: &Path) -> Self {
        Self { root: path.join("mab/v1") }
    }

    fn entry_path(&self, kind: EntryKind, key: &Digest) -> PathBuf {
        self.root.join(kind.name()).join(key.hex())
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.hex())
    }
}

impl Backend for Folder {
    fn entry<'a>(&'a self, kind: EntryKind, key: &'a Digest) -> Answer<'a, Option<Vec<u8>>> {
        let path = self.entry_path(kind, key);
        let read = move || {
            let Some(file) = open(&path)? else { return Ok(None) };
            let mut bytes = Vec::new();
            file.take(kind.largest() + 1).read_to_end(&mut bytes).map_err(failed("read", &path))?;
            Ok(Some(bytes))
        };
        blocking(read).boxed()
    }

    fn has_entry<'a>(&'a self, kind: EntryKind, key: &'a Digest) -> Answer<'a, bool> {
        let path = self.entry_path(kind, key);
        blocking(move || Ok(open(&path)?.is_some())).boxed()
    }

    fn read_blob<'a>(
        &'a self,
        blob: &'a Descriptor,
        to: &'a File,
        progress: Progress<'a>,
    ) -> Answer<'a, bool> {
        let read = async move {
            let path = self.blob_path(&blob.digest);
            let opened = blocking({
                let path = path.clone();
                move || open(&path)
            });
            let Some(file) = opened.await? else { return Ok(false) };
            let mut file = tokio::fs::File::from_std(file);
            let mut sink = Sink::new(blob, to, progress);
            let mut chunk = vec![0; CHUNK];
            loop {
                match file.read(&mut chunk).await.map_err(failed("read", &path))? {
                    0 => return sink.finish().map(|()| true),
                    length => sink.push(&chunk[..length])?,
                }
            }
        };
        read.boxed()
    }

    /// One of another size is what a full disk or a broken copy left; it does not count.
    fn has_blob<'a>(&'a self, blob: &'a Descriptor) -> Answer<'a, bool> {
        let (path, size) = (self.blob_path(&blob.digest), blob.size);
        let look = move || {
            let Some(file) = open(&path)? else { return Ok(false) };
            Ok(file.metadata().map_err(failed("read", &path))?.len() == size)
        };
        blocking(look).boxed()
    }

    fn write_blob<'a>(&'a self, upload: BlobUpload<'a>) -> Answer<'a, ()> {
        let write = async move {
            let source = (upload.open)().map_err(|cause| CacheError::local(&cause))?;
            let path = self.blob_path(&upload.blob.digest);
            blocking(move || write_new(&path, source)).await?;
            (upload.progress)(upload.blob.size, upload.blob.size);
            Ok(())
        };
        write.boxed()
    }

    fn write_entry<'a>(&'a self, document: &'a Document) -> Answer<'a, ()> {
        let path = self.entry_path(document.kind, &document.key);
        let bytes = document.bytes.clone();
        blocking(move || write_new(&path, &bytes[..])).boxed()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CacheError> + Send + 'static,
) -> Result<T, CacheError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(cause) => Err(CacheError::local(&io::Error::other(cause))),
    }
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> CacheError {
    let path = path.display().to_string();
    move |cause| CacheError::Folder {
        action,
        path: path.clone(),
        is_denied: matches!(
            cause.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        ),
        cause: cause.to_string(),
    }
}

/// The file, if there is one. Waits for no other end of a pipe that somebody put there.
fn open(path: &Path) -> Result<Option<File>, CacheError> {
    let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = match OpenOptions::new().read(true).custom_flags(nonblocking).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
    if !is_file {
        return Err(failed("read", path)(io::Error::other("it is not a file")));
    }
    Ok(Some(file))
}

fn write_new(path: &Path, mut source: impl io::Read) -> Result<(), CacheError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(failed("create", folder))?;
    remove_abandoned(folder);
    let random = getrandom::u64().map_err(|cause| CacheError::local(&io::Error::other(cause.to_string())))?;
    let temporary = folder.join(format!("{TEMPORARY}{random:016x}"));
    let written = OpenOptions::new().write(true).create_new(true).open(&temporary).and_then(|mut file| {
        io::copy(&mut source, &mut file)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    });
    written.map_err(|cause| {
        // There is nothing to be done about a file that cannot be removed either.
        let _ = fs::remove_file(&temporary);
        failed("write", path)(cause)
    })
}

fn remove_abandoned(folder: &Path) {
    let Ok(files) = fs::read_dir(folder) else { return };
    for file in files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with(TEMPORARY)) {
        let age = file.metadata().and_then(|metadata| metadata.modified());
        let age = age.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
        if age.is_some_and(|age| age > ABANDONED) {
            let _ = fs::remove_file(file.path());
        }
    }
}
