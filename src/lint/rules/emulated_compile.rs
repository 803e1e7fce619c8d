//! `emulated-compile`.

use crate::dockerfile::InstructionKind;
use crate::lint::finding::first_line;
use crate::lint::shell::Shell;
use crate::lint::toolchain::portable;
use crate::lint::trace::Runs;
use crate::lint::{Finding, Level, Rule, View};
use crate::model::Emulate;

pub const RULE: Rule = Rule {
    name: "emulated-compile",
    summary: "a compiler that can cross-compile runs on the target's platform",
    level: Level::Warning,
    url: None,
    why: "A stage without `--platform` is for the target, so its commands are emulated for every platform that the build \
          machine is not: ten times slower and more for a compiler. Go, cargo and dotnet compile for other platforms, and the \
          output of a JavaScript or Java build is the same everywhere. Let that stage run on `$BUILDPLATFORM`. Targets with \
          `emulate = \"allow\"` have said that they do not mind.",
    bad: "FROM golang AS build\nRUN go build -o /app .\nFROM scratch\nCOPY --from=build /app /app\n",
    good: "FROM --platform=$BUILDPLATFORM golang AS build\nARG TARGETOS TARGETARCH\n\
           RUN GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /app .\nFROM scratch\nCOPY --from=build /app /app\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (variant, stage, at) in view.uses().filter(|(_, stage, _)| stage.runs == Runs::OnTarget) {
        let InstructionKind::Run(run) = &at.instruction.kind else { continue };
        let needs =
            view.needing_platform(stage.stage.index, |platform| platform.fitness(view.build).is_none());
        if needs.is_none() || variant.model.emulate == Emulate::Allow {
            continue;
        }
        let shell = Shell::of(run);
        let Some(found) = shell.commands.iter().find_map(portable) else { continue };
        findings.push(
            Finding::new(format!(
                "{} runs on the target's platform, emulated where that is foreign",
                found.name
            ))
            .at(first_line(at.place), "slow under emulation")
            .help(found.advice),
        );
    }
    findings
}
