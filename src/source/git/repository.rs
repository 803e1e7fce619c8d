//! The bare repository that a remote has in the store: made once, fetched into as commits are asked for.

use std::path::{Path, PathBuf};

use super::command::Git;
use super::{header, mismatch};
use crate::base::{Digest, GitReference, Parts, PinnedCommit};
use crate::source::Sources;
use crate::source::auth::SourceAuth;
use crate::source::error::SourceError;
use crate::store::SnapshotKey;

impl Sources {
    /// The files of the commit, as a folder of the store.
    pub(in crate::source) async fn fetch_git(
        &self,
        pinned: &PinnedCommit,
        auth: &SourceAuth,
    ) -> Result<PathBuf, SourceError> {
        let header = header(&pinned.git, auth)?;
        let git = self.git(&pinned.git, header.as_ref());
        let key = repository_key(&pinned.git.remote, pinned.object.len());
        let _turn = self.exclusive(Digest::of(key_text(&pinned.git.remote, pinned.object.len()))).await?;
        let path = self.repository(&git, &key, pinned).await?;
        match self.fetch_commit(&git, &path, pinned).await {
            Ok(()) => {}
            Err(SourceError::Git { detail, .. }) if is_damaged(&detail) => {
                let path = self.renew(&git, &key, pinned).await?;
                self.fetch_commit(&git, &path, pinned).await?;
            }
            Err(error) => return Err(error),
        }
        let path = self.repository(&git, &key, pinned).await?;
        self.check_out(&git, &path, pinned).await
    }

    /// The committer's time of a commit.
    pub(in crate::source) async fn committed(
        &self,
        pinned: &PinnedCommit,
        auth: &SourceAuth,
    ) -> Result<i64, SourceError> {
        let header = header(&pinned.git, auth)?;
        let git = self.git(&pinned.git, header.as_ref());
        let key = repository_key(&pinned.git.remote, pinned.object.len());
        let _turn = self.exclusive(Digest::of(key_text(&pinned.git.remote, pinned.object.len()))).await?;
        let path = self.repository(&git, &key, pinned).await?;
        self.fetch_commit(&git, &path, pinned).await?;
        commit_time(&inside(&git, &path), pinned).await
    }

    async fn repository(
        &self,
        git: &Git<'_>,
        key: &SnapshotKey,
        pinned: &PinnedCommit,
    ) -> Result<PathBuf, SourceError> {
        match self.store().snapshots().get(key)? {
            Some(path) => Ok(path),
            None => self.make(git, key, pinned).await,
        }
    }

    async fn make(
        &self,
        git: &Git<'_>,
        key: &SnapshotKey,
        pinned: &PinnedCommit,
    ) -> Result<PathBuf, SourceError> {
        let pending = self.store().snapshots().begin(key)?;
        let format =
            if pinned.object.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
        inside(git, &pending.path())
            .run("make a repository for", &["init", "--quiet", "--bare", format])
            .await?;
        // Nothing but fetched commits and their tags are in it, so that it can be asked for any of them.
        let path = pending.path();
        inside(git, &path)
            .run("configure the repository of", &["config", "uploadpack.allowAnySHA1InWant", "true"])
            .await?;
        Ok(pending.commit()?)
    }

    async fn renew(
        &self,
        git: &Git<'_>,
        key: &SnapshotKey,
        pinned: &PinnedCommit,
    ) -> Result<PathBuf, SourceError> {
        self.store().snapshots().discard(key)?;
        self.make(git, key, pinned).await
    }

    /// Makes sure that the commit is in the repository.
    async fn fetch_commit(
        &self,
        git: &Git<'_>,
        path: &Path,
        pinned: &PinnedCommit,
    ) -> Result<(), SourceError> {
        let git = inside(git, path);
        if !has(&git, &pinned.object).await {
            self.expect_network(&pinned.git.redacted_remote())?;
            fetch(&git, pinned).await?;
        }
        let peeled = format!("{}^{{commit}}", pinned.object);
        let commit = git.run("find the commit of", &["rev-parse", "--verify", "--quiet", &peeled]).await?;
        let expected = pinned.git.checksum.as_deref().unwrap_or(&pinned.commit);
        let is_expected = [commit.trim(), &pinned.object].iter().any(|found| found.starts_with(expected));
        if is_expected { Ok(()) } else { Err(mismatch(&pinned.git, expected, commit.trim())) }
    }
}

