//! One table: a system's variables, and what they come to.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;

fn check(environment: &str, payload: Option<Value>, expected: &str) {
    let environment: BTreeMap<String, String> = environment
        .split_whitespace()
        .map(|pair| pair.split_once('=').expect("NAME=VALUE"))
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let facts = CiFacts::detect(&environment, payload.as_ref());
    let shown = facts.map_or_else(|| "none".to_string(), |facts| show(&facts));
    assert_eq!(shown, expected, "{environment:?}");
}

/// The facts on one line, without what is not known.
fn show(facts: &CiFacts) -> String {
    let fields = [
        ("ref", &facts.reference),
        ("branch", &facts.branch),
        ("tag", &facts.tag),
        ("sha", &facts.sha),
        ("pr", &facts.pull_request),
        ("base", &facts.base_branch),
        ("default", &facts.default_branch),
        ("url", &facts.repository_url),
        ("repo", &facts.repository),
        ("run", &facts.run_url),
        ("head", &facts.head_sha),
        ("from", &facts.pushed_from),
        ("title", &facts.title),
        ("about", &facts.description),
        ("licence", &facts.licence),
        ("date", &facts.commit_date.map(|date| date.to_string())),
    ];
    let known = fields.iter().filter_map(|(name, value)| Some(format!(" {name}={}", value.as_ref()?)));
    format!("{} {}{}", facts.system, facts.event.name(), known.collect::<String>())
}

#[test]
fn github_and_its_kin() {
    let base = "GITHUB_ACTIONS=true GITHUB_SERVER_URL=https://git.example GITHUB_REPOSITORY=o/r GITHUB_RUN_ID=5 GITHUB_SHA=abc";
    let tail = "url=https://git.example/o/r repo=o/r run=https://git.example/o/r/actions/runs/5";
    let payload = || Some(json!({"repository": {"default_branch": "trunk"}}));
    check(
        &format!("{base} GITHUB_EVENT_NAME=push GITHUB_REF=refs/heads/feat/x"),
        payload(),
        &format!("github branch ref=refs/heads/feat/x branch=feat/x sha=abc default=trunk {tail}"),
    );
    check(
        &format!("{base} GITHUB_EVENT_NAME=push GITHUB_REF=refs/tags/v1.2.3"),
        None,
        &format!("github tag ref=refs/tags/v1.2.3 tag=v1.2.3 sha=abc {tail}"),
    );
    check(
        &format!(
            "{base} GITHUB_EVENT_NAME=pull_request GITHUB_REF=refs/pull/7/merge GITHUB_BASE_REF=main GITHUB_HEAD_REF=topic"
        ),
        None,
        &format!("github pull-request ref=refs/pull/7/merge branch=topic sha=abc pr=7 base=main {tail}"),
    );
    check(
        &format!(
            "{base} GITEA_ACTIONS=true GITHUB_EVENT_NAME=pull_request_target GITHUB_REF=refs/heads/main"
        ),
        Some(json!({"number": 9, "pull_request": {"base": {"ref": "main"}, "head": {"ref": "fix"}}})),
        &format!("gitea pull-request ref=refs/heads/main branch=fix sha=abc pr=9 base=main {tail}"),
    );
    check(
        &format!("{base} GITHUB_EVENT_NAME=schedule GITHUB_REF=refs/heads/main"),
        None,
        &format!("github schedule ref=refs/heads/main branch=main sha=abc {tail}"),
    );
}

