//! The publish node: every image of the run into its registries, tags last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::blobs::Pushed;
use super::build::joined;
use super::worker::PlanWorker;
use crate::base::payload::Outcome;
use crate::base::{NodeId, Reference};
use crate::diag::Problem;
use crate::engine::{Engine, ToldOfLayer};
use crate::event::{Event, Transfer};
use crate::oci::{Descriptor, Manifest};
use crate::plan::{BuildNode, Node, Plan, PublishNode, PublishTarget};
use crate::publish::merge::read_manifest;
use crate::publish::publication::publish;
use crate::publish::push::{ImagePush, PushError, PushEvent, PushedName, UNASKED, tag_of};
use crate::publish::release::Release;
use crate::registry::Registry;

/// What is built within this time is not worth asking repositories about that it does not go to.
const SOON: Duration = Duration::from_millis(100);

impl<E: Engine> PlanWorker<E> {
    /// Looks at the tags that the run will publish, beside all that comes before, and so makes acquaintance with their
    /// registries. One on this machine would take processors from whoever walks, and is asked by
    /// [`Self::look_at_tags_here`].
    pub fn look_at_tags(&self) {
        let names = self.published().into_iter().flat_map(|published| &published.names);
        let (here, elsewhere): (Vec<&Reference>, Vec<&Reference>) =
            names.partition(|name| Registry::is_on_this_machine(name));
        let tags = elsewhere.iter().filter_map(|name| tag_of(name)).collect();
        self.begin_looks(tags);
        let untagged = elsewhere.into_iter().filter(|name| name.tag().is_none());
        let registries: BTreeMap<&str, &Reference> =
            untagged.chain(here).map(|name| (name.registry(), name)).collect();
        for name in registries.into_values() {
            let (registry, name) = (self.tools.registry.clone(), name.clone());
            tokio::spawn(async move { registry.approach(&name).await });
        }
    }

    /// Looks at tags in registries on this machine, once contexts are walked: those of targets that are to be built, as
    /// far as that is known, or all, where nothing is.
    pub fn look_at_tags_here(&self) {
        let (known, built): (Vec<&PublishTarget>, Vec<&PublishTarget>) =
            self.published().into_iter().partition(|published| self.is_known_ahead(&published.target));
        let wanted = if built.is_empty() { known } else { built };
        self.begin_looks_here(wanted);
    }

    /// Looks at all other tags in registries on this machine, once the first image is made: while that travels, nobody
    /// misses the processors.
    pub(super) fn look_at_other_tags_here(&self) {
        self.other_looks.call_once(|| self.begin_looks_here(self.published()));
    }

    /// Where a target's tags lead to unless it changed.
    pub(super) fn expect_tags(&self, target: &str, image: &Descriptor) {
        let tags = self.names_of(target).iter().filter_map(tag_of);
        tags.for_each(|tag| self.looks.expect(tag, image));
    }

    fn begin_looks_here(&self, published: Vec<&PublishTarget>) {
        let names = published.into_iter().flat_map(|published| &published.names);
        let here = names.filter(|name| Registry::is_on_this_machine(name));
        self.begin_looks(here.filter_map(tag_of).collect());
    }

    fn begin_looks(&self, tags: Vec<Reference>) {
        if !tags.is_empty() {
            let looks = self.looks.clone();
            tokio::spawn(async move { looks.begin(tags).await });
        }
    }

    /// Begins to try whether repositories let push, of the first target that is bound to be built: while other contexts
    /// are walked, they answer.
    pub(super) fn try_access_ahead(self: &Arc<Self>, node: &BuildNode) {
        if self.access(node).is_ok_and(|access| !access.reads()) {
            self.first_try.call_once(|| {
                let (this, target) = (self.clone(), node.target.clone());
                // A refusal is told by the build.
                tokio::spawn(async move { this.check_access_of(&target).await });
            });
        }
    }

    /// Tries, before a target is built, whether its repositories let push. A refusal tells of all others as well, so that
    /// access is asked for once.
    pub(super) async fn check_access_of(&self, target: &str) -> Result<(), Box<Problem>> {
        let names: Vec<&Reference> = self.names_of(target).iter().collect();
        // Besides the one that is tried: what a changed layer brings with it is a config for each platform.
        let is_built = |node: &Node| matches!(node, Node::Build(node) if node.target == target);
        let configs = self.plan.nodes().filter(|(_, node)| is_built(node)).count();
        for tag in names.iter().filter_map(|name| tag_of(name)) {
            let (looks, store) = (self.looks.clone(), self.tools.store.clone());
            tokio::spawn(async move { looks.begin_below(&store, &tag).await });
        }
        if self.try_access(&names, configs).await.is_ok() {
            return Ok(());
        }
        let names = [names, self.lacking().await].concat();
        self.try_access(&names, 0).await
    }

