//! The parent's handle on the helper process.
//!
//! One thread per supervisor starts it, reads its answers and waits for its end. That thread lives as long as
//! the helper, which matters: the helper asks to be killed when the *thread* that started it ends
//! (`PR_SET_PDEATHSIG` is about threads).

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio as ProcessStdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::cgroup::{ControlGroups, Limits, MemoryKills};
use super::error::{Failure, SandboxError};
use super::idmap::{IdMap, IdMaps};
use super::request::{ExecRequest, HelperTask, OpenPort, RunExit, RunRequest, TaskOutput};
use super::wire::{self, Answer, Greeting, Message, Opening, Order, Outcome, StepFailure};
use crate::engine::embedded::emulate::{Emulator, parse_release};

/// Whose namespaces steps run in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Root without a user namespace.
    Host,
    /// A user namespace with these ids: for ordinary users, and for root when it needs a binfmt_misc of its own.
    User { maps: IdMaps },
}

impl Isolation {
    /// What this user needs: a user namespace unless it is root and `private_emulators` are not wanted.
    pub fn for_this_user(private_emulators: bool) -> Self {
        if rustix::process::geteuid().is_root() && !private_emulators {
            return Self::Host;
        }
        Self::User { maps: IdMaps::for_this_user() }
    }
}

#[derive(Clone, Debug)]
pub struct SupervisorOptions {
    pub isolation: Isolation,
    /// Registered in a binfmt_misc instance of the supervisor's own user namespace; empty for `Isolation::Host`.
    /// That instance hides the host's: platforms that rely on the host's entries need another supervisor.
    pub emulators: Vec<Emulator>,
    /// A directory for the supervisor's own mount points; made when missing, may be shared by supervisors.
    pub state: PathBuf,
    /// The program that is `mab`; `/proc/self/exe` unless a test says otherwise.
    pub executable: PathBuf,
    /// For all steps together; kept where this user can make control groups, else as far as rlimits can.
    pub limits: Limits,
}

impl SupervisorOptions {
    pub fn new(isolation: Isolation, state: impl Into<PathBuf>) -> Self {
        Self {
            isolation,
            emulators: Vec::new(),
            state: state.into(),
            executable: "/proc/self/exe".into(),
            limits: Limits::for_this_machine(),
        }
    }
}

/// Standard input, output and error of a command. Without an input it reads `/dev/null`.
#[derive(Debug)]
pub struct Stdio {
    pub input: Option<OwnedFd>,
    pub output: OwnedFd,
    pub error: OwnedFd,
}

/// A running helper; clones are the same one, and it ends when the last is dropped.
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
    // Declared last and held by handles only: the reading thread has no share of it, so that the last handle's
    // drop closes the connection and with it the helper.
    _connection: Arc<Connection>,
}

struct Shared {
    socket: UnixStream,
    next_id: AtomicU64,
    id_map: IdMap,
    control_groups: Vec<PathBuf>,
    memory_kills: MemoryKills,
    sending: Mutex<()>,
    state: Mutex<State>,
}

/// What has to last as long as a command, such as a lock.
pub type Kept = Box<dyn Send>;

#[derive(Default)]
struct State {
    waiting: HashMap<u64, oneshot::Sender<Outcome>>,
    /// By request: until it is answered, whoever waits for that.
    kept: HashMap<u64, Vec<Kept>>,
    notice: Option<String>,
    gone: Option<Option<String>>,
}

struct Connection {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The helper sees the end of its input and exits; there is nobody left to tell of a failure.
        let _ = self.shared.socket.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            // It ends the helper, which takes milliseconds, and removes its control groups: were it not waited
            // for, a program that ends next would leave them. A panic of it was told when it happened.
            let _ = thread.join();
        }
    }
}

impl Supervisor {
    /// Starts the helper and waits until its namespaces stand.
    pub async fn start(options: SupervisorOptions) -> Result<Self, SandboxError> {
        if !cfg!(target_os = "linux") {
            let detail = "namespaces are Linux's; `--builder docker` builds elsewhere";
            let source = io::Error::new(io::ErrorKind::Unsupported, detail);
            return Err(SandboxError::Io { action: "start a sandbox on this system", source });
        }
        let (report, started) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("sandbox".into())
            .spawn(move || attend(&options, report))
            .map_err(|source| SandboxError::Io { action: "start a thread for the sandbox", source })?;
        let shared = started.await.map_err(|_| SandboxError::HelperGone(None))??;
        let connection = Connection { shared: shared.clone(), thread: Some(thread) };
        Ok(Self { _connection: Arc::new(connection), shared })
    }

    /// Which ids steps and files can have.
    pub fn id_map(&self) -> IdMap {
        self.shared.id_map
    }

    /// The control groups that bound the steps; empty where this user can make none.
    pub fn control_groups(&self) -> &[PathBuf] {
        &self.shared.control_groups
    }

