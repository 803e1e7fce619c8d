//! A proxy that does wrong on demand: it passes requests on to a real server, one connection each, and changes
//! what comes back.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Debug)]
pub enum Fault {
    /// Status and header lines, without asking the server.
    Answer(u16, &'static str),
    /// No answer, and no end either.
    Hang,
    /// A byte of the body at a time, with so long a pause between them.
    Trickle(Duration),
    /// The connection breaks after half of the body.
    Half,
    /// Half of the body, as if it were all.
    Short,
    /// The last byte of the body is another one.
    Altered,
    /// Another body.
    Garbage,
    /// The server is asked for something else: this text of the request is replaced by that.
    Swapped(String, String),
}

/// What a fault befalls.
#[derive(Clone)]
pub struct Plan {
    /// The start of the request's first line, mostly its method.
    pub method: &'static str,
    /// Part of the path.
    pub part: String,
    pub fault: Fault,
    /// How often; `None` is always.
    pub times: Option<u32>,
}

/// The type of the first record of a TLS connection.
const TLS_HANDSHAKE: u8 = 22;

#[derive(Default)]
struct State {
    plans: Vec<Plan>,
    requests: Vec<String>,
}

#[derive(Clone)]
pub struct Proxy {
    pub address: String,
    upstream: String,
    state: Arc<Mutex<State>>,
}

pub struct Message {
    /// With the empty line.
    pub head: String,
    pub body: Vec<u8>,
}

impl Proxy {
    /// To the server at `upstream`, a host and port.
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let proxy = Self { address, upstream: upstream.to_string(), state: Arc::default() };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(client).await });
            }
        });
        proxy
    }

    pub fn plan(&self, method: &'static str, part: &str, fault: Fault, times: Option<u32>) {
        self.state().plans.push(Plan { method, part: part.to_string(), fault, times });
    }

    /// All is well again.
    pub fn heal(&self) {
        self.state().plans.clear();
    }

    /// First lines of requests whose path contains `part`, since the last time they were taken.
    pub fn take_requests(&self, part: &str) -> Vec<String> {
        let requests = std::mem::take(&mut self.state().requests);
        requests.into_iter().filter(|line| line.contains(part)).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn serve(&self, client: TcpStream) -> Option<()> {
        let mut client = BufReader::new(client);
        if client.fill_buf().await.ok()?.first() == Some(&TLS_HANDSHAKE) {
            return None;
        }
        let mut request = read_message(&mut client, true).await?;
        let line = request.head.lines().next()?.to_string();
        let fault = self.note(&line);
        match &fault {
            Some(Fault::Answer(status, headers)) => {
                let head = format!("HTTP/1.1 {status} X\r\ncontent-length: 4\r\nconnection: close\r\n");
                let text =
                    format!("{head}{headers}\r\n{}", if line.starts_with("HEAD") { "" } else { "oops" });
                client.write_all(text.as_bytes()).await.ok()?;
                return client.flush().await.ok();
            }
            Some(Fault::Hang) => {
                // Until the client gives up.
                let _ = client.read_u8().await;
                return None;
            }
            Some(Fault::Swapped(from, to)) => {
                request.head = request.head.replace(from, to);
                request.body = String::from_utf8_lossy(&request.body).replace(from, to).into_bytes();
            }
            _ => {}
        }
        let answer = self.ask(request, line.starts_with("HEAD")).await?;
        answer_with(&mut client, answer, fault.as_ref()).await
    }

    fn note(&self, line: &str) -> Option<Fault> {
        // How a registry is spoken to is found out by whoever connects to it; it is not what is asked.
        if line.starts_with("GET /v2/ ") {
            return None;
        }
        let mut state = self.state();
        state.requests.push(line.to_string());
        // A key in a query is what is asked for, not what is got.
        let path = line.split(' ').nth(1)?.split('?').next()?;
        let fits = |plan: &&mut Plan| {
            line.starts_with(plan.method) && path.contains(&plan.part) && plan.times != Some(0)
        };
        let plan = state.plans.iter_mut().find(fits)?;
        plan.times = plan.times.map(|times| times - 1);
        Some(plan.fault.clone())
    }

    async fn ask(&self, request: Message, has_no_body: bool) -> Option<Message> {
        let mut server = BufReader::new(TcpStream::connect(&self.upstream).await.ok()?);
        let mut head = String::new();
        for line in request.head.lines().filter(|line| !line.is_empty()) {
            let name = line.split(':').next()?.to_ascii_lowercase();
            if name != "connection" && name != "transfer-encoding" && name != "content-length" {
                head.push_str(&format!("{line}\r\n"));
            }
        }
        head.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", request.body.len()));
        server.write_all(head.as_bytes()).await.ok()?;
        server.write_all(&request.body).await.ok()?;
        server.flush().await.ok()?;
        read_message(&mut server, has_no_body).await
    }
}

async fn answer_with(
    client: &mut BufReader<TcpStream>,
    mut answer: Message,
    fault: Option<&Fault>,
) -> Option<()> {
    match fault {
        Some(Fault::Short) => answer.body.truncate(answer.body.len() / 2),
        Some(Fault::Altered) => *answer.body.last_mut()? ^= 1,
        Some(Fault::Garbage) => answer.body = b"<html>a portal wants you to log in</html>".to_vec(),
        _ => {}
    }
    let mut head = String::new();
    let is_head = answer.body.is_empty();
    for line in answer.head.lines().filter(|line| !line.is_empty()) {
        let name = line.split(':').next()?.to_ascii_lowercase();
        // Of an answer to HEAD the length is not that of its body.
        let is_length = name == "content-length" && !is_head;
        if !is_length && name != "connection" && name != "transfer-encoding" {
            head.push_str(&format!("{line}\r\n"));
        }
    }
    if !is_head {
        head.push_str(&format!("content-length: {}\r\n", answer.body.len()));
    }
    head.push_str("connection: close\r\n\r\n");
    client.write_all(head.as_bytes()).await.ok()?;
    if let Some(Fault::Trickle(pause)) = fault {
        for byte in &answer.body {
            client.write_all(std::slice::from_ref(byte)).await.ok()?;
            client.flush().await.ok()?;
            tokio::time::sleep(*pause).await;
        }
        return Some(());
    }
    let length = if matches!(fault, Some(Fault::Half)) { answer.body.len() / 2 } else { answer.body.len() };
    client.write_all(&answer.body[..length]).await.ok()?;
    client.flush().await.ok()
}

/// A request, or an answer whose end is that of the connection. `None` when it breaks off.
pub async fn read_message(stream: &mut BufReader<TcpStream>, is_request_or_head: bool) -> Option<Message> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let header = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_string())
    };
    let is_chunked = header("transfer-encoding").is_some_and(|value| value.contains("chunked"));
    let length = header("content-length").and_then(|value| value.parse::<usize>().ok());
    let is_answer = head.starts_with("HTTP/");
    let mut body = Vec::new();
    if is_chunked {
        read_chunks(stream, &mut body).await?;
    } else if is_answer && is_request_or_head {
        // The answer to HEAD.
    } else if let Some(length) = length {
        body.resize(length, 0);
        stream.read_exact(&mut body).await.ok()?;
    } else if is_answer {
        stream.read_to_end(&mut body).await.ok()?;
    }
    Some(Message { head, body })
}

async fn read_chunks(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Option<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let start = body.len();
        body.resize(start + length, 0);
        stream.read_exact(&mut body[start..]).await.ok()?;
        stream.read_line(&mut String::new()).await.ok()?;
        if length == 0 {
            return Some(());
        }
    }
}
