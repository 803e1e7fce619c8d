//! Tekton: a task, pipelines of it, and runs that choose machines and say when Pipelines-as-Code starts them.
//!
//! <https://tekton.dev/docs/pipelines/>, <https://pipelinesascode.com/docs/guide/>

use super::lines::{Lines, scalar, word};
use super::pipeline::Pipeline;
use super::runner::Runner;
use super::setup;

/// What a run knows of the commit, in the words of Pipelines-as-Code: those of a pull request are about its source.
const ABOUT: [(&str, &str); 5] = [
    ("url", "the repository"),
    ("revision", "a commit or a tag"),
    ("ref", "the branch, or refs/tags/ and the tag"),
    ("pull-request", "the number of a pull request"),
    ("base-branch", "where a pull request is to go"),
];

/// Whether it is about what nobody has looked at yet, which publishes nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Try,
    Release,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Try => "mab-try",
            Self::Release => "mab",
        }
    }
}

pub(super) fn pipeline(pipeline: &Pipeline) -> String {
    let mut lines = Lines::default();
    task(&mut lines, pipeline);
    for purpose in [Purpose::Try, Purpose::Release] {
        lines.add(0, "---");
        order(&mut lines, pipeline, purpose);
        lines.add(0, "---");
        run(&mut lines, pipeline, purpose);
    }
    lines.text()
}

/// One task for all: it fetches the commit, and runs `mab` with what it is told.
fn task(lines: &mut Lines, pipeline: &Pipeline) {
    lines.all(
        0,
        &["apiVersion: tekton.dev/v1", "kind: Task", "metadata:", "  name: mab", "spec:", "  params:"],
    );
    for (name, text) in ABOUT {
        let default = if is_optional(name) { "default: \"\", " } else { "" };
        lines.add(2, format!("- {{name: {name}, type: string, {default}description: {}}}", scalar(text)));
    }
    lines.add(2, "- {name: command, type: string, description: of mab}");
    lines.add(1, "workspaces:");
    for (name, text) in workspaces(pipeline) {
        lines.add(2, format!("- {{name: {name}, optional: true, description: {}}}", scalar(text)));
    }
    lines.all(1, &["steps:", "  - name: mab", "    image: debian:trixie-slim"]);
    lines.add(3, "workingDir: /work");
    environment(lines, pipeline);
    match &pipeline.options.builder {
        Some(_) => lines.add(3, "# A builder does the work: no privileges are needed."),
        None => lines
            .add(3, "# Steps of builds run in user namespaces with mounts of their own, which the runtime's seccomp and AppArmor")
            .add(3, "# profiles and its masked /proc forbid. Where no pod may be privileged, another engine does it:")
            .add(3, "# `mab ci tekton --builder NAME`, a BuildKit in the cluster for instance.")
            .add(3, "securityContext: {privileged: true}"),
    };
    lines.all(
        3,
        &["volumeMounts:", "  - {name: work, mountPath: /work}", "  - {name: store, mountPath: /store}"],
    );
    script(lines, pipeline);
    lines.all(1, &["volumes:", "  - {name: work, emptyDir: {}}", "  - {name: store, emptyDir: {}}"]);
}

fn is_optional(parameter: &str) -> bool {
    !matches!(parameter, "url" | "revision")
}

/// What the task can be given; nothing of it for a pull request but the means to fetch a private repository.
fn workspaces(pipeline: &Pipeline) -> Vec<(&'static str, &'static str)> {
    let mut workspaces = vec![("basic-auth", "a secret with .gitconfig and .git-credentials")];
    if !pipeline.registries.is_empty() {
        workspaces.push(("docker-config", "a secret with Docker's config.json"));
    }
    if pipeline.is_split() {
        workspaces.push(("parts", "what machines hand on; all of them can write it"));
    }
    if !pipeline.files.is_empty() {
        workspaces.push(("files", "takes what outputs write"));
    }
    workspaces
}

fn environment(lines: &mut Lines, pipeline: &Pipeline) {
    let mut variables = vec![
        ("URL", "$(params.url)"),
        ("REVISION", "$(params.revision)"),
        ("COMMAND", "$(params.command)"),
        ("MAB_REF", "$(params.ref)"),
        ("MAB_PULL_REQUEST", "$(params.pull-request)"),
        ("MAB_BASE_BRANCH", "$(params.base-branch)"),
        ("MAB_DEFAULT_BRANCH", &pipeline.default_branch),
        ("MAB_REPOSITORY_URL", "$(params.url)"),
        // An ordinary folder: the store cannot lie on an overlay.
        ("MAB_STORE", "/store"),
    ];
    for (name, _) in workspaces(pipeline) {
        variables.push(match name {
            "docker-config" => ("DOCKER_CONFIG", "$(workspaces.docker-config.path)"),
            "parts" => ("PARTS", "$(workspaces.parts.path)"),
            "files" => ("FILES", "$(workspaces.files.path)"),
            _ => ("BASIC_AUTH", "$(workspaces.basic-auth.path)"),
        });
    }
    lines.add(3, "env:");
    for (name, value) in variables {
        lines.add(4, format!("- {{name: {name}, value: {}}}", scalar(value)));
    }
    for name in &pipeline.secrets {
        lines.add(4, format!("- {{name: {name}, valueFrom: {{secretKeyRef: {{name: mab, key: {name}}}}}}}"));
    }
}