pub(super) fn inside<'a>(git: &Git<'a>, path: &Path) -> Git<'a> {
    Git { git_dir: Some(path.to_path_buf()), ..git.clone() }
}

pub(super) async fn commit_time(git: &Git<'_>, pinned: &PinnedCommit) -> Result<i64, SourceError> {
    let peeled = format!("{}^{{commit}}", pinned.object);
    let time = git.run("read the commit of", &["log", "-1", "--format=%ct", &peeled, "--"]).await?;
    Ok(time.trim().parse().unwrap_or(0))
}

fn key_text(remote: &str, length: usize) -> String {
    let mut parts = Parts::new();
    parts.text("kind", "git repository");
    parts.text("remote", remote);
    parts.text("object", length.to_string());
    parts.digest().to_string()
}

fn repository_key(remote: &str, length: usize) -> SnapshotKey {
    SnapshotKey::new("git", Digest::of(key_text(remote, length)))
}

async fn has(git: &Git<'_>, object: &str) -> bool {
    let peeled = format!("{object}^{{commit}}");
    git.run("look for a commit of", &["cat-file", "-e", &peeled]).await.is_ok()
}

/// A ref is fetched by its name, alone and without its history. A commit is asked for by its own name, which not
/// every server allows; then everything is fetched.
async fn fetch(git: &Git<'_>, pinned: &PinnedCommit) -> Result<(), SourceError> {
    let by_name = !pinned.git.fetch_by_commit && !GitReference::is_commit(&pinned.reference);
    let wanted = if by_name { &pinned.reference } else { &pinned.object };
    let refspec = format!("{wanted}:refs/mab/{}", pinned.object);
    // What an interrupted fetch left would stop the next one.
    if let Some(path) = &git.git_dir {
        let _ = std::fs::remove_file(path.join("shallow.lock"));
    }
    let shallow = ["fetch", "--quiet", "--force", "--no-tags", "--depth=1", "--", git.remote, &refspec];
    let all = ["+refs/heads/*:refs/mab/heads/*", "+refs/tags/*:refs/tags/*"];
    let first = git.run("fetch", &shallow).await;
    let Err(error) = first else {
        // Somebody may have moved the ref since it was asked about.
        if has(git, &pinned.object).await {
            return Ok(());
        }
        return fetch_everything(git, &all).await;
    };
    match &error {
        SourceError::Git { detail, .. } if is_about_how(detail) => fetch_everything(git, &all).await,
        _ => Err(error),
    }
}

async fn fetch_everything(git: &Git<'_>, refspecs: &[&str]) -> Result<(), SourceError> {
    let is_shallow = git.git_dir.as_ref().is_some_and(|path| path.join("shallow").exists());
    let mut arguments = vec!["fetch", "--quiet", "--force", "--no-tags"];
    if is_shallow {
        arguments.push("--unshallow");
    }
    arguments.extend(["--", git.remote]);
    arguments.extend(refspecs);
    git.run("fetch", &arguments).await.map(drop)
}

/// Whether a server that is there and lets in cannot answer just this question.
fn is_about_how(detail: &str) -> bool {
    ["shallow", "--depth", "not our ref", "unadvertised object", "allow request for"]
        .iter()
        .any(|words| detail.contains(words))
}

/// Whether it is the store's own copy that has a fault: a new one has none.
fn is_damaged(detail: &str) -> bool {
    ["corrupt", "bad object", "not a git repository", "missing necessary objects", "unable to read"]
        .iter()
        .any(|words| detail.contains(words))
}
