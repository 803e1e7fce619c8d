//! `mab run` on the command line.

use std::io::{IsTerminal as _, Read, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::{ProgressArgument, SessionArguments};
use super::build_file::BuildFileArguments;
use super::terminal::{RawMode, size_of_terminal};
use super::{failed, run_mounts, runtime, signals, surroundings};
use crate::command::plan::plain_request;
use crate::command::run::{Console, Prefix, RunOptions, RunStreams, Runs, prepare};
use crate::command::{self, Failure};
use crate::config::PlatformName;
use crate::config::user::UserConfig;
use crate::diag::{Kind, Problem};
use crate::engine::embedded::container::{Container, NOT_EXECUTABLE, NOT_FOUND, Streams};
use crate::engine::embedded::sandbox::{ExitStatus, RunExit};
use crate::engine::embedded::{Embedded, Ended};
use crate::engine::{Overrides, RunJob, Surroundings};
use crate::event::{Event, EventSink};
use crate::facts::Facts;
use crate::model::Network;
use crate::store::MAKE_SPACE;
use crate::ui::{self, Progress, Ui};

/// `mab` could not run the command.
const NOT_RUN: u8 = 125;
/// The command is there and cannot be executed.
const NOT_PROGRAM: u8 = 126;
/// There is no such command.
const NO_COMMAND: u8 = 127;

/// Runs a command in an image, natively or emulated, and throws its changes away
///
/// The image is a target of the build file (`api`, `target:api`), which is built if it must be; a reference; a layout or
/// an archive (`./images`, `./api.tar:1.0`, `oci-layout://PATH`, `oci-archive://PATH`); or a digest in the store. What
/// a target hides is `docker-image://NAME`. Entrypoint, command, environment, user, directory and stop signal are the
/// image's, as with `docker run`. No daemon and no root are needed.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RunArguments {
    #[command(flatten)]
    pub file: BuildFileArguments,
    #[command(flatten)]
    session: SessionArguments,
    /// Runs for every platform of the image, one after the other; each line says which one
    #[arg(long, conflicts_with_all = ["platform", "interactive", "tty"])]
    all_platforms: bool,
    /// Keeps standard input open for the command
    #[arg(short, long)]
    interactive: bool,
    /// Gives the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// Sets a variable; `NAME` alone takes its value from here
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The user instead of the image's, by name or number: `USER[:GROUP]`
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// The working directory instead of the image's
    #[arg(short, long, value_name = "PATH")]
    workdir: Option<String>,
    /// The program instead of the image's entrypoint, whose command is left out as well; an empty one for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// A file or folder of this machine: `SOURCE:TARGET[:ro]`
    #[arg(short, long, value_name = "BIND", value_parser = run_mounts::volume)]
    volume: Vec<crate::engine::RunMount>,
    /// The same by words: `type=bind,source=PATH,target=PATH[,readonly]`, `type=tmpfs,target=PATH[,tmpfs-size=BYTES]`
    #[arg(long, value_name = "MOUNT", value_parser = run_mounts::mount)]
    mount: Vec<crate::engine::RunMount>,
    /// An empty folder in memory: `PATH[:size=BYTES]`
    #[arg(long, value_name = "PATH", value_parser = run_mounts::tmpfs)]
    tmpfs: Vec<crate::engine::RunMount>,
    /// Lets the command change nothing but what is mounted
    #[arg(long)]
    read_only: bool,
    /// `default`: the outside can be reached; `none`: only itself; `host`: this machine's network
    #[arg(long, value_name = "NETWORK", default_value = "default")]
    network: NetworkArgument,
    /// Another line of /etc/hosts
    #[arg(long = "add-host", value_name = "NAME:ADDRESS", value_parser = host)]
    hosts: Vec<(String, String)>,
    /// What the machine is called inside
    #[arg(long, value_name = "NAME", default_value = "mab")]
    hostname: String,
    /// The size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = run_mounts::size)]
    shm_size: Option<u64>,
    /// Asks no registry: what the store does not have is an error
    #[arg(long)]
    offline: bool,
    /// How building a target is shown
    #[arg(long, value_name = "HOW", env = "MAB_PROGRESS")]
    progress: Option<ProgressArgument>,
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The command instead of the image's, or the arguments of its entrypoint
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum NetworkArgument {
    Default,
    None,
    Host,
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

impl RunArguments {
    fn options(&self, facts: &Facts) -> Result<RunOptions, Failure> {
        let wrong = |text: String| vec![Problem::input("run::mount", text)];
        let mounts = self.mount.iter().chain(&self.volume).chain(&self.tmpfs).cloned();
        let mounts = mounts.map(|mount| run_mounts::from_folder(mount, &facts.directories.current));
        let project = self.file.options(&[]);
        let platforms = PlatformName::without_sets(&project.platforms).map_err(|problem| vec![problem])?;
        let env = self.env.iter().map(|entry| from_here(entry, facts)).collect();
        Ok(RunOptions {
            project,
            session: command::SessionOptions { is_offline: self.offline, ..self.session.options() },
            request: crate::plan::Request {
                allowed: command::entitlements(&self.file.allow, facts).map_err(|problem| vec![*problem])?,
                ..plain_request(facts)
            },
            image: self.image.clone(),
            platforms,
            is_for_all: self.all_platforms,
            overrides: Overrides {
                entrypoint: self
                    .entrypoint
                    .as_ref()
                    .map(|program| if program.is_empty() { Vec::new() } else { vec![program.clone()] }),
                arguments: self.command.clone(),
                env,
                user: self.user.clone(),
                workdir: self.workdir.clone(),
            },
            surroundings: Surroundings {
                mounts: mounts.collect::<Result<_, _>>().map_err(wrong)?,
                network: match self.network {
                    NetworkArgument::Default => Network::Default,
                    NetworkArgument::None => Network::None,
                    NetworkArgument::Host => Network::Host,
                },
                hostname: self.hostname.clone(),
                extra_hosts: self.hosts.iter().cloned().collect(),
                is_read_only: self.read_only,
                shm_size: self.shm_size,
                ulimits: Vec::new(),
            },
        })
    }

    fn progress(&self, user: &UserConfig) -> Progress {
        let configured =
            || <ProgressArgument as clap::ValueEnum>::from_str(user.progress.as_deref()?, false).ok();
        self.progress.or_else(configured).unwrap_or(ProgressArgument::Auto).into()
    }
}

/// `NAME:ADDRESS`, or `NAME=ADDRESS` for addresses of version 6.
fn host(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once(['=', ':']).filter(|(name, address)| !name.is_empty() && !address.is_empty());
    let (name, address) = pair.ok_or("a host is `NAME:ADDRESS`")?;
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<std::net::IpAddr>().map_err(|_| format!("`{address}` is no address"))?;
    Ok((name.to_string(), bare.to_string()))
}

/// A name alone is given its value here; one without a value here stays as it is, which takes the variable away.
fn from_here(entry: &str, facts: &Facts) -> String {
    match (entry.contains('='), facts.environment.get(entry)) {
        (false, Some(value)) => format!("{entry}={value}"),
        _ => entry.to_string(),
    }
}

/// Shows what is noticed while a command runs; nothing else is of interest then.
struct Notices(ui::Surroundings);

impl EventSink for Notices {
    fn emit(&self, event: Event) {
        if let Event::Notice { problem, .. } = event {
            // Nothing is left to do when standard error is closed.
            let _ = std::io::stderr().write_all(ui::report(&problem, &self.0).as_bytes());
        }
    }
}

/// Shows a build once there is one: the terminal belongs to the command otherwise.
struct LateUi {
    progress: Progress,
    surroundings: ui::Surroundings,
    ui: OnceLock<Ui>,
}

impl EventSink for LateUi {
    fn emit(&self, event: Event) {
        let open = || Ui::new(self.progress, &self.surroundings, Box::new(std::io::stderr()));
        self.ui.get_or_init(open).emit(event);
    }
}

pub fn run(arguments: &RunArguments, user: &UserConfig, facts: &mut Facts) -> ExitCode {
    let progress = arguments.progress(user);
    let not_run = |problems: &[Problem], facts: &Facts| {
        failed(problems, Progress::Auto, Some(facts));
        ExitCode::from(NOT_RUN)
    };
    if arguments.tty && !std::io::stdin().is_terminal() && arguments.interactive {
        let problem = Problem::input("run::terminal", "`--tty` needs a terminal, and standard input is none");
        return not_run(&[problem.help("leave it out")], facts);
    }
    let options = match arguments.options(facts) {
        Ok(options) => options,
        Err(problems) => return not_run(&problems, facts),
    };
    let runtime = runtime();
    let code = runtime.block_on(async {
        let ui = Arc::new(LateUi { progress, surroundings: surroundings(facts), ui: OnceLock::new() });
        let notices = Arc::new(crate::run::SaidOnce::new(Arc::new(Notices(surroundings(facts)))));
        let prepared = {
            let (cancel, guard) = signals::cancellable();
            let prepared = prepare(&options, facts, ui, notices, cancel).await;
            drop(guard);
            prepared
        };
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

/// Waits for the command's end, and passes signals on to it meanwhile. The first process of a pid namespace takes no
/// notice of a signal that it does not handle, so the second that asks for an end is the end.
async fn attend(
    container: &mut Container,
    signals: &mut Signals,
    stop_signal: i32,
    terminal: Option<&std::os::fd::OwnedFd>,
) -> Result<Ended, Box<Problem>> {
    let mut was_asked = false;
    loop {
        let number = tokio::select! {
            ended = container.wait() => return ended,
            number = signals.next(terminal) => number,
        };
        let asks_for_an_end = matches!(number, libc::SIGINT | libc::SIGTERM | libc::SIGHUP);
        if asks_for_an_end && was_asked {
            container.kill();
            continue;
        }
        was_asked |= asks_for_an_end;
        container.signal(if number == libc::SIGTERM { stop_signal } else { number });
    }
}
