//! Why a cache could not do its part. None of it ends a build.

use std::io;
use std::time::Duration;

use crate::base::Digest;
use crate::http::Transient;
use crate::registry::RegistryError;

#[derive(Clone, Debug, thiserror::Error)]
pub enum CacheError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("it did not answer within {}", seconds(.0))]
    TimedOut(Duration),
    #[error("it answered with status {status}{}", if .detail.is_empty() { String::new() } else { format!(": {detail}") })]
    Status { status: u16, detail: String, retry_after: Option<Duration> },
    #[error("it cannot be reached: {cause}")]
    Unreachable { cause: String },
    /// The connection stood, and broke or stalled.
    #[error("the connection to it broke: {cause}")]
    Broken { cause: String },
    #[error("it does not keep to its protocol: {detail}")]
    Protocol { detail: String },
    #[error("the {kind} entry {key} cannot be used: {cause}")]
    Entry { kind: &'static str, key: String, cause: String },
    #[error("the blob {} has other bytes than its digest says", .digest.short())]
    Damaged { digest: Digest },
    #[error("the blob {} is named by an entry and is not there", .digest.short())]
    Lost { digest: Digest },
    #[error("cannot {action} `{path}`: {cause}")]
    Folder { action: &'static str, path: String, cause: String, is_denied: bool },
    /// What this machine has, or has not, is no fault of the cache.
    #[error("{cause}")]
    Local { cause: String, errno: Option<i32> },
}

fn seconds(time: &Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

impl CacheError {
    pub fn local(error: &io::Error) -> Self {
        Self::Local { cause: error.to_string(), errno: error.raw_os_error() }
    }

    /// Whether asking again is of no use in this run: nobody becomes allowed to by asking.
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Registry(RegistryError::Unauthorized { .. } | RegistryError::Denied { .. }) => true,
            Self::Status { status, .. } => matches!(status, 401 | 403),
            Self::Folder { is_denied, .. } => *is_denied,
            _ => false,
        }
    }

    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local { .. } | Self::Registry(RegistryError::Local { .. }))
    }

    /// Whether what the cache holds is broken, as opposed to the way to it.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Registry(RegistryError::DigestMismatch { .. } | RegistryError::SizeMismatch { .. }) => true,
            other => matches!(other, Self::Entry { .. } | Self::Damaged { .. } | Self::Lost { .. }),
        }
    }
}

impl Transient for CacheError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_transient(),
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            other => other.is_unreachable() || matches!(other, Self::Broken { .. }),
        }
    }

    fn is_unreachable(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_unreachable(),
            other => matches!(other, Self::Unreachable { .. }),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Registry(error) => error.retry_after(),
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
