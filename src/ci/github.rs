//! GitHub Actions: workflows.
//!
//! <https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax>

use super::lines::{Lines, scalar};
use super::pipeline::{Level, Pipeline};
use super::runner::{Machine, Runner};

/// Not of a pull request, whose code nobody has looked at yet.
const TRUSTED: &str = "github.event_name != 'pull_request'";
const UNTRUSTED: &str = "github.event_name == 'pull_request'";

pub(super) fn workflow(pipeline: &Pipeline) -> String {
    let mut lines = Lines::default();
    lines.add(0, format!("name: {}", scalar(&pipeline.title)));
    lines.all(0, &["on:", "  push:"]);
    if !pipeline.releases_tags_only {
        lines.add(2, format!("branches: [{}]", scalar(&pipeline.default_branch)));
    }
    lines.all(2, &["tags: [\"v*\", \"[0-9]*\"]"]);
    lines.all(1, &["pull_request:", "workflow_dispatch:"]);
    permissions(&mut lines, pipeline);
    lines.all(
        0,
        &[
            "# Releases wait for each other; of a pull request only the newest commit is of interest.",
            "concurrency:",
        ],
    );
    lines.add(1, "group: ${{ github.workflow }}-${{ github.ref }}");
    lines.add(1, format!("cancel-in-progress: ${{{{ {UNTRUSTED} }}}}"));
    lines.add(0, "jobs:");
    if !pipeline.options.is_split {
        whole(&mut lines, pipeline);
        return lines.text();
    }
    if pipeline.lacks_cache {
        lines.add(1, "# Targets stand on each other, and no cache that machines share has them: each machine builds all.");
    }
    for (at, level) in pipeline.levels.iter().enumerate() {
        build(&mut lines, pipeline, at, level);
    }
    if pipeline.is_split() {
        merge(&mut lines, pipeline);
    }
    lines.text()
}

fn permissions(lines: &mut Lines, pipeline: &Pipeline) {
    lines.add(0, "permissions:");
    match pipeline.files.is_empty() {
        true => lines.add(1, "contents: read"),
        false => lines.add(1, "contents: write # files become assets of the release"),
    };
    if pipeline.registries.iter().any(|host| host == "ghcr.io") {
        lines.add(1, "packages: write");
    }
}

/// Everything on one machine.
fn whole(lines: &mut Lines, pipeline: &Pipeline) {
    lines.all(1, &["release:", "  runs-on: ubuntu-24.04"]);
    environment(lines, pipeline);
    lines.add(2, "steps:");
    checkout(lines, pipeline);
    if pipeline.emulates() {
        emulator(lines, None);
    }
    install(lines, pipeline);
    run(
        lines,
        pipeline,
        "Build what a pull request asks for, and publish nothing",
        UNTRUSTED,
        &pipeline.bake_tried("--set *.push=false"),
    );
    login(lines, pipeline);
    run(lines, pipeline, "Build, verify, test, merge and publish", TRUSTED, &pipeline.bake(""));
    assets(lines, pipeline);
}

/// One job for each platform of a level.
fn build(lines: &mut Lines, pipeline: &Pipeline, at: usize, level: &Level) {
    lines.add(1, format!("{}:", pipeline.job(at)));
    lines.add(
        2,
        format!("name: {}", scalar(&format!("build{} ${{{{ matrix.platform }}}}", pipeline.step(at)))),
    );
    if let Some(before) = at.checked_sub(1) {
        lines.add(2, format!("needs: {} # through the cache", pipeline.job(before)));
    }
    lines.all(2, &["strategy:", "  matrix:", "    include:"]);
    let runners = pipeline.runners(level);
    for runner in &runners {
        row(lines, runner);
    }
    lines.add(2, "runs-on: ${{ matrix.runner }}");
    environment(lines, pipeline);
    lines.add(2, "steps:");
    checkout(lines, pipeline);
    if runners.iter().any(|runner| runner.is_emulated) {
        emulator(lines, Some("matrix.emulated"));
    }
    install(lines, pipeline);
    let platform = "${{ matrix.platform }}";
    let tried = pipeline.bake_level(level, platform, "--set *.push=false");
    if !pipeline.is_split() {
        run(lines, pipeline, "Build", "", &pipeline.bake_level(level, platform, ""));
        return;
    }
    run(lines, pipeline, "Build what a pull request asks for, and publish nothing", UNTRUSTED, &tried);
    login(lines, pipeline);
    run(lines, pipeline, "Build this platform's part", TRUSTED, &pipeline.part(level, platform));
    step(lines, "Hand the part on", TRUSTED, "actions/upload-artifact@v4");
    lines.add(5, format!("name: part-{}-${{{{ matrix.name }}}}", pipeline.job(at)));
    lines.all(5, &["path: parts/", "if-no-files-found: error", "retention-days: 1"]);
}

fn row(lines: &mut Lines, runner: &Runner) {
    lines.add(5, format!("- platform: {}", runner.platform));
    lines.add(6, format!("name: {}", runner.name));
    let label = match runner.machine {
        Machine::Amd64 => "ubuntu-24.04",
        Machine::Arm64 => "ubuntu-24.04-arm",
    };
    lines.add(6, format!("runner: {label}"));
    if runner.is_emulated {
        lines.add(6, "emulated: true # GitHub has no machine for it");
    }
}

