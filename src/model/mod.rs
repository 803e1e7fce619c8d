//! The validated project: every name resolved, every template rendered, every platform's values set.
//!
//! Made by `config`, read by `plan` and `lint`. Knows neither TOML nor templates; places are kept for
//! messages. Paths are absolute.

mod builder;
mod cache;
mod delivery;
mod forwarded;
mod policy;
mod resources;
mod sandbox;
mod tagging;
mod target_pattern;
mod test;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::{Digest, Platform, Reference, RemoteSource};
use crate::diag::{Located, Place, Problem};

pub use builder::{Builder, Results, Tls, Worker};
pub use cache::{Cache, CacheEntry, CacheKind, CacheMode, CacheUse};
pub use delivery::Delivery;
pub use forwarded::{SecretSource, SshSource};
pub use policy::{Attestation, AttestationKind, Policy, Requirement, Verify, VerifyLevel};
pub use resources::{Resources, Swap};
pub use sandbox::{Entitlement, Ulimit};
pub use tagging::Tagging;
pub use target_pattern::TargetPattern;
pub use test::{Expectation, ExpectedConfig, ExpectedFile, Port, Service, Test, TestAction, TestMount};

/// A whole build file with its includes.
#[derive(Clone, Debug)]
pub struct Project {
    pub name: String,
    /// The directory of the root file.
    pub root: PathBuf,
    pub default_branch: Option<String>,
    /// Every target that can be built, by name; templates (`_name`) are not among them.
    pub targets: BTreeMap<String, Target>,
    pub groups: BTreeMap<String, Group>,
    /// `[cache.NAME]`
    pub caches: BTreeMap<String, Cache>,
    /// `[builder.NAME]`; those of the user's configuration are stronger, and not among them.
    pub builders: BTreeMap<String, Builder>,
    /// Targets that are not part of this run, and the `when` that says so.
    pub left_out: BTreeMap<String, Place>,
    /// Environment variables that the file asked for and that were set, and where it did.
    pub environment: BTreeMap<String, Option<Place>>,
    /// A builder that cannot be used: the project can be looked at, not planned.
    pub refusals: Vec<Problem>,
    /// What the groups of this run require and the work tree has not: the project can be planned, not baked.
    pub unmet: Vec<Problem>,
    pub lint: Lint,
}

/// What the project says about the rules of `mab check`.
#[derive(Clone, Debug, Default)]
pub struct Lint {
    pub skip: Vec<Located<String>>,
    pub failing: LintFailing,
}

/// Whose warnings fail a check.
#[derive(Clone, Debug, Default)]
pub enum LintFailing {
    /// Nobody's.
    #[default]
    None,
    All,
    Rules(Vec<Located<String>>),
}

/// Targets, or groups, by one name.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: String,
    pub description: Option<String>,
    pub targets: Vec<Located<String>>,
    pub place: Option<Place>,
    /// What it requires of the work tree, by name.
    pub require: Vec<&'static str>,
    /// It says something about the delivery of its members, and is not baked in this run: they are as they are
    /// without it.
    pub is_withheld: bool,
}

/// What the user names: one image for all its platforms.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: String,
    pub description: Option<String>,
    /// Where the target is declared.
    pub place: Option<Place>,
    /// One per platform, in the order of the file; the plan has them, too.
    pub variants: Vec<Arc<Variant>>,
    /// Every name the image gets: image × tag.
    pub tags: Vec<Located<Reference>>,
    /// Image repositories without tags, for pushes by digest.
    pub images: Vec<Located<Reference>>,
    pub labels: BTreeMap<String, String>,
    /// Annotations, each with the level it is for.
    pub annotations: Vec<Annotation>,
    pub outputs: Vec<Located<Output>>,
    /// What is done with the result besides its outputs.
    pub delivery: Delivery,
    /// What a bake does with it.
    pub call: Call,
    /// Targets that must be done first.
    pub needs: Vec<Located<String>>,
    pub cache: CacheUse,
    pub attestations: Vec<Located<Attestation>>,
    pub policies: Vec<Located<Policy>>,
    /// What its rules for tags came to.
    pub tagging: Option<Tagging>,
    /// What must hold of the working tree.
    pub requirements: Vec<Located<Requirement>>,
}

