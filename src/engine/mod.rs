//! What builds an image for one platform: the seam between a plan and the machines that do the work.
//!
//! A [`BuildJob`] holds everything an engine needs; the result is a platform image whose blobs are in
//! the store, or whose layers are in the repository that it is for. Engines know neither the plan nor who prints their progress.

pub mod base;
pub mod buildkit;
pub mod embedded;
pub mod forwarded;
mod job;
mod machine;
pub mod reached;
mod recipe;
mod run_command;
mod run_job;
pub mod selection;

pub use job::{BuildJob, BuildOutcome, JobContext, JobEvents, SEMANTICS, StepCache, StepCaches, ToldOfLayer};
pub use machine::{blocking, io_problem};
pub use recipe::Recipe;
pub use run_command::{Overrides, RunCommand, stop_signal};
pub use run_job::{RunJob, RunMount, Surroundings};

use std::collections::BTreeMap;

use crate::base::Platform;
use crate::diag::Problem;
use crate::steps::Lowered;

/// Builds images. One per kind of machine: this one, and BuildKit daemons.
pub trait Engine: Send + Sync + 'static {
    /// What the engine is, for keys and messages.
    fn info(&self) -> EngineInfo;

    /// The emulator, by platform, of commands among `steps` that would not run natively.
    fn emulators(&self, steps: &Lowered) -> BTreeMap<String, String>;

    /// Builds one stage for one platform. Dropping the future stops the work and cleans up after it.
    fn build(&self, job: BuildJob) -> impl Future<Output = Result<BuildOutcome, Box<Problem>>> + Send;

    /// Tells caches of what builds leave beside their results. Called once, after the last build.
    fn settle(&self) -> impl Future<Output = ()> + Send;
}

/// What an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    pub kind: &'static str,
    /// The platform whose binaries run natively.
    pub platform: Platform,
    /// What the engine cannot do here that decides results, such as `single-id`; part of every key.
    pub degraded: Vec<&'static str>,
}
