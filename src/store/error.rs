//! Why the store could not do its part.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::base::Digest;
use crate::diag::{Kind, Problem};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the store `{}` cannot be used: {source}", path.display())]
    Unusable { path: PathBuf, source: io::Error },
    #[error("the store `{}` has version {found}, and this mab knows {supported}", path.display())]
    Newer { path: PathBuf, found: i64, supported: i64 },
    #[error("no space is left for the store's `{}`", path.display())]
    Full { path: PathBuf },
    #[error("cannot {action} `{}` in the store: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the store's database `{}` failed: {source}", path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
    #[error("blob `{digest}` has {found} bytes where {expected} were announced")]
    Size { digest: Digest, expected: u64, found: u64 },
    #[error("the system gave no random bytes: {0}")]
    Random(String),
}

impl StoreError {
    pub(super) fn unusable(path: &Path, source: io::Error) -> Self {
        if is_full(&source) {
            return Self::Full { path: path.to_path_buf() };
        }
        Self::Unusable { path: path.to_path_buf(), source }
    }

    pub(super) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        if is_full(&source) {
            return Self::Full { path: path.to_path_buf() };
        }
        Self::Io { action, path: path.to_path_buf(), source }
    }

    pub(super) fn database(path: &Path, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full { path: path.to_path_buf() },
            _ => Self::Database { path: path.to_path_buf(), source },
        }
    }

    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    pub fn problem(&self) -> Problem {
        let code = match self {
            Self::Unusable { .. } => "store::unusable",
            Self::Newer { .. } => "store::newer",
            Self::Full { .. } => "store::full",
            Self::Io { .. } => "store::io",
            Self::Database { .. } => "store::database",
            Self::Size { .. } => "store::size",
            Self::Random(_) => "store::random",
        };
        let problem = Problem::new(Kind::Host, code, self.to_string());
        match self.next_step() {
            Some(help) => problem.help(help),
            None => problem,
        }
    }

    fn next_step(&self) -> Option<String> {
        match self {
            Self::Unusable { .. } => {
                Some("name a folder you may write to with `--store` or `MAB_STORE`".into())
            }
            Self::Newer { .. } => Some("use the newer mab, or another folder with `--store`".into()),
            Self::Full { .. } => Some(MAKE_SPACE.into()),
            Self::Database { path, .. } => Some(format!(
                "when this stays, remove `{}`: it only holds what can be computed again",
                path.display()
            )),
            Self::Io { .. } | Self::Size { .. } | Self::Random(_) => None,
        }
    }
}

/// What a full disk asks for.
pub const MAKE_SPACE: &str = "free space with `mab prune`, or move the store with `--store`";

/// A failed act of the machine on files of the store; `action` is a phrase after "cannot".
pub fn act_problem(action: &str, error: &io::Error) -> Problem {
    let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let code = if is_full { "store::full" } else { "host::io" };
    let problem = Problem::new(Kind::Host, code, format!("cannot {action}: {error}"));
    if is_full { problem.help(MAKE_SPACE) } else { problem }
}

fn is_full(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(Errno::NOSPC.raw_os_error()) || code == Some(Errno::DQUOT.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_its_own_case_wherever_it_shows() {
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            assert!(StoreError::io("write", Path::new("/s/x"), errno).is_full());
            assert!(StoreError::unusable(Path::new("/s"), errno.into()).is_full());
        }
        assert!(!StoreError::io("write", Path::new("/s/x"), Errno::ACCESS).is_full());
        assert!(StoreError::io("write", Path::new("/s/x"), Errno::NOSPC).problem().help.is_some());
    }
}
