//! The engine of a run: this machine, or a builder's workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Failure;
use crate::diag::Problem;
use crate::dockerfile::{Dockerfile, InstructionKind};
use crate::engine::buildkit::Buildkit;
use crate::engine::embedded::Embedded;
use crate::engine::{BuildJob, BuildOutcome, Engine, EngineInfo};
use crate::plan::{Node, Plan};
use crate::steps::Lowered;

pub enum Engines {
    Embedded(Arc<Embedded>),
    Buildkit(Arc<Buildkit>),
}

impl Engines {
    /// Platforms of the plan that the engine does not build for, as far as that is known before it is asked.
    pub fn check(&self, plan: &Plan) -> Result<(), Failure> {
        let Self::Buildkit(engine) = self else { return Ok(()) };
        let refusals = plan.nodes().filter_map(|(_, node)| match node {
            Node::Build(node) => {
                let labels = node.variant.worker_labels.iter();
                let labels = labels.map(|(key, label)| (key.clone(), label.value.clone())).collect();
                let platform = runs_on_its_platform(&node.dockerfile).then_some(&node.platform);
                engine.refusal(&node.target, platform, &labels)
            }
            Node::Resolve(_) | Node::Merge(_) | Node::Publish(_) => None,
        });
        let refusals: Vec<Problem> = refusals.collect();
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    /// Removes what nothing refers to any more.
    pub async fn tidy(&self) {
        match self {
            Self::Embedded(engine) => engine.tidy().await,
            // Workers keep house themselves.
            Self::Buildkit(_) => {}
        }
    }
}

/// Whether commands run on the image's platform, for certain: copies are made anywhere, and a stage with a platform of
/// its own may leave nothing else.
fn runs_on_its_platform(dockerfile: &Dockerfile) -> bool {
    let mut instructions = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    instructions.any(|instruction| matches!(instruction.kind, InstructionKind::Run(_)))
        && dockerfile.stages.iter().all(|stage| stage.from.platform.is_none())
}

impl Engine for Engines {
    fn info(&self) -> EngineInfo {
        match self {
            Self::Embedded(engine) => engine.info(),
            Self::Buildkit(engine) => engine.info(),
        }
    }

    fn emulators(&self, steps: &Lowered) -> BTreeMap<String, String> {
        match self {
            Self::Embedded(engine) => engine.emulators(steps),
            Self::Buildkit(engine) => engine.emulators(steps),
        }
    }

    async fn build(&self, job: BuildJob) -> Result<BuildOutcome, Box<Problem>> {
        match self {
            Self::Embedded(engine) => engine.build(job).await,
            Self::Buildkit(engine) => engine.build(job).await,
        }
    }

    async fn settle(&self) {
        match self {
            Self::Embedded(engine) => engine.settle().await,
            Self::Buildkit(engine) => engine.settle().await,
        }
    }
}
