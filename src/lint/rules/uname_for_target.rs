//! `uname-for-target`.

use crate::dockerfile::InstructionKind;
use crate::lint::arguments::is_target_argument;
use crate::lint::finding::within;
use crate::lint::shell::{Command, Shell};
use crate::lint::trace::Runs;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "uname-for-target",
    summary: "a stage on the build machine asks that machine for the architecture",
    level: Level::Warning,
    url: None,
    why: "In a stage `FROM --platform=$BUILDPLATFORM`, `uname -m` and `dpkg --print-architecture` tell what the build machine \
          is, which is the same for every target. Use `TARGETARCH`. Stages that use the arguments of the target elsewhere are \
          taken to know the difference.",
    bad: "FROM --platform=$BUILDPLATFORM busybox AS fetch\nRUN wget https://example.com/tool-$(uname -m)\n\
          FROM scratch\nCOPY --from=fetch /tool /tool\n",
    good: "FROM --platform=$BUILDPLATFORM busybox AS fetch\nARG TARGETARCH\nRUN wget https://example.com/tool-$TARGETARCH\n\
           FROM scratch\nCOPY --from=fetch /tool /tool\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (variant, stage) in view.traced().filter(|(_, stage)| stage.runs == Runs::OnBuildMachine) {
        let chain = variant.trace.chain(stage.stage.index);
        let runs = chain.iter().flat_map(|stage| &stage.uses).filter_map(|at| match &at.instruction.kind {
            InstructionKind::Run(run) => Some(Shell::of(run)),
            _ => None,
        });
        if runs.into_iter().any(|shell| shell.uses_any(is_target_argument)) {
            continue;
        }
        for at in &stage.uses {
            let InstructionKind::Run(run) = &at.instruction.kind else { continue };
            let Some(question) = Shell::of(run).commands.iter().find_map(asks_the_machine) else { continue };
            findings.push(
                Finding::new(format!(
                    "`{question}` tells the architecture of the build machine, not of the target"
                ))
                .at(within(at.place, question), "this stage runs on `$BUILDPLATFORM`")
                .help("declare `ARG TARGETARCH` in the stage and use `$TARGETARCH`"),
            );
        }
    }
    findings
}

fn asks_the_machine(command: &Command) -> Option<&'static str> {
    match command.name() {
        "uname" if command.has("-m") || command.has("--machine") || command.has("-p") => Some("uname"),
        "dpkg" if command.has("--print-architecture") => Some("dpkg --print-architecture"),
        "apk" if command.has("--print-arch") => Some("apk --print-arch"),
        "arch" if command.words.len() == 1 => Some("arch"),
        _ => None,
    }
}
