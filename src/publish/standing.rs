//! What a tag leads to now: which release, for which platforms.

use super::PushSource;
use super::content::read_document;
use super::push::visible;
use super::release::Release;
use crate::base::{Digest, Platform, Reference};
use crate::oci::{Descriptor, ImageConfig, Index, Manifest, media_type};
use crate::registry::{Registry, RegistryError, Resolved};

const LARGEST_CONFIG: u64 = 4 << 20;

#[derive(Clone, Debug)]
pub struct Standing {
    pub descriptor: Descriptor,
    pub platforms: Vec<Platform>,
    pub release: Release,
}

impl Standing {
    /// Looks at what a tag pointed to a moment ago. `None` where nobody may look, or it is gone.
    pub async fn read(
        registry: &Registry,
        repository: &Reference,
        descriptor: &Descriptor,
    ) -> Result<Option<Self>, RegistryError> {
        let by_digest = repository.without_tag().with_digest(descriptor.digest);
        let resolved = match registry.resolve(&by_digest).await {
            Err(RegistryError::NotFound { .. }) => return Ok(None),
            resolved => visible(resolved.map(Some))?,
        };
        match resolved {
            Some(resolved) => Self::of(registry, repository, resolved).await.map(Some),
            None => Ok(None),
        }
    }

    /// The same of an index that is here, too: what a digest names does not change.
    pub fn known(blobs: &dyn PushSource, descriptor: &Descriptor) -> Option<Self> {
        let bytes = media_type::is_index(&descriptor.media_type).then(|| read_document(blobs, descriptor))?;
        let index = Index::parse(&bytes.ok()?).ok()?;
        Some(Self::of_index(descriptor.clone(), &index))
    }

    fn of_index(descriptor: Descriptor, index: &Index) -> Self {
        Self { descriptor, platforms: index.platforms(), release: Release::of(&index.annotations) }
    }

    async fn of(
        registry: &Registry,
        repository: &Reference,
        resolved: Resolved,
    ) -> Result<Self, RegistryError> {
        let Resolved { descriptor, bytes } = resolved;
        let nothing = |descriptor| Self { descriptor, platforms: Vec::new(), release: Release::default() };
        if media_type::is_index(&descriptor.media_type) {
            return Ok(match Index::parse(&bytes) {
                Ok(index) => Self::of_index(descriptor, &index),
                Err(_) => nothing(descriptor),
            });
        }
        let Ok(manifest) = Manifest::parse(&bytes) else { return Ok(nothing(descriptor)) };
        let bytes = registry.blob_bytes(repository, &manifest.config, LARGEST_CONFIG).await;
        let config = bytes.ok().and_then(|bytes| ImageConfig::parse(&bytes).ok());
        let platforms: Vec<Platform> = config.iter().map(ImageConfig::platform).collect();
        let labels = config.map(|config| config.config.labels).unwrap_or_default();
        let annotated = Release::of(&manifest.annotations);
        let release = if annotated.is_known() { annotated } else { Release::of(&labels) };
        Ok(Self { descriptor, platforms, release })
    }
}

/// The manifests of an image, as far as they are here.
pub fn manifests(blobs: &dyn PushSource, image: &Descriptor) -> Vec<(Digest, Manifest)> {
    let manifest = |descriptor: &Descriptor| {
        let bytes = read_document(blobs, descriptor).ok()?;
        Some((descriptor.digest, Manifest::parse(&bytes).ok()?))
    };
    if !media_type::is_index(&image.media_type) {
        return manifest(image).into_iter().collect();
    }
    let index = read_document(blobs, image).ok().and_then(|bytes| Index::parse(&bytes).ok());
    index.iter().flat_map(|index| &index.manifests).filter_map(manifest).collect()
}
