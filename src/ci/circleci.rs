//! CircleCI.
//!
//! <https://circleci.com/docs/configuration-reference/>

use super::lines::{Lines, scalar};
use super::pipeline::{Level, Pipeline};
use super::runner::{Machine, Runner};
use super::setup;

pub(super) fn config(pipeline: &Pipeline) -> String {
    let mut lines = Lines::default();
    lines.add(0, "version: 2.1");
    commands(&mut lines, pipeline);
    lines.add(0, "jobs:");
    if !pipeline.options.is_split {
        job(&mut lines, "release", "release: {type: boolean}");
        lines.add(3, "- prepare");
        conditional(&mut lines, pipeline, &pipeline.bake_tried("--set '*.push=false'"), &pipeline.bake(""));
        files(&mut lines, pipeline);
        workflow(&mut lines, pipeline);
        return lines.text();
    }
    if pipeline.lacks_cache {
        lines.add(1, "# Targets stand on each other, and no cache that machines share has them: each machine builds all.");
    }
    for (at, level) in pipeline.levels.iter().enumerate() {
        build(&mut lines, pipeline, at, level);
    }
    if pipeline.is_split() {
        job(&mut lines, "merge", "");
        lines.add(3, "- prepare");
        login(&mut lines, pipeline, 3);
        lines.add(3, "- attach_workspace: {at: .}");
        lines.add(3, format!("- run: {}", scalar(&format!("mab {}", pipeline.merge()))));
        files(&mut lines, pipeline);
    }
    workflow(&mut lines, pipeline);
    lines.text()
}

fn commands(lines: &mut Lines, pipeline: &Pipeline) {
    lines.all(0, &["commands:", "  prepare:", "    steps:", "      - checkout"]);
    if pipeline.options.builder.is_none() {
        lines.add(3, "# Steps of builds run in user namespaces, which AppArmor keeps from programs it does not know on Ubuntu 24.04.");
        lines.add(3, "# Machines allow that; in containers of CircleCI another engine has to build: `mab ci circleci --builder NAME`.");
        lines.add(3, "- run: sudo sysctl --quiet --write kernel.apparmor_restrict_unprivileged_userns=0");
    }
    lines.add(3, "- run:").add(5, "name: Install mab").add(5, "command: |");
    if pipeline.emulates() {
        lines.add(6, "sudo apt-get update -qq && sudo apt-get install -qq --yes qemu-user-static");
    }
    match &pipeline.options.install {
        Some(command) => lines.add(6, command),
        None => lines.all(6, &setup::release(pipeline).map_install()),
    };
    let logins = setup::logins(pipeline, |_| setup::USUAL);
    if !logins.is_empty() {
        lines.all(1, &["login:", "  steps:"]);
        lines.add(3, "- run:").add(5, "name: Log in").add(5, "command: |").all(6, &logins);
    }
}

/// Machines of CircleCI are not root.
trait MapInstall {
    fn map_install(self) -> Vec<String>;
}

impl MapInstall for Vec<String> {
    fn map_install(self) -> Vec<String> {
        let as_root = |line: String| match line.strip_prefix("install ") {
            Some(rest) => format!("sudo install {rest}"),
            None => line,
        };
        self.into_iter().map(as_root).collect()
    }
}

fn job(lines: &mut Lines, name: &str, parameters: &str) {
    lines.add(1, format!("{name}:"));
    if !parameters.is_empty() {
        lines.add(2, "parameters:").add(3, parameters);
    }
    if !parameters.contains("resource") {
        lines.all(2, &["machine: {image: \"ubuntu-2404:current\"}", "resource_class: medium", "steps:"]);
    }
}

