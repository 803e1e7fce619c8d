//! A run of the program: started in a clean environment, then its exit code and what it said.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account::Account;
use super::process::Running;
use super::redact::Redactor;

/// A command line of `mab`, not run yet.
pub struct Mab {
    folder: PathBuf,
    /// Commands that start the next one in their own way, outermost first.
    wrappers: Vec<Vec<OsString>>,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl Mab {
    pub fn new(folder: &Path, account: Option<&Account>) -> Self {
        let binary = Path::new(env!("CARGO_BIN_EXE_mab"));
        Self {
            folder: folder.to_path_buf(),
            wrappers: account.map(Account::wrappers).unwrap_or_default(),
            program: account.map_or(binary.to_path_buf(), Account::program),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    pub fn arguments(&mut self, arguments: &[&str]) -> &mut Self {
        self.arguments.extend(arguments.iter().map(OsString::from));
        self
    }

    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.environment.push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments(arguments);
        self
    }

    pub fn with_env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env(name, value);
        self
    }

    /// Starts it through another command, as its last arguments.
    pub fn inside(mut self, wrapper: &[&str]) -> Self {
        self.wrappers.insert(0, wrapper.iter().map(OsString::from).collect());
        self
    }

    /// Starts it through another command that runs as the project's account.
    pub fn just_before(mut self, wrapper: &[&str]) -> Self {
        self.wrappers.push(wrapper.iter().map(OsString::from).collect());
        self
    }

    pub fn run(&self) -> Ran {
        let output = self.command().output().expect("the program starts");
        Ran {
            code: output.status.code(),
            output: output.stdout.clone(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            redactor: Redactor::new(&self.folder),
        }
    }

    /// Starts it and hands it over while it runs.
    pub fn start(&self) -> Running {
        Running::start(self.command(), &self.folder)
    }

    /// As a plain command.
    pub fn command(&self) -> Command {
        let own =
            std::iter::once(self.program.as_os_str()).chain(self.arguments.iter().map(OsString::as_os_str));
        let mut words = self.wrappers.iter().flatten().map(OsString::as_os_str).chain(own);
        let mut command = Command::new(words.next().expect("there is at least the program"));
        command.args(words).env_clear().envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.join("work")).stdin(Stdio::null());
        command
    }
}

/// How a run ended.
pub struct Ran {
    /// None when a signal ended it.
    pub code: Option<i32>,
    pub output: Vec<u8>,
    pub stdout: String,
    pub stderr: String,
    pub redactor: Redactor,
}

impl Ran {
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub fn failed(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Standard error without what differs between machines and runs.
    pub fn errors(&self) -> String {
        self.redactor.redact(&self.stderr)
    }

    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{text}` is not in:\n{}", self.stderr);
        self
    }

    /// What `--progress json` told.
    #[track_caller]
    pub fn events(&self) -> Vec<serde_json::Value> {
        let event = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        self.stderr.lines().map(event).collect()
    }

    #[track_caller]
    pub fn does_not_say(self, text: &str) -> Self {
        assert!(!self.stderr.contains(text), "`{text}` is in:\n{}", self.stderr);
        self
    }

    /// The lines of standard error that hold `text`, redacted.
    pub fn lines_with(&self, text: &str) -> Vec<String> {
        self.errors().lines().filter(|line| line.contains(text)).map(String::from).collect()
    }
}
