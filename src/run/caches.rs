//! What a node has to do with caches: which it reads and writes, and that the images they tell of can be had.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::worker::PlanWorker;
use crate::base::{NodeId, Reference};
use crate::cache::Access;
use crate::diag::{Kind, Located, Problem};
use crate::engine::base::{LOST_BLOB, Origin};
use crate::engine::{BuildOutcome, Engine, StepCache, StepCaches};
use crate::event::Event;
use crate::model::{Cache, CacheEntry, ExportOptions, Output};
use crate::oci::Descriptor;
use crate::plan::{BuildNode, Node};
use crate::publish::export::is_in_form;
use crate::publish::merge::read_manifest;

/// How long the end of a run may wait for caches without a word.
const SILENT_FOR: Duration = Duration::from_secs(3);

/// The caches that the build file declares, by name.
pub type NamedCaches = std::collections::BTreeMap<String, Cache>;

impl<E: Engine> PlanWorker<E> {
    /// The caches of a node's target. What is released is made of nothing that others could have put there.
    pub(super) fn access(&self, node: &BuildNode) -> Result<Access, Box<Problem>> {
        self.tools.caches.access(&node.caches, &self.tools.named_caches, &node.images, self.is_release())
    }

    /// The same as the file has it, for engines that cache steps in a form of their own.
    pub(super) fn step_caches(&self, node: &BuildNode) -> StepCaches {
        let named = node.caches.named.iter().filter_map(|name| self.tools.named_caches.get(&name.value));
        let step_cache = |entry: &CacheEntry, is_of_many| StepCache { entry: entry.clone(), is_of_many };
        let may_read = |cache: &&Cache| cache.trust == Some(true) || !self.is_release();
        let mut caches = StepCaches {
            from: named.clone().filter(may_read).map(|cache| step_cache(&cache.entry, true)).collect(),
            to: named.map(|cache| step_cache(&cache.entry, true)).collect(),
            images: self.names_of(&node.target).to_vec(),
        };
        let plain = |entry: &Located<CacheEntry>| step_cache(&entry.value, false);
        caches.from.extend(node.caches.from.iter().filter(|_| !self.is_release()).map(plain));
        caches.to.extend(node.caches.to.iter().map(plain));
        caches
    }

    fn is_release(&self) -> bool {
        let publish = self.plan.nodes().last().map(|(_, node)| node);
        matches!(publish, Some(Node::Publish(publish)) if publish.is_release)
    }

    /// Makes sure that whoever needs bytes of an image gets them: they come here where a file is written of them,
    /// and where a registry that they go to cannot take them from where they are.
    pub(super) async fn secure(
        &self,
        id: NodeId,
        node: &BuildNode,
        image: &BuildOutcome,
    ) -> Result<(), Box<Problem>> {
        if self.blobs.are_here(&image.manifest) {
            return Ok(());
        }
        self.note_left(image)?;
        let events = self.job_events(id);
        if self.needs_bytes(node, image)? {
            return self.blobs.bring_image(&image.manifest, &events).await;
        }
        let names = self.destinations(node);
        for layer in &read_manifest(&self.tools.store, &image.manifest)?.layers {
            if !self.blobs.has(&layer.digest) && !self.can_be_placed(layer, &names).await {
                self.blobs.bring(layer, &events).await?;
            }
        }
        Ok(())
    }

    async fn can_be_placed(&self, layer: &Descriptor, names: &[Reference]) -> bool {
        for name in names {
            if !self.blobs.place(name, layer).await {
                return false;
            }
        }
        true
    }

    /// Whether something is written of the layers themselves.
    fn needs_bytes(&self, node: &BuildNode, image: &BuildOutcome) -> Result<bool, Box<Problem>> {
        let outputs = self.merge_node(&node.target).map_or(&[][..], |merge| &merge.outputs);
        let is_file = |output: &Output| !matches!(output, Output::Image { .. } | Output::CacheOnly);
        if outputs.iter().any(is_file) {
            return Ok(true);
        }
        let manifest = read_manifest(&self.tools.store, &image.manifest)?;
        let has_form = |options: &ExportOptions| is_in_form(&manifest, &image.compressions, options);
        let wanted = outputs.iter().filter_map(Output::export_options).chain([&node.export]);
        Ok(!wanted.into_iter().all(has_form))
    }

