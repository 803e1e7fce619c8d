//! A command in an image whose changes are thrown away: `mab run`, and tests of images.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::accounts::{Account, Accounts};
use super::filesystem::FileSystem;
use super::run_step::{hosts, limit, network, resolv_conf};
use super::sandbox::{
    ExecRequest, IdMaps, Limit, Mount, OpenPort, RunRequest, RunningStep, SandboxError, Stdio, Supervisor,
    TerminalSize, User,
};
use super::snapshots;
use super::solve::Solver;
use super::watchdog::{self, Ended};
use super::{Embedded, HelperTask, fault, supervisors};
use crate::base::Platform;
use crate::diag::{Kind, Problem};
use crate::engine::{BuildJob, RunCommand, RunJob, RunMount};
use crate::scan::{Found, Probe, scan};
use crate::store::Scratch;

/// How often a command that was asked to end is looked at.
pub const NUDGE_INTERVAL: Duration = Duration::from_millis(100);

/// The command's standard streams.
pub enum Streams {
    Given(Stdio),
    /// A terminal of its own.
    Terminal(TerminalSize),
}

/// A command that runs. Dropping it kills all that runs in it.
pub struct Container {
    // Declared first: what is below its root goes when nothing runs there any more.
    step: RunningStep,
    supervisor: Supervisor,
    scratch: Scratch,
    lowers: Vec<PathBuf>,
    store: PathBuf,
    accounts: Accounts,
    platform: Platform,
    ulimits: Vec<Limit>,
    missing_interpreter: Option<String>,
}

impl Embedded {
    /// How commands of `platform` are run here, where that is not natively.
    pub fn emulator(&self, platform: &Platform) -> Option<String> {
        self.execution(platform).emulator_identity()
    }

    /// Starts a command; gives the controlling end of its terminal, where it has one.
    pub async fn start(
        &self,
        job: &RunJob,
        streams: Streams,
    ) -> Result<(Container, Option<OwnedFd>), Box<Problem>> {
        let own = |problem: Arc<Problem>| Box::new((*problem).clone());
        let this = self.this.upgrade().expect("an engine that runs is alive");
        let supervisor = self.supervisors.for_platform(&job.platform).await?;
        let build = BuildJob::of_image(&job.image, &job.platform, &job.events);
        let solver = Solver::new(this, build);
        let files = solver.solve().await.map_err(own)?;
        let lowers = snapshots::lowers(self, &solver.job, &files, &supervisor).await.map_err(own)?;
        let text = async |path| self.layers.text(&files, path, &solver.job).await.map_err(own);
        let accounts = Accounts {
            passwd: text("etc/passwd").await?.unwrap_or_default(),
            group: text("etc/group").await?.unwrap_or_default(),
        };
        let missing_interpreter = self.missing_interpreter(&files, &solver.job, &job.command).await;
        let scratch = self.store.snapshots().scratch().map_err(|error| Box::new(error.problem()))?;
        let request = request(job, &accounts, lowers, scratch.path(), &streams)?;
        let (ulimits, lowers) = (request.ulimits.clone(), request.lowers.clone());
        let failed = |error: SandboxError| problem(&error, &job.platform, missing_interpreter.as_deref());
        let (step, terminal) = match streams {
            Streams::Given(stdio) => {
                (supervisor.start_run(request, stdio, Vec::new()).map_err(failed)?, None)
            }
            Streams::Terminal(_) => {
                let (step, terminal) =
                    supervisor.start_in_terminal(request, Vec::new()).await.map_err(failed)?;
                (step, Some(terminal))
            }
        };
        if let Some(notice) = supervisor.network_notice() {
            job.events.notice(Problem::warning("host::network", notice));
        }
        let (store, platform) = (self.store.path().to_path_buf(), job.platform.clone());
        let container = Container {
            step,
            supervisor,
            scratch,
            lowers,
            store,
            accounts,
            platform,
            ulimits,
            missing_interpreter,
        };
        Ok((container, terminal))
    }

