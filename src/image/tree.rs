//! What an image consists of: an index, what it names, and so on down to the images of platforms.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, try_join_all};

use super::error::ImageError;
use super::source::Source;
use super::{Document, LARGEST_DOCUMENT};
use crate::base::{Digest, Platform};
use crate::oci::{Descriptor, ImageConfig, Index, Manifest, REFERENCE_DIGEST, media_type};

/// An index of indexes is rare, more is an attack.
const DEEPEST: usize = 4;
const MOST_DOCUMENTS: usize = 1_000;

/// All documents of an image.
#[derive(Clone, Debug)]
pub struct Tree {
    pub root: Node,
}

/// A manifest or index, and what an index says about it.
#[derive(Clone, Debug)]
pub struct Node {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
    pub content: Content,
}

#[derive(Clone, Debug)]
pub enum Content {
    Index(Index, Vec<Node>),
    Manifest(Box<Manifest>),
    /// Named by an index, and not there.
    Missing,
    /// Neither an image nor an index.
    Other,
}

/// The image of one platform.
#[derive(Clone, Debug)]
pub struct Image {
    pub descriptor: Descriptor,
    pub manifest: Manifest,
    pub config: ImageConfig,
    pub config_bytes: Vec<u8>,
}

impl Tree {
    /// Reads everything but configs and layers.
    pub async fn read(source: &Source) -> Result<Self, ImageError> {
        Self::of(source, source.root().await?).await
    }

    pub async fn of(source: &Source, root: Document) -> Result<Self, ImageError> {
        let reading = Reading { source, documents: AtomicUsize::new(0) };
        let descriptor = root.descriptor.clone();
        Ok(Self { root: reading.node(descriptor, root, DEEPEST).await? })
    }

    /// Every document, what is named before what names it.
    pub fn nodes(&self) -> Vec<&Node> {
        self.root.below()
    }

    /// The manifests of platforms, which is the root itself where that is no index.
    pub fn images(&self) -> Vec<&Node> {
        let is_image = |node: &&Node| {
            matches!(node.content, Content::Manifest(_) | Content::Missing) && !node.is_attestation()
        };
        self.nodes().into_iter().filter(is_image).collect()
    }

    /// What is attested about a manifest, in the way of BuildKit.
    pub fn attestations(&self, subject: &Digest) -> Vec<&Node> {
        let subject = subject.to_string();
        let about = |node: &&Node| node.descriptor.annotations.get(REFERENCE_DIGEST) == Some(&subject);
        self.nodes().into_iter().filter(|node| node.is_attestation()).filter(about).collect()
    }

    /// The platforms that the documents name. The root of a single image names none: its config does.
    pub fn platforms(&self) -> Vec<Platform> {
        self.images().iter().filter_map(|node| node.descriptor.platform()).collect()
    }

    /// The image for a platform, the best fit first.
    pub fn select(&self, wanted: &Platform) -> Option<&Node> {
        let images = self.images();
        let fits =
            images.into_iter().filter_map(|node| Some((node.descriptor.platform()?.fitness(wanted)?, node)));
        fits.rev().max_by_key(|(fitness, _)| *fitness).map(|(_, node)| node)
    }
}

fn collect<'a>(node: &'a Node, nodes: &mut Vec<&'a Node>) {
    if let Content::Index(_, children) = &node.content {
        children.iter().for_each(|child| collect(child, nodes));
    }
    if !nodes.iter().any(|known| known.descriptor == node.descriptor) {
        nodes.push(node);
    }
}

impl Node {
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.content {
            Content::Manifest(manifest) => Some(manifest),
            _ => None,
        }
    }

    pub fn children(&self) -> &[Node] {
        match &self.content {
            Content::Index(_, children) => children,
            _ => &[],
        }
    }

    /// Everything down from here, what is named before what names it.
    pub fn below(&self) -> Vec<&Node> {
        let mut nodes = Vec::new();
        collect(self, &mut nodes);
        nodes
    }

    /// An image, rather than an artifact in the shape of one.
    pub fn is_runnable(&self) -> bool {
        self.manifest().is_some_and(|manifest| {
            matches!(manifest.config.media_type.as_str(), media_type::OCI_CONFIG | media_type::DOCKER_CONFIG)
        })
    }

    /// In an index, it stands for what is said about an image, and is none.
    pub fn is_attestation(&self) -> bool {
        self.descriptor.annotations.contains_key(REFERENCE_DIGEST)
    }

    /// With its config.
    pub async fn image(&self, source: &Source) -> Result<Image, ImageError> {
        let failed = |what: String, cause: String| ImageError::Document {
            place: source.name.to_string(),
            what,
            cause,
        };
        let manifest = self.manifest().cloned().ok_or_else(|| {
            let cause = match self.content {
                Content::Missing => "it is not there",
                _ => "it is no image",
            };
            failed(self.descriptor.digest.to_string(), cause.to_string())
        })?;
        let config_bytes = source.bytes(&manifest.config).await?;
        let config = ImageConfig::parse(&config_bytes)
            .map_err(|error| failed(format!("config {}", manifest.config.digest), error.to_string()))?;
        Ok(Image { descriptor: self.descriptor.clone(), manifest, config, config_bytes })
    }
}

struct Reading<'a> {
    source: &'a Source,
    documents: AtomicUsize,
}

impl Reading<'_> {
    fn node(
        &self,
        descriptor: Descriptor,
        document: Document,
        depth: usize,
    ) -> BoxFuture<'_, Result<Node, ImageError>> {
        async move {
            let failed = |cause: String| ImageError::Document {
                place: self.source.name.to_string(),
                what: descriptor.digest.to_string(),
                cause,
            };
            let content = if media_type::is_index(&document.descriptor.media_type) {
                let index = Index::parse(&document.bytes).map_err(|error| failed(error.to_string()))?;
                let deeper =
                    depth.checked_sub(1).ok_or_else(|| failed("indexes are nested too deep".into()))?;
                let before = self.documents.fetch_add(index.manifests.len(), Ordering::Relaxed);
                if before + index.manifests.len() > MOST_DOCUMENTS {
                    return Err(ImageError::TooMany { place: self.source.name.to_string() });
                }
                let children = index.manifests.iter().map(|child| self.child(child, deeper));
                let children = try_join_all(children).await?;
                Content::Index(index, children)
            } else {
                Content::Manifest(Box::new(
                    Manifest::parse(&document.bytes).map_err(|error| failed(error.to_string()))?,
                ))
            };
            Ok(Node { descriptor, bytes: document.bytes, content })
        }
        .boxed()
    }

    async fn child(&self, named: &Descriptor, depth: usize) -> Result<Node, ImageError> {
        let empty = |content| Node { descriptor: named.clone(), bytes: Vec::new(), content };
        if !media_type::is_index(&named.media_type) && !media_type::is_manifest(&named.media_type) {
            return Ok(empty(Content::Other));
        }
        if named.size > LARGEST_DOCUMENT {
            return Err(ImageError::TooMany { place: self.source.name.to_string() });
        }
        match self.source.document(named).await {
            Err(error) if error.is_absence() => Ok(empty(Content::Missing)),
            document => self.node(named.clone(), document?, depth).await,
        }
    }
}
