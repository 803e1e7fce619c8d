//! Why something from elsewhere did not come, and what its user can do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::diag::{Kind, Problem};
use crate::http::Transient;
use crate::layer::LayerError;
use crate::lock::Unlocked;
use crate::store::free_space::Shortage;
use crate::store::{MAKE_SPACE, StoreError};

/// `what` is a URL without its credentials, or a file.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot reach `{host}` for `{what}`: {cause}")]
    Unreachable { what: String, host: String, cause: String },
    /// The connection stood, and broke or stalled.
    #[error("the connection for `{what}` broke: {cause}")]
    Broken { what: String, cause: String },
    #[error("`{what}` was answered with status {status}")]
    Status { what: String, status: u16, retry_after: Option<Duration> },
    #[error("`{what}` leads astray: {detail}")]
    Redirect { what: String, detail: String },
    #[error("`{what}` has the digest {actual}, not {expected}")]
    Digest { what: String, expected: String, actual: String },
    #[error("`{what}` is at commit {actual}, not {expected}")]
    Commit { what: String, expected: String, actual: String },
    #[error("the repository `{what}` has no ref `{reference}`")]
    NoReference { what: String, reference: String },
    #[error("the repository `{what}` has no default branch")]
    NoDefaultBranch { what: String },
    #[error("commit {commit} of `{what}` has no folder `{subdir}`")]
    NoFolder { what: String, commit: String, subdir: String },
    #[error("git cannot {action} `{what}`: {detail}")]
    Git { what: String, action: &'static str, detail: String, is_remote: bool },
    #[error("`{what}` needs `git`, which cannot be started: {cause}")]
    NoGit { what: String, cause: io::Error },
    #[error("`{what}` is no archive that can be unpacked: {cause}")]
    Archive { what: String, cause: LayerError },
    #[error("`{path}` in the archive `{what}` {reason}")]
    ArchiveEntry { what: String, path: String, reason: String },
    #[error("`{}` cannot be read: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("`{what}` is larger than the space that is left: {shortage}")]
    Full { what: String, shortage: Shortage },
    #[error("cannot {action}: {cause}")]
    Local { action: &'static str, cause: io::Error },
    #[error("the secret `{id}` cannot be used for `{what}`: {cause}")]
    Secret { id: String, what: String, cause: String },
    #[error("`--offline` keeps from asking about `{what}`")]
    Offline { what: String },
    #[error(transparent)]
    Unlocked(#[from] Unlocked),
    #[error("standard input is read already")]
    StdinTwice,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SourceError {
    pub(super) fn local(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Local { action, cause }
    }

    pub fn problem(&self) -> Problem {
        match self {
            Self::Store(error) => return error.problem(),
            Self::Unlocked(error) => return error.problem(),
            _ => {}
        }
        let problem = Problem::new(self.kind(), self.code(), self.to_string());
        match self.help() {
            Some(help) => problem.help(help),
            None => problem,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::Status { .. }
            | Self::Redirect { .. }
            | Self::Digest { .. }
            | Self::Commit { .. }
            | Self::NoDefaultBranch { .. }
            | Self::Git { is_remote: true, .. } => Kind::Remote,
            Self::NoReference { .. }
            | Self::NoFolder { .. }
            | Self::Archive { .. }
            | Self::ArchiveEntry { .. }
            | Self::Unreadable { .. }
            | Self::Secret { .. }
            | Self::Offline { .. }
            | Self::Unlocked(_)
            | Self::StdinTwice => Kind::Input,
            Self::Git { is_remote: false, .. }
            | Self::NoGit { .. }
            | Self::Full { .. }
            | Self::Local { .. }
            | Self::Store(_) => Kind::Host,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "source::unreachable",
            Self::Broken { .. } => "source::broken-connection",
            Self::Status { .. } => "source::status",
            Self::Redirect { .. } => "source::redirect",
            Self::Digest { .. } => "source::digest-mismatch",
            Self::Commit { .. } => "source::commit-mismatch",
            Self::NoReference { .. } => "source::no-ref",
            Self::NoDefaultBranch { .. } => "source::no-default-branch",
            Self::NoFolder { .. } => "source::no-folder",
            Self::Git { .. } => "source::git",
            Self::NoGit { .. } => "source::no-git",
            Self::Archive { .. } | Self::ArchiveEntry { .. } => "source::archive",
            Self::Unreadable { .. } => "source::unreadable",
            Self::Full { .. } => "source::full",
            Self::Local { .. } => "source::local",
            Self::Secret { .. } => "source::secret",
            Self::Offline { .. } => "source::offline",
            Self::Unlocked(_) => "source::unlocked",
            Self::StdinTwice => "source::stdin",
            Self::Store(_) => "source::store",
        }
    }

    fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unreachable { .. } => "check the name, the network and HTTPS_PROXY",
            Self::Broken { .. } => "run again; what else was fetched is not fetched again",
            Self::Status { status: 401 | 403, .. } => {
                "give the target a secret `HTTP_AUTH_TOKEN_HOST` or `HTTP_AUTH_HEADER_HOST`, with the host's name"
            }
            Self::Status { status: 404 | 410, .. } => "check the spelling of the URL",
            Self::Status { status: 500.., .. } => "the server is out of order; run again later",
            Self::Digest { .. } | Self::Commit { .. } => {
                "what is there now is not what was expected: make sure that it is what you want, then correct `--checksum`, or for what `multiarch.lock` pins run `mab lock --update`"
            }
            Self::NoReference { .. } => "name a branch, a tag or a full commit",
            Self::NoDefaultBranch { .. } => "name a branch, a tag or a commit: `URL#main`",
            Self::NoFolder { .. } => "the folder stands behind the ref: `URL#ref:folder`",
            Self::Git { is_remote: true, detail, .. } if is_redirect(detail) => {
                "the repository has moved, and its secret stays with the host it is for: name it by its new URL"
            }
            Self::Git { is_remote: true, .. } => {
                "check the URL and the network; a private repository wants a secret `GIT_AUTH_TOKEN`, or an ssh agent"
            }
            Self::NoGit { .. } => "install `git`",
            Self::Archive { .. } | Self::ArchiveEntry { .. } => {
                "give a tar archive, plain or compressed with gzip, bzip2, xz or zstd"
            }
            Self::Full { .. } => MAKE_SPACE,
            Self::Offline { .. } => OFFLINE_HELP,
            Self::StdinTwice => "only one of `context` and `dockerfile` can be `-`",
            Self::Status { .. }
            | Self::Redirect { .. }
            | Self::Git { is_remote: false, .. }
            | Self::Unreadable { .. }
            | Self::Local { .. }
            | Self::Secret { .. }
            | Self::Unlocked(_)
            | Self::Store(_) => return None,
        })
    }
}

/// The way to a run that asks nobody.
const OFFLINE_HELP: &str = "build once without `--offline`; `mab lock` pins names, so that nobody needs to be asked about them again";

/// Git's word for a redirect that it may not follow.
fn is_redirect(detail: &str) -> bool {
    ["301", "302", "303", "307", "308"]
        .iter()
        .any(|status| detail.contains(&format!("requested URL returned error: {status}")))
}

impl Transient for SourceError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            Self::Unreachable { .. } | Self::Broken { .. } => true,
            _ => false,
        }
    }

    fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
