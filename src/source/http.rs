//! Files over HTTP: what a URL is now, and its bytes. What was fetched before is asked for with its ETag, so
//! that an unchanged file does not come twice.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use reqwest::header::{
    AUTHORIZATION, ETAG, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, RETRY_AFTER,
};
use reqwest::{Response, StatusCode, Url};
use serde::{Deserialize, Serialize};

use super::auth::SourceAuth;
use super::error::SourceError;
use super::{Sources, snapshot_key};
use crate::base::{Digest, Hasher, HttpUrl, Parts, PinnedSource, Secret};
use crate::http::{innermost, is_certificate_error, parse_retry_after, retrying};
use crate::store::{KeyKind, NewRecord, PendingSnapshot, free_space};

const MOST_REDIRECTS: usize = 10;
/// How many bytes come between two looks at the space that is left.
const BETWEEN_LOOKS: u64 = 16 << 20;

/// What the store remembers of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct UrlRecord {
    digest: Digest,
    etag: Option<String>,
    last_modified: Option<String>,
}

/// A file that came.
struct Downloaded<'s> {
    pending: PendingSnapshot<'s>,
    record: UrlRecord,
}

enum Answer<'s> {
    /// It is what the record says.
    Unchanged,
    File(Box<Downloaded<'s>>),
}

impl Sources {
    /// What `url` is now.
    pub(super) async fn pin_http(
        &self,
        url: &HttpUrl,
        checksum: Option<Digest>,
        auth: &SourceAuth,
    ) -> Result<PinnedSource, SourceError> {
        let pinned = |digest| PinnedSource::Http { url: url.clone(), digest };
        if let Some(digest) = checksum {
            return Ok(pinned(digest));
        }
        let record = self.url_record(url)?;
        match self.download(url, record.as_ref(), auth).await? {
            Answer::Unchanged => Ok(pinned(record.expect("only a known file can be unchanged").digest)),
            Answer::File(file) => {
                let pinned = pinned(file.record.digest);
                self.keep(url, *file, &pinned)?;
                Ok(pinned)
            }
        }
    }

    /// The folder that holds the file alone.
    pub(super) async fn fetch_http(
        &self,
        url: &HttpUrl,
        digest: &Digest,
        auth: &SourceAuth,
    ) -> Result<PathBuf, SourceError> {
        let pinned = PinnedSource::Http { url: url.clone(), digest: *digest };
        let Answer::File(file) = self.download(url, None, auth).await? else {
            return Err(SourceError::Status { what: url.to_string(), status: 304, retry_after: None });
        };
        if file.record.digest != *digest {
            let (expected, actual) = (digest.to_string(), file.record.digest.to_string());
            return Err(SourceError::Digest { what: url.to_string(), expected, actual });
        }
        self.keep(url, *file, &pinned)
    }

    fn keep(
        &self,
        url: &HttpUrl,
        file: Downloaded<'_>,
        pinned: &PinnedSource,
    ) -> Result<PathBuf, SourceError> {
        let path = file.pending.commit_as(&snapshot_key(pinned))?;
        let value = serde_json::to_vec(&file.record).expect("a record is plain data");
        let record = NewRecord {
            kind: KeyKind::Source,
            key: &url_key(url),
            subject: &url.to_string(),
            value: &value,
            parts: None,
            blobs: &[],
        };
        self.store().keys().put(&record)?;
        Ok(path)
    }

    fn url_record(&self, url: &HttpUrl) -> Result<Option<UrlRecord>, SourceError> {
        let record = self.store().keys().get(KeyKind::Source, &url_key(url))?;
        // A record that cannot be read is one of another version.
        Ok(record.and_then(|record| serde_json::from_slice(&record.value).ok()))
    }

