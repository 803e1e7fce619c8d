//! A target's images in the form an output asks for, merged.

use super::worker::PlanWorker;
use crate::base::NodeId;
use crate::diag::Problem;
use crate::engine::{BuildOutcome, Engine, blocking};
use crate::model::ExportOptions;
use crate::plan::{MergeNode, Node};
use crate::publish::export::{BuiltImage, ExportedImage, as_it_is, export_image};
use crate::publish::merge::{Merged, attest, merge, typed};

impl<E: Engine> PlanWorker<E> {
    /// One platform's image in that form.
    pub(super) async fn export(
        &self,
        image: &BuildOutcome,
        options: &ExportOptions,
    ) -> Result<ExportedImage, Box<Problem>> {
        if let Some(exported) = self.exported_as_it_is(image, options)? {
            return Ok(exported);
        }
        let (store, image, options) = (self.tools.store.clone(), built(image), options.clone());
        blocking(move || export_image(&store, &image, &options)).await
    }

    /// The same of an image that has that form.
    pub(super) fn exported_as_it_is(
        &self,
        image: &BuildOutcome,
        options: &ExportOptions,
    ) -> Result<Option<ExportedImage>, Box<Problem>> {
        as_it_is(&self.tools.store, &built(image), options)
    }

    /// All platforms of a target whose builds are done.
    pub(super) async fn export_target(
        &self,
        node: &MergeNode,
        options: &ExportOptions,
    ) -> Result<Merged, Box<Problem>> {
        let mut images = Vec::with_capacity(node.platforms.len());
        for platform in &node.platforms {
            let known = self.exported(&node.target, platform).filter(|_| *options == node.export);
            let known = known.or_else(|| self.supplied.form(&node.target, platform, options));
            let exported = match known {
                Some(exported) => exported,
                None => {
                    let image =
                        self.image(&node.target, platform).expect("a merge waits for all its platforms");
                    self.bring_supplied(&node.target, platform, &image.manifest).await?;
                    self.export(&image, options).await?
                }
            };
            images.push(exported.manifest);
        }
        let annotations: Vec<_> = node.annotations.iter().chain(&options.annotations).cloned().collect();
        // A few small documents, most of which are there.
        let store = &self.tools.store;
        let merged = typed(store, &merge(store, &images, &annotations)?, options)?;
        let built = node.platforms.iter().map(|platform| self.image(&node.target, platform));
        let statements: Vec<_> =
            built.map(|image| image.map_or(Vec::new(), |image| image.attestations)).collect();
        attest(store, merged, &statements)
    }

    /// The node that merges a target.
    pub(super) fn merge_node(&self, target: &str) -> Option<&MergeNode> {
        self.plan.nodes().find_map(|(_, node): (NodeId, &Node)| match node {
            Node::Merge(merge) if merge.target == target => Some(merge),
            Node::Resolve(_)
            | Node::Build(_)
            | Node::Verify(_)
            | Node::Test(_)
            | Node::Merge(_)
            | Node::Publish(_) => None,
        })
    }
}

fn built(image: &BuildOutcome) -> BuiltImage {
    BuiltImage { manifest: image.manifest.clone(), compressions: image.compressions.clone() }
}
