//! A report as SARIF 2.1.0 (OASIS), for code scanning.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::json::line_and_column;
use super::report::{Report, Reported};
use super::rule::{Level, Rule};
use super::rules::RULES;
use crate::base::Digest;
use crate::diag::{Edit, Place, Problem, Severity};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The rule id of what keeps a Dockerfile from being built.
const BROKEN: &str = "dockerfile";
/// The rule id of what is wrong with the build file.
const BUILD_FILE: &str = "build-file";

/// One run of the tool, with all its rules and everything it found. `version` is that of mab.
pub fn sarif(report: &Report, version: &str) -> Value {
    let mut fingerprints = Fingerprints::default();
    let findings = report.findings.iter().map(|reported| finding(reported, &mut fingerprints));
    let results: Vec<Value> = findings.collect();
    let problems = report.problems.iter().map(|problem| broken(problem, &mut fingerprints));
    let results: Vec<Value> = results.into_iter().chain(problems.collect::<Vec<_>>()).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "mab",
                "semanticVersion": version,
                "rules": RULES.iter().map(|rule| descriptor(rule)).chain([broken_descriptor(), build_file_descriptor()]).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn descriptor(rule: &Rule) -> Value {
    let markdown = format!(
        "{}\n\nInstead of\n\n```dockerfile\n{}\n```\n\nwrite\n\n```dockerfile\n{}\n```\n",
        rule.why.trim(),
        rule.bad.trim_end(),
        rule.good.trim_end()
    );
    let mut descriptor = json!({
        "id": rule.name,
        "shortDescription": { "text": rule.summary },
        "fullDescription": { "text": rule.why.trim() },
        "help": { "text": super::documentation::explanation(rule), "markdown": markdown },
        "defaultConfiguration": {
            "enabled": rule.level != Level::Experimental,
            "level": match rule.level { Level::Error => "error", Level::Warning | Level::Experimental => "warning" },
        },
    });
    if let Some(url) = rule.url {
        descriptor["helpUri"] = json!(url);
    }
    descriptor
}

fn broken_descriptor() -> Value {
    let text = "The Dockerfile cannot be built";
    json!({
        "id": BROKEN,
        "shortDescription": { "text": text },
        "fullDescription": { "text": text },
        "help": { "text": "What is wrong is said in the message; nothing else of the file was checked." },
        "defaultConfiguration": { "enabled": true, "level": "error" },
    })
}

fn build_file_descriptor() -> Value {
    json!({
        "id": BUILD_FILE,
        "shortDescription": { "text": "The build file does not say what it is meant to" },
        "fullDescription": { "text": "multiarch.toml, or a bake or Compose file, cannot be read as it is written" },
        "help": { "text": "What is wrong is said in the message. Dockerfiles are checked when the build file is right." },
        "defaultConfiguration": { "enabled": true, "level": "error" },
    })
}

fn finding(reported: &Reported, fingerprints: &mut Fingerprints) -> Value {
    let problem = reported.problem();
    let mut result = result(&problem, reported.rule.name, fingerprints);
    result["ruleIndex"] = json!(RULES.iter().position(|rule| rule.name == reported.rule.name));
    if let Some(edit) = &reported.finding.edit {
        result["fixes"] = json!([fix(&problem, edit)]);
    }
    result
}

fn fix(problem: &Problem, edit: &Edit) -> Value {
    json!({
        "description": { "text": problem.help.as_deref().unwrap_or("as suggested") },
        "artifactChanges": [{
            "artifactLocation": { "uri": uri(&edit.place) },
            "replacements": [{
                "deletedRegion": region(&edit.place),
                "insertedContent": { "text": edit.replacement },
            }],
        }],
    })
}

fn broken(problem: &Problem, fingerprints: &mut Fingerprints) -> Value {
    let is_dockerfile = problem.code.starts_with("dockerfile::") || problem.code.starts_with("context::");
    let (rule, offset) = if is_dockerfile { (BROKEN, 0) } else { (BUILD_FILE, 1) };
    let mut result = result(problem, rule, fingerprints);
    result["ruleIndex"] = json!(RULES.len() + offset);
    result["fixes"] = problem.edit().iter().map(|edit| fix(problem, edit)).collect();
    result
}

fn result(problem: &Problem, rule: &str, fingerprints: &mut Fingerprints) -> Value {
    let text = match &problem.help {
        Some(help) => format!("{}\n{help}", problem.message),
        None => problem.message.clone(),
    };
    let location = |place: &Place| {
        json!({ "physicalLocation": {
            "artifactLocation": { "uri": uri(place) },
            "region": region(place),
        }})
    };
    let mut labels = problem.labels.iter();
    let first = labels.next();
    let related: Vec<Value> = labels
        .map(|label| {
            let mut location = location(&label.place);
            location["message"] = json!({ "text": label.text });
            location
        })
        .collect();
    json!({
        "ruleId": rule,
        "level": match problem.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "message": { "text": text },
        "locations": first.iter().map(|label| location(&label.place)).collect::<Vec<_>>(),
        "relatedLocations": related,
        "partialFingerprints": { "mab/v1": fingerprints.next(rule, first.map(|label| &label.place)) },
    })
}

/// A name as a relative reference (RFC 3986).
fn uri(place: &Place) -> String {
    let mut uri = String::new();
    for byte in place.source.name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => {
                uri.push(char::from(byte))
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

fn region(place: &Place) -> Value {
    let (start_line, start_column) = line_and_column(place, place.span.start);
    let (end_line, end_column) = line_and_column(place, place.span.end);
    json!({
        "startLine": start_line,
        "startColumn": start_column,
        "endLine": end_line,
        "endColumn": end_column,
    })
}

/// Stays the same while lines above come and go: the rule, the file, the line's text, and which of the equal
/// ones it is.
#[derive(Default)]
struct Fingerprints {
    seen: BTreeMap<String, u32>,
}

impl Fingerprints {
    fn next(&mut self, rule: &str, place: Option<&Place>) -> String {
        let line =
            place.and_then(|place| place.source.text.lines().nth(place.line() - 1)).unwrap_or_default();
        let file = place.map_or("", |place| place.source.name.as_str());
        let what = format!("{rule}\0{file}\0{}", line.trim());
        let number = self.seen.entry(what.clone()).or_default();
        *number += 1;
        Digest::of(format!("{what}\0{number}").as_bytes()).hex()[..32].to_string()
    }
}
