//! What the user says of this run, which is stronger than what CI says: in the environment, or as `--fact`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{CiFacts, Event, Variables};

/// The facts that can be said, each with its variable. A ref says branch, tag and kind of the run as well.
pub const FACTS: [(&str, &str); 12] = [
    ("ref", "MAB_REF"),
    ("tag", "MAB_TAG"),
    ("branch", "MAB_BRANCH"),
    ("sha", "MAB_SHA"),
    ("pull-request", "MAB_PULL_REQUEST"),
    ("base-branch", "MAB_BASE_BRANCH"),
    ("default-branch", "MAB_DEFAULT_BRANCH"),
    ("event", "MAB_EVENT"),
    ("repository", "MAB_REPOSITORY"),
    ("repository-url", "MAB_REPOSITORY_URL"),
    ("run-url", "MAB_RUN_URL"),
    ("commit-date", "MAB_COMMIT_DATE"),
];

/// `--fact NAME=VALUE`s as the variables they stand for; an empty value says nothing, as parameters that were not
/// given are empty. What is no fact is the error.
pub fn overrides(said: &[(String, String)]) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::new();
    for (name, value) in said {
        let spelled = name.replace('_', "-");
        let Some((_, variable)) = FACTS.iter().find(|(known, _)| *known == spelled) else {
            return Err(name.clone());
        };
        variables.insert(variable.to_string(), value.trim().to_string());
    }
    Ok(variables)
}

pub(super) fn apply(facts: Option<CiFacts>, said: &BTreeMap<String, String>) -> Option<CiFacts> {
    let variables = Variables(said);
    if FACTS.iter().all(|(_, name)| variables.get(name).is_none()) {
        return facts;
    }
    let mut facts = facts.unwrap_or(CiFacts { system: "other", ..CiFacts::default() });
    let tag = variables.get("MAB_TAG").map(|tag| format!("refs/tags/{tag}"));
    let branch = variables.get("MAB_BRANCH").map(|branch| format!("refs/heads/{branch}"));
    for reference in [variables.owned("MAB_REF"), tag, branch].into_iter().flatten() {
        facts.pull_request = None;
        facts.set_reference(&reference);
    }
    if let Some(number) = variables.owned("MAB_PULL_REQUEST") {
        facts.pull_request = Some(number);
        facts.event = Event::PullRequest;
    }
    if let Some(event) = variables.owned("MAB_EVENT") {
        if event.contains("schedule") {
            facts.event = Event::Schedule;
        }
        facts.event_name = Some(event);
    }
    if let Some(date) = variables.get("MAB_COMMIT_DATE").and_then(time_of) {
        facts.commit_date = Some(date);
    }
    for (field, name) in [
        (&mut facts.sha, "MAB_SHA"),
        (&mut facts.base_branch, "MAB_BASE_BRANCH"),
        (&mut facts.default_branch, "MAB_DEFAULT_BRANCH"),
        (&mut facts.repository, "MAB_REPOSITORY"),
        (&mut facts.repository_url, "MAB_REPOSITORY_URL"),
        (&mut facts.run_url, "MAB_RUN_URL"),
    ] {
        if let Some(value) = variables.owned(name) {
            *field = Some(value);
        }
    }
    Some(facts)
}

/// A time as people and CI systems write it: RFC 3339, a day, or seconds since 1970.
pub fn time_of(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return Timestamp::from_second(seconds).ok();
    }
    let day = || {
        let day = text.parse::<jiff::civil::Date>().ok()?;
        Some(day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    };
    text.parse().ok().or_else(day)
}
