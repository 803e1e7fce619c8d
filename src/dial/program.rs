//! A program whose standard input and output are the connection, as those of `ssh` and `kubectl exec` are.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;

use super::{DialError, Fault, Stream};

/// How much of what a program says is kept: the end of it.
const MOST_WORDS: usize = 4 << 10;
/// How long a program that has closed the connection may take to end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A program that was started; it ends when this and its connection are dropped.
#[derive(Clone)]
pub struct Program {
    name: String,
    said: Arc<Mutex<Vec<u8>>>,
    ended: watch::Receiver<Option<ExitStatus>>,
    _alive: Arc<watch::Sender<()>>,
}

/// Starts a program that reaches `peer`.
pub fn spawn(peer: &str, words: &[String]) -> Result<(Box<dyn Stream>, Program), DialError> {
    let (name, arguments) = words.split_first().expect("a command has a name");
    let mut command = Command::new(name);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Ctrl-C is for this process, which ends the build in order.
    command.process_group(0).kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|error| Fault::NoProgram { program: name.clone(), cause: error.to_string() }.of(peer))?;
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(input), Some(output), Some(errors)) = pipes else {
        unreachable!("the pipes were asked for");
    };
    let said = Arc::<Mutex<Vec<u8>>>::default();
    let (end, ended) = watch::channel(None);
    let (alive, mut wanted) = watch::channel(());
    let program = Program { name: name.clone(), said: said.clone(), ended, _alive: Arc::new(alive) };
    tokio::spawn(async move {
        let ending = async {
            listen(errors, &said).await;
            child.wait().await
        };
        tokio::select! {
            status = ending => drop(end.send(status.ok())),
            // Nobody holds it any more; dropping the child ends it.
            _ = async { while wanted.changed().await.is_ok() {} } => {}
        }
    });
    let held = Held { stream: tokio::io::join(output, input), _program: program.clone() };
    Ok((Box::new(held), program))
}

async fn listen(mut errors: impl AsyncRead + Unpin, said: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = errors.read(&mut buffer).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend(&buffer[..length]);
        let surplus = said.len().saturating_sub(MOST_WORDS);
        said.drain(..surplus);
    }
}

impl Program {
    /// How it ended, when it was the program that ended the connection.
    pub async fn end(&self, peer: &str) -> Option<DialError> {
        let mut ended = self.ended.clone();
        let status = *timeout(LAST_WORDS, ended.wait_for(Option::is_some)).await.ok()?.ok()?;
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said);
        let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        let lines: Vec<String> =
            lines.map(|line| line.chars().filter(|character| !character.is_control()).collect()).collect();
        let cause = match &lines[..] {
            [] => status.map(|status| status.to_string()).unwrap_or_default(),
            // The last line is the verdict, and what stands before it the way there.
            [.., last] => last.clone(),
        };
        Some(Fault::Ended { program: self.name.clone(), cause }.of(peer))
    }
}

/// A connection that keeps its program.
struct Held<T> {
    stream: T,
    _program: Program,
}

impl<T: AsyncRead + Unpin> AsyncRead for Held<T> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<T: tokio::io::AsyncWrite + Unpin> tokio::io::AsyncWrite for Held<T> {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
