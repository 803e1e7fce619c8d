//! `arg-not-in-stage`.

use crate::dockerfile::InstructionKind;
use crate::lint::arguments::PLATFORM_ARGUMENTS;
use crate::lint::finding::variable_within;
use crate::lint::shell::Shell;
use crate::lint::trace::{StageTrace, Use};
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "arg-not-in-stage",
    summary: "a platform argument is used in a stage that does not declare it",
    level: Level::Warning,
    url: None,
    why: "`TARGETARCH` and its kin have a value in a stage only after an `ARG TARGETARCH` in that stage. Declaring it before \
          the first FROM does not help. Without it the variable is empty, silently: a comparison is never true, a download \
          address has a hole, `GOARCH=` means the build machine.",
    bad: "ARG TARGETARCH\nFROM busybox\nRUN wget https://example.com/tool-$TARGETARCH\n",
    good: "FROM busybox\nARG TARGETARCH\nRUN wget https://example.com/tool-$TARGETARCH\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (variant, stage, at) in view.uses() {
        for name in missing(stage, at) {
            let is_global = view.dockerfile.global_args.iter().any(|global| {
                matches!(&global.kind, InstructionKind::Arg(arg) if arg.declarations.iter().any(|one| one.name == name))
            });
            let help = match is_global {
                true => {
                    format!("an ARG before the first FROM is not enough: write `ARG {name}` in this stage")
                }
                false => format!("write `ARG {name}` in this stage, above"),
            };
            let given = variant.model.args.contains_key(name);
            let finding = Finding::new(format!("`${name}` is empty here, for the stage does not declare it"))
                .at(variable_within(at.place, name), "empty")
                .help(help);
            findings.push(if given { finding.only_for(variant.platform()) } else { finding });
        }
    }
    findings
}

/// The platform arguments that an instruction uses and does not have.
fn missing(stage: &StageTrace<'_>, at: &Use<'_>) -> Vec<&'static str> {
    let absent = PLATFORM_ARGUMENTS.iter().copied().filter(|name| !at.platform_arguments.contains(*name));
    if let InstructionKind::Run(run) = &at.instruction.kind {
        let shell = Shell::of(run);
        return absent.filter(|name| shell.uses(name) && !shell.sets(name)).collect();
    }
    // `UndefinedVar` tells it where it can; here it is quiet for want of the base image.
    let is_undefined = |name: &&str| at.words.iter().any(|word| word.undefined.iter().any(|one| one == name));
    absent.filter(|name| stage.is_open && is_undefined(name)).collect()
}
