//! The engine of a run: this machine, or a builder's workers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Failure;
use crate::base::NodeId;
use crate::diag::Problem;
use crate::dockerfile::{Dockerfile, InstructionKind};
use crate::engine::buildkit::{Buildkit, Need, Wanted, needs};
use crate::engine::embedded::Embedded;
use crate::engine::{BuildJob, BuildOutcome, Engine, EngineInfo};
use crate::model::{CacheKind, CacheUse};
use crate::plan::{BuildNode, Node, Plan};
use crate::run::NamedCaches;
use crate::steps::Lowered;

pub enum Engines {
    Embedded(Arc<Embedded>),
    Buildkit(Arc<Buildkit>),
}

impl Engines {
    /// What the engine does not do of the plan, as far as that is known before it is asked.
    pub fn check(&self, plan: &Plan, requested: &[String]) -> Result<(), Failure> {
        let Self::Buildkit(engine) = self else { return Ok(()) };
        let refusals = plan.nodes().filter_map(|(_, node)| match node {
            Node::Build(node) => {
                let Wanted { target, platform, worker_labels, .. } = wanted(node);
                engine.refusal(&target, platform.as_ref(), &worker_labels)
            }
            Node::Resolve(_) | Node::Verify(_) | Node::Test(_) | Node::Merge(_) | Node::Publish(_) => None,
        });
        let is_nowhere = |target: &&String| engine.leaves_results() && !is_pushed(plan, target);
        let unpushed = requested.iter().filter(is_nowhere).map(|target| engine.not_pushed(target));
        let refusals: Vec<Problem> = refusals.chain(unpushed).collect();
        if refusals.is_empty() { Ok(()) } else { Err(refusals) }
    }

    /// Whether it must be asked what it does.
    pub fn must_be_asked(&self) -> bool {
        matches!(self, Self::Buildkit(_))
    }

    /// Asks the workers, and tells which of the builds among `nodes` none of them does; the warnings otherwise.
    pub async fn survey(
        &self,
        plan: &Plan,
        nodes: &[NodeId],
        named: &NamedCaches,
    ) -> Result<Vec<Problem>, Failure> {
        let Self::Buildkit(engine) = self else { return Ok(Vec::new()) };
        let wanted = nodes.iter().filter_map(|id| match plan.node(*id) {
            Node::Build(node) => {
                let mut wanted = wanted(node);
                let is_left = engine.leaves_results() && is_pushed(plan, &node.target);
                wanted.needs.extend(is_left.then(Need::left));
                Some(wanted)
            }
            Node::Resolve(_) | Node::Verify(_) | Node::Test(_) | Node::Merge(_) | Node::Publish(_) => None,
        });
        let wanted: Vec<Wanted> = wanted.collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut warnings = engine.survey(&wanted).await?;
        let caches = nodes.iter().filter_map(|id| match plan.node(*id) {
            Node::Build(node) => Some(&node.caches),
            Node::Resolve(_) | Node::Verify(_) | Node::Test(_) | Node::Merge(_) | Node::Publish(_) => None,
        });
        for warning in caches.flat_map(|caches| without_steps(caches, named)) {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        Ok(warnings)
    }

    /// How many nodes may be under way on a machine that does so many things at once: workers have slots of their own,
    /// and who waits for one is in nobody's way.
    pub fn nodes_at_once(&self, jobs: usize) -> usize {
        match self {
            Self::Embedded(_) => jobs,
            Self::Buildkit(_) => usize::MAX,
        }
    }

    /// Removes what nothing refers to any more.
    pub async fn tidy(&self) {
        match self {
            Self::Embedded(engine) => engine.tidy().await,
            Self::Buildkit(engine) => engine.tidy().await,
        }
    }
}

/// Caches that keep what images come to, and none of the steps of workers.
fn without_steps(caches: &CacheUse, named: &NamedCaches) -> impl Iterator<Item = Problem> {
    let of_project = caches.named.iter().filter_map(|name| Some((named.get(&name.value)?, &name.place)));
    let of_project = of_project.map(|(cache, place)| (cache.entry.kind, place));
    let own = caches.from.iter().chain(&caches.to).map(|entry| (entry.value.kind, &entry.place));
    let entries = of_project
        .chain(own)
        .filter(|(kind, _)| matches!(kind, CacheKind::Local | CacheKind::Gcs | CacheKind::Webdav));
    entries.map(|(kind, place)| {
        let kind = kind.name();
        let message = format!("`type={kind}` caches whole images of a builder's workers, not their steps");
        let problem = Problem::warning("builder::cache", message)
            .help("add `type=registry`, which workers know; they keep steps in themselves, too");
        match place {
            Some(place) => problem.at(place.clone(), "this cache"),
            None => problem,
        }
    })
}

fn is_pushed(plan: &Plan, target: &str) -> bool {
    plan.nodes().any(|(_, node)| match node {
        Node::Publish(publish) => publish.targets.iter().any(|published| published.target == target),
        Node::Resolve(_) | Node::Build(_) | Node::Verify(_) | Node::Test(_) | Node::Merge(_) => false,
    })
}

fn wanted(node: &BuildNode) -> Wanted {
    let labels = node.variant.worker_labels.iter();
    Wanted {
        target: node.target.clone(),
        platform: runs_on_its_platform(&node.dockerfile).then(|| node.platform.clone()),
        emulate: node.variant.emulate,
        worker_labels: labels.map(|(key, label)| (key.clone(), label.value.clone())).collect(),
        needs: needs(&node.dockerfile, &node.variant, &node.caches, &node.attestations),
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
