//! Files of a git repository: which commit a ref is, and the commit's files as a folder of the store.
//!
//! All refs of a remote share one bare repository in the store, shallow where that is enough; it is used by one
//! process at a time. Checking out does not touch it.

mod advertised;
mod checkout;
mod command;
mod repository;

use advertised::{default_branch, find};
pub use command::GitEnvironment;
use command::{Git, Protocols};

use super::Sources;
use super::auth::SourceAuth;
use super::error::SourceError;
use crate::base::{GitReference, PinnedCommit, Secret};

impl Sources {
    /// Which commit `git` is now. What names a commit itself needs no question.
    pub(super) async fn pin_git(
        &self,
        git: &GitReference,
        auth: &SourceAuth,
    ) -> Result<PinnedCommit, SourceError> {
        if let Some(pinned) = pinned_by_itself(git)? {
            return Ok(pinned);
        }
        self.expect_network(&git.redacted_remote())?;
        let header = header(git, auth)?;
        let command = self.git(git, header.as_ref());
        let name = match &git.reference {
            Some(reference) => reference.clone(),
            None => {
                let question = ["ls-remote", "--symref", "--", &git.remote, "HEAD"];
                let answer = command.run("ask for the default branch of", &question).await?;
                let what = git.redacted_remote();
                default_branch(&answer).ok_or(SourceError::NoDefaultBranch { what })?
            }
        };
        let peeled = format!("{name}^{{}}");
        let answer =
            command.run("ask for the refs of", &["ls-remote", "--", &git.remote, &name, &peeled]).await?;
        let found = find(&answer, &name).ok_or_else(|| SourceError::NoReference {
            what: git.redacted_remote(),
            reference: name.clone(),
        })?;
        let commit = found.peeled.clone().unwrap_or_else(|| found.object.clone());
        if let Some(expected) = &git.checksum
            && !(found.object.starts_with(expected.as_str()) || commit.starts_with(expected.as_str()))
        {
            return Err(mismatch(git, expected, &commit));
        }
        Ok(PinnedCommit { git: git.clone(), commit, reference: found.reference, object: found.object })
    }

    fn git<'a>(&'a self, git: &'a GitReference, header: Option<&'a Secret>) -> Git<'a> {
        Git {
            environment: &self.options().git,
            store: self.store().path(),
            remote: &git.remote,
            header,
            git_dir: None,
            work_tree: None,
            index: None,
            protocols: Protocols::Remote,
        }
    }
}

fn header(git: &GitReference, auth: &SourceAuth) -> Result<Option<Secret>, SourceError> {
    auth.for_git(git.host(), &git.redacted_remote())
}

fn mismatch(git: &GitReference, expected: &str, actual: &str) -> SourceError {
    SourceError::Commit { what: git.to_string(), expected: expected.to_string(), actual: actual.to_string() }
}

fn pinned_by_itself(git: &GitReference) -> Result<Option<PinnedCommit>, SourceError> {
    let Some(commit) = git.commit() else { return Ok(None) };
    if let Some(expected) = &git.checksum
        && !commit.starts_with(expected.as_str())
    {
        return Err(mismatch(git, expected, commit));
    }
    let reference = match git.reference.as_deref() {
        None => commit.to_string(),
        Some(name) if name.starts_with("refs/") || GitReference::is_commit(name) => name.to_string(),
        Some(name) => format!("refs/heads/{name}"),
    };
    let commit = commit.to_string();
    Ok(Some(PinnedCommit { git: git.clone(), object: commit.clone(), commit, reference }))
}
