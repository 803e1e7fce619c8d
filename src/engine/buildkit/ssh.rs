//! SSH agents: a worker's connections to them come through the session. The proxy of the embedded engine stands
//! between, so that a worker can list keys and sign, and nothing else.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bollard_buildkit_proto::moby::sshforward::v1 as proto;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio_util::io::ReaderStream;
use tonic::{Request, Response, Status, Streaming};

use super::session::Failures;
use crate::diag::{Kind, Problem};
use crate::engine::embedded::agent::{self, Proxy};
use crate::engine::forwarded::Forwarded;

/// The id of an agent that nobody names.
const DEFAULT: &str = "default";
const CHUNK: usize = 16 << 10;

pub(super) struct Ssh {
    pub forwarded: Forwarded,
    pub failures: Failures,
    /// By id.
    pub proxies: Mutex<BTreeMap<String, Arc<Started>>>,
}

/// An agent's proxy, and the folder of its socket.
pub(super) struct Started {
    _proxy: Proxy,
    folder: TempDir,
}

const SOCKET: &str = "agent";

impl Ssh {
    pub fn new(forwarded: Forwarded, failures: Failures) -> Self {
        Self { forwarded, failures, proxies: Mutex::default() }
    }

    async fn proxy(&self, id: &str) -> Result<Arc<Started>, Status> {
        let mut proxies = self.proxies.lock().await;
        if let Some(started) = proxies.get(id) {
            return Ok(started.clone());
        }
        let agent = self.forwarded.agent(id).map_err(|problem| self.failures.keep(problem))?;
        let agent = agent.ok_or_else(|| Status::not_found(format!("there is no SSH agent `{id}`")))?;
        let started = async {
            let folder = tempfile::Builder::new().prefix("mab-ssh-").tempdir()?;
            let proxy = agent::serve(&agent, folder.path(), SOCKET).await?;
            Ok::<_, io::Error>(Arc::new(Started { _proxy: proxy, folder }))
        };
        let started = started.await.map_err(|error| {
            let message = format!("the SSH agent `{id}` cannot be forwarded: {error}");
            self.failures.keep(Problem::new(Kind::Host, "build::ssh", message))
        })?;
        proxies.insert(id.to_string(), started.clone());
        Ok(started)
    }
}

fn named(id: &str) -> &str {
    if id.is_empty() { DEFAULT } else { id }
}

#[tonic::async_trait]
impl proto::ssh_server::Ssh for Ssh {
    async fn check_agent(
        &self,
        request: Request<proto::CheckAgentRequest>,
    ) -> Result<Response<proto::CheckAgentResponse>, Status> {
        self.proxy(named(&request.into_inner().id)).await?;
        Ok(Response::new(proto::CheckAgentResponse {}))
    }

    type ForwardAgentStream = BoxStream<'static, Result<proto::BytesMessage, Status>>;

    async fn forward_agent(
        &self,
        request: Request<Streaming<proto::BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        let id =
            request.metadata().get("buildkit.ssh.id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        let started = self.proxy(named(id)).await?;
        let stream = UnixStream::connect(started.folder.path().join(SOCKET)).await?;
        let (answers, mut questions) = stream.into_split();
        let mut asked = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = asked.message().await {
                if questions.write_all(&message.data).await.is_err() {
                    return;
                }
            }
        });
        let answers = ReaderStream::with_capacity(answers, CHUNK).map(move |chunk| {
            // The proxy lives as long as somebody speaks to it.
            let _ = &started;
            Ok(proto::BytesMessage { data: chunk?.into() })
        });
        Ok(Response::new(answers.boxed()))
    }
}