    /// The same of all repositories that are bound to get something since they lack a tag. One whose tags stand may stay
    /// as it is.
    pub(super) async fn check_access(&self) -> Result<(), Box<Problem>> {
        self.try_access(&self.lacking().await, 0).await
    }

    /// The same beside what takes a processor, and so with one question at a time, and none beside what is soon over.
    pub(super) async fn check_access_in_turn(&self) -> Result<(), Box<Problem>> {
        tokio::time::sleep(SOON).await;
        let mut names = Vec::new();
        for name in self.published().into_iter().flat_map(|published| &published.names) {
            names.extend(self.lacks(name).await.then_some(name));
        }
        self.try_access(&names, 0).await
    }

    async fn try_access(&self, names: &[&Reference], more: usize) -> Result<(), Box<Problem>> {
        if self.tools.publication.is_rehearsal {
            return Ok(());
        }
        let refusals = self.access.refusals(&self.tools.registry, names, more).await;
        if refusals.is_empty() { Ok(()) } else { Err(joined(refusals)) }
    }

    /// Sends what is new in an image that was just made to where it goes, as far as it is small: it arrives while the
    /// image is verified. Of several repositories of a registry the others take it from the first.
    pub(super) fn send_early(&self, target: &str, image: &Descriptor) -> Result<(), Box<Problem>> {
        let Some(send) = self.sending_early(target) else { return Ok(()) };
        let Manifest { config, layers, .. } = read_manifest(&self.tools.store, image)?;
        let blobs = layers.iter().chain([&config]);
        blobs.filter(|blob| !self.blobs.is_of_base(&blob.digest)).for_each(|blob| send(blob));
        Ok(())
    }

    /// What sends a blob to where a target's image goes, if it is new in this run and small.
    pub(super) fn sending_early(&self, target: &str) -> Option<ToldOfLayer> {
        let mut repositories: BTreeMap<&str, &Reference> = BTreeMap::new();
        for name in self.names_of(target) {
            let first = repositories.entry(name.registry()).or_insert(name);
            *first = std::cmp::min_by_key(*first, name, |name| name.repository());
        }
        if repositories.is_empty() || self.tools.publication.is_rehearsal {
            return None;
        }
        let repositories: Vec<Reference> = repositories.into_values().cloned().collect();
        let (store, registry) = (self.tools.store.clone(), self.tools.registry.clone());
        let early = self.early.clone();
        Some(Arc::new(move |blob: &Descriptor| {
            if blob.size <= UNASKED && store.blobs().is_new(&blob.digest) {
                repositories.iter().for_each(|repository| early.send(&registry, &store, repository, blob));
            }
        }))
    }

    /// What the target's image is called where it goes.
    pub(super) fn names_of(&self, target: &str) -> &[Reference] {
        self.names.get(target).map_or(&[], Vec::as_slice)
    }

    fn published(&self) -> Vec<&PublishTarget> {
        published(&self.plan).collect()
    }

    async fn lacking(&self) -> Vec<&Reference> {
        let asked = self.published().into_iter().flat_map(|published| &published.names);
        let asked = asked.map(|name| async move { self.lacks(name).await.then_some(name) });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn lacks(&self, name: &Reference) -> bool {
        match tag_of(name) {
            Some(tag) => matches!(self.looks.at(&tag).await, Ok(None)),
            None => true,
        }
    }
}

/// Everything that a plan publishes.
pub(super) fn published(plan: &Plan) -> impl Iterator<Item = &PublishTarget> {
    let nodes = plan.nodes().filter_map(|(_, node)| match node {
        Node::Publish(node) => Some(&node.targets),
        Node::Resolve(_) | Node::Build(_) | Node::Verify(_) | Node::Test(_) | Node::Merge(_) => None,
    });
    nodes.flatten()
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
    let made = node.targets.iter().zip(&images).flat_map(|(target, image)| {
        let manifests = worker.made_manifests(&target.target);
        let index = (!manifests.is_empty()).then_some(image.digest);
        manifests.into_iter().chain(index)
    });
    let blobs = Pushed { blobs: &worker.blobs, events: worker.job_events(id), made: made.collect() };
    let pushing = publish(&worker.looks, &worker.early, &blobs, &pushes, &worker.tools.publication, &report);
    // All is built: while it travels, it is made to last.
    let (pushed, saved) = tokio::join!(pushing, worker.save());
    if pushed.as_ref().is_err_and(PushError::is_refusal) {
        // A push ends with the first one; all of them are told at once.
        worker.check_access().await?;
    }
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
