//! A cache in the service that GitHub Actions keeps for a repository: version 2, which is Twirp and signed URLs
//! of a blob store, and version 1, which GitHub Enterprise Server still has.
//!
//! Entries and blobs are entries of the service, each under a key of its own; the scope is its `version`, which
//! is a name space. The service never replaces an entry, so each mount is a new one, found by the beginning of
//! its key, newest first. It lists and deletes nothing for a job, and drops what nobody read for a week.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::FutureExt as _;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};

use super::CacheError;
use super::backend::{Answer, Backend, BlobUpload, Progress, Sink, unnamed};
use super::chunks::Chunks;
use super::entry::{Document, EntryKind};
use super::web::{Answered, Body, Question, Web};
use crate::base::Digest;
use crate::diag::Problem;
use crate::http::{Attempts, Retries};
use crate::model::CacheEntry;
use crate::oci::Descriptor;

pub struct Service {
    /// Tried once; `place` asks again.
    questions: Web,
    transfers: Web,
    retries: Retries,
    api: Api,
    /// Ends with a slash.
    base: Url,
    token: HeaderValue,
    version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    V1,
    V2,
}

const LARGEST_ANSWER: usize = 1 << 20;
const DEFAULT_SCOPE: &str = "mab";

/// An entry of the service that is there.
struct Stored {
    url: Url,
}

impl Service {
    /// What the job's environment says, after what the cache's own parameters do. Elsewhere than on GitHub there is none,
    /// and nobody has to be told; a problem where there should be one.
    pub fn open(
        entry: &CacheEntry,
        environment: &BTreeMap<String, String>,
        questions: Web,
        transfers: Web,
        retries: Retries,
    ) -> Result<Option<Self>, Problem> {
        let given = |parameter: &str, variable: &str| {
            let value = entry.parameters.get(parameter).or_else(|| environment.get(variable));
            value.filter(|value| !value.is_empty()).map(String::as_str)
        };
        let asked = given("version", "");
        let is_second = match asked {
            Some(version) => version.trim_start_matches('v') != "1",
            None => {
                let says = environment.get("ACTIONS_CACHE_SERVICE_V2").map(|text| text.to_ascii_lowercase());
                says.is_some_and(|text| !matches!(text.as_str(), "" | "0" | "f" | "false"))
            }
        };
        let (api, base) = match is_second {
            true => (Api::V2, given("url_v2", "ACTIONS_RESULTS_URL")),
            false => (Api::V1, given("url", "ACTIONS_CACHE_URL")),
        };
        let base = base.and_then(|text| format!("{}/", text.trim_end_matches('/')).parse::<Url>().ok());
        let token = given("token", "ACTIONS_RUNTIME_TOKEN");
        let token = token.and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        let (Some(base), Some(mut token)) = (base, token) else {
            return if is_expected(entry, environment) { Err(hidden()) } else { Ok(None) };
        };
        token.set_sensitive(true);
        let scope = given("scope", "").unwrap_or(DEFAULT_SCOPE);
        let version = Digest::of(format!("mab-v1\n{scope}")).hex();
        Ok(Some(Self { questions, transfers, retries, api, base, token, version }))
    }

    async fn find(&self, web: &Web, key: &str, is_start: bool) -> Result<Option<Stored>, CacheError> {
        let (found, url) = match self.api {
            Api::V1 => {
                let mut url = self.url("_apis/artifactcache/cache")?;
                url.query_pairs_mut().append_pair("keys", key).append_pair("version", &self.version);
                let answered = self.ask(web, Method::GET, url, None).await?;
                if answered.status() != StatusCode::OK {
                    return unless_missing(answered).await.map(|()| None);
                }
                let answer = document(answered).await?;
                (text(&answer, "cacheKey"), text(&answer, "archiveLocation"))
            }
            Api::V2 => {
                let starts = if is_start { vec![key] } else { Vec::new() };
                let body = json!({ "key": key, "restore_keys": starts, "version": self.version });
                let answered = self.call(web, "GetCacheEntryDownloadURL", body).await?;
                if answered.status() != StatusCode::OK {
                    return unless_missing(answered).await.map(|()| None);
                }
                let answer = document(answered).await?;
                (text(&answer, "matched_key"), text(&answer, "signed_download_url"))
            }
        };
        // Keys are beginnings to the service.
        let fits = |found: &String| found == key || is_start && found.starts_with(key);
        if !found.as_ref().is_some_and(fits) {
            return Ok(None);
        }
        let url = url.unwrap_or_default().parse();
        let url = url.map_err(|_| CacheError::Protocol { detail: "an entry without a URL".into() })?;
        Ok(Some(Stored { url }))
    }

