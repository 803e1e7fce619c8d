//! How long caches are waited for.

use std::time::Duration;

use crate::http::Retries;

/// A cache that is slower than the work it saves is of no use, so it gets less time than a registry that is
/// needed. Short times are for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    pub connect: Duration,
    /// For one question whether an entry is there, and for what is small.
    pub lookup: Duration,
    /// How long a blob may stand still.
    pub stall: Duration,
    /// For all uploads together, after the build ended.
    pub finish: Duration,
    pub retries: Retries,
    /// After so many failures in a row a cache is left alone.
    pub failures: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            lookup: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            finish: Duration::from_secs(600),
            retries: Retries {
                attempts: 3,
                first_pause: Duration::from_millis(250),
                longest_pause: Duration::from_secs(2),
                longest_retry_after: Duration::from_secs(20),
            },
            failures: 3,
        }
    }
}
