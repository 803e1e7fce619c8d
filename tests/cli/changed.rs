//! `--changed`: what differs from a revision is selected with what depends on it, each with its reason.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Project, Ran};

const FILE: &str = r#"
[project]
platforms = ["linux/amd64", "linux/arm64"]

[vars]
go = "1.23"

[group.default]
targets = ["api", "web", "docs", "e2e"]

[target.base]
context = "base"
dockerfile-inline = "FROM scratch\nCOPY files/ /"

[target.api]
context = "api"
contexts = { base = "target:base" }
args = { GO = "{{ vars.go }}" }

[target.web]
context = "web"
contexts = { assets = "assets" }

[target.docs]
context = "docs"

[target.e2e]
needs = ["web"]
dockerfile-inline = "FROM scratch"
"#;

/// A repository with one commit on `main`, and a branch `topic` that is checked out.
fn shop() -> Project {
    let project = Project::of(FILE)
        .file("base/files/motd", "hello")
        .file("base/README.md", "no step takes it")
        .file("api/Dockerfile", "FROM base\nARG GO\nCOPY --exclude=*_test.go src /src\nCOPY go.* /\n")
        .file("api/.dockerignore", "**/*.tmp\n")
        .file("api/src/main.go", "package main")
        .file("api/src/deep/er.go", "package deep")
        .file("api/go.mod", "module api")
        .file(
            "web/Dockerfile",
            "# a comment\nFROM scratch AS unused\nCOPY notes /\nFROM scratch\nCOPY index.html /\n\
             COPY --from=assets /logo.svg /\nRUN --mount=type=bind,source=tools,target=/t true\n",
        )
        .file("web/index.html", "<p>")
        .file("web/tools/build", "#!")
        .file("web/notes/a", "of a stage that is not built")
        .file("assets/logo.svg", "<svg>")
        .file("assets/big.psd", "not taken")
        .file("docs/Dockerfile", "FROM scratch\nCOPY --parents ./pages/**/*.md /\nCOPY link /theme\n")
        .file("docs/pages/one/index.md", "# one")
        .file("docs/pages/one/draft.txt", "not taken")
        .file("docs/theme/dark.css", "body {}")
        .file(".gitignore", "*.log\n");
    std::os::unix::fs::symlink("theme", project.path("docs/link")).expect("the folder is writable");
    git(&project.path(""), &["init", "--quiet", "--initial-branch=main"]);
    commit(&project);
    git(&project.path(""), &["checkout", "--quiet", "-b", "topic"]);
    project
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "protocol.file.allow=always"]).args(arguments).current_dir(folder);
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Test").env(format!("GIT_{who}_EMAIL"), "test@example.com");
    }
    let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().expect("git is installed");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_string()
}

fn commit(project: &Project) {
    git(&project.path(""), &["add", "--all"]);
    git(&project.path(""), &["commit", "--quiet", "--allow-empty", "--message=change"]);
}

fn plan(project: &Project, arguments: &[&str]) -> Ran {
    project.mab(&["plan", "--format", "json"]).with(arguments).run()
}

/// `TARGET: REASON` of all reasons.
#[track_caller]
fn reasons_of(ran: Ran) -> Vec<String> {
    let document: Value = serde_json::from_str(&ran.succeeded().stdout).expect("the plan is JSON");
    let targets = document["changed"]["targets"].as_array().expect("it says what has changed").clone();
    let mut lines = Vec::new();
    for target in &targets {
        for reason in target["reasons"].as_array().expect("reasons") {
            let what =
                ["path", "key", "target"].iter().find_map(|key| reason[key].as_str()).unwrap_or_default();
            let kind = reason["kind"].as_str().expect("a kind");
            lines.push(
                format!("{}: {kind} {what}", target["name"].as_str().expect("a name")).trim_end().to_string(),
            );
        }
    }
    lines
}

#[track_caller]
fn check(change: impl FnOnce(&Project), expected: &[&str]) {
    let project = shop();
    change(&project);
    assert_eq!(reasons_of(plan(&project, &["--changed"])), expected);
}

