//! One Dockerfile as one target uses it: what a rule looks at.

use super::bases::KnownBases;
use super::trace::{StageTrace, Trace, Use};
use crate::base::Platform;
use crate::context::IgnoreFile;
use crate::dockerfile::{Dockerfile, Instruction, Stage};
use crate::lock::Lock;
use crate::model;

/// Everything there is to know.
pub struct View<'a> {
    pub dockerfile: &'a Dockerfile,
    /// The platform builds run on.
    pub build: &'a Platform,
    /// One for each platform of the target that uses this Dockerfile; at least one.
    pub variants: Vec<VariantView<'a>>,
    /// The ignore file of the main context.
    pub ignore: Option<&'a IgnoreFile>,
    /// Where the project has one.
    pub lock: Option<&'a Lock>,
    pub bases: &'a KnownBases,
}

/// The Dockerfile for one platform.
pub struct VariantView<'a> {
    pub model: &'a model::Variant,
    pub trace: Trace<'a>,
}

impl<'a> VariantView<'a> {
    pub fn platform(&self) -> &'a Platform {
        &self.model.platform.value
    }
}

impl<'a> View<'a> {
    pub(super) fn stages(&self) -> &'a [Stage] {
        &self.dockerfile.stages
    }

    /// Every instruction of a stage, as written.
    pub(super) fn instructions(&self) -> impl Iterator<Item = &'a Instruction> {
        self.stages().iter().flat_map(|stage| &stage.instructions)
    }

    /// Every stage of every platform that is looked at.
    pub(super) fn traced(&self) -> impl Iterator<Item = (&VariantView<'a>, &StageTrace<'a>)> {
        self.variants
            .iter()
            .flat_map(|variant| variant.trace.stages.iter().map(move |stage| (variant, stage)))
    }

    /// Every instruction of every platform.
    pub(super) fn uses(&self) -> impl Iterator<Item = (&VariantView<'a>, &StageTrace<'a>, &Use<'a>)> {
        self.traced().flat_map(|(variant, stage)| stage.uses.iter().map(move |at| (variant, stage, at)))
    }

    /// The variants whose image needs stage `index`; all of them where none does, since then somebody else
    /// builds it.
    pub(super) fn needing(&self, index: usize) -> Vec<&VariantView<'a>> {
        let needing: Vec<_> =
            self.variants.iter().filter(|variant| variant.trace.needed.contains(&index)).collect();
        if needing.is_empty() { self.variants.iter().collect() } else { needing }
    }

    /// The first platform that needs a stage and for which `is_wrong` holds.
    pub(super) fn needing_platform(
        &self,
        index: usize,
        is_wrong: impl Fn(&Platform) -> bool,
    ) -> Option<&'a Platform> {
        self.needing(index).into_iter().map(VariantView::platform).find(|platform| is_wrong(platform))
    }
}
