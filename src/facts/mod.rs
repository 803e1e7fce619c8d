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
pub use self::ci::{CiFacts, Event as CiEvent, FACTS as CI_FACTS, page_of};
pub use self::git::{Error as GitError, GitFacts, Questions as GitQuestions, is_ancestor};
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
    /// The clock, or what `--now` says it is.
    pub now: Timestamp,
    /// The time of everything that is released: `--now`, else `SOURCE_DATE_EPOCH`. `None` leaves it to the clock.
    pub frozen: Option<Timestamp>,
}

/// What somebody says of the surroundings on the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    now: Option<Timestamp>,
    /// By variable.
    ci: BTreeMap<String, String>,
}

/// Why it is no fact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SaidError {
    #[error("`{0}` is not a time such as 2026-03-01T12:00:00Z, a day, or seconds since 1970")]
    Time(String),
    #[error("there is no fact `{0}`")]
    Fact(String),
}

impl Said {
    pub fn new(now: Option<&str>, facts: &[(String, String)]) -> Result<Self, SaidError> {
        let time = |text: &str| ci::time_of(text).ok_or_else(|| SaidError::Time(text.to_string()));
        let ci = ci::overrides(facts).map_err(SaidError::Fact)?;
        if let Some(date) = ci.get("MAB_COMMIT_DATE").filter(|date| !date.is_empty()) {
            time(date)?;
        }
        Ok(Self { now: now.map(time).transpose()?, ci })
    }
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
        let frozen = environment.get("SOURCE_DATE_EPOCH").and_then(|seconds| ci::time_of(seconds));
        Ok(Self { environment, host, directories, git: None, ci, now: Timestamp::now(), frozen })
    }

    /// Takes what is said for what is.
    pub fn take(&mut self, said: &Said) {
        self.ci = CiFacts::overridden(self.ci.take(), &said.ci);
        if let Some(now) = said.now {
            (self.now, self.frozen) = (now, Some(now));
        }
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
            frozen: None,
        }
    }
}
