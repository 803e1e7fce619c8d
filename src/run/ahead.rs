//! Walks contexts before nodes ask for them, all processors at once.
//!
//! Nodes come one after the other, and each would wait for its own walk: where nothing changed, waking each other would
//! take longer than the walks. What is walked ahead is what a build is bound to read, by its Dockerfile alone.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;

use super::build::wanted;
use super::worker::PlanWorker;
use crate::base::{Digest, NodeId, Platform};
use crate::context::Wanted;
use crate::engine::selection::context_name;
use crate::engine::{Engine, blocking};
use crate::model::Context;
use crate::plan::{BuildNode, Node, Plan};
use crate::steps::{BaseImage, Op, Setting, lower_assuming};

/// Nodes begin after this time, however much is still to be walked.
const LONGEST: Duration = Duration::from_millis(100);

impl<E: Engine> PlanWorker<E> {
    /// Begins to walk, and waits a moment for the end. Errors are those of whoever needs the context.
    pub async fn walk_ahead(&self) {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (next, ids) = (Arc::new(AtomicUsize::new(0)), Arc::new(first_of_targets(&self.plan)));
        let walks = (0..threads).map(|_| {
            let (next, ids, plan) = (next.clone(), ids.clone(), self.plan.clone());
            let (contexts, build) = (self.builder.contexts.clone(), self.tools.build_platform.clone());
            blocking(move || {
                // Nodes are taken one by one, as other threads do, until there are no more.
                while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Node::Build(node) = plan.node(*id) else { continue };
                    for wanted in bound_to_read(node, &build) {
                        let _ = contexts.get(&wanted);
                    }
                }
            })
        });
        let _ = tokio::time::timeout(LONGEST, join_all(walks)).await;
    }
}

/// One node of every target: its other platforms mostly read the same, and those that do not walk by themselves.
fn first_of_targets(plan: &Plan) -> Vec<NodeId> {
    let mut targets = HashSet::new();
    let mut is_first = |node: &Node| matches!(node, Node::Build(node) if targets.insert(node.target.clone()));
    plan.nodes().filter(|(_, node)| is_first(node)).map(|(id, _)| id).collect()
}

/// The directories that a node reads whatever its bases are.
fn bound_to_read(node: &BuildNode, build: &Platform) -> Vec<Wanted> {
    let nothing = Digest::of("");
    let assume = |_: &_| BaseImage::new(nothing, Arc::default());
    let Some(lowered) = lower_assuming(&Setting::new(&node.dockerfile, &node.variant, build), assume) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for step in &lowered.steps {
        let Op::Copy(copy) = &step.op else { continue };
        let Some(name) = context_name(copy) else { continue };
        let declared = match &name {
            None => Some(&node.variant.context),
            Some(name) => node.variant.contexts.get(name),
        };
        if let Some(Context::Directory(root)) = declared.map(|declared| &declared.value) {
            let wanted = wanted(node, name.as_deref(), root.clone(), true);
            if !found.contains(&wanted) {
                found.push(wanted);
            }
        }
    }
    found
}
