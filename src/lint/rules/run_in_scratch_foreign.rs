//! `run-in-scratch-foreign`.

use crate::dockerfile::{InstructionKind, ShellOrExec};
use crate::lint::finding::first_line;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "run-in-scratch-foreign",
    summary: "a RUN starts a program of the build machine in an image for another platform",
    level: Level::Warning,
    url: None,
    why: "A stage `FROM scratch` has the target's platform, but holds nothing except what was copied into it. If that comes \
          from a stage on the build machine, the program that RUN starts is one of the build machine's, while the stage is \
          declared, cached and published as one of the target's: it fails on a native builder, and what it writes may be wrong. \
          Say `FROM --platform=$BUILDPLATFORM scratch`, or copy a program of the target's platform.",
    bad: "FROM --platform=$BUILDPLATFORM busybox AS tools\nFROM scratch\nCOPY --from=tools /bin/busybox /busybox\n\
          RUN [\"/busybox\", \"mkdir\", \"/data\"]\n",
    good: "FROM busybox AS tools\nFROM scratch\nCOPY --from=tools /bin/busybox /busybox\n\
           RUN [\"/busybox\", \"mkdir\", \"/data\"]\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    use crate::lint::trace::Runs;
    let mut findings = Vec::new();
    for (variant, stage) in view.traced() {
        if stage.image.is_some() || stage.runs != Runs::OnTarget {
            continue;
        }
        let mut foreign = None;
        for at in &stage.uses {
            match &at.instruction.kind {
                InstructionKind::Copy(copy) => {
                    let source = copy.from.as_ref().and_then(|from| variant.trace.copied_stage(from));
                    if source
                        .is_some_and(|source| source.runs == Runs::OnBuildMachine && source.image.is_some())
                    {
                        foreign = Some((at.value_of(&copy.destination).to_string(), at.place));
                    }
                }
                InstructionKind::Run(run) => {
                    let (Some((destination, copied)), ShellOrExec::Exec(words)) = (&foreign, &run.command)
                    else {
                        continue;
                    };
                    let is_copied =
                        words.first().is_some_and(|program| program.starts_with(destination.as_str()));
                    let is_foreign = variant.platform().fitness(view.build).is_none();
                    if is_copied && is_foreign {
                        findings.push(
                            Finding::new("this RUN starts a program of the build machine, in a stage for another platform")
                                .at(first_line(at.place), "started here")
                                .at(first_line(copied), "copied from a stage on the build machine")
                                .help("copy the program from a stage without `--platform`")
                                .only_for(variant.platform()),
                        );
                    }
                }
                _ => {}
            }
        }
    }
    findings
}
