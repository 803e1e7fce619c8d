//! `NoEmptyContinuation`.

use crate::lint::{Finding, Level, Rule, View};

/// What the parser calls it, which alone still knows the lines.
const PARSED: &str = "dockerfile::no-empty-continuation";

pub const RULE: Rule = Rule {
    name: "NoEmptyContinuation",
    summary: "a continued instruction has an empty line",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/no-empty-continuation/"),
    why: "An empty line inside a continued instruction is skipped today and is announced to become an error. It \
          also looks as if the instruction had ended. Remove the line, or make it a comment.",
    bad: "FROM scratch\nCOPY a \\\n\n  /b\n",
    good: "FROM scratch\nCOPY a \\\n  /b\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let warnings = view.dockerfile.warnings.iter().filter(|warning| warning.code == PARSED);
    warnings
        .map(|warning| Finding {
            labels: warning.labels.clone(),
            help: warning.help.clone(),
            ..Finding::new(warning.message.clone())
        })
        .collect()
}
