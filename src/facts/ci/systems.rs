//! The systems that say all they know in the environment, one function each.

use super::{CiFacts, Event, Variables, page_of, slug_of, time_of};

pub(super) fn read(variables: Variables<'_>) -> Option<CiFacts> {
    let is_set = |name: &str| variables.get(name).is_some();
    Some(if variables.is("CI", "woodpecker") || variables.is("CI_SYSTEM_NAME", "woodpecker") {
        woodpecker(variables)
    } else if is_set("GITLAB_CI") {
        gitlab(variables)
    } else if is_set("CIRCLECI") {
        circleci(variables)
    } else if is_set("BUILDKITE") {
        buildkite(variables)
    } else if is_set("JENKINS_URL") {
        jenkins(variables)
    } else if is_set("TF_BUILD") {
        azure(variables)
    } else if is_set("BITBUCKET_BUILD_NUMBER") || is_set("BITBUCKET_COMMIT") {
        bitbucket(variables)
    } else if is_set("DRONE") {
        drone(variables)
    } else if is_set("TRAVIS") {
        travis(variables)
    } else if variables.get("CI").is_some_and(|value| value != "false") {
        CiFacts { system: "other", ..CiFacts::default() }
    } else {
        return None;
    })
}

fn woodpecker(variables: Variables<'_>) -> CiFacts {
    let event = variables.get("CI_PIPELINE_EVENT").unwrap_or_default();
    let pull_request = variables.owned("CI_COMMIT_PULL_REQUEST");
    let source = variables.owned("CI_COMMIT_SOURCE_BRANCH");
    CiFacts {
        system: "woodpecker",
        event_name: variables.owned("CI_PIPELINE_EVENT"),
        reference: variables.owned("CI_COMMIT_REF"),
        branch: pull_request.as_ref().and(source).or_else(|| variables.owned("CI_COMMIT_BRANCH")),
        tag: variables.owned("CI_COMMIT_TAG"),
        sha: variables.owned("CI_COMMIT_SHA"),
        base_branch: pull_request.as_ref().and_then(|_| variables.owned("CI_COMMIT_TARGET_BRANCH")),
        pull_request,
        default_branch: variables.owned("CI_REPO_DEFAULT_BRANCH"),
        repository_url: variables.owned("CI_REPO_URL"),
        repository: variables.owned("CI_REPO"),
        run_url: variables.owned("CI_PIPELINE_URL"),
        ..CiFacts::default()
    }
    .with_event(event == "cron")
}

/// The number people see is the internal id, `IID`.
fn gitlab(variables: Variables<'_>) -> CiFacts {
    let pull_request = variables.owned("CI_MERGE_REQUEST_IID");
    let source = variables.owned("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME");
    CiFacts {
        system: "gitlab",
        event_name: variables.owned("CI_PIPELINE_SOURCE"),
        branch: pull_request.as_ref().and(source).or_else(|| variables.owned("CI_COMMIT_BRANCH")),
        tag: variables.owned("CI_COMMIT_TAG"),
        sha: variables.owned("CI_COMMIT_SHA"),
        base_branch: variables.owned("CI_MERGE_REQUEST_TARGET_BRANCH_NAME"),
        pull_request,
        default_branch: variables.owned("CI_DEFAULT_BRANCH"),
        repository_url: variables.owned("CI_PROJECT_URL"),
        repository: variables.owned("CI_PROJECT_PATH"),
        run_url: variables.owned("CI_PIPELINE_URL"),
        commit_date: variables.get("CI_COMMIT_TIMESTAMP").and_then(time_of),
        title: variables.owned("CI_PROJECT_TITLE"),
        description: variables.owned("CI_PROJECT_DESCRIPTION"),
        ..CiFacts::default()
    }
    .with_event(variables.is("CI_PIPELINE_SOURCE", "schedule"))
}

