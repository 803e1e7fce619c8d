//! Plain values that events carry.

use std::fmt;
use std::time::Duration;

use super::digest::Digest;
use super::platform::Platform;

/// How a step or node came to its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The work was done in this run.
    Built,
    /// An earlier result was found by its key; no byte was touched.
    Reused,
    /// Equal work was under way for somebody else in this run, and its result was shared.
    Shared,
}

/// What a build node produced, for the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    pub platform: Platform,
    pub manifest: Digest,
    /// Compressed size of config and layers in bytes.
    pub size: u64,
    pub layers: usize,
}

/// Who built an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerName {
    pub builder: String,
    /// Of this machine there is none.
    pub endpoint: Option<String>,
}

impl WorkerName {
    /// This machine, by the name that it has among builders.
    pub fn here() -> Self {
        Self { builder: "default".to_string(), endpoint: None }
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Some(endpoint) => write!(f, "{endpoint} of {}", self.builder),
            None => f.write_str(&self.builder),
        }
    }
}

/// Where the time of a build node went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepCounts {
    pub built: usize,
    pub reused: usize,
    /// Time spent in steps that ran.
    pub spent: Duration,
    /// Of that, time in steps that ran under emulation.
    pub emulated: Duration,
}

impl StepCounts {
    pub fn count(&mut self, outcome: Outcome, elapsed: Duration, is_emulated: bool) {
        match outcome {
            Outcome::Built => {
                self.built += 1;
                self.spent += elapsed;
                if is_emulated {
                    self.emulated += elapsed;
                }
            }
            Outcome::Reused | Outcome::Shared => self.reused += 1,
        }
    }
}

/// Which of a process's two streams a log line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}