#[test]
fn only_files_that_steps_reach_count() {
    check(|_| {}, &[]);
    check(|p| p.write("api/src/deep/er.go", "x"), &["api: file api/src/deep/er.go"]);
    check(|p| p.write("api/src/main_test.go", "excluded"), &[]);
    check(|p| p.write("api/src/scratch.tmp", "ignored"), &[]);
    check(|p| p.write("api/src/build.log", "ignored by git"), &[]);
    check(|p| p.write("api/other", "no step takes it"), &[]);
    check(|p| p.write("api/go.sum", "untracked, by a pattern"), &["api: file api/go.sum"]);
    check(|p| p.write("web/notes/a", "of a stage that is not built"), &[]);
    check(|p| p.write("assets/big.psd", "x"), &[]);
    check(|p| p.write("assets/logo.svg", "x"), &["web: file assets/logo.svg", "e2e: needs web"]);
    check(|p| p.write("web/tools/build", "x"), &["web: file web/tools/build", "e2e: needs web"]);
    check(|p| p.write("docs/pages/one/index.md", "x"), &["docs: file docs/pages/one/index.md"]);
    check(|p| p.write("docs/pages/one/draft.txt", "x"), &[]);
    check(|p| p.write("docs/theme/dark.css", "behind a link"), &["docs: file docs/theme/dark.css"]);
    check(|p| p.write("README.md", "of no context"), &[]);
}

#[test]
fn files_that_are_gone_or_moved_count() {
    let remove = |p: &Project, path: &str| std::fs::remove_file(p.path(path)).unwrap();
    check(|p| remove(p, "api/src/main.go"), &["api: file api/src/main.go"]);
    check(
        |p| {
            git(&p.path(""), &["mv", "api/src/main.go", "api/src/moved.go"]);
            commit(p);
        },
        &["api: file api/src/main.go", "api: file api/src/moved.go"],
    );
    check(|p| remove(p, "api/.dockerignore"), &["api: ignore-file api/.dockerignore"]);
}

#[test]
fn what_builds_on_a_changed_target_has_changed() {
    let expected = ["api: builds-on base", "base: file base/files/motd"];
    check(|p| p.write("base/files/motd", "x"), &expected);
    check(|p| p.write("base/README.md", "x"), &[]);
}

#[test]
fn dockerfiles_count_as_far_as_the_target_uses_them() {
    check(|p| p.edit("web/Dockerfile", "# a comment", "# another comment"), &[]);
    check(|p| p.edit("web/Dockerfile", "COPY notes /", "COPY notes /n"), &[]);
    check(
        |p| p.edit("web/Dockerfile", "COPY index.html /", "COPY index.html /srv/"),
        &["web: dockerfile web/Dockerfile", "e2e: needs web"],
    );
    check(|p| p.edit("api/Dockerfile", "ARG GO", "ARG GO\nENV GO=$GO"), &["api: dockerfile api/Dockerfile"]);
}

#[test]
fn values_of_the_build_file_count_by_what_they_come_to() {
    check(|p| p.edit("multiarch.toml", "1.23", "1.24"), &["api: value args.GO"]);
    check(|p| p.edit("multiarch.toml", "[vars]", "# a comment\n[vars]\nunused = 1"), &[]);
    check(
        |p| p.edit("multiarch.toml", "[target.docs]", "[target.docs]\ntags = [\"r.example/docs:1\"]"),
        &["docs: value tags"],
    );
    check(
        |p| {
            p.edit("multiarch.toml", "\"docs\", ", "\"docs\", \"new\", ");
            p.edit(
                "multiarch.toml",
                "[target.e2e]",
                "[target.new]\ndockerfile-inline = \"FROM scratch\"\n[target.e2e]",
            );
        },
        &["new: new"],
    );
}

