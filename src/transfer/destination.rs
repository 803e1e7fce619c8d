//! Where images go: a repository, a layout, or an archive, which is a layout until it is written.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::error::TransferError;
use crate::base::{Digest, Reference};
use crate::image::{FilePick, ImageName, Source};
use crate::model::Dest;
use crate::oci::{Descriptor, Manifest};
use crate::publish::BlobSource;
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

/// A layout in a folder, which an archive is made of at the end.
struct Files {
    folder: PathBuf,
    layout: LayoutFolder,
    tag: Option<String>,
    archive: Option<Archive>,
    /// What the layout is to name, once everything is there.
    named: Mutex<Vec<Descriptor>>,
}

struct Archive {
    path: PathBuf,
    is_docker: bool,
    _staged: TempDir,
}

impl Destination {
    pub fn open(name: &ImageName, registry: &Registry, current: &Path) -> Result<Self, TransferError> {
        let folder = |path: &Path, pick: &FilePick| Files {
            layout: LayoutFolder::at(&current.join(path)),
            folder: current.join(path),
            tag: pick.tag.clone(),
            archive: None,
            named: Mutex::default(),
        };
        let archive = |path: &Path, pick: &FilePick, is_docker| -> Result<Files, TransferError> {
            let staged = tempfile::tempdir().map_err(|cause| unwritable(path, cause))?;
            let files = folder(staged.path(), pick);
            let archive = Archive { path: current.join(path), is_docker, _staged: staged };
            Ok(Files { archive: Some(archive), ..files })
        };
        let kind = match name {
            ImageName::Registry(reference) => Kind::Registry(registry.clone(), reference.clone()),
            ImageName::Layout(path, pick) => Kind::Files(folder(path, pick)),
            ImageName::OciArchive(path, pick) => Kind::Files(archive(path, pick, false)?),
            ImageName::DockerArchive(path, pick) => Kind::Files(archive(path, pick, true)?),
            // A file is an archive, whatever is there is kept its kind; what is not there yet is called like one.
            ImageName::Path(path, pick) => {
                let is_tar = path.extension().is_some_and(|extension| extension == "tar");
                let found = current.join(path);
                match found.is_file() || (is_tar && !found.is_dir()) {
                    true => Kind::Files(archive(path, pick, false)?),
                    false => Kind::Files(folder(path, pick)),
                }
            }
            ImageName::Engine(_) | ImageName::Store(_) => {
                return Err(TransferError::NoDestination(name.to_string()));
            }
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

    /// Whether it has room for one image, and nothing about it.
    pub fn is_docker_archive(&self) -> bool {
        matches!(&self.kind, Kind::Files(Files { archive: Some(Archive { is_docker: true, .. }), .. }))
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
    pub async fn take_blob(&self, blob: &Descriptor, from: &Source) -> Result<Pushed, TransferError> {
        let files = match &self.kind {
            Kind::Registry(registry, repository) => {
                return take_into(registry, repository, blob, from).await;
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
                registry.pull_blob(repository, blob, &mut new.file(), &|_, _| {}).await?;
            }
            None => {
                let mut reader = from.open_blob(blob).await?;
                io::copy(&mut reader, &mut new.file()).map_err(|cause| unwritable(&path, cause))?;
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

    /// Makes files whole. Until then no index names what has come, and no archive has its name.
    pub async fn finish(self) -> Result<(), TransferError> {
        let Kind::Files(files) = self.kind else { return Ok(()) };
        let named = files.named.into_inner();
        let blobs = Folder(files.folder);
        match &files.archive {
            None => {
                for descriptor in named {
                    files.layout.add(descriptor)?;
                }
            }
            Some(Archive { path, is_docker: false, .. }) => {
                write_oci_archive_of(&blobs, &named, &Dest::Path(path.clone()))?;
            }
            Some(Archive { path, .. }) => {
                let tag = files.tag.as_ref().and_then(|tag| tag.parse::<Reference>().ok());
                let root = named.first().expect("a delivery names something");
                write_docker_archive(&blobs, root, tag.as_slice(), &Dest::Path(path.clone()))?;
            }
        }
        Ok(())
    }
}

impl Files {
    fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.hex())
    }
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
) -> Result<Pushed, TransferError> {
    let neighbour = from.repository().filter(|source| source.registry() == repository.registry());
    let open = Fetched { source: from, blob };
    if let Some(neighbour) = neighbour {
        // It has the blob, so that asking first whether it is here would only take longer.
        if registry.mount_blob(repository, blob, neighbour.repository()).await? {
            return Ok(Pushed::Mounted);
        }
    }
    Ok(registry.push_blob(repository, blob, &open, &[], &|_, _| {}).await?)
}

/// A blob that is fetched when it has to be sent.
struct Fetched<'a> {
    source: &'a Source,
    blob: &'a Descriptor,
}

impl OpenBlob for Fetched<'_> {
    fn open(&self) -> BoxFuture<'_, io::Result<File>> {
        async {
            let file = self.source.blob_file(self.blob).await;
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
