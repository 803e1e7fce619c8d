//! What a run is about, as rules see it: the ref, the commit, the event, the times, and the tags there are besides.
//!
//! Made of facts, which every CI system fills in its own way; here they are in the words of docker/metadata-action,
//! which are GitHub's.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;

use super::rule::script_number;
use super::versions::{Release, Scheme};
use crate::facts::{Checkout, CiEvent, CiFacts, Facts, page_of};

/// Letters of a short hash.
const SHORT: usize = 7;

#[derive(Clone, Debug)]
pub struct Occasion {
    head: Head,
    pub sha: String,
    pub short_sha: String,
    pub is_scheduled: bool,
    pub default_branch: Option<String>,
    /// The event is one of GitHub's that always are about the default branch.
    pub is_about_default_branch: bool,
    /// Where a pull request goes.
    pub base_branch: String,
    /// Where a tag was pushed from.
    pub pushed_from: String,
    pub now: Timestamp,
    pub commit_date: Timestamp,
    /// What is written as the time of making: of the commit, unless somebody says another or it is to be as there.
    pub created: Timestamp,
    pub repository: Repository,
    /// All is as docker/metadata-action has it.
    pub is_compatible: bool,
    /// The levels that annotations are for there.
    pub levels: Option<String>,
    /// All tags of the repository; `None` where git has not said them.
    tags: Option<Arc<Tags>>,
}

/// What stands in labels of the repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repository {
    pub title: String,
    pub description: String,
    pub url: String,
    pub licence: String,
}

#[derive(Clone, Debug)]
enum Head {
    /// CI says it: one ref.
    Told(String),
    /// The work tree has it: tags, lower ones first, and a branch.
    Found { tags: Vec<String>, branch: Option<String> },
}

/// What is built: a branch, a tag or a pull request; in a work tree, which no event is about, both of the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reference {
    pub branch: Option<String>,
    pub tag: Option<String>,
    /// The name of its ref, `7/merge`.
    pub pull_request: Option<String>,
    /// There is one, if another.
    pub is_known: bool,
}

impl Reference {
    fn known(self) -> Self {
        let is_known = self.is_known || self.tag.is_some();
        Self { is_known, ..self }
    }
}

/// By what stands before them, up to the last slash.
type Releases = BTreeMap<String, Vec<Release>>;

/// The tags of a repository, as they are and as versions.
#[derive(Debug)]
struct Tags {
    names: Vec<String>,
    is_shallow: bool,
    semver: OnceLock<Releases>,
    pep440: OnceLock<Releases>,
}

impl Occasion {
    /// `default_branch` is the project's own word for it.
    pub fn new(facts: &Facts, default_branch: Option<&str>, is_compatible: bool) -> Result<Self, String> {
        let (ci, git) = (facts.ci.as_ref(), facts.git.as_ref());
        let owned = |text: Option<&String>| text.cloned().unwrap_or_default();
        let variable = |name: &str| facts.environment.get(name).map(String::as_str).filter(|_| is_compatible);
        let event = owned(ci.and_then(|ci| ci.event_name.as_ref()));
        let is_pull_request = ci.is_some_and(|ci| ci.event == CiEvent::PullRequest);
        let wants_head = variable("DOCKER_METADATA_PR_HEAD_SHA")
            .is_some_and(|value| value.to_ascii_lowercase().contains("true"));
        let head_sha = ci.and_then(|ci| ci.head_sha.clone()).filter(|_| wants_head && is_pull_request);
        let said = head_sha.or_else(|| ci.and_then(|ci| ci.sha.clone()));
        let sha = said.or_else(|| git.map(|git| git.sha.clone())).unwrap_or_default();
        let of_git = git.filter(|git| git.sha == sha).map(|git| git.commit_date);
        let now = facts.frozen.unwrap_or(facts.now);
        let known_date = ci.and_then(|ci| ci.commit_date).or(of_git);
        let length = short_length(variable("DOCKER_METADATA_SHORT_SHA_LENGTH"))?;
        Ok(Self {
            head: head(facts, is_compatible),
            short_sha: sha.get(..length).unwrap_or(&sha).to_string(),
            sha,
            is_scheduled: ci.is_some_and(|ci| ci.event == CiEvent::Schedule) || event.contains("schedule"),
            default_branch: Checkout::new(facts, default_branch).default_branch.map(str::to_string),
            is_about_default_branch: ci.is_some_and(CiFacts::is_github_like)
                && ["create", "discussion", "issues", "schedule"].iter().any(|word| event.contains(word)),
            base_branch: owned(ci.and_then(|ci| ci.base_branch.as_ref())),
            pushed_from: owned(ci.and_then(|ci| ci.pushed_from.as_ref())),
            now,
            commit_date: known_date.unwrap_or(now),
            created: match (facts.frozen, is_compatible) {
                (Some(frozen), _) => frozen,
                (None, true) => now,
                (None, false) => known_date.unwrap_or(now),
            },
            repository: repository(facts),
            is_compatible,
            levels: variable("DOCKER_METADATA_ANNOTATIONS_LEVELS").map(str::to_string),
            tags: git.and_then(|git| {
                let names = git.all_tags.clone()?;
                let is_shallow = git.is_shallow;
                Some(Arc::new(Tags { names, is_shallow, semver: OnceLock::new(), pep440: OnceLock::new() }))
            }),
        })
    }