    /// Writes an entry of the service, unless there is one.
    async fn put(
        &self,
        key: &str,
        mut chunks: Chunks,
        size: u64,
        progress: Progress<'_>,
    ) -> Result<(), CacheError> {
        match self.api {
            Api::V1 => self.put_v1(key, &mut chunks, size, progress).await,
            Api::V2 => self.put_v2(key, &mut chunks, size, progress).await,
        }
    }

    /// Keys are reserved when an upload begins, so one that is taken may be nobody's yet.
    async fn stands(&self, key: &str) -> Result<(), CacheError> {
        match self.find(&self.transfers, key, false).await? {
            Some(_) => Ok(()),
            None => {
                let detail = "somebody began to write this entry and has not finished".to_string();
                Err(CacheError::Status { status: 409, detail, retry_after: None })
            }
        }
    }

    async fn put_v1(
        &self,
        key: &str,
        chunks: &mut Chunks,
        size: u64,
        progress: Progress<'_>,
    ) -> Result<(), CacheError> {
        let reserve = json!({ "key": key, "version": self.version, "cacheSize": size });
        let url = self.url("_apis/artifactcache/caches")?;
        let answered = self.ask(&self.transfers, Method::POST, url, Some(reserve)).await?;
        if answered.status() == StatusCode::CONFLICT {
            return self.stands(key).await;
        }
        let id = document(accepted(answered).await?).await?["cacheId"].as_i64();
        let id = id.ok_or_else(|| CacheError::Protocol { detail: "a reservation without an id".into() })?;
        let url = self.url(&format!("_apis/artifactcache/caches/{id}"))?;
        let mut done = 0;
        while let Some(chunk) = chunks.next().await? {
            let end = done + chunk.len() as u64;
            let mut headers = self.headers();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            headers.insert(CONTENT_RANGE, header(&format!("bytes {done}-{}/*", end - 1))?);
            let question = Question {
                method: Method::PATCH,
                url: url.clone(),
                headers,
                body: Body::Pieces(vec![chunk]),
            };
            accepted(self.transfers.send(&question).await?).await?;
            done = end;
            progress(done, size);
        }
        accepted(self.ask(&self.transfers, Method::POST, url, Some(json!({ "size": size }))).await?)
            .await
            .map(drop)
    }

    async fn put_v2(
        &self,
        key: &str,
        chunks: &mut Chunks,
        size: u64,
        progress: Progress<'_>,
    ) -> Result<(), CacheError> {
        let create = json!({ "key": key, "version": self.version });
        let answered = self.call(&self.transfers, "CreateCacheEntry", create).await?;
        if answered.status() == StatusCode::CONFLICT {
            return self.stands(key).await;
        }
        let answer = document(accepted(answered).await?).await?;
        let url = text(&answer, "signed_upload_url").and_then(|text| text.parse::<Url>().ok());
        let Some(url) = url.filter(|_| answer["ok"] == true) else {
            return Err(CacheError::Protocol { detail: "an entry cannot be created".into() });
        };
        self.put_blocks(&url, chunks, size, progress).await?;
        let finish = json!({ "key": key, "version": self.version, "size_bytes": size.to_string() });
        let answer =
            document(accepted(self.call(&self.transfers, "FinalizeCacheEntryUpload", finish).await?).await?)
                .await?;
        match answer["ok"] == true {
            true => Ok(()),
            false => Err(CacheError::Protocol { detail: "an entry cannot be finished".into() }),
        }
    }

