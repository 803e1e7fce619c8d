//! Tags that hold manifests for a while, where a registry takes none by its digest alone, or collects what has no tag.
//!
//! A tag is made of the digest it leads to, so that whoever pushes the same again uses it again, and takes it away.

use std::sync::atomic::{AtomicBool, Ordering};

use super::client::Registry;
use super::error::RegistryError;
use super::host::Host;
use crate::base::{Digest, Reference};
use crate::oci::Descriptor;

const PREFIX: &str = "mab.staging.";
/// As much of a digest as tells it from all others of a repository.
const HEX: usize = 32;

/// Whether a registry was seen to want such tags.
#[derive(Default)]
pub struct Staging(AtomicBool);

impl Staging {
    pub(super) fn is_needed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Registry {
    /// Puts a manifest or index where it is found by its digest.
    pub async fn place_manifest(
        &self,
        repository: &Reference,
        document: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        let by_digest = repository.without_tag().with_digest(document.digest);
        if !self.is_staged(repository).await? {
            match self.push_manifest(&by_digest, &document.media_type, bytes).await {
                Err(error) if wants_tag(&error) => {
                    let staged = self.stage(repository, document, bytes).await;
                    staged.map_err(|_| error)?;
                    self.repository(repository).await?.staging().note();
                }
                put => drop(put?),
            }
            return Ok(());
        }
        self.stage(repository, document, bytes).await
    }

    /// Takes such tags away, once other tags lead to the manifests; the answer is how many stay. What a registry drops
    /// with its tag is put back under it.
    pub async fn drop_staged(&self, repository: &Reference, documents: &[(&Descriptor, &[u8])]) -> usize {
        if !self.is_staged(repository).await.unwrap_or(false) {
            return 0;
        }
        let mut left = 0;
        let mut can_untag = true;
        for (document, bytes) in documents {
            can_untag = can_untag && self.untag(&staging_tag(repository, document.digest)).await.is_ok();
            if !can_untag {
                left += 1;
                continue;
            }
            let by_digest = repository.without_tag().with_digest(document.digest);
            if matches!(self.head(&by_digest).await, Ok(None)) {
                left += 1;
                let _ = self.stage(repository, document, bytes).await;
            }
        }
        left
    }

    /// Whether manifests of a repository get such tags from the start.
    pub(super) async fn is_staged(&self, repository: &Reference) -> Result<bool, RegistryError> {
        let host = Host::of(repository.registry());
        let is_told = self.options().staging_tags.iter().any(|name| Host::of(name) == host);
        Ok(is_told || self.repository(repository).await?.staging().is_needed())
    }

    async fn stage(
        &self,
        repository: &Reference,
        document: &Descriptor,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        let tag = staging_tag(repository, document.digest);
        self.push_manifest(&tag, &document.media_type, bytes).await.map(drop)
    }
}

pub(super) fn staging_tag(repository: &Reference, digest: Digest) -> Reference {
    let tag = format!("{PREFIX}{}", &digest.hex()[..HEX]);
    repository.without_tag().with_tag(&tag).expect("digits after a word are a tag")
}

/// Whether a refusal may mean that a manifest must have a tag, as registries say it in many ways.
pub(super) fn wants_tag(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Refused { status: 400 | 404 | 405 | 422 | 501, .. })
}
