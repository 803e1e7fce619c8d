//! `host-artifact-in-target`.

use crate::diag::Place;
use crate::dockerfile::InstructionKind;
use crate::lint::shell::Shell;
use crate::lint::toolchain::{Compiler, compiler, is_told_a_platform, may_know_the_platform};
use crate::lint::trace::{StageTrace, Trace};
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "host-artifact-in-target",
    summary: "a program compiled for the build machine is copied into the image",
    level: Level::Warning,
    url: None,
    why: "A stage `FROM --platform=$BUILDPLATFORM` compiles for the build machine unless its commands use `TARGETOS` and \
          `TARGETARCH`. What is copied from it into an image for another platform does not run there (`exec format error`). \
          Declare the arguments in the stage and give them to the compiler.",
    bad: "FROM --platform=$BUILDPLATFORM golang AS build\nRUN go build -o /app .\nFROM scratch\nCOPY --from=build /app /app\n",
    good: "FROM --platform=$BUILDPLATFORM golang AS build\nARG TARGETOS TARGETARCH\n\
           RUN GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /app .\nFROM scratch\nCOPY --from=build /app /app\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let copies = view.host_copies().filter(|copy| !copy.sources.iter().all(|source| is_neutral(source)));
    let findings = copies.filter_map(|copy| {
        let (compiler, compiled) = compiles_for_build_machine(copy.trace, copy.stage)?;
        Some(finding(compiler, compiled).at(copy.at.place.clone(), "copied into the image here"))
    });
    findings.collect()
}

fn finding(compiler: Compiler, compiled: Place) -> Finding {
    let Compiler { name, cross } = compiler;
    Finding::new(format!(
        "{name} compiles for the build machine, and the result goes into images for every platform"
    ))
    .at(compiled, "knows nothing of the target")
    .help(format!("declare `ARG TARGETOS TARGETARCH` in the stage and use {cross}"))
}

/// The first command of a stage on the build machine that makes machine code, where nothing in the stage looks
/// at the target.
fn compiles_for_build_machine(trace: &Trace<'_>, stage: &StageTrace<'_>) -> Option<(Compiler, Place)> {
    let chain = trace.chain(stage.stage.index);
    let instructions = || chain.iter().flat_map(|stage| &stage.uses).map(|at| at.instruction);
    let mut found = None;
    for instruction in instructions() {
        match &instruction.kind {
            InstructionKind::Run(run) => {
                let shell = Shell::of(run);
                if may_know_the_platform(&shell) {
                    return None;
                }
                let mut compilers = shell.commands.iter().filter(|command| !is_told_a_platform(command));
                if let Some(compiler) = compilers.find_map(compiler) {
                    found.get_or_insert((compiler, instruction.place.clone()));
                }
            }
            // Somebody may have told the compiler for all commands.
            InstructionKind::Env(env) if env.pairs.iter().any(|pair| tells_a_platform(&pair.key)) => {
                return None;
            }
            _ => {}
        }
    }
    found
}

fn tells_a_platform(name: &str) -> bool {
    matches!(name, "GOARCH" | "GOOS" | "CARGO_BUILD_TARGET" | "CC" | "CXX" | "TARGET")
}

/// Whether a path holds files that are the same everywhere.
fn is_neutral(path: &str) -> bool {
    const FOLDERS: [&str; 12] = [
        "static",
        "public",
        "assets",
        "html",
        "templates",
        "migrations",
        "docs",
        "certs",
        "ssl",
        "zoneinfo",
        "locale",
        "config",
    ];
    const ENDINGS: [&str; 18] = [
        ".js", ".mjs", ".css", ".html", ".json", ".jar", ".war", ".txt", ".md", ".pem", ".crt", ".yml",
        ".yaml", ".toml", ".conf", ".py", ".sh", ".sql",
    ];
    let mut components = path.split('/');
    components.any(|component| FOLDERS.contains(&component))
        || ENDINGS.iter().any(|ending| path.ends_with(ending))
        || path.starts_with("/etc/")
        || path.starts_with("/usr/share/")
}
