//! Commits whose files this side fetches and sends, because the worker would give them other times or fail to: older
//! BuildKits know no time but that of their checkout, and some stumble over folders of repositories.

use std::sync::Arc;

use super::Tools;
use super::file_sync::Folder;
use super::needs::Language;
use crate::base::{PinnedCommit, PinnedSource};
use crate::context::Context;
use crate::diag::Problem;
use crate::engine::{BuildJob, blocking};
use crate::steps::{CopyFrom, Op, Step};

/// What the folder of a commit's files is called: workers find what they have of it in any build.
pub(super) fn name(commit: &PinnedCommit) -> String {
    format!("source:{}", PinnedSource::Git(commit.clone()).identity().digest().hex())
}

/// The folders of all commits of a job that a worker of this language does not take itself.
pub(super) async fn sent(
    job: &BuildJob,
    tools: &Tools,
    language: Language,
) -> Result<Vec<(String, Folder)>, Box<Problem>> {
    let mut folders = Vec::new();
    for (number, source) in job.sources.iter().enumerate() {
        let PinnedSource::Git(commit) = source else { continue };
        if language.takes(commit) {
            continue;
        }
        let fetched = tools.sources.fetch(source, &job.auth).await;
        let root = fetched.map_err(|error| Box::new(added(job, number, error.problem())))?;
        let store = tools.store.clone();
        let walked = blocking(move || Context::walk(&root, None, Some(store))).await;
        let context = walked.map_err(|error| Box::new(error.problem()))?;
        folders.push((name(commit), Folder::Context(Arc::new(context))));
    }
    Ok(folders)
}

/// With the line of the ADD that asks for the source.
fn added(job: &BuildJob, number: usize, problem: Problem) -> Problem {
    let is_it = |step: &&Step| matches!(&step.op, Op::Copy(copy) if copy.from == CopyFrom::Remote(number));
    match job.steps.steps.iter().find(is_it).and_then(|step| step.place.clone()) {
        Some(place) => problem.at(place, "added here"),
        None => problem,
    }
}
