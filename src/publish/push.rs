//! Brings images to repositories: blobs, then manifests by digest, the index last of them. Moves no tag.
//!
//! What a repository has is not sent, and what a neighbouring repository of the same registry has is mounted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};

use futures_util::future::{BoxFuture, try_join_all};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::PushSource;
use super::release::Release;
use crate::base::{Digest, Platform, Reference};
use crate::diag::{Kind, Problem};
use crate::oci::{Descriptor, Index, Manifest, media_type};
use crate::registry::{OpenBlob, Pushed, Registry, RegistryError};

/// What goes where.
pub struct ImagePush<'a> {
    /// The index, or the manifest of an image for one platform.
    pub image: &'a Descriptor,
    /// A name without a tag gets the image by digest only.
    pub names: &'a [Reference],
    pub release: Release,
    /// Tags that follow a branch or a commit, and no version.
    pub historical: &'a [String],
    /// Whoever comes gets a floating tag.
    pub is_unguarded: bool,
    /// The repository's own tags say which version is the highest.
    pub asks_registry: bool,
}

/// What a push reports while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushEvent {
    /// Bytes of a blob on their way.
    Transfer { repository: String, digest: Digest, done: u64, total: u64 },
    /// A blob stands in a repository.
    Blob { repository: String, digest: Digest, how: Pushed },
    /// A name is where it belongs.
    Name(PushedName),
    /// What whoever publishes should know.
    Notice(Box<Problem>),
}

/// A name, and where it leads now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedName {
    pub reference: Reference,
    /// Where it led before.
    pub old: Option<Digest>,
    pub digest: Digest,
    /// It did before.
    pub unchanged: bool,
    /// It is left to another release than this one.
    pub is_kept: bool,
}

/// Why a push failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the image's document {digest} cannot be used: {cause}")]
    Document { digest: Digest, cause: String },
    #[error("`{name}` stays at {standing}: the registry does not let it move to {wanted}")]
    Immutable { name: String, standing: Digest, wanted: Digest },
    #[error("`{name}` would lose {}", listed(.lost))]
    FewerPlatforms { name: String, lost: Vec<Platform> },
    #[error("`{repository}` has lost {digest}, which was pushed a moment ago")]
    Vanished { repository: String, digest: Digest },
}

fn listed(platforms: &[Platform]) -> String {
    let names: Vec<String> = platforms.iter().map(|platform| format!("`{platform}`")).collect();
    names.join(", ")
}

impl PushError {
    pub fn problem(&self) -> Problem {
        let problem = |kind, code| Problem::new(kind, code, self.to_string());
        match self {
            Self::Registry(error) => error.problem(),
            Self::Document { .. } => problem(Kind::Host, "publish::document"),
            Self::Immutable { .. } => problem(Kind::Remote, "publish::immutable-tag")
                .help("a version that is published stays as it is there: release another one"),
            Self::FewerPlatforms { .. } => problem(Kind::Input, "publish::fewer-platforms")
                .help("publish all its platforms, or say `--allow-fewer-platforms`; no tag was moved"),
            Self::Vanished { .. } => problem(Kind::Remote, "publish::vanished")
                .help("something cleans the repository up; run again, and let it spare what is new"),
        }
    }
}

/// That tags stay in a repository which only held manifests until the image's own tags led to them.
pub fn staged(repository: &Reference, left: usize) -> Problem {
    let (tags, stay) = if left == 1 { ("tag", "stays") } else { ("tags", "stay") };
    let message = format!(
        "{left} {tags} `mab.staging.…` {stay} in `{}`, whose registry wants a tag for every manifest and does not let them go",
        repository.without_tag().familiar()
    );
    Problem::warning("publish::staging-tags", message)
        .help("they lead to what the image consists of: take them away only where that keeps the manifests")
}

/// Takes reports, from any thread.
pub type PushReport<'a> = &'a (dyn Fn(PushEvent) + Send + Sync);

const LARGEST_DOCUMENT: u64 = 4 * 1024 * 1024;
/// An index of indexes is rare, more is an attack.
const DEEPEST: usize = 4;
/// Blobs of this size take about as long to send as to ask for.
const SMALL: u64 = 16 * 1024;
/// How many blobs of a repository are under way; the client bounds the exchanges with a registry besides.
const PARALLEL_BLOBS: usize = 8;
/// More neighbours are not asked for a blob: each refusal begins an upload at the registry.
const MOST_NEIGHBOURS: usize = 3;

