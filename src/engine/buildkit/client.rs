//! A connection to a worker, and what it says of itself.

use std::error::Error as _;
use std::future::Ready;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use hyper_util::rt::TokioIo;
use proto::control_client::ControlClient;
use semver::Version;
use tokio::time::timeout;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::classic::Classic;
use super::endpoint;
use super::error::{OLDEST, WorkerError};
use super::needs::Language;
use crate::base::Platform;
use crate::dial::{Fault, PATIENCE, Stream};
use crate::docker::Surroundings;
use crate::http::innermost;
use crate::model::{Entitlement, Worker};

/// What BuildKit itself allows for a message.
pub(super) const LARGEST_MESSAGE: usize = 16 << 20;
/// What may be under way before it is acknowledged: layers and contexts travel on single streams.
const WINDOW: u32 = 8 << 20;
/// How often a worker that works is asked whether it is still there.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A connected worker. Clones share the connection.
#[derive(Clone)]
pub struct Client {
    pub endpoint: String,
    /// The Docker Engine whose classic store it builds into.
    pub classic: Option<Arc<Classic>>,
    /// What its frontend understands.
    pub language: Language,
    control: ControlClient<Channel>,
}

/// What a worker says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Empty where it does not say.
    pub version: String,
    /// What its frontend understands.
    pub language: Language,
    /// Its own platform first.
    pub platforms: Vec<Platform>,
}

impl Client {
    /// Connects and makes sure that it is a BuildKit that will do.
    pub async fn connect(worker: &Worker, surroundings: &Surroundings) -> Result<(Self, About), WorkerError> {
        let endpoint::Dialled { stream, engine } = endpoint::dial(worker, surroundings).await?;
        let endpoint = worker.endpoint.clone();
        let http = Endpoint::from_static("http://buildkit")
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW);
        let connecting = http.connect_with_connector(Once(Mutex::new(Some(stream))));
        let silent = || Fault::Silent(PATIENCE.as_secs()).of(&format!("worker `{endpoint}`"));
        let channel = timeout(PATIENCE, connecting).await.map_err(|_| silent())?;
        let channel = channel.map_err(|error| foreign(&endpoint, &error))?;
        let control = ControlClient::new(channel)
            .max_decoding_message_size(LARGEST_MESSAGE)
            .max_encoding_message_size(LARGEST_MESSAGE);
        let classic = match engine {
            None => None,
            Some(engine) => {
                let about = engine.about().await?;
                (!about.has_containerd_store).then_some((engine, about.version))
            }
        };
        let engine_version = classic.as_ref().map(|(_, version)| version.clone());
        let language = Language { minor: None };
        let mut client = Self { endpoint: endpoint.clone(), control, classic: None, language };
        let about = timeout(PATIENCE, client.about(engine_version)).await.map_err(|_| silent())??;
        client.language = about.language;
        client.classic = classic.map(|(engine, _)| Arc::new(Classic::new(engine, about.language)));
        Ok((client, about))
    }

    pub fn control(&self) -> ControlClient<Channel> {
        self.control.clone()
    }

    /// With the version of the Docker Engine whose classic store it builds into.
    async fn about(&self, engine: Option<String>) -> Result<About, WorkerError> {
        let mut control = self.control();
        let workers = control.list_workers(proto::ListWorkersRequest { filter: Vec::new() }).await;
        let workers = workers.map_err(|status| self.first_refusal(&status))?.into_inner().record;
        let told = match control.info(proto::InfoRequest {}).await {
            Ok(info) => info.into_inner().buildkit_version.map(|version| version.version),
            // It came with 0.11.
            Err(status) if status.code() == Code::Unimplemented => Some("before 0.11".to_string()),
            Err(status) => return Err(self.first_refusal(&status)),
        };
        let of_workers = workers.iter().filter_map(|worker| worker.buildkit_version.as_ref());
        let of_workers = of_workers.map(|version| version.version.clone());
        let version = told.into_iter().chain(of_workers).find(|version| is_told(version));
        let version = version.unwrap_or_default();
        let language = match &engine {
            Some(engine) => Language::of_engine(engine, &version),
            None => Language::of_buildkit(&version),
        };
        let endpoint = self.endpoint.clone();
        match &engine {
            Some(engine) if language.minor.is_some_and(|minor| minor < 2) => {
                return Err(WorkerError::OldEngine { endpoint, version: engine.clone() });
            }
            None if is_too_old(&version) => return Err(WorkerError::TooOld { endpoint, version }),
            _ => {}
        }
        let version = engine.map_or(version, |engine| format!("of Docker Engine {engine}, classic store"));
        let platforms = workers.iter().flat_map(|worker| &worker.platforms);
        let platforms = platforms.map(|told| {
            let variant = Some(told.variant.as_str()).filter(|variant| !variant.is_empty());
            Platform::new(&told.os, &told.architecture, variant)
        });
        let mut distinct = Vec::new();
        for platform in platforms {
            if !distinct.contains(&platform) {
                distinct.push(platform);
            }
        }
        Ok(About { version, language, platforms: distinct })
    }

    fn first_refusal(&self, status: &Status) -> WorkerError {
        match status.source() {
            Some(source) => foreign(&self.endpoint, source),
            None => {
                let cause = format!("it answers `{}`", status.message());
                WorkerError::Foreign { endpoint: self.endpoint.clone(), cause }
            }
        }
    }

    /// Whether it lets builds have the entitlement. It is asked for nothing else, so that an answer is a yes. Who answers
    /// otherwise than in words about it is believed to: the build will tell.
    pub async fn grants(&self, entitlement: Entitlement) -> bool {
        let request = proto::SolveRequest {
            r#ref: super::session::id(),
            entitlements: vec![entitlement.name().to_string()],
            internal: true,
            ..proto::SolveRequest::default()
        };
        let asked = timeout(PATIENCE, async { self.control().solve(request).await }).await;
        !matches!(asked, Ok(Err(status)) if status.message().contains("entitlement"))
    }

    /// Ends when the worker does not answer any more.
    pub async fn lost(&self) -> WorkerError {
        let mut control = self.control();
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            match timeout(2 * PATIENCE, control.info(proto::InfoRequest {})).await {
                Ok(Ok(_)) => {}
                // An old one answers that it does not know the question.
                Ok(Err(status)) if status.code() == Code::Unimplemented => {}
                Ok(Err(status)) => return self.is_gone(&status),
                Err(_) => {
                    let cause = format!("it has not answered for {} seconds", 2 * PATIENCE.as_secs());
                    return WorkerError::Lost { endpoint: self.endpoint.clone(), cause };
                }
            }
        }
    }

    /// The error that the connection is lost.
    pub fn is_gone(&self, status: &Status) -> WorkerError {
        let cause = status.source().map_or_else(|| status.message().to_string(), innermost);
        WorkerError::Lost { endpoint: self.endpoint.clone(), cause }
    }
}

