//! What the builds of a plan need from elsewhere, found out without building anything: for the lock, which learns
//! of it through the pins. All problems are collected.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use super::worker::PlanWorker;
use crate::base::{Digest, NodeId, Platform, Reference};
use crate::diag::{Place, Problem};
use crate::engine::Engine;
use crate::engine::selection::context_name;
use crate::lock::Lock;
use crate::model::{Context, Dockerfile};
use crate::oci::ImageConfig;
use crate::plan::{BaseSource, BuildNode, Node, ResolveNode, base_source};
use crate::source::SourceAuth;
use crate::steps::{BaseImage, BaseImages, BaseRequest, LowerError, Lowered, Op, Setting, lower};

/// How many images are asked about at one time.
const AT_ONCE: usize = 8;

/// How many places of one problem are shown.
const MOST_PLACES: usize = 10;

/// What is known so far.
#[derive(Default)]
struct Foreseen {
    /// What targets would be, for those that build on them.
    configs: BTreeMap<(String, Platform), Arc<ImageConfig>>,
    /// Images that cannot be had. They are not asked for again.
    failed: BTreeMap<(BaseSource, Platform), Problem>,
    problems: Vec<Problem>,
}

/// An image that is not known, which was told of.
struct Unknown;

impl<E: Engine> PlanWorker<E> {
    /// Asks for every base and source that the build nodes need; the problems with that.
    pub async fn foresee(&self) -> Vec<Problem> {
        let mut foreseen = Foreseen::default();
        self.resolve_all(&mut foreseen).await;
        let builds: Vec<NodeId> = self.plan.nodes().map(|(id, _)| id).collect();
        for id in builds {
            let Node::Build(node) = self.plan.node(id) else { continue };
            if let Some(lowered) = self.foresee_node(node, &mut foreseen).await {
                let key = (node.target.clone(), node.platform.clone());
                foreseen.configs.insert(key, Arc::new(lowered.config));
            }
        }
        let mut problems: Vec<Problem> = Vec::new();
        for problem in foreseen.problems {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        problems
    }

    /// Asks for the images that Dockerfiles name, before anything is built: whether they are there, for every platform
    /// that is wanted, and let this user in. All problems at once, each with its places; what is asked here is not asked
    /// again.
    pub async fn preflight(&self) -> Vec<Problem> {
        let mut foreseen = Foreseen::default();
        self.resolve_all(&mut foreseen).await;
        foreseen.problems
    }

    /// The images that Dockerfiles name, several at a time; what their triggers ask for comes later.
    async fn resolve_all(&self, foreseen: &mut Foreseen) {
        let nodes = self.plan.nodes().filter_map(|(_, node)| match node {
            Node::Resolve(node) => Some(node),
            Node::Build(_) | Node::Verify(_) | Node::Test(_) | Node::Merge(_) | Node::Publish(_) => None,
        });
        let asked = stream::iter(nodes).map(|node| async move { (node, self.ask_for(node).await) });
        let failures: Vec<_> = asked.buffered(AT_ONCE).collect().await;
        for (node, failures) in failures {
            let mut problems: Vec<Problem> = Vec::new();
            for (platform, problem) in failures {
                let problem = everywhere(problem, &platform, node);
                foreseen.failed.insert((node.source.clone(), platform), problem.clone());
                add(&mut problems, problem);
            }
            foreseen.problems.extend(problems.into_iter().map(bounded));
        }
    }

    /// What keeps an image from being had, for each platform of a node.
    async fn ask_for(&self, node: &ResolveNode) -> Vec<(Platform, Problem)> {
        let ask = async |(platform, place): &(Platform, Option<Place>)| {
            let found = self.bases.base(&node.source, platform, place.as_ref()).await;
            found.err().map(|problem| (platform.clone(), *problem))
        };
        let Some((first, others)) = node.wanted.split_first() else { return Vec::new() };
        let mut failures = Vec::from_iter(ask(first).await);
        if let Some((_, problem)) = failures.first().filter(|(_, problem)| is_of_all(problem)).cloned() {
            let same = |(platform, _): &(Platform, Option<Place>)| (platform.clone(), problem.clone());
            failures.extend(others.iter().map(same));
            return failures;
        }
        let others: Vec<_> = stream::iter(others).map(ask).buffered(AT_ONCE).collect().await;
        failures.extend(others.into_iter().flatten());
        failures
    }

    /// Asks again for the images of `lock`, for all platforms that it has them for.
    pub async fn look_at(&self, lock: &Lock) -> Vec<Problem> {
        let locked =
            lock.images.iter().filter_map(|(name, image)| Some((name.parse::<Reference>().ok()?, image)));
        let wanted = locked.flat_map(|(reference, image)| {
            let source = BaseSource::Registry(reference);
            image.platforms.keys().map(move |platform| (source.clone(), platform.clone()))
        });
        let asked = stream::iter(wanted.collect::<Vec<_>>()).map(|(source, platform)| async move {
            self.bases.base(&source, &platform, None).await.err().map(|problem| *problem)
        });
        let problems: Vec<Option<Problem>> = asked.buffered(AT_ONCE).collect().await;
        problems.into_iter().flatten().collect()
    }

    async fn foresee_node(&self, node: &BuildNode, foreseen: &mut Foreseen) -> Option<Lowered> {
        let auth = self.source_auth(node);
        let args = match self.epoch(node, &auth).await {
            Ok(epoch) => epoch.args,
            Err(problem) => {
                foreseen.problems.push(*problem);
                return None;
            }
        };
        let setting = Setting::new(&node.dockerfile, &node.variant, &self.tools.build_platform)
            .with_labels(&node.labels);
        let setting = Setting { args: &args, ..setting };
        let mut known = BaseImages::new();
        let lowered = loop {
            match lower(&setting, &known) {
                Ok(lowered) => break lowered,
                Err(LowerError::Problems(problems)) => {
                    foreseen.problems.extend(problems);
                    return None;
                }
                Err(LowerError::Missing(requests)) => {
                    let before = known.len();
                    for request in requests {
                        if let Ok(image) = self.foresee_base(node, &request, foreseen).await {
                            known.insert((request.name, request.platform), image);
                        }
                    }
                    if known.len() == before {
                        return None;
                    }
                }
            }
        };
        self.foresee_sources(node, &lowered, &auth, foreseen).await;
        Some(lowered)
    }

    async fn foresee_base(
        &self,
        node: &BuildNode,
        request: &BaseRequest,
        foreseen: &mut Foreseen,
    ) -> Result<BaseImage, Unknown> {
        match base_source(request, &node.variant) {
            Ok(Some(source)) => {
                let key = (source, request.platform.clone());
                if foreseen.failed.contains_key(&key) {
                    return Err(Unknown);
                }
                match self.bases.base(&key.0, &key.1, Some(&request.place)).await {
                    Ok(base) => Ok(BaseImage::new(base.manifest, base.config)),
                    Err(problem) => {
                        foreseen.problems.push((*problem).clone());
                        foreseen.failed.insert(key, *problem);
                        Err(Unknown)
                    }
                }
            }
            Ok(None) => {
                let target = node.variant.contexts.get(&request.name).map(|context| &context.value);
                let Some(Context::Target(target)) = target else { return Err(Unknown) };
                // A target that is not known has told why.
                let config =
                    foreseen.configs.get(&(target.clone(), request.platform.clone())).ok_or(Unknown)?;
                Ok(BaseImage::new(Digest::of(config.to_bytes()), config.clone()))
            }
            Err(problem) => {
                foreseen.problems.push(*problem);
                Err(Unknown)
            }
        }
    }

    /// What ADD takes from elsewhere, and contexts that are there.
    async fn foresee_sources(
        &self,
        node: &BuildNode,
        lowered: &Lowered,
        auth: &SourceAuth,
        foreseen: &mut Foreseen,
    ) {
        for place in 0..lowered.sources.len() {
            if let Err(problem) = self.pinned_source(lowered, place, auth).await {
                foreseen.problems.push(*problem);
            }
        }
        let copied = lowered.steps.iter().filter_map(|step| match &step.op {
            Op::Copy(copy) => context_name(copy),
            _ => None,
        });
        // Its Dockerfile is read, whatever else is.
        let own = matches!(node.variant.dockerfile, Dockerfile::File(_)).then_some(None);
        for name in copied.chain(own) {
            let declared = match &name {
                None => &node.variant.context,
                Some(name) => &node.variant.contexts[name],
            };
            let Context::Remote { source, .. } = &declared.value else { continue };
            if let Err(error) = self.tools.sources.pin(source, auth).await {
                let problem = error.problem();
                foreseen.problems.push(match &declared.place {
                    Some(place) => problem.at(place.clone(), "this context"),
                    None => problem,
                });
            }
        }
    }
}

/// Whether it is nothing that another platform could be without: who cannot be reached is not asked once more.
fn is_of_all(problem: &Problem) -> bool {
    ["registry::", "oci-layout::"].iter().any(|of| problem.code.starts_with(of))
}

/// A problem with the further places that are told of it.
fn everywhere(mut problem: Problem, platform: &Platform, node: &ResolveNode) -> Problem {
    if let Some(text) = problem.labels.first().map(|label| label.text.clone()) {
        for (_, place) in node.also.iter().filter(|(wanted, _)| wanted == platform) {
            if !problem.labels.iter().any(|label| label.place == *place) {
                problem = problem.at(place.clone(), text.clone());
            }
        }
    }
    problem
}

/// Of problems that differ only in their places there is one.
fn add(problems: &mut Vec<Problem>, problem: Problem) {
    let is_same = |known: &&mut Problem| (known.code, &known.message) == (problem.code, &problem.message);
    match problems.iter_mut().find(is_same) {
        Some(known) => {
            let new = problem.labels.into_iter().filter(|label| !known.labels.contains(label));
            let new: Vec<_> = new.collect();
            known.labels.extend(new);
        }
        None => problems.push(problem),
    }
}

/// A base that a whole monorepo stands on is not shown in each of its files.
fn bounded(mut problem: Problem) -> Problem {
    let more = problem.labels.len().saturating_sub(MOST_PLACES);
    problem.labels.truncate(MOST_PLACES);
    if more == 0 { problem } else { problem.details(format!("and in {more} more places")) }
}