/// A repository that has an image of this push.
#[derive(Clone, Copy)]
pub struct Filled<'a> {
    pub name: &'a Reference,
    pub content: &'a Content,
}

/// What may be seen. A registry that does not let look may still let push, so only pushing decides about access.
pub fn visible<T>(found: Result<Option<T>, RegistryError>) -> Result<Option<T>, RegistryError> {
    match found {
        Err(RegistryError::Unauthorized { .. } | RegistryError::Denied { .. }) => Ok(None),
        other => other,
    }
}

/// The name without a digest, if it has a tag.
pub fn tag_of(name: &Reference) -> Option<Reference> {
    name.with_tag(name.tag()?).ok()
}

/// One push under way.
pub struct Work<'a> {
    pub registry: &'a Registry,
    pub blobs: &'a dyn PushSource,
    pub content: &'a Content,
    pub report: PushReport<'a>,
}

impl Work<'_> {
    /// Fills every repository whose tags do not stand yet, registries side by side.
    pub async fn push_missing(
        &self,
        push: &ImagePush<'_>,
        standing: &[bool],
        filled: &[Filled<'_>],
    ) -> Result<(), PushError> {
        let mut registries: BTreeMap<&str, BTreeMap<&str, &Reference>> = BTreeMap::new();
        for (name, _) in push.names.iter().zip(standing).filter(|(_, stands)| !**stands) {
            registries.entry(name.registry()).or_default().insert(name.repository(), name);
        }
        let sides = registries.iter().map(|(host, repositories)| {
            let neighbours = filled.iter().copied().filter(|filled| filled.name.registry() == *host);
            self.push_registry(repositories.values().copied(), neighbours.collect())
        });
        try_join_all(sides).await.map(drop)
    }

    /// One repository after the other, so that the later ones mount what the first received.
    async fn push_registry<'f>(
        &'f self,
        repositories: impl Iterator<Item = &'f Reference>,
        mut filled: Vec<Filled<'f>>,
    ) -> Result<(), PushError> {
        for repository in repositories {
            self.push_content(repository, &filled).await?;
            filled.insert(0, Filled { name: repository, content: self.content });
        }
        Ok(())
    }

    pub async fn push_content(&self, repository: &Reference, filled: &[Filled<'_>]) -> Result<(), PushError> {
        let asked = self.content.documents.iter().map(|document| async move {
            // An index does not prove that its children are still there, a manifest does for its blobs.
            let is_known = !media_type::is_index(&document.descriptor.media_type)
                && !self.blobs.is_new(&document.descriptor.digest)
                && visible(self.registry.head(&repository.with_digest(document.descriptor.digest)).await)?
                    .is_some();
            Ok::<_, PushError>((document, is_known))
        });
        let missing = try_join_all(asked)
            .await?
            .into_iter()
            .filter(|(_, is_known)| !is_known)
            .map(|(document, _)| document);
        self.push_documents(repository, missing.collect(), filled).await
    }

    /// Brings these to a repository with all that they need, whatever of it may be there.
    pub async fn push_documents(
        &self,
        repository: &Reference,
        missing: Vec<&Document>,
        filled: &[Filled<'_>],
    ) -> Result<(), PushError> {
        let mut seen = BTreeSet::new();
        let blobs: Vec<&Descriptor> = missing
            .iter()
            .flat_map(|document| &document.blobs)
            .filter(|blob| seen.insert(blob.digest))
            .collect();
        let pushes: Vec<_> = blobs.into_iter().map(|blob| self.push_blob(repository, blob, filled)).collect();
        stream::iter(pushes).buffer_unordered(PARALLEL_BLOBS).try_collect::<()>().await?;
        let (indexes, manifests): (Vec<&Document>, Vec<&Document>) =
            missing.into_iter().partition(|document| media_type::is_index(&document.descriptor.media_type));
        try_join_all(manifests.into_iter().map(|document| self.push_document(repository, document))).await?;
        // What an index names must stand before it.
        for index in indexes {
            self.push_document(repository, index).await?;
        }
        Ok(())
    }

    async fn push_document(&self, repository: &Reference, document: &Document) -> Result<(), PushError> {
        let Document { descriptor, bytes, .. } = document;
        Ok(self.registry.place_manifest(repository, descriptor, bytes).await?)
    }

    async fn push_blob(
        &self,
        repository: &Reference,
        blob: &Descriptor,
        filled: &[Filled<'_>],
    ) -> Result<(), PushError> {
        let (name, digest) = (repository.name(), blob.digest);
        let open = Brought { blobs: self.blobs, blob };
        let known = self.blobs.repositories_with(&digest);
        let filled = filled.iter().filter(|filled| filled.content.has(&digest)).map(|filled| filled.name);
        let mut mount_from: Vec<String> = Vec::new();
        for holder in known.iter().chain(filled).filter(|holder| holder.registry() == repository.registry()) {
            let name = holder.repository();
            if name != repository.repository() && !mount_from.iter().any(|known| known == name) {
                mount_from.push(name.to_string());
            }
        }
        mount_from.truncate(MOST_NEIGHBOURS);
        let progress = |done, total| {
            (self.report)(PushEvent::Transfer { repository: name.clone(), digest, done, total });
        };
        let how = match mount_from.is_empty() && is_small_config(blob) {
            true => self.registry.send_blob(repository, blob, &open, &progress).await?,
            false => self.registry.push_blob(repository, blob, &open, &mount_from, &progress).await?,
        };
        (self.report)(PushEvent::Blob { repository: name.clone(), digest, how });
        Ok(())
    }
}

/// Whether it is the config of an image. Where the image's manifest is not, it hardly ever is there.
fn is_small_config(blob: &Descriptor) -> bool {
    blob.size <= SMALL
        && matches!(blob.media_type.as_str(), media_type::OCI_CONFIG | media_type::DOCKER_CONFIG)
}

/// A blob that comes here when it has to be sent.
struct Brought<'a> {
    blobs: &'a dyn PushSource,
    blob: &'a Descriptor,
}

impl OpenBlob for Brought<'_> {
    fn open(&self) -> BoxFuture<'_, io::Result<File>> {
        Box::pin(async {
            self.blobs.bring(self.blob).await?;
            self.blobs.open(&self.blob.digest)
        })
    }
}

