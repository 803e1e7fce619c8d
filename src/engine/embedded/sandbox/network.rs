//! The network namespace that steps share when they ask for no particular network.
//!
//! Made once per supervisor, at the first step that wants it, because connecting it takes as long as many steps.
//! A process in a fresh namespace has no way out; `pasta` or `slirp4netns` give it one in user space, set up so
//! that nothing listening on the host's loopback can be reached through them.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::thread::LinkNameSpaceType;

use super::error::{Doing, Failure};
use super::idmap::find_program;
use super::syscall::{self, Fork};
use super::wire;

/// A tool that is not done by then does not work here.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(super) enum DefaultNetwork {
    #[default]
    Untried,
    Isolated(OwnedFd),
    Shared {
        notice: String,
    },
}

impl DefaultNetwork {
    /// Sets it up at the first call, named by a mount at `place`. True if that call found that the host's network has to serve.
    pub fn prepare(&mut self, place: &Path) -> bool {
        if !matches!(self, Self::Untried) {
            return false;
        }
        *self = match connect(place) {
            Ok(namespace) => Self::Isolated(namespace),
            Err(failure) => Self::Shared { notice: format!("steps share the host's network: {failure}") },
        };
        matches!(self, Self::Shared { .. })
    }

    pub fn notice(&self) -> Option<&str> {
        match self {
            Self::Shared { notice } => Some(notice),
            Self::Untried | Self::Isolated(_) => None,
        }
    }

    /// Enters it; false if there is none to enter.
    pub fn join(&self) -> Result<bool, Failure> {
        let Self::Isolated(namespace) = self else { return Ok(false) };
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .doing(|| "enter the network namespace".into())?;
        Ok(true)
    }
}

/// A connected network namespace.
fn connect(place: &Path) -> Result<OwnedFd, Failure> {
    let tools = [("pasta", pasta_arguments as fn(&Path) -> Vec<OsString>), ("slirp4netns", slirp_arguments)];
    let found: Vec<(PathBuf, _)> =
        tools.into_iter().filter_map(|(name, arguments)| Some((find_program(name)?, arguments))).collect();
    if found.is_empty() {
        return Err(Failure::new("isolate the network", "neither `pasta` nor `slirp4netns` is installed"));
    }
    let mut last = None;
    for (program, arguments) in found {
        // A namespace that a tool has half set up is of no use to the next.
        let namespace = fresh_namespace()?;
        give_name(&namespace, place)?;
        match start_tool(&program, &arguments(place)) {
            Ok(()) => return Ok(namespace),
            Err(failure) => last = Some(failure),
        }
    }
    Err(last.unwrap_or_else(|| Failure::new("isolate the network", "no tool works")))
}

/// A network namespace with its loopback up, held by its descriptor.
fn fresh_namespace() -> Result<OwnedFd, Failure> {
    let action = || "make a network namespace".to_string();
    let (ours, theirs) = UnixStream::pair().doing(action)?;
    // The supervisor could not come back from a namespace it entered, so a child does, and sends it over.
    match syscall::fork_into(libc::CLONE_NEWNET).doing(action)? {
        Fork::Child => {
            let sent = syscall::loopback_up()
                .and_then(|()| File::open("/proc/self/ns/net"))
                .and_then(|namespace| wire::send(&theirs, &(), &[namespace.as_fd()]));
            syscall::exit_now(i32::from(sent.is_err()))
        }
        Fork::Parent(pid) => {
            drop(theirs);
            let received = wire::receive::<()>(&ours);
            // Its descriptor counts, not its exit code.
            let _ = syscall::wait_for(pid);
            let sent = received.doing(action)?.and_then(|((), descriptors)| descriptors.into_iter().next());
            sent.ok_or_else(|| Failure::new(action(), "the process that made it died"))
        }
    }
}

/// Gives the namespace a path in this mount namespace. One below `/proc` would not do: pasta gives up most
/// capabilities before it opens the path, and may then not look into a process that has them all.
fn give_name(namespace: &OwnedFd, place: &Path) -> Result<(), Failure> {
    let action = || "name the network namespace".to_string();
    // An earlier tool's namespace; usually there is none.
    let _ = rustix::mount::unmount(place, rustix::mount::UnmountFlags::DETACH);
    File::create(place).doing(action)?;
    let source = format!("/proc/self/fd/{}", namespace.as_raw_fd());
    rustix::mount::mount_bind(source.as_str(), place).doing(action)
}

/// Runs quietly in the background once connected; no port of the host is forwarded, the gateway's address does
/// not stand for the host.
fn pasta_arguments(namespace: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["--quiet", "--config-net", "--no-map-gw", "--no-netns-quit", "--netns-only"]
            .into_iter()
            // Root is what may enter the namespace, and here often not the host's.
            .chain(["--runas", "0", "-t", "none", "-u", "none", "-T", "none", "-U", "none"])
            .map(OsString::from)
            .collect();
    arguments.extend(["--netns".into(), namespace.into()]);
    arguments
}

fn slirp_arguments(namespace: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=1", "--netns-type=path"]
            .map(OsString::from)
            .into();
    arguments.extend([namespace.into(), "tap0".into()]);
    arguments
}

/// Starts a tool and waits until it says that it is ready: pasta by going into the background, which closes its
/// output, slirp4netns by writing to it.
fn start_tool(program: &Path, arguments: &[OsString]) -> Result<(), Failure> {
    let action = || format!("connect the network with `{}`", program.display());
    let (mut ready, output) = std::io::pipe().doing(action)?;
    let (complaints, error) = std::io::pipe().doing(action)?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(error)
        .process_group(0)
        .spawn()
        .doing(action)?;
    let mut waits = [PollFd::new(&ready, PollFlags::IN)];
    let timeout = rustix::event::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let events = poll(&mut waits, Some(&timeout)).doing(action)?;
    if events == 0 {
        // It may have ended by itself just now.
        let _ = child.kill();
        let _ = child.wait();
        return Err(Failure::new(action(), "it was not ready after 5 seconds"));
    }
    let said_ready = ready.read(&mut [0]).doing(action)? == 1;
    let works = said_ready || child.wait().doing(action)?.success();
    if works { Ok(()) } else { Err(Failure::new(action(), first_words(complaints))) }
}

fn first_words(complaints: std::io::PipeReader) -> String {
    let mut text = Vec::new();
    // What can be read of a complaint is better than nothing.
    let _ = complaints.take(2000).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    let words = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    if words.is_empty() { "it failed without a word".into() } else { words }
}
