//! Pipelines that are written for CI systems: to the letter, valid, and never over what somebody wrote.

use std::fs;

use saphyr_parser::{Parser, StrInput};

use crate::support::{Project, Ran, Registry, repository};

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

#[test]
fn a_pipeline_that_publishes_nothing_is_told_of() {
    let project = project();
    for more in [&["--output", "-"][..], &[], &[], &["--check"]] {
        let ran = ci(&project, &[&["gitlab", "api"], more].concat()).succeeded();
        ran.says("the pipeline builds `api` and publishes nothing: none is pushed, and none writes a file");
    }
    ci(&project, &["github", "release"]).succeeded().does_not_say("publishes nothing");
}

/// What a group requires of releases is not required of pull requests, nor of whoever writes the pipeline.
#[test]
fn a_pipeline_of_releases_that_need_a_tag_releases_tags() {
    let project = Project::of(
        "[project]\nplatforms = [\"linux/amd64\"]\nimage = \"registry.example/{{ target.name }}\"\n\
         [group.release]\ntargets = [\"inner\"]\npush = true\n[group.inner]\ntargets = [\"app\"]\nrequire = [\"tag\"]\n\
         [target.app]\ntags = [\"1.4.0\"]\ndockerfile-inline = \"FROM scratch\\nCOPY content /\"\n",
    )
    .file("content", "x");
    project.git(&["init", "-q", "-b", "main"]);
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "all"]);
    let written = |system: &str, more: &[&str]| {
        ci(&project, &[&[system, "release", "--output", "-"], more].concat()).succeeded().stdout
    };
    for more in [&[][..], &["--split"]] {
        let github = written("github", more);
        assert!(
            github.contains("on:\n  push:\n    tags: [\"v*\", \"[0-9]*\"]\n  pull_request:\n"),
            "{github}"
        );
        let gitlab = written("gitlab", more);
        assert!(
            gitlab.contains("- if: $CI_COMMIT_TAG =~ /^(v|[0-9])/\n")
                && !gitlab.contains("CI_DEFAULT_BRANCH"),
            "{gitlab}"
        );
        let circleci = written("circleci", more);
        assert!(
            circleci.contains("filters: {branches: {ignore: /.*/}, tags: {only: \"/^(v|[0-9]).*/\"}}"),
            "{circleci}"
        );
        let tekton = written("tekton", more);
        assert!(
            tekton.contains("on-event: \"[push]\"\n")
                && tekton.contains("on-target-branch: \"[refs/tags/v*, refs/tags/[0-9]*]\"\n"),
            "{tekton}"
        );
        for text in [github, gitlab, circleci, tekton] {
            let tried: Vec<&str> = text.lines().filter(|line| line.contains("*.push=false")).collect();
            assert!(!tried.is_empty() && tried.iter().all(|line| line.contains("bake app ")), "{text}");
        }
    }
    // The command of the job for a pull request, and that of the release.
    project.mab(&["bake", "app", "--set", "*.push=false"]).run().succeeded();
    project.mab(&["plan", "release"]).run().succeeded();
    project
        .mab(&["bake", "release"])
        .run()
        .failed(2)
        .says("group `inner` requires `tag`, but no tag points at HEAD");
}

/// One of the documents of a file.
fn document(text: &str, kind: &str, name: &str) -> String {
    let head = format!("kind: {kind}\nmetadata:\n  {name}\n");
    let found = text.split("---\n").find(|document| document.contains(&head));
    found.unwrap_or_else(|| panic!("there is no {kind} with {name} in\n{text}")).to_string()
}

/// A pull request gets nothing that it could publish with, and says nothing that would.
#[test]
fn a_pull_request_is_tried_by_tekton_without_means_to_publish() {
    let project = project();
    for more in [&["release"][..], &["release", "--split"], &["files"], &["files", "--split"]] {
        let text = ci(&project, &[&["tekton"], more, &["--output", "-"]].concat()).succeeded().stdout;
        let (order, run) = (
            document(&text, "Pipeline", "name: mab-try"),
            document(&text, "PipelineRun", "generateName: mab-try-"),
        );
        let commands: Vec<&str> = order.lines().filter(|line| line.contains("{name: command, ")).collect();
        assert!(!commands.is_empty(), "{order}");
        assert!(
            commands.iter().all(|line| line.contains("bake ") && line.contains("*.push=false")),
            "{order}"
        );
        for (part, text) in [("order", &order), ("run", &run)] {
            for means in ["docker-config", "parts", "{name: files", "merge"] {
                assert!(!text.contains(means), "{means} in the {part} of {more:?}:\n{text}");
            }
        }
        assert!(run.contains("on-event: \"[pull_request]\"") && run.contains("{{ source_url }}"), "{run}");
        let released = document(&text, "PipelineRun", "generateName: mab-");
        assert!(released.contains("on-event: \"[push]\""), "{released}");
        // A secret that nobody needs is not asked for, since pods wait for it.
        let pushes = more[0] == "release";
        assert_eq!(released.contains("docker-config"), pushes, "{released}");
        assert_eq!(released.contains("volumeClaimTemplate"), more != ["release"], "{released}");
    }
}

