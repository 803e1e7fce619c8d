//! What each kind of node does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once, PoisonError};

use tokio::sync::{OnceCell, Semaphore};

use super::ahead::Ahead;
use super::blobs::RunBlobs;
use super::build::Builder;
use super::caches::NamedCaches;
use super::explain::Explainer;
use super::resolve::Bases;
use super::supplied::Supplied;
use super::test::{self, TestResults};
use super::verify::{Surfaces, Verdicts};
use super::{Worker, merge, publish, verify};
use crate::base::payload::{Outcome, StepCounts};
use crate::base::{Digest, NodeId, Platform, Reference};
use crate::cache::Caches;
use crate::diag::Problem;
use crate::docker::{EngineAddress, EngineError};
use crate::engine::embedded::Embedded;
use crate::engine::forwarded::Environment;
use crate::engine::{BuildOutcome, Engine, JobEvents, blocking};
use crate::event::EventSink;
use crate::lock::Pins;
use crate::model::Output;
use crate::plan::{BuildNode, Node, Plan, ResolveNode};
use crate::publish::about::About;
use crate::publish::access::Access;
use crate::publish::early::EarlyBlobs;
use crate::publish::export::ExportedImage;
use crate::publish::looks::TagLooks;
use crate::publish::merge::Merged;
use crate::publish::push::PushedName;
use crate::registry::Registry;
use crate::report::test_results::TestResult;
use crate::source::Sources;
use crate::steps::Lowered;
use crate::store::Store;

/// Everything nodes work with.
pub struct Tools<E> {
    pub engine: Arc<E>,
    /// Where tests run, whoever builds.
    pub sandbox: Arc<Embedded>,
    pub store: Store,
    pub registry: Registry,
    pub sources: Sources,
    pub caches: Arc<Caches>,
    pub named_caches: NamedCaches,
    /// What the lock says.
    pub pins: Pins,
    pub events: Arc<dyn EventSink>,
    /// The folder of the build file.
    pub project: PathBuf,
    /// Why nodes are built is told.
    pub explains: bool,
    /// The platform builds run on.
    pub build_platform: Platform,
    pub epoch: Option<i64>,
    /// How much this machine does at once, whoever builds.
    pub jobs: usize,
    /// Where secrets and the agent may be.
    pub environment: Environment,
    pub now: i64,
    /// Where `--load` goes; why it cannot, if DOCKER_HOST or a context says something it should not.
    pub docker: Result<EngineAddress, EngineError>,
    /// What is said of what is pushed, and what pushing may do.
    pub publication: About,
}

/// Does the work of a plan's nodes, and holds what they have come to.
pub struct PlanWorker<E> {
    pub(super) plan: Arc<Plan>,
    pub(super) tools: Tools<E>,
    pub(super) bases: Bases,
    pub(super) builder: Builder,
    pub(super) blobs: RunBlobs,
    pub(super) explainer: Arc<Explainer>,
    pub(super) looks: TagLooks,
    /// What images are called where they go, by target.
    pub(super) names: BTreeMap<String, Vec<Reference>>,
    /// The tags that nobody waited for are being looked at.
    pub(super) other_looks: Once,
    /// The repositories of a target that is to be built are being tried.
    pub(super) first_try: Once,
    /// It is certain that something is built.
    pub(super) first_build: Once,
    /// Turns at what this machine does itself for a node; while a worker builds, the turn is somebody else's.
    pub(super) turns: Semaphore,
    /// What repositories have against being pushed to.
    pub(super) access: Access,
    /// What is on its way to them before it is published.
    pub(super) early: EarlyBlobs,
    /// Where tags would move.
    pub(super) rehearsed: OnceCell<Vec<PushedName>>,
    /// What came of tests.
    pub(super) tests: TestResults,
    images: Mutex<BTreeMap<(String, Platform), Built>>,
    merged: Mutex<BTreeMap<String, Merged>>,
    /// What images show, for their target's merge to compare.
    pub(super) surfaces: Surfaces,
    /// Images that are there, where nothing is built.
    foreseen: Mutex<BTreeMap<(String, Platform), BuildOutcome>>,
    keys: Mutex<BTreeMap<(String, Platform), Digest>>,
    /// What was found out of nodes before their turn.
    pub(super) ahead: Mutex<BTreeMap<NodeId, Ahead>>,
    pub(super) verdicts: Verdicts,
    pub(super) supplied: Supplied,
}

