//! What a COPY or ADD reads that is no step: a context of the job, or something from elsewhere, fetched when a
//! step that needs it runs.

use std::sync::Arc;

use super::fault;
use super::solve::Task;
use crate::context::Context;
use crate::diag::Problem;
use crate::engine::JobContext;
use crate::engine::selection::context_of;
use crate::source::SourceError;
use crate::steps::{CopyFrom, CopyOp, Step};

impl Task {
    /// The files that `copy` selects from, where they are no other step's.
    pub(super) async fn context(&self, copy: &CopyOp) -> Result<Option<JobContext>, Arc<Problem>> {
        match copy.from {
            CopyFrom::Remote(place) => self.remote(place).await.map(Some),
            CopyFrom::MainContext | CopyFrom::Context(_) | CopyFrom::Step(_) => {
                Ok(context_of(&self.job, copy).cloned())
            }
        }
    }

    async fn remote(&self, place: usize) -> Result<JobContext, Arc<Problem>> {
        let fetched = self.engine.sources.fetch(&self.job.sources[place], &self.job.auth).await;
        let root = fetched.map_err(|error| Arc::new(source_problem(&self.step, &error)))?;
        let store = self.engine.store.clone();
        let walked = fault::blocking(move || Context::walk(&root, None, Some(store))).await;
        walked.map(Arc::new).map_err(|error| Arc::new(error.problem()))
    }
}

fn source_problem(step: &Step, error: &SourceError) -> Problem {
    match &step.place {
        Some(place) => error.problem().at(place.clone(), "added here"),
        None => error.problem(),
    }
}
