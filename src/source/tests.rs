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
    server_of(&[sends])
}

/// One that sends each of these to one, and the last to all who come after.
fn server_of(answers: &[&'static [u8]]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers = answers.to_vec();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for (place, mut client) in listener.incoming().flatten().enumerate() {
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(answers[place.min(answers.len() - 1)]);
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

#[tokio::test]
async fn a_file_has_its_own_time_whatever_its_url_is_now() {
    let url = server_of(&[
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nLast-Modified: Sun, 06 Nov 1994 08:49:47 GMT\r\nContent-Length: 3\r\n\r\none",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nLast-Modified: Sun, 06 Nov 2011 08:49:47 GMT\r\nContent-Length: 3\r\n\r\ntwo",
    ]);
    let folder = tempfile::TempDir::new().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let auth = SourceAuth::default();
    let source = RemoteSource::Http { url: HttpUrl::parse(&url).unwrap(), checksum: None };
    let mut pinned = Vec::new();
    for _ in 0..2 {
        let sources = Sources::new(store.clone(), SourceOptions::default(), Stdin::new(std::io::empty()));
        pinned.push((sources.pin(&source, &auth).await.unwrap(), sources));
    }
    for ((pinned, sources), expected) in pinned.iter().zip([784_111_787, 1_320_569_387]) {
        assert_eq!(sources.time(pinned, &auth).await.unwrap(), Some(expected));
    }
}

/// What `url` is, and its file's text.
async fn fetched(url: &str) -> String {
    let folder = tempfile::TempDir::new().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let retries = Retries { attempts: 3, first_pause: Duration::ZERO, ..Retries::default() };
    let options = SourceOptions { retries, ..SourceOptions::default() };
    let sources = Sources::new(store, options, Stdin::new(std::io::empty()));
    let source = RemoteSource::Http { url: HttpUrl::parse(url).unwrap(), checksum: None };
    let auth = SourceAuth::default();
    let pinned = sources.pin(&source, &auth).await.unwrap();
    std::fs::read_to_string(sources.fetch(&pinned, &auth).await.unwrap().join("f")).unwrap()
}

/// Half of "first", and the connection ends.
const CUT: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"1\"\r\nContent-Length: 5\r\n\r\nfir";

/// As [`server_of`], but every connection ends after its answer.
fn closing(answers: &[&'static [u8]]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers = answers.to_vec();
    std::thread::spawn(move || {
        for (mut client, answer) in listener.incoming().flatten().zip(answers) {
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(answer);
        }
    });
    format!("http://{address}/f")
}

#[tokio::test]
async fn what_goes_on_is_the_same_file_or_comes_anew() {
    let check = async |then: &[&'static [u8]], expected: &str| {
        assert_eq!(fetched(&closing(&[&[CUT], then].concat())).await, expected);
    };
    const REST: &[u8] =
        b"HTTP/1.1 206 x\r\nConnection: close\r\nContent-Range: bytes 3-4/5\r\nContent-Length: 2\r\n\r\nst";
    const OTHER: &[u8] =
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nETag: \"2\"\r\nContent-Length: 6\r\n\r\nsecond";
    check(&[REST], "first").await;
    check(&[OTHER], "second").await;
    // A part of another file, another part, and none are not taken; then the whole is asked for.
    let foreign = b"HTTP/1.1 206 x\r\nConnection: close\r\nETag: \"2\"\r\nContent-Range: bytes 3-5/6\r\nContent-Length: 3\r\n\r\nond";
    let elsewhere =
        b"HTTP/1.1 206 x\r\nConnection: close\r\nContent-Range: bytes 2-4/5\r\nContent-Length: 3\r\n\r\nrst";
    let refused = b"HTTP/1.1 416 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    for odd in [&foreign[..], elsewhere, refused] {
        check(&[odd, OTHER], "second").await;
    }
}