#[test]
fn revisions_are_named_or_found() {
    let project = shop();
    project.write("api/src/main.go", "one");
    commit(&project);
    project.write("docs/theme/dark.css", "two");
    commit(&project);
    let names = |arguments: &[&str]| reasons_of(plan(&project, arguments)).len();
    assert_eq!(names(&["--changed"]), 2, "since the branch left main");
    assert_eq!(names(&["--changed=HEAD^"]), 1);
    assert_eq!(names(&["--changed=HEAD"]), 0);
    assert_eq!(names(&["--changed=main", "docs"]), 1, "of what is named");
    let ran = project.mab(&["plan", "--changed=HEAD^"]).run().succeeded();
    assert!(ran.stdout.contains("docs  docs/theme/dark.css"), "{}", ran.stdout);
    assert!(ran.stdout.contains("merge docs") && !ran.stdout.contains("merge api"), "{}", ran.stdout);
    let ran = project.mab(&["plan", "--changed=absent"]).run().failed(2);
    assert!(ran.stderr.contains("there is no revision `absent`"), "{}", ran.stderr);
    let plain = Project::of("[target.default]\ndockerfile-inline = \"FROM scratch\"\n");
    plain.mab(&["plan", "--changed"]).run().failed(2).says("not a git repository");
}

#[test]
fn a_bake_says_why_and_does_no_more() {
    let project = shop();
    project
        .mab(&["bake", "--changed"])
        .run()
        .succeeded()
        .says("nothing has changed since the merge base with main");
    project.write("docs/theme/dark.css", "x");
    let output = ["bake", "--changed", "-o", "type=cacheonly"];
    let ran = project.mab(&output).run().succeeded().says("docs  docs/theme/dark.css");
    assert!(ran.stderr.contains("1 image"), "{}", ran.stderr);
}

#[test]
fn of_what_has_changed_some_can_be_named() {
    let project = shop();
    project.write("web/index.html", "<p>new");
    project.write("docs/pages/one/index.md", "# two");
    let bake = |only: &str| {
        let words = ["bake", "--changed", "--only", only, "-o", "type=cacheonly", "--progress", "plain"];
        project.mab(&words).run()
    };
    // One that has not changed is left out as any other; one that is not there is a mistake.
    for only in ["docs", "api,docs"] {
        bake(only).succeeded().says("docs for linux/amd64, linux/arm64: ").says(": 1 image");
    }
    let ran = bake("dosc").failed(2);
    ran.says("`--only dosc` is none of the targets that are baked").says("did you mean `docs`?");
    let ran = bake("docs,base").failed(2);
    ran.says("`--only base` is none of the targets that are baked").says("they are: api, docs, e2e, web");
}

#[test]
fn work_trees_and_submodules_are_like_others() {
    let project = shop();
    let library = Project::new().file("lib.go", "package lib");
    git(&library.path(""), &["init", "--quiet", "--initial-branch=main"]);
    commit(&library);
    let url = library.path("").display().to_string();
    git(&project.path(""), &["submodule", "--quiet", "add", &url, "api/src/vendor"]);
    commit(&project);
    let tree = project.folder().join("work/elsewhere");
    git(&project.path(""), &["worktree", "add", "--quiet", "-b", "other", tree.to_str().unwrap()]);
    std::fs::write(tree.join("web/index.html"), "x").unwrap();
    let reasons = reasons_of(plan(&project, &["--changed=HEAD", "-f", "elsewhere/multiarch.toml"]));
    assert_eq!(reasons, ["web: file web/index.html", "e2e: needs web"]);

    project.write("api/src/vendor/lib.go", "dirty");
    assert_eq!(reasons_of(plan(&project, &["--changed=HEAD", "api"])), ["api: file api/src/vendor"]);
}

#[test]
fn a_shallow_clone_says_what_to_fetch() {
    let project = shop();
    project.write("api/src/main.go", "one");
    commit(&project);
    git(&project.path(""), &["checkout", "--quiet", "main"]);
    let clone = Project::new();
    let from = format!("file://{}", project.path("").display());
    git(
        clone.folder(),
        &["clone", "--quiet", "--depth=1", "--no-single-branch", "--branch=topic", &from, "work/clone"],
    );
    let ran = plan(&clone, &["-f", "clone/multiarch.toml", "--changed"]).failed(2);
    assert!(
        ran.stderr.contains("git fetch --unshallow origin +refs/heads/main:refs/remotes/origin/main"),
        "{}",
        ran.stderr
    );
    let ran = plan(&clone, &["-f", "clone/multiarch.toml", "--changed=HEAD^"]).failed(2);
    assert!(ran.stderr.contains("the clone is shallow"), "{}", ran.stderr);
    assert_eq!(
        reasons_of(plan(&clone, &["-f", "clone/multiarch.toml", "--changed=origin/main"])),
        ["api: file api/src/main.go"]
    );
}

