//! Walks contexts before nodes ask for them, all processors at once, and looks nodes up while it is at it.
//!
//! Nodes come one after the other, and each would wait for its own walk: where nothing changed, waking each other would
//! take longer than the walks. What is walked ahead is what a build is bound to read, by its Dockerfile alone. A node is
//! looked up ahead where nothing of it has to be waited for but files that changed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::build::{Prepared, wanted};
use super::verify;
use super::worker::PlanWorker;
use crate::base::{Digest, NodeId, processors};
use crate::context::{Context, Wanted};
use crate::diag::Problem;
use crate::engine::selection::{context_name, remembered_digests, selection_digests};
use crate::engine::{BuildOutcome, Engine, blocking};
use crate::model;
use crate::plan::{BuildNode, Node, Plan};
use crate::publish::export::ExportedImage;
use crate::steps::{BaseImage, Lowered, Op, Setting, lower_assuming};

/// A node as far as it was found out before its turn.
pub(super) struct Ahead {
    pub prepared: Prepared,
    /// As [`PlanWorker::known`] gives it.
    pub known: Option<(BuildOutcome, i64)>,
    /// The known image in the form that the node's first output asks for, where it has that as it is.
    pub exported: Option<ExportedImage>,
    /// The next run knows of it already.
    pub is_noted: bool,
}

/// Nodes begin after this time, however much is still to be walked.
const LONGEST: Duration = Duration::from_millis(100);

