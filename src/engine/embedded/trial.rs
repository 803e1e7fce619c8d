//! What the sandbox can do on this machine, found by doing it, in the words of the sandbox. Judges nothing.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio as ProcessStdio;
use std::time::Duration;

use super::emulate::{Emulator, Execution, HostFacts, decide};
use super::sandbox::{
    ExitStatus, HelperTask, IdMap, IdMaps, Isolation, Network, Probe, RunRequest, SandboxError, Stdio,
    Supervisor, SupervisorOptions, TaskOutput, User,
};
use super::tiny_program::{self, EXIT_CODE};
use crate::base::Platform;
use crate::engine::blocking;

/// How long anything that is tried may take. An emulator that hangs is one that does not work.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A place for trials, in the store's folder or in one like it.
pub struct Trial {
    folder: PathBuf,
}

/// What stands where the sandbox was started.
pub struct Sandbox {
    supervisor: Supervisor,
    pub probe: Probe,
    pub id_map: IdMap,
    pub control_groups: Vec<PathBuf>,
}

/// What came of the smallest program of a platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ran {
    /// It ran, and ended as it should.
    Well,
    /// There is no way to run it; why is part of the execution.
    NotTried,
    /// It did not end as it should, or could not be started; in words.
    Wrong(String),
}

impl Trial {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn state(&self) -> PathBuf {
        self.folder.join("tmp/sandbox")
    }

    async fn start(
        &self,
        isolation: Isolation,
        emulators: Vec<Emulator>,
    ) -> Result<Supervisor, SandboxError> {
        let options = SupervisorOptions { emulators, ..SupervisorOptions::new(isolation, self.state()) };
        Supervisor::start(options).await
    }

    /// Starts the sandbox as builds do, and tries what their commands need.
    pub async fn sandbox(&self) -> Result<Sandbox, SandboxError> {
        self.sandbox_in(Isolation::for_this_user(false)).await
    }

    /// The same in a user namespace, which root has only for emulators of its own.
    pub async fn user_namespace(&self) -> Result<Sandbox, SandboxError> {
        self.sandbox_in(Isolation::User { maps: IdMaps::for_this_user() }).await
    }

    async fn sandbox_in(&self, isolation: Isolation) -> Result<Sandbox, SandboxError> {
        let supervisor = self.start(isolation, Vec::new()).await?;
        let output = supervisor.call(HelperTask::Probe { store: self.folder.clone() }, &[]).await?;
        let TaskOutput::Probed(probe) = output else { unreachable!("a probe gives what it found") };
        let (id_map, control_groups) = (supervisor.id_map(), supervisor.control_groups().to_vec());
        Ok(Sandbox { supervisor, probe: *probe, id_map, control_groups })
    }

    /// Runs the smallest program of a platform in the sandbox, by the way that builds would take.
    pub async fn program(
        &self,
        platform: &Platform,
        host: &HostFacts,
        sandbox: &Sandbox,
    ) -> (Execution, Ran) {
        let execution = decide(platform, host);
        let supervisor = match &execution {
            Execution::Unavailable { .. } => return (execution, Ran::NotTried),
            Execution::Native | Execution::HostBinfmt { .. } => Ok(sandbox.supervisor.clone()),
            Execution::PrivateBinfmt(emulator) => {
                self.start(Isolation::for_this_user(true), vec![emulator.clone()]).await
            }
        };
        let ran = async { self.run(&supervisor?, &platform.architecture, Network::None).await };
        let ran = tokio::time::timeout(PATIENCE, ran).await;
        let ran = match ran {
            Err(_) => Ran::Wrong(format!("it did not end within {} seconds", PATIENCE.as_secs())),
            Ok(Ok(ExitStatus::Exited(EXIT_CODE))) => Ran::Well,
            Ok(Ok(ExitStatus::Exited(code))) => Ran::Wrong(format!("it ended with {code}, not {EXIT_CODE}")),
            Ok(Ok(ExitStatus::Signaled(signal))) => Ran::Wrong(format!("signal {signal} killed it")),
            Ok(Err(error)) => Ran::Wrong(error.to_string()),
        };
        (execution, ran)
    }

