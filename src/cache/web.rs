//! HTTP as caches that are no registries are spoken to: the same connections, proxies and certificates as
//! everything else, watched for standing still, with tries again.
//!
//! Statuses that say "not now" or "not you" are errors here; all others are for whoever asked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};

use super::{CacheError, Patience};
use crate::http::{ClientOptions, Clients, Pace, Retries, innermost, parse_retry_after, retrying};
use crate::registry::Registry;

/// Cheap to clone; nothing is contacted and no certificate is read before the first request.
#[derive(Clone)]
pub struct Web {
    shared: Arc<Shared>,
    stall: Duration,
    retries: Retries,
}

struct Shared {
    /// For what it was told of certificates and names.
    registry: Registry,
    connect: Duration,
    /// By the host that has certificates of its own; all others have one together.
    clients: Mutex<BTreeMap<String, Clients>>,
}

/// A request that can be sent again.
pub struct Question {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Body,
}

/// What a request carries. It goes out in pieces, whose sending is progress.
pub enum Body {
    Pieces(Vec<Bytes>),
    /// So many bytes of a file, from its start.
    File(Arc<File>, u64),
}

/// An answer whose body is still to come.
pub struct Answered {
    pub response: reqwest::Response,
    stall: Duration,
    pace: Pace,
}

const TICK: Duration = Duration::from_millis(100);
/// Pieces of a body: one that has been taken is as good as sent.
const PIECE: usize = 256 * 1024;
const LARGEST_ERROR: usize = 64 * 1024;
const SHOWN: usize = 200;

impl Web {
    pub fn new(registry: &Registry, patience: &Patience) -> Self {
        let shared =
            Shared { registry: registry.clone(), connect: patience.connect, clients: Mutex::default() };
        Self { shared: Arc::new(shared), stall: patience.stall, retries: patience.retries.clone() }
    }

    /// The same connections for whoever tries again himself.
    pub fn once(&self, stall: Duration) -> Self {
        let retries = Retries { attempts: 1, ..self.retries.clone() };
        Self { shared: self.shared.clone(), stall, retries }
    }

    pub async fn send(&self, question: &Question) -> Result<Answered, CacheError> {
        retrying(&self.retries, || self.send_once(question)).await
    }

    async fn send_once(&self, question: &Question) -> Result<Answered, CacheError> {
        let sent = Arc::new(AtomicU64::new(0));
        let request = self.request(question, &sent)?.send();
        tokio::pin!(request);
        let (mut told, mut moved_at) = (0, Instant::now());
        let response = loop {
            match tokio::time::timeout(TICK.min(self.stall), &mut request).await {
                Ok(answer) => break answer.map_err(|error| failure(&error))?,
                Err(_) => {
                    let now = sent.load(Ordering::Relaxed);
                    if now != told {
                        (told, moved_at) = (now, Instant::now());
                    }
                    if moved_at.elapsed() >= self.stall {
                        return Err(CacheError::TimedOut(self.stall));
                    }
                }
            }
        };
        Answered { response, stall: self.stall, pace: Pace::new(self.stall) }.judged().await
    }

    fn request(
        &self,
        question: &Question,
        sent: &Arc<AtomicU64>,
    ) -> Result<reqwest::RequestBuilder, CacheError> {
        let client = self.client(&question.url)?;
        let request =
            client.request(question.method.clone(), question.url.clone()).headers(question.headers.clone());
        let length = question.body.length();
        let has_body = matches!(question.method, Method::PUT | Method::POST | Method::PATCH);
        if length == 0 {
            return Ok(if has_body { request.header(CONTENT_LENGTH, 0) } else { request });
        }
        let sent = sent.clone();
        let body = question.body.stream().inspect(move |piece| {
            sent.fetch_add(piece.as_ref().map_or(0, |piece| piece.len() as u64), Ordering::Relaxed);
        });
        // hyper would send a stream in chunks, which object stores refuse, without this header.
        Ok(request.header(CONTENT_LENGTH, length).body(reqwest::Body::wrap_stream(body)))
    }

    /// The client that trusts who the user's settings say is to be trusted at that host, made when it is first
    /// asked for.
    fn client(&self, url: &Url) -> Result<reqwest::Client, CacheError> {
        let options = self.shared.registry.options();
        let host = url.host_str().unwrap_or_default();
        let authority = url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
        let own = options.root_certificates.get(&authority).or_else(|| options.root_certificates.get(host));
        let name = if own.is_some() { authority } else { String::new() };
        let mut clients = self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = clients.get(&name) {
            return Ok(known.of(url).clone());
        }
        let made = Clients::new(&ClientOptions {
            user_agent: &options.user_agent,
            root_certificates: own.map(Vec::as_slice).unwrap_or_default(),
            connect_timeout: self.shared.connect,
        });
        let made = made.map_err(|cause| CacheError::Unreachable { cause })?;
        Ok(clients.entry(name).or_insert(made).of(url).clone())
    }
}

