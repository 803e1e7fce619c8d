//! Images that other machines built, where a run only joins and publishes them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::worker::PlanWorker;
use crate::base::{NodeId, Platform};
use crate::diag::Problem;
use crate::engine::base::Origin;
use crate::engine::{BuildOutcome, Engine};
use crate::model::ExportOptions;
use crate::oci::Descriptor;
use crate::plan::{MergeNode, Node};
use crate::publish::export::{ExportedImage, exported, form_name};
use crate::publish::merge::read_manifest;

/// An image whose documents are in the store, and whose layers are somewhere.
pub struct SuppliedImage {
    pub target: String,
    pub platform: Platform,
    pub image: BuildOutcome,
    /// Its manifest in each form it was put into, by [`form_name`].
    pub forms: BTreeMap<String, Descriptor>,
    pub layers: Origin,
    /// Where statements about it are.
    pub statements: Origin,
}

type Forms = BTreeMap<String, ExportedImage>;

#[derive(Default)]
pub(super) struct Supplied(Mutex<BTreeMap<(String, Platform), Forms>>);

impl Supplied {
    pub fn form(&self, target: &str, platform: &Platform, options: &ExportOptions) -> Option<ExportedImage> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(target.to_string(), platform.clone()))?.get(&form_name(options)).cloned()
    }

    fn has(&self, target: &str, platform: &Platform) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains_key(&(target.to_string(), platform.clone()))
    }
}

impl<E: Engine> PlanWorker<E> {
    /// Takes an image in place of building it.
    pub fn supply(&self, supplied: SuppliedImage) -> Result<(), Box<Problem>> {
        let SuppliedImage { target, platform, image, forms, layers, statements } = supplied;
        let mut known = Forms::new();
        for (form, descriptor) in forms {
            let manifest = read_manifest(&self.tools.store, &descriptor)?;
            self.blobs.note_origin(&manifest.layers, &layers);
            known.insert(form, exported(descriptor, &manifest));
        }
        self.blobs.note_origin(&read_manifest(&self.tools.store, &image.manifest)?.layers, &layers);
        self.blobs.note_origin(&image.attestations, &statements);
        self.foresee_image(&target, &platform, image);
        let mut all = self.supplied.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert((target, platform), known);
        Ok(())
    }

    /// Makes sure that the layers of an image that was supplied are here, for whoever reads them.
    pub(super) async fn bring_supplied(
        &self,
        target: &str,
        platform: &Platform,
        image: &Descriptor,
    ) -> Result<(), Box<Problem>> {
        match self.supplied.has(target, platform) {
            true => self.bring_layers(target, image).await,
            false => Ok(()),
        }
    }

    /// Makes sure that the layers of an image of the run are in the store.
    pub async fn bring_layers(&self, target: &str, image: &Descriptor) -> Result<(), Box<Problem>> {
        let is_its_merge =
            |node: &Node| matches!(node, Node::Merge(MergeNode { target: of, .. }) if of == target);
        let node = self.plan.nodes().find(|(_, node)| is_its_merge(node));
        let events = self.job_events(node.map_or(NodeId(0), |(id, _)| id));
        self.blobs.bring_image(image, &events).await
    }

    /// The image in every form of `forms`, by [`form_name`].
    pub async fn in_forms(
        &self,
        image: &BuildOutcome,
        forms: &[ExportOptions],
    ) -> Result<BTreeMap<String, Descriptor>, Box<Problem>> {
        let mut made = BTreeMap::new();
        for form in forms {
            made.insert(form_name(form), self.export(image, form).await?.manifest);
        }
        Ok(made)
    }
}
