//! `InvalidDefinitionDescription`.

use crate::diag::Place;
use crate::dockerfile::InstructionKind;
use crate::lint::finding::first_line;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "InvalidDefinitionDescription",
    summary: "the comment above ARG or FROM does not describe it",
    level: Level::Experimental,
    url: Some("https://docs.docker.com/go/dockerfile/rule/invalid-definition-description/"),
    why: "A comment right above an ARG or a named FROM is its description in `docker build --call=outline`, if it \
          begins with the name. Begin it so, or put an empty comment line between.",
    bad: "# check=experimental=InvalidDefinitionDescription\n\n# the release\nARG VERSION=1\nFROM scratch\n",
    good: "# check=experimental=InvalidDefinitionDescription\n\n# VERSION the release\nARG VERSION=1\nFROM scratch\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for stage in view.stages() {
        if let Some(name) = &stage.name {
            findings.extend(judge("FROM", &[name], &stage.from.place));
        }
    }
    for at in view.dockerfile.global_args.iter().chain(view.instructions()) {
        if let InstructionKind::Arg(arg) = &at.kind {
            let names: Vec<&str> = arg.declarations.iter().map(|one| one.name.as_str()).collect();
            findings.extend(judge("ARG", &names, &at.place));
        }
    }
    findings
}

fn judge(keyword: &str, names: &[&str], place: &Place) -> Option<Finding> {
    let comment = comment_above(place)?;
    let first = comment.split(' ').next().unwrap_or_default();
    if names.contains(&first) {
        return None;
    }
    let name = match names {
        [name] => name,
        _ => "NAME",
    };
    Some(
        Finding::new(format!("the comment above this {keyword} does not describe it"))
            .at(first_line(place), "described by the comment above")
            .help(format!("write `# {name} DESCRIPTION`, or put an empty comment between")),
    )
}

/// The last comment line above `place` that belongs to it: nothing but blank lines stand between.
fn comment_above(place: &Place) -> Option<&str> {
    let text = &place.source.text;
    let above = &text[..place.span.start];
    let above = &above[..above.rfind('\n')?];
    let line = above.lines().rev().find(|line| !line.trim().is_empty())?;
    let comment = line.trim_start().strip_prefix('#')?.trim();
    let is_directive = above.lines().all(is_directive);
    (!comment.is_empty() && !is_directive).then_some(comment)
}

fn is_directive(line: &str) -> bool {
    let name = line.trim_start().strip_prefix('#').and_then(|line| line.split_once('='));
    name.is_some_and(|(name, _)| {
        matches!(name.trim().to_ascii_lowercase().as_str(), "syntax" | "escape" | "check")
    })
}
