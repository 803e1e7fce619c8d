//! A source that is somewhere else, and what it was when somebody looked: plain values that keys cover and
//! that a lock can hold and check.

use std::fmt;

use super::{Digest, GitReference, HttpUrl, Parts};

/// What ADD or a context takes from elsewhere, as asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RemoteSource {
    Http { url: HttpUrl, checksum: Option<Digest> },
    Git(GitReference),
}

/// What a source turned out to be. The same pin means the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The digest of the file.
    File(Digest),
    Commit(CommitPin),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitPin {
    /// What a tag leads to in the end.
    pub commit: String,
    /// The full name that led there; the commit itself when that was asked for.
    pub reference: String,
}

impl RemoteSource {
    /// The identity of its files once `pin` is known. Where they came from is no part of it, unless their `.git`
    /// says so.
    pub fn identity(&self, pin: &Pin) -> Parts {
        let mut parts = Parts::new();
        match (self, pin) {
            (Self::Http { url, .. }, Pin::File(digest)) => {
                parts.text("kind", "http");
                parts.text("name", url.file_name());
                parts.digest_of("content", *digest);
            }
            (Self::Git(git), Pin::Commit(pin)) => {
                parts.text("kind", "git");
                parts.text("commit", &pin.commit);
                parts.text("subdir", git.subdir.as_deref().unwrap_or_default());
                parts.text("submodules", (git.submodules != Some(false)).to_string());
                parts.text("times", format!("{:?}", git.times));
                if git.keep_git_dir == Some(true) {
                    parts.text("reference", &pin.reference);
                    parts.text("remote", git.redacted_remote());
                }
            }
            (Self::Http { .. }, Pin::Commit(_)) | (Self::Git(_), Pin::File(_)) => {
                panic!("a file is pinned by its digest, a repository by a commit")
            }
        }
        parts
    }
}

impl fmt::Display for RemoteSource {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { url, .. } => url.fmt(f),
            Self::Git(git) => git.fmt(f),
        }
    }
}
