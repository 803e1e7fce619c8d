//! `mab run` on the command line.

use std::io::{IsTerminal as _, Read};
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::container::{ContainerArguments, prepared};
use super::terminal::{RawMode, size_of_terminal};
use super::{failed, runtime};
use crate::command::Failure;
use crate::command::run::{Console, Prefix, RunStreams, Runs};
use crate::config::user::UserConfig;
use crate::diag::{Kind, Problem};
use crate::engine::RunJob;
use crate::engine::embedded::container::{Container, NOT_EXECUTABLE, NOT_FOUND, NUDGE_INTERVAL, Streams};
use crate::engine::embedded::sandbox::{ExitStatus, RunExit};
use crate::engine::embedded::{Embedded, Ended};
use crate::facts::Facts;
use crate::store::MAKE_SPACE;
use crate::ui::Progress;

/// `mab` could not run the command.
const NOT_RUN: u8 = 125;
/// The command is there and cannot be executed.
const NOT_PROGRAM: u8 = 126;
/// There is no such command.
const NO_COMMAND: u8 = 127;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RunArguments {
    /// Runs for every platform of the image, one after the other; each line says which one
    #[arg(long, conflicts_with_all = ["platform", "interactive", "tty"])]
    all_platforms: bool,
    /// Keeps standard input open for the command
    #[arg(short, long)]
    interactive: bool,
    /// Gives the command a terminal
    #[arg(short, long)]
    tty: bool,
    #[command(flatten)]
    pub container: ContainerArguments,
}

const EXAMPLES: &str = "\
The exit code is the command's, or 128 and the number of the signal that ended it; 125 where mab could not run it, 126
where it cannot be executed, 127 where the image does not have it; with `--all-platforms` the first that is not 0.
SIGINT, SIGTERM and their kin go to the command, SIGTERM as the image's stop signal; the second one ends it.

Examples:
  mab run --platform linux/arm64 alpine -- uname -m    emulated, if this machine is another one
  mab run --all-platforms api -- /server --version     a target, built where it must be, on all its platforms
  mab run -it --platform linux/s390x debian            a shell on a big-endian machine
  mab run -v .:/src:ro -w /src golang go vet ./...     with the folder here
  mab run --read-only --network none ./api.tar         what an archive holds, with no way out
  echo '2+2' | mab run -i ./bc.tar bc                  as a filter";

pub fn run(arguments: &RunArguments, user: &UserConfig, facts: &mut Facts) -> ExitCode {
    let progress = arguments.container.progress(user);
    let not_run = |problems: &[Problem], facts: &Facts| {
        failed(problems, Progress::Auto, Some(facts));
        ExitCode::from(NOT_RUN)
    };
    if arguments.tty && !std::io::stdin().is_terminal() && arguments.interactive {
        let problem = Problem::input("run::terminal", "`--tty` needs a terminal, and standard input is none");
        return not_run(&[problem.help("leave it out")], facts);
    }
    arguments.container.tell_of_misplaced("run", facts);
    let options = match arguments.container.options(facts, arguments.all_platforms) {
        Ok(options) => options,
        Err(problems) => return not_run(&problems, facts),
    };
    let runtime = runtime();
    let code = runtime.block_on(async {
        let prepared = prepared(&options, progress, facts).await;
        match prepared {
            Ok(runs) => run_all(&runs, arguments, facts).await,
            Err(problems) => Err(problems),
        }
    });
    let code = match code {
        Ok(code) => ExitCode::from(code),
        Err(problems) if problems.iter().any(|problem| problem.kind == Kind::Interrupted) => {
            failed(&problems, progress, Some(facts))
        }
        Err(problems) => not_run(&problems, facts),
    };
    // A read of standard input that goes on ends with the program.
    runtime.shutdown_background();
    code
}

async fn run_all(runs: &Runs, arguments: &RunArguments, facts: &Facts) -> Result<u8, Failure> {
    let mut code = 0;
    for (job, stop_signal) in runs.jobs.iter().zip(&runs.stop_signals) {
        let several = runs.jobs.len() > 1 || arguments.all_platforms;
        let prefix = several.then(|| Prefix(job.platform.to_string()));
        let ended = run_one(&runs.engine, job, *stop_signal, arguments, prefix.as_ref()).await;
        let this = match ended {
            Ok(code) => code,
            Err(problem) => {
                failed(std::slice::from_ref(&*problem), Progress::Auto, Some(facts));
                code_of(&problem)
            }
        };
        code = if code == 0 { this } else { code };
    }
    runs.engine.tidy().await;
    Ok(code)
}

