//! What refers to a manifest: signatures, SBOMs and other artifacts with a subject (distribution-spec 1.1).
//!
//! Registries that know referrers are asked; for those that do not, clients keep an index under a tag made of the
//! subject's digest, and both sides of that are done here.

use bytes::Bytes;
use reqwest::header::ACCEPT;
use reqwest::{Method, Url};

use super::client::Registry;
use super::endpoint::{Call, Repository};
use super::error::RegistryError;
use super::manifest::{LARGEST_MANIFEST, Resolved, get_once, mismatch, next_link, put_once};
use super::staging::{staging_tag, wants_tag};
use super::transport::Body;
use crate::base::{Digest, Reference};
use crate::http::retrying;
use crate::oci::{Descriptor, Index, media_type};

/// Nobody signs an image more often.
const MOST_REFERRERS: usize = 1_000;

impl Registry {
    /// What says that it is about `subject`.
    pub async fn referrers(
        &self,
        repository: &Reference,
        subject: Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let by_tag = fallback_tag(repository, subject);
        let what = format!("what refers to {subject} in `{}`", repository.name());
        let repository = self.repository(repository).await?;
        let _permit = repository.permit().await;
        let mut next = Some(repository.url(&format!("referrers/{subject}"))?);
        let mut found = Vec::new();
        while let Some(url) = next.take().filter(|_| found.len() < MOST_REFERRERS) {
            let page = retrying(self.retries(), || page(&repository, &url, &what)).await?;
            let Some((entries, following)) = page else {
                let tagged = retrying(self.retries(), || tagged(&repository, &by_tag)).await?;
                return Ok(tagged.manifests);
            };
            next = following.filter(|following| !entries.is_empty() && *following != url);
            found.extend(entries);
        }
        Ok(found)
    }

    /// Puts a manifest under its digest that says it is about `subject`, so that it is found from there. Where it must
    /// have a tag, it keeps it.
    pub async fn push_referrer(
        &self,
        repository: &Reference,
        manifest: &Descriptor,
        bytes: &[u8],
        subject: Digest,
    ) -> Result<(), RegistryError> {
        let by_digest = repository.without_tag().with_digest(manifest.digest);
        let (by_tag, staged) = (fallback_tag(repository, subject), staging_tag(repository, manifest.digest));
        let is_staged = self.is_staged(repository).await?;
        let actual = Digest::of(bytes);
        if actual != manifest.digest {
            return Err(mismatch(&by_digest, manifest.digest, actual));
        }
        let repository = self.repository(repository).await?;
        let _permit = repository.permit().await;
        let put = async |reference: &Reference, media_type: &str, bytes: &[u8]| {
            let bytes = Bytes::copy_from_slice(bytes);
            let digest = Digest::of(&bytes);
            retrying(self.retries(), || put_once(&repository, reference, media_type, &bytes, digest)).await
        };
        let place = if is_staged { &staged } else { &by_digest };
        let is_noted = match put(place, &manifest.media_type, bytes).await {
            Err(error) if !is_staged && wants_tag(&error) => {
                put(&staged, &manifest.media_type, bytes).await.map_err(|_| error)?
            }
            put => put?,
        };
        if is_noted {
            return Ok(());
        }
        let mut index = retrying(self.retries(), || tagged(&repository, &by_tag)).await?;
        if index.manifests.iter().any(|known| known.digest == manifest.digest) {
            return Ok(());
        }
        index.manifests.push(manifest.clone());
        put(&by_tag, &index.media_type, &index.to_bytes()).await.map(drop)
    }
}

/// Where clients keep what refers to a manifest ("Referrers Tag Schema").
fn fallback_tag(repository: &Reference, subject: Digest) -> Reference {
    let tag = subject.to_string().replace(':', "-");
    repository.with_tag(&tag).expect("a digest with a dash is a tag")
}

async fn tagged(repository: &Repository, tag: &Reference) -> Result<Index, RegistryError> {
    match get_once(repository, tag).await {
        Err(RegistryError::NotFound { .. }) => Ok(Index::new(Vec::new())),
        Err(error) => Err(error),
        Ok(Resolved { descriptor, bytes }) => {
            let index = Index::parse(&bytes).ok().filter(|_| media_type::is_index(&descriptor.media_type));
            // It may be somebody else's tag, which is not to be overwritten.
            let others = || repository.protocol(format!("`{tag}` is no index of what refers to an image"));
            index.ok_or_else(others)
        }
    }
}

/// One page, and where the next one is; nothing where the registry does not know referrers.
async fn page(
    repository: &Repository,
    url: &Url,
    what: &str,
) -> Result<Option<(Vec<Descriptor>, Option<Url>)>, RegistryError> {
    let call = Call {
        method: Method::GET,
        url: url.clone(),
        headers: vec![(ACCEPT, media_type::OCI_INDEX.to_string())],
        scopes: vec![repository.scope(false)],
        body: Body::Empty,
        what,
    };
    let response = match repository.send(call).await {
        Err(
            RegistryError::NotFound { .. } | RegistryError::Refused { status: 400 | 404 | 405 | 501, .. },
        ) => return Ok(None),
        response => response?,
    };
    let next = response.header("link").and_then(next_link).and_then(|link| url.join(link).ok());
    let next = next.filter(|next| next.origin() == url.origin());
    let bytes = response.bytes(LARGEST_MANIFEST, what).await?;
    // Some answer any address with a page for people.
    Ok(Index::parse(&bytes).ok().map(|index| (index.manifests, next)))
}
