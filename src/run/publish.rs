//! The publish node: every image of the run into its registries, tags last.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::blobs::Pushed;
use super::build::joined;
use super::worker::PlanWorker;
use crate::base::payload::Outcome;
use crate::base::{NodeId, Reference};
use crate::diag::Problem;
use crate::engine::Engine;
use crate::event::{Event, Transfer};
use crate::plan::{Node, PublishNode, PublishTarget};
use crate::publish::publication::publish;
use crate::publish::push::{ImagePush, PushEvent, PushedName, tag_of};
use crate::publish::release::Release;

impl<E: Engine> PlanWorker<E> {
    /// Looks at the tags that the run will publish, beside the builds, and so makes acquaintance with their registries.
    pub fn look_at_tags(&self) {
        let names: Vec<&Reference> =
            self.published().into_iter().flat_map(|published| &published.names).collect();
        let tags: Vec<Reference> = names.iter().filter_map(|name| tag_of(name)).collect();
        let untagged = names.iter().filter(|name| name.tag().is_none());
        let registries: BTreeMap<&str, &Reference> = untagged.map(|name| (name.registry(), *name)).collect();
        if !tags.is_empty() {
            let looks = self.looks.clone();
            tokio::spawn(async move { looks.begin(tags).await });
        }
        for name in registries.into_values() {
            let (registry, name) = (self.tools.registry.clone(), name.clone());
            tokio::spawn(async move { registry.approach(&name).await });
        }
    }

    /// Tries, before a target is built, whether its repositories let push.
    pub(super) async fn check_access_of(&self, target: &str) -> Result<(), Box<Problem>> {
        let names = self.names_of(target);
        // Besides the one that is tried: what a changed layer brings with it is a config for each platform.
        let is_built = |node: &Node| matches!(node, Node::Build(node) if node.target == target);
        let configs = self.plan.nodes().filter(|(_, node)| is_built(node)).count();
        self.try_access(&names, configs).await
    }

    /// The same of all repositories that are bound to get something since they lack a tag. One whose tags stand may stay
    /// as it is.
    pub(super) async fn check_access(&self) -> Result<(), Box<Problem>> {
        let asked = self.published().into_iter().flat_map(|published| &published.names);
        let asked = asked.map(|name| async move { self.lacks(name).await.then_some(name) });
        let names: Vec<&Reference> = join_all(asked).await.into_iter().flatten().collect();
        self.try_access(&names, 0).await
    }

    async fn try_access(&self, names: &[&Reference], more: usize) -> Result<(), Box<Problem>> {
        if self.tools.publication.is_rehearsal {
            return Ok(());
        }
        let refusals = self.access.refusals(&self.tools.registry, names, more).await;
        if refusals.is_empty() { Ok(()) } else { Err(joined(refusals)) }
    }

    /// What the target's image is called where it goes.
    pub(super) fn names_of(&self, target: &str) -> Vec<&Reference> {
        let own = self.published().into_iter().filter(|published| published.target == target);
        own.flat_map(|published| &published.names).collect()
    }

    fn published(&self) -> Vec<&PublishTarget> {
        let nodes = self.plan.nodes().filter_map(|(_, node)| match node {
            Node::Publish(node) => Some(&node.targets),
            Node::Resolve(_) | Node::Build(_) | Node::Verify(_) | Node::Test(_) | Node::Merge(_) => None,
        });
        nodes.flatten().collect()
    }

    async fn lacks(&self, name: &Reference) -> bool {
        match tag_of(name) {
            Some(tag) => matches!(self.looks.at(&tag).await, Ok(None)),
            None => true,
        }
    }
}

pub(super) async fn work<E: Engine>(
    worker: &PlanWorker<E>,
    id: NodeId,
    node: &PublishNode,
) -> Result<Outcome, Box<Problem>> {
    let mut images = Vec::with_capacity(node.targets.len());
    for target in &node.targets {
        let merge = worker.merge_node(&target.target).expect("what is published is merged before");
        images.push(worker.export_target(merge, &target.options).await?.root);
    }
    let pushes: Vec<ImagePush<'_>> = images
        .iter()
        .zip(&node.targets)
        .map(|(image, target)| ImagePush {
            image,
            names: &target.names,
            release: Release { version: target.version.clone(), revision: target.revision.clone() },
            historical: &target.historical,
            is_unguarded: target.is_unguarded,
            asks_registry: target.asks_registry,
        })
        .collect();
    let events = worker.tools.events.clone();
    let report = move |event: PushEvent| match event {
        PushEvent::Transfer { digest, done, total, .. } => {
            let (item, total) = (digest.short(), Some(total));
            events.emit(Event::Transfer { node: id, what: Transfer::Push, item, done, total });
        }
        PushEvent::Notice(problem) => {
            events.emit(Event::Notice { node: Some(id), problem: Arc::new(*problem) });
        }
        PushEvent::Blob { .. } | PushEvent::Name(_) => {}
    };
    let blobs = Pushed { blobs: &worker.blobs, events: worker.job_events(id), made: worker.made_manifests() };
    let pushing = publish(&worker.looks, &blobs, &pushes, &worker.tools.publication, &report);
    // All is built: while it travels, it is made to last.
    let (pushed, saved) = tokio::join!(pushing, worker.save());
    let pushed = pushed.map_err(|error| Box::new(error.problem()))?;
    if worker.tools.publication.is_rehearsal {
        let names: Vec<PushedName> = pushed.into_iter().flatten().collect();
        let would_move = names.iter().any(|name| !name.is_kept && !name.unchanged);
        let told = worker.rehearsed.set(names);
        debug_assert!(told.is_ok(), "a run publishes once");
        saved?;
        return Ok(if would_move { Outcome::Built } else { Outcome::Reused });
    }
    let mut moved = false;
    for (target, names) in node.targets.iter().zip(pushed) {
        for name in names.into_iter().filter(|name| !name.is_kept) {
            moved |= !name.unchanged;
            worker.tools.events.emit(Event::Tagged {
                node: id,
                target: target.target.clone(),
                reference: match name.reference.tag() {
                    Some(_) => name.reference.familiar(),
                    None => name.reference.with_digest(name.digest).familiar(),
                },
                digest: name.digest,
                unchanged: name.unchanged,
            });
        }
    }
    saved?;
    Ok(if moved { Outcome::Built } else { Outcome::Reused })
}
