//! The CI system that runs us, if one does: what it says of ref, commit, pull request and repository.
//!
//! [`CiFacts::detect`] is a pure function of the environment and, for GitHub's kind, of the event's payload. Every
//! system's own names end here; what the user says wins over them (`said`), and is the only source where a
//! system exposes nothing (Tekton). What no system says stays `None`: git may know it.

mod github;
mod said;
mod systems;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

pub use said::{FACTS, overrides, time_of};

/// What CI says of this run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CiFacts {
    /// `github`, `gitlab`, …; `other` when only `CI` is set or overrides are given.
    pub system: &'static str,
    pub event: Event,
    /// The event in the system's own word.
    pub event_name: Option<String>,
    /// The full ref, `refs/heads/main`.
    pub reference: Option<String>,
    /// The branch that was pushed to, or that a pull request comes from.
    pub branch: Option<String>,
    pub tag: Option<String>,
    pub sha: Option<String>,
    /// The number of the pull or merge request.
    pub pull_request: Option<String>,
    /// The branch a pull request goes to.
    pub base_branch: Option<String>,
    /// The last commit of a pull request's own branch, where `sha` is that of a merge.
    pub head_sha: Option<String>,
    /// The branch that a tag was pushed from, as far as the event says it.
    pub pushed_from: Option<String>,
    pub commit_date: Option<Timestamp>,
    pub default_branch: Option<String>,
    /// A page for people, without credentials.
    pub repository_url: Option<String>,
    /// `owner/name`.
    pub repository: Option<String>,
    pub run_url: Option<String>,
    /// What the repository is called, without its owner.
    pub title: Option<String>,
    pub description: Option<String>,
    /// By SPDX identifier.
    pub licence: Option<String>,
}

/// Why the run was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Event {
    Branch,
    Tag,
    PullRequest,
    Schedule,
    #[default]
    Manual,
}

impl Event {
    pub fn name(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::PullRequest => "pull-request",
            Self::Schedule => "schedule",
            Self::Manual => "manual",
        }
    }
}

/// The environment as CI systems fill it: unset and empty are the same.
#[derive(Clone, Copy)]
struct Variables<'a>(&'a BTreeMap<String, String>);

impl<'a> Variables<'a> {
    fn get(self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn owned(self, name: &str) -> Option<String> {
        self.get(name).map(str::to_string)
    }

    /// The first of several names that is set.
    fn first(self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.owned(name))
    }

    fn is(self, name: &str, value: &str) -> bool {
        self.get(name).is_some_and(|own| own.eq_ignore_ascii_case(value))
    }
}

/// Whether the payload of the event must be read, and where it is.
pub fn payload_path(environment: &BTreeMap<String, String>) -> Option<&str> {
    let variables = Variables(environment);
    let has_one =
        ["GITEA_ACTIONS", "FORGEJO_ACTIONS", "GITHUB_ACTIONS"].iter().any(|name| variables.is(name, "true"));
    has_one.then(|| variables.get("GITHUB_EVENT_PATH")).flatten()
}

impl CiFacts {
    /// The system, by what is most its own first: Gitea also sets GitHub's names, Woodpecker GitLab's.
    pub fn detect(environment: &BTreeMap<String, String>, payload: Option<&Value>) -> Option<Self> {
        let variables = Variables(environment);
        let facts = if variables.is("GITEA_ACTIONS", "true") || variables.is("FORGEJO_ACTIONS", "true") {
            Some(github::read("gitea", variables, payload))
        } else if variables.is("GITHUB_ACTIONS", "true") {
            Some(github::read("github", variables, payload))
        } else {
            systems::read(variables)
        };
        said::apply(facts, environment)
    }

    /// What the user says besides, by the names of [`FACTS`].
    pub fn overridden(facts: Option<Self>, said: &BTreeMap<String, String>) -> Option<Self> {
        said::apply(facts, said)
    }

    /// Whether the system is GitHub, or speaks its language.
    pub fn is_github_like(&self) -> bool {
        matches!(self.system, "github" | "gitea")
    }

    /// Takes branch, tag and, where nothing else is known, the kind from a full ref.
    fn set_reference(&mut self, reference: &str) {
        (self.branch, self.tag) = (None, None);
        if let Some(branch) = reference.strip_prefix("refs/heads/") {
            self.branch = Some(branch.to_string());
            self.event = Event::Branch;
        } else if let Some(tag) = reference.strip_prefix("refs/tags/") {
            self.tag = Some(tag.to_string());
            self.event = Event::Tag;
        } else if let Some(number) =
            reference.strip_prefix("refs/pull/").and_then(|rest| rest.split('/').next())
        {
            self.pull_request = Some(number.to_string());
            self.event = Event::PullRequest;
        }
        self.reference = Some(reference.to_string());
    }

    /// The kind that the fields say, for systems that have no word for it.
    fn with_event(mut self, is_scheduled: bool) -> Self {
        self.event = if is_scheduled {
            Event::Schedule
        } else if self.pull_request.is_some() {
            Event::PullRequest
        } else if self.tag.is_some() {
            Event::Tag
        } else if self.branch.is_some() {
            Event::Branch
        } else {
            Event::Manual
        };
        if self.reference.is_none() {
            self.reference = match (&self.tag, &self.branch) {
                (Some(tag), _) => Some(format!("refs/tags/{tag}")),
                (None, Some(branch)) => Some(format!("refs/heads/{branch}")),
                (None, None) => None,
            };
        }
        self
    }
}

/// A URL without what stands before `@` in its host: remotes may hold a token.
pub(super) fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
            let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
            if path.is_empty() { format!("{scheme}://{host}") } else { format!("{scheme}://{host}/{path}") }
        }
        None => url.to_string(),
    }
}

/// The page of a repository, from where it is fetched: `https://host/owner/name` for `git@host:owner/name.git`.
pub fn page_of(remote: &str) -> Option<String> {
    let remote = without_credentials(remote);
    let (scheme, host, path) = match remote.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => {
            let (host, path) = rest.split_once('/')?;
            (scheme, host, path)
        }
        Some(("ssh" | "git", rest)) => {
            let (host, path) = rest.split_once('/')?;
            ("https", host.split(':').next()?, path)
        }
        Some(_) => return None,
        None => {
            let (host, path) = remote.split_once(':')?;
            ("https", host.rsplit('@').next()?, path)
        }
    };
    let path = path.trim_matches('/').trim_end_matches(".git");
    let is_one = !host.is_empty() && !host.contains('/') && !path.is_empty();
    is_one.then(|| format!("{scheme}://{host}/{path}"))
}

/// `owner/name` of a repository's URL.
fn slug_of(url: &str) -> Option<String> {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => url.split_once(':')?.1,
    };
    let path = path.trim_end_matches('/').trim_end_matches(".git");
    (!path.is_empty()).then(|| path.to_string())
}

#[cfg(test)]
mod tests;
