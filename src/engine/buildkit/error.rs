//! What can go wrong with a worker: each with its own message, and the next step.

use std::path::PathBuf;

use crate::diag::{Kind, Problem};

/// The oldest BuildKit that speaks all that is used here.
pub const OLDEST: &str = "0.12.0";

#[derive(Clone, Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("`{endpoint}` is no address of a BuildKit")]
    Address { endpoint: String },
    #[error("there is no socket of a BuildKit at `{}`", path.display())]
    NoSocket { path: PathBuf },
    #[error("nobody may connect to `{endpoint}` as this user")]
    NotPermitted { endpoint: String },
    #[error("worker `{endpoint}` refuses connections")]
    Refused { endpoint: String },
    #[error("worker `{endpoint}` cannot be reached: {cause}")]
    Unreachable { endpoint: String, cause: String },
    #[error("worker `{endpoint}` does not answer within {seconds} seconds")]
    Silent { endpoint: String, seconds: u64 },
    #[error("cannot read `{}`, the `{key}` of worker `{endpoint}`: {cause}", path.display())]
    Pem { endpoint: String, key: &'static str, path: PathBuf, cause: String },
    #[error("worker `{endpoint}` has `cert` without `key`, or `key` without `cert`")]
    HalfIdentity { endpoint: String },
    #[error("the certificate of worker `{endpoint}` is of an authority that is not trusted")]
    UnknownAuthority { endpoint: String },
    #[error("the certificate of worker `{endpoint}` has expired")]
    Expired { endpoint: String },
    #[error("the certificate of worker `{endpoint}` is for another name")]
    WrongName { endpoint: String },
    #[error("worker `{endpoint}` refuses this client's certificate: {cause}")]
    ClientRefused { endpoint: String, cause: String },
    #[error("worker `{endpoint}` does not speak TLS as expected: {cause}")]
    Tls { endpoint: String, cause: String },
    #[error("what answers at `{endpoint}` is no BuildKit: {cause}")]
    Foreign { endpoint: String, cause: String },
    #[error("worker `{endpoint}` has BuildKit {version}, and mab needs {OLDEST} or newer")]
    TooOld { endpoint: String, version: String },
    #[error("the connection to worker `{endpoint}` was lost: {cause}")]
    Lost { endpoint: String, cause: String },
}

impl WorkerError {
    /// Whether another worker may do better.
    pub fn is_of_this_worker(&self) -> bool {
        matches!(
            self,
            Self::Lost { .. } | Self::Refused { .. } | Self::Silent { .. } | Self::Unreachable { .. }
        )
    }

    pub fn problem(&self) -> Problem {
        let (kind, code) = self.class();
        Problem::new(kind, code, self.to_string()).help(self.help())
    }

    fn class(&self) -> (Kind, &'static str) {
        match self {
            Self::Address { .. } => (Kind::Input, "builder::endpoint"),
            Self::Pem { .. } | Self::HalfIdentity { .. } => (Kind::Input, "builder::tls"),
            Self::NoSocket { .. }
            | Self::NotPermitted { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Silent { .. } => (Kind::Remote, "builder::unreachable"),
            Self::UnknownAuthority { .. }
            | Self::Expired { .. }
            | Self::WrongName { .. }
            | Self::ClientRefused { .. }
            | Self::Tls { .. } => (Kind::Remote, "builder::certificate"),
            Self::Foreign { .. } => (Kind::Remote, "builder::no-buildkit"),
            Self::TooOld { .. } => (Kind::Remote, "builder::version"),
            Self::Lost { .. } => (Kind::Remote, "builder::lost"),
        }
    }

    fn help(&self) -> &'static str {
        match self {
            Self::Address { .. } => "write `unix:///path/to/buildkitd.sock` or `tcp://HOST:PORT`",
            Self::NoSocket { .. } => "start buildkitd there, or correct the `endpoint`",
            Self::NotPermitted { .. } => {
                "run as a user of the socket's group, or let buildkitd listen with `--group`"
            }
            Self::Refused { .. } => "start buildkitd there, or correct host and port of the `endpoint`",
            Self::Unreachable { .. } => "check the `endpoint`, and the network to it",
            Self::Silent { .. } => "check that buildkitd is alive; with TLS, that the worker has `tls`",
            Self::Pem { .. } => "name a file in PEM",
            Self::HalfIdentity { .. } => "give both, or neither",
            Self::UnknownAuthority { .. } => "set `tls.ca` of the worker to the authority that signed it",
            Self::Expired { .. } => "renew it on the worker",
            Self::WrongName { .. } => "use the name it is for in the `endpoint`, or issue it for this one",
            Self::ClientRefused { .. } => {
                "set `tls.cert` and `tls.key` of the worker to what its authority signed, and is still valid"
            }
            Self::Tls { .. } => "check whether buildkitd listens there with TLS",
            Self::Foreign { .. } => "check host and port; with TLS, give the worker `tls`",
            Self::TooOld { .. } => "upgrade buildkitd there",
            Self::Lost { .. } => "see the log of buildkitd there, and run again",
        }
    }
}
