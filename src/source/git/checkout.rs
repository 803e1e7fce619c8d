//! A commit's files on disk: as BuildKit checks them out, and with times that do not depend on when.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::command::{Git, Protocols};
use super::repository::{commit_time, inside};
use crate::base::{GitReference, GitTimes, PinnedCommit, PinnedSource};
use crate::source::error::SourceError;
use crate::source::http::set_time;
use crate::source::{Sources, snapshot_key};

impl Sources {
    /// Checks the commit out into a folder of its own.
    pub(super) async fn check_out(
        &self,
        git: &Git<'_>,
        repository: &Path,
        pinned: &PinnedCommit,
    ) -> Result<PathBuf, SourceError> {
        let key = snapshot_key(&PinnedSource::Git(pinned.clone()));
        if let Some(path) = self.store().snapshots().get(&key)? {
            return Ok(path);
        }
        let pending = self.store().snapshots().begin(&key)?;
        let work_tree = match pinned.git.subdir {
            None => pending.path(),
            Some(_) => pending.folder().join("whole"),
        };
        fs::create_dir_all(&work_tree).map_err(SourceError::local("make a folder in the store"))?;
        let keeps_git_dir = pinned.git.keep_git_dir == Some(true) && pinned.git.subdir.is_none();
        let has_submodules =
            pinned.git.submodules != Some(false) && lists_submodules(git, repository, pinned).await;
        let git_dir = match keeps_git_dir {
            true => work_tree.join(".git"),
            false => pending.folder().join("git"),
        };
        match keeps_git_dir || has_submodules {
            true => clone(git, repository, &git_dir, &work_tree, pinned).await?,
            false => take(git, repository, &work_tree, &pending.folder().join("index"), pinned).await?,
        }
        if has_submodules {
            self.expect_network(&pinned.git.redacted_remote())?;
            add_submodules(git, &git_dir, &work_tree).await?;
        }
        if has_submodules && !keeps_git_dir {
            remove_links(&work_tree).map_err(SourceError::local("tidy submodules"))?;
        }
        let time = match pinned.git.times {
            GitTimes::Commit => Some(commit_time(&inside(git, repository), pinned).await?),
            GitTimes::Checkout => None,
        };
        if let Some(subdir) = &pinned.git.subdir {
            take_folder(&work_tree, subdir, &pending.path(), pinned)?;
        }
        if !keeps_git_dir && has_submodules {
            fs::remove_dir_all(&git_dir).map_err(SourceError::local("tidy a repository"))?;
        }
        settle(&pending.path(), time).map_err(SourceError::local("settle the files of a commit"))?;
        Ok(pending.commit()?)
    }
}

async fn lists_submodules(git: &Git<'_>, repository: &Path, pinned: &PinnedCommit) -> bool {
    let list = format!("{}:.gitmodules", pinned.commit);
    inside(git, repository).run("look for submodules of", &["cat-file", "-e", &list]).await.is_ok()
}

/// Files without a `.git`. With an index of their own, what others checked out does not matter.
async fn take(
    git: &Git<'_>,
    repository: &Path,
    work_tree: &Path,
    index: &Path,
    pinned: &PinnedCommit,
) -> Result<(), SourceError> {
    let mut git = inside(git, repository);
    (git.work_tree, git.index) = (Some(work_tree.to_path_buf()), Some(index.to_path_buf()));
    // A commit without files has none that the path could name.
    let tree = git.run("read a commit of", &["ls-tree", "--name-only", &pinned.commit]).await?;
    if tree.is_empty() {
        return Ok(());
    }
    git.run("check out", &["checkout", "--quiet", "--force", &pinned.commit, "--", "."]).await?;
    remove_if_there(index).map_err(SourceError::local("tidy a repository"))
}

/// A repository of its own with this one commit, whose origin is the remote.
async fn clone(
    git: &Git<'_>,
    repository: &Path,
    git_dir: &Path,
    work_tree: &Path,
    pinned: &PinnedCommit,
) -> Result<(), SourceError> {
    let mut local = Git { protocols: Protocols::Local, header: None, ..git.clone() };
    (local.git_dir, local.work_tree) = (Some(git_dir.to_path_buf()), Some(work_tree.to_path_buf()));
    let format = if pinned.object.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
    local.run("make a repository for", &["init", "--quiet", "--template=", format]).await?;
    let refspec = match GitReference::is_commit(&pinned.reference) {
        true => pinned.object.clone(),
        false => format!("{}:{}", pinned.object, pinned.reference),
    };
    // The store's objects, taken through the protocol, so that of its repository nothing but the commit comes
    // along.
    let origin = format!("file://{}", repository.display());
    let fetch = ["fetch", "--quiet", "-u", "--no-tags", "--depth=1", "--", &origin, &refspec];
    local.run("take a commit of", &fetch).await?;
    local.run("check out", &["checkout", "--quiet", "--force", "FETCH_HEAD"]).await?;
    let remote = pinned.git.redacted_remote();
    local.run("configure the repository of", &["config", "remote.origin.url", &remote]).await?;
    let heads = "+refs/heads/*:refs/remotes/origin/*";
    local.run("configure the repository of", &["config", "remote.origin.fetch", heads]).await?;
    local.run("tidy the repository of", &["reflog", "expire", "--all", "--expire=now"]).await?;
    remove_if_there(&git_dir.join("FETCH_HEAD")).map_err(SourceError::local("tidy a repository"))
}

async fn add_submodules(git: &Git<'_>, git_dir: &Path, work_tree: &Path) -> Result<(), SourceError> {
    let mut git = inside(git, git_dir);
    git.work_tree = Some(work_tree.to_path_buf());
    let update = ["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"];
    git.run("take the submodules of", &update).await.map(drop)
}

/// Removes the files by which submodules find their repositories, which are not part of the result.
fn remove_links(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            remove_links(&entry.path())?;
        } else if kind.is_file() && entry.file_name() == ".git" {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Moves the contents of a folder out of the whole tree. No component of its path may be a link.
fn take_folder(whole: &Path, subdir: &str, into: &Path, pinned: &PinnedCommit) -> Result<(), SourceError> {
    let missing = || SourceError::NoFolder {
        what: pinned.git.redacted_remote(),
        commit: pinned.commit.clone(),
        subdir: subdir.to_string(),
    };
    let mut folder = whole.to_path_buf();
    for component in subdir.split('/') {
        folder.push(component);
        if !fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.is_dir()) {
            return Err(missing());
        }
    }
    let moved = || -> io::Result<()> {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            fs::rename(entry.path(), into.join(entry.file_name()))?;
        }
        fs::remove_dir_all(whole)
    };
    moved().map_err(SourceError::local("move files in the store"))
}

/// Gives files the modes that git knows, whatever the umask is, and their time: directories last, since what is
/// made in them changes theirs.
fn settle(root: &Path, time: Option<i64>) -> io::Result<()> {
    let mut folders = vec![root.to_path_buf()];
    let mut next = 0;
    while next < folders.len() {
        for entry in fs::read_dir(&folders[next])? {
            let entry = entry?;
            let (path, metadata) = (entry.path(), entry.metadata()?);
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            if metadata.is_file() {
                let mode = if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
                fs::set_permissions(&path, Permissions::from_mode(mode))?;
            }
            time.map_or(Ok(()), |time| set_time(&path, time))?;
        }
        next += 1;
    }
    for folder in folders.iter().rev() {
        fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        time.map_or(Ok(()), |time| set_time(folder, time))?;
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
