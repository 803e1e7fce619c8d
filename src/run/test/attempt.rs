//! One attempt at a test: its command in a fresh sandbox, watched, stopped, and judged.

use std::io::{self, Read, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::check::{self, Said};
use crate::base::Platform;
use crate::diag::Problem;
use crate::engine::base::Base;
use crate::engine::embedded::container::{Container, Exec, Streams};
use crate::engine::embedded::found_files::ImageFiles;
use crate::engine::embedded::sandbox::{ExitStatus, OpenPort, RunExit, Stdio};
use crate::engine::embedded::{Embedded, Ended};
use crate::engine::{
    JobEvents, Overrides, RunCommand, RunJob, RunMount, Surroundings, io_problem, stop_signal,
};
use crate::model::{Port, Service, Test, TestAction};

/// How long a test may take that does not say.
const TIMEOUT: Duration = Duration::from_secs(300);
/// How long a service may take to end by itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Of each stream so many bytes are kept and looked at; what comes after is read and forgotten.
const KEPT_OUTPUT: usize = 1 << 20;
/// Lines of output that are shown of a failure.
const SHOWN_LINES: usize = 20;
/// How long streams are read on that a client which ended has left to others.
const LEFT_STREAMS: Duration = Duration::from_millis(200);
/// Where a script with an interpreter of its own is, in a folder that no image has files in.
const SCRIPT: &str = "/dev/pipes/test";

/// A test of one platform's image.
pub struct Attempt<'a> {
    pub engine: &'a Embedded,
    pub image: &'a Base,
    pub platform: &'a Platform,
    pub files: &'a ImageFiles,
    pub test: &'a Test,
    pub events: &'a JobEvents,
}

/// Why a test failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    pub reasons: Vec<String>,
    /// The end of what was said.
    pub output: String,
}

