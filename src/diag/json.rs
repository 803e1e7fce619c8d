//! Problems for machines.

use serde_json::{Value, json};

use super::{Problem, Severity};

/// One problem as a JSON object: code, severity, message, help, and places with file, line and span.
pub fn to_json(problem: &Problem) -> Value {
    let labels: Vec<Value> = problem
        .labels
        .iter()
        .map(|label| {
            json!({
                "file": label.place.source.name,
                "line": label.place.line(),
                "span": [label.place.span.start, label.place.span.end],
                "text": label.text,
            })
        })
        .collect();
    let mut object = json!({
        "code": problem.code,
        "severity": match problem.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "message": problem.message,
        "labels": labels,
        "details": problem.details,
        "help": problem.help,
    });
    if let Some(edit) = problem.edit() {
        let span = &edit.place.span;
        object["edit"] = json!({ "span": [span.start, span.end], "replacement": edit.replacement });
    }
    object
}