    /// What the command's first line names to run it, if it is a script and the image does not have that. The kernel says
    /// of it no more than that something is not there.
    async fn missing_interpreter(
        &self,
        files: &FileSystem,
        job: &BuildJob,
        command: &RunCommand,
    ) -> Option<String> {
        let program = command.argv.first()?;
        let search = command.env.iter().rev().find_map(|entry| entry.strip_prefix("PATH="));
        let candidates: Vec<String> = match program.contains('/') {
            true if program.starts_with('/') => vec![program.clone()],
            true => vec![format!("{}/{program}", command.cwd)],
            false => search?.split(':').map(|folder| format!("{folder}/{program}")).collect(),
        };
        let tree = self.layers.tree(files, job).await.ok()?;
        let has = |path: &str| matches!(tree.resolve(path.as_bytes(), true), Ok(Some(_)));
        let there = candidates.into_iter().find(|path| has(path))?;
        let text = self.layers.text(files, &there, job).await.ok()??;
        let found = scan(&mut Probe::default(), text.len() as u64, &mut text.as_bytes()).ok()??;
        let Found::Script(script) = found else { return None };
        (!has(&script.interpreter)).then_some(script.interpreter)
    }
}

impl Container {
    /// Waits for the end, or until the store's file system is nearly full. May be dropped and called again as long as it
    /// has given none.
    pub async fn wait(&mut self) -> Result<Ended, Box<Problem>> {
        let ended = watchdog::watch(&self.store, &mut self.step).await;
        ended.map_err(|error| problem(&error, &self.platform, self.missing_interpreter.as_deref()))
    }

    /// Kills everything in it; [`Container::wait`] tells when it is gone.
    pub fn kill(&self) {
        self.step.kill();
    }

    /// Sends a signal to the command.
    pub fn signal(&self, number: i32) {
        self.step.signal(number);
    }

    /// See that a signal that was sent has the effect that it has on any process.
    pub fn nudge(&self, number: i32) {
        self.step.nudge(number);
    }

    /// Asks the command to end, and ends it with all it started when it has not done so in time.
    pub async fn stop(&mut self, number: i32, patience: Duration) {
        self.signal(number);
        let deadline = tokio::time::Instant::now() + patience;
        while tokio::time::Instant::now() < deadline {
            if tokio::time::timeout(NUDGE_INTERVAL, self.wait()).await.is_ok() {
                return;
            }
            self.nudge(number);
        }
        self.kill();
        // However it ended, it is over.
        let _ = self.wait().await;
    }

    /// Starts a further command in it.
    pub fn exec(&self, command: &RunCommand, stdio: Stdio) -> Result<Exec, Box<Problem>> {
        let account = account(&self.accounts, command)?;
        let request = ExecRequest {
            argv: command.argv.iter().map(OsString::from).collect(),
            env: env_of(command, &account),
            cwd: PathBuf::from(&command.cwd),
            user: User { uid: account.uid, gid: account.gid, groups: account.groups },
            ulimits: self.ulimits.clone(),
        };
        let step = self.step.start_exec(request, stdio);
        let step = step.map_err(|error| problem(&error, &self.platform, None))?;
        Ok(Exec { step, store: self.store.clone(), platform: self.platform.clone() })
    }

    /// Waits until something listens at all of these ports in it.
    pub fn await_ports(
        &self,
        ports: Vec<OpenPort>,
    ) -> impl Future<Output = Result<(), Box<Problem>>> + Send + use<> {
        let (waiting, platform) = (self.step.await_ports(ports), self.platform.clone());
        async move { waiting.await.map_err(|error| problem(&error, &platform, None)) }
    }

    pub(super) fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The trees below, and the changes on top.
    pub(super) fn trees(&self) -> (&[PathBuf], PathBuf) {
        (&self.lowers, self.scratch.path().join("fs"))
    }

    /// Ends it, if it runs, and removes what it wrote.
    pub async fn remove(mut self) {
        self.step.kill();
        // However it ended, it is over; and a step that was waited for before is.
        let _ = self.step.wait().await;
        let paths = vec![self.scratch.path().to_path_buf()];
        // What cannot be removed now is dead, and goes with the next prune.
        let _ = self.supervisor.call(HelperTask::Remove { paths }, &[]).await;
    }
}

/// A further command in a container.
pub struct Exec {
    step: RunningStep,
    store: PathBuf,
    platform: Platform,
}

impl Exec {
    pub async fn wait(&mut self) -> Result<Ended, Box<Problem>> {
        let ended = watchdog::watch(&self.store, &mut self.step).await;
        ended.map_err(|error| problem(&error, &self.platform, None))
    }
}

