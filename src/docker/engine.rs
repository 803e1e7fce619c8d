//! A connection to a Docker Engine: its API through bollard over our own streams, and streams through it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper::Response;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_util::io::StreamReader;

use super::{EngineAddress, EngineError};
use crate::base::Platform;
use crate::dial::{self, DialError, Fault, PATIENCE, Stream};
use crate::http::innermost;

/// The driver of stores of containerd's.
const CONTAINERD: &str = "io.containerd.snapshotter.";
/// The type of a frame of HTTP/2, see RFC 9113, section 6.5.
const SETTINGS: u8 = 4;
/// The head of an answer is no longer.
const LONGEST_HEAD: usize = 16 << 10;

/// An Engine that has answered. Clones are the same.
#[derive(Clone)]
pub struct DockerEngine {
    address: EngineAddress,
    docker: Docker,
}

/// What an Engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub version: String,
    /// Of what it runs natively.
    pub platform: Platform,
    /// Images are in containerd's store, which keeps them as they are pushed.
    pub has_containerd_store: bool,
}

impl DockerEngine {
    pub async fn connect(address: &EngineAddress) -> Result<Self, EngineError> {
        let transport = {
            let address = address.clone();
            move |request| send(address.clone(), request)
        };
        let docker = Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            PATIENCE.as_secs(),
            API_DEFAULT_VERSION,
        );
        let docker = docker.map_err(|error| refused(address, &error))?;
        // The greeting also settles on a version of the API that the Engine knows.
        let docker = docker.negotiate_version().await.map_err(|error| refused(address, &error))?;
        Ok(Self { address: address.clone(), docker })
    }

    pub fn address(&self) -> &EngineAddress {
        &self.address
    }

    /// Its API. `patience` is for the beginning of each answer.
    pub fn api(&self, patience: Duration) -> Docker {
        self.docker.clone().with_timeout(patience)
    }

    /// What the Engine says of itself.
    pub async fn about(&self) -> Result<About, EngineError> {
        let (info, version) = tokio::join!(self.docker.info(), self.docker.version());
        let info = info.map_err(|error| self.error(&error))?;
        let version = version.map_err(|error| self.error(&error))?;
        let (os, architecture) = (version.os.unwrap_or_default(), version.arch.unwrap_or_default());
        let status = info.driver_status.unwrap_or_default();
        let is_of_containerd = |pair: &Vec<String>| pair.iter().any(|text| text.starts_with(CONTAINERD));
        Ok(About {
            version: info.server_version.unwrap_or_default(),
            platform: Platform::new(&os, &architecture, None),
            has_containerd_store: status.iter().any(is_of_containerd),
        })
    }

    /// What an error of the API means.
    pub fn error(&self, error: &bollard::errors::Error) -> EngineError {
        refused(&self.address, error)
    }

    /// A stream of HTTP/2 without TLS to what the Engine has at a path.
    pub async fn upgrade(&self, path: &str) -> Result<Box<dyn Stream>, EngineError> {
        let (mut stream, program) = self.address.dial().await?;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"
        );
        let upgrading = async {
            stream.write_all(request.as_bytes()).await?;
            stream.flush().await?;
            head(&mut stream).await
        };
        let cause = match timeout(PATIENCE, upgrading).await {
            Ok(Ok((head, rest))) if head.starts_with(b"HTTP/1.1 101 ") => {
                return Ok(dial::after(rest, stream));
            }
            Ok(Ok((head, _))) => {
                let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
                format!("`{}` to `{path}`", String::from_utf8_lossy(line))
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => return Err(Fault::Silent(PATIENCE.as_secs()).of(&self.address.peer()).into()),
        };
        let peer = self.address.peer();
        let ended = match program {
            Some(program) => program.end(&peer).await,
            None => None,
        };
        Err(ended
            .map_or_else(|| EngineError::Refused { address: self.address.text().into(), cause }, Into::into))
    }

    /// Runs a program in a container that runs; its standard input and output are the stream.
    pub async fn exec(&self, container: &str, words: &[&str]) -> Result<Box<dyn Stream>, EngineError> {
        let config = ExecConfig {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(words.iter().map(ToString::to_string).collect()),
            ..ExecConfig::default()
        };
        let failed = |error: &bollard::errors::Error| self.no_exec(container, words, error);
        let docker = self.api(PATIENCE);
        let created = docker.create_exec(container, config).await.map_err(|error| failed(&error))?;
        let options = StartExecOptions { output_capacity: Some(256 << 10), ..StartExecOptions::default() };
        let started = docker.start_exec(&created.id, Some(options)).await.map_err(|error| failed(&error))?;
        let StartExecResults::Attached { output, input } = started else {
            unreachable!("it was not asked to run detached");
        };
        let said = Arc::<Mutex<String>>::default();
        let output = {
            let said = said.clone();
            output.filter_map(move |part| std::future::ready(standard_output(part, &said)))
        };
        let mut output = StreamReader::new(Box::pin(output));
        // What is no BuildKit says so, as text and on either stream; the first that a server of HTTP/2 sends is a
        // frame of settings.
        let mut first = vec![0; 4096];
        let length = match timeout(PATIENCE, output.read(&mut first)).await {
            Ok(Ok(length)) => length,
            Ok(Err(error)) => return Err(self.not_run(container, words, error.to_string())),
            Err(_) => 0,
        };
        first.truncate(length);
        if first.get(3) != Some(&SETTINGS) {
            let said = said.lock().unwrap_or_else(PoisonError::into_inner);
            let text = format!("{said}{}", String::from_utf8_lossy(&first));
            let cause = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
            return Err(self.not_run(container, words, cause.trim().to_string()));
        }
        let reader = std::io::Cursor::new(first).chain(output);
        Ok(Box::new(tokio::io::join(reader, input)))
    }

    fn no_exec(&self, container: &str, words: &[&str], error: &bollard::errors::Error) -> EngineError {
        match error {
            bollard::errors::Error::DockerResponseServerError { status_code: 404, message }
                if message.contains("No such container") =>
            {
                EngineError::NoContainer { address: self.address.text().into(), name: container.into() }
            }
            bollard::errors::Error::DockerResponseServerError { message, .. } => {
                self.not_run(container, words, message.clone())
            }
            error => self.error(error),
        }
    }

    fn not_run(&self, container: &str, words: &[&str], cause: String) -> EngineError {
        let program = words.first().map(ToString::to_string).unwrap_or_default();
        EngineError::NoExec { address: self.address.text().into(), name: container.into(), program, cause }
    }
}