impl<E: Engine> PlanWorker<E> {
    /// Begins to walk, and waits a moment for the end. Errors are those of whoever needs the context.
    pub async fn walk_ahead(self: &Arc<Self>) {
        let (next, targets) = (Arc::new(AtomicUsize::new(0)), Arc::new(by_target(&self.plan)));
        let later = Arc::new(Mutex::new(Vec::new()));
        let until = Instant::now() + LONGEST;
        let walks = (0..processors()).map(|_| {
            let (this, next, targets, later) = (self.clone(), next.clone(), targets.clone(), later.clone());
            blocking(move || {
                let later = || later.lock().unwrap_or_else(PoisonError::into_inner);
                // Targets are taken one by one, as other threads do, until there are no more.
                while let Some(nodes) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let waiting = this.walk_for(nodes, until);
                    later().extend(waiting);
                }
                loop {
                    let Some(node) = later().pop() else { break };
                    this.prepare_ahead(&[node]);
                }
            })
        });
        let _ = tokio::time::timeout_at(until.into(), join_all(walks)).await;
    }

    /// Walks for the first node of a target: its other platforms mostly read the same, and those that do not walk by
    /// themselves. Gives the nodes that are to be looked up once more, since what they stand on is being found out.
    fn walk_for(self: &Arc<Self>, nodes: &[NodeId], until: Instant) -> Vec<NodeId> {
        let Some(Node::Build(first)) = nodes.first().map(|id| self.plan.node(*id)) else { return Vec::new() };
        let setting = Setting::new(&first.dockerfile, &first.variant, &self.tools.build_platform);
        let nothing = Digest::of("");
        let assume = |_: &_| BaseImage::new(nothing, Arc::default());
        let Some(lowered) = lower_assuming(&setting, assume) else { return Vec::new() };
        let bound = bound_to_read(first, &lowered);
        let mut contexts = BTreeMap::new();
        for (name, wanted) in bound.directories {
            let Ok(context) = self.builder.contexts.get(&wanted) else { return Vec::new() };
            contexts.insert(name, context);
        }
        if !(bound.is_all && self.knows_content(&lowered, &contexts, until)) {
            return Vec::new();
        }
        self.prepare_ahead(nodes)
    }

    /// Whether it is known what the steps read. Files that changed are read for that, unless it takes too long already.
    fn knows_content(
        &self,
        lowered: &Lowered,
        contexts: &BTreeMap<Option<String>, Arc<Context>>,
        until: Instant,
    ) -> bool {
        let selections = &self.builder.selections;
        match remembered_digests(selections, lowered, contexts, &[]) {
            Ok(Some(_)) => true,
            Ok(None) if Instant::now() < until => {
                selection_digests(selections, lowered, contexts, &[]).is_ok()
            }
            Ok(None) | Err(_) => false,
        }
    }

    /// Looks nodes up, as far as nothing has to be waited for, and gives the others. What is wrong with a node is told
    /// when its turn comes.
    fn prepare_ahead(self: &Arc<Self>, ids: &[NodeId]) -> Vec<NodeId> {
        let (mut nodes, mut waiting) = (Vec::with_capacity(ids.len()), Vec::new());
        for id in ids {
            let Node::Build(node) = self.plan.node(*id) else { continue };
            match self.prepared_ahead(*id, node) {
                Some(Ok(prepared)) => nodes.push((*id, node, prepared)),
                Some(Err(_)) => {}
                None => waiting.push(*id),
            }
        }
        let Ok(known) = self.known(nodes.iter().map(|(_, _, prepared)| prepared)) else { return waiting };
        let images = nodes.iter().zip(&known);
        let images =
            images.filter_map(|((id, _, prepared), known)| Some((*id, &known.as_ref()?.0, prepared)));
        verify::look_ahead(self, images.map(|(id, image, prepared)| (id, image, &*prepared.lowered)));
        for ((id, node, prepared), known) in nodes.into_iter().zip(known) {
            let (mut exported, mut is_noted) = (None, false);
            match &known {
                Some((image, _)) => {
                    exported = self.exported_as_it_is(image, &node.export).ok().flatten();
                    is_noted = self.is_noted(node, &prepared);
                }
                None => {
                    self.expect_records();
                    self.try_access_ahead(node);
                }
            }
            let found = Ahead { prepared, known, exported, is_noted };
            self.ahead.lock().unwrap_or_else(PoisonError::into_inner).insert(id, found);
        }
        waiting
    }

    /// What is built will be written down.
    fn expect_records(&self) {
        self.first_build.call_once(|| {
            let store = self.tools.store.clone();
            drop(tokio::task::spawn_blocking(move || store.expect_records()));
        });
    }

    /// `None` where something has to be waited for.
    fn prepared_ahead(&self, id: NodeId, node: &BuildNode) -> Option<Result<Prepared, Box<Problem>>> {
        let is_known = |needed| match self.plan.node(needed) {
            Node::Resolve(base) => {
                base.wanted.iter().all(|(platform, _)| self.bases.is_known(&base.source, platform))
            }
            Node::Build(_) | Node::Verify(_) | Node::Test(_) | Node::Merge(_) | Node::Publish(_) => false,
        };
        self.plan.dependencies(id).into_iter().all(is_known).then(|| self.prepare(node).now_or_never())?
    }

    /// Whether a node was found out ahead, and has its image.
    pub(super) fn is_found_ahead(&self, id: NodeId) -> bool {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.get(&id).is_some_and(|ahead| ahead.known.is_some() && ahead.exported.is_some())
    }

    /// Whether all nodes of a target were found out ahead, and have their images.
    pub(super) fn is_known_ahead(&self, target: &str) -> bool {
        let ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        self.plan.nodes().all(|(id, node)| match node {
            Node::Build(node) if node.target == target => {
                ahead.get(&id).is_some_and(|ahead| ahead.known.is_some())
            }
            _ => true,
        })
    }

    /// What was found out of a node ahead of its turn, once.
    pub(super) fn found_ahead(&self, id: NodeId) -> Option<Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }
}

/// The build nodes of each target.
fn by_target(plan: &Plan) -> Vec<Vec<NodeId>> {
    let mut targets: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
    for (id, node) in plan.nodes() {
        if let Node::Build(node) = node {
            targets.entry(&node.target).or_default().push(id);
        }
    }
    targets.into_values().collect()
}

/// What a node reads whatever its bases are.
struct Bound {
    /// By the names of the contexts.
    directories: BTreeMap<Option<String>, Wanted>,
    /// It reads nothing else.
    is_all: bool,
}

fn bound_to_read(node: &BuildNode, lowered: &Lowered) -> Bound {
    let mut bound = Bound { directories: BTreeMap::new(), is_all: lowered.sources.is_empty() };
    for step in &lowered.steps {
        let Op::Copy(copy) = &step.op else { continue };
        let Some(name) = context_name(copy) else { continue };
        let declared = match &name {
            None => Some(&node.variant.context),
            Some(name) => node.variant.contexts.get(name),
        };
        match declared.map(|declared| &declared.value) {
            Some(model::Context::Directory(root)) => {
                let wanted = wanted(node, name.as_deref(), root.clone(), true);
                bound.directories.insert(name, wanted);
            }
            _ => bound.is_all = false,
        }
    }
    bound
}
