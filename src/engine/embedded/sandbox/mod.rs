//! Everything that needs namespaces: one helper process per build, forked once per step.
//!
//! `mab` executes itself again with a hidden first argument; that process, the *supervisor*, stays
//! single-threaded, owns the mount (and for ordinary users the user) namespace, and forks a child for every
//! request, which is cheap because the supervisor is small. The pieces, parent first:
//!
//! ```text
//! supervisor.rs  the parent's handle: start, run, call, kill          idmap.rs    which ids the user namespace has
//! request.rs     what is asked and answered    wire.rs  how it crosses the socket, with descriptors
//! cgroup.rs      what all steps together may use
//! ---- in the helper process ----
//! helper.rs      start-up, handshake, event loop: fork, reap, answer  binfmt.rs   private emulator registrations
//! step.rs        one RUN, from fork to exec      mounts.rs, overlay.rs, devices.rs  its file systems
//! stubs.rs       mount points a base lacks: made before, gone after   process.rs  ids, capabilities, limits
//! seccomp.rs     the system call filter          network.rs  network namespaces    tasks.rs  file-system work
//! terminal.rs    a terminal for a command        exec.rs     a further command, and a look, where one runs
//! ```
//!
//! The processes, and why a `kill -9` of any of them leaves nothing behind:
//!
//! ```text
//! mab ── supervisor's shell (waits only) ── supervisor: pid 1 of its pid namespace
//!                                             ├─ step: pid 1 of a pid namespace of its own ── …
//!                                             └─ task, pasta, …
//! ```
//! The death of a pid namespace's first process kills the whole namespace, and mounts live in mount
//! namespaces that die with their last process. Nothing here knows Dockerfiles, keys or the plan.
//!
//! What runs in the helper process is Linux's. The parent's side compiles elsewhere, too, and starts no helper there.

#[cfg(target_os = "linux")]
mod binfmt;
mod cgroup;
#[cfg(target_os = "linux")]
mod devices;
mod error;
#[cfg(target_os = "linux")]
mod exec;
#[cfg(target_os = "linux")]
pub mod helper;
mod idmap;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
mod network;
#[cfg(target_os = "linux")]
mod overlay;
#[cfg(target_os = "linux")]
mod process;
mod request;
#[cfg(target_os = "linux")]
mod seccomp;
#[cfg(target_os = "linux")]
mod seccomp_table;
#[cfg(target_os = "linux")]
mod step;
#[cfg(target_os = "linux")]
mod stubs;
mod supervisor;
#[cfg(target_os = "linux")]
mod syscall;
#[cfg(target_os = "linux")]
mod tasks;
#[cfg(target_os = "linux")]
mod terminal;
mod wire;

pub use cgroup::Limits;
pub use error::{Failure, SandboxError};
pub use idmap::{IdMap, IdMapping, IdMaps, Subordinate, find_program};
pub use request::{
    Changes, ExecRequest, ExitStatus, Exported, HelperTask, Limit, Mount, Network, OpenPort, Probe, RunExit,
    RunRequest, SeenFile, TaskOutput, TerminalSize, UnpackTarget, Unpacked, User,
};
pub use supervisor::{Isolation, Kept, RunningStep, Stdio, Supervisor, SupervisorOptions};