fn code_of(problem: &Problem) -> u8 {
    match problem.code {
        NOT_FOUND => NO_COMMAND,
        NOT_EXECUTABLE => NOT_PROGRAM,
        _ => NOT_RUN,
    }
}

async fn run_one(
    engine: &Embedded,
    job: &RunJob,
    stop_signal: i32,
    arguments: &RunArguments,
    prefix: Option<&Prefix>,
) -> Result<u8, Box<Problem>> {
    let broken = |error: std::io::Error| {
        Box::new(Problem::new(
            Kind::Host,
            "run::streams",
            format!("cannot pass on standard streams: {error}"),
        ))
    };
    let input = || arguments.interactive.then(|| Box::new(std::io::stdin()) as Box<dyn Read + Send>);
    let mut signals = Signals::new().map_err(broken)?;
    if !arguments.tty {
        let (output, error) = (Box::new(std::io::stdout()), Box::new(std::io::stderr()));
        let (streams, stdio) = RunStreams::piped(input(), output, error, prefix).map_err(broken)?;
        let started = engine.start(job, Streams::Given(stdio)).await;
        let (mut container, _) = match started {
            Ok(started) => started,
            Err(problem) => return Err(problem),
        };
        let ended = attend(&mut container, &mut signals, stop_signal, None).await;
        streams.finish();
        container.remove().await;
        return code_of_end(ended?);
    }
    let size = size_of_terminal();
    let (mut container, controller) = engine.start(job, Streams::Terminal(size)).await?;
    let controller = controller.expect("a terminal was asked for");
    let raw = if arguments.interactive { RawMode::enter() } else { None };
    let console = Console::new(&controller, input(), Box::new(std::io::stdout())).map_err(broken)?;
    let ended = attend(&mut container, &mut signals, stop_signal, Some(&controller)).await;
    container.remove().await;
    drop(controller);
    console.finish();
    drop(raw);
    code_of_end(ended?)
}

fn code_of_end(ended: Ended) -> Result<u8, Box<Problem>> {
    match ended {
        Ended::ByItself(RunExit { status: ExitStatus::Exited(code), .. }) => Ok(code as u8),
        Ended::ByItself(RunExit { status: ExitStatus::Signaled(signal), .. }) => Ok(128 + signal as u8),
        Ended::OutOfSpace(shortage) => {
            let problem =
                Problem::new(Kind::Host, "store::full", format!("the command was stopped: {shortage}"));
            Err(Box::new(problem.help(MAKE_SPACE)))
        }
    }
}

/// What goes to the command instead of to `mab`.
struct Signals {
    window: Signal,
    forwarded: Vec<(i32, Signal)>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let numbers =
            [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];
        let stream = |number| Ok((number, signal(SignalKind::from_raw(number))?));
        Ok(Self {
            window: signal(SignalKind::window_change())?,
            forwarded: numbers.into_iter().map(stream).collect::<std::io::Result<_>>()?,
        })
    }

    /// The next one; a change of the window is none.
    async fn next(&mut self, terminal: Option<&std::os::fd::OwnedFd>) -> i32 {
        std::future::poll_fn(|context| {
            while self.window.poll_recv(context).is_ready() {
                if let Some(terminal) = terminal {
                    super::terminal::resize(terminal, size_of_terminal());
                }
            }
            let ready = self
                .forwarded
                .iter_mut()
                .find_map(|(number, stream)| stream.poll_recv(context).is_ready().then_some(*number));
            ready.map_or(std::task::Poll::Pending, std::task::Poll::Ready)
        })
        .await
    }
}

/// Waits for the command's end, and passes signals on to it meanwhile. One that asks for an end has the effect that it
/// has on any process, though the kernel spares the first of a pid namespace; the second one is the end.
async fn attend(
    container: &mut Container,
    signals: &mut Signals,
    stop_signal: i32,
    terminal: Option<&std::os::fd::OwnedFd>,
) -> Result<Ended, Box<Problem>> {
    let mut asked = None;
    loop {
        let nudge = async {
            match asked {
                Some(number) => {
                    tokio::time::sleep(NUDGE_INTERVAL).await;
                    number
                }
                None => std::future::pending().await,
            }
        };
        let number = tokio::select! {
            ended = container.wait() => return ended,
            number = signals.next(terminal) => number,
            number = nudge => {
                container.nudge(number);
                continue;
            }
        };
        let asks_for_an_end = matches!(number, libc::SIGINT | libc::SIGTERM | libc::SIGHUP);
        if asks_for_an_end && asked.is_some() {
            container.kill();
            continue;
        }
        let number = if number == libc::SIGTERM { stop_signal } else { number };
        asked = asks_for_an_end.then_some(number).or(asked);
        container.signal(number);
    }
}
