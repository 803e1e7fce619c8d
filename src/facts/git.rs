//! What git knows about the working tree, asked of the `git` command.
//!
//! The command line tool and not a library: it honours every setting, worktree layout and safety check
//! that the user's own git does.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use jiff::Timestamp;

use super::ci::without_credentials;

/// The state of the commit that is checked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitFacts {
    /// The full hash of HEAD.
    pub sha: String,
    /// `None` when HEAD is detached, as CI checkouts often are.
    pub branch: Option<String>,
    /// Tags that point at HEAD, lower versions first.
    pub tags: Vec<String>,
    /// Branches of remotes that point at HEAD, without the remote's name: what a detached HEAD may stand for.
    pub remote_heads: Vec<String>,
    /// All tags there are here.
    pub all_tags: Option<Vec<String>>,
    /// History, and with it tags, may be missing.
    pub is_shallow: bool,
    /// The newest tag before HEAD, with how far it is and what HEAD is; the hash alone where there is no tag.
    pub describe: Option<String>,
    /// The URL of `origin`, else of the only remote, without credentials.
    pub remote: Option<String>,
    /// What `origin` says its default branch is.
    pub default_branch: Option<String>,
    /// Whether tracked files differ from HEAD; untracked ones do not count, as in `git describe --dirty`.
    pub dirty: bool,
    pub commit_date: Timestamp,
    /// The top directory of the working tree.
    pub root: PathBuf,
}

/// What is asked besides what always is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Questions {
    /// The way to the newest tag, for which git walks through history.
    pub describe: bool,
    /// All tags, and whether some may be missing.
    pub tags: bool,
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
    pub fn read(directory: &Path, questions: Questions) -> Result<Option<Self>, Error> {
        let root = match run(directory, &["rev-parse", "--show-toplevel"]) {
            Err(Error::Failed { message, .. }) if message.contains("not a git repository") => {
                return Ok(None);
            }
            answer => PathBuf::from(answer?.trim_end_matches('\n')),
        };
        // What git is asked does not depend on other answers.
        thread::scope(|scope| {
            let ask = |arguments: &'static [&'static str]| scope.spawn(move || run(directory, arguments));
            let status = ask(&["status", "--porcelain=v2", "--branch", "--untracked-files=no"]);
            let heads = ask(&[
                "for-each-ref",
                "--points-at=HEAD",
                "--sort=version:refname",
                "--format=%(refname)",
                "refs/tags",
                "refs/remotes",
            ]);
            let of_tags = |arguments| questions.tags.then(|| ask(arguments));
            let all_tags = of_tags(&["for-each-ref", "--format=%(refname:strip=2)", "refs/tags"]);
            let shallow = of_tags(&["rev-parse", "--is-shallow-repository"]);
            let date = ask(&["log", "-1", "--format=%ct"]);
            let default = ask(&["for-each-ref", "--format=%(symref)", "refs/remotes/origin/HEAD"]);
            let remotes = ask(&["config", "--get-regexp", r"^remote\..*\.url$"]);
            let describe = questions.describe.then(|| ask(&["describe", "--tags", "--always"]));
            let Some(status) = Status::parse(&answer(status)?).commit() else { return Ok(None) };
            let (tags, remote_heads) = heads_at(&answer(heads)?);
            let all_tags = all_tags.map(answer).transpose()?;
            Ok(Some(Self {
                sha: status.0,
                branch: status.1,
                dirty: status.2,
                tags,
                remote_heads,
                all_tags: all_tags.map(|tags| tags.lines().map(str::to_string).collect()),
                is_shallow: shallow.map(answer).transpose()?.is_some_and(|answer| answer.trim() == "true"),
                commit_date: commit_date(&answer(date)?)?,
                // Without a remote git has no answer and fails.
                remote: answer(remotes).ok().and_then(|answer| remote(&answer)),
                default_branch: default_branch(&answer(default)?),
                describe: describe.map(answer).transpose()?.map(|answer| answer.trim().to_string()),
                root,
            }))
        })
    }

    /// A made-up clean commit on `main` without tags.
    pub fn for_test() -> Self {
        Self {
            sha: "0123456789abcdef0123456789abcdef01234567".to_string(),
            branch: Some("main".to_string()),
            tags: Vec::new(),
            remote_heads: Vec::new(),
            all_tags: None,
            is_shallow: false,
            describe: None,
            remote: Some("https://git.example/shop".to_string()),
            default_branch: Some("main".to_string()),
            dirty: false,
            commit_date: Timestamp::UNIX_EPOCH,
            root: PathBuf::from("/project"),
        }
    }
}

/// Whether one commit is in the history of another, as far as the work tree knows both.
pub fn is_ancestor(directory: &Path, older: &str, newer: &str) -> bool {
    // Others may have written them: nothing but a hash reaches the command line.
    let is_hash = |text: &str| (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_hash(older) && is_hash(newer) && run(directory, &["merge-base", "--is-ancestor", older, newer]).is_ok()
}

/// The part of `git status --porcelain=v2 --branch` that matters here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Status {
    sha: Option<String>,
    branch: Option<String>,
    dirty: bool,
}

