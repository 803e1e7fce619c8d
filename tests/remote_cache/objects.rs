//! A server of objects in memory that speaks what real stores speak, as far as caches need it: S3, the XML and
//! JSON interfaces of Google's, Azure's block blobs, WebDAV. Believes every signature.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use mab::base::Digest;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::proxy::{Message, read_message};

#[derive(Clone, Default)]
pub struct ObjectServer {
    pub address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub struct State {
    pub objects: BTreeMap<String, Vec<u8>>,
    /// Parts of what is being uploaded, by the upload and the part's name.
    pub parts: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// WebDAV's folders, with their slashes.
    folders: BTreeSet<String>,
    /// Entries of GitHub's cache service, in the order in which they were finished.
    pub entries: Vec<String>,
}

/// A request taken apart.
pub struct Request {
    pub method: String,
    /// Decoded, with its slash.
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub head: String,
    pub body: Vec<u8>,
}

pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl ObjectServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = Self { address, state: Arc::default() };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(client).await });
            }
        });
        server
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn serve(&self, client: TcpStream) -> Option<()> {
        let mut client = BufReader::new(client);
        let request = Request::parse(read_message(&mut client, true).await?)?;
        let is_head = request.method == "HEAD";
        let answer = self.answer(&request);
        let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", answer.status);
        for (name, value) in answer.headers.iter().filter(|(_, value)| !value.is_empty()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", answer.body.len()));
        client.write_all(head.as_bytes()).await.ok()?;
        if !is_head {
            client.write_all(&answer.body).await.ok()?;
        }
        client.flush().await.ok()
    }

    fn answer(&self, request: &Request) -> Answer {
        if let Some(answer) = self.service_answer(request) {
            return answer;
        }
        if let Some(path) = request.path.strip_prefix("/storage/v1/b/") {
            let path = format!("/{}", path.replacen("/o/", "/", 1));
            return if request.query.contains_key("alt") {
                self.read(request, &path)
            } else {
                self.describe(&path)
            };
        }
        if let Some(bucket) = request.path.strip_prefix("/upload/storage/v1/b/") {
            let path = format!("/{}/{}", bucket.trim_end_matches("/o"), request.query["name"]);
            self.state().objects.insert(path.clone(), request.body.clone());
            return self.describe(&path);
        }
        match request.method.as_str() {
            "GET" | "HEAD" => self.read(request, &request.path),
            "PUT" => self.put(request),
            "POST" => self.multipart(request),
            "MKCOL" => self.make_folder(&request.path),
            "DELETE" => answer(204, ""),
            _ => answer(400, ""),
        }
    }

    /// Google's metadata.
    fn describe(&self, path: &str) -> Answer {
        let Some(length) = self.state().objects.get(path).map(Vec::len) else { return missing() };
        let name = path.splitn(3, '/').nth(2).unwrap();
        let body = serde_json::json!({
            "name": name, "size": length.to_string(), "updated": "2026-01-01T00:00:00.000Z", "etag": "x",
            "generation": "1", "md5Hash": "",
        });
        answer(200, &body.to_string())
    }

    fn read(&self, request: &Request, path: &str) -> Answer {
        let state = self.state();
        let Some(bytes) = state.objects.get(path) else { return missing() };
        let range = request.header("range").or_else(|| request.header("x-ms-range"));
        let range = range.map(|range| {
            let (start, end) = range.trim_start_matches("bytes=").split_once('-').unwrap();
            (start.parse::<usize>().unwrap(), end.parse::<usize>().map_or(bytes.len(), |end| end + 1))
        });
        let headers = |length: usize| {
            vec![
                ("etag", "\"x\"".to_string()),
                ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT".to_string()),
                ("content-type", "application/octet-stream".to_string()),
                ("x-length", length.to_string()),
            ]
        };
        match range {
            None => Answer { status: 200, headers: headers(bytes.len()), body: bytes.clone() },
            Some((start, _)) if start >= bytes.len() => answer(416, ""),
            Some((start, end)) => {
                let end = end.min(bytes.len());
                let mut headers = headers(end - start);
                headers.push(("content-range", format!("bytes {start}-{}/{}", end - 1, bytes.len())));
                Answer { status: 206, headers, body: bytes[start..end].to_vec() }
            }
        }
    }

    fn put(&self, request: &Request) -> Answer {
        let (query, path) = (&request.query, &request.path);
        let is_webdav = request.header("authorization").is_some_and(|value| value.starts_with("Basic"));
        if is_webdav && !self.has_folder(path) {
            return answer(409, "");
        }
        let mut state = self.state();
        if let Some(part) = query.get("blockid").or(query.get("partNumber")) {
            let upload = query.get("uploadId").unwrap_or(path);
            state.parts.entry(upload.clone()).or_default().insert(part.clone(), request.body.clone());
        } else if query.get("comp").is_some_and(|comp| comp == "blocklist") {
            let text = String::from_utf8_lossy(&request.body).into_owned();
            let parts = state.parts.remove(path).unwrap_or_default();
            let names = text.split('<').filter_map(|piece| piece.split_once('>'));
            let listed = names.filter(|(name, _)| ["Latest", "Uncommitted"].contains(name));
            let bytes: Vec<u8> = listed.flat_map(|(_, id)| parts[id].clone()).collect();
            state.objects.insert(path.clone(), bytes);
        } else {
            state.objects.insert(path.clone(), request.body.clone());
        }
        let is_azure = query.contains_key("comp") || request.header("x-ms-blob-type").is_some();
        let headers = vec![("etag", "\"x\"".to_string())];
        Answer { status: if is_azure || is_webdav { 201 } else { 200 }, headers, body: Vec::new() }
    }

    fn multipart(&self, request: &Request) -> Answer {
        let mut state = self.state();
        if request.query.contains_key("uploads") {
            let id = Digest::of(&request.path).short();
            return answer(
                200,
                &format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ),
            );
        }
        let Some(parts) = request.query.get("uploadId").and_then(|id| state.parts.remove(id)) else {
            return answer(400, "");
        };
        let mut parts: Vec<(u32, Vec<u8>)> =
            parts.into_iter().map(|(number, bytes)| (number.parse().unwrap(), bytes)).collect();
        parts.sort();
        let bytes = parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
        state.objects.insert(request.path.clone(), bytes);
        answer(
            200,
            "<CompleteMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><Location>l</Location>\
             <ETag>\"x\"</ETag></CompleteMultipartUploadResult>",
        )
    }

    fn make_folder(&self, path: &str) -> Answer {
        match self.has_folder(path.trim_end_matches('/')) {
            true => answer(if self.state().folders.insert(path.to_string()) { 201 } else { 405 }, ""),
            false => answer(409, ""),
        }
    }

    /// Whether a folder stands around the path.
    fn has_folder(&self, path: &str) -> bool {
        let (folder, _) = path.rsplit_once('/').unwrap();
        folder.is_empty() || self.state().folders.contains(&format!("{folder}/"))
    }
}

pub fn answer(status: u16, body: &str) -> Answer {
    Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
}

fn missing() -> Answer {
    let headers = vec![("x-ms-error-code", "BlobNotFound".to_string())];
    let body = b"<Error><Code>NoSuchKey</Code><Message>not there</Message></Error>".to_vec();
    Answer { status: 404, headers, body }
}

impl Request {
    fn parse(message: Message) -> Option<Self> {
        let mut words = message.head.lines().next()?.split(' ');
        let (method, target) = (words.next()?.to_string(), words.next()?.to_string());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let query = pairs.map(|(name, value)| (name.to_string(), decoded(value))).collect();
        Some(Self { method, path: decoded(path), query, head: message.head, body: message.body })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let hex = String::from_utf8(vec![*high, *low]).unwrap();
                bytes.push(u8::from_str_radix(&hex, 16).unwrap());
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}
