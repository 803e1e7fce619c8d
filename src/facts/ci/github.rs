//! GitHub Actions, and Gitea and Forgejo, which speak its language.

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
    match event {
        "pull_request" | "pull_request_target" => {
            let number = payload.and_then(|payload| payload.get("number")).and_then(Value::as_u64);
            facts.pull_request = number.map(|number| number.to_string()).or(facts.pull_request);
            facts.base_branch =
                of_payload("/pull_request/base/ref").or_else(|| variables.owned("GITHUB_BASE_REF"));
            facts.branch =
                of_payload("/pull_request/head/ref").or_else(|| variables.owned("GITHUB_HEAD_REF"));
            facts.event = Event::PullRequest;
        }
        "schedule" => facts.event = Event::Schedule,
        "workflow_dispatch" | "repository_dispatch" if facts.tag.is_none() => facts.event = Event::Manual,
        _ => {}
    }
    facts.default_branch = of_payload("/repository/default_branch");
    facts.repository = variables.owned("GITHUB_REPOSITORY");
    if let (Some(server), Some(repository)) = (variables.get("GITHUB_SERVER_URL"), &facts.repository) {
        facts.repository_url = Some(format!("{server}/{repository}"));
        let run = variables.get("GITHUB_RUN_ID");
        facts.run_url = run.map(|run| format!("{server}/{repository}/actions/runs/{run}"));
    }
    facts
}
