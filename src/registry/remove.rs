//! Takes manifests away.

use reqwest::Method;

use super::client::Registry;
use super::error::RegistryError;
use super::push::call;
use crate::base::{Digest, Reference};

impl Registry {
    /// Removes a manifest, with every tag that leads to it (distribution-spec, "Deleting Manifests"). One that is not
    /// there is removed.
    pub async fn remove_manifest(&self, repository: &Reference, digest: Digest) -> Result<(), RegistryError> {
        let what = format!("manifest {digest} of `{}`", repository.name());
        let repository = self.repository(repository).await?;
        let _permit = repository.permit().await;
        let url = repository.url(&format!("manifests/{digest}"))?;
        match repository.send(call(Method::DELETE, url, vec![repository.deletion()], &what)).await {
            Ok(_) | Err(RegistryError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
