//! Policies: bake's `filename=FILE,strict=true`, or a table.

use super::EntryDeclaration;
use crate::config::text::Text;
use crate::diag::{Located, Problem};
use crate::model::Policy;

const LEVELS: [(&str, &str); 7] = [
    ("panic", "panic"),
    ("fatal", "fatal"),
    ("error", "error"),
    ("warning", "warning"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
];

const KNOWN: [&str; 5] = ["filename", "reset", "disabled", "strict", "log-level"];

/// The policy with its templates rendered by `render`; `None` when it comes out empty.
pub fn resolve(
    declared: &EntryDeclaration,
    render: impl Fn(&Text) -> Result<String, Problem>,
) -> Result<Option<Located<Policy>>, Vec<Problem>> {
    let Some(mut fields) = declared.fields("config::bad-policy", render, |_| None)? else { return Ok(None) };
    fields.title = "a policy".to_string();
    let mut files = Vec::new();
    while let Some(field) = fields.take("filename") {
        files.push(fields.text.resolve_path(&field.value));
    }
    let policy = Policy {
        files,
        reset: fields.boolean("reset").unwrap_or(false),
        is_disabled: fields.boolean("disabled").unwrap_or(false),
        strict: fields.boolean("strict"),
        log_level: fields.word("log-level", &LEVELS).map(str::to_string),
    };
    fields.finish(Some(policy), &KNOWN, &[]).map(Some)
}
