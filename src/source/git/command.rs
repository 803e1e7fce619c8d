//! Runs `git` so that nothing of this machine but its keys takes part: no configuration, no prompts, no hooks,
//! and only protocols that reach out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use crate::base::Secret;
use crate::base::percent::redacted;
use crate::source::error::SourceError;
use crate::store::free_space;

/// What of the environment git is given.
#[derive(Clone, Debug, Default)]
pub struct GitEnvironment {
    pub path: Option<String>,
    /// HTTPS_PROXY and its kin, in both cases.
    pub proxies: Vec<(String, String)>,
    /// The agent that signs for ssh.
    pub ssh_auth_sock: Option<String>,
}

impl GitEnvironment {
    /// Picked from a whole environment.
    pub fn of(environment: &std::collections::BTreeMap<String, String>) -> Self {
        const PROXIES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"];
        let is_proxy = |name: &str| PROXIES.iter().any(|proxy| proxy.eq_ignore_ascii_case(name));
        let proxies = environment.iter().filter(|(name, _)| is_proxy(name));
        Self {
            path: environment.get("PATH").cloned(),
            proxies: proxies.map(|(name, value)| (name.clone(), value.clone())).collect(),
            ssh_auth_sock: environment.get("SSH_AUTH_SOCK").cloned(),
        }
    }
}

/// Which protocols a command may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    Remote,
    /// From one folder of the store to another.
    Local,
}

/// A repository to be spoken to, and with what rights.
#[derive(Clone, Debug)]
pub struct Git<'a> {
    pub environment: &'a GitEnvironment,
    /// Where space is watched.
    pub store: &'a Path,
    pub remote: &'a str,
    /// The `Authorization` header for the remote.
    pub header: Option<&'a Secret>,
    pub git_dir: Option<PathBuf>,
    pub work_tree: Option<PathBuf>,
    /// Instead of the repository's own, which others use too.
    pub index: Option<PathBuf>,
    pub protocols: Protocols,
}

/// How much of what git says is shown.
const SHOWN: usize = 2000;
/// Seconds without a byte after which a transfer over HTTP is given up.
const LOW_SPEED_TIME: &str = "60";

impl Git<'_> {
    /// Runs to the end and returns standard output; `action` is a phrase after "git cannot".
    pub async fn run(&self, action: &'static str, arguments: &[&str]) -> Result<String, SourceError> {
        let what = redacted(self.remote);
        let child = self.command(arguments).spawn();
        let child = child.map_err(|cause| SourceError::NoGit { what: what.clone(), cause })?;
        let group = Group::of(&child);
        let output = child.wait_with_output();
        tokio::pin!(output);
        let output = loop {
            match tokio::time::timeout(free_space::INTERVAL, &mut output).await {
                Ok(output) => break output.map_err(SourceError::local("wait for git"))?,
                // Dropping the future ends git, and the group what git has started.
                Err(_) => {
                    if let Some(shortage) = free_space::shortage(self.store) {
                        return Err(SourceError::Full { what, shortage });
                    }
                }
            }
        };
        drop(group);
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let is_remote = self.protocols == Protocols::Remote;
        Err(SourceError::Git { what, action, detail: said(&output.stderr), is_remote })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        for (name, path) in [("--git-dir=", &self.git_dir), ("--work-tree=", &self.work_tree)] {
            if let Some(path) = path {
                let mut argument = OsString::from(name);
                argument.push(path);
                command.arg(argument);
            }
        }
        command.args(arguments).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.process_group(0);
        command.current_dir(self.work_tree.as_deref().or(self.git_dir.as_deref()).unwrap_or(self.store));
        for (name, value) in self.variables() {
            command.env(name, value);
        }
        if let Some(index) = &self.index {
            command.env("GIT_INDEX_FILE", index);
        }
        self.configure(&mut command);
        command
    }

    fn variables(&self) -> Vec<(String, String)> {
        let environment = self.environment;
        // What the user has for the host in known_hosts is checked; a host seen first is trusted and noted.
        let ssh = "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=20 \
                   -o ServerAliveInterval=20";
        let protocols = match self.protocols {
            Protocols::Remote => "http:https:ssh:git",
            Protocols::Local => "file",
        };
        let mut variables: Vec<(String, String)> = [
            ("LC_ALL", "C"),
            ("HOME", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "/bin/false"),
            ("SSH_ASKPASS_REQUIRE", "never"),
            ("GIT_LFS_SKIP_SMUDGE", "1"),
            ("GIT_SSH_COMMAND", ssh),
            ("GIT_ALLOW_PROTOCOL", protocols),
        ]
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .into();
        variables.extend(environment.proxies.iter().cloned());
        // This machine cannot be reached through a proxy.
        for name in ["NO_PROXY", "no_proxy"] {
            let known = environment.proxies.iter().find(|(known, _)| known == name);
            let known = known.map(|(_, value)| format!("{value},")).unwrap_or_default();
            variables.push((name.to_string(), format!("{known}localhost,127.0.0.1,::1")));
        }
        let path = environment.path.clone().map(|path| ("PATH".to_string(), path));
        let agent = environment.ssh_auth_sock.clone().map(|socket| ("SSH_AUTH_SOCK".to_string(), socket));
        variables.extend(path.into_iter().chain(agent));
        variables
    }

    /// Configuration by environment, where other users cannot read it as they could arguments.
    fn configure(&self, command: &mut Command) {
        let mut settings: Vec<(String, OsString)> = [
            ("core.hooksPath", "/dev/null"),
            ("core.fsmonitor", "false"),
            ("core.autocrlf", "false"),
            ("core.symlinks", "true"),
            ("init.defaultBranch", "master"),
            ("advice.detachedHead", "false"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("http.lowSpeedLimit", "1"),
            ("http.lowSpeedTime", LOW_SPEED_TIME),
        ]
        .map(|(name, value)| (name.to_string(), OsString::from(value)))
        .into();
        if let Some(header) = self.header {
            let scope = header_scope(self.remote);
            let value = [b"Authorization: ", header.expose()].concat();
            let value = String::from_utf8_lossy(&value).into_owned();
            settings.push((format!("http.{scope}.extraHeader"), value.into()));
            // Git would send it after a redirect, too, wherever that leads.
            settings.push((format!("http.{scope}.followRedirects"), "false".into()));
        }
        settings.extend(revealed(self.remote).map(|(name, masked)| (name, masked.into())));
        command.env("GIT_CONFIG_COUNT", settings.len().to_string());
        for (place, (name, value)) in settings.into_iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{place}"), name);
            command.env(format!("GIT_CONFIG_VALUE_{place}"), value);
        }
    }
}