/// Machines of both levels, one after the other, as the pipeline has them; layers go to the registry and in no part.
#[test]
fn a_pipeline_of_two_levels_does_what_one_machine_does() {
    let Some(registry) = Registry::of_this_run() else { return };
    let (image, cache) = (registry.repository("levels"), registry.repository("cache"));
    let project = Project::of(&format!(
        "[project]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\nimage = \"{image}/{{{{ target.name }}}}\"\n\
         [cache.ci]\ntype = \"registry\"\nref = \"{cache}\"\n\
         [group.release]\ntargets = [\"base\", \"api\"]\npush = true\nrequire = [\"clean\"]\n\
         output = [\"type=image,compression=zstd,force-compression=true,push=true\"]\ntags = [\"1.5.0\"]\n\
         annotations = [\"of=group\"]\n[group.tools]\ntargets = [\"tool\"]\n\
         [target._all]\ncache = [\"ci\"]\ntags = [\"1.4.0\"]\n\
         [target.base]\ninherits = [\"_all\"]\ndockerfile-inline = \"FROM scratch\\nCOPY content /base\"\n\
         [target.api]\ninherits = [\"_all\"]\ncontexts = {{ base = \"target:base\" }}\n\
         dockerfile-inline = \"FROM base\\nCOPY content /api\"\n\
         [target.tool]\ninherits = [\"_all\"]\ncontexts = {{ base = \"target:base\" }}\n\
         dockerfile-inline = \"FROM base\\nCOPY content /tool\"\n"
    ))
    .file("content", "what is in it");
    let text = ci(&project, &["tekton", "release", "tools", "--split", "--output", "-"]).succeeded().stdout;
    let text = document(&text, "Pipeline", "name: mab");
    let commands = text.lines().filter_map(|line| line.trim().strip_prefix("- {name: command, value: "));
    let commands: Vec<String> =
        commands.map(|value| serde_json::from_str(value.trim_end_matches('}')).expect("a text")).collect();
    assert_eq!(
        commands,
        [
            "bake release tools --only base --platform linux/amd64 --part parts/",
            "bake release tools --only base --platform linux/arm64 --part parts/",
            "bake release tools --only api,tool --platform linux/amd64 --part parts/",
            "bake release tools --only api,tool --platform linux/arm64 --part parts/",
            "merge release tools parts/",
        ]
    );
    project.write(".gitignore", "parts/");
    project.git(&["init", "-q", "-b", "main"]);
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "all"]);
    let run = |command: &String| project.mab(&command.split(' ').collect::<Vec<_>>()).run();
    // What a group requires it requires of every machine.
    project.write("content", "not committed");
    for command in &commands {
        run(command).failed(2).says("group `release` requires `clean`, but tracked files differ");
    }
    project.write("content", "what is in it");
    for command in &commands {
        run(command).succeeded();
    }
    // Layers are as the group has them from the machine that built them on: nobody has to make them again.
    let (_, index) = registry.index(&format!("{image}/api"), "1.5.0");
    let digest = index.manifests()[0].digest().to_string();
    let path = format!("{}/manifests/{digest}", registry.url_path(&format!("{image}/api")));
    let manifest: serde_json::Value = serde_json::from_slice(&registry.get(&path).body).expect("it is JSON");
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+zstd");
    assert_eq!(manifest["annotations"]["of"], "group");
    for target in ["base", "api"] {
        let image = registry.image(&format!("{image}/{target}"), "1.5.0", "arm64");
        assert_eq!(image.text(target), "what is in it");
    }
    // What is pushed has its layers in the registry; what is not has them in the part.
    let mut carried: Vec<(String, bool)> = Vec::new();
    for part in fs::read_dir(project.path("parts")).expect("parts were written") {
        let part = fs::read_to_string(part.expect("a part is readable").path().join("part.json"));
        let part: serde_json::Value =
            serde_json::from_str(&part.expect("a part has it")).expect("it is JSON");
        for image in part["images"].as_array().expect("a list") {
            let target = image["target"].as_str().expect("a name").to_string();
            carried.push((target, image.get("repositories").is_none()));
        }
    }
    carried.sort_unstable();
    let expected =
        [("api", false), ("api", false), ("base", false), ("base", false), ("tool", true), ("tool", true)];
    assert_eq!(carried, expected.map(|(target, is_carried)| (target.to_string(), is_carried)));
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