/// What one platform's build node is made of.
#[derive(Clone, Debug)]
pub struct Variant {
    pub platform: Located<Platform>,
    pub context: Located<Context>,
    pub dockerfile: Dockerfile,
    /// Bake's `target`: the stage to build; the last one otherwise.
    pub stage: Option<Located<String>>,
    pub args: BTreeMap<String, Located<String>>,
    pub contexts: BTreeMap<String, Located<Context>>,
    pub emulate: Emulate,
    /// The platform that builds of this one run on, where it is not this machine's.
    pub build_platform: Option<Platform>,
    pub no_cache: bool,
    /// Ask registries for newer base images even when the store has one.
    pub pull: bool,
    pub network: Network,
    /// Bytes of `/dev/shm`; 64 MiB when not set.
    pub shm_size: Option<u64>,
    /// `/etc/hosts` lines by host name.
    pub extra_hosts: BTreeMap<String, String>,
    /// By id.
    pub secrets: BTreeMap<String, Located<SecretSource>>,
    /// By id.
    pub ssh: BTreeMap<String, Located<SshSource>>,
    /// In the order of the file, each once.
    pub entitlements: Vec<Located<Entitlement>>,
    pub ulimits: Vec<Ulimit>,
    /// Stages that are built without results of earlier runs.
    pub no_cache_filter: Vec<String>,
    pub resources: Option<Located<Resources>>,
    /// What `SOURCE_DATE_EPOCH` is where neither an argument nor the environment says it.
    pub source_date_epoch: Option<Located<String>>,
    pub verify: Option<Located<Verify>>,
    /// The rest of the run goes on without this platform when it fails.
    pub allow_failure: Option<Located<bool>>,
    /// What a worker must offer.
    pub worker_labels: BTreeMap<String, Located<String>>,
    pub tests: Vec<Test>,
}

/// Where a Dockerfile comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Dockerfile {
    /// A path relative to the context; absolute ones stand for themselves.
    File(Located<PathBuf>),
    Inline(Located<String>),
    /// `-`
    Stdin,
}

/// Where files or a base image come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Context {
    /// A directory, absolute.
    Directory(PathBuf),
    /// `docker-image://`
    Image(Reference),
    /// `oci-layout://path[:tag][@digest]`, the path absolute.
    OciLayout { path: PathBuf, tag: Option<String>, digest: Option<Digest> },
    /// `target:NAME`: the result of another target for the same platform.
    Target(String),
    /// A repository, or a file over HTTP: an archive, or a Dockerfile. `text` is as written, without credentials.
    Remote { source: RemoteSource, text: String },
    /// A tar archive on disk, absolute.
    Archive(PathBuf),
    /// `-`: an archive, or a Dockerfile, from standard input.
    Stdin,
}

impl Context {
    /// Whether it is files and no image.
    pub fn is_files(&self) -> bool {
        match self {
            Self::Directory(_) | Self::Remote { .. } | Self::Archive(_) | Self::Stdin => true,
            Self::Image(_) | Self::OciLayout { .. } | Self::Target(_) => false,
        }
    }
}

/// What a bake does with a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Call {
    #[default]
    Build,
    /// Look for mistakes in its Dockerfiles.
    Check,
    /// Tell what its Dockerfile asks for.
    Outline,
    /// Tell which stages its Dockerfile has.
    Targets,
}

impl Call {
    pub const NAMES: [(&'static str, Self); 4] = [
        ("build", Self::Build),
        ("check", Self::Check),
        ("outline", Self::Outline),
        ("targets", Self::Targets),
    ];

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, call)| *call == self).map_or("", |(name, _)| name)
    }
}