/// Keeps what goes to standard error aside.
fn standard_output(
    part: Result<LogOutput, bollard::errors::Error>,
    said: &Mutex<String>,
) -> Option<std::io::Result<Bytes>> {
    match part {
        Ok(LogOutput::StdErr { message }) => {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            if said.len() < LONGEST_HEAD {
                said.push_str(&String::from_utf8_lossy(&message));
            }
            None
        }
        Ok(part) => Some(Ok(part.into_bytes())),
        Err(error) => Some(Err(std::io::Error::other(error))),
    }
}

/// The head of an answer, and what has come after it.
async fn head(stream: &mut (impl Stream + ?Sized)) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut said = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        if let Some(end) = said.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let rest = said.split_off(end + 4);
            return Ok((said, rest));
        }
        let length = stream.read(&mut buffer).await?;
        if length == 0 || said.len() > LONGEST_HEAD {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "it closed the connection"));
        }
        said.extend(&buffer[..length]);
    }
}

/// One request on a connection of its own, as bollard does with sockets.
async fn send(
    address: EngineAddress,
    request: BollardRequest,
) -> Result<Response<Incoming>, bollard::errors::Error> {
    let carried = |error: DialError| bollard::errors::Error::from(std::io::Error::other(error));
    let (stream, program) = address.dial().await.map_err(carried)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection.with_upgrades());
    let (mut parts, body) = request.into_parts();
    parts.headers.insert(HOST, HeaderValue::from_static("docker"));
    if let Some(path) = parts.uri.path_and_query() {
        parts.uri = path.clone().into();
    }
    match sender.send_request(BollardRequest::from_parts(parts, body)).await {
        Ok(response) => Ok(response),
        Err(error) => {
            connection.abort();
            if let Some(program) = program
                && let Some(ended) = program.end(&address.peer()).await
            {
                return Err(carried(ended));
            }
            Err(error.into())
        }
    }
}

fn refused(address: &EngineAddress, error: &bollard::errors::Error) -> EngineError {
    if let bollard::errors::Error::IOError { err } = error
        && let Some(dialled) = err.get_ref().and_then(|inner| inner.downcast_ref::<DialError>())
    {
        return dialled.clone().into();
    }
    let cause = match error {
        bollard::errors::Error::DockerResponseServerError { message, .. } => message.clone(),
        bollard::errors::Error::RequestTimeoutError => {
            return Fault::Silent(PATIENCE.as_secs()).of(&address.peer()).into();
        }
        error => innermost(error),
    };
    EngineError::Refused { address: address.text().to_string(), cause }
}
