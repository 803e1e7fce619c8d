//! Pushes an image to its names: blobs, then manifests by digest, the index last of them, then tags.
//!
//! No tag moves before everything it leads to is in every repository; a tag that is already right is left. What
//! a repository has is not sent, and what a neighbouring repository of the same registry has is mounted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};

use futures_util::future::{BoxFuture, try_join, try_join_all};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::PushSource;
use super::looks::TagLooks;
use crate::base::{Digest, Reference};
use crate::diag::{Kind, Problem};
use crate::oci::{Descriptor, Index, Manifest, media_type};
use crate::registry::{OpenBlob, Pushed, Registry, RegistryError};

/// What goes where.
pub struct ImagePush<'a> {
    /// The index, or the manifest of an image for one platform.
    pub image: &'a Descriptor,
    /// In the order in which their tags are to move. A name without a tag gets the image by digest only.
    pub names: &'a [Reference],
}

/// What a push reports while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushEvent {
    /// Bytes of a blob on their way.
    Transfer { repository: String, digest: Digest, done: u64, total: u64 },
    /// A blob stands in a repository.
    Blob { repository: String, digest: Digest, how: Pushed },
    /// A name leads to the image.
    Name(PushedName),
}

/// A name that leads to the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedName {
    pub reference: Reference,
    pub digest: Digest,
    /// It did before.
    pub unchanged: bool,
}

/// Why a push failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the image's document {digest} cannot be used: {cause}")]
    Document { digest: Digest, cause: String },
}

impl PushError {
    pub fn problem(&self) -> Problem {
        match self {
            Self::Registry(error) => error.problem(),
            Self::Document { .. } => Problem::new(Kind::Host, "publish::document", self.to_string()),
        }
    }
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

/// Pushes one image and then tags it; the answer has one entry per name, in the order of the names.
pub async fn push_image(
    registry: &Registry,
    blobs: &dyn PushSource,
    push: &ImagePush<'_>,
    report: PushReport<'_>,
) -> Result<Vec<PushedName>, PushError> {
    let looks = TagLooks::new(registry.clone());
    let pushed = push_images(&looks, blobs, std::slice::from_ref(push), report).await?;
    Ok(pushed.into_iter().flatten().collect())
}

/// Pushes the content of all images, and only when all of it stands moves tags; the answer has one list per
/// image, in the order given.
pub async fn push_images(
    looks: &TagLooks,
    blobs: &dyn PushSource,
    pushes: &[ImagePush<'_>],
    report: PushReport<'_>,
) -> Result<Vec<Vec<PushedName>>, PushError> {
    let registry = looks.registry();
    let contents: Vec<Content> =
        pushes.iter().map(|push| Content::read(blobs, push.image)).collect::<Result<_, _>>()?;
    let asked: Vec<_> = pushes
        .iter()
        .map(|push| try_join_all(push.names.iter().map(|name| stands(looks, name, push.image))).shared())
        .collect();
    let filling = async {
        let mut filled: Vec<Filled<'_>> = Vec::new();
        for ((push, content), standing) in pushes.iter().zip(&contents).zip(&asked) {
            let work = Work { registry, blobs, content, report };
            work.push_missing(push, &standing.clone().await?, &filled).await?;
            // What an image shares with the one it is built on need not travel twice.
            filled.extend(push.names.iter().map(|name| Filled { name, content }));
        }
        Ok::<_, PushError>(())
    };
    // The first contents are on their way while later tags are still looked at.
    let asking = async { Ok(try_join_all(asked.iter().cloned()).await?) };
    let (standing, ()) = try_join(asking, filling).await?;
    let mut pushed = Vec::with_capacity(pushes.len());
    for ((push, content), standing) in pushes.iter().zip(&contents).zip(&standing) {
        pushed.push(Work { registry, blobs, content, report }.tag(push, standing).await?);
    }
    Ok(pushed)
}

/// A repository that has an image of this push.
#[derive(Clone, Copy)]
struct Filled<'a> {
    name: &'a Reference,
    content: &'a Content,
}

/// Whether a name's tag already points to the image. A registry that does not let look may still let push, so
/// only pushing decides about access.
async fn stands(looks: &TagLooks, name: &Reference, image: &Descriptor) -> Result<bool, RegistryError> {
    match tag_of(name) {
        Some(tag) => Ok(visible(looks.at(&tag).await)?.is_some_and(|found| found.digest == image.digest)),
        None => Ok(false),
    }
}

fn visible(found: Result<Option<Descriptor>, RegistryError>) -> Result<Option<Descriptor>, RegistryError> {
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
struct Work<'a> {
    registry: &'a Registry,
    blobs: &'a dyn PushSource,
    content: &'a Content,
    report: PushReport<'a>,
}

impl Work<'_> {
    /// Fills every repository whose tags do not stand yet, registries side by side.
    async fn push_missing(
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

    async fn push_content(&self, repository: &Reference, filled: &[Filled<'_>]) -> Result<(), PushError> {
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
        let missing: Vec<&Document> = missing.collect();
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
        let by_digest = repository.with_digest(descriptor.digest);
        self.registry.push_manifest(&by_digest, &descriptor.media_type, bytes).await?;
        Ok(())
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

    /// In order, one after the other: versions stand before the floating tags that follow them move.
    async fn tag(&self, push: &ImagePush<'_>, standing: &[bool]) -> Result<Vec<PushedName>, PushError> {
        let image = self.content.root();
        let mut done = Vec::new();
        for (name, &unchanged) in push.names.iter().zip(standing) {
            if let (Some(tag), false) = (tag_of(name), unchanged) {
                self.registry.push_manifest(&tag, &image.descriptor.media_type, &image.bytes).await?;
            }
            let pushed = PushedName { reference: name.clone(), digest: image.descriptor.digest, unchanged };
            (self.report)(PushEvent::Name(pushed.clone()));
            done.push(pushed);
        }
        Ok(done)
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
struct Content {
    /// Children before the index that names them; the last one is the image itself.
    documents: Vec<Document>,
}

/// A manifest or index.
struct Document {
    descriptor: Descriptor,
    bytes: Vec<u8>,
    /// What a manifest needs besides itself.
    blobs: Vec<Descriptor>,
}

impl Content {
    fn read(source: &dyn PushSource, image: &Descriptor) -> Result<Self, PushError> {
        let mut content = Self { documents: Vec::new() };
        content.add(source, image, DEEPEST)?;
        Ok(content)
    }

    /// Whether a layer or config is part of the image.
    fn has(&self, blob: &Digest) -> bool {
        self.documents.iter().flat_map(|document| &document.blobs).any(|part| part.digest == *blob)
    }

    fn root(&self) -> &Document {
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

fn read_document(source: &dyn PushSource, descriptor: &Descriptor) -> io::Result<Vec<u8>> {
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
