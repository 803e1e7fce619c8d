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

/// A source with what it turned out to be: from here on it is the same bytes wherever it is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinnedSource {
    Http { url: HttpUrl, digest: Digest },
    Git(PinnedCommit),
}

/// Files of one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedCommit {
    pub git: GitReference,
    /// What a tag leads to in the end.
    pub commit: String,
    /// The full name that led there; the commit itself where that was asked for.
    pub reference: String,
    /// What the name stands for: the commit, or an annotated tag.
    pub object: String,
}

impl PinnedSource {
    pub fn source(&self) -> RemoteSource {
        match self {
            Self::Http { url, digest } => RemoteSource::Http { url: url.clone(), checksum: Some(*digest) },
            Self::Git(pinned) => RemoteSource::Git(pinned.git.clone()),
        }
    }

    /// The identity of the files. Where they came from is no part of it, unless their `.git` says so.
    pub fn identity(&self) -> Parts {
        let mut parts = Parts::new();
        match self {
            Self::Http { url, digest } => {
                parts.text("kind", "http");
                parts.text("name", url.file_name());
                parts.digest_of("content", *digest);
            }
            Self::Git(PinnedCommit { git, commit, reference, object }) => {
                parts.text("kind", "git");
                parts.text("commit", commit);
                parts.text("subdir", git.subdir.as_deref().unwrap_or_default());
                parts.text("submodules", (git.submodules != Some(false)).to_string());
                parts.text("times", format!("{:?}", git.times));
                if git.keep_git_dir == Some(true) {
                    parts.text("reference", reference);
                    parts.text("object", object);
                    parts.text("remote", git.redacted_remote());
                }
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