impl Status {
    /// Hash, branch and whether the tree is dirty; `None` before the first commit.
    fn commit(self) -> Option<(String, Option<String>, bool)> {
        self.sha.map(|sha| (sha, self.branch, self.dirty))
    }

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

fn answer(asked: thread::ScopedJoinHandle<'_, Result<String, Error>>) -> Result<String, Error> {
    asked.join().unwrap_or_else(|_| Err(Error::Start(io::Error::other("a thread ended early"))))
}

fn commit_date(answer: &str) -> Result<Timestamp, Error> {
    let seconds = answer.trim().parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    seconds.ok_or_else(|| Error::Unreadable { command: "log".to_string(), answer: answer.to_string() })
}

/// Tags and branches of remotes, of full refs; `origin/HEAD` is a name for another branch.
fn heads_at(answer: &str) -> (Vec<String>, Vec<String>) {
    let (mut tags, mut branches) = (Vec::new(), Vec::new());
    for reference in answer.lines() {
        if let Some(tag) = reference.strip_prefix("refs/tags/") {
            tags.push(tag.to_string());
        } else if let Some((_, branch)) =
            reference.strip_prefix("refs/remotes/").and_then(|name| name.split_once('/'))
            && branch != "HEAD"
            && !branches.iter().any(|known| known == branch)
        {
            branches.push(branch.to_string());
        }
    }
    (tags, branches)
}

/// `refs/remotes/origin/main`, or nothing.
fn default_branch(answer: &str) -> Option<String> {
    answer.trim().strip_prefix("refs/remotes/origin/").map(str::to_string)
}

/// The URL to show, of lines such as `remote.origin.url https://…`.
fn remote(answer: &str) -> Option<String> {
    let remotes: Vec<(&str, &str)> = answer.lines().filter_map(|line| line.split_once(' ')).collect();
    let origin = remotes.iter().find(|(key, _)| *key == "remote.origin.url");
    let (_, url) = origin.or(if let [only] = &remotes[..] { Some(only) } else { None })?;
    Some(without_credentials(url))
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

    fn read(directory: &Path) -> Option<GitFacts> {
        GitFacts::read(directory, Questions { describe: true, tags: true }).unwrap()
    }

    #[test]
    fn a_working_tree_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(read(path), None);
        git(path, &["init", "-q", "-b", "topic/one"]);
        assert_eq!(read(path), None, "no commit yet");

        std::fs::write(path.join("a"), "1").unwrap();
        git(path, &["add", "a"]);
        git(path, &["commit", "-q", "-m", "one"]);
        git(path, &["tag", "v1.10.0"]);
        git(path, &["tag", "v1.9.0"]);
        std::fs::write(path.join("untracked"), "1").unwrap();
        let facts = read(path).unwrap();
        assert_eq!(facts.sha.len(), 40);
        assert_eq!(facts.branch.as_deref(), Some("topic/one"));
        assert_eq!(facts.tags, ["v1.9.0", "v1.10.0"]);
        assert_eq!(facts.all_tags.map(|tags| tags.len()), Some(2));
        assert!(facts.remote_heads.is_empty() && !facts.is_shallow);
        assert!(!facts.dirty);
        assert_eq!(facts.commit_date.to_string(), "2024-02-03T04:05:06Z");
        assert_eq!(facts.root, path.canonicalize().unwrap());
        assert_eq!((facts.remote, facts.default_branch), (None, None));
        assert!(facts.describe.unwrap().starts_with("v1."));

        std::fs::write(path.join("a"), "2").unwrap();
        git(path, &["checkout", "-q", "--detach"]);
        let facts = read(path).unwrap();
        assert_eq!((facts.branch, facts.dirty), (None, true));
        let facts = GitFacts::read(path, Questions::default()).unwrap().unwrap();
        assert_eq!((facts.describe, facts.all_tags), (None, None));
    }

    #[test]
    fn clones_and_worktrees_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let (origin, clone, tree) = (path.join("origin"), path.join("clone"), path.join("tree"));
        git(path, &["init", "-q", "-b", "trunk", "origin"]);
        for number in ["one", "two"] {
            git(&origin, &["commit", "-q", "--allow-empty", "-m", number]);
        }
        let url = format!("file://{}", origin.display());
        git(path, &["clone", "-q", "--depth", "1", &url, "clone"]);
        let facts = read(&clone).unwrap();
        assert_eq!(facts.remote.as_deref(), Some(url.as_str()));
        assert_eq!(facts.default_branch.as_deref(), Some("trunk"));
        assert!(facts.is_shallow);
        assert_eq!(facts.remote_heads, ["trunk"]);
        let short = facts.describe.unwrap();
        assert!(facts.sha.starts_with(&short), "a shallow clone has no tag: {short}");

        git(&clone, &["worktree", "add", "-q", "-b", "topic", "../tree"]);
        let facts = read(&tree).unwrap();
        assert_eq!(facts.branch.as_deref(), Some("topic"));
        assert_eq!(facts.default_branch.as_deref(), Some("trunk"));
        assert_eq!(facts.root, tree.canonicalize().unwrap());
    }

    #[test]
    fn remotes_are_shown_without_credentials() {
        for (answer, expected) in [
            ("", None),
            ("remote.up.url git@host:a/b.git", Some("git@host:a/b.git")),
            ("remote.a.url https://a\nremote.b.url https://b", None),
            ("remote.a.url https://a\nremote.origin.url https://u:p@host/b", Some("https://host/b")),
        ] {
            assert_eq!(remote(answer).as_deref(), expected, "{answer}");
        }
    }
}
