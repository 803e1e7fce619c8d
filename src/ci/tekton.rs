//! Tekton: a task, a pipeline of it, and a run that chooses machines.
//!
//! <https://tekton.dev/docs/pipelines/>

use super::lines::{Lines, scalar};
use super::pipeline::Pipeline;
use super::runner::Runner;
use super::setup;

pub(super) fn pipeline(pipeline: &Pipeline) -> String {
    let mut lines = Lines::default();
    task(&mut lines, pipeline);
    lines.add(0, "---");
    order(&mut lines, pipeline);
    lines.add(0, "---");
    run(&mut lines, pipeline);
    lines.text()
}

/// One task for all: it fetches the commit, and runs `mab` with what it is told.
fn task(lines: &mut Lines, pipeline: &Pipeline) {
    lines.all(
        0,
        &["apiVersion: tekton.dev/v1", "kind: Task", "metadata:", "  name: mab", "spec:", "  params:"],
    );
    for (name, text) in [("url", "the repository"), ("revision", "a commit or a tag"), ("command", "of mab")]
    {
        lines.add(2, format!("- {{name: {name}, type: string, description: {text}}}"));
    }
    lines.all(
        1,
        &[
            "workspaces:",
            "  - name: parts",
            "    description: what machines hand on; all of them can write it",
        ],
    );
    lines.all(
        2,
        &["- name: docker-config", "  description: a secret with Docker's config.json", "  optional: true"],
    );
    lines.all(1, &["steps:", "  - name: mab", "    image: debian:trixie-slim"]);
    lines.all(3, &["workingDir: /work", "env:"]);
    for (name, value) in [
        ("URL", "$(params.url)"),
        ("REVISION", "$(params.revision)"),
        ("COMMAND", "$(params.command)"),
        ("PARTS", "$(workspaces.parts.path)"),
        ("DOCKER_CONFIG", "$(workspaces.docker-config.path)"),
        // An ordinary folder: the store cannot lie on an overlay.
        ("MAB_STORE", "/store"),
    ] {
        lines.add(4, format!("- {{name: {name}, value: {}}}", scalar(value)));
    }
    for name in &pipeline.secrets {
        lines.add(4, format!("- {{name: {name}, valueFrom: {{secretKeyRef: {{name: mab, key: {name}}}}}}}"));
    }
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
        &[
            "volumeMounts:",
            "  - {name: work, mountPath: /work}",
            "  - {name: store, mountPath: /store}",
            "script: |",
        ],
    );
    lines.all(4, &["#!/bin/sh", "set -eu"]);
    lines.all(4, &setup::commands(pipeline, pipeline.emulates()));
    lines.all(4, &["git clone --quiet \"$URL\" source", "cd source", "git checkout --quiet \"$REVISION\""]);
    lines.all(4, &["ln -s \"$PARTS\" parts", "eval \"mab $COMMAND\""]);
    lines.all(1, &["volumes:", "  - {name: work, emptyDir: {}}", "  - {name: store, emptyDir: {}}"]);
}

/// The tasks with their commands, and what waits for what.
fn tasks(pipeline: &Pipeline) -> Vec<(String, String, Vec<String>)> {
    if !pipeline.options.is_split {
        return vec![("release".to_string(), pipeline.bake(""), Vec::new())];
    }
    let mut tasks: Vec<(String, String, Vec<String>)> = Vec::new();
    let mut before: Vec<String> = Vec::new();
    for (at, level) in pipeline.levels.iter().enumerate() {
        let mut here = Vec::new();
        for runner in pipeline.runners(level) {
            let name = format!("{}-{}", pipeline.job(at), runner.name);
            let command = match pipeline.is_split() {
                true => pipeline.part(level, &runner.platform),
                false => pipeline.bake_level(level, &runner.platform, ""),
            };
            tasks.push((name.clone(), command, before.clone()));
            here.push(name);
        }
        before = here;
    }
    if pipeline.is_split() {
        let all = tasks.iter().map(|(name, ..)| name.clone()).collect();
        tasks.push(("merge".to_string(), pipeline.merge(), all));
    }
    tasks
}

fn order(lines: &mut Lines, pipeline: &Pipeline) {
    lines.all(0, &["apiVersion: tekton.dev/v1", "kind: Pipeline", "metadata:", "  name: mab", "spec:"]);
    lines.all(1, &["params:", "  - {name: url, type: string}", "  - {name: revision, type: string}"]);
    lines.all(1, &["workspaces:", "  - name: parts", "  - {name: docker-config, optional: true}", "tasks:"]);
    for (name, command, after) in tasks(pipeline) {
        lines.add(2, format!("- name: {name}")).add(3, "taskRef: {name: mab}");
        if !after.is_empty() {
            lines.add(3, format!("runAfter: [{}]", after.join(", ")));
        }
        lines.add(3, "params:");
        lines.all(
            4,
            &["- {name: url, value: $(params.url)}", "- {name: revision, value: $(params.revision)}"],
        );
        lines.add(4, format!("- {{name: command, value: {}}}", serde_json::Value::from(command)));
        lines.all(3, &["workspaces:", "  - {name: parts}", "  - {name: docker-config}"]);
    }
}

fn run(lines: &mut Lines, pipeline: &Pipeline) {
    lines.all(
        0,
        &["apiVersion: tekton.dev/v1", "kind: PipelineRun", "metadata:", "  generateName: mab-", "spec:"],
    );
    lines.all(1, &["pipelineRef: {name: mab}", "params:"]);
    lines.all(2, &["# As Pipelines-as-Code fills them in; a trigger of your own says them otherwise."]);
    lines.all(
        2,
        &["- {name: url, value: \"{{ repo_url }}\"}", "- {name: revision, value: \"{{ revision }}\"}"],
    );
    if pipeline.options.is_split {
        lines.add(1, "# Each platform on machines of its own.");
        lines.add(1, "taskRunSpecs:");
        for (at, level) in pipeline.levels.iter().enumerate() {
            for Runner { name, machine, is_emulated, .. } in pipeline.runners(level) {
                let note = if is_emulated { " # emulated there" } else { "" };
                lines.add(2, format!("- pipelineTaskName: {}-{name}", pipeline.job(at)));
                lines.add(
                    3,
                    format!(
                        "podTemplate: {{nodeSelector: {{kubernetes.io/arch: {}}}}}{note}",
                        machine.name()
                    ),
                );
            }
        }
    }
    lines.all(1, &["workspaces:", "  - name: parts"]);
    lines.all(
        3,
        &[
            "volumeClaimTemplate:",
            "  spec:",
            "    # Machines share it; layers are in the registry, so that it stays small.",
        ],
    );
    lines.all(5, &["accessModes: [ReadWriteMany]", "resources: {requests: {storage: 1Gi}}"]);
    lines.all(2, &["- name: docker-config", "  secret: {secretName: docker-config}"]);
}
