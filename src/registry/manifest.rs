//! Manifests, indexes and tags of a repository.

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, IF_NONE_MATCH};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::client::Registry;
use super::endpoint::{Call, Repository};
use super::error::RegistryError;
use super::transport::{Body, Response};
use crate::base::{Digest, Reference};
use crate::http::retrying;
use crate::oci::{Descriptor, media_type};

/// The limit distribution-spec asks registries to accept at least, and the one they set.
pub(super) const LARGEST_MANIFEST: u64 = 4 * 1024 * 1024;
const LARGEST_PAGE: u64 = 4 * 1024 * 1024;
/// A repository with more tags than this is listed in part only.
const MOST_TAGS: usize = 100_000;
const CONTENT_DIGEST: &str = "docker-content-digest";
const SUBJECT: &str = "oci-subject";

/// A manifest or index as the registry holds it, digest checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
}

impl Registry {
    /// Where a tag points, or whether a digest is there; `None` when it is not. Asks with HEAD, which Docker Hub
    /// does not count as a pull.
    pub async fn head(&self, reference: &Reference) -> Result<Option<Descriptor>, RegistryError> {
        let repository = self.repository(reference).await?;
        let _permit = repository.permit().await;
        retrying(self.retries(), || head_once(&repository, reference, None)).await
    }

    /// The same of a tag that most likely leads to `expected`. A registry whose entity tags are digests need not read
    /// the manifest to say so (RFC 9110, section 13.1.2); others answer as ever.
    pub async fn head_expecting(
        &self,
        tag: &Reference,
        expected: &Descriptor,
    ) -> Result<Option<Descriptor>, RegistryError> {
        // Whether a digest is there can only be told by looking.
        let expected = Some(expected).filter(|_| tag.digest().is_none());
        let repository = self.repository(tag).await?;
        let _permit = repository.permit().await;
        retrying(self.retries(), || head_once(&repository, tag, expected)).await
    }

    /// The manifest or index a reference names; a digest in it goes before its tag.
    ///
    /// Mirrors are asked first. One that fails in whatever way is passed over: the registry itself knows better.
    pub async fn resolve(&self, reference: &Reference) -> Result<Resolved, RegistryError> {
        let mut sources = self.sources(reference);
        let own = sources.pop().unwrap_or_else(|| reference.clone());
        for mirror in &sources {
            if let Ok(resolved) = self.resolve_once(mirror).await {
                return Ok(resolved);
            }
        }
        self.resolve_at(&own).await
    }

    /// Without waiting for a mirror to come to itself.
    async fn resolve_once(&self, reference: &Reference) -> Result<Resolved, RegistryError> {
        let repository = self.repository(reference).await?;
        let _permit = repository.permit().await;
        get_once(&repository, reference).await
    }

    async fn resolve_at(&self, reference: &Reference) -> Result<Resolved, RegistryError> {
        let repository = self.repository(reference).await?;
        let _permit = repository.permit().await;
        retrying(self.retries(), || get_once(&repository, reference)).await
    }

    /// A manifest or index of the repository by its digest.
    pub async fn manifest(&self, repository: &Reference, digest: Digest) -> Result<Resolved, RegistryError> {
        self.resolve(&repository.with_digest(digest)).await
    }

    /// Puts a manifest or index under the reference's digest, or its tag when it has no digest.
    pub async fn push_manifest(
        &self,
        reference: &Reference,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(bytes);
        if let Some(expected) = reference.digest().filter(|expected| *expected != digest) {
            return Err(mismatch(reference, expected, digest));
        }
        let repository = self.repository(reference).await?;
        let _permit = repository.permit().await;
        let bytes = Bytes::copy_from_slice(bytes);
        let put =
            retrying(self.retries(), || put_once(&repository, reference, media_type, &bytes, digest)).await;
        put.map(|_| digest)
    }

    /// The repository's tags, as the registry orders them.
    pub async fn tags(&self, repository: &Reference) -> Result<Vec<String>, RegistryError> {
        let what = format!("the tags of `{}`", repository.name());
        let absent = |error| match error {
            RegistryError::NotFound { .. } => {
                RegistryError::NotFound { what: format!("the repository `{}`", repository.name()) }
            }
            other => other,
        };
        let opened = self.repository(repository).await?;
        let _permit = opened.permit().await;
        let mut next = Some(opened.url("tags/list")?);
        let mut tags = Vec::new();
        while let Some(url) = next.take().filter(|_| tags.len() < MOST_TAGS) {
            let page = retrying(self.retries(), || tags_page(&opened, &url, &what)).await;
            let (page, following) = page.map_err(absent)?;
            next = following.filter(|following| !page.is_empty() && *following != url);
            tags.extend(page);
        }
        Ok(tags)
    }
}

