//! One Dockerfile as one target uses it: what a rule looks at.

use super::bases::KnownBases;
use super::trace::{Runs, StageTrace, Trace, Use};
use crate::base::Platform;
use crate::context::IgnoreFile;
use crate::dockerfile::{Dockerfile, Instruction, InstructionKind, Stage};
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

/// A COPY out of a stage that runs on the build machine into one that runs on the target.
pub(super) struct HostCopy<'v, 'a> {
    pub trace: &'v Trace<'a>,
    pub at: &'v Use<'a>,
    pub sources: Vec<&'v str>,
    /// The stage on the build machine.
    pub stage: &'v StageTrace<'a>,
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

    pub(super) fn host_copies(&self) -> impl Iterator<Item = HostCopy<'_, 'a>> {
        self.uses().filter(|(_, into, _)| into.runs == Runs::OnTarget).filter_map(|(variant, _, at)| {
            let InstructionKind::Copy(copy) = &at.instruction.kind else { return None };
            let stage = variant.trace.copied_stage(copy.from.as_ref()?)?;
            let sources = copy.sources.iter().map(|source| at.value_of(source)).collect();
            let copied = HostCopy { trace: &variant.trace, at, sources, stage };
            (stage.runs == Runs::OnBuildMachine).then_some(copied)
        })
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