#[test]
fn payloads_say_more() {
    let base = "GITHUB_ACTIONS=true GITHUB_SHA=abc GITHUB_REPOSITORY=o/r";
    let repository = json!({"name": "r", "full_name": "o/r", "html_url": "https://git.example/o/r",
        "description": "x", "license": {"spdx_id": "MIT"}});
    let tail = "url=https://git.example/o/r repo=o/r";
    check(
        &format!("{base} GITHUB_EVENT_NAME=push GITHUB_REF=refs/tags/v1"),
        Some(json!({"base_ref": "refs/heads/main", "repository": repository,
            "head_commit": {"id": "abc", "timestamp": "2026-01-02T03:04:05+01:00"}})),
        &format!(
            "github tag ref=refs/tags/v1 tag=v1 sha=abc {tail} from=main title=r about=x licence=MIT \
             date=2026-01-02T02:04:05Z"
        ),
    );
    check(
        &format!("{base} GITHUB_EVENT_NAME=pull_request_review GITHUB_REF=refs/pull/7/merge"),
        Some(json!({"pull_request": {"base": {"ref": "main"}, "head": {"ref": "topic", "sha": "def"}}})),
        "github pull-request ref=refs/pull/7/merge branch=topic sha=abc pr=7 base=main repo=o/r head=def",
    );
    check(
        "GITEA_ACTIONS=true GITHUB_SERVER_URL=https://git.example GITHUB_REPOSITORY=o/r GITHUB_RUN_ID=900 GITHUB_RUN_NUMBER=4",
        Some(json!({"commits": [{"id": 5}]})),
        "gitea manual url=https://git.example/o/r repo=o/r run=https://git.example/o/r/actions/runs/4",
    );
    check(
        "GITLAB_CI=true CI_COMMIT_BRANCH=b CI_COMMIT_TIMESTAMP=2026-01-02T03:04:05+00:00 CI_PROJECT_TITLE=Shop",
        None,
        "gitlab branch ref=refs/heads/b branch=b title=Shop date=2026-01-02T03:04:05Z",
    );
}

#[test]
fn systems_that_say_all_in_the_environment() {
    check(
        "GITLAB_CI=true CI=true CI_COMMIT_BRANCH=main CI_COMMIT_SHA=abc CI_DEFAULT_BRANCH=main CI_PROJECT_PATH=g/p",
        None,
        "gitlab branch ref=refs/heads/main branch=main sha=abc default=main repo=g/p",
    );
    check(
        "GITLAB_CI=true CI_MERGE_REQUEST_IID=4 CI_MERGE_REQUEST_ID=99 CI_MERGE_REQUEST_SOURCE_BRANCH_NAME=s \
         CI_MERGE_REQUEST_TARGET_BRANCH_NAME=t",
        None,
        "gitlab pull-request ref=refs/heads/s branch=s pr=4 base=t",
    );
    check(
        "GITLAB_CI=true CI_COMMIT_TAG=v1 CI_PIPELINE_SOURCE=push",
        None,
        "gitlab tag ref=refs/tags/v1 tag=v1",
    );
    check(
        "GITLAB_CI=true CI_COMMIT_BRANCH=main CI_PIPELINE_SOURCE=schedule",
        None,
        "gitlab schedule ref=refs/heads/main branch=main",
    );
    check(
        "CIRCLECI=true CIRCLE_BRANCH=b CIRCLE_PULL_REQUEST=https://git.example/o/r/pull/12 CIRCLE_PROJECT_USERNAME=o \
         CIRCLE_PROJECT_REPONAME=r CIRCLE_REPOSITORY_URL=git@git.example:o/r.git",
        None,
        "circleci pull-request ref=refs/heads/b branch=b pr=12 url=https://git.example/o/r repo=o/r",
    );
    check(
        "BUILDKITE=true BUILDKITE_BRANCH=main BUILDKITE_COMMIT=HEAD BUILDKITE_PULL_REQUEST=false \
         BUILDKITE_REPO=https://t0ken@git.example/o/r.git",
        None,
        "buildkite branch ref=refs/heads/main branch=main url=https://git.example/o/r repo=o/r",
    );
    check(
        "JENKINS_URL=x BRANCH_NAME=PR-7 CHANGE_ID=7 CHANGE_BRANCH=topic CHANGE_TARGET=main GIT_COMMIT=abc",
        None,
        "jenkins pull-request ref=refs/heads/topic branch=topic sha=abc pr=7 base=main",
    );
    check(
        "JENKINS_URL=x GIT_BRANCH=origin/main BRANCH_IS_PRIMARY=true",
        None,
        "jenkins branch ref=refs/heads/main branch=main default=main",
    );
    check("JENKINS_URL=x TAG_NAME=v1 BRANCH_NAME=v1", None, "jenkins tag ref=refs/tags/v1 tag=v1");
    check(
        "TF_BUILD=True BUILD_SOURCEBRANCH=refs/heads/feat/x BUILD_SOURCEBRANCHNAME=x BUILD_SOURCEVERSION=abc",
        None,
        "azure branch ref=refs/heads/feat/x branch=feat/x sha=abc",
    );
    check(
        "TF_BUILD=True BUILD_SOURCEBRANCH=refs/pull/3/merge SYSTEM_PULLREQUEST_PULLREQUESTID=88 \
         SYSTEM_PULLREQUEST_TARGETBRANCH=refs/heads/main SYSTEM_PULLREQUEST_SOURCEBRANCH=topic",
        None,
        "azure pull-request ref=refs/pull/3/merge branch=topic pr=88 base=main",
    );
    check(
        "BITBUCKET_BUILD_NUMBER=5 BITBUCKET_TAG=v2 BITBUCKET_COMMIT=abc BITBUCKET_GIT_HTTP_ORIGIN=https://git.example/o/r",
        None,
        "bitbucket tag ref=refs/tags/v2 tag=v2 sha=abc url=https://git.example/o/r run=https://git.example/o/r/pipelines/results/5",
    );
    check(
        "DRONE=true DRONE_BRANCH=main DRONE_SOURCE_BRANCH=topic DRONE_TARGET_BRANCH=main DRONE_PULL_REQUEST=6 \
         DRONE_COMMIT_REF=refs/pull/6/head",
        None,
        "drone pull-request ref=refs/pull/6/head branch=topic pr=6 base=main",
    );
    check(
        "CI=woodpecker CI_PIPELINE_EVENT=cron CI_COMMIT_BRANCH=main CI_COMMIT_REF=refs/heads/main GITLAB_CI=",
        None,
        "woodpecker schedule ref=refs/heads/main branch=main",
    );
    check(
        "TRAVIS=true TRAVIS_PULL_REQUEST=2 TRAVIS_BRANCH=main TRAVIS_PULL_REQUEST_BRANCH=topic",
        None,
        "travis pull-request ref=refs/heads/topic branch=topic pr=2 base=main",
    );
    check(
        "TRAVIS=true TRAVIS_PULL_REQUEST=false TRAVIS_BRANCH=v1 TRAVIS_TAG=v1",
        None,
        "travis tag ref=refs/tags/v1 tag=v1",
    );
    check("CI=true", None, "other manual");
    check("CI=false", None, "none");
    check("", None, "none");
}

