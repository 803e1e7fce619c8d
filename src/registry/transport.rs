//! One HTTP exchange: TLS, redirects, stalls, bounded answers. Knows neither tokens nor retries.
//!
//! HTTP/1.1 only: blobs go over connections of their own, each with its own window, where HTTP/2 would send
//! them through one. Redirects are followed here and not by reqwest, because what may follow them is decided
//! here: credentials never leave their origin, and a way that began with TLS does not go on without it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Method, StatusCode, Url};
use tokio_util::io::ReaderStream;

use super::auth::Challenge;
use super::client::{Progress, RegistryOptions};
use super::error::{RegistryError, parse_error_body};
use super::host::Host;
use super::push::OpenBlob;
use crate::http::{
    ClientOptions, Clients, Pace, innermost, is_certificate_error, is_loopback, is_plain_answer,
    parse_retry_after,
};

const MOST_REDIRECTS: usize = 10;
const LARGEST_ERROR: u64 = 64 * 1024;
const UPLOAD_CHUNK: usize = 256 * 1024;
/// How often the progress of an upload is told.
const TICK: Duration = Duration::from_millis(200);
/// A registry stores and checks a large blob after its last byte came, in silence.
const PATIENCE_AFTER_UPLOAD: u32 = 10;
/// How long a document may take, as a multiple of how long a connection may be silent.
const PATIENCE_FOR_A_DOCUMENT: u32 = 5;

pub struct Transport {
    options: RegistryOptions,
    /// For all registries without certificates of their own, under no name, and one for each with them.
    clients: Mutex<BTreeMap<Option<Host>, Arc<Clients>>>,
}

pub struct Request<'a> {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    /// Sent to the origin of `url` only.
    pub authorization: Option<HeaderValue>,
    pub body: Body<'a>,
}

/// What a request carries; it can be sent again.
#[derive(Clone)]
pub enum Body<'a> {
    Empty,
    Bytes(Bytes),
    /// Holds a secret, so it does not follow redirects.
    Secret(Bytes),
    Blob {
        open: &'a dyn OpenBlob,
        size: u64,
        /// What was sent before.
        skip: u64,
        progress: Progress<'a>,
    },
}

/// An answer whose body is still to come.
pub struct Response {
    inner: reqwest::Response,
    host: String,
    /// The request only asked, so that 404 speaks of what was asked for.
    is_read: bool,
    stall: Duration,
    pace: Pace,
}

impl Transport {
    pub fn new(options: RegistryOptions) -> Self {
        Self { options, clients: Mutex::default() }
    }

    pub fn options(&self) -> &RegistryOptions {
        &self.options
    }

    /// Whether a host may be spoken to without TLS.
    pub fn may_be_plain(&self, host: &Host) -> bool {
        host.is_loopback() || self.options.insecure.iter().any(|name| Host::of(name) == *host)
    }

    /// Sends and follows redirects, on behalf of the registry `host`.
    pub async fn send(&self, host: &Host, mut request: Request<'_>) -> Result<Response, RegistryError> {
        let origin = request.url.origin();
        for _ in 0..=MOST_REDIRECTS {
            self.check_scheme(host, &request.url)?;
            let authorization = request.authorization.as_ref().filter(|_| request.url.origin() == origin);
            let response = self.send_once(host, &request, authorization).await?;
            let Some(next) = redirected(host, &request, &response)? else {
                return Ok(response);
            };
            request.url = next;
        }
        Err(protocol(host, format!("more than {MOST_REDIRECTS} redirects")))
    }

    /// A way that began with TLS does not go on without it, and the other way only on hosts that may be plain.
    fn check_scheme(&self, host: &Host, url: &Url) -> Result<(), RegistryError> {
        let target = url.host_str().unwrap_or_default();
        let plain = || {
            self.may_be_plain(host) && (is_loopback(target) || self.may_be_plain(&Host::of(&authority(url))))
        };
        if url.scheme() == "https" || (url.scheme() == "http" && plain()) {
            return Ok(());
        }
        Err(protocol(
            host,
            format!("it leads to `{}://{target}`, which is not protected by TLS", url.scheme()),
        ))
    }

