//! `arch-cache-mount`.

use std::collections::BTreeSet;

use crate::dockerfile::{InstructionKind, Mount, MountSpec, Run, Sharing};
use crate::lint::shell::Shell;
use crate::lint::trace::{Runs, Use};
use crate::lint::{Finding, Level, Rule, View};

pub const RULE: Rule = Rule {
    name: "arch-cache-mount",
    summary: "platforms share a cache mount that holds machine code, or apt's without a lock",
    level: Level::Warning,
    url: None,
    why: "BuildKit gives all platforms of a build one cache mount of an id. Object files, cargo's `target` folder or \
          `node_modules` of one platform are then found by the others, or two platforms write over each other. Put the platform \
          into the id. (mab keeps a cache mount for each platform anyway; the file is right for both then.) apt locks its folders, \
          so builds that share them need `sharing=locked`.",
    bad: "FROM rust\nRUN --mount=type=cache,target=/src/target cargo check\n",
    good: "FROM rust\nARG TARGETARCH\nRUN --mount=type=cache,id=target-$TARGETARCH,target=/src/target cargo check\n",
    check,
};

fn check(view: &View<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (_, stage, at) in view.uses() {
        let InstructionKind::Run(run) = &at.instruction.kind else { continue };
        for mount in &run.mounts {
            let Some(cache) = cache(mount, at) else { continue };
            if is_apt(&cache.target) && cache.sharing == Sharing::Shared && uses_apt(run) {
                findings.push(
                    Finding::new(format!("apt's cache mount `{}` is shared without a lock", cache.target))
                        .at(mount.place.clone(), "other builds use it at the same time")
                        .help("add `sharing=locked` to the mount"),
                );
            }
            let is_shared = || {
                ids_of_all_platforms(view, stage.stage.index, at, mount).len()
                    < needing(view, stage.stage.index)
            };
            if stage.runs != Runs::OnBuildMachine && holds_machine_code(&cache.target, run) && is_shared() {
                findings.push(
                    Finding::new(format!(
                        "all platforms share the cache mount `{}`, which holds machine code",
                        cache.target
                    ))
                    .at(mount.place.clone(), "one id for all platforms")
                    .help("declare `ARG TARGETARCH` and add `id=NAME-$TARGETARCH` to the mount"),
                );
            }
        }
    }
    findings
}

struct Cache {
    id: String,
    target: String,
    sharing: Sharing,
}

fn cache(mount: &Mount, at: &Use<'_>) -> Option<Cache> {
    match mount.resolve(&mut |word| Ok(at.value_of(word).to_string())).ok()? {
        MountSpec::Cache { id, target, sharing, .. } => {
            Some(Cache { id: id.unwrap_or_else(|| target.clone()), target, sharing })
        }
        MountSpec::Bind { .. }
        | MountSpec::Tmpfs { .. }
        | MountSpec::Secret { .. }
        | MountSpec::Ssh { .. } => None,
    }
}

fn needing(view: &View<'_>, stage: usize) -> usize {
    view.needing(stage).len()
}

fn ids_of_all_platforms(view: &View<'_>, stage: usize, at: &Use<'_>, mount: &Mount) -> BTreeSet<String> {
    let traces = view.needing(stage).into_iter().filter_map(|variant| variant.trace.stage(stage));
    let same = |trace: &Use<'_>| std::ptr::eq(trace.instruction, at.instruction);
    traces
        .filter_map(|trace| trace.uses.iter().find(|one| same(one)))
        .filter_map(|one| cache(mount, one))
        .map(|cache| cache.id)
        .collect()
}

fn is_apt(target: &str) -> bool {
    matches!(
        target.trim_end_matches('/'),
        "/var/cache/apt" | "/var/lib/apt" | "/var/lib/apt/lists" | "/var/cache/apt/archives"
    )
}

fn uses_apt(run: &Run) -> bool {
    let shell = Shell::of(run);
    shell.runs("apt-get") || shell.runs("apt")
}

/// Folders in which tools keep what they compiled, without the platform in the name.
fn holds_machine_code(target: &str, run: &Run) -> bool {
    let last = target.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let shell = Shell::of(run);
    let is_cargo =
        shell.runs("cargo") && !shell.commands.iter().any(|command| command.flag("--target").is_some());
    match last {
        "target" => is_cargo,
        "node_modules" => true,
        "build" | "_build" | "obj" => {
            ["make", "cmake", "ninja", "meson", "mix", "dune"].iter().any(|tool| shell.runs(tool))
        }
        _ => false,
    }
}
