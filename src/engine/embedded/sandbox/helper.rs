//! The helper process: start-up, then one loop that forks a child per request and reaps it.
//!
//! It has one thread, so that it may fork and go on in Rust. It never blocks on file-system work: that is done
//! in children, whose results come back through an anonymous file each, because a pipe could fill up.

use std::collections::HashMap;
use std::fs::File;
use std::io::{PipeReader, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountPropagationFlags;
use serde::{Deserialize, Serialize};

use super::error::{Doing, Failure};
use super::exec::Place;
use super::network::DefaultNetwork;
use super::request::{ExecRequest, ExitStatus, Network, RunExit, RunRequest, TaskOutput};
use super::stubs::Stubs;
use super::syscall::{self, Fork, Reaped};
use super::wire::{self, ARGUMENT, Answer, Greeting, Message, Opening, Order, Outcome, StepFailure};
use super::{binfmt, exec, step, tasks};

/// Becomes the helper if this process was started as one, and then gives its exit code. To be called first
/// thing in `main`, before any thread exists.
pub fn main_if_asked() -> Option<i32> {
    (std::env::args_os().nth(1)? == ARGUMENT).then(start)
}

fn start() -> i32 {
    let Ok(socket) = std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from) else { return 1 };
    // Nothing started later may hold the socket open.
    if rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()).and_then(rustix::stdio::dup2_stdin).is_err()
    {
        return 1;
    }
    let opening = match wire::receive::<Opening>(&socket) {
        Ok(Some((opening, _))) => opening,
        // Somebody called us by hand.
        _ => return 2,
    };
    match enter_namespaces(&socket, &opening) {
        Ok(Some(pid)) => wait_as_shell(pid),
        Ok(None) => syscall::exit_now(serve(socket, opening)),
        Err(greeting) => {
            // The parent learns why; if it is gone, nobody has to.
            let _ = wire::send(&socket, &greeting, &[]);
            1
        }
    }
}

/// Waits for the supervisor, whose namespaces have to be entered by a fork.
fn wait_as_shell(pid: i32) -> i32 {
    match syscall::wait_for(pid).map(status_of) {
        Ok(ExitStatus::Exited(code)) => code,
        Ok(ExitStatus::Signaled(_)) | Err(_) => 1,
    }
}

/// Makes the namespaces. Gives the supervisor's id in the process that stays outside, `None` in the supervisor.
fn enter_namespaces(socket: &UnixStream, opening: &Opening) -> Result<Option<i32>, Greeting> {
    die_with_parent().map_err(Greeting::Failed)?;
    if let Some(limit) = opening.process_limit {
        limit_processes(limit).map_err(Greeting::Failed)?;
    }
    if opening.user_namespace {
        syscall::unshare(libc::CLONE_NEWUSER)
            .doing(|| "make a user namespace".into())
            .map_err(Greeting::UserNamespaceRefused)?;
        receive_ids(socket).map_err(Greeting::Failed)?;
    }
    match syscall::fork_into(libc::CLONE_NEWNS | libc::CLONE_NEWPID) {
        Ok(Fork::Parent(pid)) => Ok(Some(pid)),
        Ok(Fork::Child) => {
            prepare(opening).map_err(Greeting::Failed)?;
            Ok(None)
        }
        // A policy may grant the namespace but no capabilities in it, as Ubuntu's AppArmor does.
        Err(error) => {
            let failure = Err::<(), _>(error).doing(|| "make mount and pid namespaces".into());
            Err(Greeting::UserNamespaceRefused(failure.expect_err("it was built from an error")))
        }
    }
}

/// Lowers RLIMIT_NPROC for the helper and all it starts. Set before the user namespace is made, it also bounds
/// all users of the namespace together since Linux 5.14, whatever they raise theirs to. The hard limit stays,
/// because an ordinary user could not give it back to a step that asks for more. There is no such limit for
/// memory: RLIMIT_AS breaks programs that reserve address space they never use, such as Go's and Java's.
fn limit_processes(limit: u64) -> Result<(), Failure> {
    let mut limits = rustix::process::getrlimit(rustix::process::Resource::Nproc);
    limits.current = Some(limits.current.map_or(limit, |current| current.min(limit)));
    rustix::process::setrlimit(rustix::process::Resource::Nproc, limits)
        .doing(|| "limit the number of processes".into())
}

