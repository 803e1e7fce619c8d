//! GitHub Actions, and Gitea and Forgejo, which speak its language.

use jiff::Timestamp;
use serde_json::Value;

use super::{CiFacts, Event, Variables};

pub(super) fn read(system: &'static str, variables: Variables<'_>, payload: Option<&Value>) -> CiFacts {
    let of_payload = |path: &str| payload?.pointer(path).and_then(Value::as_str).map(str::to_string);
    let mut facts = CiFacts { system, ..CiFacts::default() };
    let event = variables.get("GITHUB_EVENT_NAME").unwrap_or_default();
    if let Some(reference) = variables.get("GITHUB_REF") {
        facts.set_reference(reference);
    }
    facts.event_name = variables.owned("GITHUB_EVENT_NAME");
    facts.sha = variables.owned("GITHUB_SHA");
    if event.contains("pull_request_target") || event == "pull_request" {
        let number = payload.and_then(|payload| payload.get("number")).and_then(Value::as_u64);
        facts.pull_request = number.map(|number| number.to_string()).or(facts.pull_request);
        facts.event = Event::PullRequest;
    }
    match event {
        "schedule" => facts.event = Event::Schedule,
        "workflow_dispatch" | "repository_dispatch" if facts.tag.is_none() => facts.event = Event::Manual,
        _ => {}
    }
    if facts.event == Event::PullRequest {
        facts.base_branch =
            of_payload("/pull_request/base/ref").or_else(|| variables.owned("GITHUB_BASE_REF"));
        facts.branch = of_payload("/pull_request/head/ref").or_else(|| variables.owned("GITHUB_HEAD_REF"));
        facts.head_sha = of_payload("/pull_request/head/sha");
    }
    facts.pushed_from =
        of_payload("/base_ref").map(|name| name.trim_start_matches("refs/heads/").to_string());
    facts.commit_date = payload.and_then(|payload| commit_date(payload, facts.sha.as_deref()?));
    facts.default_branch = of_payload("/repository/default_branch");
    facts.title = of_payload("/repository/name");
    facts.description = of_payload("/repository/description");
    facts.licence = of_payload("/repository/license/spdx_id");
    facts.repository = variables.owned("GITHUB_REPOSITORY").or_else(|| of_payload("/repository/full_name"));
    if let (Some(server), Some(repository)) = (variables.get("GITHUB_SERVER_URL"), &facts.repository) {
        facts.repository_url = Some(format!("{server}/{repository}"));
        // The addresses of Gitea's runs have the number that people see.
        let number = if system == "gitea" { variables.get("GITHUB_RUN_NUMBER") } else { None };
        let run = number.or_else(|| variables.get("GITHUB_RUN_ID"));
        facts.run_url = run.map(|run| format!("{server}/{repository}/actions/runs/{run}"));
    }
    facts.repository_url = of_payload("/repository/html_url").or(facts.repository_url);
    facts
}

/// Pushes of branches list their commits, those of tags have one.
fn commit_date(payload: &Value, sha: &str) -> Option<Timestamp> {
    let commits = payload.get("commits").and_then(Value::as_array).into_iter().flatten();
    let mut commits = commits.chain(payload.get("head_commit"));
    let commit = commits.find(|commit| commit.get("id").and_then(Value::as_str) == Some(sha))?;
    commit.get("timestamp").and_then(Value::as_str)?.parse().ok()
}