/// Whether a status tells of the connection or of the worker's end, not of the work.
pub(super) fn is_loss(status: &Status) -> bool {
    status.source().is_some() || matches!(status.code(), Code::Unavailable | Code::Cancelled)
}

/// Whether a version says anything: whoever builds BuildKit without being told its version calls it this.
fn is_told(version: &str) -> bool {
    !version.is_empty() && !version.starts_with("v0.0.0")
}

fn is_too_old(version: &str) -> bool {
    let oldest = Version::parse(OLDEST).expect("it is a version");
    match Version::parse(version.trim_start_matches('v')) {
        // What is built without a release has 0.0.0; a pre-release of the oldest one will do.
        Ok(version) => {
            (version.major, version.minor) != (0, 0)
                && (version.major, version.minor) < (oldest.major, oldest.minor)
        }
        // A build of somebody's own may be called anything.
        Err(_) => version.starts_with("before"),
    }
}

fn foreign(endpoint: &str, error: &(dyn std::error::Error + 'static)) -> WorkerError {
    WorkerError::Foreign { endpoint: endpoint.to_string(), cause: innermost(error) }
}

/// Gives a connection that is there already, once: whoever loses it connects anew, and is told why that fails.
struct Once(Mutex<Option<Box<dyn Stream>>>);

impl Service<Uri> for Once {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.get_mut().ok().and_then(Option::take);
        std::future::ready(stream.map(TokioIo::new).ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (version, expected) in [
            ("v0.32.2", false),
            ("v0.12.0", false),
            ("v0.12.0-rc1", false),
            ("v0.11.6", true),
            ("0.9.0", true),
            ("before 0.11", true),
            ("v1.0.0", false),
            ("v0.0.0+unknown", false),
            ("", false),
            ("ours", false),
        ] {
            assert_eq!(is_too_old(version), expected, "{version}");
        }
    }
}