/// Lowers the number of ids that the pid namespace gives out, whoever asks. To be called in a namespace of one's own.
fn limit_namespace(limit: u64) -> Result<(), Failure> {
    match std::fs::write(wire::PID_MAX, limit.to_string()) {
        // A container's policy may keep what is below /proc/sys from being written; then nothing is bounded here.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EROFS | libc::EACCES | libc::EPERM)) => {
            Ok(())
        }
        written => written.doing(|| "limit the number of processes".into()),
    }
}

fn receive_ids(socket: &UnixStream) -> Result<(), Failure> {
    wire::send(socket, &Greeting::Unshared, &[]).doing(|| "tell the parent".into())?;
    if wire::receive::<()>(socket).doing(|| "hear from the parent".into())?.is_none() {
        return Err(Failure::new("hear from the parent", "it is gone"));
    }
    let (root_user, root_group) = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
    rustix::thread::set_thread_res_gid(root_group, root_group, root_group)
        .doing(|| "become group 0".into())?;
    rustix::thread::set_thread_res_uid(root_user, root_user, root_user).doing(|| "become user 0".into())?;
    // Groups of the outer user mean nothing here; a single-id map forbids to drop them, which is harmless.
    let _ = rustix::thread::set_thread_groups(&[]);
    // Changing ids cleared it.
    die_with_parent()
}

fn die_with_parent() -> Result<(), Failure> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .doing(|| "tie the helper to its parent".into())
}

fn prepare(opening: &Opening) -> Result<(), Failure> {
    die_with_parent()?;
    // Modes of what is made here must not depend on who started the build.
    rustix::process::umask(Mode::from(0o022));
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).doing(|| "make mounts private".into())?;
    if let Some(limit) = opening.namespace_limit {
        limit_namespace(limit)?;
    }
    Layout::new(&opening.state).make()?;
    if !opening.emulators.is_empty() {
        binfmt::register(&opening.emulators)?;
    }
    Ok(())
}

/// The supervisor's own directories.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Where a step's root is mounted, in the step's mount namespace only.
    pub root: PathBuf,
    /// Where a step's inline files live, likewise.
    pub files: PathBuf,
    /// Always empty; covers masked directories, and is the only layer of an empty root.
    pub empty: PathBuf,
    /// What the default network namespace is mounted on.
    network: PathBuf,
}

impl Layout {
    fn new(state: &std::path::Path) -> Self {
        Self {
            root: state.join("root"),
            files: state.join("files"),
            empty: state.join("empty"),
            network: state.join("network"),
        }
    }

    fn make(&self) -> Result<(), Failure> {
        for path in [&self.root, &self.files, &self.empty] {
            std::fs::create_dir_all(path).doing(|| format!("make `{}`", path.display()))?;
        }
        Ok(())
    }
}

/// What a step's child writes down before its command takes over, and when it fails.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct StepReport {
    pub stubs: Stubs,
    /// When the command was about to begin, by the machine's monotonic clock.
    pub began: Option<Duration>,
    pub failure: Option<StepFailure>,
}

/// A child that works on a request.
struct Running {
    id: u64,
    results: File,
    work: Work,
}

enum Work {
    Step {
        /// To be tidied after it.
        upper: PathBuf,
        /// The other end is the step's, and closed by its exec.
        begun: PipeReader,
        shares_host_network: bool,
    },
    /// A further command where a step runs.
    Exec,
    Task,
}

struct Helper {
    socket: UnixStream,
    layout: Layout,
    network: DefaultNetwork,
    children: HashMap<i32, Running>,
}

/// Serves until the parent is gone. Everything still running dies with this process.
fn serve(socket: UnixStream, opening: Opening) -> i32 {
    let Ok(events) = syscall::child_events() else { return 1 };
    let layout = Layout::new(&opening.state);
    let mut helper = Helper { socket, layout, network: DefaultNetwork::default(), children: HashMap::new() };
    if wire::send(&helper.socket, &Greeting::Ready, &[]).is_err() {
        return 1;
    }
    loop {
        let (socket_ready, child_ended) = match wait_for_either(&helper.socket, &events) {
            Ok(ready) => ready,
            Err(_) => return 1,
        };
        if child_ended && helper.reap_all(&events).is_err() {
            return 0;
        }
        if !socket_ready {
            continue;
        }
        match wire::receive::<Message>(&helper.socket) {
            Ok(Some((message, descriptors))) => {
                if helper.obey(message, descriptors).is_err() {
                    return 0;
                }
            }
            Ok(None) => return 0,
            Err(_) => return 1,
        }
    }
}