    async fn send_once(
        &self,
        host: &Host,
        request: &Request<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        let client = self.client(host, &request.url)?;
        let mut builder =
            client.request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        let name = answering(host, &request.url);
        let sent = match &request.body {
            Body::Empty if request.method == Method::POST || request.method == Method::PUT => {
                self.in_time(builder.header(CONTENT_LENGTH, 0)).await
            }
            Body::Empty => self.in_time(builder).await,
            Body::Bytes(bytes) | Body::Secret(bytes) => self.in_time(builder.body(bytes.clone())).await,
            Body::Blob { open, size, skip, progress } => {
                let file = open.open().await.and_then(|file| at_rest(file, *size, *skip));
                let file = file.map_err(|cause| local("a blob to upload", &cause))?;
                self.upload(builder, file, (*skip, *size), *progress).await
            }
        };
        let inner = sent.map_err(|failure| failure.into_error(name.clone()))?;
        let is_read = request.method == Method::GET || request.method == Method::HEAD;
        let stall = self.options.stall;
        Ok(Response { inner, host: name, is_read, stall, pace: Pace::new(stall) })
    }

    async fn in_time(&self, builder: reqwest::RequestBuilder) -> Result<reqwest::Response, Failure> {
        match tokio::time::timeout(self.options.stall, builder.send()).await {
            Ok(sent) => sent.map_err(Failure::Http),
            Err(_) => Err(Failure::Stalled(self.options.stall)),
        }
    }

    /// Streams what of a file follows the bytes to skip, watching that bytes keep flowing.
    async fn upload(
        &self,
        builder: reqwest::RequestBuilder,
        file: File,
        (skip, size): (u64, u64),
        progress: Progress<'_>,
    ) -> Result<reqwest::Response, Failure> {
        let sent = Arc::new(AtomicU64::new(skip));
        let counter = Arc::clone(&sent);
        let chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(file), UPLOAD_CHUNK);
        let counted = chunks.inspect(move |chunk| {
            counter.fetch_add(chunk.as_ref().map_or(0, |chunk| chunk.len() as u64), Ordering::Relaxed);
        });
        // hyper would send a stream in chunks, which registries' storage dislikes, without this header.
        let length = size - skip;
        let request = builder.header(CONTENT_LENGTH, length).body(reqwest::Body::wrap_stream(counted)).send();
        tokio::pin!(request);
        let (mut told, mut moved_at) = (skip, Instant::now());
        loop {
            match tokio::time::timeout(TICK, &mut request).await {
                Ok(answer) => return answer.map_err(Failure::Http),
                Err(_) => {
                    let now = sent.load(Ordering::Relaxed);
                    if now != told {
                        (told, moved_at) = (now, Instant::now());
                        progress(now, size);
                    }
                    let factor = if now >= size { PATIENCE_AFTER_UPLOAD } else { 1 };
                    if moved_at.elapsed() > self.options.stall * factor {
                        return Err(Failure::Stalled(self.options.stall * factor));
                    }
                }
            }
        }
    }

    /// The client that trusts who `host` is told to trust, made when it is first asked for.
    fn client(&self, host: &Host, url: &Url) -> Result<reqwest::Client, RegistryError> {
        let certificates = self.options.root_certificates.iter();
        let own: Vec<Vec<u8>> = certificates
            .filter(|(name, _)| Host::of(name) == *host)
            .flat_map(|(_, certificates)| certificates.iter().cloned())
            .collect();
        let name = (!own.is_empty()).then(|| host.clone());
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = clients.get(&name) {
            return Ok(known.of(url).clone());
        }
        let made = Clients::new(&ClientOptions {
            user_agent: &self.options.user_agent,
            root_certificates: &own,
            connect_timeout: self.options.connect_timeout,
        });
        let made =
            made.map_err(|cause| RegistryError::Unreachable { host: host.name().to_string(), cause })?;
        Ok(clients.entry(name).or_insert(Arc::new(made)).of(url).clone())
    }
}

/// Where an answer sends the request on, if it does.
fn redirected(host: &Host, request: &Request<'_>, response: &Response) -> Result<Option<Url>, RegistryError> {
    let follows = match response.status() {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
            !matches!(request.body, Body::Secret(_))
        }
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => response.is_read,
        _ => false,
    };
    if !follows {
        return Ok(None);
    }
    let location =
        response.header(LOCATION.as_str()).ok_or_else(|| protocol(host, "a redirect without a target"))?;
    let next = request
        .url
        .join(location)
        .map_err(|cause| protocol(host, format!("a redirect to no URL: {cause}")))?;
    Ok(Some(next))
}

impl Response {
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    pub fn url(&self) -> &Url {
        self.inner.url()
    }