/// Everything an image consists of.
pub struct Content {
    /// Children before the index that names them; the last one is the image itself.
    pub documents: Vec<Document>,
}

/// A manifest or index.
pub struct Document {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
    /// What a manifest needs besides itself.
    blobs: Vec<Descriptor>,
}

impl Document {
    /// Of a manifest.
    pub fn config(&self) -> Option<&Descriptor> {
        self.blobs.first()
    }
}

impl Content {
    pub fn read(source: &dyn PushSource, image: &Descriptor) -> Result<Self, PushError> {
        let mut content = Self { documents: Vec::new() };
        content.add(source, image, DEEPEST)?;
        Ok(content)
    }

    /// Whether a layer or config is part of the image.
    fn has(&self, blob: &Digest) -> bool {
        self.documents.iter().flat_map(|document| &document.blobs).any(|part| part.digest == *blob)
    }

    pub fn root(&self) -> &Document {
        self.documents.last().expect("reading an image ends with its own document")
    }

    fn add(
        &mut self,
        source: &dyn PushSource,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<(), PushError> {
        if self.documents.iter().any(|document| document.descriptor.digest == descriptor.digest) {
            return Ok(());
        }
        let failed = |cause: String| PushError::Document { digest: descriptor.digest, cause };
        let bytes = read_document(source, descriptor).map_err(|cause| failed(cause.to_string()))?;
        let mut blobs = Vec::new();
        if media_type::is_index(&descriptor.media_type) {
            let deeper = depth.checked_sub(1).ok_or_else(|| failed("indexes are nested too deep".into()))?;
            for child in &Index::parse(&bytes).map_err(|cause| failed(cause.to_string()))?.manifests {
                self.add(source, child, deeper)?;
            }
        } else if media_type::is_manifest(&descriptor.media_type) {
            let manifest = Manifest::parse(&bytes).map_err(|cause| failed(cause.to_string()))?;
            blobs.push(manifest.config);
            // Layers with addresses of their own (Windows base layers) are not distributed with an image.
            blobs.extend(manifest.layers.into_iter().filter(|layer| layer.urls.is_empty()));
        } else {
            return Err(failed(format!("`{}` is neither a manifest nor an index", descriptor.media_type)));
        }
        self.documents.push(Document { descriptor: descriptor.clone(), bytes, blobs });
        Ok(())
    }
}

pub(super) fn read_document(source: &dyn PushSource, descriptor: &Descriptor) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.open(&descriptor.digest)?.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than registries accept"));
    }
    if Digest::of(&bytes) != descriptor.digest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its bytes have another digest"));
    }
    Ok(bytes)
}
