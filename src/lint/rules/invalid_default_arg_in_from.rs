//! `InvalidDefaultArgInFrom`.

use crate::base::Reference;
use crate::dockerfile::{InstructionKind, expand_word};
use crate::lint::finding::first_line;
use crate::lint::{Finding, Level, Rule, View};
use crate::steps::{BuildArgs, Globals};

pub const RULE: Rule = Rule {
    name: "InvalidDefaultArgInFrom",
    summary: "without build arguments FROM names no image",
    level: Level::Warning,
    url: Some("https://docs.docker.com/go/dockerfile/rule/invalid-default-arg-in-from/"),
    why: "Whoever builds the file without the right `--build-arg` gets an error about an empty or broken image name. \
          Give the argument a default that works.",
    bad: "ARG TAG\nFROM example.com/base:${TAG}\n",
    good: "ARG TAG=1\nFROM example.com/base:${TAG}\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let escape = view.dockerfile.directives.escape;
    let mut findings = Vec::new();
    for variant in &view.variants {
        let none = BuildArgs::new();
        let mut globals = Globals::new(variant.platform(), view.build, "default", &none);
        for instruction in &view.dockerfile.global_args {
            let InstructionKind::Arg(arg) = &instruction.kind else { continue };
            for declaration in &arg.declarations {
                let default = declaration.default.as_ref();
                let default =
                    default.and_then(|word| expand_word(word, escape, &|name| globals.get(name)).ok());
                globals.declare(&declaration.name, default.map(|word| word.value), &none);
            }
        }
        for stage in view.stages() {
            let written = &stage.from.image.value;
            let Ok(image) = expand_word(written, escape, &|name| globals.get(name)) else { break };
            if image.value.parse::<Reference>().is_err() {
                findings.push(
                    Finding::new(format!("without build arguments `{written}` is no image"))
                        .at(first_line(&stage.from.place), format!("`{}` without arguments", image.value))
                        .help("give the argument a default that makes it one"),
                );
            }
        }
    }
    findings
}