#[test]
fn bake_files_are_compared_as_well() {
    let text = "target \"default\" {\n  args = { A = \"1\" }\n  dockerfile-inline = \"FROM scratch\\nCOPY a /\"\n}\n";
    let project = Project::new().file("docker-bake.hcl", text).file("a", "1").file("b", "1");
    git(&project.path(""), &["init", "--quiet", "--initial-branch=main"]);
    commit(&project);
    project.write("b", "2");
    assert_eq!(reasons_of(plan(&project, &["--changed"])), [""; 0]);
    project.write("a", "2");
    assert_eq!(reasons_of(plan(&project, &["--changed"])), ["default: file a"]);
    git(&project.path(""), &["checkout", "--quiet", "a"]);
    project.edit("docker-bake.hcl", "A = \"1\"", "A = \"2\"");
    assert_eq!(reasons_of(plan(&project, &["--changed"])), ["default: value args.A"]);
}

#[test]
fn triggers_of_bases_are_steps_as_well() {
    const FILE: &str = "[project]\nplatforms = [\"linux/amd64\"]\n\
        [group.default]\ntargets = [\"app\", \"site\"]\n\
        [target.base]\ncontext = \"base\"\n\
        dockerfile-inline = \"FROM scratch\\nONBUILD COPY package.json /\\nONBUILD ADD public /srv\"\n\
        [target.app]\ncontext = \"app\"\ncontexts = { base = \"target:base\" }\n\
        dockerfile-inline = \"FROM base\\nCOPY src /src\"\n\
        [target.site]\ncontext = \"site\"\n\
        dockerfile-inline = \"FROM 127.0.0.1:9/nobody/knows\\nCOPY src /src\"\n";
    let project =
        Project::of(FILE).file("app/package.json", "{}").file("app/src/a", "").file("app/other", "");
    let project =
        project.file("app/public/a", "").file("site/src/a", "").file("site/other", "").file("base/x", "");
    git(&project.path(""), &["init", "--quiet", "--initial-branch=main"]);
    commit(&project);
    let changed = |path: &str, expected: &[&str]| {
        project.write(path, "x");
        assert_eq!(reasons_of(plan(&project, &["--changed", "--offline"])), expected, "{path}");
        git(&project.path(""), &["checkout", "--quiet", "."]);
    };
    changed("app/package.json", &["app: file app/package.json"]);
    changed("app/public/a", &["app: file app/public/a"]);
    changed("app/other", &[]);
    changed("site/other", &["site: triggers site/other"]);
    project.write("site/other", "x");
    let ran = project.mab(&["plan", "--changed", "--offline"]).run().succeeded();
    let words = "site  site/other (`127.0.0.1:9/nobody/knows` is not known, and may have ONBUILD triggers)";
    assert!(ran.stdout.contains(words), "{}", ran.stdout);
}

#[test]
fn files_that_git_ignores_are_named_where_they_are_taken() {
    let project = shop();
    project.write("api/src/build.log", "x");
    project.write("web/debug.log", "no step takes it");
    let ran = project.mab(&["plan", "--changed"]).run().succeeded();
    let words = "not compared, since git ignores it:\n  api  takes api/src/build.log\n";
    assert!(ran.stdout.ends_with(words), "{}", ran.stdout);
    let document: Value = serde_json::from_str(&plan(&project, &["--changed"]).stdout).expect("it is JSON");
    let expected = serde_json::json!([{ "name": "api", "paths": ["api/src/build.log"] }]);
    assert_eq!(document["changed"]["uncompared"], expected);
}