impl Attempt<'_> {
    /// Runs the command and judges it. What keeps a test from running at all is the error.
    pub async fn make(&self) -> Result<Option<Failure>, Box<Problem>> {
        let output = Captured::default();
        let is_service = self.test.service.is_some();
        let stdin = if is_service { None } else { self.stdin()? };
        let (pumps, stdio) = output.pipes(stdin)?;
        let (mut container, _) = self.engine.start(&self.job()?, Streams::Given(stdio)).await?;
        let timeout = self.test.timeout.unwrap_or(TIMEOUT);
        let came_to = tokio::time::timeout(timeout, self.go(&mut container, &output)).await;
        let came_to = came_to.unwrap_or_else(|_| {
            let reason = format!("it took longer than {}", shown_time(timeout));
            Ok(End::Failed(Failure { reasons: vec![reason], ..Failure::default() }))
        });
        let judged = self.judge(&mut container, pumps, &output, came_to).await;
        container.remove().await;
        Ok(judged?.map(|failure| match failure.output.is_empty() {
            true => Failure { output: output.tail(), ..failure },
            false => failure,
        }))
    }

    /// Stops what still runs, then looks at what was said and at the files that are left.
    async fn judge(
        &self,
        container: &mut Container,
        pumps: Vec<JoinHandle<()>>,
        output: &Captured,
        end: Result<End, Box<Problem>>,
    ) -> Result<Option<Failure>, Box<Problem>> {
        match &end {
            Ok(End::AsExpected | End::OfClient(..)) => {
                let signal = stop_signal(self.image.config.config.stop_signal.as_deref());
                container.stop(signal, STOP_TIMEOUT).await;
            }
            Ok(End::Failed(_)) | Err(_) => {
                container.kill();
                // However it ended, it is over.
                let _ = container.wait().await;
            }
            Ok(End::ByItself(_)) => {}
        }
        for pump in pumps {
            // The pipes end with the last process; a pump that panicked has kept what it could.
            let _ = pump.await;
        }
        let mut failure = match end? {
            End::Failed(failure) => return Ok(Some(failure)),
            End::AsExpected => Failure::default(),
            End::ByItself(exit) => Failure { reasons: self.compare(&exit, output), ..Failure::default() },
            End::OfClient(exit, said) => Failure { reasons: self.compare(&exit, &said), output: said.tail() },
        };
        let expected = &self.test.expect.files;
        if !expected.is_empty() {
            let paths: Vec<String> = expected.iter().map(|file| file.path.clone()).collect();
            let found = container.look(&paths).await?;
            failure.reasons.extend(check::files(expected, &found, |spec| self.files.owner(spec)));
        }
        Ok((!failure.reasons.is_empty()).then_some(failure))
    }

    fn compare(&self, exit: &RunExit, output: &Captured) -> Vec<String> {
        let (stdout, stderr) = (output.out.text(), output.err.text());
        check::command(&self.test.expect, &Said { exit, stdout: &stdout, stderr: &stderr })
    }

    /// Until there is something to judge.
    async fn go(&self, container: &mut Container, output: &Captured) -> Result<End, Box<Problem>> {
        let ports: Vec<Port> = match &self.test.service {
            Some(service) => service.ports.iter().chain(&self.test.expect.ports).copied().collect(),
            None => self.test.expect.ports.clone(),
        };
        let log = self.test.service.as_ref().and_then(|service| service.log.as_deref());
        if self.test.service.is_none() && ports.is_empty() {
            return of_end(container.wait().await?, End::ByItself);
        }
        let listening = container.await_ports(ports.iter().copied().map(open_port).collect());
        let ready = async {
            listening.await?;
            if let Some(pattern) = log {
                output.await_line(pattern).await;
            }
            Ok::<(), Box<Problem>>(())
        };
        tokio::select! {
            ready = ready => ready?,
            ended = container.wait() => return of_end(ended?, |exit| End::Failed(Failure {
                reasons: vec![format!("it {} before {}", how(&exit), awaited(&ports, log))],
                ..Failure::default()
            })),
        }
        if self.test.service.is_some() && self.test.action.is_some() {
            return self.run_client(container).await;
        }
        Ok(End::AsExpected)
    }

    /// Runs the test's command beside the service.
    async fn run_client(&self, container: &mut Container) -> Result<End, Box<Problem>> {
        let said = Captured::default();
        let (pumps, stdio) = said.pipes(self.stdin()?)?;
        let mut client: Exec = container.exec(&self.command()?, stdio)?;
        let ended = client.wait().await?;
        for pump in pumps {
            // What the client left in the background may hold its streams; what it said itself is there.
            let _ = tokio::time::timeout(LEFT_STREAMS, pump).await;
        }
        of_end(ended, |exit| End::OfClient(exit, said))
    }

    /// The test's command, or the image's own.
    fn command(&self) -> Result<RunCommand, Box<Problem>> {
        let config = &self.image.config.config;
        let shell = || config.shell.clone().unwrap_or_else(|| vec!["/bin/sh".into(), "-ec".into()]);
        let words = match &self.test.action {
            None => None,
            Some(TestAction::Run(words)) => Some(words.clone()),
            Some(TestAction::Script(text)) if text.starts_with("#!") => Some(vec![SCRIPT.to_string()]),
            Some(TestAction::Script(text)) => Some(shell().into_iter().chain([text.clone()]).collect()),
        };
        let overrides = Overrides {
            entrypoint: words.is_some().then(Vec::new),
            arguments: words.unwrap_or_default(),
            ..self.overrides()
        };
        RunCommand::of(config, &overrides)
    }

    /// The image's own command, with the service's arguments.
    fn service_command(&self, service: &Service) -> Result<RunCommand, Box<Problem>> {
        let overrides = Overrides { arguments: service.args.clone(), ..self.overrides() };
        RunCommand::of(&self.image.config.config, &overrides)
    }

    fn overrides(&self) -> Overrides {
        Overrides {
            env: self.test.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            user: self.test.user.clone(),
            workdir: self.test.workdir.clone(),
            ..Overrides::default()
        }
    }

    fn job(&self) -> Result<RunJob, Box<Problem>> {
        let command = match &self.test.service {
            Some(service) => self.service_command(service)?,
            None => self.command()?,
        };
        let binds = self.test.mounts.iter().map(|mount| RunMount::Bind {
            source: mount.source.clone(),
            target: mount.target.clone().into(),
            is_read_only: !mount.is_writable,
            is_recursive: true,
        });
        let script = match &self.test.action {
            Some(TestAction::Script(text)) if text.starts_with("#!") => {
                Some(RunMount::Script { content: text.clone().into_bytes(), target: SCRIPT.into() })
            }
            _ => None,
        };
        Ok(RunJob {
            image: self.image.clone(),
            platform: self.platform.clone(),
            command,
            surroundings: Surroundings {
                mounts: binds.chain(script).collect(),
                network: self.test.network,
                ..Surroundings::default()
            },
            events: self.events.clone(),
        })
    }

    /// A file with what the test gives to standard input.
    fn stdin(&self) -> Result<Option<OwnedFd>, Box<Problem>> {
        let Some(text) = &self.test.stdin else { return Ok(None) };
        let filled = tempfile::tempfile().and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.rewind()?;
            Ok(OwnedFd::from(file))
        });
        filled.map(Some).map_err(|error| Box::new(io_problem("give a test its input", &error)))
    }
}