    /// Why the default network turned out to be the host's; `None` as long as no step asked for it.
    pub fn network_notice(&self) -> Option<String> {
        self.shared.state().notice.clone()
    }

    /// Runs a command to its end. Dropping the future kills everything it started.
    pub async fn run(&self, request: RunRequest, stdio: Stdio) -> Result<RunExit, SandboxError> {
        let mut step = self.start_run(request, stdio, Vec::new())?;
        step.wait().await
    }

    /// Starts a command whose end can be awaited apart from killing it. What is `kept` is dropped when it is
    /// gone, also when nobody waits any more.
    pub fn start_run(
        &self,
        request: RunRequest,
        stdio: Stdio,
        kept: Vec<Kept>,
    ) -> Result<RunningStep, SandboxError> {
        let mut descriptors = vec![stdio.output.as_fd(), stdio.error.as_fd()];
        descriptors.extend(stdio.input.as_ref().map(AsFd::as_fd));
        let program = program_of(&request.argv);
        let upper = request.upper.clone();
        let memory_kills = self.shared.memory_kills.count();
        let pending = self.ask(Order::Run(Box::new(request)), &descriptors, kept)?;
        Ok(RunningStep { pending, program, upper, memory_kills })
    }

    /// Starts a command whose request asks for a terminal; gives the terminal's controlling end as well.
    pub async fn start_in_terminal(
        &self,
        request: RunRequest,
        kept: Vec<Kept>,
    ) -> Result<(RunningStep, OwnedFd), SandboxError> {
        let io = |source| SandboxError::Io { action: "hear of the terminal", source };
        let (ours, theirs) = UnixStream::pair().map_err(io)?;
        let program = program_of(&request.argv);
        let (upper, memory_kills) = (request.upper.clone(), self.shared.memory_kills.count());
        let pending = self.ask(Order::Run(Box::new(request)), &[theirs.as_fd()], kept)?;
        drop(theirs);
        let mut step = RunningStep { pending, program, upper, memory_kills };
        let received = tokio::task::spawn_blocking(move || wire::receive::<()>(&ours)).await;
        let received = received.map_err(|_| confused())?.map_err(io)?;
        match received.and_then(|((), descriptors)| descriptors.into_iter().next()) {
            Some(controller) => Ok((step, controller)),
            // It never came to run.
            None => Err(step.wait().await.err().unwrap_or_else(confused)),
        }
    }

    /// Does file-system work inside the namespaces. Dropping the future kills the work.
    pub async fn call(
        &self,
        task: HelperTask,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<TaskOutput, SandboxError> {
        let pending = self.ask(Order::Task(task), descriptors, Vec::new());
        match pending?.outcome().await? {
            Outcome::Output(output) => Ok(*output),
            Outcome::Failed(failure) => Err(classify(failure, "", &PathBuf::new())),
            Outcome::Exit(_) | Outcome::NetworkNotice(_) => Err(confused()),
        }
    }

    fn ask(
        &self,
        order: Order,
        descriptors: &[BorrowedFd<'_>],
        kept: Vec<Kept>,
    ) -> Result<Pending, SandboxError> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.shared.state();
            if let Some(why) = &state.gone {
                return Err(SandboxError::HelperGone(why.clone()));
            }
            state.waiting.insert(id, sender);
            state.kept.insert(id, kept);
        }
        let pending = Pending { id, receiver: Some(receiver), supervisor: self.clone() };
        self.shared
            .send(&Message { id, order }, descriptors)
            .map_err(|source| SandboxError::Io { action: "reach the sandbox helper", source })?;
        Ok(pending)
    }
}

/// A command that was handed to the helper.
pub struct RunningStep {
    pending: Pending,
    program: String,
    upper: PathBuf,
    /// Of the supervisor, before this step.
    memory_kills: u64,
}

impl RunningStep {
    /// Kills the command and everything it started; [`RunningStep::wait`] then tells when they are gone.
    pub fn kill(&self) {
        self.pending.kill();
    }

    /// Sends a signal to the command itself.
    pub fn signal(&self, number: i32) {
        let shared = &self.pending.supervisor.shared;
        // As with `kill`.
        let _ =
            shared.send(&Message { id: self.pending.id, order: Order::Signal(self.pending.id, number) }, &[]);
    }

    /// Kills the command if a signal that was sent would have ended any other process: it is the first of its namespace,
    /// which the kernel spares.
    pub fn nudge(&self, number: i32) {
        let shared = &self.pending.supervisor.shared;
        // As with `kill`.
        let _ =
            shared.send(&Message { id: self.pending.id, order: Order::Nudge(self.pending.id, number) }, &[]);
    }