/// A process and all it has started that did not leave: `git` leaves transfers to others, which would go on without
/// it. They end when this is dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(leader: &Child) -> Self {
        Self(leader.id().and_then(|id| Pid::from_raw(id.cast_signed())))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Nobody is left where git ended by itself.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// The setting by which git asks a remote with the credentials that its written name has not. Submodules named
/// relative to it are named without them, too.
fn revealed(remote: &str) -> Option<(String, String)> {
    let host = |url: &str| {
        let start = url.find("://")? + 3;
        let end = url[start..].find('/')?;
        Some(url[..=start + end].to_string())
    };
    let (real, masked) = (host(remote)?, host(&redacted(remote))?);
    (real != masked).then(|| (format!("url.{real}.insteadOf"), masked))
}

/// The URLs a header is for: the remote's, and on GitHub, where one token serves submodules too, the host's.
fn header_scope(remote: &str) -> &str {
    const HOSTS: [&str; 2] = ["https://github.com/", "https://www.github.com/"];
    HOSTS.into_iter().find(|host| remote.starts_with(host)).unwrap_or(remote)
}

/// The end of what git said, on one line and without credentials.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut said = redacted(&lines.join("; "));
    said.retain(|character| !character.is_control());
    if let Some((start, _)) = said.char_indices().rev().nth(SHOWN) {
        said.replace_range(..start, "…");
    }
    said
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::process::CommandExt as _;

    use rustix::process::test_kill_process_group;

    use super::*;

    #[test]
    fn a_group_ends_as_a_whole() {
        // The shell waits for one that it started; both keep the pipe open.
        let (mut read, write) = std::io::pipe().unwrap();
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "cat /dev/zero > /dev/null & wait"]).process_group(0).stdout(write);
        let mut child = command.spawn().unwrap();
        drop(command);
        drop(Group(Pid::from_raw(child.id().cast_signed())));
        assert!(!child.wait().unwrap().success());
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut read, &mut rest).unwrap();
    }

    #[tokio::test]
    async fn nothing_of_a_fetch_that_is_dropped_goes_on() {
        let environment = GitEnvironment { path: std::env::var("PATH").ok(), ..GitEnvironment::default() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = format!("http://{}/app.git", listener.local_addr().unwrap());
        let store = tempfile::tempdir().unwrap();
        let git = Git {
            environment: &environment,
            store: store.path(),
            remote: &remote,
            header: None,
            git_dir: None,
            work_tree: None,
            index: None,
            protocols: Protocols::Remote,
        };
        // Without git there is nothing to be cancelled.
        let Ok(mut child) = git.command(&["ls-remote", &remote]).spawn() else { return };
        let group = Group::of(&child);
        let leader = group.0.unwrap();
        // What asks over HTTP is a process of its own, and waits for an answer now.
        let (_client, _) = tokio::task::spawn_blocking(move || listener.accept().unwrap()).await.unwrap();
        drop(group);
        child.wait().await.unwrap();
        // Those whose parent is gone are waited for by the system, in its own time.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while test_kill_process_group(leader).is_ok() && runs(leader) {
            assert!(std::time::Instant::now() < deadline, "a helper of git goes on");
            tokio::task::yield_now().await;
        }
    }

    /// Whether a process of the group is more than a name that nobody has asked for yet.
    fn runs(group: Pid) -> bool {
        let stats = std::fs::read_dir("/proc").unwrap().flatten();
        let stats = stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
        stats.into_iter().any(|stat| {
            // `pid (name) state parent group …`
            let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
            let (state, own) = (fields.next(), fields.nth(1).and_then(|text| text.parse::<i32>().ok()));
            own == Some(group.as_raw_nonzero().get()) && state != Some("Z")
        })
    }
}