fn wait_for_either(socket: &UnixStream, events: &OwnedFd) -> rustix::io::Result<(bool, bool)> {
    loop {
        let mut waits = [PollFd::new(socket, PollFlags::IN), PollFd::new(events, PollFlags::IN)];
        match poll(&mut waits, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error),
            Ok(_) => return Ok((!waits[0].revents().is_empty(), !waits[1].revents().is_empty())),
        }
    }
}

impl Helper {
    fn obey(&mut self, message: Message, descriptors: Vec<OwnedFd>) -> std::io::Result<()> {
        let id = message.id;
        let started = match message.order {
            Order::Kill(target) => {
                self.kill(target);
                return Ok(());
            }
            Order::Run(request) => self.start_step(id, &request, descriptors),
            Order::Task(task) => self.start_task(id, |layout| tasks::perform(&task, descriptors, layout)),
            Order::Exec(target, request) => self.start_exec(id, target, &request, descriptors),
            Order::AwaitPorts(target, ports) => self.place_of(target).and_then(|place| {
                self.start_task(id, |_| exec::await_ports(&place, &ports).map(|()| TaskOutput::Done))
            }),
            Order::Nudge(target, number) => {
                if let Some((pid, _)) = self.step(target).filter(|(pid, _)| exec::is_deaf_to(*pid, number)) {
                    syscall::kill(pid);
                }
                return Ok(());
            }
            Order::Signal(target, number) => {
                match self.step(target) {
                    // The kernel would drop it.
                    Some((pid, _)) if exec::is_deaf_to(pid, number) => syscall::kill(pid),
                    Some((pid, _)) => syscall::signal(pid, number),
                    None => {}
                }
                return Ok(());
            }
        };
        match started {
            Ok(()) => Ok(()),
            Err(failure) => self.answer(id, Outcome::Failed(failure.into())),
        }
    }

    fn kill(&self, target: u64) {
        for (&pid, running) in &self.children {
            if running.id == target {
                syscall::kill(pid);
            }
        }
    }

    /// The process of a step that runs, and what its work is.
    fn step(&self, target: u64) -> Option<(i32, &Work)> {
        let is_meant = |running: &Running| running.id == target && matches!(running.work, Work::Step { .. });
        let (&pid, running) = self.children.iter().find(|(_, running)| is_meant(running))?;
        Some((pid, &running.work))
    }

    fn place_of(&self, target: u64) -> Result<Place, Failure> {
        match self.step(target) {
            Some((pid, Work::Step { begun, shares_host_network, .. })) => {
                Place::new(pid, begun, *shares_host_network)
            }
            _ => Err(Failure::new("find the running command", "it is over")),
        }
    }

    fn start_exec(
        &mut self,
        id: u64,
        target: u64,
        request: &ExecRequest,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let place = self.place_of(target)?;
        let results = anonymous_file()?;
        match syscall::fork_into(0).doing(|| "start a process for the command".into())? {
            Fork::Parent(pid) => {
                self.children.insert(pid, Running { id, results, work: Work::Exec });
                Ok(())
            }
            Fork::Child => exec::run_command(request, &place, descriptors, &results),
        }
    }

    fn start_step(
        &mut self,
        id: u64,
        request: &RunRequest,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        if request.network == Network::Default && self.network.prepare(&self.layout.network) {
            let notice = self.network.notice().unwrap_or_default().to_string();
            self.answer(id, Outcome::NetworkNotice(notice)).doing(|| "answer the parent".into())?;
        }
        let results = anonymous_file()?;
        // Of both ends the standard library has the kernel close them at an exec.
        let (begun, held) = std::io::pipe().doing(|| "make a pipe".into())?;
        let mut flags = libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
        if request.network == Network::None {
            flags |= libc::CLONE_NEWNET;
        }
        match syscall::fork_into(flags).doing(|| "start a process for the step".into())? {
            Fork::Parent(pid) => {
                let is_shared = request.network == Network::Default && self.network.notice().is_some();
                let shares_host_network = request.network == Network::Host || is_shared;
                let work = Work::Step { upper: request.upper.clone(), begun, shares_host_network };
                self.children.insert(pid, Running { id, results, work });
                Ok(())
            }
            Fork::Child => {
                drop(begun);
                let _held = held;
                step::become_command(request, descriptors, &self.layout, &self.network, results)
            }
        }
    }