#[test]
fn what_the_user_says_wins() {
    check("MAB_REF=refs/tags/v3 MAB_SHA=def", None, "other tag ref=refs/tags/v3 tag=v3 sha=def");
    check(
        "GITLAB_CI=true CI_COMMIT_BRANCH=main CI_COMMIT_SHA=abc MAB_TAG=v3 MAB_DEFAULT_BRANCH=trunk",
        None,
        "gitlab tag ref=refs/tags/v3 tag=v3 sha=abc default=trunk",
    );
    check("MAB_PULL_REQUEST=8 MAB_BASE_BRANCH=main", None, "other pull-request pr=8 base=main");
    check(
        "GITLAB_CI=true CI_MERGE_REQUEST_IID=4 CI_COMMIT_SHA=abc MAB_BRANCH=main MAB_RUN_URL=https://ci.example/1",
        None,
        "gitlab branch ref=refs/heads/main branch=main sha=abc run=https://ci.example/1",
    );
    check("MAB_EVENT=schedule MAB_COMMIT_DATE=86400", None, "other schedule date=1970-01-02T00:00:00Z");
    check("MAB_COMMIT_DATE=1970-01-03 MAB_SHA=a", None, "other manual sha=a date=1970-01-03T00:00:00Z");
}

#[test]
fn flags_are_facts_by_name() {
    let said = |pairs: &[(&str, &str)]| {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        overrides(&pairs)
    };
    let facts = CiFacts::overridden(None, &said(&[("ref", "refs/tags/v1"), ("pull_request", "")]).unwrap());
    assert_eq!(facts.map(|facts| show(&facts)).as_deref(), Some("other tag ref=refs/tags/v1 tag=v1"));
    assert_eq!(CiFacts::overridden(None, &said(&[("sha", "")]).unwrap()), None);
    assert_eq!(said(&[("reff", "x")]), Err("reff".to_string()));
}

#[test]
fn remotes_have_pages() {
    for (remote, expected) in [
        ("git@git.example:o/r.git", Some("https://git.example/o/r")),
        ("git.example:o/r", Some("https://git.example/o/r")),
        ("ssh://git@git.example:2222/o/r.git/", Some("https://git.example/o/r")),
        ("https://t0ken@git.example/o/r.git", Some("https://git.example/o/r")),
        ("http://git.example:3000/o/r", Some("http://git.example:3000/o/r")),
        ("git://git.example/r.git", Some("https://git.example/r")),
        ("file:///srv/r.git", None),
        ("/srv/git:r.git", None),
        ("../r.git", None),
    ] {
        assert_eq!(page_of(remote).as_deref(), expected, "{remote}");
    }
}
