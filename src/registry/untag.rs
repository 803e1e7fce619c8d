//! Takes tags away, and nothing else.

use reqwest::Method;

use super::client::Registry;
use super::endpoint::Repository;
use super::error::RegistryError;
use super::manifest::call;
use crate::base::Reference;
use crate::http::retrying;

impl Registry {
    /// Takes a tag from what it leads to, which stays (distribution-spec, "Deleting tags"); whether it was there.
    pub async fn untag(&self, tag: &Reference) -> Result<bool, RegistryError> {
        let tag = &tag.without_tag().with_tag(tag.tag().unwrap_or("latest")).expect("it was a tag before");
        let repository = self.repository(tag).await?;
        let _permit = repository.permit().await;
        match retrying(self.retries(), || delete_once(&repository, tag)).await {
            Ok(()) => Ok(true),
            Err(RegistryError::NotFound { .. } | RegistryError::Refused { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

async fn delete_once(repository: &Repository, tag: &Reference) -> Result<(), RegistryError> {
    let what = format!("taking away `{}`", tag.familiar());
    let mut call = call(repository, Method::DELETE, tag, &what)?;
    call.headers.clear();
    call.scopes = vec![repository.deletion()];
    repository.send(call).await.map(drop)
}
