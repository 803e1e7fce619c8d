//! What differs between the working tree and a commit, asked of the `git` command: committed, staged, changed and
//! untracked files alike. What git ignores is told apart.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::git::{Error, run, run_bytes};

/// The working tree against one commit.
#[derive(Clone, Debug)]
pub struct Changes {
    /// The top directory of the working tree.
    pub root: PathBuf,
    /// The full hash of the commit.
    pub commit: String,
    /// What the commit was found by, for people.
    pub name: String,
    /// Relative to the root; a submodule that differs is one path.
    pub paths: BTreeSet<PathBuf>,
    /// What git ignores, of which nobody knows whether it differs; a folder for all that is in it.
    pub ignored: BTreeSet<PathBuf>,
}

/// Why there is nothing to compare with.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    #[error(transparent)]
    Git(#[from] Error),
    #[error("this is not a git repository, so nothing can have changed since a revision")]
    NoRepository,
    #[error("there is no revision `{revision}` here")]
    NoRevision { revision: String, is_shallow: bool },
    #[error("it is not known which branch changes are compared with")]
    NoDefaultBranch,
    #[error("`HEAD` and `{branch}` have no commit in common here")]
    NoMergeBase { branch: String, is_shallow: bool },
}

impl ChangesError {
    /// The next step.
    pub fn help(&self) -> String {
        match self {
            Self::Git(_) => "run mab inside a git work tree, with `git` installed".to_string(),
            Self::NoRepository => "leave `--changed` out, or run mab in a git work tree".to_string(),
            Self::NoRevision { revision, is_shallow: true } => format!(
                "the clone is shallow: `git fetch --deepen=100`, or `git fetch --depth=1 origin {revision}`, brings more"
            ),
            Self::NoRevision { revision, is_shallow: false } => {
                format!(
                    "`git fetch origin {revision}` brings it if the remote has it; branches there are `origin/NAME`"
                )
            }
            Self::NoDefaultBranch => {
                "name a revision, `--changed=REV`, or set `default-branch` in `[project]`".to_string()
            }
            Self::NoMergeBase { branch, is_shallow: true } => {
                let name = branch.strip_prefix("origin/").unwrap_or(branch);
                format!(
                    "the clone is shallow: `git fetch --unshallow origin +refs/heads/{name}:refs/remotes/origin/{name}` \
                     brings the history"
                )
            }
            Self::NoMergeBase { is_shallow: false, .. } => "name a revision, `--changed=REV`".to_string(),
        }
    }
}

impl Changes {
    /// Compares with `revision`; without it, with where this branch left the first of `branches` that there is,
    /// or else the branch that the remote calls its own.
    pub fn since(directory: &Path, revision: Option<&str>, branches: &[&str]) -> Result<Self, ChangesError> {
        let root = match run(directory, &["rev-parse", "--show-toplevel"]) {
            Err(Error::Failed { message, .. }) if message.contains("not a git repository") => {
                return Err(ChangesError::NoRepository);
            }
            answer => PathBuf::from(answer?.trim_end_matches('\n')),
        };
        let (commit, name) = match revision {
            Some(revision) => (named(&root, revision)?, revision.to_string()),
            None => merge_base(&root, branches)?,
        };
        let mut paths = paths(&run_bytes(
            &root,
            &[
                "diff",
                "--name-only",
                "--no-renames",
                "--no-ext-diff",
                "--ignore-submodules=none",
                "-z",
                &commit,
                "--",
            ],
        )?);
        paths.extend(self::paths(&run_bytes(&root, &["ls-files", "--others", "--exclude-standard", "-z"])?));
        let ignored = ["ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z"];
        let ignored = self::paths(&run_bytes(&root, &ignored)?);
        Ok(Self { root, commit, name, paths, ignored })
    }

    /// What has changed at `path`, an absolute one, or below it.
    pub fn within(&self, path: &Path) -> impl Iterator<Item = &Path> {
        self.of(&self.paths, path)
    }

    /// What git ignores at `path` or below it.
    pub fn ignored_within(&self, path: &Path) -> impl Iterator<Item = &Path> {
        self.of(&self.ignored, path)
    }

