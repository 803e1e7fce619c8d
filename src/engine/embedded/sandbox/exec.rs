//! A further command where one runs already, and a look at that place's network. Both wait until that command has
//! begun: before, its process is not yet in all of its namespaces, and still in some of the host's.

use std::fs::File;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::error::{Doing, Failure};
use super::helper::{exit_of, read_results, write_results};
use super::process;
use super::request::{ExecRequest, OpenPort, RunExit};
use super::step::{Confinement, take_stdio};
use super::syscall::{self, Fork};
use super::wire::StepFailure;

/// How the helper's child says what came of the command.
pub(super) type Report = Result<RunExit, StepFailure>;

/// How often a port is looked at again: the kernel tells nobody when a socket begins to listen.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A command that was not reaped yet.
pub(super) struct Place {
    process: OwnedFd,
    /// Ends when the command has begun, or will not any more.
    begun: PipeReader,
    pub shares_host_network: bool,
}

impl Place {
    pub fn new(pid: i32, begun: &PipeReader, shares_host_network: bool) -> Result<Self, Failure> {
        let begun = begun.try_clone().doing(|| "watch the running command".into())?;
        Ok(Self { process: process_of(pid)?, begun, shares_host_network })
    }

    /// Waits until the command has begun. A pid namespace is entered by the processes that are forked afterwards.
    fn enter(&self, namespaces: ThreadNameSpaceType) -> io::Result<()> {
        io::copy(&mut &self.begun, &mut io::sink())?;
        Ok(move_into_thread_name_spaces(self.process.as_fd(), namespaces)?)
    }
}

fn process_of(pid: i32) -> Result<OwnedFd, Failure> {
    let action = || "find the running command".to_string();
    let pid = Pid::from_raw(pid).ok_or_else(|| Failure::new(action(), "it has no process"))?;
    pidfd_open(pid, PidfdFlags::empty()).doing(action)
}

/// Whether a process neither handles nor ignores a signal that ends a process by default. To the first process of a pid
/// namespace the kernel gives no such signal, whatever it would do to another one. The process is named by the outer
/// namespace that /proc shows.
pub(super) fn is_deaf_to(pid: i32, number: i32) -> bool {
    if [libc::SIGCHLD, libc::SIGCONT, libc::SIGURG, libc::SIGWINCH].contains(&number) {
        return false;
    }
    let Ok(process) = process_of(pid) else { return false };
    let field = |path: String, name: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_string()))
    };
    let Some(outer) = field(format!("/proc/self/fdinfo/{}", process.as_raw_fd()), "Pid:") else {
        return false;
    };
    let is_in = |name: &str| {
        let set = field(format!("/proc/{outer}/status"), name)?;
        Some(u64::from_str_radix(&set, 16).ok()? >> (number - 1) & 1 == 1)
    };
    (1..=64).contains(&number) && is_in("SigCgt:") == Some(false) && is_in("SigIgn:") == Some(false)
}

/// Runs the command in the namespaces of `place` to its end, and exits. A pid namespace is entered by a fork, so the
/// command is a child of this process.
pub(super) fn run_command(
    request: &ExecRequest,
    place: &Place,
    descriptors: Vec<OwnedFd>,
    results: &File,
) -> ! {
    let forked =
        enter(place).and_then(|()| syscall::fork_into(0).doing(|| "start a process for the command".into()));
    let report = match forked {
        Ok(Fork::Child) => become_command(request, descriptors, place.shares_host_network, results),
        Ok(Fork::Parent(pid)) => {
            // The pipes end with the command.
            drop(descriptors);
            let ended = syscall::wait_with_usage(pid).doing(|| "wait for the command".into());
            match read_results::<Report>(results) {
                Some(report) => report,
                None => ended.map(|reaped| exit_of(&reaped)).map_err(StepFailure::from),
            }
        }
        Err(failure) => Err(failure.into()),
    };
    let written = write_results(results, &report);
    syscall::exit_now(i32::from(written.is_err()))
}

fn enter(place: &Place) -> Result<(), Failure> {
    syscall::reset_signals();
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::CONTROL_GROUP
        | ThreadNameSpaceType::NETWORK;
    place.enter(all).doing(|| "enter the running sandbox".into())
}

fn become_command(
    request: &ExecRequest,
    descriptors: Vec<OwnedFd>,
    shares_host_network: bool,
    results: &File,
) -> ! {
    let confinement = Confinement {
        cwd: &request.cwd,
        user: &request.user,
        ulimits: &request.ulimits,
        privileged: false,
        shares_host_network,
    };
    let prepared = rustix::process::setsid()
        .doing(|| "start a session".into())
        .and_then(|_| take_stdio(descriptors.into_iter()))
        .and_then(|()| confinement.enter());
    let failure = match prepared {
        Ok(()) => StepFailure::Exec(process::execute(&request.argv, &request.env)),
        Err(failure) => failure.into(),
    };
    // Without this report the parent still learns of a failure by the exit code.
    let _ = write_results(results, &Report::Err(failure));
    syscall::exit_now(125)
}

/// Waits until something listens at all of these ports in the network namespace of `place`.
pub(super) fn await_ports(place: &Place, ports: &[OpenPort]) -> Result<(), Failure> {
    place.enter(ThreadNameSpaceType::NETWORK).doing(|| "enter the sandbox's network".into())?;
    loop {
        let open = open_ports().doing(|| "read what listens".into())?;
        if ports.iter().all(|port| open.contains(port)) {
            return Ok(());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Of the network namespace that this process is in.
fn open_ports() -> io::Result<Vec<OpenPort>> {
    let mut open = Vec::new();
    for (table, is_udp) in [("tcp", false), ("tcp6", false), ("udp", true), ("udp6", true)] {
        match std::fs::read_to_string(format!("/proc/self/net/{table}")) {
            Ok(text) => open.extend(listed(&text, is_udp)),
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(open)
}

/// The ports of a table as `/proc/net/tcp` has it: TCP's that listen (state 0A), UDP's that are bound and not connected
/// (07).
fn listed(table: &str, is_udp: bool) -> impl Iterator<Item = OpenPort> {
    let state = if is_udp { "07" } else { "0A" };
    table.lines().skip(1).filter_map(move |line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, found) = (words.next()?, words.nth(1)?);
        let number = u16::from_str_radix(local.rsplit_once(':')?.1, 16).ok()?;
        (found == state).then_some(OpenPort { number, is_udp })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_port_is_told_from_a_connected_one() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue\n";
        let tcp = format!(
            "{head}   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n   1: 0100007F:A1B2 0100007F:1F90 01 0:0\n  x"
        );
        let found: Vec<OpenPort> = listed(&tcp, false).collect();
        assert_eq!(found, [OpenPort { number: 8080, is_udp: false }]);
        let udp = format!("{head}   0: 00000000:0035 00000000:0000 07 00000000:00000000\n");
        let found: Vec<OpenPort> = listed(&udp, true).collect();
        assert_eq!(found, [OpenPort { number: 53, is_udp: true }]);
    }
}
