//! One RUN, from the fork to the exec: the order in which a fresh process becomes the command.
//!
//! It starts as the first process of a pid namespace, in namespaces of its own. Whatever the command leaves in
//! the background dies with it, because it is that first process. Limits on memory and processes are the
//! helper's, which its children inherit: every descendant stays in its control groups.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use landlock::{Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope};
use rustix::fs::Mode;

use super::devices;
use super::error::{Doing, Failure};
use super::helper::{Layout, StepReport, monotonic, write_results};
use super::mounts::{self, Root};
use super::network::DefaultNetwork;
use super::overlay::Overlay;
use super::process::{self, Capabilities};
use super::request::{Limit, Network, RunRequest, User};
use super::seccomp;
use super::stubs::Stubs;
use super::syscall;
use super::terminal;
use super::wire::StepFailure;

/// Becomes the command. Failures are written to `results` and end the process.
pub(super) fn become_command(
    request: &RunRequest,
    descriptors: Vec<OwnedFd>,
    layout: &Layout,
    network: &DefaultNetwork,
    results: File,
) -> ! {
    let mut stubs = Stubs::default();
    let failure = match prepare(request, descriptors, layout, network, &results, &mut stubs) {
        Ok(()) => StepFailure::Exec(process::execute(&request.argv, &request.env)),
        Err(failure) => failure,
    };
    // Without this report the parent still learns of a failure by the exit code.
    let _ = write_results(&results, &StepReport { stubs, began: None, failure: Some(failure) });
    syscall::exit_now(125)
}

fn prepare(
    request: &RunRequest,
    descriptors: Vec<OwnedFd>,
    layout: &Layout,
    network: &DefaultNetwork,
    results: &File,
    stubs: &mut Stubs,
) -> Result<(), StepFailure> {
    syscall::reset_signals();
    rustix::process::setsid().doing(|| "start a session".into())?;
    let mut descriptors = descriptors.into_iter();
    let terminal = match request.terminal {
        Some(size) => Some((size, descriptors.next().ok_or_else(no_streams)?)),
        None => {
            take_stdio(descriptors)?;
            None
        }
    };
    let shares_host_network = join_network(request.network, network)?;
    mount_root(request, layout)?;
    let mut root = Root::open(layout, &request.upper)?;
    let furnished = furnish(&mut root, request, layout);
    *stubs = std::mem::take(&mut root.stubs);
    let dev = furnished?;
    drop(root);
    if let Some((size, socket)) = terminal {
        terminal::take(&dev, socket, size, &request.user)?;
    }
    drop(dev);
    write_results(results, &StepReport { stubs: stubs.clone(), began: Some(monotonic()), failure: None })
        .doing(|| "report to the helper".into())?;
    rustix::system::sethostname(request.hostname.as_bytes()).doing(|| "set the hostname".into())?;
    mounts::pivot(&layout.root)?;
    let confinement = Confinement {
        cwd: &request.cwd,
        user: &request.user,
        ulimits: &request.ulimits,
        privileged: request.privileged,
        shares_host_network,
    };
    Ok(confinement.enter()?)
}

fn no_streams() -> Failure {
    Failure::new("set up standard output", "no descriptor came with the request")
}

pub(super) fn take_stdio(mut given: impl Iterator<Item = OwnedFd>) -> Result<(), Failure> {
    let (Some(output), Some(error)) = (given.next(), given.next()) else { return Err(no_streams()) };
    let input = given.next().map_or_else(devices::null_device, Ok)?;
    rustix::stdio::dup2_stdin(input.as_fd()).doing(|| "set up standard input".into())?;
    rustix::stdio::dup2_stdout(output.as_fd()).doing(|| "set up standard output".into())?;
    rustix::stdio::dup2_stderr(error.as_fd()).doing(|| "set up standard error".into())
}

/// Gives whether the step is in the host's network namespace.
fn join_network(wanted: Network, default: &DefaultNetwork) -> Result<bool, Failure> {
    match wanted {
        Network::None => {
            syscall::loopback_up().doing(|| "set the loopback interface up".into()).map(|()| false)
        }
        Network::Host => Ok(true),
        Network::Default => default.join().map(|joined| !joined),
    }
}

fn mount_root(request: &RunRequest, layout: &Layout) -> Result<(), StepFailure> {
    let empty = [layout.empty.clone()];
    let lowers = if request.lowers.is_empty() { &empty[..] } else { &request.lowers };
    let overlay = Overlay { lowers, changes: Some((&request.upper, &request.work)) };
    overlay.mount_at(&layout.root).map_err(StepFailure::Overlay)
}

/// Gives the root of `/dev`.
fn furnish(root: &mut Root<'_>, request: &RunRequest, layout: &Layout) -> Result<OwnedFd, Failure> {
    devices::furnish_proc(root, &layout.empty, request.privileged)?;
    let dev = devices::furnish_dev(root, request.shm_size, request.privileged)?;
    devices::furnish_sys(root, &layout.empty, request.privileged)?;
    for (content, path) in [(&request.hosts, "/etc/hosts"), (&request.resolv_conf, "/etc/resolv.conf")] {
        if let Some(content) = content {
            root.inline_file(content, Path::new(path), 0o644, None)?;
        }
    }
    for mount in &request.mounts {
        root.add(mount)?;
    }
    root.stubs.restore_times(root.path)?;
    if request.readonly {
        root.directory(&request.cwd)?;
        root.freeze()?;
    }
    Ok(dev)
}

/// What a command may not go beyond.
pub(super) struct Confinement<'a> {
    pub cwd: &'a Path,
    pub user: &'a User,
    pub ulimits: &'a [Limit],
    pub privileged: bool,
    pub shares_host_network: bool,
}

impl Confinement<'_> {
    /// Everything after which nothing of the host can be reached any more.
    pub fn enter(&self) -> Result<(), Failure> {
        process::set_limits(self.ulimits)?;
        rustix::process::umask(Mode::from(0o022));
        process::enter_directory(self.cwd)?;
        if self.shares_host_network {
            hide_abstract_sockets()
                .map_err(|error| Failure::new("scope abstract sockets", error.to_string()))?;
        }
        syscall::close_on_exec_from_3().doing(|| "close descriptors".into())?;
        // While this process may still do so without giving up setuid programs.
        if !self.privileged {
            syscall::install_filter(&seccomp::program_for_this_machine())
                .doing(|| "install the system call filter".into())?;
        }
        let kept = if self.privileged { Capabilities::All } else { Capabilities::Default };
        process::become_user(self.user, kept)
    }
}

/// Abstract sockets belong to the network namespace, so a shared one would reach the host's D-Bus and the like.
/// A kernel without Landlock, or with an older one, lets it be.
fn hide_abstract_sockets() -> Result<(), RulesetError> {
    let ruleset = Ruleset::default().scope(Scope::AbstractUnixSocket)?.create()?;
    ruleset.no_new_privs(false).restrict_self()?;
    Ok(())
}
