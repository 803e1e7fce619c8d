//! What can go wrong with a worker: each with its own message, and the next step.

use crate::diag::{Kind, Problem};
use crate::dial::DialError;
use crate::docker::EngineError;

/// The oldest BuildKit that speaks all that is used here.
pub const OLDEST: &str = "0.12.0";

#[derive(Clone, Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("`{endpoint}` is no address of a BuildKit")]
    Address { endpoint: String },
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("what answers at `{endpoint}` is no BuildKit: {cause}")]
    Foreign { endpoint: String, cause: String },
    #[error("worker `{endpoint}` has BuildKit {version}, and mab needs {OLDEST} or newer")]
    TooOld { endpoint: String, version: String },
    #[error("worker `{endpoint}` is Docker Engine {version}, and mab needs 20.10 or newer")]
    OldEngine { endpoint: String, version: String },
    #[error("the connection to worker `{endpoint}` was lost: {cause}")]
    Lost { endpoint: String, cause: String },
}

impl WorkerError {
    /// Whether another worker may do better.
    pub fn is_of_this_worker(&self) -> bool {
        match self {
            Self::Lost { .. } => true,
            Self::Dial(error) | Self::Engine(EngineError::Dial(error)) => error.is_of_the_network(),
            Self::Engine(_)
            | Self::Address { .. }
            | Self::Foreign { .. }
            | Self::TooOld { .. }
            | Self::OldEngine { .. } => false,
        }
    }

    pub fn problem(&self) -> Problem {
        let (kind, code, help) = match self {
            Self::Dial(error) => return error.problem(),
            Self::Engine(error) => return error.problem(),
            Self::Address { .. } => (Kind::Input, "builder::endpoint", ADDRESSES),
            Self::Foreign { .. } => {
                (Kind::Remote, "builder::no-buildkit", "check host and port; with TLS, give the worker `tls`")
            }
            Self::TooOld { .. } => (Kind::Remote, "builder::version", "upgrade buildkitd there"),
            Self::OldEngine { .. } => (Kind::Remote, "builder::version", "upgrade the Docker Engine there"),
            Self::Lost { .. } => {
                (Kind::Remote, "builder::lost", "see the log of buildkitd there, and run again")
            }
        };
        Problem::new(kind, code, self.to_string()).help(help)
    }
}

const ADDRESSES: &str = "write `unix:///path/to/buildkitd.sock`, `tcp://HOST:PORT`, `ssh://USER@HOST`, \
     `docker-container://NAME`, `kube-pod://POD?namespace=NAME`, or `docker://` for a Docker Engine's own BuildKit";
