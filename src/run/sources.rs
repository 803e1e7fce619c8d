//! What build nodes take from elsewhere: pinned before their keys are made, fetched where a context is files.

use super::worker::PlanWorker;
use crate::base::PinnedSource;
use crate::diag::{Located, Problem};
use crate::engine::Engine;
use crate::model;
use crate::plan::BuildNode;
use crate::source::{ContextFiles, SourceAuth, SourceError};
use crate::steps::{CopyFrom, Lowered, Op};

impl<E: Engine> PlanWorker<E> {
    pub(super) fn source_auth(&self, node: &BuildNode) -> SourceAuth {
        let secrets = node.variant.secrets.iter().map(|(id, source)| (id, &source.value));
        SourceAuth::new(secrets, &self.tools.environment)
    }

    /// What every remote source of the steps is now, in their order.
    pub(super) async fn pinned(
        &self,
        lowered: &Lowered,
        auth: &SourceAuth,
    ) -> Result<Vec<PinnedSource>, Box<Problem>> {
        let mut pinned = Vec::with_capacity(lowered.sources.len());
        for (place, source) in lowered.sources.iter().enumerate() {
            let found = self.tools.sources.pin(source, auth).await;
            pinned.push(found.map_err(|error| added(lowered, place, &error))?);
        }
        Ok(pinned)
    }

    /// The files of a context that is no directory; nothing for an image.
    pub(super) async fn context_files(
        &self,
        declared: &Located<model::Context>,
        auth: &SourceAuth,
    ) -> Result<Option<ContextFiles>, Box<Problem>> {
        self.tools.sources.context(&declared.value, auth).await.map_err(|error| {
            let problem = error.problem();
            Box::new(match &declared.place {
                Some(place) => problem.at(place.clone(), "this context"),
                None => problem,
            })
        })
    }
}

/// At the first instruction that takes from the source.
fn added(lowered: &Lowered, source: usize, error: &SourceError) -> Box<Problem> {
    let takes = |op: &Op| matches!(op, Op::Copy(copy) if copy.from == CopyFrom::Remote(source));
    let step = lowered.steps.iter().find(|step| takes(&step.op));
    let problem = error.problem();
    Box::new(match step.and_then(|step| step.place.clone()) {
        Some(place) => problem.at(place, "added here"),
        None => problem,
    })
}