fn script(lines: &mut Lines, pipeline: &Pipeline) {
    lines.add(3, "script: |");
    lines.all(4, &["#!/bin/sh", "set -eu"]);
    lines.all(4, &setup::commands(pipeline, pipeline.emulates()));
    lines.all(
        4,
        &[
            "if [ -n \"$BASIC_AUTH\" ]; then cp \"$BASIC_AUTH/.gitconfig\" \"$BASIC_AUTH/.git-credentials\" ~; fi",
            "git clone --quiet \"$URL\" source",
            "rm -f ~/.gitconfig ~/.git-credentials # nothing that is built is to find them",
            "cd source",
            "git checkout --quiet \"$REVISION\"",
            "case \"$MAB_REF\" in \"\" | refs/*) ;; *) MAB_REF=refs/heads/$MAB_REF ;; esac",
        ],
    );
    if pipeline.is_split() {
        lines.add(4, "if [ -n \"$PARTS\" ]; then ln -s \"$PARTS\" parts; fi");
    }
    lines.add(4, "eval \"mab $COMMAND\"");
    if !pipeline.files.is_empty() {
        let paths: Vec<String> = pipeline.files.iter().map(|path| word(path)).collect();
        let copy = format!("cp --recursive --parents -- {} \"$FILES\"", paths.join(" "));
        lines.add(4, format!("if [ -n \"$FILES\" ]; then {copy}; fi"));
    }
}

/// A task of a pipeline.
struct Task {
    name: String,
    command: String,
    after: Vec<String>,
    /// What it is given, as workspaces of the pipeline.
    given: Vec<&'static str>,
}

/// The tasks with their commands, and what waits for what.
fn tasks(pipeline: &Pipeline, purpose: Purpose) -> Vec<Task> {
    let is_release = purpose == Purpose::Release;
    let mut given = vec!["- {name: basic-auth}"];
    given.extend((is_release && !pipeline.registries.is_empty()).then_some("- {name: docker-config}"));
    given.extend((is_release && pipeline.is_split()).then_some("- {name: parts}"));
    let files = match pipeline.is_split() {
        true => "- {name: files, workspace: parts, subPath: files}",
        false => "- {name: files}",
    };
    let files = (is_release && !pipeline.files.is_empty()).then_some(files);
    let at_the_end = || given.iter().copied().chain(files).collect();
    const TRIED: &str = "--set '*.push=false'";
    if !pipeline.options.is_split {
        let (name, command) = match purpose {
            Purpose::Try => ("try".to_string(), pipeline.bake_tried(TRIED)),
            Purpose::Release => ("release".to_string(), pipeline.bake("")),
        };
        return vec![Task { name, command, after: Vec::new(), given: at_the_end() }];
    }
    let mut tasks: Vec<Task> = Vec::new();
    let mut before: Vec<String> = Vec::new();
    for (at, level) in pipeline.levels.iter().enumerate() {
        let mut here = Vec::new();
        for runner in pipeline.runners(level) {
            let name = format!("{}-{}", pipeline.job(at), runner.name);
            let command = match (purpose, pipeline.is_split()) {
                (Purpose::Release, true) => pipeline.part(level, &runner.platform),
                (Purpose::Release, false) => pipeline.bake_level(level, &runner.platform, ""),
                (Purpose::Try, _) => pipeline.bake_level(level, &runner.platform, TRIED),
            };
            tasks.push(Task { name: name.clone(), command, after: before.clone(), given: given.clone() });
            here.push(name);
        }
        before = here;
    }
    if is_release && pipeline.is_split() {
        let after = tasks.iter().map(|task| task.name.clone()).collect();
        let (name, command) = ("merge".to_string(), pipeline.merge());
        tasks.push(Task { name, command, after, given: at_the_end() });
    }
    tasks
}

/// What a run gives to its pipeline.
fn given(pipeline: &Pipeline, purpose: Purpose) -> Vec<&'static str> {
    let is_given = |name: &&'static str| match *name {
        "basic-auth" => true,
        // They lie beside the parts.
        "files" => purpose == Purpose::Release && !pipeline.is_split(),
        _ => purpose == Purpose::Release,
    };
    workspaces(pipeline).into_iter().map(|(name, _)| name).filter(is_given).collect()
}

