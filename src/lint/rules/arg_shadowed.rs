//! `arg-shadowed`.

use crate::dockerfile::{Instruction, InstructionKind};
use crate::lint::arguments::is_platform_argument;
use crate::lint::finding::within;
use crate::lint::{Finding, Level, Rule, View};
use crate::steps::{BuildArgs, Globals};

pub const RULE: Rule = Rule {
    name: "arg-shadowed",
    summary: "a default or an ENV hides the automatic value of a platform argument",
    level: Level::Warning,
    url: None,
    why: "`ARG TARGETARCH=amd64` is amd64 for every platform: the default wins over the automatic value. What is built \
          with it is amd64 in the arm64 image too. Declare the argument without a default. Builders that know no platform \
          arguments are served by `${TARGETARCH:-amd64}` where it is used.",
    bad: "FROM busybox\nARG TARGETARCH=amd64\nRUN wget https://example.com/tool-$TARGETARCH\n",
    good: "FROM busybox\nARG TARGETARCH\nRUN wget https://example.com/tool-${TARGETARCH:-amd64}\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (instruction, name, value) in
        values(view).into_iter().filter(|(_, name, _)| is_platform_argument(name))
    {
        let wrong = view.variants.iter().find_map(|variant| {
            let automatic = Globals::new(variant.platform(), view.build, "default", &BuildArgs::new());
            let right = automatic.get(name).filter(|right| right != value)?;
            (!variant.model.args.contains_key(name)).then(|| (variant.platform(), right))
        });
        let Some((platform, right)) = wrong.filter(|_| !value.contains('$')) else { continue };
        findings.push(
            Finding::new(format!(
                "`{name}` is `{value}` for every platform, which hides its automatic value"
            ))
            .at(
                within(&instruction.place, &format!("{name}={value}")),
                format!("should be `{right}` for {platform}"),
            )
            .help(format!("write `ARG {name}`, without a value")),
        );
    }
    findings
}

/// Every value that ARG and ENV give.
fn values<'v>(view: &View<'v>) -> Vec<(&'v Instruction, &'v str, &'v str)> {
    let mut values = Vec::new();
    for instruction in view.dockerfile.global_args.iter().chain(view.instructions()) {
        match &instruction.kind {
            InstructionKind::Arg(arg) => {
                let declared = arg.declarations.iter();
                let with_default =
                    declared.filter_map(|one| Some((one.name.as_str(), one.default.as_deref()?)));
                values.extend(with_default.map(|(name, value)| (instruction, name, unquoted(value))));
            }
            InstructionKind::Env(env) => {
                let pairs = env.pairs.iter();
                values.extend(pairs.map(|pair| (instruction, pair.key.as_str(), unquoted(&pair.value))));
            }
            _ => {}
        }
    }
    values
}

fn unquoted(value: &str) -> &str {
    value.trim_matches(['"', '\''])
}