fn circleci(variables: Variables<'_>) -> CiFacts {
    let of_url = || variables.get("CIRCLE_PULL_REQUEST")?.rsplit('/').next().map(str::to_string);
    let owner = variables.get("CIRCLE_PROJECT_USERNAME");
    let repository = owner.zip(variables.get("CIRCLE_PROJECT_REPONAME"));
    CiFacts {
        system: "circleci",
        branch: variables.owned("CIRCLE_BRANCH"),
        tag: variables.owned("CIRCLE_TAG"),
        sha: variables.owned("CIRCLE_SHA1"),
        pull_request: variables.owned("CIRCLE_PR_NUMBER").or_else(of_url),
        repository_url: variables.get("CIRCLE_REPOSITORY_URL").and_then(page_of),
        repository: repository.map(|(owner, name)| format!("{owner}/{name}")),
        run_url: variables.owned("CIRCLE_BUILD_URL"),
        ..CiFacts::default()
    }
    .with_event(false)
}

/// The commit may be the word `HEAD`, and no pull request is the word `false`.
fn buildkite(variables: Variables<'_>) -> CiFacts {
    let remote = variables.get("BUILDKITE_REPO");
    CiFacts {
        system: "buildkite",
        event_name: variables.owned("BUILDKITE_SOURCE"),
        branch: variables.owned("BUILDKITE_BRANCH"),
        tag: variables.owned("BUILDKITE_TAG"),
        sha: variables.owned("BUILDKITE_COMMIT").filter(|commit| commit != "HEAD"),
        pull_request: variables.owned("BUILDKITE_PULL_REQUEST").filter(|number| number != "false"),
        base_branch: variables.owned("BUILDKITE_PULL_REQUEST_BASE_BRANCH"),
        default_branch: variables.owned("BUILDKITE_PIPELINE_DEFAULT_BRANCH"),
        repository: remote.and_then(slug_of),
        repository_url: remote.and_then(page_of),
        run_url: variables.owned("BUILDKITE_BUILD_URL"),
        ..CiFacts::default()
    }
    .with_event(variables.is("BUILDKITE_SOURCE", "schedule"))
}

/// With the multibranch plugin a change's `BRANCH_NAME` is `PR-7`; without it `GIT_BRANCH` is `origin/main`.
fn jenkins(variables: Variables<'_>) -> CiFacts {
    let pull_request = variables.first(&["CHANGE_ID", "ghprbPullId", "gitlabMergeRequestIid"]);
    let source = variables.first(&["CHANGE_BRANCH", "ghprbSourceBranch", "gitlabSourceBranch"]);
    let own = || variables.first(&["BRANCH_NAME", "GIT_LOCAL_BRANCH"]);
    let remote = || Some(variables.get("GIT_BRANCH")?.trim_start_matches("origin/").to_string());
    let tag = variables.owned("TAG_NAME");
    let branch = if pull_request.is_some() { source } else { own().or_else(remote) };
    let is_default = variables.is("BRANCH_IS_PRIMARY", "true");
    let remote = variables.get("GIT_URL");
    CiFacts {
        system: "jenkins",
        default_branch: branch.clone().filter(|_| is_default && pull_request.is_none()),
        branch: branch.filter(|_| tag.is_none()),
        tag,
        sha: variables.owned("GIT_COMMIT"),
        pull_request,
        base_branch: variables.first(&["CHANGE_TARGET", "ghprbTargetBranch", "gitlabTargetBranch"]),
        repository: remote.and_then(slug_of),
        repository_url: remote.and_then(page_of),
        run_url: variables.owned("BUILD_URL"),
        ..CiFacts::default()
    }
    .with_event(false)
}

fn azure(variables: Variables<'_>) -> CiFacts {
    let short = |name: &str| Some(variables.get(name)?.trim_start_matches("refs/heads/").to_string());
    let mut facts = CiFacts { system: "azure", ..CiFacts::default() };
    if let Some(reference) = variables.get("BUILD_SOURCEBRANCH") {
        facts.set_reference(reference);
    }
    facts.event_name = variables.owned("BUILD_REASON");
    facts.sha = variables.owned("BUILD_SOURCEVERSION");
    let number = ["SYSTEM_PULLREQUEST_PULLREQUESTNUMBER", "SYSTEM_PULLREQUEST_PULLREQUESTID"];
    facts.pull_request = variables.first(&number).or(facts.pull_request);
    if facts.pull_request.is_some() {
        facts.base_branch = short("SYSTEM_PULLREQUEST_TARGETBRANCH");
        facts.branch = short("SYSTEM_PULLREQUEST_SOURCEBRANCH");
        facts.event = Event::PullRequest;
    }
    if variables.is("BUILD_REASON", "Schedule") {
        facts.event = Event::Schedule;
    }
    facts.repository_url = variables.get("BUILD_REPOSITORY_URI").and_then(page_of);
    facts.repository = variables.owned("BUILD_REPOSITORY_NAME");
    let collection = variables.get("SYSTEM_COLLECTIONURI").zip(variables.get("SYSTEM_TEAMPROJECT"));
    facts.run_url = collection.zip(variables.get("BUILD_BUILDID")).map(|((collection, project), build)| {
        format!("{}/{project}/_build/results?buildId={build}", collection.trim_end_matches('/'))
    });
    facts
}

