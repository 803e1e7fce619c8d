//! Why a context could not be read.

use std::io;
use std::path::{Path, PathBuf};

use crate::diag::{Kind, Place, Problem, Source};
use crate::layer::TreeError;
use crate::store::StoreError;

use crate::pattern::IgnoreError;

#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    #[error("the build context `{}` cannot be read: {source}", root.display())]
    Root { root: PathBuf, source: io::Error },
    #[error("`{}` in the build context cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("`{}` changed while it was being read", path.display())]
    Changed { path: PathBuf },
    #[error("`{}` in the build context is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("the build context `{}` has more than {limit} files", root.display())]
    TooManyFiles { root: PathBuf, limit: usize },
    #[error("the ignore file `{}` cannot be read: {source}", path.display())]
    IgnoreFile { path: PathBuf, source: io::Error },
    #[error("{source}")]
    IgnoreRule { path: PathBuf, text: String, source: IgnoreError },
    #[error("the build context is no file tree: {0}")]
    Tree(#[from] TreeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ContextError {
    pub(super) fn unreadable(root: &Path, path: &[u8], source: impl Into<io::Error>) -> Self {
        Self::Unreadable { path: joined(root, path), source: source.into() }
    }

    pub fn problem(&self) -> Problem {
        let problem = |code| Problem::new(Kind::Input, code, self.to_string());
        match self {
            Self::Root { .. } => problem("context::root"),
            Self::Unreadable { .. } => {
                problem("context::unreadable").help("make it readable, or name it in `.dockerignore`")
            }
            Self::Changed { .. } => problem("context::changed").help("run again when nothing writes to it"),
            Self::NotAFile { .. } => problem("context::not-a-file"),
            Self::TooManyFiles { .. } => problem("context::too-many-files")
                .help("name what the build does not need in `.dockerignore`"),
            Self::IgnoreFile { .. } => problem("context::ignore-file"),
            Self::IgnoreRule { path, text, source } => {
                let before = text.split_inclusive('\n').take(source.line() - 1);
                let start: usize = before.map(str::len).sum();
                let length = text[start..].lines().next().unwrap_or_default().len();
                let source = Source::new(path.display().to_string(), text);
                problem("context::ignore-rule").at(Place::new(&source, start..start + length), "this pattern")
            }
            Self::Tree(_) => problem("context::tree"),
            Self::Store(error) => error.problem(),
        }
    }
}

pub(super) fn joined(root: &Path, path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    root.join(std::ffi::OsStr::from_bytes(path))
}