    /// The signed URL is one of a block blob: blocks first, then the list of them.
    async fn put_blocks(
        &self,
        url: &Url,
        chunks: &mut Chunks,
        size: u64,
        progress: Progress<'_>,
    ) -> Result<(), CacheError> {
        let whole = size <= chunks.size() as u64;
        let mut list = String::from(r#"<?xml version="1.0" encoding="utf-8"?><BlockList>"#);
        let (mut number, mut done) = (0_u32, 0);
        while let Some(chunk) = chunks.next().await? {
            let mut to = url.clone();
            if !whole {
                let id = STANDARD.encode(format!("{number:08}"));
                to.query_pairs_mut().append_pair("comp", "block").append_pair("blockid", &id);
                list.push_str(&format!("<Latest>{id}</Latest>"));
            }
            done += chunk.len() as u64;
            number += 1;
            self.put_block(to, chunk, whole).await?;
            progress(done, size);
        }
        if whole {
            return Ok(());
        }
        list.push_str("</BlockList>");
        let mut to = url.clone();
        to.query_pairs_mut().append_pair("comp", "blocklist");
        self.put_block(to, list.into(), false).await
    }

    async fn put_block(&self, url: Url, bytes: Bytes, is_whole: bool) -> Result<(), CacheError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        if is_whole {
            headers.insert("x-ms-blob-type", HeaderValue::from_static("BlockBlob"));
        }
        let question = Question { method: Method::PUT, url, headers, body: Body::Pieces(vec![bytes]) };
        accepted(self.transfers.send(&question).await?).await.map(drop)
    }

    async fn read_rest(&self, url: &Url, sink: &mut Sink<'_>) -> Result<(), CacheError> {
        let mut headers = HeaderMap::new();
        if sink.done() > 0 {
            headers.insert(RANGE, header(&format!("bytes={}-", sink.done()))?);
        }
        let question = Question { method: Method::GET, url: url.clone(), headers, body: Body::none() };
        let mut answered = accepted(self.transfers.send(&question).await?).await?;
        if sink.done() > 0 && answered.status() != StatusCode::PARTIAL_CONTENT {
            return Err(CacheError::Protocol {
                detail: "a part of a blob is answered with all of it".into(),
            });
        }
        while let Some(chunk) = answered.chunk().await? {
            sink.push(&chunk)?;
        }
        Ok(())
    }

    async fn read(&self, blob: &Descriptor, to: &File, progress: Progress<'_>) -> Result<bool, CacheError> {
        let mut sink = Sink::new(blob, to, progress);
        if blob.size == 0 {
            return sink.finish().map(|()| true);
        }
        let Some(stored) = self.find(&self.transfers, &blob_key(blob), false).await? else {
            return Ok(false);
        };
        let mut attempts = Attempts::new(&self.retries);
        loop {
            let before = sink.done();
            match self.read_rest(&stored.url, &mut sink).await {
                Ok(()) => return sink.finish().map(|()| true),
                Err(error @ CacheError::Broken { .. }) => {
                    if sink.done() > before {
                        attempts.reset();
                    }
                    attempts.after(error).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn document(&self, kind: EntryKind, key: &Digest) -> Result<Option<Vec<u8>>, CacheError> {
        let Some(stored) = self.find(&self.questions, &entry_key(kind, key), kind.is_replaced()).await?
        else {
            return Ok(None);
        };
        let headers = HeaderMap::new();
        let question = Question { method: Method::GET, url: stored.url, headers, body: Body::none() };
        let answered = accepted(self.questions.send(&question).await?).await?;
        let limit = usize::try_from(kind.largest()).unwrap_or(usize::MAX);
        Ok(Some(answered.bytes(limit).await?))
    }

    async fn put_document(&self, document: &Document) -> Result<(), CacheError> {
        let mut key = entry_key(document.kind, &document.key);
        if document.kind.is_replaced() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            key.push_str(&format!("{:016x}", now.as_micros()));
        }
        let file = unnamed(&document.bytes).map_err(|cause| CacheError::local(&cause))?;
        let size = document.bytes.len() as u64;
        self.put(&key, Chunks::new(file, size), size, &|_, _| {}).await
    }

    async fn call(&self, web: &Web, method: &str, body: Value) -> Result<Answered, CacheError> {
        let url = self.url(&format!("twirp/github.actions.results.api.v1.CacheService/{method}"))?;
        self.ask(web, Method::POST, url, Some(body)).await
    }

    async fn ask(
        &self,
        web: &Web,
        method: Method,
        url: Url,
        body: Option<Value>,
    ) -> Result<Answered, CacheError> {
        let mut headers = self.headers();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json;api-version=6.0-preview.1"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let body = Body::Pieces(body.map(|body| Bytes::from(body.to_string())).into_iter().collect());
        web.send(&Question { method, url, headers, body }).await
    }

    fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, self.token.clone())])
    }

    fn url(&self, path: &str) -> Result<Url, CacheError> {
        let url = self.base.join(path);
        url.map_err(|cause| CacheError::Protocol { detail: format!("`{path}` makes no URL: {cause}") })
    }
}