impl Body {
    pub fn none() -> Self {
        Self::Pieces(Vec::new())
    }

    fn length(&self) -> u64 {
        match self {
            Self::Pieces(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
            Self::File(_, length) => *length,
        }
    }

    fn stream(&self) -> BoxStream<'static, io::Result<Bytes>> {
        match self {
            Self::Pieces(bytes) => {
                let pieces: Vec<Bytes> = bytes.iter().flat_map(pieces).collect();
                stream::iter(pieces.into_iter().map(Ok)).boxed()
            }
            Self::File(file, length) => file_stream(file.clone(), *length).boxed(),
        }
    }
}

fn file_stream(file: Arc<File>, length: u64) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold((file, 0), move |(file, done)| async move {
        let size = usize::try_from(length - done).unwrap_or(PIECE).min(PIECE);
        if size == 0 {
            return Ok(None);
        }
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; size];
            file.read_exact_at(&mut piece, done).map(|()| (file, piece))
        });
        let (file, piece) = read.await.unwrap_or_else(|cause| Err(io::Error::other(cause)))?;
        let done = done + piece.len() as u64;
        Ok(Some((Bytes::from(piece), (file, done))))
    })
}

fn pieces(bytes: &Bytes) -> impl Iterator<Item = Bytes> {
    let starts = (0..bytes.len()).step_by(PIECE);
    starts.map(|start| bytes.slice(start..bytes.len().min(start + PIECE)))
}

fn failure(error: &reqwest::Error) -> CacheError {
    let cause = innermost(error);
    if error.is_connect() { CacheError::Unreachable { cause } } else { CacheError::Broken { cause } }
}

impl Answered {
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The next bytes of the body.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, CacheError> {
        let asked_at = Instant::now();
        match tokio::time::timeout(self.stall, self.response.chunk()).await {
            Ok(Ok(Some(chunk))) if !self.pace.keeps(asked_at.elapsed(), chunk.len()) => {
                Err(CacheError::Broken {
                    cause: format!("fewer than {} bytes came in a second", Pace::LEAST),
                })
            }
            Ok(chunk) => chunk.map_err(|error| failure(&error)),
            Err(_) => Err(CacheError::Broken { cause: format!("nothing moved for {:?}", self.stall) }),
        }
    }

    /// The whole body, if it has no more than `limit` bytes; else as much of it and one byte more.
    pub async fn bytes(mut self, limit: usize) -> Result<Vec<u8>, CacheError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            let room = (limit + 1).saturating_sub(bytes.len());
            bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if bytes.len() > limit {
                break;
            }
        }
        Ok(bytes)
    }

    async fn judged(self) -> Result<Self, CacheError> {
        let status = self.status().as_u16();
        if !matches!(status, 401 | 403 | 408 | 429 | 500 | 502 | 503 | 504) {
            return Ok(self);
        }
        Err(self.refusal().await)
    }

    /// The answer as an error.
    pub async fn refusal(self) -> CacheError {
        let status = self.status().as_u16();
        let header = self.response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|text| parse_retry_after(text, SystemTime::now()));
        let body = self.bytes(LARGEST_ERROR).await.unwrap_or_default();
        CacheError::Status { status, detail: detail(&body), retry_after }
    }
}

/// What an error's body says in words: object stores write XML, services JSON.
fn detail(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let between = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once("</")?.0.to_string())
    };
    let json = || {
        let value: serde_json::Value = serde_json::from_slice(body).ok()?;
        let message = ["/message", "/msg", "/error/message", "/error_description"];
        message.iter().find_map(|path| value.pointer(path)?.as_str().map(str::to_string))
    };
    let line = || {
        let line = text.lines().next().unwrap_or_default().trim();
        (!line.starts_with(['<', '{'])).then(|| line.to_string())
    };
    let said = between("Message").or_else(|| between("Code")).or_else(json).or_else(line);
    // What a remote wrote must not act on a terminal.
    said.unwrap_or_default().chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_errors_are_understood_or_left_out() {
        for (body, expected) in [
            ("<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>", "Access Denied"),
            ("<Error><Code>SlowDown</Code></Error>", "SlowDown"),
            (r#"{"error":{"code":403,"message":"no"}}"#, "no"),
            (r#"{"code":"resource_exhausted","msg":"later"}"#, "later"),
            ("later\u{1b}[31m\nmore", "later[31m"),
            ("<html>502</html>", ""),
            ("{", ""),
            ("", ""),
        ] {
            assert_eq!(detail(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn bodies_go_out_in_pieces() {
        let lengths = |length: usize| -> Vec<usize> {
            pieces(&Bytes::from(vec![0; length])).map(|piece| piece.len()).collect()
        };
        assert_eq!(lengths(0), [0; 0]);
        assert_eq!(lengths(PIECE), [PIECE]);
        assert_eq!(lengths(PIECE + 1), [PIECE, 1]);
    }
}
