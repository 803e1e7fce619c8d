//! Pipelines that are written for CI systems: to the letter, valid, and never over what somebody wrote.

use std::fs;

use saphyr_parser::{Parser, StrInput};

use crate::support::{Project, Ran, repository};

const SYSTEMS: [&str; 4] = ["github", "gitlab", "tekton", "circleci"];

fn project() -> Project {
    let corpus = repository().join("tests/corpus/ci/multiarch.toml");
    Project::of(&fs::read_to_string(corpus).expect("the corpus has a build file"))
}

fn ci(project: &Project, arguments: &[&str]) -> Ran {
    project.mab(&["ci"]).with(arguments).with(&["--source", "example/mab"]).run()
}

/// That it is YAML, and what the corpus says. `MAB_BLESS=1` writes that.
fn check(name: &str, actual: &str) {
    let events = Parser::new(StrInput::new(actual)).collect::<Result<Vec<_>, _>>();
    assert!(events.is_ok(), "{name}: {:?}\n{actual}", events.err());
    let path = repository().join("tests/corpus/ci").join(name);
    if std::env::var_os("MAB_BLESS").is_some() {
        fs::write(&path, actual).expect("the repository is writable");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{name} differs; MAB_BLESS=1 accepts it");
}

#[test]
fn pipelines_are_written_to_the_letter() {
    let project = project();
    for system in SYSTEMS {
        let split = ci(&project, &[system, "release", "--split", "--output", "-"]).succeeded();
        check(&format!("{system}-split.yml"), &split.stdout);
        let whole = ci(&project, &[system, "release", "--builder", "farm", "--output", "-"]).succeeded();
        check(&format!("{system}-builder.yml"), &whole.stdout);
        let files =
            ci(&project, &[system, "files", "--split", "--install", "cargo install mab", "--output", "-"]);
        check(&format!("{system}-files.yml"), &files.succeeded().stdout);
    }
}

/// The messages of a command that failed.
fn said(ran: Ran) -> Vec<String> {
    let lines = ran.failed(2).stderr;
    lines.lines().filter_map(|line| line.trim().strip_prefix("× ").map(str::to_string)).collect()
}

#[test]
fn hand_edits_are_never_replaced_by_surprise() {
    let project = project();
    let path = ".github/workflows/mab.yml";
    let run = |more: &[&str]| ci(&project, &[&["github", "release"], more].concat());
    assert_eq!(said(run(&["--check"])), [format!("there is no `{path}`")]);
    assert_eq!(run(&[]).succeeded().stdout, format!("wrote {path}\n"));
    assert_eq!(run(&[]).succeeded().stdout, format!("is up to date: {path}\n"));
    run(&["--check"]).succeeded();
    // The build file changes.
    project.edit("multiarch.toml", "default-branch = \"trunk\"", "default-branch = \"main\"");
    let stale = run(&["--check"]);
    assert!(
        stale.stderr.contains("-    branches: [trunk]") && stale.stderr.contains("+    branches: [main]"),
        "{}",
        stale.stderr
    );
    assert_eq!(said(stale), [format!("`{path}` does not say what the build file says")]);
    assert_eq!(run(&[]).succeeded().stdout, format!("wrote {path}\n"));
    // Hands change the pipeline.
    project.edit(path, "ubuntu-24.04", "our-own");
    let edited = [format!("`{path}` was written or changed by hand")];
    assert_eq!(said(run(&["--check"])), edited);
    assert_eq!(said(run(&[])), edited);
    assert!(project.read(path).contains("our-own"));
    run(&["--force"]).succeeded();
    assert!(!project.read(path).contains("our-own"));
    project.write(".gitlab-ci.yml", "test: {script: make}\n");
    assert_eq!(
        said(ci(&project, &["gitlab", "release"])),
        ["`.gitlab-ci.yml` was written or changed by hand"]
    );
    assert_eq!(project.read(".gitlab-ci.yml"), "test: {script: make}\n");
}

#[test]
fn what_a_pipeline_needs_is_asked_for() {
    let project = project();
    let asked = |arguments: &[&str]| said(project.mab(&["ci"]).with(arguments).run());
    assert_eq!(asked(&["gitlab", "release"]), ["this build of mab does not know where its releases are"]);
    assert_eq!(
        asked(&["gitlab", "--source", "x/y; rm"]),
        ["`x/y; rm` is no repository: `OWNER/REPO`, or `./`"]
    );
}

/// The repository's own: `packaging/multiarch.toml` says what it is made from.
#[test]
fn the_release_pipeline_is_fresh() {
    let arguments = [
        "ci",
        "github",
        "binaries",
        "-f",
        "packaging/multiarch.toml",
        "--split",
        "--source",
        "./",
        "--install",
        "cargo install --locked --path .",
        "--output",
        ".github/workflows/release.yml",
        "--check",
    ];
    let scratch = Project::new();
    let mut command = scratch.mab(&arguments).command();
    let ran = command.current_dir(repository()).output().expect("mab runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// The action, as a runner starts it, against a release on loopback.
#[test]
fn the_action_installs_and_runs_a_release() {
    let node = std::process::Command::new("node").arg("--version").output();
    if !node.is_ok_and(|node| node.status.success()) {
        return crate::support::skip("the action of GitHub, which needs node");
    }
    let ran =
        std::process::Command::new("node").args(["--test", "action/"]).current_dir(repository()).output();
    let ran = ran.expect("node ran a moment ago");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
}
