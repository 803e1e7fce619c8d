//! Sending an archive to a Docker Engine, against a socket that speaks its API. Real Engines are tests/cli/loading.rs's.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not what they call")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, channel};

use mab::docker::{DockerEngine, EngineAddress, EngineError};
use serde_json::Value;

/// An engine that answers a load with `answer`, and hands out what it received.
fn engine(socket: &Path, answer: &'static str) -> Receiver<Vec<u8>> {
    engine_with(socket, vec![answer], "{}".to_string())
}

/// One that has an image, of which it tells `image`, and answers one load after the other, the last answer again
/// and again.
fn engine_with(socket: &Path, answers: Vec<&'static str>, image: String) -> Receiver<Vec<u8>> {
    let listener = UnixListener::bind(socket).unwrap();
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let last = *answers.last().unwrap();
        let mut answers = answers.into_iter();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let head = read_head(&mut stream);
            let path = head.split(' ').nth(1).unwrap_or_default().to_string();
            if head.starts_with("POST") && path.contains("/images/load?") {
                send.send(read_chunks(&mut stream)).unwrap();
                respond(stream.get_mut(), answers.next().unwrap_or(last));
            } else if path.contains("/version") {
                respond(stream.get_mut(), r#"{"ApiVersion":"1.41","Os":"linux","Arch":"amd64"}"#);
            } else if path.contains("/images/json") {
                let listed = r#"[{"Id":"it","ParentId":"","RepoTags":[],"RepoDigests":[],"Created":0,"Size":0,"SharedSize":0,"Labels":{},"Containers":0}]"#;
                respond(stream.get_mut(), listed);
            } else if path.contains("/images/") {
                respond(stream.get_mut(), &image);
            } else if path.contains("/info") {
                respond(stream.get_mut(), r#"{"ServerVersion":"20.10.0","DriverStatus":[]}"#);
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

fn bake(folder: &Path, host: &str, output: &str) -> Output {
    let mut mab = Command::new(env!("CARGO_BIN_EXE_mab"));
    mab.args(["bake", "app", "--store"]).arg(folder.join("store")).args(["-o", output]);
    mab.current_dir(folder).env("DOCKER_HOST", host).output().unwrap()
}

/// The digests of an image's uncompressed layers, from a layout.
fn diff_ids(layout: &Path) -> Value {
    let blob = |descriptor: &Value| -> Value {
        let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
        serde_json::from_slice(&std::fs::read(layout.join("blobs").join(digest)).unwrap()).unwrap()
    };
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    blob(&blob(&index["manifests"][0])["config"])["rootfs"]["diff_ids"].clone()
}

#[test]
fn layers_that_an_engine_has_lost_meanwhile_are_sent_after_all() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = "version = 1\n[target.app]\nplatforms = [\"linux/amd64\"]\ntags = [\"app:1\"]\n\
                dockerfile-inline = \"FROM scratch\\nCOPY large /\\n\"\n";
    std::fs::write(folder.join("multiarch.toml"), file).unwrap();
    std::fs::write(folder.join("large"), vec![1; 100_000]).unwrap();
    let written =
        bake(folder, "unix:///nowhere.sock", "type=oci,tar=false,compression=uncompressed,dest=layout");
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let socket = folder.join("docker.sock");
    let image = serde_json::json!({"Id": "it", "RootFS": {"Type": "layers", "Layers": diff_ids(&folder.join("layout"))}});
    let answers = vec![
        r#"{"errorDetail":{"message":"no such file"},"error":"no such file"}"#,
        "{\"stream\":\"Loaded image: app:1\\n\"}\r\n",
    ];
    let received = engine_with(&socket, answers, image.to_string());
    let host = format!("unix://{}", socket.display());
    let loaded = bake(folder, &host, "type=docker,compression=uncompressed");
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    let sent: Vec<usize> = received.try_iter().map(|archive| archive.len()).collect();
    assert!(sent.len() == 2 && sent[0] < 100_000 && sent[1] > 100_000, "{sent:?}");
}
