//! A place that has images, open for reading.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::TryStreamExt as _;

use super::archive::Archive;
use super::error::ImageError;
use super::layout::Layout;
use super::name::{FilePick, ImageName};
use super::{Document, LARGEST_DOCUMENT};
use crate::base::Reference;
use crate::docker::{self, DockerEngine, EngineAddress};
use crate::oci::Descriptor;
use crate::registry::{Progress, Registry, RegistryError, Resolved};
use crate::store::Store;

/// What is needed to reach images, wherever they lie.
#[derive(Clone)]
pub struct Means {
    pub registry: Registry,
    /// What decides where the Docker Engine is.
    pub docker: docker::Surroundings,
    /// What relative paths are relative to.
    pub current: PathBuf,
    /// The folder of mab's store.
    pub store: Option<PathBuf>,
}

/// A place that has images; cheap to clone.
#[derive(Clone)]
pub struct Source {
    /// What users call the image.
    pub name: ImageName,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    Registry(Registry, Reference),
    Layout(Arc<Layout>, FilePick),
}

impl Source {
    pub async fn open(name: &ImageName, means: &Means) -> Result<Self, ImageError> {
        let kind = match name {
            ImageName::Registry(reference) => Kind::Registry(means.registry.clone(), reference.clone()),
            files => {
                let (layout, pick) = layout(files, means).await?;
                Kind::Layout(Arc::new(layout), pick)
            }
        };
        Ok(Self { name: name.clone(), kind })
    }

    /// The repository, of images that a registry has.
    pub fn repository(&self) -> Option<&Reference> {
        match &self.kind {
            Kind::Registry(_, reference) => Some(reference),
            Kind::Layout(..) => None,
        }
    }

    /// The client and the repository, of images that a registry has.
    pub fn registry(&self) -> Option<(&Registry, &Reference)> {
        match &self.kind {
            Kind::Registry(registry, reference) => Some((registry, reference)),
            Kind::Layout(..) => None,
        }
    }

    /// Tags that are made of digests, as those of signatures are.
    pub async fn tags_of_digests(&self) -> Result<Vec<String>, ImageError> {
        match &self.kind {
            Kind::Registry(registry, reference) => {
                match registry.tags_with_prefix(reference, "sha256-").await {
                    // Some let pull and do not let list.
                    Err(RegistryError::Denied { .. } | RegistryError::Unauthorized { .. }) => Ok(Vec::new()),
                    tags => Ok(tags?),
                }
            }
            Kind::Layout(layout, _) => Ok(layout.tags()),
        }
    }

    /// The manifest or index that the name leads to.
    pub async fn root(&self) -> Result<Document, ImageError> {
        match &self.kind {
            Kind::Registry(registry, reference) => Ok(registry.resolve(reference).await?.into()),
            Kind::Layout(layout, pick) => layout.root(pick),
        }
    }

    /// What images are called there.
    pub async fn tags(&self) -> Result<Vec<String>, ImageError> {
        match &self.kind {
            Kind::Registry(registry, reference) => Ok(registry.tags(reference).await?),
            Kind::Layout(layout, _) => Ok(layout.tags()),
        }
    }

    /// The same place, and another image there.
    pub fn tagged(&self, tag: &str) -> Result<Self, ImageError> {
        let kind = match &self.kind {
            Kind::Registry(registry, reference) => {
                let wrong = |error: crate::base::reference::ParseReferenceError| ImageError::Name {
                    text: error.text,
                    reason: error.reason,
                };
                Kind::Registry(registry.clone(), reference.with_tag(tag).map_err(wrong)?)
            }
            Kind::Layout(layout, _) => {
                let pick = FilePick { tag: Some(tag.to_string()), digest: None };
                Kind::Layout(Arc::clone(layout), pick)
            }
        };
        Ok(Self { name: self.name.clone(), kind })
    }

    /// What the name leads to, without its bytes where they need not be fetched.
    pub async fn head(&self) -> Result<Descriptor, ImageError> {
        match &self.kind {
            Kind::Registry(registry, reference) => {
                let missing = || RegistryError::NotFound { what: format!("`{reference}`") };
                Ok(registry.head(reference).await?.ok_or_else(missing)?)
            }
            Kind::Layout(layout, pick) => Ok(layout.root(pick)?.descriptor),
        }
    }

    /// A manifest or index that another one names.
    pub async fn document(&self, descriptor: &Descriptor) -> Result<Document, ImageError> {
        match &self.kind {
            Kind::Registry(registry, reference) => {
                Ok(registry.manifest(reference, descriptor.digest).await?.into())
            }
            Kind::Layout(layout, _) => layout.document(descriptor),
        }
    }

