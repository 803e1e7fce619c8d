//! A buildkitd of a test's own, which it may kill: in namespaces that end with it, so that nothing stays behind.

use std::fs::Permissions;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::surroundings::{needs_root, skip};

/// The version that `tests/services/buildkit` brings besides the newest.
pub const OLDEST: &str = "v0.12.5";

pub struct Daemon {
    pub socket: PathBuf,
    /// `unshare`, whose only child is the daemon.
    outer: Child,
    daemon: Pid,
    _folder: TempDir,
}

impl Daemon {
    pub fn start() -> Option<Self> {
        Self::of(&Self::program("buildkitd")?)
    }

    /// One of the oldest version that will do.
    pub fn oldest() -> Option<Self> {
        Self::of(&Self::program(&format!("buildkitd-{OLDEST}"))?)
    }

    /// The same, told at its making that it is of another version, whose name is as long.
    pub fn calling_itself(version: &str) -> Option<Self> {
        assert_eq!(version.len(), OLDEST.len());
        let told = Command::new("sed")
            .args(["--binary", &format!("s/{OLDEST}/{version}/g")])
            .arg(Self::program(&format!("buildkitd-{OLDEST}"))?)
            .env("LC_ALL", "C")
            .output()
            .expect("sed starts");
        let folder = tempfile::tempdir().expect("there is room");
        let program = folder.path().join("buildkitd");
        std::fs::write(&program, told.stdout).expect("the folder is ours");
        std::fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("it was just written");
        // The program runs on when its file is gone.
        Self::of(&program)
    }

    fn program(name: &str) -> Option<PathBuf> {
        let client = std::env::var("MAB_TEST_BUILDCTL").unwrap_or_default();
        let program = Path::new(&client).with_file_name(name);
        if !program.exists() {
            skip(&format!("what starts a `{name}`: tests/services/start could not build it"));
            return None;
        }
        Some(program)
    }

    fn of(program: &Path) -> Option<Self> {
        if !needs_root() {
            return None;
        }
        let folder = tempfile::tempdir().expect("there is room");
        let socket = folder.path().join("d.sock");
        let config = folder.path().join("buildkitd.toml");
        let text = "[worker.oci]\ngc = false\n[worker.containerd]\nenabled = false\n";
        std::fs::write(&config, text).expect("the folder is ours");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.arg(program).arg("--config").arg(&config);
        command.arg("--root").arg(folder.path().join("root"));
        command.arg("--addr").arg(format!("unix://{}", socket.display())).arg("--oci-worker-net=host");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut outer = command.spawn().expect("util-linux is there");
        let mut log = BufReader::new(outer.stderr.take().expect("it is a pipe"));
        let mut said = String::new();
        while !said.contains("running server on") {
            let read = log.read_line(&mut said).expect("logs are text");
            assert!(read > 0, "buildkitd does not start:\n{said}");
        }
        // It writes on, and must not wait for anybody who reads.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let children = format!("/proc/{0}/task/{0}/children", outer.id());
        let children = std::fs::read_to_string(children).expect("it runs");
        let daemon = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
        let daemon = daemon.and_then(Pid::from_raw).expect("it has one child");
        Some(Self { socket, outer, daemon, _folder: folder })
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.daemon, signal).expect("it runs");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Who has ended already is not there any more.
        let _ = kill_process(self.daemon, Signal::KILL);
        let _ = self.outer.wait();
    }
}
