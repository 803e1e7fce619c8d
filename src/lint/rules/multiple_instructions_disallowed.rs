//! `MultipleInstructionsDisallowed`.

use crate::dockerfile::{Instruction, InstructionKind};
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "MultipleInstructionsDisallowed",
    summary: "a stage has two CMD, ENTRYPOINT or HEALTHCHECK",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/multiple-instructions-disallowed/"),
    why: "Only the last one of a stage counts; those above it do nothing.",
    bad: "FROM scratch\nCMD [\"/a\"]\nCMD [\"/b\"]\n",
    good: "FROM scratch\nCMD [\"/b\"]\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, stage) in view.traced() {
        for kind in ["CMD", "ENTRYPOINT", "HEALTHCHECK"] {
            let mut earlier: Option<&Instruction> = None;
            for at in stage.uses.iter().map(|at| at.instruction).filter(|at| name(at) == Some(kind)) {
                if let Some(earlier) = earlier {
                    findings.push(
                        Finding::new(format!("this {kind} does nothing, for another one follows"))
                            .at(earlier.place.clone(), "without effect")
                            .at(at.place.clone(), "takes its place")
                            .help("remove it"),
                    );
                }
                earlier = Some(at);
            }
        }
    }
    findings
}

fn name(instruction: &Instruction) -> Option<&'static str> {
    match &instruction.kind {
        InstructionKind::Cmd(_) => Some("CMD"),
        InstructionKind::Entrypoint(_) => Some("ENTRYPOINT"),
        InstructionKind::Healthcheck(_) => Some("HEALTHCHECK"),
        _ => None,
    }
}
