//! The sandbox helpers of a run, started when the first step needs one.
//!
//! One for what runs natively or through the host's own emulators, and one for each emulator that has to
//! be registered in a user namespace of its own, which hides the host's. All see the same files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::emulate::{Emulator, Execution, HostFacts, decide};
use super::sandbox::{IdMap, IdMaps, Isolation, SandboxError, Supervisor, SupervisorOptions};
use crate::base::Platform;
use crate::diag::{Kind, Problem};
use crate::store::Store;

/// The helpers, and what was found out about running commands here.
pub(super) struct Supervisors {
    state: PathBuf,
    plain: OnceCell<Supervisor>,
    /// By the emulated architecture.
    emulating: Mutex<BTreeMap<String, Arc<OnceCell<Supervisor>>>>,
    executions: Mutex<BTreeMap<Platform, Execution>>,
}

impl Supervisors {
    pub fn new(store: &Store) -> Self {
        Self {
            state: store.path().join("tmp/sandbox"),
            plain: OnceCell::new(),
            emulating: Mutex::default(),
            executions: Mutex::default(),
        }
    }

    /// How commands of `platform` run here; looked up once.
    pub fn execution(&self, platform: &Platform) -> Execution {
        let mut executions = self.executions.lock().unwrap_or_else(PoisonError::into_inner);
        let decide_now = || decide(platform, &HostFacts::read(std::slice::from_ref(platform)));
        executions.entry(platform.clone()).or_insert_with(decide_now).clone()
    }

    /// What this user cannot do here that shows in results.
    pub fn degraded(&self) -> Vec<&'static str> {
        let is_root = rustix::process::geteuid().is_root();
        match IdMaps::for_this_user().reach() {
            IdMap::Single if !is_root => vec!["single-id"],
            _ => Vec::new(),
        }
    }

    /// The helper for commands of `platform`.
    pub async fn for_platform(&self, platform: &Platform) -> Result<Supervisor, Box<Problem>> {
        match self.execution(platform) {
            Execution::Native | Execution::HostBinfmt { .. } => self.plain().await,
            Execution::PrivateBinfmt(emulator) => self.emulating(&emulator).await,
            Execution::Unavailable { reason, remedy } => Err(Box::new(
                Problem::new(
                    Kind::Host,
                    "host::emulation",
                    format!("commands for `{platform}` cannot run here: {reason}"),
                )
                .help(remedy),
            )),
        }
    }

    /// The helper for work on files, which needs no emulator: whichever stands will do.
    pub async fn any(&self) -> Result<Supervisor, Box<Problem>> {
        match self.running() {
            Some(supervisor) => Ok(supervisor),
            None => self.plain().await,
        }
    }

    /// A helper that is running, if one is.
    pub fn running(&self) -> Option<Supervisor> {
        let emulating = self.emulating.lock().unwrap_or_else(PoisonError::into_inner);
        self.plain.get().or_else(|| emulating.values().find_map(|cell| cell.get())).cloned()
    }

    async fn plain(&self) -> Result<Supervisor, Box<Problem>> {
        let options = SupervisorOptions::new(Isolation::for_this_user(false), &self.state);
        self.plain.get_or_try_init(|| start(options)).await.cloned()
    }

    async fn emulating(&self, emulator: &Emulator) -> Result<Supervisor, Box<Problem>> {
        let cell = {
            let mut emulating = self.emulating.lock().unwrap_or_else(PoisonError::into_inner);
            emulating.entry(emulator.architecture.clone()).or_default().clone()
        };
        let mut options = SupervisorOptions::new(Isolation::for_this_user(true), &self.state);
        options.emulators.push(emulator.clone());
        cell.get_or_try_init(|| start(options)).await.cloned()
    }
}

async fn start(options: SupervisorOptions) -> Result<Supervisor, Box<Problem>> {
    Supervisor::start(options).await.map_err(|error| Box::new(problem(&error)))
}

/// What gives an ordinary user more ids.
pub(super) const MORE_IDS: &str =
    "give the user ids in /etc/subuid and /etc/subgid, and install `uidmap`, or run mab as root";

/// A failure of the sandbox, with what to do about it.
pub(super) fn problem(error: &SandboxError) -> Problem {
    let (code, help) = match error {
        SandboxError::NoUserNamespaces { apparmor_restricted: true, .. } => (
            "host::user-namespaces",
            Some(
                "AppArmor allows user namespaces to named programs only: give mab a profile with `userns,`, run it as root, or set `kernel.apparmor_restrict_unprivileged_userns=0`",
            ),
        ),
        SandboxError::NoUserNamespaces { limit_is_zero: true, .. } => (
            "host::user-namespaces",
            Some("raise the limit: `sysctl user.max_user_namespaces=15000`, or run mab as root"),
        ),
        SandboxError::NoUserNamespaces { .. } => (
            "host::user-namespaces",
            Some(
                "run mab as root, or allow user namespaces; in a container, its seccomp and AppArmor profiles must allow `unshare` and `mount`",
            ),
        ),
        SandboxError::IdMap(_) => ("host::id-map", Some(MORE_IDS)),
        SandboxError::OverlayRefused { .. } => (
            "host::overlay",
            Some("put the store on a plain file system such as ext4, xfs or tmpfs with `--store`"),
        ),
        SandboxError::Exec { .. }
        | SandboxError::Failed(_)
        | SandboxError::HelperGone(_)
        | SandboxError::Io { .. } => ("host::sandbox", None),
    };
    let problem = Problem::new(Kind::Host, code, error.to_string());
    match help {
        Some(help) => problem.help(format!("{help}; or build in a Docker Engine, with `--builder docker`")),
        None => problem,
    }
}
