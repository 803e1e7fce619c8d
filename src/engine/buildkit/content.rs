//! Images that a worker takes from this side: containerd's content service, for what a build names and nothing else.
//!
//! The messages and the two methods are those of `containerd.services.content.v1`.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::session::Failures;
use crate::base::Digest;
use crate::cache::Caches;
use crate::engine::JobEvents;
use crate::engine::base::{Base, Origin, fetch_blob};
use crate::oci::{Descriptor, Manifest, media_type};
use crate::registry::Registry;
use crate::store::Store;

const CHUNK: usize = 1 << 20;
const CHUNKS: usize = 4;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct InfoRequest {
    #[prost(string, tag = "1")]
    pub digest: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Info {
    #[prost(string, tag = "1")]
    pub digest: String,
    #[prost(int64, tag = "2")]
    pub size: i64,
    #[prost(map = "string, string", tag = "5")]
    pub labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct InfoResponse {
    #[prost(message, optional, tag = "1")]
    pub info: Option<Info>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReadContentRequest {
    #[prost(string, tag = "1")]
    pub digest: String,
    #[prost(int64, tag = "2")]
    pub offset: i64,
    #[prost(int64, tag = "3")]
    pub size: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReadContentResponse {
    #[prost(int64, tag = "1")]
    pub offset: i64,
    #[prost(bytes = "vec", tag = "2")]
    pub data: Vec<u8>,
}

/// Everything a worker may read.
pub(super) struct Content {
    blobs: BTreeMap<Digest, Blob>,
    tools: ContentTools,
}

/// Where layers are, and how they come from where they are.
#[derive(Clone)]
pub(super) struct ContentTools {
    pub store: Store,
    pub registry: Registry,
    pub caches: Arc<Caches>,
    pub events: JobEvents,
    pub failures: Failures,
}

#[derive(Clone)]
enum Blob {
    Bytes(Arc<[u8]>),
    Layer(Arc<(Descriptor, Origin)>),
}

impl Content {
    pub fn new(tools: ContentTools) -> Self {
        Self { blobs: BTreeMap::new(), tools }
    }

    /// Offers an image, and says by which digest it is asked for: what is told of it is made anew, since it may have
    /// come by another name than its manifest's.
    pub fn offer(&mut self, base: &Base) -> Digest {
        let config = base.config.to_bytes();
        let described = Descriptor::of(media_type::OCI_CONFIG, &config);
        let layer = |layer: &Descriptor| Descriptor {
            media_type: media_type::to_oci(&layer.media_type).to_string(),
            ..layer.clone()
        };
        let manifest = Manifest::new(described.clone(), base.layers.iter().map(layer).collect()).to_bytes();
        let digest = Digest::of(&manifest);
        self.blobs.insert(described.digest, Blob::Bytes(config.into()));
        self.blobs.insert(digest, Blob::Bytes(manifest.into()));
        for layer in &base.layers {
            self.blobs.insert(layer.digest, Blob::Layer(Arc::new((layer.clone(), base.origin.clone()))));
        }
        digest
    }

    fn find(&self, digest: &str) -> Result<(Digest, Blob), Status> {
        let parsed = digest.parse::<Digest>().ok();
        let found = parsed.and_then(|digest| Some((digest, self.blobs.get(&digest)?.clone())));
        found.ok_or_else(|| Status::not_found(format!("content {digest}: not found")))
    }

    fn info(&self, request: &InfoRequest) -> Result<InfoResponse, Status> {
        let (digest, blob) = self.find(&request.digest)?;
        let size = match blob {
            Blob::Bytes(bytes) => bytes.len() as u64,
            Blob::Layer(layer) => layer.0.size,
        };
        let info = Info {
            digest: digest.to_string(),
            size: i64::try_from(size).unwrap_or(i64::MAX),
            labels: HashMap::new(),
        };
        Ok(InfoResponse { info: Some(info) })
    }

    async fn read(&self, request: ReadContentRequest) -> Result<Chunks, Status> {
        let (digest, blob) = self.find(&request.digest)?;
        let out_of_range = || Status::out_of_range("nothing is there");
        let offset = u64::try_from(request.offset).map_err(|_| out_of_range())?;
        let size = u64::try_from(request.size).map_err(|_| out_of_range())?;
        // Nothing asked for is everything.
        let size = if size == 0 { u64::MAX } else { size };
        let (sender, receiver) = mpsc::channel(CHUNKS);
        match blob {
            Blob::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let length = usize::try_from(size).unwrap_or(usize::MAX).min(bytes.len() - start);
                let data = bytes[start..start + length].to_vec();
                drop(sender.send(Ok(ReadContentResponse { offset: request.offset, data })).await);
            }
            Blob::Layer(layer) => {
                let (layer, origin) = &*layer;
                let ContentTools { store, registry, caches, events, failures } = self.tools.clone();
                let brought = fetch_blob(&store, &registry, &caches, origin, layer, &events).await;
                brought.map_err(|problem| failures.keep(*problem))?;
                tokio::task::spawn_blocking(move || send_blob(&store, &digest, offset, size, &sender));
            }
        }
        Ok(ReceiverStream::new(receiver).boxed())
    }
}

type Chunks = BoxStream<'static, Result<ReadContentResponse, Status>>;

fn send_blob(
    store: &Store,
    digest: &Digest,
    offset: u64,
    size: u64,
    sender: &mpsc::Sender<Result<ReadContentResponse, Status>>,
) {
    let sent = (|| {
        let mut file = store.blobs().open(digest)?;
        file.seek(SeekFrom::Start(offset))?;
        let (mut place, mut left) = (offset, size);
        loop {
            let mut data = Vec::with_capacity(CHUNK);
            file.by_ref().take(left.min(CHUNK as u64)).read_to_end(&mut data)?;
            if data.is_empty() {
                return Ok(());
            }
            let read = data.len() as u64;
            let answer = ReadContentResponse { offset: i64::try_from(place).unwrap_or(i64::MAX), data };
            if sender.blocking_send(Ok(answer)).is_err() {
                return Ok(());
            }
            (place, left) = (place + read, left - read);
        }
    })();
    if let Err(error) = sent {
        let error: std::io::Error = error;
        // Who has hung up does not want to know.
        let _ = sender.blocking_send(Err(error.into()));
    }
}

/// The service as tonic's server routes to it.
#[derive(Clone)]
pub(super) struct ContentServer(Arc<Content>);

impl ContentServer {
    pub fn new(content: Content) -> Self {
        Self(Arc::new(content))
    }
}

impl NamedService for ContentServer {
    const NAME: &'static str = "containerd.services.content.v1.Content";
}

struct InfoMethod(Arc<Content>);

impl UnaryService<InfoRequest> for InfoMethod {
    type Response = InfoResponse;
    type Future = BoxFuture<'static, Result<Response<InfoResponse>, Status>>;

    fn call(&mut self, request: Request<InfoRequest>) -> Self::Future {
        let content = self.0.clone();
        Box::pin(async move { content.info(&request.into_inner()).map(Response::new) })
    }
}

struct ReadMethod(Arc<Content>);

impl ServerStreamingService<ReadContentRequest> for ReadMethod {
    type Response = ReadContentResponse;
    type ResponseStream = Chunks;
    type Future = BoxFuture<'static, Result<Response<Chunks>, Status>>;

    fn call(&mut self, request: Request<ReadContentRequest>) -> Self::Future {
        let content = self.0.clone();
        Box::pin(async move { content.read(request.into_inner()).await.map(Response::new) })
    }
}

impl Service<http::Request<Body>> for ContentServer {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let content = self.0.clone();
        Box::pin(async move {
            Ok(match request.uri().path().rsplit('/').next() {
                Some("Info") => Grpc::new(ProstCodec::default()).unary(InfoMethod(content), request).await,
                Some("Read") => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc.server_streaming(ReadMethod(content), request).await
                }
                _ => Status::unimplemented("content is only read here").into_http(),
            })
        })
    }
}
