//! `WorkdirRelativePath`.

use crate::dockerfile::InstructionKind;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "WorkdirRelativePath",
    summary: "WORKDIR is relative to whatever the base image says",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/workdir-relative-path/"),
    why: "The first WORKDIR of a file should be absolute. A relative one continues the base image's, so a new version \
          of the base may move the files.",
    bad: "FROM scratch\nWORKDIR app\n",
    good: "FROM scratch\nWORKDIR /app\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, _, at) in view.uses().filter(|(_, _, at)| !at.has_workdir) {
        let InstructionKind::Workdir(workdir) = &at.instruction.kind else { continue };
        let path = at.value_of(&workdir.path);
        if !path.starts_with('/') {
            findings.push(
                Finding::new(format!("`{path}` is relative to the working directory of the base image"))
                    .at(at.place.clone(), "relative, and the first in this stage")
                    .help(format!("write an absolute path, for instance `WORKDIR /{path}`")),
            );
        }
    }
    findings
}