    /// A config, or another small blob.
    pub async fn bytes(&self, blob: &Descriptor) -> Result<Vec<u8>, ImageError> {
        match &self.kind {
            Kind::Registry(registry, reference) => {
                Ok(registry.blob_bytes(reference, blob, LARGEST_DOCUMENT).await?)
            }
            Kind::Layout(layout, _) => layout.bytes(blob, LARGEST_DOCUMENT),
        }
    }

    /// A layer, to be read once. What a registry has comes to a file without a name first, so that only what has the
    /// right digest is read.
    pub async fn open_blob(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        match &self.kind {
            Kind::Registry(..) => Ok(Box::new(self.blob_file(blob, &|_, _| {}).await?)),
            Kind::Layout(layout, _) => layout.open(blob).map_err(|error| self.unreadable(&error)),
        }
    }

    /// A layer as a file that begins with it.
    pub async fn blob_file(&self, blob: &Descriptor, progress: Progress<'_>) -> Result<File, ImageError> {
        let layout = match &self.kind {
            Kind::Registry(registry, reference) => {
                let mut file = tempfile::tempfile().map_err(|error| self.unreadable(&error))?;
                registry.pull_blob(reference, blob, &mut file, progress).await?;
                file.seek(SeekFrom::Start(0)).map_err(|error| self.unreadable(&error))?;
                return Ok(file);
            }
            Kind::Layout(layout, _) => layout,
        };
        if let Some(file) = layout.whole_file(&blob.digest) {
            return file.map_err(|error| self.unreadable(&error));
        }
        let copied = || -> io::Result<File> {
            let mut file = tempfile::tempfile()?;
            io::copy(&mut layout.open(blob)?, &mut file)?;
            file.seek(SeekFrom::Start(0))?;
            Ok(file)
        };
        copied().map_err(|error| self.unreadable(&error))
    }

    /// What is said about a manifest elsewhere: signatures, SBOMs (distribution-spec, "Listing Referrers").
    pub async fn referrers(&self, subject: &Descriptor) -> Result<Vec<Descriptor>, ImageError> {
        match &self.kind {
            Kind::Registry(registry, reference) => Ok(registry.referrers(reference, subject.digest).await?),
            Kind::Layout(layout, _) => layout.referrers(&subject.digest),
        }
    }

    fn unreadable(&self, error: &io::Error) -> ImageError {
        ImageError::Unreadable { place: self.name.to_string(), cause: error.to_string() }
    }
}

impl From<Resolved> for Document {
    fn from(Resolved { descriptor, bytes }: Resolved) -> Self {
        Self { descriptor, bytes }
    }
}

/// What lies outside of registries, as a layout, and what of it is meant.
pub async fn layout(name: &ImageName, means: &Means) -> Result<(Layout, FilePick), ImageError> {
    let place = name.to_string();
    let path = |path: &Path| means.current.join(path);
    Ok(match name {
        ImageName::Registry(_) => {
            let reason = "it is in a registry".to_string();
            return Err(ImageError::Name { text: place, reason });
        }
        ImageName::Layout(folder, pick) => (Layout::folder(&path(folder), &place)?, pick.clone()),
        ImageName::OciArchive(file, pick) | ImageName::DockerArchive(file, pick) => {
            (Layout::archive_file(&path(file), &place)?, pick.clone())
        }
        ImageName::Path(found, pick) => match path(found).is_file() {
            true => (Layout::archive_file(&path(found), &place)?, pick.clone()),
            false => (Layout::folder(&path(found), &place)?, pick.clone()),
        },
        ImageName::Engine(image) => (saved(image, means, &place).await?, FilePick::default()),
        ImageName::Store(digest) => {
            let store = Store::open(means.store.as_deref().unwrap_or(&means.current))?;
            (Layout::store(store), FilePick { tag: None, digest: Some(*digest) })
        }
    })
}

/// What the Docker Engine saves of an image.
async fn saved(image: &str, means: &Means, place: &str) -> Result<Layout, ImageError> {
    let unreadable =
        |error: io::Error| ImageError::Unreadable { place: place.to_string(), cause: error.to_string() };
    let engine = DockerEngine::connect(&EngineAddress::usual(&means.docker)?).await?;
    let mut file = tempfile::tempfile().map_err(unreadable)?;
    let mut chunks = std::pin::pin!(engine.save(image));
    while let Some(chunk) = chunks.try_next().await? {
        file.write_all(&chunk).map_err(unreadable)?;
    }
    Layout::archive(Archive::of(file).map_err(unreadable)?, place)
}