    /// The ref for tags that begin with `prefix`, which is taken away; no tag where there is one of another prefix.
    pub fn reference(&self, prefix: &str) -> Reference {
        let own = |tag: &str| tag.strip_prefix(prefix).filter(|rest| !rest.is_empty()).map(str::to_string);
        match &self.head {
            Head::Told(reference) => {
                let of = |start: &str| reference.strip_prefix(start).map(str::to_string);
                let (branch, pull_request) = (of("refs/heads/"), of("refs/pull/"));
                let other = of("").filter(|_| !reference.starts_with("refs/tags/"));
                let tag = reference.strip_prefix("refs/tags/").and_then(own);
                Reference { branch, tag, pull_request, is_known: other.is_some_and(|name| !name.is_empty()) }
            }
            Head::Found { tags, branch } => Reference {
                branch: branch.clone(),
                tag: tags.iter().rev().find_map(|tag| own(tag)),
                pull_request: None,
                is_known: true,
            },
        }
        .known()
    }

    /// All releases among the tags with `prefix`; `None` where nobody knows them.
    pub fn releases(&self, scheme: Scheme, prefix: &str) -> Option<Vec<Release>> {
        let tags = self.tags.as_ref()?;
        let known = match scheme {
            Scheme::Semver => &tags.semver,
            Scheme::Pep440 => &tags.pep440,
        };
        let release = |version: &str| scheme.parse(version).filter(|release| !release.is_preliminary);
        // A run has many targets and many tags: each is read once where services have theirs before a slash.
        if !prefix.is_empty() && !prefix.ends_with('/') {
            return Some(tags.names.iter().filter_map(|name| release(name.strip_prefix(prefix)?)).collect());
        }
        let all = known.get_or_init(|| {
            let mut releases = Releases::new();
            for name in &tags.names {
                let (folder, version) = name.split_at(name.rfind('/').map_or(0, |slash| slash + 1));
                let found = release(version);
                if let Some(found) = found {
                    releases.entry(folder.to_string()).or_default().push(found);
                }
            }
            releases
        });
        Some(all.get(prefix).cloned().unwrap_or_default())
    }

    /// The names of all tags.
    pub fn tags(&self) -> Option<&[String]> {
        self.tags.as_ref().map(|tags| tags.names.as_slice())
    }

    /// Whether all tags of the repository are known here.
    pub fn knows_all_tags(&self) -> bool {
        self.tags.as_ref().is_some_and(|tags| !tags.is_shallow)
    }
}

fn short_length(given: Option<&str>) -> Result<usize, String> {
    match given.map(str::trim).filter(|text| !text.is_empty()) {
        None => Ok(SHORT),
        // As a number of letters it is cut, and none is below zero.
        Some(text) => script_number(text).map(|number| number as usize).ok_or_else(|| {
            format!("the environment's `DOCKER_METADATA_SHORT_SHA_LENGTH` is `{text}`, which is no number")
        }),
    }
}

fn head(facts: &Facts, is_compatible: bool) -> Head {
    if let Some(ci) = &facts.ci {
        let reference = ci.reference.as_deref();
        if let Some(reference) = reference.filter(|_| is_merged(ci)) {
            return Head::Told(reference.to_string());
        }
        if let Some(number) = &ci.pull_request {
            let own = reference.filter(|reference| is_compatible && reference.starts_with("refs/pull/"));
            return Head::Told(own.map_or_else(|| format!("refs/pull/{number}/merge"), str::to_string));
        }
        if let Some(reference) = reference {
            return Head::Told(reference.to_string());
        }
    }
    let Some(git) = &facts.git else { return Head::Told(String::new()) };
    let branch = git.branch.as_ref().or(match &git.remote_heads[..] {
        [only] => Some(only),
        _ => None,
    });
    // A branch that is checked out is what there a work tree is about, whatever tags it has; else a tag is.
    match (is_compatible, &git.branch, git.tags.last(), branch) {
        (true, Some(branch), ..) | (true, None, None, Some(branch)) => {
            Head::Told(format!("refs/heads/{branch}"))
        }
        (true, None, Some(tag), _) => Head::Told(format!("refs/tags/{tag}")),
        _ => Head::Found { tags: git.tags.clone(), branch: branch.cloned() },
    }
}

/// Whether the event is the end of a pull request, which GitHub runs on the branch that it went into.
fn is_merged(ci: &CiFacts) -> bool {
    let is_branch = ci.reference.as_deref().is_some_and(|reference| reference.starts_with("refs/heads/"));
    ci.is_github_like() && is_branch && ci.event_name.as_deref() == Some("pull_request")
}

fn repository(facts: &Facts) -> Repository {
    let ci = facts.ci.as_ref();
    let remote = facts.git.as_ref().and_then(|git| git.remote.as_deref());
    let page = || remote.and_then(page_of);
    let url = ci.and_then(|ci| ci.repository_url.clone()).or_else(page).unwrap_or_default();
    let named = |path: &str| path.trim_end_matches(".git").rsplit(['/', ':']).next().map(str::to_string);
    let title = ci.and_then(|ci| ci.title.clone().or_else(|| named(ci.repository.as_deref()?)));
    let owned = |text: Option<&String>| text.cloned().unwrap_or_default();
    Repository {
        title: title.or_else(|| named(remote?)).unwrap_or_default(),
        description: owned(ci.and_then(|ci| ci.description.as_ref())),
        url,
        licence: owned(ci.and_then(|ci| ci.licence.as_ref())),
    }
}