    fn start_task(
        &mut self,
        id: u64,
        perform: impl FnOnce(&Layout) -> Result<TaskOutput, Failure>,
    ) -> Result<(), Failure> {
        let results = anonymous_file()?;
        match syscall::fork_into(0).doing(|| "start a process for a task".into())? {
            Fork::Parent(pid) => {
                self.children.insert(pid, Running { id, results, work: Work::Task });
                Ok(())
            }
            Fork::Child => {
                syscall::reset_signals();
                let written = write_results(&results, &perform(&self.layout));
                syscall::exit_now(i32::from(written.is_err()))
            }
        }
    }

    fn reap_all(&mut self, events: &OwnedFd) -> std::io::Result<()> {
        // Only empties it: one event may stand for several children.
        let _ = rustix::io::read(events, &mut [0u8; 512]);
        while let Some(reaped) = syscall::reap() {
            // Others are orphans of tasks and of the network tool.
            if let Some(running) = self.children.remove(&reaped.pid) {
                let outcome = conclude(&reaped, &running);
                self.answer(running.id, outcome)?;
            }
        }
        Ok(())
    }

    fn answer(&self, id: u64, outcome: Outcome) -> std::io::Result<()> {
        wire::send(&self.socket, &Answer { id, outcome }, &[])
    }
}

/// What a child's end means.
fn conclude(reaped: &Reaped, running: &Running) -> Outcome {
    match &running.work {
        Work::Task => match read_results::<Result<TaskOutput, Failure>>(&running.results) {
            Some(Ok(output)) => Outcome::Output(Box::new(output)),
            Some(Err(failure)) => Outcome::Failed(failure.into()),
            None => Outcome::Failed(Failure::new("do a task", describe(reaped.status)).into()),
        },
        Work::Exec => match read_results::<exec::Report>(&running.results) {
            Some(Ok(exit)) => Outcome::Exit(exit),
            Some(Err(failure)) => Outcome::Failed(failure),
            // It was killed, and so was the command, which is in the namespace of a step.
            None => Outcome::Exit(exit_of(reaped)),
        },
        Work::Step { upper, .. } => conclude_step(reaped, running, upper),
    }
}

fn conclude_step(reaped: &Reaped, running: &Running, upper: &std::path::Path) -> Outcome {
    let report = read_results::<StepReport>(&running.results).unwrap_or_default();
    let tidied = report.stubs.remove_from(upper);
    match (report.failure, tidied) {
        (Some(failure), _) => Outcome::Failed(failure),
        (None, Err(failure)) => Outcome::Failed(failure.into()),
        (None, Ok(())) => {
            let elapsed = report.began.map_or(Duration::ZERO, |began| monotonic().saturating_sub(began));
            Outcome::Exit(RunExit { elapsed, ..exit_of(reaped) })
        }
    }
}

/// The same in all processes of a machine.
pub(super) fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn describe(status: i32) -> String {
    match status_of(status) {
        ExitStatus::Exited(code) => format!("its process ended with code {code}"),
        ExitStatus::Signaled(signal) => format!("its process was ended by signal {signal}"),
    }
}

fn status_of(status: i32) -> ExitStatus {
    if libc::WIFSIGNALED(status) {
        return ExitStatus::Signaled(libc::WTERMSIG(status));
    }
    ExitStatus::Exited(libc::WEXITSTATUS(status))
}

pub(super) fn exit_of(reaped: &Reaped) -> RunExit {
    let time = |value: libc::timeval| {
        Duration::from_secs(value.tv_sec.unsigned_abs()) + Duration::from_micros(value.tv_usec.unsigned_abs())
    };
    RunExit {
        status: status_of(reaped.status),
        elapsed: Duration::ZERO,
        user_time: time(reaped.usage.ru_utime),
        system_time: time(reaped.usage.ru_stime),
        peak_memory: reaped.usage.ru_maxrss.unsigned_abs(),
        memory_kills: 0,
    }
}

fn anonymous_file() -> Result<File, Failure> {
    rustix::fs::memfd_create("mab-results", rustix::fs::MemfdFlags::CLOEXEC)
        .map(File::from)
        .doing(|| "make an anonymous file".into())
}

/// Replaces what the file says.
pub(super) fn write_results<T: Serialize>(mut file: &File, value: &T) -> std::io::Result<()> {
    let text = serde_json::to_vec(value)?;
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(&text)
}

pub(super) fn read_results<T: for<'de> Deserialize<'de>>(mut file: &File) -> Option<T> {
    let mut text = Vec::new();
    file.rewind().ok()?;
    file.read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
