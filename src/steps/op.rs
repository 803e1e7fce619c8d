//! What a step does, in values: no paths of this machine, no handles, nothing that must run to be known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::mount::RunMount;
use crate::base::{Digest, Platform, RemoteSource, StepId};
use crate::diag::Place;
use crate::model::{Network, Ulimit};
use crate::oci::ImageConfig;

/// A build of one stage for one platform, lowered: every variable expanded, every name resolved.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// Inputs before what reads them.
    pub steps: Vec<Step>,
    /// The step whose file system is the image's.
    pub result: StepId,
    /// The image's config but for `rootfs.diff_ids` and times; its history is complete, base first.
    pub config: ImageConfig,
    /// The base images the steps start from, in the order of first use.
    pub bases: Vec<LoweredBase>,
    /// What ADD takes from elsewhere, each once, in the order of first use.
    pub sources: Vec<RemoteSource>,
    /// How many entries of `config.history` come from the base image.
    pub base_history: usize,
}

/// A base image as lowering saw it.
#[derive(Clone, Debug)]
pub struct LoweredBase {
    /// As written in FROM or `--from`, after expansion.
    pub name: String,
    pub platform: Platform,
    pub image: BaseImage,
}

/// What must be known of a base image before its layers are.
#[derive(Clone, Debug)]
pub struct BaseImage {
    pub manifest: Digest,
    pub config: Arc<ImageConfig>,
}

/// One file system made from others.
#[derive(Clone, Debug)]
pub struct Step {
    pub id: StepId,
    pub stage: String,
    /// The instruction for people, on one line.
    pub text: String,
    /// Where it stands; `None` for an implied `FROM`.
    pub place: Option<Place>,
    pub platform: Platform,
    pub op: Op,
}

#[derive(Clone, Debug)]
pub enum Op {
    /// Nothing at all.
    Scratch,
    /// A base image's file system: an index into [`Lowered::bases`].
    Base(usize),
    Run(RunOp),
    Copy(CopyOp),
    MakeDirectory(MakeDirectoryOp),
    Merge(MergeOp),
}

/// `RUN`.
#[derive(Clone, Debug)]
pub struct RunOp {
    pub input: StepId,
    pub argv: Vec<String>,
    /// `NAME=value`, in the order of the image config, build arguments after it.
    pub env: Vec<String>,
    /// Proxy variables: part of the environment, not of the key.
    pub proxy_env: Vec<String>,
    pub cwd: String,
    /// As `USER` has it; empty for root.
    pub user: String,
    pub network: Network,
    pub shm_size: u64,
    pub extra_hosts: BTreeMap<String, String>,
    pub hostname: String,
    /// A script to be found at `/dev/pipes/NAME`, from a heredoc with an interpreter line.
    pub script: Option<Script>,
    /// In the order they are made.
    pub mounts: Vec<RunMount>,
    /// `--security=insecure`
    pub is_insecure: bool,
    pub ulimits: Vec<Ulimit>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub name: String,
    pub content: String,
}

/// `COPY` and `ADD` from files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOp {
    pub input: StepId,
    pub from: CopyFrom,
    /// Patterns below the root of `from`; empty when there are only inline files.
    pub sources: Vec<String>,
    /// `<<NAME` files.
    pub inline: Vec<InlineFile>,
    /// Absolute, as written otherwise: a trailing slash has a meaning.
    pub destination: String,
    pub chown: Option<String>,
    pub chmod: Option<Chmod>,
    /// `--link`: made without looking at what is below.
    pub link: bool,
    /// `--parents`: what is taken keeps its path.
    pub parents: bool,
    /// `--exclude` patterns, relative to each source that is a directory.
    pub exclude: Vec<String>,
    /// `ADD`: sources that are archives are unpacked.
    pub unpack: bool,
    /// Made for mounts of RUN alone: never part of an image.
    pub is_mounted: bool,
}

impl CopyOp {
    /// All of `from`, at the root.
    pub fn everything(input: StepId, from: CopyFrom) -> Self {
        Self {
            input,
            from,
            sources: vec!["/".to_string()],
            inline: Vec::new(),
            destination: "/".to_string(),
            chown: None,
            chmod: None,
            link: false,
            parents: false,
            exclude: Vec::new(),
            unpack: false,
            is_mounted: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyFrom {
    /// The main build context.
    MainContext,
    /// A named context that is files.
    Context(String),
    /// What comes from elsewhere: an index into [`Lowered::sources`].
    Remote(usize),
    /// Another step's file system.
    Step(StepId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineFile {
    pub name: String,
    pub content: String,
}

/// `--chmod`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chmod {
    Octal(u32),
    /// As written, in the clauses of chmod(1).
    Symbolic(String),
}

/// `WORKDIR`: the directory and what is missing above it.
#[derive(Clone, Debug)]
pub struct MakeDirectoryOp {
    pub input: StepId,
    pub path: String,
    /// Who owns what is made, as `USER` has it; empty for root.
    pub user: String,
}

/// One layer of what the steps from `input` to `top` added, which were one instruction.
#[derive(Clone, Debug)]
pub struct MergeOp {
    pub input: StepId,
    /// Made from `input` by steps that only add.
    pub top: StepId,
}

impl Op {
    /// The file systems the step reads: its base first.
    pub fn inputs(&self) -> Vec<StepId> {
        match self {
            Self::Scratch | Self::Base(_) => Vec::new(),
            Self::Run(run) => {
                std::iter::once(run.input).chain(run.mounts.iter().filter_map(RunMount::input)).collect()
            }
            Self::MakeDirectory(make) => vec![make.input],
            Self::Merge(merge) => vec![merge.input, merge.top],
            Self::Copy(copy) => match copy.from {
                CopyFrom::Step(from) => vec![copy.input, from],
                CopyFrom::MainContext | CopyFrom::Context(_) | CopyFrom::Remote(_) => vec![copy.input],
            },
        }
    }
}

impl Lowered {
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.0 as usize]
    }

    /// The steps that the result is made of, in order.
    pub fn needed(&self) -> BTreeSet<StepId> {
        let mut needed = BTreeSet::from([self.result]);
        for step in self.steps.iter().rev() {
            if needed.contains(&step.id) {
                needed.extend(step.op.inputs());
            }
        }
        needed
    }

    /// How many layers the image has beyond its base's.
    pub fn new_layers(&self) -> usize {
        self.config.history[self.base_history..].iter().filter(|entry| !entry.empty_layer).count()
    }
}
