//! What git knows about the working tree, asked of the `git` command.
//!
//! The command line tool and not a library: it honours every setting, worktree layout and safety check
//! that the user's own git does.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::Timestamp;

/// The state of the commit that is checked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitFacts {
    /// The full hash of HEAD.
    pub sha: String,
    /// `None` when HEAD is detached, as CI checkouts often are.
    pub branch: Option<String>,
    /// Tags that point at HEAD, sorted by name.
    pub tags: Vec<String>,
    /// Whether tracked files differ from HEAD; untracked ones do not count, as in `git describe --dirty`.
    pub dirty: bool,
    pub commit_date: Timestamp,
    /// The top directory of the working tree.
    pub root: PathBuf,
}

/// Why git gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`git` is not installed, and the build file asks for it")]
    NotInstalled,
    #[error("cannot run `git`: {0}")]
    Start(#[source] io::Error),
    #[error("`git {command}` failed: {message}")]
    Failed { command: String, message: String },
    #[error("`git {command}` gave an answer that cannot be read: {answer}")]
    Unreadable { command: String, answer: String },
}

impl GitFacts {
    /// Asks git about the tree that holds `directory`; `None` outside a repository and before the first
    /// commit.
    pub fn read(directory: &Path) -> Result<Option<Self>, Error> {
        let root = match run(directory, &["rev-parse", "--show-toplevel"]) {
            Err(Error::Failed { message, .. }) if message.contains("not a git repository") => {
                return Ok(None);
            }
            answer => PathBuf::from(answer?.trim_end_matches('\n')),
        };
        let status = Status::parse(&run(
            directory,
            &["status", "--porcelain=v2", "--branch", "--untracked-files=no"],
        )?);
        let Some(sha) = status.sha else { return Ok(None) };
        let tags = run(
            directory,
            &["for-each-ref", "--points-at=HEAD", "--format=%(refname:strip=2)", "refs/tags"],
        )?;
        let date = run(directory, &["log", "-1", "--format=%ct"])?;
        let commit_date = date
            .trim()
            .parse()
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .ok_or(Error::Unreadable { command: "log".to_string(), answer: date })?;
        let mut tags: Vec<String> = tags.lines().map(str::to_string).collect();
        tags.sort();
        Ok(Some(Self { sha, branch: status.branch, tags, dirty: status.dirty, commit_date, root }))
    }

    /// A made-up clean commit on `main` without tags.
    pub fn for_test() -> Self {
        Self {
            sha: "0123456789abcdef0123456789abcdef01234567".to_string(),
            branch: Some("main".to_string()),
            tags: Vec::new(),
            dirty: false,
            commit_date: Timestamp::UNIX_EPOCH,
            root: PathBuf::from("/project"),
        }
    }
}

/// The part of `git status --porcelain=v2 --branch` that matters here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    sha: Option<String>,
    branch: Option<String>,
    dirty: bool,
}

impl Status {
    fn parse(answer: &str) -> Self {
        let mut status = Self::default();
        for line in answer.lines() {
            match line.strip_prefix("# ") {
                Some(header) => match header.split_once(' ') {
                    Some(("branch.oid", sha)) if sha != "(initial)" => status.sha = Some(sha.to_string()),
                    Some(("branch.head", branch)) if branch != "(detached)" => {
                        status.branch = Some(branch.to_string());
                    }
                    _ => {}
                },
                None => status.dirty |= !line.is_empty(),
            }
        }
        status
    }
}

pub(super) fn run(directory: &Path, arguments: &[&str]) -> Result<String, Error> {
    run_bytes(directory, arguments).map(|answer| String::from_utf8_lossy(&answer).into_owned())
}

pub(super) fn run_bytes(directory: &Path, arguments: &[&str]) -> Result<Vec<u8>, Error> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        // Messages are matched, and a reader must not take the index lock from somebody who writes.
        .env("LC_ALL", "C")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::NotInstalled,
            _ => Error::Start(error),
        })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_string();
    Err(Error::Failed { command: arguments[0].to_string(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(directory: &Path, arguments: &[&str]) {
        let status = Command::new("git")
            .arg("-C")
            .arg(directory)
            .args(["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .env("GIT_COMMITTER_DATE", "2024-02-03T04:05:06Z")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "git {arguments:?}");
    }

    #[test]
    fn a_working_tree_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(GitFacts::read(path).unwrap(), None);
        git(path, &["init", "-q", "-b", "topic/one"]);
        assert_eq!(GitFacts::read(path).unwrap(), None, "no commit yet");

        std::fs::write(path.join("a"), "1").unwrap();
        git(path, &["add", "a"]);
        git(path, &["commit", "-q", "-m", "one"]);
        git(path, &["tag", "v1.0.0"]);
        git(path, &["tag", "also"]);
        std::fs::write(path.join("untracked"), "1").unwrap();
        let facts = GitFacts::read(path).unwrap().unwrap();
        assert_eq!(facts.sha.len(), 40);
        assert_eq!(facts.branch.as_deref(), Some("topic/one"));
        assert_eq!(facts.tags, ["also", "v1.0.0"]);
        assert!(!facts.dirty);
        assert_eq!(facts.commit_date.to_string(), "2024-02-03T04:05:06Z");
        assert_eq!(facts.root, path.canonicalize().unwrap());

        std::fs::write(path.join("a"), "2").unwrap();
        git(path, &["checkout", "-q", "--detach"]);
        let facts = GitFacts::read(path).unwrap().unwrap();
        assert_eq!((facts.branch, facts.dirty), (None, true));
    }
}