    async fn download(
        &self,
        url: &HttpUrl,
        known: Option<&UrlRecord>,
        auth: &SourceAuth,
    ) -> Result<Answer<'_>, SourceError> {
        self.expect_network(&url.to_string())?;
        let parsed = Url::parse(url.with_credentials())
            .map_err(|cause| SourceError::Redirect { what: url.to_string(), detail: cause.to_string() })?;
        let credentials = auth.for_http(parsed.host_str().unwrap_or_default(), &url.to_string())?;
        let retries = self.options().retries.clone();
        retrying(&retries, || self.download_once(url, &parsed, known, credentials.as_ref())).await
    }

    async fn download_once(
        &self,
        url: &HttpUrl,
        parsed: &Url,
        known: Option<&UrlRecord>,
        credentials: Option<&Secret>,
    ) -> Result<Answer<'_>, SourceError> {
        let response = self.get(url, parsed.clone(), known, credentials).await?;
        if let Some(known) = known
            && (response.status() == StatusCode::NOT_MODIFIED || has_etag(&response, known))
        {
            return Ok(Answer::Unchanged);
        }
        self.receive(url, response).await.map(|file| Answer::File(Box::new(file)))
    }

    /// Asks, following redirects. Credentials stay with the origin they are for.
    async fn get(
        &self,
        url: &HttpUrl,
        first: Url,
        known: Option<&UrlRecord>,
        credentials: Option<&Secret>,
    ) -> Result<Response, SourceError> {
        let what = url.to_string();
        let astray = |detail: String| SourceError::Redirect { what: what.clone(), detail };
        let origin = first.origin();
        let mut next = first;
        for _ in 0..=MOST_REDIRECTS {
            let mut request = self.clients()?.of(&next).get(next.clone());
            if let Some(secret) = credentials.filter(|_| next.origin() == origin) {
                let mut value = HeaderValue::from_bytes(secret.expose())
                    .map_err(|_| astray("its secret is no text for a header".to_string()))?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            for (name, value) in known.into_iter().flat_map(conditions) {
                request = request.header(name, value);
            }
            let response = self.in_time(&what, &next, request).await?;
            let status = response.status();
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return if status.is_success() || (known.is_some() && status == StatusCode::NOT_MODIFIED) {
                    Ok(response)
                } else {
                    Err(refused(what, &response))
                };
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let location = location.ok_or_else(|| astray("a redirect without a target".to_string()))?;
            let target =
                next.join(location).map_err(|cause| astray(format!("a redirect to no URL: {cause}")))?;
            if !matches!(target.scheme(), "http" | "https")
                || (next.scheme() == "https" && target.scheme() == "http")
            {
                let host = target.host_str().unwrap_or_default();
                return Err(astray(format!(
                    "to `{}://{host}`, which is not protected by TLS",
                    target.scheme()
                )));
            }
            next = target;
        }
        Err(astray(format!("more than {MOST_REDIRECTS} redirects")))
    }

    async fn in_time(
        &self,
        what: &str,
        url: &Url,
        request: reqwest::RequestBuilder,
    ) -> Result<Response, SourceError> {
        let stall = self.options().stall;
        match tokio::time::timeout(stall, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_connect() && !is_certificate_error(&error) => {
                let host = url.host_str().unwrap_or_default().to_string();
                Err(SourceError::Unreachable { what: what.to_string(), host, cause: innermost(&error) })
            }
            Ok(Err(error)) if is_certificate_error(&error) => {
                let detail = format!("its certificate is not accepted: {}", innermost(&error));
                Err(SourceError::Redirect { what: what.to_string(), detail })
            }
            Ok(Err(error)) => Err(SourceError::Broken { what: what.to_string(), cause: innermost(&error) }),
            Err(_) => Err(silent(what, stall)),
        }
    }

    /// Writes the body to a folder of its own, under the name it has in the URL.
    async fn receive(&self, url: &HttpUrl, mut response: Response) -> Result<Downloaded<'_>, SourceError> {
        let (what, stall) = (url.to_string(), self.options().stall);
        let header =
            |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_string);
        let (etag, last_modified) = (header(ETAG), header(LAST_MODIFIED));
        self.expect_room(&what, response.content_length().unwrap_or(0))?;
        let unnamed = PinnedSource::Http { url: url.clone(), digest: Digest::of(b"") };
        let pending = self.store().snapshots().begin(&snapshot_key(&unnamed))?;
        let path = pending.path().join(url.file_name());
        let mut options = std::fs::OpenOptions::new();
        let created = options.write(true).create_new(true).mode(0o600).open(&path);
        let mut file = created.map_err(SourceError::local("make a file in the store"))?;
        let mut hasher = Hasher::new();
        let (mut size, mut looked_at) = (0_u64, 0);
        loop {
            let chunk = match tokio::time::timeout(stall, response.chunk()).await {
                Ok(Ok(chunk)) => chunk,
                Ok(Err(error)) => return Err(SourceError::Broken { what, cause: innermost(&error) }),
                Err(_) => return Err(silent(&what, stall)),
            };
            let Some(chunk) = chunk else { break };
            hasher.update(&chunk);
            file.write_all(&chunk).map_err(SourceError::local("write a file in the store"))?;
            size += chunk.len() as u64;
            if size - looked_at > BETWEEN_LOOKS {
                looked_at = size;
                self.expect_room(&what, 0)?;
            }
        }
        set_time(&path, last_modified.as_deref().and_then(seconds).unwrap_or(0))
            .map_err(SourceError::local("set the time of a file in the store"))?;
        Ok(Downloaded { pending, record: UrlRecord { digest: hasher.finish(), etag, last_modified } })
    }

    /// An error when the store's file system has no room for so many bytes more.
    pub(super) fn expect_room(&self, what: &str, bytes: u64) -> Result<(), SourceError> {
        match free_space::shortage_after(self.store().path(), bytes) {
            None => Ok(()),
            Some(shortage) => Err(SourceError::Full { what: what.to_string(), shortage }),
        }
    }
}

