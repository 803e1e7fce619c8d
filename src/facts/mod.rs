//! Surroundings read once and passed on as plain values: environment, host, git.
//!
//! With facts as arguments the compiler from file to plan is a pure function. Does not know what the
//! values are used for.

mod changes;
mod checkout;
mod ci;
mod env;
mod git;
mod host;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

pub use self::changes::{Changes, ChangesError};
pub use self::checkout::Checkout;
pub use self::ci::{CiFacts, Event as CiEvent};
pub use self::git::{Error as GitError, GitFacts, Questions as GitQuestions};
pub use self::host::Directories;
use crate::base::Platform;

/// Everything the outside world says.
#[derive(Clone, Debug)]
pub struct Facts {
    pub environment: BTreeMap<String, String>,
    /// The platform of this machine.
    pub host: Platform,
    pub directories: Directories,
    /// Filled by [`GitFacts::read`] when somebody asks for git; reading costs six processes.
    pub git: Option<GitFacts>,
    /// The CI system that runs us.
    pub ci: Option<CiFacts>,
    pub now: Timestamp,
}

impl Facts {
    /// Reads everything but git.
    pub fn read() -> std::io::Result<Self> {
        let environment = env::read();
        let directories = Directories::from_environment(&environment, std::env::current_dir()?);
        let host = match Platform::host() {
            // Containers run Linux also where the command line tool does not.
            platform if platform.os == "darwin" || platform.os == "windows" => {
                Platform::linux(&platform.architecture)
            }
            platform => platform,
        };
        let payload = ci::payload_path(&environment).and_then(|path| env::read_document(Path::new(path)));
        let ci = CiFacts::detect(&environment, payload.as_ref());
        Ok(Self { environment, host, directories, git: None, ci, now: Timestamp::now() })
    }

    /// A made-up `linux/amd64` machine with an empty environment, the same on every run.
    pub fn for_test() -> Self {
        let environment = BTreeMap::new();
        let directories = Directories::from_environment(&environment, PathBuf::from("/project"));
        Self {
            environment,
            host: Platform::linux("amd64"),
            directories,
            git: None,
            ci: None,
            now: Timestamp::UNIX_EPOCH,
        }
    }
}