/// What a build node came to.
struct Built {
    image: BuildOutcome,
    /// In the form the target's first output asks for.
    exported: ExportedImage,
    /// In this run, not taken from the store or a cache.
    is_made: bool,
    /// The steps it is made of.
    lowered: Arc<Lowered>,
}

impl<E: Engine> PlanWorker<E> {
    pub fn new(plan: Arc<Plan>, tools: Tools<E>) -> Self {
        let bases = Bases::new(tools.store.clone(), tools.registry.clone(), tools.pins.clone());
        let builder = Builder::new(tools.store.clone());
        let blobs = RunBlobs::new(tools.store.clone(), tools.registry.clone(), tools.caches.clone());
        let explainer = Arc::new(Explainer::new(tools.store.clone(), tools.project.clone(), &plan));
        let looks = TagLooks::new(tools.registry.clone());
        let mut names: BTreeMap<String, Vec<Reference>> = BTreeMap::new();
        for published in publish::published(&plan) {
            names.entry(published.target.clone()).or_default().extend(published.names.iter().cloned());
        }
        let (access, rehearsed, tests, images, merged, surfaces, foreseen, keys, ahead) = Default::default();
        let verdicts = Verdicts::default();
        let turns = Semaphore::new(tools.jobs.clamp(1, Semaphore::MAX_PERMITS));
        Self {
            plan,
            tools,
            bases,
            builder,
            blobs,
            explainer,
            looks,
            names,
            other_looks: Once::new(),
            first_try: Once::new(),
            first_build: Once::new(),
            turns,
            access,
            early: EarlyBlobs::default(),
            rehearsed,
            tests,
            images,
            merged,
            surfaces,
            foreseen,
            keys,
            ahead,
            verdicts,
            supplied: Supplied::default(),
        }
    }

