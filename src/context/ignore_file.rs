//! Which ignore file applies to a build: `<Dockerfile>.dockerignore` beside the Dockerfile, else
//! `.dockerignore` in the root of the context.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::ContextError;
use crate::pattern::Ignore;

/// An ignore file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoreFile {
    pub path: PathBuf,
    pub text: Vec<u8>,
}

const MOST_BYTES: u64 = 16 << 20;

impl IgnoreFile {
    /// `dockerfile` is its path on disk; named contexts and inline Dockerfiles have none.
    pub fn find(root: &Path, dockerfile: Option<&Path>) -> Result<Option<Self>, ContextError> {
        if let Some(dockerfile) = dockerfile {
            let mut path = dockerfile.as_os_str().to_owned();
            path.push(".dockerignore");
            if let Some(found) = Self::read(path.into())? {
                return Ok(Some(found));
            }
        }
        Self::read(root.join(".dockerignore"))
    }

    fn read(path: PathBuf) -> Result<Option<Self>, ContextError> {
        let mut text = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut text));
        match read {
            Ok(size) if size as u64 > MOST_BYTES => {
                Err(ContextError::IgnoreFile { path, source: io::ErrorKind::FileTooLarge.into() })
            }
            Ok(_) => Ok(Some(Self { path, text })),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(source) => Err(ContextError::IgnoreFile { path, source }),
        }
    }

    pub fn parse(&self) -> Result<Ignore, ContextError> {
        Ignore::parse(&self.text).map_err(|source| ContextError::IgnoreRule {
            path: self.path.clone(),
            text: String::from_utf8_lossy(&self.text).into_owned(),
            source,
        })
    }
}
