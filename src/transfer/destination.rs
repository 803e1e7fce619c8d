//! Where images go: a repository, a layout, or what is made of a layout at the end: an archive, an image of an Engine.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::delivery::{TransferEvent, TransferReport};
use super::error::TransferError;
use crate::base::{Digest, Platform, Reference};
use crate::diag::Problem;
use crate::docker::{DockerEngine, EngineAddress};
use crate::event::Transfer;
use crate::image::{FilePick, ImageName, Means, Source};
use crate::model::Dest;
use crate::oci::{Descriptor, Index, Manifest, media_type};
use crate::publish::BlobSource;
use crate::publish::load::{Load, LoadError, load};
use crate::publish::merge::Merged;
use crate::publish::output::{LayoutFolder, write_docker_archive, write_oci_archive_of};
use crate::registry::{OpenBlob, Pushed, Registry};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const IMAGE_NAME: &str = "io.containerd.image.name";

pub struct Destination {
    pub name: ImageName,
    kind: Kind,
}

enum Kind {
    Registry(Registry, Reference),
    Files(Files),
}

/// A layout in a folder, and what is made of it at the end.
struct Files {
    folder: PathBuf,
    layout: LayoutFolder,
    tag: Option<String>,
    becomes: Becomes,
    /// What the layout is to name, once everything is there.
    named: Mutex<Vec<Descriptor>>,
}

enum Becomes {
    Layout,
    OciArchive(PathBuf, TempDir),
    DockerArchive(PathBuf, TempDir),
    Image(EngineAddress, TempDir),
}

impl Destination {
    pub fn open(name: &ImageName, means: &Means) -> Result<Self, TransferError> {
        let current = &means.current;
        let folder = |path: &Path, pick: &FilePick| Files {
            layout: LayoutFolder::at(&current.join(path)),
            folder: current.join(path),
            tag: pick.tag.clone(),
            becomes: Becomes::Layout,
            named: Mutex::default(),
        };
        let staged = |path: &Path| tempfile::tempdir().map_err(|cause| unwritable(path, cause));
        let archive = |path: &Path, pick: &FilePick| -> Result<Files, TransferError> {
            let staged = staged(path)?;
            let files = folder(staged.path(), pick);
            Ok(Files { becomes: Becomes::OciArchive(current.join(path), staged), ..files })
        };
        let kind = match name {
            ImageName::Registry(reference) => Kind::Registry(means.registry.clone(), reference.clone()),
            ImageName::Layout(path, pick) => Kind::Files(folder(path, pick)),
            ImageName::OciArchive(path, pick) => Kind::Files(archive(path, pick)?),
            ImageName::DockerArchive(path, pick) => {
                let staged = staged(path)?;
                let files = folder(staged.path(), pick);
                Kind::Files(Files { becomes: Becomes::DockerArchive(current.join(path), staged), ..files })
            }
            // A file is an archive, whatever is there is kept its kind; what is not there yet is called like one.
            ImageName::Path(path, pick) => {
                let is_tar = path.extension().is_some_and(|extension| extension == "tar");
                let found = current.join(path);
                match found.is_file() || (is_tar && !found.is_dir()) {
                    true => Kind::Files(archive(path, pick)?),
                    false => Kind::Files(folder(path, pick)),
                }
            }
            ImageName::Engine(image) => {
                let tag = tag_in_engine(image)?;
                let address = EngineAddress::usual(&means.docker).map_err(crate::image::ImageError::from)?;
                let staged = staged(Path::new(image))?;
                let files = folder(staged.path(), &FilePick { tag: Some(tag), digest: None });
                Kind::Files(Files { becomes: Becomes::Image(address, staged), ..files })
            }
            ImageName::Store(_) => return Err(TransferError::NoDestination(name.to_string())),
        };
        Ok(Self { name: name.clone(), kind })
    }

    /// The repository, where it is one.
    pub fn repository(&self) -> Option<&Reference> {
        match &self.kind {
            Kind::Registry(_, reference) => Some(reference),
            Kind::Files(_) => None,
        }
    }

    /// Whether it is said what images are called here.
    pub fn has_own_name(&self) -> bool {
        match &self.kind {
            Kind::Registry(_, reference) => reference.tag().is_some() || reference.digest().is_some(),
            Kind::Files(files) => files.tag.is_some(),
        }
    }

    /// Whether it takes images alone, and nothing that refers to them.
    pub fn is_dockers(&self) -> bool {
        let becomes =
            |files: &Files| matches!(files.becomes, Becomes::DockerArchive(..) | Becomes::Image(..));
        matches!(&self.kind, Kind::Files(files) if becomes(files))
    }

    /// Whether it translates documents, and has no room for their digests.
    pub fn is_docker_archive(&self) -> bool {
        matches!(&self.kind, Kind::Files(Files { becomes: Becomes::DockerArchive(..), .. }))
    }

    /// The platform of an Engine that keeps no more than one of an image, nor its digest.
    pub async fn only_platform(&self) -> Result<Option<Platform>, TransferError> {
        let Kind::Files(Files { becomes: Becomes::Image(address, _), .. }) = &self.kind else {
            return Ok(None);
        };
        let about = async { DockerEngine::connect(address).await?.about().await };
        let about = about.await.map_err(LoadError::from)?;
        Ok((!about.has_containerd_store).then_some(about.platform))
    }

