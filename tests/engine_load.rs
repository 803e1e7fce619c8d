//! Sending an archive to a Docker Engine, against a socket that speaks its API. Real Engines are tests/cli/loading.rs's.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not what they call")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use mab::docker::{DockerEngine, EngineAddress, EngineError};

/// An engine that answers a load with `answer`, and hands out what it received.
fn engine(socket: &Path, answer: &'static str) -> Receiver<Vec<u8>> {
    let listener = UnixListener::bind(socket).unwrap();
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let head = read_head(&mut stream);
            if head.starts_with("POST") && head.contains("/images/load?") {
                send.send(read_chunks(&mut stream)).unwrap();
                respond(stream.get_mut(), answer);
            } else if head.contains("/version") {
                respond(stream.get_mut(), r#"{"ApiVersion":"1.41"}"#);
            }
        }
    });
    receive
}

fn read_head(stream: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {}
    head
}

fn read_chunks(stream: &mut impl BufRead) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let mut chunk = vec![0; usize::from_str_radix(line.trim(), 16).unwrap() + 2];
        stream.read_exact(&mut chunk).unwrap();
        if chunk.len() == 2 {
            return body;
        }
        body.extend_from_slice(&chunk[..chunk.len() - 2]);
    }
}

fn respond(stream: &mut UnixStream, body: &str) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
}

fn address(socket: &Path) -> EngineAddress {
    EngineAddress::parse(&format!("unix://{}", socket.display()), None).unwrap()
}

#[tokio::test]
async fn the_archive_arrives_and_its_images_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let received = engine(
        &socket,
        "{\"stream\":\"Loaded image: app:1\\n\"}\r\n{\"stream\":\"Loaded image ID: sha256:12\\n\"}\r\n",
    );
    let archive: Vec<u8> = (0..1_000_000u32).map(|number| number as u8).collect();
    let engine = DockerEngine::connect(&address(&socket)).await.unwrap();
    let (told, heard) = channel();
    let progress = move |sent| told.send(sent).unwrap();
    let images = engine.load(std::io::Cursor::new(archive.clone()), progress).await.unwrap();
    assert_eq!(images, ["app:1", "sha256:12"]);
    assert_eq!(heard.into_iter().last(), Some(1_000_000));
    assert!(received.recv().unwrap() == archive, "the engine received other bytes");
}

#[tokio::test]
async fn what_the_engine_refuses_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let _received = engine(&socket, r#"{"errorDetail":{"message":"no space left"},"error":"no space left"}"#);
    let engine = DockerEngine::connect(&address(&socket)).await.unwrap();
    let refused = engine.load(&b"archive"[..], |_| ()).await;
    assert!(
        matches!(&refused, Err(EngineError::Refused { cause, .. }) if cause.contains("no space left")),
        "{refused:?}"
    );
}
