//! A report as JSON. The shape is interface, and says its version.
//!
//! `findings[]`: `rule`, `level` (`warning`, `error`), `message`, `help`, `url`, `file`, `start` and `end`
//! (`line` and `column` counted from one in characters, `offset` in bytes from nought), `targets`, `platforms`
//! (empty: all), `edit` (`start`, `end`, `replacement`) or null. `problems[]` keep a Dockerfile from being built.

use serde_json::{Value, json};

use super::report::{Report, Reported};
use crate::diag::{self, Place, Severity};

pub fn to_json(report: &Report) -> Value {
    json!({
        "version": 1,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "problems": report.problems.iter().map(diag::to_json).collect::<Vec<_>>(),
    })
}

fn finding(reported: &Reported) -> Value {
    let place = reported.finding.labels.first().map(|label| &label.place);
    json!({
        "rule": reported.rule.name,
        "level": match reported.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "message": reported.finding.message,
        "help": reported.finding.help,
        "url": reported.rule.url,
        "file": place.map(|place| &place.source.name),
        "start": place.map(|place| position(place, place.span.start)),
        "end": place.map(|place| position(place, place.span.end)),
        "targets": reported.targets,
        "platforms": reported.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "edit": reported.finding.edit.as_ref().map(|edit| json!({
            "start": position(&edit.place, edit.place.span.start),
            "end": position(&edit.place, edit.place.span.end),
            "replacement": edit.replacement,
        })),
    })
}

fn position(place: &Place, offset: usize) -> Value {
    let (line, column) = line_and_column(place, offset);
    json!({ "line": line, "column": column, "offset": offset })
}

/// Both from one; columns in characters.
pub(super) fn line_and_column(place: &Place, offset: usize) -> (usize, usize) {
    let before = place.source.text.get(..offset).unwrap_or(&place.source.text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (place.source.line(offset), before[start..].chars().count() + 1)
}
