//! A cache on a web server that takes files: WebDAV, or whatever else knows GET, HEAD and PUT.
//!
//! ```text
//! <url>/<prefix>/mab/v1/<kind>/<key hex>      an entry's document
//! <url>/<prefix>/mab/v1/blobs/<digest hex>    a blob
//! ```
//!
//! Some servers show a file while it is still being written, or keep half of one; what is read is checked, and
//! what has another size is written again.

use std::fs::File;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::FutureExt as _;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode, Url};

use super::CacheError;
use super::backend::{Answer, Backend, BlobUpload, Progress, Sink};
use super::entry::{Document, EntryKind};
use super::web::{Answered, Body, Question, Web};
use crate::base::Digest;
use crate::diag::Problem;
use crate::http::{Attempts, Retries};
use crate::model::CacheEntry;
use crate::oci::Descriptor;

pub struct Webdav {
    /// Tried once; `place` asks again.
    questions: Web,
    transfers: Web,
    retries: Retries,
    /// Ends with a slash, as folders do.
    root: Url,
    /// How much of the path of `root` is that of `url`, which is there.
    made: usize,
    headers: HeaderMap,
}

impl Webdav {
    pub fn open(
        entry: &CacheEntry,
        questions: Web,
        transfers: Web,
        retries: Retries,
    ) -> Result<Self, Box<Problem>> {
        let given = |name: &str| entry.parameters.get(name).filter(|value| !value.is_empty());
        let unusable = |cause: String| {
            let problem = Problem::input("cache::parameters", format!("a cache of type `webdav` {cause}"));
            Box::new(problem.help("give the cache a `url` such as `https://files.example.com/builds`"))
        };
        let url = given("url").map(String::as_str).unwrap_or_default();
        let prefix = given("prefix").map(String::as_str).unwrap_or_default().trim_matches('/');
        let root = format!("{}/{prefix}", url.trim_end_matches('/'));
        let root: Url = format!("{}/", root.trim_end_matches('/'))
            .parse()
            .map_err(|cause| unusable(format!("has no URL in `{url}`: {cause}")))?;
        if !matches!(root.scheme(), "http" | "https") {
            return Err(unusable(format!("cannot be reached by `{}`", root.scheme())));
        }
        let authorization = match (given("token"), given("username")) {
            (Some(token), _) => Some(format!("Bearer {token}")),
            (None, Some(name)) => {
                let password = given("password").map(String::as_str).unwrap_or_default();
                Some(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
            }
            (None, None) => None,
        };
        let mut headers = HeaderMap::new();
        if let Some(text) = authorization {
            let value = HeaderValue::from_str(&text);
            let mut value = value.map_err(|_| unusable("has a token that cannot be sent".to_string()))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let made = url.parse().map_or(0, |url: Url| url.path().trim_end_matches('/').len());
        Ok(Self { questions, transfers, retries, root, made, headers })
    }

    fn entry_url(&self, kind: EntryKind, key: &Digest) -> Result<Url, CacheError> {
        self.url(&format!("mab/v1/{}/{}", kind.name(), key.hex()))
    }

    fn blob_url(&self, digest: &Digest) -> Result<Url, CacheError> {
        self.url(&format!("mab/v1/blobs/{}", digest.hex()))
    }

    fn url(&self, path: &str) -> Result<Url, CacheError> {
        self.root.join(path).map_err(|cause| CacheError::Protocol { detail: cause.to_string() })
    }

    fn question(&self, method: Method, url: Url) -> Question {
        Question { method, url, headers: self.headers.clone(), body: Body::none() }
    }

    /// Of what is there; none when it is not.
    async fn size(&self, url: Url) -> Result<Option<u64>, CacheError> {
        let Some(answered) = found(self.questions.send(&self.question(Method::HEAD, url)).await?).await?
        else {
            return Ok(None);
        };
        let length = answered.response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        length.map(Some).ok_or_else(|| CacheError::Protocol { detail: "a file without a length".to_string() })
    }

    async fn document(&self, kind: EntryKind, key: &Digest) -> Result<Option<Vec<u8>>, CacheError> {
        let question = self.question(Method::GET, self.entry_url(kind, key)?);
        let Some(answered) = found(self.questions.send(&question).await?).await? else { return Ok(None) };
        let limit = usize::try_from(kind.largest()).unwrap_or(usize::MAX);
        answered.bytes(limit).await.map(Some)
    }

    async fn read(&self, blob: &Descriptor, to: &File, progress: Progress<'_>) -> Result<bool, CacheError> {
        let mut sink = Sink::new(blob, to, progress);
        let mut attempts = Attempts::new(&self.retries);
        loop {
            let before = sink.done();
            match self.read_rest(&mut sink, blob).await {
                Ok(false) => return Ok(false),
                Ok(true) => return sink.finish().map(|()| true),
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

    async fn read_rest(&self, sink: &mut Sink<'_>, blob: &Descriptor) -> Result<bool, CacheError> {
        let mut question = self.question(Method::GET, self.blob_url(&blob.digest)?);
        if sink.done() > 0 {
            let range = HeaderValue::from_str(&format!("bytes={}-", sink.done()));
            question
                .headers
                .insert(RANGE, range.map_err(|cause| CacheError::Protocol { detail: cause.to_string() })?);
        }
        let Some(mut answered) = found(self.transfers.send(&question).await?).await? else {
            return Ok(false);
        };
        // A server that knows no ranges answers with all of it.
        let mut known = if answered.status() == StatusCode::PARTIAL_CONTENT { 0 } else { sink.done() };
        while let Some(chunk) = answered.chunk().await? {
            let skipped = known.min(chunk.len() as u64);
            known -= skipped;
            sink.push(&chunk[usize::try_from(skipped).unwrap_or(chunk.len())..])?;
        }
        Ok(true)
    }

    /// Folders are made when the server misses them, the outermost first, and not those of `url` itself.
    async fn write(&self, web: &Web, url: Url, body: Body) -> Result<(), CacheError> {
        let mut question = self.question(Method::PUT, url);
        question.body = body;
        let answered = web.send(&question).await?;
        if !matches!(answered.status(), StatusCode::CONFLICT | StatusCode::NOT_FOUND) {
            return accepted(answered).await;
        }
        let path = question.url.path().to_string();
        for (end, _) in path.match_indices('/').filter(|(end, _)| *end > self.made) {
            let mut folder = question.url.clone();
            folder.set_path(&path[..=end]);
            let mkcol = Method::from_bytes(b"MKCOL").expect("it is a word");
            let answered = web.send(&self.question(mkcol, folder)).await?;
            // It is there, by others or of old.
            if !matches!(answered.status(), StatusCode::METHOD_NOT_ALLOWED | StatusCode::CONFLICT) {
                accepted(answered).await?;
            }
        }
        accepted(web.send(&question).await?).await
    }
}

async fn found(answered: Answered) -> Result<Option<Answered>, CacheError> {
    match answered.status() {
        status if status.is_success() => Ok(Some(answered)),
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
        _ => Err(answered.refusal().await),
    }
}

async fn accepted(answered: Answered) -> Result<(), CacheError> {
    if answered.status().is_success() { Ok(()) } else { Err(answered.refusal().await) }
}

impl Backend for Webdav {
    fn entry<'a>(&'a self, kind: EntryKind, key: &'a Digest) -> Answer<'a, Option<Vec<u8>>> {
        self.document(kind, key).boxed()
    }

    fn has_entry<'a>(&'a self, kind: EntryKind, key: &'a Digest) -> Answer<'a, bool> {
        async move { Ok(self.size(self.entry_url(kind, key)?).await?.is_some()) }.boxed()
    }

    fn read_blob<'a>(
        &'a self,
        blob: &'a Descriptor,
        to: &'a File,
        progress: Progress<'a>,
    ) -> Answer<'a, bool> {
        self.read(blob, to, progress).boxed()
    }

    fn has_blob<'a>(&'a self, blob: &'a Descriptor) -> Answer<'a, bool> {
        async move { Ok(self.size(self.blob_url(&blob.digest)?).await? == Some(blob.size)) }.boxed()
    }

    fn write_blob<'a>(&'a self, upload: BlobUpload<'a>) -> Answer<'a, ()> {
        let write = async move {
            let BlobUpload { blob, open, progress, .. } = upload;
            let file = open().map_err(|cause| CacheError::local(&cause))?;
            let body = Body::File(Arc::new(file), blob.size);
            self.write(&self.transfers, self.blob_url(&blob.digest)?, body).await?;
            progress(blob.size, blob.size);
            Ok(())
        };
        write.boxed()
    }

    fn write_entry<'a>(&'a self, document: &'a Document) -> Answer<'a, ()> {
        let write = async move {
            let url = self.entry_url(document.kind, &document.key)?;
            self.write(&self.questions, url, Body::Pieces(vec![document.bytes.clone()])).await
        };
        write.boxed()
    }
}
