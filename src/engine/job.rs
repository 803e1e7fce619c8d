//! What crosses the border between a run and an engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::base::Base;
use super::forwarded::Forwarded;
use super::recipe::Recipe;
use crate::base::payload::{Outcome, StepCounts, Stream, WorkerName};
use crate::base::{Digest, NodeId, PinnedSource, Platform, Reference, StepId};
use crate::cache::Access;
use crate::context::Context;
use crate::diag::Problem;
use crate::event::{Event, EventSink, Transfer};
use crate::layer::Compression;
use crate::model::CacheEntry;
use crate::oci::{Descriptor, ImageConfig};
use crate::source::SourceAuth;
use crate::steps::{BaseImage, Lowered, LoweredBase, Op, Step};

/// Version of what engines make of the same steps. Bumped by hand when results change, never with
/// `mab`'s own version, so that an upgrade alone rebuilds nothing.
pub const SEMANTICS: u32 = 3;

/// One stage to build for one platform.
#[derive(Clone)]
pub struct BuildJob {
    /// For messages: the target's name.
    pub target: String,
    pub platform: Platform,
    pub steps: Arc<Lowered>,
    /// What the steps were lowered from.
    pub recipe: Arc<Recipe>,
    /// In the order of `steps.bases`.
    pub bases: Vec<Base>,
    /// The main context under `None`, named ones under their names.
    pub contexts: BTreeMap<Option<String>, JobContext>,
    /// Of each step that reads a context the digest of what it reads there.
    pub selected: BTreeMap<StepId, Digest>,
    /// What comes from elsewhere, in the order of `steps.sources`.
    pub sources: Vec<PinnedSource>,
    /// What those are asked with.
    pub auth: SourceAuth,
    /// Seconds since the epoch that no time in the image exceeds.
    pub epoch: Option<i64>,
    /// How layers made here are compressed, as an advice: it changes no result but the blobs' bytes.
    pub compression: Compression,
    /// The time of the run, for what has no better one.
    pub now: i64,
    /// Run every step, whatever the store knows.
    pub no_cache: bool,
    /// Run every step of these stages.
    pub no_cache_stages: Vec<String>,
    /// Where other machines' results are, and where this one's go.
    pub caches: Access,
    /// The same for engines that cache steps in a form of their own.
    pub step_caches: Arc<StepCaches>,
    /// The repository that the image is for, where an engine may leave its layers.
    pub destination: Option<Reference>,
    /// What steps may use of the user's own.
    pub forwarded: Forwarded,
    /// Told of the last layer of the image if it is made here: it may travel while the rest is written down.
    pub last_layer: Option<ToldOfLayer>,
    pub events: JobEvents,
}

/// Whoever does something with a layer as soon as it is in the store.
pub type ToldOfLayer = Arc<dyn Fn(&Descriptor) + Send + Sync>;

/// The caches of a target as its file has them.
#[derive(Clone, Debug, Default)]
pub struct StepCaches {
    pub from: Vec<StepCache>,
    pub to: Vec<StepCache>,
    /// What the image is called where it is published.
    pub images: Vec<Reference>,
}

#[derive(Clone, Debug)]
pub struct StepCache {
    pub entry: CacheEntry,
    /// Several targets may use it.
    pub is_of_many: bool,
}

/// A build context with its walk.
pub type JobContext = Arc<Context>;

impl BuildJob {
    /// The job of an image that is taken as it is: `FROM` it, and nothing else.
    pub fn of_image(image: &Base, platform: &Platform, events: &JobEvents) -> Self {
        let base = LoweredBase {
            name: image.name.clone(),
            platform: platform.clone(),
            image: BaseImage { manifest: image.manifest, config: image.config.clone() },
        };
        let step = Step {
            id: StepId(0),
            stage: image.name.clone(),
            text: format!("FROM {}", image.name),
            place: None,
            platform: platform.clone(),
            op: Op::Base(0),
        };
        let steps = Lowered {
            steps: vec![step],
            result: StepId(0),
            config: ImageConfig::clone(&image.config),
            bases: vec![base],
            sources: Vec::new(),
            base_history: image.config.history.len(),
        };
        Self {
            target: image.name.clone(),
            platform: platform.clone(),
            steps: Arc::new(steps),
            recipe: Arc::new(Recipe::of_image(platform)),
            bases: vec![image.clone()],
            contexts: BTreeMap::new(),
            selected: BTreeMap::new(),
            sources: Vec::new(),
            auth: SourceAuth::default(),
            epoch: None,
            compression: Compression::GZIP,
            now: 0,
            no_cache: false,
            no_cache_stages: Vec::new(),
            caches: Access::none(),
            step_caches: Arc::default(),
            destination: None,
            forwarded: Forwarded::default(),
            last_layer: None,
            events: events.clone(),
        }
    }

    /// Whether what the store knows of a step may be its result.
    pub fn may_reuse(&self, step: &Step) -> bool {
        !self.no_cache && !self.no_cache_stages.iter().any(|stage| stage.eq_ignore_ascii_case(&step.stage))
    }
}

/// A platform image: its documents in the store, and its layers there or in a repository.
#[derive(Clone, Debug)]
pub struct BuildOutcome {
    /// The manifest, with its platform. Its layers are compressed as they happened to be in the store.
    pub manifest: Descriptor,
    pub config: Digest,
    /// Of each layer of the manifest how it is compressed; `None` for what others made.
    pub compressions: Vec<Option<Compression>>,
    /// Statements about it, as layers of a manifest that goes along with it.
    pub attestations: Vec<Descriptor>,
    /// The repository that has its layers, where the store does not.
    pub repository: Option<Reference>,
    pub counts: StepCounts,
    /// Who built it in this run; nobody, where it was there.
    pub worker: Option<WorkerName>,
}

/// Reports the progress of one node.
#[derive(Clone)]
pub struct JobEvents {
    pub node: NodeId,
    pub sink: Arc<dyn EventSink>,
}

impl JobEvents {
    pub fn assigned(&self, worker: WorkerName) {
        self.sink.emit(Event::Assigned { node: self.node, worker });
    }

    pub fn step_finished(&self, step: StepId, outcome: Outcome, elapsed: Duration) {
        self.sink.emit(Event::StepFinished { node: self.node, step, outcome, elapsed });
    }

    pub fn log(&self, step: StepId, stream: Stream, line: String) {
        self.sink.emit(Event::Log { node: self.node, step, stream, line });
    }

    pub fn transfer(&self, what: Transfer, item: String, done: u64, total: Option<u64>) {
        self.sink.emit(Event::Transfer { node: self.node, what, item, done, total });
    }

    pub fn notice(&self, problem: Problem) {
        self.sink.emit(Event::Notice { node: Some(self.node), problem: Arc::new(problem) });
    }
}