fn build(lines: &mut Lines, pipeline: &Pipeline, at: usize, level: &Level) {
    lines.add(1, format!("{}:", pipeline.job(at)));
    lines.all(
        2,
        &[
            "parameters:",
            "  platform: {type: string}",
            "  resource_class: {type: string}",
            "  release: {type: boolean}",
        ],
    );
    lines.all(
        2,
        &[
            "machine: {image: \"ubuntu-2404:current\"}",
            "resource_class: << parameters.resource_class >>",
            "steps:",
        ],
    );
    lines.add(3, "- prepare");
    let platform = "<< parameters.platform >>";
    let tried = pipeline.bake_level(level, platform, "--set '*.push=false'");
    if !pipeline.is_split() {
        lines.add(3, format!("- run: {}", scalar(&format!("mab {tried}"))));
        return;
    }
    conditional(lines, pipeline, &tried, &pipeline.part(level, platform));
    lines.add(3, "- when:").add(5, "condition: << parameters.release >>").add(5, "steps:");
    lines.add(6, "- persist_to_workspace: {root: ., paths: [parts]}");
}

/// Where something is to be published.
fn login(lines: &mut Lines, pipeline: &Pipeline, depth: usize) {
    if !pipeline.registries.is_empty() {
        lines.add(depth, "- login");
    }
}

/// One command where nothing is to be published, and another where it is.
fn conditional(lines: &mut Lines, pipeline: &Pipeline, tried: &str, released: &str) {
    for (condition, command) in [("unless", tried), ("when", released)] {
        lines
            .add(3, format!("- {condition}:"))
            .add(5, "condition: << parameters.release >>")
            .add(5, "steps:");
        if condition == "when" {
            login(lines, pipeline, 6);
        }
        lines.add(6, format!("- run: {}", scalar(&format!("mab {command}"))));
    }
}

fn files(lines: &mut Lines, pipeline: &Pipeline) {
    for path in &pipeline.files {
        lines.add(3, format!("- store_artifacts: {{path: {}}}", scalar(path)));
    }
}

fn workflow(lines: &mut Lines, pipeline: &Pipeline) {
    let branch = scalar(&pipeline.default_branch);
    let (tried, released, note) = match pipeline.releases_tags_only {
        true => (
            "filters: {branches: {only: /.*/}}".to_string(),
            "filters: {branches: {ignore: /.*/}, tags: {only: \"/^(v|[0-9]).*/\"}}".to_string(),
            "  # Tags are released; branches are built.",
        ),
        false => (
            format!("filters: {{branches: {{ignore: {branch}}}}}"),
            format!("filters: {{branches: {{only: {branch}}}, tags: {{only: \"/^(v|[0-9]).*/\"}}}}"),
            "  # What is merged, and tags, are released; other branches are built.",
        ),
    };
    lines.all(0, &["workflows:", note]);
    for (name, filters, is_release) in [("try", &tried, false), ("release", &released, true)] {
        lines.add(1, format!("{name}:")).add(2, "jobs:");
        if !pipeline.options.is_split {
            lines.add(3, "- release:").add(5, format!("release: {is_release}")).add(5, filters);
            continue;
        }
        let mut all = Vec::new();
        for (at, level) in pipeline.levels.iter().enumerate() {
            let before = at.checked_sub(1).map(|before| names(pipeline, before));
            for runner in pipeline.runners(level) {
                let job = pipeline.job(at);
                lines.add(3, format!("- {job}:")).add(5, format!("name: {job}-{}", runner.name));
                row(lines, &runner, is_release);
                if let Some(before) = &before {
                    lines.add(5, format!("requires: [{}]", before.join(", ")));
                }
                lines.add(5, filters);
            }
            all.extend(names(pipeline, at));
        }
        if pipeline.is_split() && is_release {
            lines.add(3, "- merge:").add(5, format!("requires: [{}]", all.join(", "))).add(5, filters);
        }
    }
}

fn names(pipeline: &Pipeline, at: usize) -> Vec<String> {
    let runners = pipeline.runners(&pipeline.levels[at]);
    runners.iter().map(|runner| format!("{}-{}", pipeline.job(at), runner.name)).collect()
}

fn row(lines: &mut Lines, runner: &Runner, is_release: bool) {
    let class = match runner.machine {
        Machine::Amd64 => "medium",
        Machine::Arm64 => "arm.medium",
    };
    let note = if runner.is_emulated { " # emulated: CircleCI has no machine for it" } else { "" };
    lines.add(5, format!("platform: {}", runner.platform));
    lines.add(5, format!("resource_class: {class}{note}"));
    lines.add(5, format!("release: {is_release}"));
}