impl Registry {
    /// The repository's tags that begin with `prefix`. Registries list tags in the order of their names and can begin in
    /// the middle (distribution-spec, "Listing Tags"), so that others need not be read; those that cannot are read to
    /// the end.
    pub async fn tags_with_prefix(
        &self,
        repository: &Reference,
        prefix: &str,
    ) -> Result<Vec<String>, RegistryError> {
        let what = format!("the tags of `{}`", repository.name());
        let repository = self.repository(repository).await?;
        let _permit = repository.permit().await;
        let mut url = repository.url("tags/list")?;
        url.query_pairs_mut().append_pair("n", "1000").append_pair("last", prefix);
        let (mut next, mut found, mut seen) = (Some(url), Vec::new(), 0);
        while let Some(url) = next.take().filter(|_| seen < MOST_TAGS) {
            let (page, following) = retrying(self.retries(), || tags_page(&repository, &url, &what)).await?;
            seen += page.len();
            let began_there = page.iter().all(|tag| tag.as_str() > prefix);
            let is_past = began_there && page.last().is_some_and(|tag| !tag.starts_with(prefix));
            next = following.filter(|following| !page.is_empty() && !is_past && *following != url);
            found.extend(page.into_iter().filter(|tag| tag.starts_with(prefix)));
        }
        Ok(found)
    }
}

pub(super) fn call<'a>(
    repository: &Repository,
    method: Method,
    reference: &Reference,
    what: &'a str,
) -> Result<Call<'a>, RegistryError> {
    let place = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_string(),
    };
    Ok(Call {
        url: repository.url(&format!("manifests/{place}"))?,
        scopes: vec![repository.scope(method == Method::PUT)],
        headers: vec![(ACCEPT, media_type::MANIFESTS.join(", "))],
        method,
        body: Body::Empty,
        what,
    })
}

async fn head_once(
    repository: &Repository,
    reference: &Reference,
    expected: Option<&Descriptor>,
) -> Result<Option<Descriptor>, RegistryError> {
    let what = format!("`{reference}`");
    let mut call = call(repository, Method::HEAD, reference, &what)?;
    call.headers.extend(expected.map(|expected| (IF_NONE_MATCH, format!("\"{}\"", expected.digest))));
    let response = match repository.send(call).await {
        Ok(response) => response,
        Err(RegistryError::NotFound { .. }) => return Ok(None),
        // Registries that do not know HEAD here answer GET.
        Err(RegistryError::Refused { status: 405 | 501, .. }) => {
            return optional(get_once(repository, reference).await);
        }
        Err(error) => return Err(error),
    };
    if let Some(expected) = expected.filter(|_| response.status() == StatusCode::NOT_MODIFIED) {
        return Ok(Some(Descriptor::new(&expected.media_type, expected.digest, expected.size)));
    }
    let told = (told_digest(repository, &response)?.or(reference.digest()), response.content_length());
    match (told, response.header(CONTENT_TYPE.as_str()).and_then(manifest_type)) {
        ((Some(digest), Some(size)), Some(media_type)) => {
            if let Some(expected) = reference.digest().filter(|expected| *expected != digest) {
                return Err(mismatch(reference, expected, digest));
            }
            Ok(Some(Descriptor::new(media_type, digest, size)))
        }
        _ => optional(get_once(repository, reference).await),
    }
}