    /// Whether what a source has is here already, being the same repository.
    pub fn is_home_of(&self, source: &Source) -> bool {
        match (self.repository(), source.repository()) {
            (Some(own), Some(other)) => own.name() == other.name(),
            _ => false,
        }
    }

    /// Whether a manifest is here, and with it everything it names.
    pub async fn has(&self, manifest: &Descriptor) -> Result<bool, TransferError> {
        match &self.kind {
            Kind::Registry(registry, repository) => {
                let by_digest = repository.without_tag().with_digest(manifest.digest);
                // Who may not look may still be let push.
                Ok(registry.head(&by_digest).await.is_ok_and(|found| found.is_some()))
            }
            // Files may have been taken out of a folder: each is looked at.
            Kind::Files(_) => Ok(false),
        }
    }

    /// Brings a blob here.
    pub async fn take_blob(
        &self,
        blob: &Descriptor,
        from: &Source,
        report: &TransferReport,
    ) -> Result<Pushed, TransferError> {
        let files = match &self.kind {
            Kind::Registry(registry, repository) => {
                return take_into(registry, repository, blob, from, report).await;
            }
            Kind::Files(files) => files,
        };
        let path = files.blob(&blob.digest);
        if path.metadata().is_ok_and(|found| found.len() == blob.size) {
            return Ok(Pushed::AlreadyThere);
        }
        let new = files.layout.new_blob()?;
        match from.registry() {
            // Straight into place: what was received is verified, and is copied no more.
            Some((registry, repository)) => {
                let progress = told(report, Transfer::Pull, blob);
                registry.pull_blob(repository, blob, &mut new.file(), &progress).await?;
            }
            None => {
                let mut reader = from.open_blob(blob).await?;
                let progress = told(report, Transfer::Export, blob);
                progress(0, blob.size);
                io::copy(&mut reader, &mut new.file()).map_err(|cause| unwritable(&path, cause))?;
                progress(blob.size, blob.size);
            }
        }
        new.finish(&blob.digest)?;
        Ok(Pushed::Uploaded)
    }

    /// Puts a manifest or index here, under its digest.
    pub async fn put(&self, document: &Descriptor, bytes: &[u8]) -> Result<(), TransferError> {
        match &self.kind {
            Kind::Registry(registry, repository) => {
                registry.place_manifest(repository, document, bytes).await?;
            }
            Kind::Files(files) => {
                files.layout.put(&document.media_type, bytes)?;
            }
        }
        Ok(())
    }

    /// Puts a manifest here that is about another one.
    pub async fn put_referrer(
        &self,
        manifest: &Descriptor,
        bytes: &[u8],
        subject: Digest,
    ) -> Result<(), TransferError> {
        match &self.kind {
            Kind::Registry(registry, repository) => {
                Ok(registry.push_referrer(repository, manifest, bytes, subject).await?)
            }
            Kind::Files(files) => {
                files.layout.put(&manifest.media_type, bytes)?;
                let plain = Descriptor::new(&manifest.media_type, manifest.digest, manifest.size);
                files.named.lock().await.push(plain);
                Ok(())
            }
        }
    }

    /// Lets the name lead to a document, which is put here under it.
    pub async fn name(
        &self,
        tag: Option<&str>,
        root: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), TransferError> {
        match &self.kind {
            Kind::Registry(registry, repository) => {
                let name = match tag {
                    Some(tag) => {
                        repository.with_tag(tag).map_err(|error| TransferError::NoDestination(error.text))?
                    }
                    None => repository.clone(),
                };
                registry.push_manifest(&name, &root.media_type, bytes).await?;
            }
            Kind::Files(files) => {
                files.layout.put(&root.media_type, bytes)?;
                let mut named = Descriptor::new(&root.media_type, root.digest, root.size);
                if let Some(tag) = tag.or(files.tag.as_deref()) {
                    let is_whole = tag.contains(['/', ':']);
                    let key = if is_whole { IMAGE_NAME } else { REF_NAME };
                    named.annotations.insert(key.to_string(), tag.to_string());
                }
                files.named.lock().await.push(named);
            }
        }
        Ok(())
    }

    /// Takes away the tags that held documents until they were named; how many stay.
    pub async fn drop_staged(&self, documents: &[(&Descriptor, &[u8])]) -> usize {
        match &self.kind {
            Kind::Registry(registry, repository) => registry.drop_staged(repository, documents).await,
            Kind::Files(_) => 0,
        }
    }