/// What to do when a platform needs emulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Emulate {
    Allow,
    #[default]
    Warn,
    Deny,
}

/// The network of RUN steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Network {
    #[default]
    Default,
    None,
    Host,
}

/// A key and value on a document of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    pub level: AnnotationLevel,
    /// Only for this platform's manifest or descriptor.
    pub platform: Option<Platform>,
    pub key: String,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnnotationLevel {
    Manifest,
    Index,
    ManifestDescriptor,
    IndexDescriptor,
}

/// Where a result goes besides the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// `type=image` (or `registry`): into a registry when `push`.
    Image { names: Vec<Reference>, push: bool, options: ExportOptions },
    /// `type=oci`: an OCI layout as tar file, or as directory when `tar` is false.
    Oci { dest: Dest, tar: bool, options: ExportOptions },
    /// `type=docker`: an archive for `docker load`; without dest, into a Docker Engine.
    Docker { dest: Option<Dest>, options: ExportOptions },
    /// `type=local`: the root file system as a directory.
    Local { dest: PathBuf, platform_split: Option<bool> },
    /// `type=tar`: the root file system as a tar.
    Tar { dest: Dest, platform_split: Option<bool> },
    /// `type=cacheonly`: the store alone.
    CacheOnly,
}

/// A file, or standard output (`-`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dest {
    Path(PathBuf),
    Stdout,
}

/// How an image is written out. Part of the export key, never of the node key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportOptions {
    /// OCI media types; Docker's when false.
    pub oci_media_types: bool,
    /// Of the layers that were made here.
    pub compression: LayerCompression,
    /// The layers of base images are compressed like those made here.
    pub force_compression: bool,
    /// Files made here are no younger than the epoch. It is so wherever an epoch is known, unless denied for
    /// an epoch of the output's own.
    pub rewrite_timestamp: Option<bool>,
    /// Seconds since the epoch that no time in the image exceeds, besides the run's.
    pub source_date_epoch: Option<i64>,
    /// Added to the target's.
    pub annotations: Vec<Annotation>,
    /// Pushed under its digest alone: names are repositories.
    pub push_by_digest: bool,
}

/// How layers are compressed; without a level it is the kind's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerCompression {
    Uncompressed,
    Gzip { level: Option<u32> },
    Estargz { level: Option<u32> },
    Zstd { level: Option<i32> },
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            oci_media_types: true,
            compression: LayerCompression::Gzip { level: None },
            force_compression: false,
            rewrite_timestamp: None,
            source_date_epoch: None,
            annotations: Vec::new(),
            push_by_digest: false,
        }
    }
}

impl Output {
    /// How the output's image is written, where it is one.
    pub fn export_options(&self) -> Option<&ExportOptions> {
        match self {
            Self::Image { options, .. } | Self::Oci { options, .. } | Self::Docker { options, .. } => {
                Some(options)
            }
            Self::Local { .. } | Self::Tar { .. } | Self::CacheOnly => None,
        }
    }
}

impl Variant {
    /// How many values it has, and as many more as its Dockerfile is longer than a value.
    pub fn size(&self) -> usize {
        let dockerfile = match &self.dockerfile {
            Dockerfile::Inline(text) => text.value.len() / 256,
            Dockerfile::File(_) | Dockerfile::Stdin => 0,
        };
        let tables = [self.args.len(), self.contexts.len(), self.extra_hosts.len(), self.worker_labels.len()];
        let lists = [self.secrets.len(), self.ssh.len(), self.entitlements.len(), self.ulimits.len()];
        let tests: usize = self.tests.iter().map(|test| 10 + test.env.len()).sum();
        dockerfile + tests + tables.into_iter().chain(lists).sum::<usize>() + self.no_cache_filter.len()
    }
}

impl Target {
    pub fn variant(&self, platform: &Platform) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.platform.value == *platform).map(|variant| &**variant)
    }
}
