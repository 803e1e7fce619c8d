//! The real registry on loopback, read without the library, and seen through a proxy that notes requests.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use oci_spec::image::ImageIndex;
use serde_json::Value;

use super::image::{Image, sha256};
use super::surroundings::skip;

/// The registry, at its own address or at a proxy's.
pub struct Registry {
    /// `127.0.0.1:PORT`
    pub address: String,
    noted: Arc<Noted>,
}

/// What the proxy has seen, and what it is told to do.
#[derive(Default)]
struct Noted {
    requests: Mutex<Vec<String>>,
    /// How many requests are still let through, where not all are.
    left: Mutex<Option<usize>>,
    /// Requests that begin so are answered with this status, header lines and body.
    refused: Mutex<Option<(String, u16, String, String)>>,
}

pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Registry {
    /// The registry that `tests/services/start` started, behind a proxy of this test alone.
    pub fn of_this_run() -> Option<Self> {
        let Ok(registry) = std::env::var("MAB_TEST_REGISTRY") else {
            skip("what needs a registry: run scripts/test");
            return None;
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound").to_string();
        let noted = Arc::new(Noted::default());
        let shared = noted.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (registry, noted) = (registry.clone(), shared.clone());
                thread::spawn(move || forward(client, &registry, &noted));
            }
        });
        Some(Self { address, noted })
    }

    /// A repository's name that no other test uses.
    pub fn repository(&self, name: &str) -> String {
        let port = self.address.rsplit_once(':').expect("an address has a port").1;
        format!("{}/{}-{port}/{name}", self.address, std::process::id())
    }

    /// What was asked since the last time, as `METHOD /path`, in order.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.noted.requests.lock().expect("no test panicked with it"))
    }

    /// Only so many further requests are let through; connections of later ones end at once.
    pub fn cut_after(&self, requests: usize) {
        *self.noted.left.lock().expect("no test panicked with it") = Some(requests);
    }

    /// Everything is let through again.
    pub fn mend(&self) {
        *self.noted.left.lock().expect("no test panicked with it") = None;
        *self.noted.refused.lock().expect("no test panicked with it") = None;
    }

    /// Requests that begin with `part` (`PUT /v2/…`) are refused so.
    pub fn refuse(&self, part: &str, status: u16, body: &str) {
        self.answer(part, status, "", body);
    }

    /// The same with further header lines, each with its end.
    pub fn answer(&self, part: &str, status: u16, headers: &str, body: &str) {
        let refused = (part.to_string(), status, headers.to_string(), body.to_string());
        *self.noted.refused.lock().expect("no test panicked with it") = Some(refused);
    }

    /// `/v2/REPOSITORY`
    pub fn url_path(&self, repository: &str) -> String {
        format!("/v2/{}", self.path(repository))
    }

    pub fn get(&self, path: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("the registry answers");
        let accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json";
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\nAccept: {accept}\r\n\r\n", self.address)
            .expect("sent");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("the registry answers");
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an HTTP answer");
        let headers = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let status = headers.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status");
        Answer { status, headers, body: bytes[end + 4..].to_vec() }
    }

    /// The tags of a repository but for those of journals, in order of name; none if there is no such repository.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let mut tags = self.all_tags(repository);
        tags.retain(|tag| !tag.starts_with("mab."));
        tags
    }

    /// Those of journals alone.
    pub fn journals(&self, repository: &str) -> Vec<String> {
        let mut tags = self.all_tags(repository);
        tags.retain(|tag| tag.starts_with("mab."));
        tags
    }

    fn all_tags(&self, repository: &str) -> Vec<String> {
        let answer = self.get(&format!("/v2/{}/tags/list", self.path(repository)));
        if answer.status == 404 {
            return Vec::new();
        }
        let list: Value = serde_json::from_slice(&answer.body).expect("a list of tags");
        let names = list["tags"].as_array().cloned().unwrap_or_default();
        let mut tags: Vec<String> =
            names.iter().map(|name| name.as_str().expect("a tag is text").to_string()).collect();
        tags.sort();
        tags
    }

    /// The index behind a tag or digest, with its digest.
    #[track_caller]
    pub fn index(&self, repository: &str, tag: &str) -> (String, ImageIndex) {
        let answer = self.get(&format!("/v2/{}/manifests/{tag}", self.path(repository)));
        assert_eq!(answer.status, 200, "{repository}:{tag}: {}", answer.headers);
        let index = ImageIndex::from_reader(&answer.body[..]).expect("it is an image index");
        (sha256(&answer.body), index)
    }

    #[track_caller]
    pub fn image(&self, repository: &str, tag: &str, architecture: &str) -> Image {
        let (_, index) = self.index(repository, tag);
        let of_architecture = index.manifests().iter().find(|manifest| {
            manifest
                .platform()
                .as_ref()
                .is_some_and(|platform| platform.architecture().to_string() == architecture)
        });
        Image::read(of_architecture.expect("the index has the platform"), &|digest| {
            let manifest = self.get(&format!("/v2/{}/manifests/{digest}", self.path(repository)));
            let answer = if manifest.status == 200 {
                manifest
            } else {
                self.get(&format!("/v2/{}/blobs/{digest}", self.path(repository)))
            };
            assert_eq!((answer.status, sha256(&answer.body).as_str()), (200, digest));
            answer.body
        })
    }

    /// A repository's name without the registry's address.
    fn path<'a>(&self, repository: &'a str) -> &'a str {
        repository.strip_prefix(&self.address).expect("a repository of this registry").trim_start_matches('/')
    }
}

/// One request for each connection: its line is noted, everything else passes through.
fn forward(mut client: TcpStream, registry: &str, noted: &Noted) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match client.read(&mut byte) {
            // Who speaks TLS first learns at once that this is plain HTTP.
            Ok(1) if head.is_empty() && !byte[0].is_ascii_uppercase() => return,
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let (line, headers) = text.split_once("\r\n").expect("a head has an end");
    let request = line.trim_end_matches(" HTTP/1.1").trim_end_matches(" HTTP/1.0");
    noted.requests.lock().expect("no test panicked with it").push(request.to_string());
    if let Some(left) = noted.left.lock().expect("no test panicked with it").as_mut() {
        let Some(fewer) = left.checked_sub(1) else { return };
        *left = fewer;
    }
    let refused = noted.refused.lock().expect("no test panicked with it").clone();
    if let Some((_, status, headers, body)) = refused.filter(|(part, ..)| request.starts_with(part.as_str()))
    {
        let _ = write!(
            client,
            "HTTP/1.1 {status} x\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        // What the client still sends is read, so that it reads the answer.
        let _ = client.shutdown(Shutdown::Write);
        let _ = io::copy(&mut client, &mut io::sink());
        return;
    }
    let Ok(mut upstream) = TcpStream::connect(registry) else { return };
    if write!(upstream, "{line}\r\nConnection: close\r\n{headers}").is_err() {
        return;
    }
    let (Ok(mut from_client), Ok(mut to_registry)) = (client.try_clone(), upstream.try_clone()) else {
        return;
    };
    thread::spawn(move || io::copy(&mut from_client, &mut to_registry));
    let _ = io::copy(&mut upstream, &mut client);
    let _ = client.shutdown(Shutdown::Both);
}
