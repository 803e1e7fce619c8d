//! What can go wrong between a request and its answer.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How the act of setting a resource limit begins.
pub(super) const SETTING_A_LIMIT: &str = "set the limit `";

/// A failed act inside the helper, as it crosses the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was being done, as a phrase after "cannot": `mount the root file system`.
    pub action: String,
    /// The system's error number, when it was the system that refused.
    pub errno: Option<i32>,
    /// What it said in words, when that is not the error number's text.
    pub detail: Option<String>,
}

impl Failure {
    pub fn new(action: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { action: action.into(), errno: None, detail: Some(detail.into()) }
    }

    /// Whether a resource limit was beyond what this user may have.
    pub fn is_refused_limit(&self) -> bool {
        self.action.starts_with(SETTING_A_LIMIT) && self.errno == Some(libc::EPERM)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.action)?;
        if let Some(errno) = self.errno {
            write!(f, ": {}", std::io::Error::from_raw_os_error(errno))?;
        }
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

/// Says what was tried when the system refused it.
#[cfg(target_os = "linux")]
pub(super) trait Doing<T> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T, Failure>;
}

#[cfg(target_os = "linux")]
impl<T, E: Into<std::io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, action: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| {
            let error = error.into();
            let errno = error.raw_os_error();
            let detail = errno.is_none().then(|| error.to_string());
            Failure { action: action(), errno, detail }
        })
    }
}

/// Why the sandbox could not be set up or could not run a request.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel, or a policy on this host, refuses user namespaces to this user.
    #[error("user namespaces are not available here: {detail}")]
    NoUserNamespaces {
        detail: String,
        /// AppArmor allows them to named programs only (`kernel.apparmor_restrict_unprivileged_userns`).
        apparmor_restricted: bool,
        /// `user.max_user_namespaces` is 0.
        limit_is_zero: bool,
    },
    /// The tools that write a user namespace's id maps refused.
    #[error("cannot give the user namespace its ids: {0}")]
    IdMap(String),
    /// Overlay mounts are refused, often because the store lies on an overlay or on NFS.
    #[error("{failure}; overlay mounts are refused for `{upper}`")]
    OverlayRefused { upper: PathBuf, failure: Failure },
    /// The program itself could not be executed.
    #[error("{failure}")]
    Exec { program: String, failure: Failure },
    /// Something in the helper failed.
    #[error("{0}")]
    Failed(Failure),
    /// The helper process is gone; nothing runs any more.
    #[error("the sandbox helper is gone{}", .0.as_deref().map(|text| format!(": {text}")).unwrap_or_default())]
    HelperGone(Option<String>),
    #[error("cannot {action}: {source}")]
    Io { action: &'static str, source: std::io::Error },
}
