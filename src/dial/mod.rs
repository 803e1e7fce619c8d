//! Streams of bytes to somebody else: sockets, TLS, and programs that stand for whom they reach. It does not know what
//! is spoken over them.

mod error;
mod program;
pub mod ssh;
mod tls;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::model::Tls;

pub use error::{DialError, Fault};
pub use program::{Program, spawn};

/// How long anybody may take to answer what is no work.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How long a server's opinion of a certificate is waited for.
const VERDICT: Duration = Duration::from_secs(2);

/// A connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Who speaks first once a connection with TLS stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// As servers of HTTP/2 do.
    Server,
    Client,
}

/// Connects to a socket of this machine.
pub async fn unix(peer: &str, path: &Path) -> Result<Box<dyn Stream>, DialError> {
    let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Fault::NoSocket(path.to_path_buf()).of(peer),
        _ => unreachable(peer, &error),
    })?;
    Ok(Box::new(stream))
}

/// Connects over a network, with TLS where there is some.
pub async fn tcp(
    peer: &str,
    host: &str,
    port: u16,
    tls: Option<(&Tls, First)>,
) -> Result<Box<dyn Stream>, DialError> {
    let stream = TcpStream::connect((host, port)).await.map_err(|error| unreachable(peer, &error))?;
    // Small messages go both ways; none should wait for another.
    stream.set_nodelay(true).map_err(|error| unreachable(peer, &error))?;
    match tls {
        None => Ok(Box::new(stream)),
        Some((tls, first)) => secure(peer, host, stream, tls, first).await,
    }
}

async fn secure(
    peer: &str,
    host: &str,
    stream: TcpStream,
    tls: &Tls,
    first: First,
) -> Result<Box<dyn Stream>, DialError> {
    let config = tls::client(peer, tls, first)?;
    let name = ServerName::try_from(host.to_string())
        .map_err(|_| Fault::Unreachable(format!("`{host}` is no name of a host")).of(peer))?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let mut stream = handshake.map_err(|error| tls::refused(peer, &error))?;
    if first == First::Client {
        return Ok(Box::new(stream));
    }
    // With TLS 1.3 a server tells only after the handshake that it does not like the client, and what it says is lost
    // when more comes in at that moment. So whoever speaks first is listened to.
    let mut said = [0; 4096];
    let length = match timeout(VERDICT, stream.read(&mut said)).await {
        Err(_) => 0,
        Ok(Err(error)) => return Err(tls::refused(peer, &error)),
        Ok(Ok(0)) => return Err(tls::closed(peer)),
        Ok(Ok(length)) => length,
    };
    Ok(after(said[..length].to_vec(), stream))
}

/// A stream that begins with what was read of it already.
pub fn after(said: Vec<u8>, stream: impl Stream + 'static) -> Box<dyn Stream> {
    let (reader, writer) = tokio::io::split(stream);
    Box::new(tokio::io::join(io::Cursor::new(said).chain(reader), writer))
}

fn unreachable(peer: &str, error: &io::Error) -> DialError {
    let fault = match error.kind() {
        io::ErrorKind::ConnectionRefused => Fault::Refused,
        io::ErrorKind::PermissionDenied => Fault::NotPermitted,
        _ => Fault::Unreachable(error.to_string()),
    };
    fault.of(peer)
}