    /// Why commands share the network of the host, as far as this machine's own programs run at all.
    pub async fn network(&self, sandbox: &Sandbox) -> Result<Option<String>, SandboxError> {
        let own = Platform::host().architecture;
        tokio::time::timeout(PATIENCE, self.run(&sandbox.supervisor, &own, Network::Default))
            .await
            .map_err(|_| SandboxError::HelperGone(Some("it did not answer in time".into())))??;
        Ok(sandbox.supervisor.network_notice())
    }

    async fn run(
        &self,
        supervisor: &Supervisor,
        architecture: &str,
        network: Network,
    ) -> Result<ExitStatus, SandboxError> {
        let io = |source| SandboxError::Io { action: "prepare a trial", source };
        let place = self.place(architecture).map_err(io)?;
        let exit = supervisor.run(request(&place, network), nowhere().map_err(io)?).await;
        // What the sandbox wrote may belong to ids that only it can remove; what stays is in the folder of
        // temporary files, which the store empties.
        let _ = supervisor.call(HelperTask::Remove { paths: vec![place] }, &[]).await;
        exit.map(|exit| exit.status)
    }

    /// A root file system with one program in it, and folders for what changes.
    fn place(&self, architecture: &str) -> io::Result<PathBuf> {
        let place = tempfile::Builder::new().prefix("trial-").tempdir_in(self.state())?;
        for name in ["base", "upper", "work"] {
            fs::create_dir(place.path().join(name))?;
        }
        tiny_program::write(architecture, &place.path().join("base/program"))?;
        Ok(place.keep())
    }
}

fn request(place: &Path, network: Network) -> RunRequest {
    RunRequest {
        lowers: vec![place.join("base")],
        upper: place.join("upper"),
        work: place.join("work"),
        mounts: Vec::new(),
        argv: vec![OsString::from("/program")],
        env: Vec::new(),
        cwd: "/".into(),
        user: User::default(),
        network,
        hostname: RunRequest::HOSTNAME.into(),
        hosts: None,
        resolv_conf: None,
        shm_size: RunRequest::SHM_SIZE,
        ulimits: Vec::new(),
        privileged: false,
        readonly: false,
        terminal: None,
    }
}

fn nowhere() -> io::Result<Stdio> {
    let null = || File::options().write(true).open("/dev/null").map(OwnedFd::from);
    Ok(Stdio { input: None, output: null()?, error: null()? })
}

/// What an emulator says its version is: `7.2.22`.
pub async fn emulator_version(interpreter: &Path) -> Option<String> {
    let interpreter = interpreter.to_owned();
    let asked = blocking(move || {
        let mut command = std::process::Command::new(interpreter);
        command.arg("--version").stdin(ProcessStdio::null()).stderr(ProcessStdio::null()).output()
    });
    let output = tokio::time::timeout(PATIENCE, asked).await.ok()?.ok()?;
    version_in(&String::from_utf8_lossy(&output.stdout))
}

/// Of `qemu-aarch64 version 7.2.22 (Debian …)`.
fn version_in(text: &str) -> Option<String> {
    let (_, rest) = text.lines().next()?.split_once(" version ")?;
    let version: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let version = version.trim_end_matches('.');
    (!version.is_empty()).then(|| version.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_first_line() {
        for (text, expected) in [
            ("qemu-aarch64 version 7.2.22 (Debian 1:7.2)\nCopyright", Some("7.2.22")),
            ("qemu-arm version 10.1.0\n", Some("10.1.0")),
            ("usage: box64 [options]", None),
            ("x version y", None),
            ("", None),
        ] {
            assert_eq!(version_in(text).as_deref(), expected, "{text}");
        }
    }
}