/// What an attempt came to.
enum End {
    ByItself(RunExit),
    /// The client's end, and what it said; the service runs.
    OfClient(RunExit, Captured),
    /// It runs, and is what was waited for.
    AsExpected,
    Failed(Failure),
}

/// The end of a command; of one that filled the disk there is nothing to judge.
fn of_end(ended: Ended, end: impl FnOnce(RunExit) -> End) -> Result<End, Box<Problem>> {
    match ended {
        Ended::ByItself(exit) => Ok(end(exit)),
        Ended::OutOfSpace(shortage) => {
            let reason = format!("it was stopped: {shortage}");
            Ok(End::Failed(Failure { reasons: vec![reason], ..Failure::default() }))
        }
    }
}

fn how(exit: &RunExit) -> String {
    match exit.status {
        ExitStatus::Exited(code) => format!("ended with exit code {code}"),
        ExitStatus::Signaled(signal) => format!("was killed by signal {signal}"),
    }
}

fn awaited(ports: &[Port], log: Option<&str>) -> String {
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    match (ports.len(), log) {
        (0, Some(pattern)) => format!("it said `{pattern}`"),
        (0, None) => "it was ready".to_string(),
        (1, _) => format!("port {} was open", ports[0]),
        (_, _) => format!("ports {} were open", ports.join(", ")),
    }
}

fn open_port(port: Port) -> OpenPort {
    OpenPort { number: port.number, is_udp: port.is_udp }
}

/// `1m30s`
fn shown_time(time: Duration) -> String {
    match (time.as_secs() / 60, time.as_secs() % 60) {
        (0, _) => format!("{}s", time.as_secs_f64()),
        (minutes, 0) => format!("{minutes}m"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

/// What was said on both streams.
#[derive(Clone, Default)]
struct Captured {
    out: Arc<Kept>,
    err: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    bytes: Mutex<Vec<u8>>,
    changed: Notify,
}

impl Captured {
    /// Pipes that are read into this.
    fn pipes(&self, input: Option<OwnedFd>) -> Result<(Vec<JoinHandle<()>>, Stdio), Box<Problem>> {
        let pipe = || io::pipe().map_err(|error| Box::new(io_problem("make a pipe", &error)));
        let ((out, output), (err, error)) = (pipe()?, pipe()?);
        let pumps = [(out, self.out.clone()), (err, self.err.clone())]
            .map(|(from, to)| tokio::task::spawn_blocking(move || to.keep(from)));
        Ok((pumps.into(), Stdio { input, output: output.into(), error: error.into() }))
    }

    /// The last lines of both.
    fn tail(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        for text in [self.out.text(), self.err.text()] {
            let all: Vec<&str> = text.lines().collect();
            lines.extend(all[all.len().saturating_sub(SHOWN_LINES)..].iter().map(ToString::to_string));
        }
        lines.join("\n")
    }

    /// Waits until a part of either stream matches.
    async fn await_line(&self, pattern: &str) {
        loop {
            let (out, err) = (self.out.changed.notified(), self.err.changed.notified());
            if [&self.out, &self.err].iter().any(|kept| check::matches(pattern, &kept.text())) {
                return;
            }
            tokio::select! { () = out => {}, () = err => {} }
        }
    }
}

impl Kept {
    fn keep(&self, mut from: impl Read) {
        let mut buffer = [0; 8 << 10];
        loop {
            let read = match from.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A read error on a pipe is the end of it.
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
            let room = KEPT_OUTPUT.saturating_sub(bytes.len());
            bytes.extend_from_slice(&buffer[..read.min(room)]);
            drop(bytes);
            self.changed.notify_one();
        }
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
