//! Servers that keep silent, and stores that are full.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use super::{SourceAuth, SourceError, SourceOptions, Sources, Stdin};
use crate::base::{HttpUrl, RemoteSource};
use crate::http::Retries;
use crate::store::Store;

/// A server that sends this to everybody and then keeps the connection open.
fn server(sends: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for mut client in listener.incoming().flatten() {
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(sends);
            open.push(client);
        }
    });
    format!("http://{address}/f")
}

async fn asked(url: &str) -> SourceError {
    let folder = tempfile::TempDir::new().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let retries = Retries { attempts: 2, first_pause: Duration::ZERO, ..Retries::default() };
    let stall = Duration::from_millis(200);
    let options = SourceOptions { retries, stall, ..SourceOptions::default() };
    let sources = Sources::new(store, options, Stdin::new(std::io::empty()));
    let source = RemoteSource::Http { url: HttpUrl::parse(url).unwrap(), checksum: None };
    sources.pin(&source, &SourceAuth::default()).await.unwrap_err()
}

#[tokio::test]
async fn silence_is_not_waited_for() {
    for sends in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"] {
        let error = asked(&server(sends)).await;
        assert!(
            matches!(&error, SourceError::Broken { cause, .. } if cause.starts_with("nothing came")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn more_than_there_is_room_for_is_not_begun() {
    let error = asked(&server(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000\r\n\r\n")).await;
    assert!(matches!(error, SourceError::Full { .. }), "{error}");
    assert!(error.to_string().contains("is larger than the space that is left"), "{error}");
}