    /// The image of a target for a platform, once its node is done.
    pub fn image(&self, target: &str, platform: &Platform) -> Option<BuildOutcome> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (target.to_string(), platform.clone());
        let foreseen = || self.foreseen.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        images.get(&key).map(|built| built.image.clone()).or_else(foreseen)
    }

    /// What was done for that image, once its node is done.
    pub fn counts(&self, target: &str, platform: &Platform) -> Option<StepCounts> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.get(&(target.to_string(), platform.clone())).map(|built| built.image.counts)
    }

    /// Whether the image of a target was there before this run.
    fn is_as_it_was(&self, target: &str, platform: &Platform) -> bool {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.get(&(target.to_string(), platform.clone())).is_some_and(|built| !built.is_made)
    }

    /// The caches that the build file declares.
    pub fn named_caches(&self) -> &NamedCaches {
        &self.tools.named_caches
    }

    /// What came of tests, in the order they ended.
    pub fn test_results(&self) -> Vec<TestResult> {
        self.tests.all()
    }

    /// Brings every byte of a target's image into the store, and gives its manifest's digest; nothing, where it was not
    /// built.
    pub async fn keep_image(
        &self,
        target: &str,
        platform: &Platform,
    ) -> Result<Option<Digest>, Box<Problem>> {
        let Some(image) = self.image(target, platform) else { return Ok(None) };
        let events = JobEvents { node: NodeId(0), sink: self.tools.events.clone() };
        self.blobs.bring_image(&image.manifest, &events).await?;
        Ok(Some(image.manifest.digest))
    }

    /// The same in the form that the target's first output asks for.
    pub fn exported(&self, target: &str, platform: &Platform) -> Option<ExportedImage> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.get(&(target.to_string(), platform.clone())).map(|built| built.exported.clone())
    }

    pub(super) fn set_image(
        &self,
        node: &BuildNode,
        image: BuildOutcome,
        exported: ExportedImage,
        lowered: Arc<Lowered>,
        is_made: bool,
    ) {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.insert(
            (node.target.clone(), node.platform.clone()),
            Built { image, exported, is_made, lowered },
        );
    }

    /// The steps of a target's image for a platform, once its node is done.
    pub(super) fn lowered(&self, target: &str, platform: &Platform) -> Option<Arc<Lowered>> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.get(&(target.to_string(), platform.clone())).map(|built| built.lowered.clone())
    }

    /// The steps of all images, as far as their nodes are done.
    pub fn all_lowered(&self) -> BTreeMap<(String, Platform), Arc<Lowered>> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        images.iter().map(|(key, built)| (key.clone(), built.lowered.clone())).collect()
    }

    /// The key of a target's build for a platform, once its node is done.
    pub fn key(&self, target: &str, platform: &Platform) -> Option<Digest> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(&(target.to_string(), platform.clone())).copied()
    }

    pub(super) fn set_key(&self, node: &BuildNode, key: Digest) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert((node.target.clone(), node.platform.clone()), key);
    }

    /// Where tags would move, of a run that only tells.
    pub fn rehearsed(&self) -> Option<&[PushedName]> {
        self.rehearsed.get().map(Vec::as_slice)
    }

    /// The manifests of a target's images that were made in this run.
    pub(super) fn made_manifests(&self, target: &str) -> Vec<Digest> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let own = images.iter().filter(|((name, _), built)| name == target && built.is_made);
        own.map(|(_, built)| built.exported.manifest.digest).collect()
    }

    pub(super) fn foresee_image(&self, target: &str, platform: &Platform, image: BuildOutcome) {
        let mut foreseen = self.foreseen.lock().unwrap_or_else(PoisonError::into_inner);
        foreseen.insert((target.to_string(), platform.clone()), image);
    }

    /// Makes everything that the run made so far last, and writes down what it learnt about files and why it built, for
    /// the next run.
    pub async fn save(&self) -> Result<(), Box<Problem>> {
        let (contexts, explainer) = (self.builder.contexts.clone(), self.explainer.clone());
        let store = self.tools.store.clone();
        blocking(move || {
            contexts.save().map_err(|error| Box::new(error.problem()))?;
            contexts.clear();
            let synced = explainer.save().and_then(|()| store.sync());
            synced.map_err(|error| Box::new(error.problem()))?;
            store.rest();
            Ok(())
        })
        .await
    }

    /// What a target's merge node made, once it is done.
    pub fn merged(&self, target: &str) -> Option<Merged> {
        self.merged.lock().unwrap_or_else(PoisonError::into_inner).get(target).cloned()
    }

    pub(super) fn set_merged(&self, target: &str, merged: Merged) {
        self.merged.lock().unwrap_or_else(PoisonError::into_inner).insert(target.to_string(), merged);
    }

    async fn resolve(&self, node: &ResolveNode) -> Result<Outcome, Box<Problem>> {
        for (platform, place) in &node.wanted {
            self.bases.base(&node.source, platform, place.as_ref()).await?;
        }
        Ok(Outcome::Reused)
    }
}

impl<E: Engine> Worker for PlanWorker<E> {
    async fn work(&self, id: NodeId) -> Result<Outcome, Box<Problem>> {
        match self.plan.node(id) {
            Node::Resolve(node) => {
                let outcome = self.resolve(node).await?;
                self.explain_base(id, node).await?;
                Ok(outcome)
            }
            Node::Build(node) => self.build(id, node).await,
            Node::Verify(node) => verify::work(self, id, node).await,
            Node::Test(node) => test::work(self, id, node).await,
            Node::Merge(node) => merge::work(self, id, node).await,
            Node::Publish(node) => publish::work(self, id, node).await,
        }
    }

    fn is_known(&self, id: NodeId) -> bool {
        match self.plan.node(id) {
            Node::Build(_) => self.is_found_ahead(id),
            Node::Verify(node) => self.is_as_it_was(&node.target, &node.platform),
            Node::Merge(node) => {
                let writes = |output: &Output| !matches!(output, Output::Image { .. } | Output::CacheOnly);
                let mut platforms = node.platforms.iter();
                !node.outputs.iter().any(writes)
                    && platforms.all(|platform| self.is_as_it_was(&node.target, platform))
            }
            Node::Resolve(_) | Node::Test(_) | Node::Publish(_) => false,
        }
    }

    async fn settle(&self) {
        tokio::join!(self.tools.engine.settle(), self.tools.registry.drop_uploads());
        self.finish_caches().await;
    }
}
