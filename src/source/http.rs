//! Files over HTTP: what a URL is now, and its bytes. What was fetched before is asked for with its ETag, so
//! that an unchanged file does not come twice, and one whose connection broke goes on where it was.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use reqwest::header::{
    ACCEPT_RANGES, AUTHORIZATION, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Response, StatusCode, Url};
use serde::{Deserialize, Serialize};

use super::auth::SourceAuth;
use super::error::SourceError;
use super::{Sources, snapshot_key};
use crate::base::{Digest, Hasher, HttpUrl, Parts, PinnedSource, Secret};
use crate::http::{Attempts, innermost, is_certificate_error, parse_retry_after};
use crate::store::{KeyKind, NewRecord, PendingSnapshot, free_space};

const MOST_REDIRECTS: usize = 10;
/// How many bytes come between two looks at the space that is left.
const BETWEEN_LOOKS: u64 = 16 << 20;
/// How often a file goes on after its connection broke, at most, however far it came each time.
const MOST_RESUMED: u32 = 32;

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
        let mut attempts = Attempts::new(&retries);
        let (mut part, mut resumed) = (None, 0);
        loop {
            let before = part.as_ref().map_or(0, Part::resumes_at);
            let error = match self.download_once(url, &parsed, known, credentials.as_ref(), &mut part).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if part.as_ref().map_or(0, Part::resumes_at) > before && resumed < MOST_RESUMED {
                resumed += 1;
                attempts.reset();
            }
            attempts.after(error).await?;
        }
    }

    /// `part` is what came before, and what came when this fails.
    async fn download_once<'s>(
        &'s self,
        url: &HttpUrl,
        parsed: &Url,
        known: Option<&UrlRecord>,
        credentials: Option<&Secret>,
        part: &mut Option<Part<'s>>,
    ) -> Result<Answer<'s>, SourceError> {
        let resumed = part.take().filter(|part| part.resumes_at() > 0);
        let conditions = match &resumed {
            Some(part) => part.conditions(),
            None => known.map(conditions).unwrap_or_default(),
        };
        let mut response = self.get(url, parsed.clone(), &conditions, credentials).await?;
        let status = response.status();
        let goes_on =
            resumed.filter(|part| status == StatusCode::PARTIAL_CONTENT && part.is_continued_by(&response));
        if goes_on.is_none() {
            if let Some(known) = known
                && (status == StatusCode::NOT_MODIFIED || has_etag(&response, known))
            {
                return Ok(Answer::Unchanged);
            }
            if status != StatusCode::OK && !(status.is_success() && status != StatusCode::PARTIAL_CONTENT) {
                let cause =
                    format!("it was answered with status {} instead of what is missing", status.as_u16());
                return Err(SourceError::Broken { what: url.to_string(), cause });
            }
        }
        let receiving = match goes_on {
            Some(goes_on) => goes_on,
            None => self.part(url, &response)?,
        };
        let receiving = part.insert(receiving);
        self.receive(&url.to_string(), &mut response, receiving).await?;
        let Part { pending, path, hasher, etag, last_modified, .. } =
            part.take().expect("it was just filled");
        set_time(&path, last_modified.as_deref().and_then(seconds).unwrap_or(0))
            .map_err(SourceError::local("set the time of a file in the store"))?;
        let record = UrlRecord { digest: hasher.finish(), etag, last_modified };
        Ok(Answer::File(Box::new(Downloaded { pending, record })))
    }

    /// Asks, following redirects. Credentials stay with the origin they are for.
    async fn get(
        &self,
        url: &HttpUrl,
        first: Url,
        conditions: &[(HeaderName, String)],
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
            for (name, value) in conditions {
                request = request.header(name, value);
            }
            let response = self.in_time(&what, &next, request).await?;
            let status = response.status();
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                let is_answer =
                    matches!(status, StatusCode::NOT_MODIFIED | StatusCode::RANGE_NOT_SATISFIABLE);
                return if status.is_success() || (is_answer && !conditions.is_empty()) {
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

    /// A file that begins, in a folder of its own, under the name it has in the URL.
    fn part(&self, url: &HttpUrl, response: &Response) -> Result<Part<'_>, SourceError> {
        let header = |name| text_of(response.headers(), name);
        let unnamed = PinnedSource::Http { url: url.clone(), digest: Digest::of(b"") };
        let pending = self.store().snapshots().begin(&snapshot_key(&unnamed))?;
        let path = pending.path().join(url.file_name());
        let mut options = std::fs::OpenOptions::new();
        let created = options.write(true).create_new(true).mode(0o600).open(&path);
        Ok(Part {
            pending,
            path,
            file: created.map_err(SourceError::local("make a file in the store"))?,
            hasher: Hasher::new(),
            size: 0,
            takes_ranges: header(ACCEPT_RANGES).as_deref() != Some("none"),
            etag: header(ETAG),
            last_modified: header(LAST_MODIFIED),
        })
    }

    /// Appends the body.
    async fn receive(
        &self,
        what: &str,
        response: &mut Response,
        part: &mut Part<'_>,
    ) -> Result<(), SourceError> {
        let stall = self.options().stall;
        self.expect_room(what, response.content_length().unwrap_or(0))?;
        let mut looked_at = part.size;
        loop {
            let chunk = match tokio::time::timeout(stall, response.chunk()).await {
                Ok(Ok(chunk)) => chunk,
                Ok(Err(error)) => {
                    return Err(SourceError::Broken { what: what.to_string(), cause: innermost(&error) });
                }
                Err(_) => return Err(silent(what, stall)),
            };
            let Some(chunk) = chunk else { return Ok(()) };
            part.hasher.update(&chunk);
            part.file.write_all(&chunk).map_err(SourceError::local("write a file in the store"))?;
            part.size += chunk.len() as u64;
            if part.size - looked_at > BETWEEN_LOOKS {
                looked_at = part.size;
                self.expect_room(what, 0)?;
            }
        }
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

fn conditions(known: &UrlRecord) -> Vec<(HeaderName, String)> {
    let etag = known.etag.clone().map(|etag| (IF_NONE_MATCH, etag));
    let date = known.last_modified.clone().map(|date| (IF_MODIFIED_SINCE, date));
    etag.into_iter().chain(date).collect()
}

/// A file as far as it came.
struct Part<'s> {
    pending: PendingSnapshot<'s>,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    size: u64,
    takes_ranges: bool,
    etag: Option<String>,
    last_modified: Option<String>,
}

impl Part<'_> {
    /// From where on the rest can be asked for; zero where only the whole can. A weak tag may be that of other
    /// bytes.
    fn resumes_at(&self) -> u64 {
        let is_strong = self.etag.as_ref().is_some_and(|etag| etag.starts_with('"'));
        if is_strong && self.takes_ranges { self.size } else { 0 }
    }

    fn conditions(&self) -> Vec<(HeaderName, String)> {
        let etag = self.etag.clone().map(|etag| (IF_RANGE, etag));
        [(RANGE, format!("bytes={}-", self.size))].into_iter().chain(etag).collect()
    }

    /// Whether these are the missing bytes of the same file.
    fn is_continued_by(&self, response: &Response) -> bool {
        let header = |name| text_of(response.headers(), name);
        let begins = format!("bytes {}-", self.size);
        let etag = header(ETAG);
        header(CONTENT_RANGE).is_some_and(|range| range.starts_with(&begins))
            && (etag.is_none() || etag == self.etag)
    }
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_string)
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
