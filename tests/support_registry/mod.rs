//! A registry of one's own: the distribution protocol over real sockets, with faults on demand.
//!
//! Keeps blobs and manifests in memory, logs every request, and answers the first request that fits a planned
//! fault with that fault.

pub mod docker;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use mab::base::{Digest, Reference};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What goes wrong instead of the real answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Status, header lines and body.
    Answer(u16, &'static [(&'static str, &'static str)], &'static str),
    /// A redirect to a whole URL.
    Redirect(String),
    /// The real answer, its body cut after so many bytes.
    Cut(usize),
    /// The real answer with its first byte changed.
    Corrupt,
    /// The real answer of the whole, whatever range was asked for.
    IgnoreRange,
    /// The real answer, after every token that was issued became worthless.
    Revoke,
    /// The real work is done, but the answer never arrives.
    Lost,
    /// The real answer, a byte at a time with so long a pause between them.
    Trickle(Duration),
    /// The real answer to a manifest that is put, which is gone a moment later with the blobs that it names.
    Unkept,
    /// So many bytes of the request's body are received, then the connection ends.
    CutBody(usize),
}

/// Whom the registry lets in.
#[derive(Clone, Debug, Default)]
pub enum Access {
    #[default]
    Everybody,
    Basic(&'static str),
    /// Bearer tokens from `/token`, for anybody or for the holder of `name:password`.
    Token(Option<&'static str>),
    /// A challenge as given, which nothing answers.
    Challenge(&'static str),
}

/// The type of the first record of a TLS connection.
const TLS_HANDSHAKE: u8 = 22;

#[derive(Default)]
struct State {
    blobs: BTreeMap<(String, Digest), Vec<u8>>,
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    faults: Vec<(&'static str, &'static str, Fault)>,
    requests: Vec<String>,
    authorizations: Vec<Option<String>>,
    access: Access,
    token: u32,
    refuses_mounts: bool,
    /// Status of an answer to manifests that come without a tag.
    refuses_digests: Option<u16>,
    /// A manifest goes with its last tag.
    collects: bool,
    /// It tells what has a manifest as its subject.
    knows_referrers: bool,
    /// What an upload holds that was cut, unless such are forgotten.
    begun: Vec<u8>,
    forgets_uploads: bool,
    received: usize,
    greetings: usize,
    /// How often a manifest was not told of, since who asked knew it.
    not_modified: usize,
}

#[derive(Clone)]
pub struct FaultyRegistry {
    address: String,
    state: Arc<Mutex<State>>,
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl FaultyRegistry {
    pub async fn start(access: Access) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State { access, ..State::default() }));
        let registry = Self { address, state };
        let serving = registry.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(stream).await });
            }
        });
        registry
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.address).parse().unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The first request of this method whose path contains `part` fails so; planned once per failure.
    pub fn plan(&self, method: &'static str, part: &'static str, fault: Fault) {
        self.state().faults.push((method, part, fault));
    }

    pub fn refuse_mounts(&self) {
        self.state().refuses_mounts = true;
    }

    /// Manifests have to come with a tag.
    pub fn refuse_digests(&self, status: u16) {
        self.state().refuses_digests = Some(status);
    }

    /// A manifest goes with its last tag.
    pub fn collect(&self) {
        self.state().collects = true;
    }

    /// It has the referrers API.
    pub fn know_referrers(&self) {
        self.state().knows_referrers = true;
    }

    /// What is cut is gone.
    pub fn forget_uploads(&self) {
        self.state().forgets_uploads = true;
    }

    /// Bytes of bodies that were received.
    pub fn received(&self) -> usize {
        self.state().received
    }

    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.state().blobs.insert((repository.into(), digest), bytes.into());
        digest
    }

    pub fn lose_blob(&self, repository: &str, digest: Digest) {
        self.state().blobs.remove(&(repository.to_string(), digest));
    }

    pub fn put_manifest(&self, repository: &str, name: &str, media_type: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        for key in [name.to_string(), digest.to_string()] {
            self.state().manifests.insert((repository.into(), key), (media_type.into(), bytes.into()));
        }
        digest
    }

    pub fn blob(&self, repository: &str, digest: Digest) -> Option<Vec<u8>> {
        self.state().blobs.get(&(repository.to_string(), digest)).cloned()
    }

    pub fn tag(&self, repository: &str, tag: &str) -> Option<Digest> {
        let state = self.state();
        state.manifests.get(&(repository.to_string(), tag.to_string())).map(|(_, bytes)| Digest::of(bytes))
    }

    /// `METHOD path` of every request so far that contains `part`.
    pub fn requests(&self, part: &str) -> Vec<String> {
        self.state().requests.iter().filter(|line| line.contains(part)).cloned().collect()
    }

    /// How many clients tried TLS.
    pub fn greetings(&self) -> usize {
        self.state().greetings
    }

    pub fn not_modified(&self) -> usize {
        self.state().not_modified
    }

    pub fn authorizations(&self) -> Vec<Option<String>> {
        self.state().authorizations.clone()
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        if stream.fill_buf().await.is_ok_and(|bytes| bytes.first() == Some(&TLS_HANDSHAKE)) {
            self.state().greetings += 1;
            return;
        }
        while let Some(mut request) = read_head(&mut stream).await {
            let fault = self.note(&request);
            if let Some(Fault::CutBody(length)) = fault {
                request.body.truncate(length);
            }
            if stream.read_exact(&mut request.body).await.is_err() {
                return;
            }
            self.state().received += request.body.len();
            if let Some(Fault::CutBody(_)) = fault {
                if !self.state().forgets_uploads {
                    self.state().begun.extend(request.body);
                }
                return;
            }
            if let Some(Fault::Revoke) = fault {
                self.state().token += 1;
            }
            let mut answer = self.answer(&request, &fault);
            let mut cut = None;
            match fault {
                Some(Fault::Cut(length)) => cut = Some(length),
                Some(Fault::Trickle(pause)) => return trickle(&mut stream, &answer, pause).await,
                Some(Fault::Corrupt) => answer.body[0] ^= 1,
                Some(Fault::Lost) => return,
                Some(Fault::Unkept) => self.lose(&request),
                _ => {}
            }
            if write_answer(&mut stream, &request, &answer, cut).await.is_none() {
                return;
            }
        }
    }

    fn note(&self, request: &Request) -> Option<Fault> {
        let mut state = self.state();
        let query: Vec<String> =
            request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        state.requests.push(format!("{} {}{mark}{}", request.method, request.path, query.join("&")));
        state.authorizations.push(request.headers.get("authorization").cloned());
        let fits = |(method, part, _): &(&str, &str, Fault)| {
            *method == request.method && request.path.contains(part)
        };
        let place = state.faults.iter().position(fits)?;
        Some(state.faults.remove(place).2)
    }

    fn answer(&self, request: &Request, fault: &Option<Fault>) -> Answer {
        match fault {
            Some(Fault::Answer(status, headers, body)) => {
                let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string()));
                return Answer { status: *status, headers: headers.collect(), body: body.as_bytes().into() };
            }
            Some(Fault::Redirect(url)) => return answer(307, &[("location", url)], ""),
            _ => {}
        }
        if request.path == "/token" {
            return self.issue(request);
        }
        if let Some(refusal) = self.refusal(request) {
            return refusal;
        }
        let Some(path) = request.path.strip_prefix("/v2/").filter(|path| !path.is_empty()) else {
            return answer(200, &[], "{}");
        };
        if let Some((repository, place)) = path.split_once("/blobs/uploads/") {
            return self.upload(request, repository, place);
        }
        if let Some((repository, digest)) = path.split_once("/blobs/") {
            return self.blob_answer(request, repository, digest, matches!(fault, Some(Fault::IgnoreRange)));
        }
        match path.split_once("/manifests/") {
            Some((_, name)) if request.method == "PUT" && name.contains(':') && self.is_refused() => {
                let status = self.state().refuses_digests.expect("it is refused");
                answer(status, &[], r#"{"errors":[{"code":"TAG_INVALID","message":"a tag is needed"}]}"#)
            }
            Some((repository, name)) if request.method == "DELETE" => self.untag(repository, name),
            Some((repository, name)) if request.method == "PUT" => {
                let media_type = &request.headers["content-type"];
                let digest = self.put_manifest(repository, name, media_type, &request.body);
                answer(201, &[("docker-content-digest", &digest.to_string())], "")
            }
            Some((repository, name)) => self.manifest_answer(request, repository, name),
            None if self.state().knows_referrers && path.contains("/referrers/") => {
                let (repository, subject) = path.split_once("/referrers/").expect("it was just found");
                self.referrers_answer(repository, subject)
            }
            None => self.tags_answer(request, path.trim_end_matches("/tags/list")),
        }
    }

    fn lose(&self, request: &Request) {
        let (repository, _) =
            request.path["/v2/".len()..].split_once("/manifests/").expect("it is a manifest");
        let manifest: serde_json::Value = serde_json::from_slice(&request.body).expect("it is JSON");
        let layers = manifest["layers"].as_array().into_iter().flatten();
        let blobs =
            layers.chain([&manifest["config"]]).filter_map(|blob| blob["digest"].as_str()?.parse().ok());
        let mut state = self.state();
        for digest in blobs {
            state.blobs.remove(&(repository.to_string(), digest));
        }
        state.manifests.remove(&(repository.to_string(), Digest::of(&request.body).to_string()));
    }

    /// What has this digest as its subject (distribution-spec 1.1, "Listing Referrers").
    fn referrers_answer(&self, repository: &str, subject: &str) -> Answer {
        let state = self.state();
        let digests =
            state.manifests.iter().filter(|((known, name), _)| known == repository && name.contains(':'));
        let entries = digests.filter_map(|((_, name), (media_type, bytes))| {
            let manifest: serde_json::Value = serde_json::from_slice(bytes).ok()?;
            (manifest["subject"]["digest"] == subject).then(|| {
                serde_json::json!({
                    "mediaType": media_type, "digest": name, "size": bytes.len(),
                    "artifactType": manifest["artifactType"],
                })
            })
        });
        let entries: Vec<serde_json::Value> = entries.collect();
        let kind = "application/vnd.oci.image.index.v1+json";
        let body = serde_json::json!({ "schemaVersion": 2, "mediaType": kind, "manifests": entries });
        answer(200, &[("content-type", kind)], &body.to_string())
    }

    fn is_refused(&self) -> bool {
        self.state().refuses_digests.is_some()
    }

    fn untag(&self, repository: &str, tag: &str) -> Answer {
        let mut state = self.state();
        let Some((_, bytes)) = state.manifests.remove(&(repository.into(), tag.into())) else {
            return answer(404, &[], r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#);
        };
        let is_same = |((known, name), (_, other)): (&(String, String), &(String, Vec<u8>))| {
            known == repository && !name.contains(':') && *other == bytes
        };
        if state.collects && !state.manifests.iter().any(is_same) {
            state.manifests.remove(&(repository.to_string(), Digest::of(&bytes).to_string()));
        }
        answer(202, &[], "")
    }

    fn issue(&self, request: &Request) -> Answer {
        let state = self.state();
        let allowed = match (&state.access, request.method.as_str()) {
            (Access::Token(None), _) => true,
            (Access::Token(Some(pair)), "GET") => request.headers.get("authorization") == Some(&basic(pair)),
            (Access::Token(Some(secret)), _) => {
                String::from_utf8_lossy(&request.body).contains(&format!("refresh_token={secret}"))
            }
            _ => false,
        };
        match allowed {
            true => answer(200, &[], &format!(r#"{{"token":"t{}","expires_in":300}}"#, state.token)),
            false => answer(401, &[], r#"{"details":"incorrect username or password"}"#),
        }
    }

    fn refusal(&self, request: &Request) -> Option<Answer> {
        let state = self.state();
        let (shown, challenge) = match &state.access {
            Access::Everybody => return None,
            Access::Basic(pair) => (basic(pair), r#"Basic realm="test""#.to_string()),
            Access::Token(_) => {
                let realm = self.url("/token");
                (format!("Bearer t{}", state.token), format!(r#"Bearer realm="{realm}",service="test""#))
            }
            Access::Challenge(text) => (String::new(), text.to_string()),
        };
        let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        let is_known = request.headers.get("authorization") == Some(&shown);
        (!is_known).then(|| answer(401, &[("www-authenticate", &challenge)], body))
    }

    fn upload(&self, request: &Request, repository: &str, place: &str) -> Answer {
        let location = format!("/v2/{repository}/blobs/uploads/u1?state=x");
        if request.method == "POST" {
            let mounted =
                request.query.get("mount").zip(request.query.get("from")).and_then(|(digest, from)| {
                    let digest = digest.parse().unwrap();
                    self.blob(from, digest).filter(|_| !self.state().refuses_mounts)
                });
            self.state().begun.clear();
            let Some(bytes) = mounted else { return answer(202, &[("location", &location)], "") };
            self.put_blob(repository, &bytes);
            return answer(201, &[], "");
        }
        assert_eq!((place, request.query.get("state").map(String::as_str)), ("u1", Some("x")));
        if request.method == "DELETE" {
            return answer(204, &[], "");
        }
        let has = self.state().begun.len();
        if request.method == "GET" {
            let range = format!("0-{}", has.saturating_sub(1));
            return match has {
                0 => answer(404, &[], r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#),
                _ => answer(204, &[("location", &location), ("range", &range)], ""),
            };
        }
        if request.method == "PATCH" {
            assert_eq!(request.headers["content-range"].split('-').next().unwrap(), has.to_string());
            self.state().begun.extend(&request.body);
            return answer(202, &[("location", &location)], "");
        }
        let mut body = std::mem::take(&mut self.state().begun);
        body.extend(&request.body);
        let digest = Digest::of(&body);
        if request.query["digest"] != digest.to_string() {
            return answer(400, &[], r#"{"errors":[{"code":"DIGEST_INVALID","message":"wrong digest"}]}"#);
        }
        self.put_blob(repository, &body);
        answer(201, &[("docker-content-digest", &digest.to_string())], "")
    }

    fn blob_answer(&self, request: &Request, repository: &str, digest: &str, ignores_range: bool) -> Answer {
        let Some(bytes) = digest.parse().ok().and_then(|digest| self.blob(repository, digest)) else {
            return answer(404, &[], r#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#);
        };
        let range = request.headers.get("range").filter(|_| !ignores_range);
        let begin =
            range.map(|range| range["bytes=".len()..].trim_end_matches('-').parse::<usize>().unwrap());
        match begin {
            None => Answer { status: 200, headers: Vec::new(), body: bytes },
            Some(begin) => {
                let span = format!("bytes {begin}-{}/{}", bytes.len() - 1, bytes.len());
                Answer {
                    status: 206,
                    headers: vec![("content-range".into(), span)],
                    body: bytes[begin..].into(),
                }
            }
        }
    }

    /// As in Docker's registry, what is asked about by a digest that is known already is not even looked for.
    fn manifest_answer(&self, request: &Request, repository: &str, name: &str) -> Answer {
        let known = request.headers.get("if-none-match").map(|known| known.trim_matches('"'));
        let digest = if name.contains(':') { name.parse().ok() } else { self.tag(repository, name) };
        if digest.is_some_and(|digest: Digest| known == Some(&digest.to_string())) {
            self.state().not_modified += 1;
            return answer(304, &[], "");
        }
        match self.state().manifests.get(&(repository.to_string(), name.to_string())) {
            Some((media_type, bytes)) => {
                let digest = Digest::of(bytes).to_string();
                let headers = [("content-type", media_type.as_str()), ("docker-content-digest", &digest)];
                Answer { body: bytes.clone(), ..answer(200, &headers, "") }
            }
            None => answer(404, &[], r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
        }
    }

    /// Two tags a page.
    fn tags_answer(&self, request: &Request, repository: &str) -> Answer {
        let last = request.query.get("last").cloned().unwrap_or_default();
        let state = self.state();
        let names = state.manifests.keys().filter(|(known, _)| known == repository).map(|(_, name)| name);
        let tags: Vec<&String> = names.filter(|name| !name.contains(':') && **name > last).collect();
        let page = &tags[..tags.len().min(2)];
        let body = format!(r#"{{"name":"{repository}","tags":{page:?}}}"#);
        let next =
            format!("</v2/{repository}/tags/list?last={}>; rel=\"next\"", page.last().unwrap_or(&&last));
        answer(200, if tags.len() > 2 { vec![("link", next.as_str())] } else { Vec::new() }.as_slice(), &body)
    }
}

fn basic(pair: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Answer { status, headers, body: body.as_bytes().to_vec() }
}

/// With room for the body; `None` at the end of the connection.
async fn read_head(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let (method, rest) = lines.next()?.split_once(' ')?;
    let target = rest.split(' ').next()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let plain = |text: &str| text.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> =
        headers.map(|(name, value)| (name.to_lowercase(), value.to_string())).collect();
    let body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    Some(Request {
        method: method.to_string(),
        path: path.to_string(),
        query: pairs.map(|(name, value)| (name.to_string(), plain(value))).collect(),
        headers,
        body,
    })
}

/// Until nobody reads it any more.
async fn trickle(stream: &mut BufReader<TcpStream>, answer: &Answer, pause: Duration) {
    let head = format!("HTTP/1.1 {} X\r\ncontent-length: {}\r\n\r\n", answer.status, answer.body.len());
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let mut ticks = tokio::time::interval(pause);
    for byte in &answer.body {
        ticks.tick().await;
        if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

async fn write_answer(
    stream: &mut BufReader<TcpStream>,
    request: &Request,
    answer: &Answer,
    cut: Option<usize>,
) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} X\r\ncontent-length: {}\r\n", answer.status, answer.body.len());
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    if request.method != "HEAD" {
        let length = cut.unwrap_or(answer.body.len());
        stream.write_all(&answer.body[..length]).await.ok()?;
    }
    stream.flush().await.ok()?;
    cut.is_none().then_some(())
}