    /// A header as text; other bytes count as absent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    pub fn content_length(&self) -> Option<u64> {
        self.header(CONTENT_LENGTH.as_str())?.parse().ok()
    }

    pub fn challenge(&self) -> Option<Challenge> {
        let lines = self.inner.headers().get_all(WWW_AUTHENTICATE).iter();
        Challenge::strongest(lines.filter_map(|line| line.to_str().ok()))
    }

    /// The next bytes of the body.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, RegistryError> {
        let asked_at = Instant::now();
        let failure = match tokio::time::timeout(self.stall, self.inner.chunk()).await {
            Ok(Ok(Some(chunk))) if !self.pace.keeps(asked_at.elapsed(), chunk.len()) => Failure::Crawled,
            Ok(Ok(chunk)) => return Ok(chunk),
            Ok(Err(error)) => Failure::Http(error),
            Err(_) => Failure::Stalled(self.stall),
        };
        Err(failure.into_error(self.host.clone()))
    }

    /// The whole body, which must not be larger than `limit`, nor come byte by byte for ever.
    pub async fn bytes(self, limit: u64, what: &str) -> Result<Vec<u8>, RegistryError> {
        let (host, patience) = (self.host.clone(), self.stall * PATIENCE_FOR_A_DOCUMENT);
        match tokio::time::timeout(patience, self.whole(limit, what)).await {
            Ok(bytes) => bytes,
            Err(_) => Err(Failure::Slow(patience).into_error(host)),
        }
    }

    async fn whole(mut self, limit: u64, what: &str) -> Result<Vec<u8>, RegistryError> {
        let too_large = || RegistryError::TooLarge { what: what.to_string(), limit };
        if self.content_length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The answer if it is none of failure, else the error its status and body stand for.
    pub async fn judged(self, what: &str, anonymous: bool) -> Result<Self, RegistryError> {
        let status = self.status();
        if status.as_u16() < 400 {
            return Ok(self);
        }
        let (host, what) = (self.host.clone(), what.to_string());
        let retry_after =
            self.header(RETRY_AFTER.as_str()).and_then(|text| parse_retry_after(text, SystemTime::now()));
        let is_read = self.is_read;
        let (code, detail) = self.error_body().await;
        let status = status.as_u16();
        Err(match status {
            401 => RegistryError::Unauthorized { host, what, detail, anonymous },
            403 => RegistryError::Denied { host, what, detail },
            404 if is_read => RegistryError::NotFound { what },
            429 => RegistryError::RateLimited { host, retry_after },
            408 | 500 | 502 | 503 | 504 => RegistryError::Unavailable { host, status, detail, retry_after },
            _ => RegistryError::Refused { host, what, status, code, detail },
        })
    }

    /// As much of an error's body as comes; that it breaks off changes nothing about the error.
    async fn error_body(mut self) -> (String, String) {
        let mut bytes = Vec::new();
        let until = Instant::now() + self.stall * PATIENCE_FOR_A_DOCUMENT;
        while let Ok(Some(chunk)) = self.chunk().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > LARGEST_ERROR || Instant::now() > until {
                break;
            }
        }
        parse_error_body(&bytes)
    }
}

enum Failure {
    Http(reqwest::Error),
    Stalled(Duration),
    Slow(Duration),
    /// Never silent, and hardly anything came.
    Crawled,
}

impl Failure {
    fn into_error(self, host: String) -> RegistryError {
        match self {
            Self::Http(error) if is_certificate_error(&error) => {
                RegistryError::Certificate { host, cause: innermost(&error) }
            }
            Self::Http(error) if is_plain_answer(&error) => RegistryError::Plain { host },
            Self::Http(error) if error.is_connect() => {
                RegistryError::Unreachable { host, cause: innermost(&error) }
            }
            Self::Http(error) => RegistryError::Broken { host, cause: innermost(&error) },
            Self::Slow(patience) => RegistryError::Broken {
                host,
                cause: format!("an answer did not end within {} s", patience.as_secs()),
            },
            Self::Crawled => RegistryError::Broken {
                host,
                cause: format!("fewer than {} bytes came in a second", Pace::LEAST),
            },
            Self::Stalled(patience) => {
                RegistryError::Broken { host, cause: format!("nothing moved for {} s", patience.as_secs()) }
            }
        }
    }
}

/// A blob's file of the right length, behind what is to be skipped.
fn at_rest(mut file: File, size: u64, skip: u64) -> io::Result<File> {
    let length = file.metadata()?.len();
    if length == size {
        if skip > 0 {
            file.seek(SeekFrom::Start(skip))?;
        }
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("it has {length} bytes, not {size}")))
}

pub fn local(what: &str, cause: &io::Error) -> RegistryError {
    RegistryError::Local { what: what.to_string(), cause: cause.to_string() }
}

fn protocol(host: &Host, detail: impl Into<String>) -> RegistryError {
    RegistryError::Protocol { host: host.name().to_string(), detail: detail.into() }
}

/// Host and port as a reference would name them.
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"))
}

/// The name of who answers: the registry's own, or that of the host it pointed to.
fn answering(host: &Host, url: &Url) -> String {
    let target = authority(url);
    if Host::of(&target) == *host { host.name().to_string() } else { target }
}
