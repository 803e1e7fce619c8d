//! `UndefinedArgInFrom`.

use crate::diag::nearest;
use crate::lint::finding::variable_within;
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "UndefinedArgInFrom",
    summary: "FROM uses an argument that is not declared",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/undefined-arg-in-from/"),
    why: "FROM lines see the arguments declared before the first FROM, and the platform arguments, and nothing \
          else. Any other variable is empty there, whatever `--build-arg` says.",
    bad: "FROM scratch AS base\nARG SUFFIX=x\nFROM base${SUFFIX}\n",
    good: "ARG SUFFIX=\nFROM scratch AS base\nFROM base${SUFFIX}\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for variant in &view.variants {
        for (stage, from) in view.stages().iter().zip(&variant.trace.froms) {
            let words = [Some(&from.image), from.platform.as_ref()];
            for name in words.into_iter().flatten().flat_map(|word| &word.undefined) {
                if from.known_names.contains(name) {
                    continue;
                }
                let meant = nearest(name, from.known_names.iter().map(String::as_str));
                let help = match meant {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("declare `ARG {name}` before the first FROM"),
                };
                findings.push(
                    Finding::new(format!("FROM uses `${name}`, which is not declared before the first FROM"))
                        .at(variable_within(&stage.from.place, name), "empty here")
                        .help(help),
                );
            }
        }
    }
    findings
}