fn request(
    job: &RunJob,
    accounts: &Accounts,
    lowers: Vec<PathBuf>,
    scratch: &Path,
    streams: &Streams,
) -> Result<RunRequest, Box<Problem>> {
    let (upper, work) = (scratch.join("fs"), scratch.join("work"));
    for folder in [&upper, &work] {
        std::fs::create_dir(folder).map_err(|error| fault::io("make a work directory", &error))?;
    }
    let account = account(accounts, &job.command)?;
    let around = &job.surroundings;
    let mut env = env_of(&job.command, &account);
    let terminal = match streams {
        Streams::Given(_) => None,
        Streams::Terminal(size) => {
            add_missing(&mut env, "TERM", "xterm");
            Some(*size)
        }
    };
    add_missing(&mut env, "HOSTNAME", &around.hostname);
    Ok(RunRequest {
        lowers,
        upper,
        work,
        mounts: around.mounts.iter().map(mount).collect(),
        argv: job.command.argv.iter().map(OsString::from).collect(),
        env,
        cwd: PathBuf::from(&job.command.cwd),
        user: User { uid: account.uid, gid: account.gid, groups: account.groups },
        network: network(around.network),
        hostname: around.hostname.clone(),
        hosts: Some(hosts(&around.hostname, &around.extra_hosts)),
        resolv_conf: Some(resolv_conf()),
        shm_size: around.shm_size.unwrap_or(RunRequest::SHM_SIZE),
        ulimits: around.ulimits.iter().map(limit).collect(),
        privileged: false,
        readonly: around.is_read_only,
        terminal,
    })
}

fn mount(mount: &RunMount) -> Mount {
    match mount.clone() {
        RunMount::Bind { source, target, is_read_only, is_recursive } => {
            Mount::Bind { source, target, readonly: is_read_only, recursive: is_recursive }
        }
        RunMount::Tmpfs { target, size, mode } => Mount::Tmpfs { target, size, mode },
        RunMount::Script { content, target } => Mount::Script { content, target },
    }
}

fn account(accounts: &Accounts, command: &RunCommand) -> Result<Account, Box<Problem>> {
    let account = accounts.user(&command.user).map_err(|error| {
        let problem = Problem::input("run::user", error.to_string());
        Box::new(problem.help("give a number, or another user with `--user`"))
    })?;
    let ids = [account.uid, account.gid].into_iter().chain(account.groups.iter().copied());
    match ids.max().filter(|id| !IdMaps::for_this_user().reach().covers(*id)) {
        None => Ok(account),
        Some(id) => {
            let message = format!("the command runs as id {id}, which this user does not have here");
            let problem = Problem::new(Kind::Host, "host::id-map", message);
            Err(Box::new(problem.help(supervisors::MORE_IDS)))
        }
    }
}

fn env_of(command: &RunCommand, account: &Account) -> Vec<(OsString, OsString)> {
    let pair = |entry: &String| {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        (OsString::from(name), OsString::from(value))
    };
    let mut env = command.env.iter().map(pair).collect();
    add_missing(&mut env, "HOME", &account.home);
    env
}

fn add_missing(env: &mut Vec<(OsString, OsString)>, name: &str, value: &str) {
    if !env.iter().any(|(known, _)| known == name) {
        env.push((name.into(), value.into()));
    }
}

/// The code of the problem that the image does not have the program.
pub const NOT_FOUND: &str = "run::not-found";
/// The code of the problem that the program cannot be executed.
pub const NOT_EXECUTABLE: &str = "run::not-executable";

fn problem(error: &SandboxError, platform: &Platform, missing: Option<&str>) -> Box<Problem> {
    let SandboxError::Exec { program, failure } = error else { return Box::new(supervisors::problem(error)) };
    let message = |what: &str| format!("`{program}` for {platform} {what}");
    if let (Some(libc::ENOENT), Some(missing)) = (failure.errno, missing) {
        let what = format!("is a script for `{}`, which the image does not have", missing.escape_debug());
        return Box::new(Problem::input(NOT_FOUND, message(&what)).help(match missing.ends_with('\r') {
            true => "its lines end as on Windows: convert them, or say `* text eol=lf` in `.gitattributes`",
            false => "install it, or write the script for what the image has",
        }));
    }
    Box::new(match failure.errno {
        Some(libc::ENOENT | libc::ENOTDIR) => Problem::input(NOT_FOUND, message("is not in the image"))
            .help("check its path; if it is there, its loader is not (`#!` line, or the ELF interpreter)"),
        Some(libc::ENOEXEC) => Problem::input(NOT_EXECUTABLE, message("is no program of that platform"))
            .help("it may be for another architecture"),
        _ => Problem::input(NOT_EXECUTABLE, message(&format!("cannot start: {failure}"))),
    })
}