    /// The repository that an engine may leave a node's image in: what others build on is needed here.
    pub(super) fn destination(&self, id: NodeId, node: &BuildNode) -> Option<Reference> {
        let is_built_on =
            self.plan.dependents(id).into_iter().any(|other| matches!(self.plan.node(other), Node::Build(_)));
        let may_push = !is_built_on && !self.tools.publication.is_rehearsal;
        self.destinations(node).into_iter().next().filter(|_| may_push)
    }

    /// Remembers where the layers of an image are that a worker left in a repository.
    pub(super) fn note_left(&self, image: &BuildOutcome) -> Result<(), Box<Problem>> {
        if let Some(repository) = &image.repository {
            let manifest = read_manifest(&self.tools.store, &image.manifest)?;
            self.blobs.note_origin(&manifest.layers, &Origin::Registry(repository.clone()));
        }
        Ok(())
    }

    /// Whether an image of an earlier run can be had by whoever needs its bytes; one that a worker left in a repository
    /// may be gone from there.
    pub(super) async fn can_be_had(
        &self,
        id: NodeId,
        node: &BuildNode,
        image: &BuildOutcome,
    ) -> Result<bool, Box<Problem>> {
        let Some(repository) = &image.repository else { return Ok(true) };
        let manifest = read_manifest(&self.tools.store, &image.manifest)?;
        let asked = manifest.layers.iter().map(|layer| async {
            self.blobs.has(&layer.digest)
                || self.tools.registry.has_blob(repository, layer.digest).await.unwrap_or(false)
        });
        if join_all(asked).await.contains(&false) {
            let message =
                format!("`{}` does not have all layers of `{}` any more", repository.name(), node.target);
            self.tell_of_loss(id, &Problem::new(Kind::Remote, LOST_BLOB, message));
            return Ok(false);
        }
        self.secure(id, node, image).await.map(|()| true)
    }

    /// Brings what a node stands on here, where a worker left that in a repository.
    pub(super) async fn bring_left_bases(&self, id: NodeId) -> Result<(), Box<Problem>> {
        for base in self.plan.dependencies(id) {
            let Node::Build(node) = self.plan.node(base) else { continue };
            let image = self.image(&node.target, &node.platform);
            if let Some(image) = image.filter(|image| image.repository.is_some()) {
                self.note_left(&image)?;
                self.blobs.bring_image(&image.manifest, &self.job_events(base)).await?;
            }
        }
        Ok(())
    }

    /// The repositories that the target's image goes to.
    pub(super) fn destinations(&self, node: &BuildNode) -> Vec<Reference> {
        let names = self.names_of(&node.target).iter();
        let mut repositories: Vec<Reference> = names.map(Reference::without_tag).collect();
        repositories.sort();
        repositories.dedup();
        repositories
    }

    /// Waits for what is still being written to caches, and says so if that takes its time.
    pub(super) async fn finish_caches(&self) {
        let (begun, is_told) = (Instant::now(), AtomicBool::new(false));
        let progress = |done: u64, total: u64| {
            if begun.elapsed() > SILENT_FOR && !is_told.swap(true, Ordering::Relaxed) {
                let left = total.saturating_sub(done) / 1_000_000;
                let message =
                    format!("everything is built; {left} MB of results are still on their way to caches");
                let problem = Problem::warning("cache::writing", message);
                self.tools.events.emit(Event::Notice { node: None, problem: Arc::new(problem) });
            }
        };
        self.tools.caches.finish(&progress).await;
    }

    /// A cache told of an image or a layer that it does not have whole.
    pub(super) fn tell_of_loss(&self, node: NodeId, lost: &Problem) {
        let problem = Problem::warning(lost.code, format!("{}: it is built here", lost.message));
        self.tools.events.emit(Event::Notice { node: Some(node), problem: Arc::new(problem) });
    }
}