    /// Starts a further command in its namespaces, which ends with it at the latest.
    pub fn start_exec(&self, request: ExecRequest, stdio: Stdio) -> Result<RunningStep, SandboxError> {
        let supervisor = &self.pending.supervisor;
        let mut descriptors = vec![stdio.output.as_fd(), stdio.error.as_fd()];
        descriptors.extend(stdio.input.as_ref().map(AsFd::as_fd));
        let program = program_of(&request.argv);
        let memory_kills = supervisor.shared.memory_kills.count();
        let order = Order::Exec(self.pending.id, Box::new(request));
        let pending = supervisor.ask(order, &descriptors, Vec::new())?;
        Ok(RunningStep { pending, program, upper: PathBuf::new(), memory_kills })
    }

    /// Waits until something listens at all of these ports where it runs. Dropping the future ends the looking.
    pub fn await_ports(
        &self,
        ports: Vec<OpenPort>,
    ) -> impl Future<Output = Result<(), SandboxError>> + Send + use<> {
        let order = Order::AwaitPorts(self.pending.id, ports);
        let asked = self.pending.supervisor.ask(order, &[], Vec::new());
        async move {
            match asked?.outcome().await? {
                Outcome::Output(_) => Ok(()),
                Outcome::Failed(failure) => Err(classify(failure, "", &PathBuf::new())),
                Outcome::Exit(_) | Outcome::NetworkNotice(_) => Err(confused()),
            }
        }
    }

    /// Waits for the end. May be dropped and called again as long as it has given none.
    pub async fn wait(&mut self) -> Result<RunExit, SandboxError> {
        match self.pending.outcome().await? {
            Outcome::Exit(mut exit) => {
                let kills = self.pending.supervisor.shared.memory_kills.count();
                exit.memory_kills = kills.saturating_sub(self.memory_kills);
                Ok(exit)
            }
            Outcome::Failed(failure) => Err(classify(failure, &self.program, &self.upper)),
            Outcome::Output(_) | Outcome::NetworkNotice(_) => Err(confused()),
        }
    }
}

