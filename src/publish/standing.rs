//! What a tag leads to now: which release, for which platforms.

use super::push::visible;
use super::release::Release;
use crate::base::{Platform, Reference};
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

    async fn of(
        registry: &Registry,
        repository: &Reference,
        resolved: Resolved,
    ) -> Result<Self, RegistryError> {
        let Resolved { descriptor, bytes } = resolved;
        let nothing = |descriptor| Self { descriptor, platforms: Vec::new(), release: Release::default() };
        if media_type::is_index(&descriptor.media_type) {
            let Ok(index) = Index::parse(&bytes) else { return Ok(nothing(descriptor)) };
            return Ok(Self {
                descriptor,
                platforms: index.platforms(),
                release: Release::of(&index.annotations),
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