fn merge(lines: &mut Lines, pipeline: &Pipeline) {
    lines.add(1, "merge:");
    let jobs: Vec<String> = (0..pipeline.levels.len()).map(|at| pipeline.job(at)).collect();
    lines.add(2, format!("needs: [{}]", jobs.join(", ")));
    lines.add(2, format!("if: {TRUSTED}"));
    lines.add(2, "runs-on: ubuntu-24.04");
    environment(lines, pipeline);
    lines.add(2, "steps:");
    checkout(lines, pipeline);
    install(lines, pipeline);
    login(lines, pipeline);
    step(lines, "Fetch the parts", "", "actions/download-artifact@v4");
    lines.all(5, &["pattern: part-*", "path: parts/", "merge-multiple: true"]);
    run(lines, pipeline, "Merge and publish, tags last", "", &pipeline.merge());
    assets(lines, pipeline);
}

/// Secrets that builds ask for by environment variables.
fn environment(lines: &mut Lines, pipeline: &Pipeline) {
    if pipeline.secrets.is_empty() {
        return;
    }
    lines.add(2, "env:");
    for name in &pipeline.secrets {
        lines.add(3, format!("{name}: ${{{{ secrets.{name} }}}}"));
    }
}

fn checkout(lines: &mut Lines, pipeline: &Pipeline) {
    lines.add(3, "- uses: actions/checkout@v4");
    lines.all(
        4,
        &[
            "with:",
            "  fetch-depth: 0 # all tags: which version is the highest?",
            "  persist-credentials: false",
        ],
    );
    if pipeline.options.builder.is_some() {
        lines.add(3, "# A builder does the work: nothing is needed of this machine.");
        return;
    }
    lines.add(3, "# Steps of builds run in user namespaces, which AppArmor keeps from programs it does not know on Ubuntu 24.04.");
    lines.add(3, "# Another engine needs none of this: `mab ci github --builder docker`.");
    lines.add(3, "- name: Let builds make user namespaces");
    lines.add(4, "run: sudo sysctl --quiet --write kernel.apparmor_restrict_unprivileged_userns=0");
}

fn emulator(lines: &mut Lines, condition: Option<&str>) {
    lines.add(3, "- name: Emulate platforms that this machine is not");
    if let Some(condition) = condition {
        lines.add(4, format!("if: {condition}"));
    }
    lines.add(4, "run: sudo apt-get update -qq && sudo apt-get install -qq --yes qemu-user-static");
}

fn install(lines: &mut Lines, pipeline: &Pipeline) {
    if let Some(command) = &pipeline.options.install {
        lines.add(3, "- name: Install mab");
        lines.add(4, format!("run: {}", scalar(command)));
    }
}

fn login(lines: &mut Lines, pipeline: &Pipeline) {
    for host in &pipeline.registries {
        lines.add(3, format!("- name: {}", scalar(&format!("Log in to {host}"))));
        lines.add(4, format!("if: {TRUSTED}"));
        let (user, password) = match host.as_str() {
            "ghcr.io" => ("github.actor", "secrets.GITHUB_TOKEN"),
            _ => ("vars.REGISTRY_USER", "secrets.REGISTRY_PASSWORD"),
        };
        lines.add(4, "env:");
        lines.add(5, format!("REGISTRY_USER: ${{{{ {user} }}}}"));
        lines.add(5, format!("REGISTRY_PASSWORD: ${{{{ {password} }}}}"));
        // Steps that are commands do not see the program that the action brings; Docker is on every runner.
        let program = if pipeline.options.install.is_some() { "mab" } else { "docker" };
        let command = format!(
            r#"printf %s "$REGISTRY_PASSWORD" | {program} login {host} --username "$REGISTRY_USER" --password-stdin"#
        );
        lines.add(4, format!("run: {}", scalar(&command)));
    }
}

/// The action, since steps that are commands do not see what GitHub's cache is asked with.
fn run(lines: &mut Lines, pipeline: &Pipeline, name: &str, condition: &str, command: &str) {
    let options = &pipeline.options;
    let action = match options.source.as_str() {
        "./" => "./".to_string(),
        source => format!("{source}@v{}", options.version),
    };
    step(lines, name, condition, &action);
    lines.add(5, format!("run: {}", scalar(command)));
    if options.install.is_some() {
        lines.add(5, "version: installed");
    }
}

fn step(lines: &mut Lines, name: &str, condition: &str, action: &str) {
    lines.add(3, format!("- name: {}", scalar(name)));
    if !condition.is_empty() {
        lines.add(4, format!("if: {condition}"));
    }
    lines.add(4, format!("uses: {action}"));
    lines.add(4, "with:");
}

/// What outputs wrote, at the release of a tag.
fn assets(lines: &mut Lines, pipeline: &Pipeline) {
    if pipeline.files.is_empty() {
        return;
    }
    lines.add(3, "- name: Attach files to the release of the tag");
    lines.add(4, "if: startsWith(github.ref, 'refs/tags/')");
    lines.all(
        4,
        &["env:", "  GH_TOKEN: ${{ github.token }}", "  GH_REPO: ${{ github.repository }}", "run: |"],
    );
    let paths: Vec<String> = pipeline.files.iter().map(|path| super::lines::word(path)).collect();
    lines.add(5, "mkdir -p \"$RUNNER_TEMP/assets\"");
    lines.add(5, format!("find {} -type f -exec cp -t \"$RUNNER_TEMP/assets\" {{}} +", paths.join(" ")));
    lines.add(5, "cd \"$RUNNER_TEMP/assets\"");
    lines.add(5, "sha256sum -- * > SHA256SUMS");
    lines.add(5, "gh release view \"$GITHUB_REF_NAME\" > /dev/null 2>&1 || gh release create \"$GITHUB_REF_NAME\" --verify-tag --generate-notes");
    lines.add(5, "gh release upload \"$GITHUB_REF_NAME\" --clobber -- *");
}
