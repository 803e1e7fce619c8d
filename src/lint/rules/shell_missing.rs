//! `shell-missing`.

use crate::dockerfile::{InstructionKind, Script};
use crate::lint::finding::first_line;
use crate::lint::trace::StageTrace;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "shell-missing",
    summary: "a RUN needs a shell, in a stage that has none",
    level: Level::Warning,
    url: None,
    why: "`FROM scratch` is empty, and distroless images have no shell: a RUN that is a text needs `/bin/sh` and fails. Do the \
          work in another stage and copy the result, or copy a program in and start it by a JSON array.",
    bad: "FROM scratch\nRUN mkdir /data\n",
    good: "FROM busybox AS files\nRUN mkdir /data\nFROM scratch\nCOPY --from=files /data /data\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (variant, stage) in view.traced() {
        let chain = variant.trace.chain(stage.stage.index);
        let has_files = chain.iter().skip(1).any(|below| copies(below, below.uses.len()));
        if !chain.last().is_some_and(|root| is_without_shell(root)) || has_files {
            continue;
        }
        for (index, at) in stage.uses.iter().enumerate() {
            let InstructionKind::Run(run) = &at.instruction.kind else { continue };
            let needs_shell = matches!(run.script(), Script::Shell(_)) && !at.has_shell;
            let brings_one = copies(stage, index) || run.mounts.iter().any(|mount| mount.from().is_some());
            if needs_shell && !brings_one {
                findings.push(
                    Finding::new("this RUN needs a shell, and the stage has none")
                        .at(first_line(at.place), "run by `/bin/sh -c`")
                        .at(first_line(&stage.stage.from.place), "without a shell")
                        .help("run it in another stage and copy the result"),
                );
            }
        }
    }
    findings
}

/// Whether anything came into the stage before instruction `end`, a shell perhaps.
fn copies(stage: &StageTrace<'_>, end: usize) -> bool {
    let before = stage.uses.iter().take(end);
    before
        .into_iter()
        .any(|at| matches!(at.instruction.kind, InstructionKind::Copy(_) | InstructionKind::Add(_)))
}

fn is_without_shell(stage: &StageTrace<'_>) -> bool {
    match &stage.image {
        None => true,
        Some(name) => {
            let is_debug = name.contains("debug");
            name.contains("gcr.io/distroless/") && !is_debug
        }
    }
}
