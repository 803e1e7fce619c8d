//! An HTTP server on loopback with the virtues and faults of real ones: tags, dates, redirects, passwords, broken
//! connections. What `git http-backend` serves, it serves too.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a page does before it is well.
#[derive(Clone, Debug)]
pub enum Fault {
    Status(u16),
    /// The connection ends after so many bytes of the body.
    Cut(usize),
}

#[derive(Clone, Debug, Default)]
struct Page {
    body: Vec<u8>,
    headers: Vec<(String, String)>,
    /// Where it sends on.
    redirect: Option<String>,
    /// The `Authorization` it wants.
    authorization: Option<String>,
    faults: VecDeque<Fault>,
}

#[derive(Default)]
struct State {
    pages: BTreeMap<String, Page>,
    /// Repositories below `/git/`, and the `Authorization` they want.
    repositories: Option<(PathBuf, Option<String>)>,
    requests: Vec<String>,
}

pub struct Web {
    /// `127.0.0.1:PORT`
    pub address: String,
    state: Arc<Mutex<State>>,
}

struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Web {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound").to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                thread::spawn(move || serve(client, &state));
            }
        });
        Self { address, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn page(&self, path: &str, body: impl AsRef<[u8]>) -> &Self {
        self.change(path, |page| page.body = body.as_ref().to_vec())
    }

    pub fn header(&self, path: &str, name: &str, value: &str) -> &Self {
        self.change(path, |page| page.headers.push((name.to_string(), value.to_string())))
    }

    pub fn redirect(&self, path: &str, to: &str) -> &Self {
        self.change(path, |page| page.redirect = Some(to.to_string()))
    }

    pub fn wants(&self, path: &str, authorization: &str) -> &Self {
        self.change(path, |page| page.authorization = Some(authorization.to_string()))
    }

    pub fn fault(&self, path: &str, fault: Fault) -> &Self {
        self.change(path, |page| page.faults.push_back(fault))
    }

    /// Serves the bare repositories of a folder below `/git/`.
    pub fn repositories(&self, folder: &Path, authorization: Option<&str>) -> &Self {
        self.state().repositories = Some((folder.to_path_buf(), authorization.map(str::to_string)));
        self
    }

    /// What was asked since the last call: method, path, and headers that matter.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no request panicked")
    }

    fn change(&self, path: &str, change: impl FnOnce(&mut Page)) -> &Self {
        change(self.state().pages.entry(path.to_string()).or_default());
        self
    }
}

fn serve(client: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(client.try_clone().expect("a socket can be cloned"));
    while let Some(request) = read_request(&mut reader) {
        if !answer(&client, &request, state) {
            return;
        }
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_string(), words.next()?.to_string());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_string()));
    }
    let mut request = Request { method, path, headers, body: Vec::new() };
    if request.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            request.body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = request.header("content-length") {
        request.body = vec![0; length.parse().ok()?];
        reader.read_exact(&mut request.body).ok()?;
    }
    Some(request)
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn shown(&self) -> String {
        let mut shown = format!("{} {}", self.method, self.path);
        for name in ["authorization", "if-none-match", "if-modified-since", "range", "if-range"] {
            if let Some(value) = self.header(name) {
                shown.push_str(&format!(" {name}={value}"));
            }
        }
        shown
    }
}

/// Whether the connection goes on.
fn answer(client: &TcpStream, request: &Request, state: &Mutex<State>) -> bool {
    let (page, repositories) = {
        let mut state = state.lock().expect("no request panicked");
        state.requests.push(request.shown());
        let repositories = state.repositories.clone();
        let page = state.pages.get_mut(&request.path);
        let fault = page.as_ref().and_then(|page| page.faults.front().cloned());
        let page = page.map(|page| {
            page.faults.pop_front();
            (page.clone(), fault)
        });
        (page, repositories)
    };
    if let Some(path) = request.path.strip_prefix("/git/")
        && let Some((folder, authorization)) = repositories
    {
        if authorization.is_some() && request.header("authorization") != authorization.as_deref() {
            let headers = [("WWW-Authenticate".to_string(), "Basic realm=\"git\"".to_string())];
            return send(client, 401, &headers, b"no", None);
        }
        return backend(client, request, path, &folder);
    }
    let Some((page, fault)) = page else { return send(client, 404, &[], b"not here", None) };
    if let Some(Fault::Status(status)) = fault {
        return send(client, status, &[], b"out of order", None);
    }
    if page.authorization.is_some() && request.header("authorization") != page.authorization.as_deref() {
        return send(client, 401, &[], b"who are you", None);
    }
    if let Some(target) = page.redirect {
        return send(client, 302, &[("Location".to_string(), target)], b"", None);
    }
    let etag = page.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("etag"));
    if etag.is_some_and(|(_, etag)| request.header("if-none-match") == Some(etag)) {
        return send(client, 304, &page.headers, b"", None);
    }
    let cut = match fault {
        Some(Fault::Cut(bytes)) => Some(bytes),
        _ => None,
    };
    let is_same = etag.is_some_and(|(_, etag)| request.header("if-range") == Some(etag));
    let from = request
        .header("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    if let Some(from) = from.filter(|_| is_same) {
        let whole = page.body.len();
        let range = ("Content-Range".to_string(), format!("bytes {from}-{}/{whole}", whole - 1));
        return send(client, 206, &[&page.headers[..], &[range]].concat(), &page.body[from..], cut);
    }
    send(client, 200, &page.headers, &page.body, cut)
}

fn send(
    mut client: &TcpStream,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
    cut: Option<usize>,
) -> bool {
    let mut head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let body = &body[..cut.unwrap_or(body.len()).min(body.len())];
    let sent = client.write_all(head.as_bytes()).and_then(|()| client.write_all(body));
    sent.is_ok() && cut.is_none()
}

/// Runs git's own server side as a CGI program.
fn backend(client: &TcpStream, request: &Request, path: &str, folder: &Path) -> bool {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut command = Command::new("git");
    command.arg("http-backend").env("GIT_PROJECT_ROOT", folder).env("GIT_HTTP_EXPORT_ALL", "1");
    command.env("PATH_INFO", format!("/{path}")).env("QUERY_STRING", query);
    command.env("REQUEST_METHOD", &request.method).env("GIT_CONFIG_COUNT", "1");
    command.env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
    for (header, variable) in [
        ("content-type", "CONTENT_TYPE"),
        ("content-encoding", "HTTP_CONTENT_ENCODING"),
        ("git-protocol", "HTTP_GIT_PROTOCOL"),
    ] {
        if let Some(value) = request.header(header) {
            command.env(variable, value);
        }
    }
    command.env("CONTENT_LENGTH", request.body.len().to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("git is installed");
    let mut stdin = child.stdin.take().expect("it is piped");
    let body = request.body.clone();
    let writer = thread::spawn(move || stdin.write_all(&body));
    let output = child.wait_with_output().expect("git ends");
    let _ = writer.join();
    let end = output.stdout.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(0);
    let head = String::from_utf8_lossy(&output.stdout[..end]).into_owned();
    let mut status = 200;
    let mut headers = Vec::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        match name {
            "Status" => status = value.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(500),
            _ => headers.push((name.to_string(), value.to_string())),
        }
    }
    send(client, status, &headers, &output.stdout[(end + 4).min(output.stdout.len())..], None)
}