    fn of<'c>(&self, paths: &'c BTreeSet<PathBuf>, path: &Path) -> impl Iterator<Item = &'c Path> + use<'c> {
        let below = self.below(path);
        paths
            .iter()
            .map(PathBuf::as_path)
            .filter(move |changed| below.as_ref().is_some_and(|below| changed.starts_with(below)))
    }

    /// Whether the file at an absolute path is another one than in the commit.
    pub fn has(&self, path: &Path) -> bool {
        self.below(path).is_some_and(|path| self.paths.contains(&path))
    }

    /// `path` as git names it: relative to the root, which may be reached through links.
    pub fn below(&self, path: &Path) -> Option<PathBuf> {
        if let Ok(below) = path.strip_prefix(&self.root) {
            return Some(below.to_path_buf());
        }
        let folder = path.parent()?.canonicalize().ok()?;
        Some(folder.join(path.file_name()?).strip_prefix(&self.root).ok()?.to_path_buf())
    }

    /// The text of a file as the commit has it.
    pub fn read(&self, path: &Path) -> io::Result<String> {
        let object = self.object(path)?;
        let bytes = run_bytes(&self.root, &["cat-file", "blob", &object])
            .map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        String::from_utf8(bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the file is not UTF-8 text"))
    }

    /// The names in a directory of the commit, and which of them are directories.
    pub fn list(&self, directory: &Path) -> io::Result<Vec<(String, bool)>> {
        let object = self.object(directory)?;
        let listed = run_bytes(&self.root, &["ls-tree", "-z", &object])
            .map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
        let entries = listed.split(|byte| *byte == 0).filter_map(|entry| {
            let entry = std::str::from_utf8(entry).ok()?;
            let (meta, name) = entry.split_once('\t')?;
            Some((name.to_string(), meta.split(' ').nth(1) == Some("tree")))
        });
        Ok(entries.collect())
    }

    fn object(&self, path: &Path) -> io::Result<String> {
        let below = self.below(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(format!("{}:{}", self.commit, below.to_str().ok_or(io::ErrorKind::InvalidInput)?))
    }
}

fn paths(answer: &[u8]) -> BTreeSet<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    let names = answer.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| PathBuf::from(std::ffi::OsStr::from_bytes(name))).collect()
}

fn commit_of(root: &Path, revision: &str) -> Option<String> {
    let revision = format!("{revision}^{{commit}}");
    let answer = run(root, &["rev-parse", "--verify", "--quiet", "--end-of-options", &revision]);
    answer.ok().map(|commit| commit.trim().to_string())
}

fn named(root: &Path, revision: &str) -> Result<String, ChangesError> {
    match commit_of(root, revision) {
        Some(commit) => Ok(commit),
        None => {
            Err(ChangesError::NoRevision { revision: revision.to_string(), is_shallow: is_shallow(root)? })
        }
    }
}

fn is_shallow(root: &Path) -> Result<bool, Error> {
    Ok(run(root, &["rev-parse", "--is-shallow-repository"])?.trim() == "true")
}

/// The commit, and what it is for people.
fn merge_base(root: &Path, branches: &[&str]) -> Result<(String, String), ChangesError> {
    let remote_head = run(root, &["rev-parse", "--abbrev-ref", "origin/HEAD"]).ok();
    let remote_head = remote_head.as_deref().map(str::trim).filter(|name| *name != "origin/HEAD");
    let fallback: &[&str] = if branches.is_empty() { &["main", "master"] } else { &[] };
    let named = |name: &&str| [format!("origin/{name}"), name.to_string()];
    let candidates = branches.iter().flat_map(named);
    let candidates = candidates.chain(remote_head.filter(|_| branches.is_empty()).map(str::to_string));
    let mut candidates = candidates.chain(fallback.iter().flat_map(named));
    let Some(branch) = candidates.find(|branch| commit_of(root, branch).is_some()) else {
        return Err(match branches.first() {
            Some(branch) => {
                ChangesError::NoMergeBase { branch: branch.to_string(), is_shallow: is_shallow(root)? }
            }
            None => ChangesError::NoDefaultBranch,
        });
    };
    match run(root, &["merge-base", "HEAD", &branch]) {
        Ok(commit) => Ok((commit.trim().to_string(), format!("the merge base with {branch}"))),
        Err(Error::Failed { .. }) => Err(ChangesError::NoMergeBase { branch, is_shallow: is_shallow(root)? }),
        Err(error) => Err(error.into()),
    }
}
