//! GitLab CI/CD.
//!
//! <https://docs.gitlab.com/ci/yaml/>

use super::lines::{Lines, scalar};
use super::pipeline::{Level, Pipeline};
use super::runner::Machine;
use super::setup;

const TRUSTED: &str = "- if: $CI_COMMIT_TAG =~ /^(v|[0-9])/ || $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH";
const TAGGED: &str = "- if: $CI_COMMIT_TAG =~ /^(v|[0-9])/";
const UNTRUSTED: &str = "- if: $CI_PIPELINE_SOURCE == \"merge_request_event\"";

pub(super) fn pipeline(pipeline: &Pipeline) -> String {
    let mut lines = Lines::default();
    lines.add(0, "workflow:").add(1, "rules:").add(2, UNTRUSTED).add(2, trusted(pipeline));
    lines.all(0, &["variables:", "  GIT_DEPTH: \"0\" # all tags: which version is the highest?"]);
    let stages: Vec<String> = (0..pipeline.levels.len()).map(|at| pipeline.job(at)).collect();
    let last = if pipeline.is_split() { ", merge" } else { "" };
    let stages = if pipeline.options.is_split { stages.join(", ") } else { "release".to_string() };
    lines.add(0, format!("stages: [{stages}{last}]"));
    base(&mut lines, pipeline);
    if !pipeline.options.is_split {
        whole(&mut lines, pipeline);
        return lines.text();
    }
    if pipeline.lacks_cache {
        lines.add(0, "# Targets stand on each other, and no cache that machines share has them: each machine builds all.");
    }
    for (at, level) in pipeline.levels.iter().enumerate() {
        build(&mut lines, pipeline, at, level);
    }
    if pipeline.is_split() {
        lines.all(0, &["merge:", "  extends: .mab", "  stage: merge", "  interruptible: false"]);
        lines.add(1, "rules:").add(2, trusted(pipeline));
        let merge = format!("mab {}", pipeline.merge());
        script(&mut lines, &[logins(pipeline), vec![merge]].concat());
        artifacts(&mut lines, pipeline);
    }
    lines.text()
}

/// What is released, which has been looked at.
fn trusted(pipeline: &Pipeline) -> &'static str {
    if pipeline.releases_tags_only { TAGGED } else { TRUSTED }
}

/// What all jobs have in common.
fn base(lines: &mut Lines, pipeline: &Pipeline) {
    match &pipeline.options.builder {
        Some(_) => lines.add(0, "# A builder does the work: runners need no privileges."),
        None => lines
            .add(0, "# Steps of builds run in user namespaces with mounts of their own. GitLab's hosted runners allow that. Runners")
            .add(0, "# of your own need `privileged = true` in [runners.docker], or `security_opt = [\"seccomp:unconfined\",")
            .add(0, "# \"apparmor:unconfined\", \"systempaths=unconfined\"]`; or another engine does it: `mab ci gitlab --builder NAME`."),
    };
    lines.all(0, &[".mab:", "  image: debian:trixie-slim", "  interruptible: true", "  before_script:"]);
    let emulates = pipeline.emulates();
    for command in setup::commands(pipeline, emulates) {
        lines.add(2, format!("- {}", scalar(&command)));
    }
}

/// Not for merge requests: nobody has looked at their code yet, and protected variables are empty there. GitLab gives
/// every job a password for the project's registry; for others there are variables of the project.
fn logins(pipeline: &Pipeline) -> Vec<String> {
    setup::logins(pipeline, |host| match host.starts_with("registry.gitlab.") {
        true => ("CI_REGISTRY_USER", "CI_REGISTRY_PASSWORD"),
        false => setup::USUAL,
    })
}

/// A job's commands.
fn script(lines: &mut Lines, commands: &[String]) {
    lines.add(1, "script:");
    for command in commands {
        lines.add(2, format!("- {}", scalar(command)));
    }
}

fn whole(lines: &mut Lines, pipeline: &Pipeline) {
    lines.all(0, &["try:", "  extends: .mab", "  stage: release"]);
    lines.add(1, "rules:").add(2, UNTRUSTED);
    script(lines, &[format!("mab {}", pipeline.bake_tried("--set '*.push=false'"))]);
    lines.all(0, &["release:", "  extends: .mab", "  stage: release", "  interruptible: false"]);
    lines.add(1, "rules:").add(2, trusted(pipeline));
    let bake = format!("mab {}", pipeline.bake(""));
    script(lines, &[logins(pipeline), vec![bake]].concat());
    artifacts(lines, pipeline);
}

fn build(lines: &mut Lines, pipeline: &Pipeline, at: usize, level: &Level) {
    let job = pipeline.job(at);
    lines.add(0, format!("{job}:"));
    lines.all(1, &["extends: .mab"]);
    lines.add(1, format!("stage: {job}"));
    lines.all(1, &["parallel:", "  matrix:"]);
    for runner in pipeline.runners(level) {
        lines.add(3, format!("- PLATFORM: {}", runner.platform));
        let label = match runner.machine {
            Machine::Amd64 => "saas-linux-small-amd64",
            Machine::Arm64 => "saas-linux-small-arm64",
        };
        let note = if runner.is_emulated { " # emulated: GitLab has no machine for it" } else { "" };
        lines.add(4, format!("RUNNER: {label}{note}"));
    }
    lines.add(1, "tags: [$RUNNER]");
    lines.add(1, "script:");
    let platform = "\"$PLATFORM\"";
    if !pipeline.is_split() {
        lines.add(2, format!("- {}", scalar(&format!("mab {}", pipeline.bake_level(level, platform, "")))));
        return;
    }
    lines.add(2, "- |");
    lines.add(3, "if [ \"$CI_PIPELINE_SOURCE\" = merge_request_event ]; then");
    lines.add(4, format!("mab {}", pipeline.bake_level(level, platform, "--set '*.push=false'")));
    lines.add(3, "else");
    lines.all(4, &logins(pipeline));
    lines.add(4, format!("mab {}", pipeline.part(level, platform)));
    lines.add(3, "fi");
    lines.all(1, &["artifacts:", "  paths: [parts/]", "  expire_in: 1 day"]);
}

fn artifacts(lines: &mut Lines, pipeline: &Pipeline) {
    if !pipeline.files.is_empty() {
        let paths: Vec<String> = pipeline.files.iter().map(|path| scalar(path)).collect();
        lines.add(1, "artifacts:");
        lines.add(2, format!("paths: [{}]", paths.join(", ")));
    }
}
