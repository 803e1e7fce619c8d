//! Where a worker is, and how a connection to it is made: any stream of bytes will do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::WorkerError;
use super::tls;
use crate::model::Worker;

/// How long a worker may take to answer anything that is no work.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a server's opinion of a certificate is waited for.
const VERDICT: Duration = Duration::from_secs(2);

/// A connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An address as it is written.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    Unix(PathBuf),
    Tcp { host: String, port: u16 },
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix://") {
            return Path::new(path).is_absolute().then(|| Self::Unix(path.into()));
        }
        let (host, port) = text.strip_prefix("tcp://")?.trim_end_matches('/').rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(host) => host,
            None if host.contains([':', '/', '@']) => return None,
            None => host,
        };
        let port = port.parse().ok()?;
        (!host.is_empty()).then(|| Self::Tcp { host: host.to_string(), port })
    }
}

/// Whether it can be an address at all.
pub fn check(worker: &Worker) -> Result<(), WorkerError> {
    let address = Address::parse(&worker.endpoint);
    address.map(drop).ok_or_else(|| WorkerError::Address { endpoint: worker.endpoint.clone() })
}

/// Connects, with TLS where the worker has it.
pub(super) async fn dial(worker: &Worker) -> Result<Box<dyn Stream>, WorkerError> {
    let endpoint = || worker.endpoint.clone();
    let address =
        Address::parse(&worker.endpoint).ok_or_else(|| WorkerError::Address { endpoint: endpoint() })?;
    match timeout(PATIENCE, connect(worker, &address)).await {
        Ok(connected) => connected,
        Err(_) => Err(WorkerError::Silent { endpoint: endpoint(), seconds: PATIENCE.as_secs() }),
    }
}

async fn connect(worker: &Worker, address: &Address) -> Result<Box<dyn Stream>, WorkerError> {
    match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => WorkerError::NoSocket { path: path.clone() },
                _ => unreachable(worker, &error),
            })?;
            Ok(Box::new(stream))
        }
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port));
            let stream = stream.await.map_err(|error| unreachable(worker, &error))?;
            // Small messages go both ways; none should wait for another.
            stream.set_nodelay(true).map_err(|error| unreachable(worker, &error))?;
            match &worker.tls {
                None => Ok(Box::new(stream)),
                Some(tls) => secure(worker, tls, host, stream).await,
            }
        }
    }
}

async fn secure(
    worker: &Worker,
    tls: &crate::model::Tls,
    host: &str,
    stream: TcpStream,
) -> Result<Box<dyn Stream>, WorkerError> {
    let endpoint = &worker.endpoint;
    let config = tls::client(endpoint, tls)?;
    let name = ServerName::try_from(host.to_string())
        .map_err(|_| WorkerError::Address { endpoint: endpoint.clone() })?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let mut stream = handshake.map_err(|error| tls::refused(endpoint, &error))?;
    // With TLS 1.3 a server tells only after the handshake that it does not like the client, and what it says is lost
    // when more comes in at that moment. HTTP/2 servers speak first, so they are listened to.
    let mut first = [0; 4096];
    let length = match timeout(VERDICT, stream.read(&mut first)).await {
        Err(_) => 0,
        Ok(Err(error)) => return Err(tls::refused(endpoint, &error)),
        Ok(Ok(0)) => return Err(tls::closed(endpoint)),
        Ok(Ok(length)) => length,
    };
    let (reader, writer) = tokio::io::split(stream);
    let reader = io::Cursor::new(first[..length].to_vec()).chain(reader);
    Ok(Box::new(tokio::io::join(reader, writer)))
}

fn unreachable(worker: &Worker, error: &io::Error) -> WorkerError {
    let endpoint = worker.endpoint.clone();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => WorkerError::Refused { endpoint },
        io::ErrorKind::PermissionDenied => WorkerError::NotPermitted { endpoint },
        _ => WorkerError::Unreachable { endpoint, cause: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let tcp = |host: &str, port| Some(Address::Tcp { host: host.to_string(), port });
        for (text, expected) in [
            (
                "unix:///run/buildkit/buildkitd.sock",
                Some(Address::Unix("/run/buildkit/buildkitd.sock".into())),
            ),
            ("unix://relative", None),
            ("tcp://builder.example.com:1234", tcp("builder.example.com", 1234)),
            ("tcp://10.0.0.1:1234/", tcp("10.0.0.1", 1234)),
            ("tcp://[::1]:1234", tcp("::1", 1234)),
            ("tcp://::1:1234", None),
            ("tcp://builder", None),
            ("tcp://:1234", None),
            ("tcp://user@builder:1234", None),
            ("tcp://builder:port", None),
            ("http://builder:1234", None),
            ("", None),
        ] {
            assert_eq!(Address::parse(text), expected, "{text}");
        }
    }
}