fn bitbucket(variables: Variables<'_>) -> CiFacts {
    let url = variables.get("BITBUCKET_GIT_HTTP_ORIGIN").and_then(page_of);
    let run = url.as_ref().zip(variables.get("BITBUCKET_BUILD_NUMBER"));
    CiFacts {
        system: "bitbucket",
        branch: variables.owned("BITBUCKET_BRANCH"),
        tag: variables.owned("BITBUCKET_TAG"),
        sha: variables.owned("BITBUCKET_COMMIT"),
        pull_request: variables.owned("BITBUCKET_PR_ID"),
        base_branch: variables.owned("BITBUCKET_PR_DESTINATION_BRANCH"),
        run_url: run.map(|(url, number)| format!("{url}/pipelines/results/{number}")),
        repository: variables.owned("BITBUCKET_REPO_FULL_NAME"),
        repository_url: url,
        ..CiFacts::default()
    }
    .with_event(false)
}

/// `DRONE_BRANCH` is the branch a pull request goes to.
fn drone(variables: Variables<'_>) -> CiFacts {
    let pull_request = variables.owned("DRONE_PULL_REQUEST");
    let source = variables.owned("DRONE_SOURCE_BRANCH");
    let tag = variables.owned("DRONE_TAG");
    let branch = if pull_request.is_some() { source } else { variables.owned("DRONE_BRANCH") };
    CiFacts {
        system: "drone",
        event_name: variables.owned("DRONE_BUILD_EVENT"),
        reference: variables.owned("DRONE_COMMIT_REF"),
        branch: branch.filter(|_| tag.is_none()),
        tag,
        sha: variables.owned("DRONE_COMMIT_SHA"),
        base_branch: pull_request.as_ref().and_then(|_| variables.owned("DRONE_TARGET_BRANCH")),
        pull_request,
        default_branch: variables.owned("DRONE_REPO_BRANCH"),
        repository_url: variables.owned("DRONE_REPO_LINK"),
        repository: variables.owned("DRONE_REPO"),
        run_url: variables.owned("DRONE_BUILD_LINK"),
        ..CiFacts::default()
    }
    .with_event(variables.is("DRONE_BUILD_EVENT", "cron"))
}

/// `TRAVIS_BRANCH` is the target of a pull request, and the tag's name when a tag is built.
fn travis(variables: Variables<'_>) -> CiFacts {
    let pull_request = variables.owned("TRAVIS_PULL_REQUEST").filter(|number| number != "false");
    let tag = variables.owned("TRAVIS_TAG");
    let target = variables.owned("TRAVIS_BRANCH");
    let source = variables.owned("TRAVIS_PULL_REQUEST_BRANCH");
    let branch = if pull_request.is_some() { source } else { target.clone() };
    CiFacts {
        system: "travis",
        event_name: variables.owned("TRAVIS_EVENT_TYPE"),
        branch: branch.filter(|_| tag.is_none()),
        tag,
        sha: variables.owned("TRAVIS_COMMIT"),
        base_branch: pull_request.as_ref().and(target),
        pull_request,
        repository: variables.owned("TRAVIS_REPO_SLUG"),
        run_url: variables.owned("TRAVIS_BUILD_WEB_URL"),
        ..CiFacts::default()
    }
    .with_event(variables.is("TRAVIS_EVENT_TYPE", "cron"))
}
