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
use crate::plan::{Node, PublishNode};
use crate::publish::publication::publish;
use crate::publish::push::{ImagePush, PushEvent, tag_of};
use crate::publish::release::Release;

impl<E: Engine> PlanWorker<E> {
    /// Looks at the tags that the run will publish, beside the builds, and so makes acquaintance with their registries.
    pub fn look_at_tags(&self) {
        let published = self.plan.nodes().filter_map(|(_, node)| match node {
            Node::Publish(node) => Some(&node.targets),
            Node::Resolve(_) | Node::Build(_) | Node::Merge(_) => None,
        });
        let names: Vec<&Reference> = published.flatten().flat_map(|target| &target.names).collect();
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

    /// Tries, before something is built, whether repositories let push: those of its target, and all that are bound to
    /// get something since they lack a tag. One whose tags stand may stay as it is.
    pub(super) async fn check_access(&self, target: &str) -> Result<(), Box<Problem>> {
        if self.tools.publication.is_rehearsal {
            return Ok(());
        }
        let published = self.plan.nodes().filter_map(|(_, node)| match node {
            Node::Publish(node) => Some(&node.targets),
            Node::Resolve(_) | Node::Build(_) | Node::Merge(_) => None,
        });
        let asked = published.flatten().flat_map(|published| {
            let is_built = published.target == target;
            published
                .names
                .iter()
                .map(move |name| async move { (is_built || self.lacks(name).await).then_some(name) })
        });
        let names: Vec<&Reference> = join_all(asked).await.into_iter().flatten().collect();
        let refusals = self.access.refusals(&self.tools.registry, &names).await;
        if refusals.is_empty() { Ok(()) } else { Err(joined(refusals)) }
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
        let told = worker.rehearsed.set(pushed.into_iter().flatten().collect());
        debug_assert!(told.is_ok(), "a run publishes once");
        saved?;
        return Ok(Outcome::Reused);
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