    /// Makes files whole. Until then no index names what has come, no archive has its name, and no Engine knows of it.
    /// The answer is what an Engine does not keep.
    pub async fn finish(self, report: &TransferReport) -> Result<Option<Problem>, TransferError> {
        let Kind::Files(files) = self.kind else { return Ok(None) };
        let names = files.names().await;
        let named = files.named.into_inner();
        let blobs = Folder(files.folder);
        match files.becomes {
            Becomes::Layout => {
                for descriptor in named {
                    files.layout.add(descriptor)?;
                }
            }
            Becomes::OciArchive(path, _staged) => {
                write_oci_archive_of(&blobs, &named, &Dest::Path(path))?;
            }
            Becomes::DockerArchive(path, _staged) => {
                let root = named.first().expect("a delivery names something");
                write_docker_archive(&blobs, root, &names, &Dest::Path(path))?;
            }
            Becomes::Image(address, _staged) => {
                let root = named.first().expect("a delivery names something");
                let report = Arc::clone(report);
                let progress = move |done, total| {
                    report(TransferEvent::Bytes {
                        way: Transfer::Push,
                        item: "image".to_string(),
                        done,
                        total,
                    });
                };
                let image = merged(&blobs, root)?;
                let asked = Load { blobs: Arc::new(blobs), image, names, progress: Arc::new(progress) };
                return Ok(load(&address, &asked).await?.warning);
            }
        }
        Ok(None)
    }
}

impl Files {
    fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.hex())
    }

    /// The whole names of what was named: further tags are beside the first.
    async fn names(&self) -> Vec<Reference> {
        let first = self.tag.as_ref().and_then(|tag| tag.parse::<Reference>().ok());
        let name = |descriptor: &Descriptor| {
            let whole = descriptor.annotations.get(IMAGE_NAME).and_then(|name| name.parse().ok());
            whole.or_else(|| first.as_ref()?.with_tag(descriptor.annotations.get(REF_NAME)?).ok())
        };
        self.named.lock().await.iter().filter_map(name).collect()
    }
}

/// What is called so in an Engine; there every image has a tag.
fn tag_in_engine(image: &str) -> Result<String, TransferError> {
    let unnamed = || TransferError::NoNameInEngine(image.to_string());
    let name: Reference = image.parse().map_err(|_| unnamed())?;
    match (name.tag(), name.digest()) {
        (_, Some(_)) => Err(unnamed()),
        (Some(_), None) => Ok(name.to_string()),
        (None, None) => Ok(name.with_tag("latest").map_err(|_| unnamed())?.to_string()),
    }
}

/// A document with the platforms' images that it consists of.
fn merged(blobs: &Folder, root: &Descriptor) -> Result<Merged, TransferError> {
    let root = Descriptor::new(&root.media_type, root.digest, root.size);
    let mut images = vec![root.clone()];
    if media_type::is_index(&root.media_type) {
        let unreadable = |cause: io::Error| unwritable(&blobs.0, cause);
        let bytes = blobs.open(&root.digest).and_then(|mut file| {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map(|_| bytes)
        });
        let index = Index::parse(&bytes.map_err(unreadable)?).map_err(|error| unreadable(error.into()))?;
        images = index.manifests.into_iter().filter(|image| image.platform().is_some()).collect();
    }
    Ok(Merged { root, images, is_new: false })
}

/// What hears of a blob's bytes.
fn told<'a>(
    report: &'a TransferReport,
    way: Transfer,
    blob: &'a Descriptor,
) -> impl Fn(u64, u64) + Send + Sync + 'a {
    move |done, total| report(TransferEvent::Bytes { way, item: blob.digest.short(), done, total })
}

/// The blobs of a folder.
struct Folder(PathBuf);

impl BlobSource for Folder {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.0.join("blobs/sha256").join(digest.hex()))
    }
}

async fn take_into(
    registry: &Registry,
    repository: &Reference,
    blob: &Descriptor,
    from: &Source,
    report: &TransferReport,
) -> Result<Pushed, TransferError> {
    let neighbour = from.repository().filter(|source| source.registry() == repository.registry());
    let open = Fetched { source: from, blob, report };
    if let Some(neighbour) = neighbour {
        // It has the blob, so that asking first whether it is here would only take longer.
        if registry.mount_blob(repository, blob, neighbour.repository()).await? {
            return Ok(Pushed::Mounted);
        }
    }
    Ok(registry.push_blob(repository, blob, &open, &[], &told(report, Transfer::Push, blob)).await?)
}

/// A blob that is fetched when it has to be sent.
struct Fetched<'a> {
    source: &'a Source,
    blob: &'a Descriptor,
    report: &'a TransferReport,
}

impl OpenBlob for Fetched<'_> {
    fn open(&self) -> BoxFuture<'_, io::Result<File>> {
        async {
            let progress = told(self.report, Transfer::Pull, self.blob);
            let file = self.source.blob_file(self.blob, &progress).await;
            file.map_err(|error| io::Error::other(error.to_string()))
        }
        .boxed()
    }
}

/// The blobs that a manifest needs. Layers with addresses of their own (Windows bases) are not distributed.
pub fn blobs_of(manifest: &Manifest) -> impl Iterator<Item = &Descriptor> {
    let layers = manifest.layers.iter().filter(|layer| layer.urls.is_empty());
    std::iter::once(&manifest.config).chain(layers)
}

fn unwritable(path: &Path, cause: io::Error) -> TransferError {
    TransferError::Image(crate::image::ImageError::Unreadable {
        place: path.display().to_string(),
        cause: cause.to_string(),
    })
}