fn program_of(argv: &[std::ffi::OsString]) -> String {
    argv.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn classify(failure: StepFailure, program: &str, upper: &std::path::Path) -> SandboxError {
    match failure {
        StepFailure::Overlay(failure) => SandboxError::OverlayRefused { upper: upper.to_owned(), failure },
        StepFailure::Exec(failure) => SandboxError::Exec { program: program.to_string(), failure },
        StepFailure::Other(failure) => SandboxError::Failed(failure),
    }
}

fn confused() -> SandboxError {
    SandboxError::Failed(Failure::new("understand the sandbox helper", "it answered another question"))
}

/// A request that is under way; dropping it kills it.
struct Pending {
    id: u64,
    receiver: Option<oneshot::Receiver<Outcome>>,
    supervisor: Supervisor,
}

impl Pending {
    async fn outcome(&mut self) -> Result<Outcome, SandboxError> {
        let Some(receiver) = self.receiver.as_mut() else { return Err(SandboxError::HelperGone(None)) };
        let outcome = receiver.await;
        self.receiver = None;
        outcome.map_err(|_| SandboxError::HelperGone(self.supervisor.shared.state().gone.clone().flatten()))
    }

    fn kill(&self) {
        // A helper that cannot be reached is gone, and so is what it ran.
        let _ = self.supervisor.shared.send(&Message { id: self.id, order: Order::Kill(self.id) }, &[]);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.receiver.is_some() {
            self.supervisor.shared.state().waiting.remove(&self.id);
            self.kill();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        // Writing blocks only while the helper forks: it reads whenever it is idle.
        let _whole_frames = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        wire::send(&self.socket, message, descriptors)
    }

    fn handle(&self, answer: Answer) {
        let mut state = self.state();
        if let Outcome::NetworkNotice(notice) = answer.outcome {
            state.notice = Some(notice);
            return;
        }
        state.kept.remove(&answer.id);
        if let Some(sender) = state.waiting.remove(&answer.id) {
            // A dropped receiver asked for the kill whose result this is.
            let _ = sender.send(answer.outcome);
        }
    }
}

/// The life of the supervisor's thread.
fn attend(options: &SupervisorOptions, report: oneshot::Sender<Result<Arc<Shared>, SandboxError>>) {
    // Declared first to be dropped last: a group can be removed only when its processes are gone.
    let mut groups = ControlGroups::make(&options.limits);
    let (mut child, socket) = match launch(options) {
        Ok(launched) => launched,
        Err(error) => return drop(report.send(Err(error))),
    };
    // Before it is greeted it has started nothing.
    groups.take_in(child.id());
    let id_map = match &options.isolation {
        Isolation::Host => IdMap::Full,
        Isolation::User { maps } => maps.reach(),
    };
    if let Err(error) = shake_hands(&socket, &child, options, &groups) {
        drop(socket);
        end(&mut child);
        return drop(report.send(Err(error)));
    }
    let reader = match socket.try_clone() {
        Ok(reader) => reader,
        Err(source) => {
            return drop(report.send(Err(SandboxError::Io { action: "reach the sandbox helper", source })));
        }
    };
    let shared = Arc::new(Shared {
        socket,
        next_id: AtomicU64::new(1),
        id_map,
        control_groups: groups.folders(),
        memory_kills: groups.memory_kills(),
        sending: Mutex::default(),
        state: Mutex::default(),
    });
    if report.send(Ok(shared.clone())).is_err() {
        // Nobody waits for the helper any more.
        return end(&mut child);
    }
    let why = loop {
        match wire::receive::<Answer>(&reader) {
            Ok(Some((answer, _))) => shared.handle(answer),
            Ok(None) => break None,
            Err(error) => break Some(error.to_string()),
        }
    };
    let mut state = shared.state();
    state.gone = Some(why);
    state.waiting.clear();
    let kept = std::mem::take(&mut state.kept);
    drop(state);
    end(&mut child);
    drop(kept);
}

fn end(child: &mut Child) {
    // Both fail only for a child that is gone already, which is what is wanted.
    let _ = child.kill();
    let _ = child.wait();
}

fn launch(options: &SupervisorOptions) -> Result<(Child, UnixStream), SandboxError> {
    let io = |action| move |source| SandboxError::Io { action, source };
    std::fs::create_dir_all(&options.state).map_err(io("make the sandbox's directory"))?;
    let (ours, theirs) = UnixStream::pair().map_err(io("make a socket for the sandbox helper"))?;
    // The socket is the helper's standard input: the one descriptor that can be handed over without a window
    // in which another thread's child inherits it too.
    let child = Command::new(&options.executable)
        .arg(wire::ARGUMENT)
        .stdin(ProcessStdio::from(OwnedFd::from(theirs)))
        .stdout(ProcessStdio::null())
        .current_dir("/")
        // What a terminal says to this program's group is this program's to pass on.
        .process_group(0)
        .spawn()
        .map_err(io("start the sandbox helper"))?;
    Ok((child, ours))
}

fn shake_hands(
    socket: &UnixStream,
    child: &Child,
    options: &SupervisorOptions,
    groups: &ControlGroups,
) -> Result<(), SandboxError> {
    let io = |source| SandboxError::Io { action: "start the sandbox helper", source };
    let maps = match &options.isolation {
        Isolation::Host => None,
        Isolation::User { maps } => Some(maps),
    };
    let state = std::path::absolute(&options.state).map_err(io)?;
    let opening = Opening {
        user_namespace: maps.is_some(),
        emulators: options.emulators.clone(),
        state,
        process_limit: process_limit(options, groups),
        namespace_limit: namespace_limit(options, groups),
    };
    wire::send(socket, &opening, &[]).map_err(io)?;
    loop {
        match wire::receive::<Greeting>(socket).map_err(io)? {
            Some((Greeting::Ready, _)) => return Ok(()),
            Some((Greeting::Unshared, _)) => {
                if let Some(maps) = maps {
                    maps.write_for(child.id()).map_err(SandboxError::IdMap)?;
                }
                wire::send(socket, &(), &[]).map_err(io)?;
            }
            Some((Greeting::UserNamespaceRefused(failure), _)) => return Err(refused(&failure)),
            Some((Greeting::Failed(failure), _)) => return Err(SandboxError::Failed(failure)),
            None => return Err(SandboxError::HelperGone(Some("it ended while starting".into()))),
        }
    }
}

/// What RLIMIT_NPROC has to bound because no control group does. The limit counts all processes of a user on the
/// host, which for an ordinary user, desktop included, are thousands at most; root is exempt from it.
fn process_limit(options: &SupervisorOptions, groups: &ControlGroups) -> Option<u64> {
    let is_needed = !groups.bound_processes() && !rustix::process::geteuid().is_root();
    is_needed.then_some(options.limits.processes)
}

/// What the pid namespace has to bound because no control group does: of everybody, root included.
fn namespace_limit(options: &SupervisorOptions, groups: &ControlGroups) -> Option<u64> {
    const SINCE: (u32, u32) = (6, 14);
    let uname = rustix::system::uname();
    // Older kernels have one limit for all, which root would change.
    let has_own = parse_release(&uname.release().to_string_lossy()) >= SINCE;
    (has_own && !groups.bound_processes()).then_some(options.limits.processes)
}

fn refused(failure: &Failure) -> SandboxError {
    let setting = |name: &str| std::fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default();
    SandboxError::NoUserNamespaces {
        detail: failure.to_string(),
        apparmor_restricted: setting("kernel/apparmor_restrict_unprivileged_userns").trim() == "1",
        limit_is_zero: setting("user/max_user_namespaces").trim() == "0",
    }
}