/// The time that the server gave a fetched file, if it gave one. It is the file's own: what the URL was when it was
/// asked last may be another file.
pub(super) fn modified(file: &Path) -> Result<Option<i64>, SourceError> {
    let metadata = std::fs::metadata(file);
    let metadata = metadata.map_err(|cause| SourceError::Unreadable { path: file.to_path_buf(), cause })?;
    Ok(Some(metadata.mtime()).filter(|time| *time != 0))
}

/// A URL with its credentials is hashed, not written.
fn url_key(url: &HttpUrl) -> Digest {
    let mut parts = Parts::new();
    parts.text("kind", "url");
    parts.text("url", url.with_credentials());
    parts.digest()
}

fn conditions(known: &UrlRecord) -> impl Iterator<Item = (reqwest::header::HeaderName, &str)> {
    let etag = known.etag.as_deref().map(|etag| (IF_NONE_MATCH, etag));
    let date = known.last_modified.as_deref().map(|date| (IF_MODIFIED_SINCE, date));
    etag.into_iter().chain(date)
}

/// Some servers send the whole file again, with the tag that was asked about. A weak tag is as good: it names
/// the same file in another encoding.
fn has_etag(response: &Response, known: &UrlRecord) -> bool {
    let bare = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_string();
    let now = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).map(bare);
    now.is_some() && now == known.etag.as_deref().map(bare)
}

fn refused(what: String, response: &Response) -> SourceError {
    let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = header.and_then(|text| parse_retry_after(text, SystemTime::now()));
    SourceError::Status { what, status: response.status().as_u16(), retry_after }
}

fn silent(what: &str, stall: Duration) -> SourceError {
    let cause = format!("nothing came for {} s", stall.as_secs());
    SourceError::Broken { what: what.to_string(), cause }
}

/// An HTTP date (RFC 9110, section 5.6.7) as seconds since the epoch.
fn seconds(date: &str) -> Option<i64> {
    Some(jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_second())
}

pub(super) fn set_time(path: &Path, seconds: i64) -> std::io::Result<()> {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
