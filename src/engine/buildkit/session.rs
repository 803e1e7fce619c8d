//! The session of a build: what a worker may ask of this side while it builds. The gRPC server speaks through the
//! messages of one call of the worker's, so that nobody has to be able to connect to this machine.

use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::health;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::SecretsServer;
use bollard_buildkit_proto::moby::buildkit::v1::BytesMessage;
use bollard_buildkit_proto::moby::filesync::v1::auth_server::AuthServer;
use bollard_buildkit_proto::moby::filesync::v1::file_send_server::FileSendServer;
use bollard_buildkit_proto::moby::filesync::v1::file_sync_server::FileSyncServer;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_server::SshServer;
use futures_util::{StreamExt as _, stream};
use health::health_check_response::ServingStatus;
use health::health_server::{Health, HealthServer};
use tokio::io::{AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::task::AbortHandle;
use tokio_util::io::ReaderStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::auth::Auth;
use super::client::{Client, LARGEST_MESSAGE};
use super::content::{Content, ContentServer};
use super::error::WorkerError;
use super::file_sync::FileSync;
use super::result::Receiver;
use super::secrets::Secrets;
use super::ssh::Ssh;
use crate::diag::Problem;

/// What a worker is told that it may call, for it asks for nothing else.
const METHODS: [&str; 9] = [
    "/grpc.health.v1.Health/Check",
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.filesync.v1.FileSend/DiffCopy",
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.sshforward.v1.SSH/CheckAgent",
    "/moby.sshforward.v1.SSH/ForwardAgent",
    "/containerd.services.content.v1.Content/Info",
    "/containerd.services.content.v1.Content/Read",
];
/// What travels in one message.
const CHUNK: usize = 256 << 10;

/// What this side offers.
pub(super) struct Services {
    pub files: FileSync,
    pub result: Receiver,
    pub auth: Auth,
    pub secrets: Secrets,
    pub ssh: Ssh,
    pub content: Content,
}

/// What went wrong on this side, which is the reason for what the worker then says: the first of it.
#[derive(Clone, Default)]
pub(super) struct Failures(Arc<Mutex<Option<Problem>>>);

impl Failures {
    /// Keeps the problem, and makes of it what the worker is told: its message alone.
    pub fn keep(&self, problem: Problem) -> Status {
        let status = Status::aborted(problem.message.clone());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(problem);
        status
    }

    pub fn take(&self) -> Option<Problem> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// An open session; it ends when it is dropped.
pub(super) struct Session {
    pub id: String,
    tasks: Vec<AbortHandle>,
}

impl Drop for Session {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Session {
    /// Opens a session under this key: what a worker keeps of contexts is found by it again.
    pub async fn open(client: &Client, services: Services, key: &str) -> Result<Self, WorkerError> {
        let (ours, theirs) = tokio::io::duplex(4 * CHUNK);
        let mut session = Self { id: id(), tasks: Vec::new() };
        session.tasks.push(tokio::spawn(serve(services, ours)).abort_handle());
        let (from_us, to_us) = tokio::io::split(theirs);
        let mut call = Request::new(messages(from_us));
        let headers = call.metadata_mut();
        for (name, value) in [("uuid", session.id.as_str()), ("name", "mab"), ("sharedkey", key)] {
            let value = value.parse().expect("an id and a digest are header values");
            headers
                .insert(["x-docker-expose-session-", name].concat().parse::<Name>().expect("a name"), value);
        }
        for method in METHODS {
            headers.append("x-docker-expose-session-grpc-method", method.parse().expect("a path is a value"));
        }
        let answers = client.control().session(call).await;
        let answers = answers.map_err(|status| client.is_gone(&status))?.into_inner();
        session.tasks.push(tokio::spawn(receive(answers, to_us)).abort_handle());
        Ok(session)
    }
}

type Name = tonic::metadata::MetadataKey<tonic::metadata::Ascii>;

/// Sixteen random bytes.
pub(super) fn id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn serve(services: Services, connection: DuplexStream) {
    let Services { files, result, auth, secrets, ssh, content } = services;
    // The server goes on as long as there may be connections; there is this one.
    let connections = stream::once(async { Ok::<_, io::Error>(connection) }).chain(stream::pending());
    let server = Server::builder()
        .initial_stream_window_size(16 * CHUNK as u32)
        .initial_connection_window_size(64 * CHUNK as u32)
        .add_service(HealthServer::new(Alive))
        .add_service(FileSyncServer::new(files).max_encoding_message_size(LARGEST_MESSAGE))
        .add_service(FileSendServer::new(result).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(AuthServer::new(auth))
        .add_service(SecretsServer::new(secrets))
        .add_service(SshServer::new(ssh))
        .add_service(ContentServer::new(content));
    // Its end is the end of the connection, which the caller sees.
    drop(server.serve_with_incoming(connections).await);
}

fn messages(from_us: ReadHalf<DuplexStream>) -> impl stream::Stream<Item = BytesMessage> {
    let chunks = ReaderStream::with_capacity(from_us, CHUNK);
    // An error is the end of the connection, too.
    chunks
        .take_while(|chunk| ready(chunk.is_ok()))
        .filter_map(|chunk| ready(chunk.ok().map(|chunk| BytesMessage { data: chunk.into() })))
}

async fn receive(mut answers: Streaming<BytesMessage>, mut to_us: WriteHalf<DuplexStream>) {
    while let Ok(Some(message)) = answers.message().await {
        if to_us.write_all(&message.data).await.is_err() {
            return;
        }
    }
}

/// Workers ask whether a session is alive, and give it up if not.
struct Alive;

#[tonic::async_trait]
impl Health for Alive {
    async fn check(
        &self,
        _: Request<health::HealthCheckRequest>,
    ) -> Result<Response<health::HealthCheckResponse>, Status> {
        Ok(Response::new(health::HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(
        &self,
        _: Request<health::HealthListRequest>,
    ) -> Result<Response<health::HealthListResponse>, Status> {
        Err(Status::unimplemented("only `Check` is answered"))
    }

    type WatchStream = stream::Pending<Result<health::HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        _: Request<health::HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("only `Check` is answered"))
    }
}