fn order(lines: &mut Lines, pipeline: &Pipeline, purpose: Purpose) {
    lines.all(0, &["apiVersion: tekton.dev/v1", "kind: Pipeline", "metadata:"]);
    lines.add(1, format!("name: {}", purpose.name())).all(0, &["spec:", "  params:"]);
    for (name, _) in ABOUT {
        let default = if is_optional(name) { ", default: \"\"" } else { "" };
        lines.add(2, format!("- {{name: {name}, type: string{default}}}"));
    }
    lines.add(1, "workspaces:");
    for name in given(pipeline, purpose) {
        let optional = if name == "parts" { "" } else { ", optional: true" };
        lines.add(2, format!("- {{name: {name}{optional}}}"));
    }
    lines.add(1, "tasks:");
    if pipeline.options.is_split && pipeline.lacks_cache {
        lines.add(2, "# Targets stand on each other, and no cache that machines share has them: each machine builds all.");
    }
    for Task { name, command, after, given } in tasks(pipeline, purpose) {
        lines.add(2, format!("- name: {name}")).add(3, "taskRef: {name: mab}");
        if !after.is_empty() {
            lines.add(3, format!("runAfter: [{}]", after.join(", ")));
        }
        lines.add(3, "params:");
        for (name, _) in ABOUT {
            lines.add(4, format!("- {{name: {name}, value: $(params.{name})}}"));
        }
        lines.add(4, format!("- {{name: command, value: {}}}", serde_json::Value::from(command)));
        lines.add(3, "workspaces:").all(4, &given);
    }
}

fn run(lines: &mut Lines, pipeline: &Pipeline, purpose: Purpose) {
    lines.all(0, &["apiVersion: tekton.dev/v1", "kind: PipelineRun", "metadata:"]);
    lines.add(1, format!("generateName: {}-", purpose.name()));
    trigger(lines, pipeline, purpose);
    lines.add(0, "spec:").add(1, format!("pipelineRef: {{name: {}}}", purpose.name()));
    lines.all(
        1,
        &["params:", "  # As Pipelines-as-Code fills them in; a trigger of your own says them otherwise."],
    );
    let said: &[(&str, &str)] = match purpose {
        Purpose::Try => &[
            ("url", "source_url"),
            ("revision", "revision"),
            ("ref", "source_branch"),
            ("pull-request", "pull_request_number"),
            ("base-branch", "target_branch"),
        ],
        Purpose::Release => &[("url", "repo_url"), ("revision", "revision"), ("ref", "source_branch")],
    };
    for (name, variable) in said {
        lines.add(2, format!("- {{name: {name}, value: \"{{{{ {variable} }}}}\"}}"));
    }
    machines(lines, pipeline);
    lines.all(1, &["workspaces:", "  - {name: basic-auth, secret: {secretName: \"{{ git_auth_secret }}\"}}"]);
    for name in given(pipeline, purpose) {
        match name {
            "docker-config" => lines.add(2, "- {name: docker-config, secret: {secretName: docker-config}}"),
            "parts" => lines
                .add(2, "# Machines share it: Tekton's affinity assistant, which keeps whatever shares a volume on one node, has to be off,")
                .add(2, "# `coschedule: disabled` in the ConfigMap `feature-flags`. Layers that are pushed are not in it.")
                .all(2, &volume("parts", "ReadWriteMany")),
            "files" => lines
                .add(2, "# What outputs write is there as long as the run.")
                .all(2, &volume("files", "ReadWriteOnce")),
            _ => &mut *lines,
        };
    }
}

fn volume(name: &str, access: &str) -> [String; 5] {
    [
        format!("- name: {name}"),
        "  volumeClaimTemplate:".to_string(),
        "    spec:".to_string(),
        format!("      accessModes: [{access}]"),
        "      resources: {requests: {storage: 1Gi}}".to_string(),
    ]
}

/// When it is started.
fn trigger(lines: &mut Lines, pipeline: &Pipeline, purpose: Purpose) {
    lines.add(1, "annotations:");
    let (event, branches) = match purpose {
        Purpose::Try => {
            lines.add(2, "# Of people whom Pipelines-as-Code trusts, or after `/ok-to-test` of one of them. Nothing is published.");
            lines.add(2, "pipelinesascode.tekton.dev/cancel-in-progress: \"true\"");
            ("pull_request", "refs/heads/*".to_string())
        }
        Purpose::Release => {
            let merged = match pipeline.releases_tags_only {
                true => String::new(),
                // Commas separate.
                false => format!("refs/heads/{}, ", pipeline.default_branch.replace(',', "&#44;")),
            };
            ("push", format!("{merged}refs/tags/v*, refs/tags/[0-9]*"))
        }
    };
    lines.add(2, format!("pipelinesascode.tekton.dev/on-event: \"[{event}]\""));
    lines
        .add(2, format!("pipelinesascode.tekton.dev/on-target-branch: {}", scalar(&format!("[{branches}]"))));
    lines.add(2, "pipelinesascode.tekton.dev/max-keep-runs: \"5\"");
}

fn machines(lines: &mut Lines, pipeline: &Pipeline) {
    if !pipeline.options.is_split {
        return;
    }
    lines.add(1, "# Each platform on machines of its own.").add(1, "taskRunSpecs:");
    for (at, level) in pipeline.levels.iter().enumerate() {
        for Runner { name, machine, is_emulated, .. } in pipeline.runners(level) {
            let note = if is_emulated { " # emulated there" } else { "" };
            lines.add(2, format!("- pipelineTaskName: {}-{name}", pipeline.job(at)));
            let selector = format!("nodeSelector: {{kubernetes.io/arch: {}}}", machine.name());
            lines.add(3, format!("podTemplate: {{{selector}}}{note}"));
        }
    }
}
