//! What build nodes take from elsewhere: pinned before their keys are made, fetched where a context is files.

use std::sync::Arc;

use super::worker::PlanWorker;
use crate::base::PinnedSource;
use crate::diag::{Located, Problem};
use crate::engine::Engine;
use crate::event::Event;
use crate::lock::FILE_NAME;
use crate::model;
use crate::plan::BuildNode;
use crate::source::{ContextFiles, SourceAuth};
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
        for place in 0..lowered.sources.len() {
            pinned.push(self.pinned_source(lowered, place, auth).await?);
        }
        Ok(pinned)
    }

    pub(super) async fn pinned_source(
        &self,
        lowered: &Lowered,
        place: usize,
        auth: &SourceAuth,
    ) -> Result<PinnedSource, Box<Problem>> {
        let source = &lowered.sources[place];
        let found = self.tools.sources.pin(source, auth).await;
        let found = found.map_err(|error| at_instruction(lowered, place, error.problem()))?;
        if !self.tools.pins.is_empty() && self.tools.pins.lacks(source) {
            let message = format!("`{FILE_NAME}` does not pin `{source}`, which is taken as it is now");
            let warning = Problem::warning("lock::incomplete-source", message).help("`mab lock` pins it");
            let problem = Arc::new(*at_instruction(lowered, place, warning));
            self.tools.events.emit(Event::Notice { node: None, problem });
        }
        Ok(found)
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
fn at_instruction(lowered: &Lowered, source: usize, problem: Problem) -> Box<Problem> {
    let takes = |op: &Op| matches!(op, Op::Copy(copy) if copy.from == CopyFrom::Remote(source));
    let step = lowered.steps.iter().find(|step| takes(&step.op));
    Box::new(match step.and_then(|step| step.place.clone()) {
        Some(place) => problem.at(place, "added here"),
        None => problem,
    })
}
