//! What is said of a publication as a whole, and what it may do.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::journal::Action;

/// As long as a registry may be expected to keep what it was just given.
const FRESH: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct About {
    pub action: Action,
    pub started: Timestamp,
    pub run_url: Option<String>,
    /// The commit, where an image does not say it.
    pub revision: Option<String>,
    /// A work tree that knows the history.
    pub checkout: Option<PathBuf>,
    /// A live tag may come to have fewer platforms.
    pub allows_fewer_platforms: bool,
    /// A floating tag may go back.
    pub allows_older: bool,
    /// Nothing is written: it is told what would be.
    pub is_rehearsal: bool,
    /// Contents that were seen within this time are not looked at again before tags move.
    pub fresh: Duration,
}

impl About {
    pub fn new(action: Action, started: Timestamp) -> Self {
        Self {
            action,
            // Journals are named by the millisecond.
            started: Timestamp::from_millisecond(started.as_millisecond()).unwrap_or(Timestamp::UNIX_EPOCH),
            run_url: None,
            revision: None,
            checkout: None,
            allows_fewer_platforms: false,
            allows_older: false,
            is_rehearsal: false,
            fresh: FRESH,
        }
    }
}