/// Whether a job of GitHub, or of what speaks its language, should know the service, or somebody has said a part of it.
fn is_expected(entry: &CacheEntry, environment: &BTreeMap<String, String>) -> bool {
    const TELLING: [&str; 6] = [
        "GITHUB_ACTIONS",
        "GITEA_ACTIONS",
        "FORGEJO_ACTIONS",
        "ACTIONS_RUNTIME_TOKEN",
        "ACTIONS_RESULTS_URL",
        "ACTIONS_CACHE_URL",
    ];
    let says =
        |name: &&str| environment.get(*name).is_some_and(|value| !matches!(value.as_str(), "" | "false"));
    let is_said = |key: &&str| entry.parameters.contains_key(*key);
    TELLING.iter().any(says) || ["url", "url_v2", "token"].iter().any(is_said)
}

fn hidden() -> Problem {
    Problem::warning("cache::no-service", "there is no cache service of GitHub Actions here").help(
        "a step of a job sees it only if an action exports it, such as crazy-max/ghaction-github-runtime",
    )
}

/// Of a mount it is the beginning.
fn entry_key(kind: EntryKind, key: &Digest) -> String {
    let end = if kind.is_replaced() { "-" } else { "" };
    format!("mab-v1-{}-{}{end}", kind.name(), key.hex())
}

fn blob_key(blob: &Descriptor) -> String {
    format!("mab-v1-blob-{}", blob.digest.hex())
}

fn header(text: &str) -> Result<HeaderValue, CacheError> {
    HeaderValue::from_str(text).map_err(|cause| CacheError::Protocol { detail: cause.to_string() })
}

fn text(answer: &Value, name: &str) -> Option<String> {
    answer[name].as_str().filter(|text| !text.is_empty()).map(str::to_string)
}

/// That there is nothing is no failure.
async fn unless_missing(answered: Answered) -> Result<(), CacheError> {
    match answered.status() {
        StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
        _ => Err(answered.refusal().await),
    }
}

async fn accepted(answered: Answered) -> Result<Answered, CacheError> {
    if answered.status().is_success() { Ok(answered) } else { Err(answered.refusal().await) }
}

async fn document(answered: Answered) -> Result<Value, CacheError> {
    let bytes = answered.bytes(LARGEST_ANSWER).await?;
    serde_json::from_slice(&bytes)
        .map_err(|_| CacheError::Protocol { detail: "an answer that is no JSON".to_string() })
}

impl Backend for Service {
    fn entry<'a>(&'a self, kind: EntryKind, key: &'a Digest) -> Answer<'a, Option<Vec<u8>>> {
        self.document(kind, key).boxed()
    }

    fn has_entry<'a>(&'a self, kind: EntryKind, key: &'a Digest) -> Answer<'a, bool> {
        async move { Ok(self.find(&self.questions, &entry_key(kind, key), kind.is_replaced()).await?.is_some()) }.boxed()
    }

    fn read_blob<'a>(
        &'a self,
        blob: &'a Descriptor,
        to: &'a File,
        progress: Progress<'a>,
    ) -> Answer<'a, bool> {
        self.read(blob, to, progress).boxed()
    }

    /// The service takes no empty entries, and nobody needs to be asked for one.
    fn has_blob<'a>(&'a self, blob: &'a Descriptor) -> Answer<'a, bool> {
        async move { Ok(blob.size == 0 || self.find(&self.questions, &blob_key(blob), false).await?.is_some()) }.boxed()
    }

    fn write_blob<'a>(&'a self, upload: BlobUpload<'a>) -> Answer<'a, ()> {
        let write = async move {
            let BlobUpload { blob, open, progress, .. } = upload;
            let file = open().map_err(|cause| CacheError::local(&cause))?;
            self.put(&blob_key(blob), Chunks::new(file, blob.size), blob.size, progress).await
        };
        write.boxed()
    }

    fn write_entry<'a>(&'a self, document: &'a Document) -> Answer<'a, ()> {
        self.put_document(document).boxed()
    }
}