fn optional(resolved: Result<Resolved, RegistryError>) -> Result<Option<Descriptor>, RegistryError> {
    match resolved {
        Ok(resolved) => Ok(Some(resolved.descriptor)),
        Err(RegistryError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) async fn get_once(
    repository: &Repository,
    reference: &Reference,
) -> Result<Resolved, RegistryError> {
    let what = format!("`{reference}`");
    let response = repository.send(call(repository, Method::GET, reference, &what)?).await?;
    let told = told_digest(repository, &response)?;
    let header_type = response.header(CONTENT_TYPE.as_str()).and_then(manifest_type);
    let bytes = response.bytes(LARGEST_MANIFEST, &what).await?;
    let digest = Digest::of(&bytes);
    if let Some(expected) = reference.digest().or(told).filter(|expected| *expected != digest) {
        return Err(mismatch(reference, expected, digest));
    }
    let media_type = header_type.or_else(|| media_type::of_document(&bytes)).ok_or_else(|| {
        repository.protocol(format!("{what} is neither an image manifest nor an index that is understood"))
    })?;
    Ok(Resolved { descriptor: Descriptor::new(media_type, digest, bytes.len() as u64), bytes })
}

/// Whether the registry says that it noted what the manifest is about.
pub(super) async fn put_once(
    repository: &Repository,
    reference: &Reference,
    media_type: &str,
    bytes: &Bytes,
    digest: Digest,
) -> Result<bool, RegistryError> {
    let what = format!("`{reference}`");
    let mut call = call(repository, Method::PUT, reference, &what)?;
    call.headers = vec![(CONTENT_TYPE, media_type.to_string())];
    call.body = Body::Bytes(bytes.clone());
    let response = repository.send(call).await?;
    match told_digest(repository, &response)? {
        Some(told) if told != digest => Err(mismatch(reference, digest, told)),
        _ => Ok(response.header(SUBJECT).is_some()),
    }
}

async fn tags_page(
    repository: &Repository,
    url: &reqwest::Url,
    what: &str,
) -> Result<(Vec<String>, Option<reqwest::Url>), RegistryError> {
    #[derive(Deserialize)]
    struct Page {
        /// `null` in an empty repository.
        #[serde(default)]
        tags: Option<Vec<String>>,
    }
    let headers: Vec<(HeaderName, String)> = Vec::new();
    let scopes = vec![repository.scope(false)];
    let call = Call { method: Method::GET, url: url.clone(), headers, scopes, body: Body::Empty, what };
    let response = repository.send(call).await?;
    let next = response.header("link").and_then(next_link).and_then(|link| url.join(link).ok());
    // A listing goes on where it began: another host would be asked without credentials, and for what?
    let next = next.filter(|next| next.origin() == url.origin());
    let bytes = response.bytes(LARGEST_PAGE, what).await?;
    let page: Page = serde_json::from_slice(&bytes)
        .map_err(|cause| repository.protocol(format!("{what} do not parse: {cause}")))?;
    Ok((page.tags.unwrap_or_default(), next))
}

/// The target of `<…>; rel="next"` (RFC 8288).
pub(super) fn next_link(header: &str) -> Option<&str> {
    let is_next = |link: &&str| link.contains("rel=\"next\"") || link.contains("rel=next");
    let link = header.split(',').find(is_next)?;
    Some(link.trim().strip_prefix('<')?.split_once('>')?.0)
}

/// The digest the registry states. One of another algorithm counts as not stated.
fn told_digest(repository: &Repository, response: &Response) -> Result<Option<Digest>, RegistryError> {
    match response.header(CONTENT_DIGEST) {
        Some(text) if text.starts_with("sha256:") => {
            let digest = text.parse::<Digest>();
            digest.map(Some).map_err(|cause| repository.protocol(cause.to_string()))
        }
        _ => Ok(None),
    }
}

/// The known media type in a `Content-Type`, parameters aside.
fn manifest_type(content_type: &str) -> Option<&'static str> {
    media_type::known_manifest(content_type.split(';').next().unwrap_or_default().trim())
}

pub(super) fn mismatch(reference: &Reference, expected: Digest, actual: Digest) -> RegistryError {
    RegistryError::DigestMismatch { what: format!("`{reference}`"), expected, actual }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_may_have_parameters() {
        assert_eq!(
            manifest_type("application/vnd.oci.image.index.v1+json; charset=utf-8"),
            Some(media_type::OCI_INDEX)
        );
    }

    #[test]
    fn links_to_the_next_page() {
        for (header, expected) in [
            (r#"</v2/a/tags/list?last=b&n=1>; rel="next""#, Some("/v2/a/tags/list?last=b&n=1")),
            (r#"<x>; rel="prev", <y>; rel=next"#, Some("y")),
            (r#"<x>; rel="prev""#, None),
            ("next", None),
        ] {
            assert_eq!(next_link(header), expected, "{header}");
        }
    }
}
