//! Build contexts that are no directories: fetched, and unpacked where they are archives.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::archive::is_archive;
use super::auth::SourceAuth;
use super::error::SourceError;
use super::{Sources, blocking};
use crate::base::{Digest, HashingReader, PinnedSource, RemoteSource};
use crate::model::Context;
use crate::store::SnapshotKey;

/// A context as a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextFiles {
    pub root: PathBuf,
    /// Where the context is one file that is no archive: the Dockerfile itself.
    pub dockerfile: Option<PathBuf>,
    /// When its source says it is of.
    pub pinned: Option<PinnedSource>,
}

impl Sources {
    /// The files of a context; nothing for one that is an image.
    pub async fn context(
        &self,
        context: &Context,
        auth: &SourceAuth,
    ) -> Result<Option<ContextFiles>, SourceError> {
        match context {
            Context::Directory(root) => {
                Ok(Some(ContextFiles { root: root.clone(), dockerfile: None, pinned: None }))
            }
            Context::Remote { source, .. } => self.remote_context(source, auth).await.map(Some),
            Context::Archive(path) => self.archive_context(path).await.map(Some),
            Context::Stdin => self.stdin_context().await.map(Some),
            Context::Image(_) | Context::OciLayout { .. } | Context::Target(_) => Ok(None),
        }
    }

    /// The files of a repository, or of an archive over HTTP. A file that is no archive is a Dockerfile.
    async fn remote_context(
        &self,
        source: &RemoteSource,
        auth: &SourceAuth,
    ) -> Result<ContextFiles, SourceError> {
        let pinned = self.pin(source, auth).await?;
        let folder = self.fetch(&pinned, auth).await?;
        let RemoteSource::Http { url, .. } = source else {
            return Ok(ContextFiles { root: folder, dockerfile: None, pinned: Some(pinned) });
        };
        let files = self.context_of_file(&folder.join(url.file_name()), &source.to_string()).await?;
        Ok(ContextFiles { pinned: Some(pinned), ..files })
    }

    /// The files of an archive on disk; of a folder with an archive's name, its own.
    async fn archive_context(&self, path: &Path) -> Result<ContextFiles, SourceError> {
        if path.is_dir() {
            return Ok(ContextFiles { root: path.to_path_buf(), dockerfile: None, pinned: None });
        }
        let what = path.display().to_string();
        let root = self.unpacked(path, &what).await?;
        Ok(ContextFiles { root, dockerfile: None, pinned: None })
    }

    /// The files of an archive from standard input, or an empty context with a Dockerfile from there.
    async fn stdin_context(&self) -> Result<ContextFiles, SourceError> {
        let folder = self.stdin_folder().await?;
        self.context_of_file(&folder.join(STDIN), "standard input").await
    }

    /// What standard input says, as the text of a Dockerfile.
    pub async fn stdin_dockerfile(&self) -> Result<PathBuf, SourceError> {
        Ok(self.stdin_folder().await?.join(STDIN))
    }

    async fn context_of_file(&self, path: &Path, what: &str) -> Result<ContextFiles, SourceError> {
        if is_archive(path)? {
            let root = self.unpacked(path, what).await?;
            return Ok(ContextFiles { root, dockerfile: None, pinned: None });
        }
        let root = path.parent().unwrap_or(path).to_path_buf();
        Ok(ContextFiles { root, dockerfile: Some(path.to_path_buf()), pinned: None })
    }

    async fn stdin_folder(&self) -> Result<PathBuf, SourceError> {
        let this = self.clone();
        blocking(move || this.read_stdin()).await
    }

    fn read_stdin(&self) -> Result<PathBuf, SourceError> {
        let mut read = self.inner.stdin_read.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(folder) = read.as_ref() {
            return Ok(folder.clone());
        }
        let input = self.inner.stdin.take()?;
        let pending = self.store().snapshots().begin(&SnapshotKey::new("stdin", Digest::of(b"")))?;
        let file = fs::File::create_new(pending.path().join(STDIN));
        let mut file = file.map_err(SourceError::local("make a file in the store"))?;
        let mut input = HashingReader::new(input);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let count =
                io::Read::read(&mut input, &mut buffer).map_err(SourceError::local("read standard input"))?;
            if count == 0 {
                break;
            }
            file.write_all(&buffer[..count]).map_err(SourceError::local("write a file in the store"))?;
            self.expect_room("standard input", 0)?;
        }
        let folder = pending.commit_as(&SnapshotKey::new("stdin", input.finish().0))?;
        *read = Some(folder.clone());
        Ok(folder)
    }
}

const STDIN: &str = "stdin";
