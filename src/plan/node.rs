//! The nodes of the graph: one unit of work each, named for people by target and platform.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::base::{Digest, NodeId, Platform, Reference};
use crate::diag::{Located, Place};
use crate::dockerfile::Dockerfile;
use crate::event::{NodeInfo, NodeKind};
use crate::model::{Annotation, Attestation, CacheUse, ExportOptions, Output, Test, Variant, Verify};

#[derive(Clone, Debug)]
pub enum Node {
    Resolve(ResolveNode),
    Build(Box<BuildNode>),
    Verify(VerifyNode),
    Test(TestNode),
    Merge(MergeNode),
    Publish(PublishNode),
}

/// Finds out what a base image is: its index and, for every platform asked for, its manifest and config.
#[derive(Clone, Debug)]
pub struct ResolveNode {
    pub source: BaseSource,
    /// The platforms that build nodes want of it, and where each asks for it.
    pub wanted: Vec<(Platform, Option<Place>)>,
    /// The further places that ask for one of these platforms.
    pub also: Vec<(Platform, Place)>,
}

impl ResolveNode {
    pub fn new(source: BaseSource) -> Self {
        Self { source, wanted: Vec::new(), also: Vec::new() }
    }
}

/// Where a base image that `mab` does not build comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BaseSource {
    Registry(Reference),
    OciLayout { path: PathBuf, tag: Option<String>, digest: Option<Digest> },
}

/// Builds one target for one platform.
#[derive(Clone, Debug)]
pub struct BuildNode {
    pub target: String,
    pub platform: Platform,
    pub variant: Arc<Variant>,
    pub dockerfile: Arc<Dockerfile>,
    pub labels: Vec<(String, String)>,
    /// Targets that must be done first, and where that is said.
    pub needs: Vec<Located<String>>,
    /// The form its image is first wanted in. Changes nothing of what is built.
    pub export: ExportOptions,
    pub caches: CacheUse,
    /// The repositories of the target's images, where an inline cache is.
    pub images: Vec<Reference>,
    /// What is to be stated about its image.
    pub attestations: Vec<Attestation>,
}

/// Judges the image of a build node: nothing is merged of what its platform cannot run.
#[derive(Clone, Debug)]
pub struct VerifyNode {
    pub target: String,
    pub platform: Platform,
    pub rules: Verify,
    /// The target is asked for itself, so its image has to start. Others may only be built on.
    pub starts: bool,
}

/// Tries one platform's image.
#[derive(Clone, Debug)]
pub struct TestNode {
    pub target: String,
    pub platform: Platform,
    pub tests: Vec<Test>,
    /// Tests that passed before are run again.
    pub is_fresh: bool,
}

/// Joins a target's platform images into an index and writes the outputs that are files.
#[derive(Clone, Debug)]
pub struct MergeNode {
    pub target: String,
    pub platforms: Vec<Platform>,
    pub annotations: Vec<Annotation>,
    /// Full names: image and tag.
    pub names: Vec<Reference>,
    /// The form the image is told of in.
    pub export: ExportOptions,
    pub outputs: Vec<Output>,
}

/// Pushes every image of the run and moves the tags, last.
#[derive(Clone, Debug)]
pub struct PublishNode {
    pub targets: Vec<PublishTarget>,
    /// A group of the file says so: what others get, so that only trusted caches may take part.
    pub is_release: bool,
}

/// One target's images in registries.
#[derive(Clone, Debug)]
pub struct PublishTarget {
    pub target: String,
    pub names: Vec<Reference>,
    pub options: ExportOptions,
    /// What is published, as far as the file says it.
    pub version: Option<String>,
    pub revision: Option<String>,
    /// Tags that follow a branch or a commit, and no version.
    pub historical: Vec<String>,
    /// Whoever comes gets a floating tag.
    pub is_unguarded: bool,
    /// The repository's own tags say which version is the highest.
    pub asks_registry: bool,
}

impl Node {
    pub fn info(&self, id: NodeId) -> NodeInfo {
        match self {
            Self::Resolve(node) => {
                NodeInfo { id, kind: NodeKind::Resolve, name: node.source.to_string(), platform: None }
            }
            Self::Build(node) => NodeInfo {
                id,
                kind: NodeKind::Build,
                name: node.target.clone(),
                platform: Some(node.platform.clone()),
            },
            Self::Verify(node) => NodeInfo {
                id,
                kind: NodeKind::Verify,
                name: node.target.clone(),
                platform: Some(node.platform.clone()),
            },
            Self::Test(node) => NodeInfo {
                id,
                kind: NodeKind::Test,
                name: node.target.clone(),
                platform: Some(node.platform.clone()),
            },
            Self::Merge(node) => {
                NodeInfo { id, kind: NodeKind::Merge, name: node.target.clone(), platform: None }
            }
            Self::Publish(_) => {
                NodeInfo { id, kind: NodeKind::Publish, name: "publish".into(), platform: None }
            }
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(node) => write!(f, "resolve {}", node.source),
            Self::Build(node) => write!(f, "build {} {}", node.target, node.platform),
            Self::Verify(node) => write!(f, "verify {} {}", node.target, node.platform),
            Self::Test(node) => write!(f, "{node}"),
            Self::Merge(node) => write!(f, "merge {}", node.target),
            Self::Publish(_) => f.write_str("publish"),
        }
    }
}

impl fmt::Display for TestNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "test {} {}", self.target, self.platform)
    }
}

impl fmt::Display for BaseSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(&reference.familiar()),
            Self::OciLayout { path, tag, digest } => {
                let name =
                    path.file_name().map_or_else(|| path.to_string_lossy(), |name| name.to_string_lossy());
                write!(f, "oci-layout:{name}")?;
                if let Some(tag) = tag {
                    write!(f, ":{tag}")?;
                }
                digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
            }
        }
    }
}
