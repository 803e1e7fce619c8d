//! A run of `mab` that is under way, and the processes of this machine.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::mab::Ran;
use super::redact::Redactor;

/// No wait in a test is longer.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

pub struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
    redactor: Redactor,
}

impl Running {
    pub fn start(mut command: Command, folder: &Path) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("it is a pipe"));
        Self { child, stderr, said: String::new(), redactor: Redactor::new(folder) }
    }

    /// Reads on until a line holds `text`.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> &mut Self {
        loop {
            let mut line = String::new();
            let read = self.stderr.read_line(&mut line).expect("standard error is readable text");
            assert!(read > 0, "it ended without `{text}`:\n{}", self.said);
            self.said.push_str(&line);
            if line.contains(text) {
                return self;
            }
        }
    }

    /// Reads so many lines, or all there are.
    pub fn read_lines(&mut self, count: u64) -> &mut Self {
        for _ in 0..count {
            if self.stderr.read_line(&mut self.said).expect("standard error is readable text") == 0 {
                break;
            }
        }
        self
    }

    pub fn signal(&mut self, signal: Signal) -> &mut Self {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
        self
    }

    pub fn finish(mut self) -> Ran {
        self.stderr.read_to_string(&mut self.said).expect("standard error is readable text");
        let mut output = Vec::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_end(&mut output).expect("standard output is readable");
        }
        let status = self.child.wait().expect("it is our child");
        Ran {
            code: status.code(),
            stdout: String::from_utf8_lossy(&output).into_owned(),
            output,
            stderr: self.said,
            redactor: self.redactor,
        }
    }
}

/// Processes whose command line holds `marker`, held so that their end can be awaited.
pub fn with_marker(marker: &str) -> Vec<OwnedFd> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let own = std::process::id() as i32;
    pids.filter(|pid| *pid != own)
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(marker)
        })
        .filter_map(|pid| pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok())
        .collect()
}

/// Waits until every one of them has ended.
#[track_caller]
pub fn wait_for_end(processes: &[OwnedFd]) {
    for process in processes {
        let mut polled = [PollFd::new(process, PollFlags::IN)];
        let ready = poll(&mut polled, Some(&PATIENCE)).expect("a process can be awaited");
        assert!(ready > 0, "a process outlives its run");
    }
}

/// The mounts of this namespace at or below a folder.
pub fn mounts_below(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let folder = folder.display().to_string();
    let points = text.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| point.starts_with(&folder)).map(String::from).collect()
}
