//! Why something is built: what `--explain` says of hits and misses.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::Value;

use crate::support::{Project, Registry};

const FILE: &str = "[target.api]\ncontext = \"services/api\"\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n\
                    args = { VERSION = \"1.2\" }\n";

/// A service with files, whose image says its version.
fn service() -> Project {
    let dockerfile =
        "FROM scratch\nARG VERSION\nENV V=$VERSION\nCOPY main.go go.mod /src/\nCOPY assets /assets\n";
    Project::of(FILE)
        .file("services/api/Dockerfile", dockerfile)
        .file("services/api/main.go", "one")
        .file("services/api/go.mod", "mod")
        .file("services/api/assets/logo", "logo")
        .file("services/api/assets/deep/icon", "icon")
        .file("services/api/unrelated", "x")
}

/// What `mab plan --explain` says, by node.
fn planned(project: &Project) -> Vec<String> {
    let text = project.mab(&["plan", "api", "--explain"]).run().succeeded().stdout;
    text.lines().map(str::to_string).collect()
}

/// The same of both platforms, when both say one thing.
#[track_caller]
fn check(project: &Project, expected: &str) {
    for platform in ["linux/amd64", "linux/arm64"] {
        let line = format!("api {platform}: {expected}");
        assert!(planned(project).contains(&line), "{line}\n{:#?}", planned(project));
    }
    // A bake says the same, and from then on compares with itself.
    let said = project.bake(&["api", "--explain"]);
    for platform in ["linux/amd64", "linux/arm64"] {
        let line = format!("[api {platform}] {expected}");
        assert!(said.stderr.lines().any(|said| said == line), "{line}\n{}", said.stderr);
    }
}

#[test]
fn a_miss_names_what_changed() {
    let project = service();
    check(&project, "miss: no earlier run is known");
    assert!(
        planned(&project).iter().all(|line| line.contains(": hit: this store, made ")),
        "{:?}",
        planned(&project)
    );
    project.write("services/api/unrelated", "y");
    project.bake(&["api", "--explain"]).says("hit: this store, made ").says("nothing had to be done");

    project.write("services/api/main.go", "other");
    check(&project, "miss: services/api/main.go changed");
    project.edit("multiarch.toml", "1.2", "1.3");
    project.write("services/api/assets/new/file", "n");
    fs::remove_file(project.path("services/api/assets/logo")).unwrap();
    check(
        &project,
        "miss: services/api/assets/logo removed, services/api/assets/new/file added, env V changed (1.2 → 1.3)",
    );
    let icon = project.path("services/api/assets/deep/icon");
    fs::set_permissions(&icon, fs::Permissions::from_mode(0o755)).unwrap();
    check(&project, "miss: services/api/assets/deep/icon changed (mode 644 → mode 755)");
    fs::remove_file(&icon).unwrap();
    symlink("../new/file", &icon).unwrap();
    check(&project, "miss: services/api/assets/deep/icon changed (file → link)");
    project.edit("services/api/Dockerfile", "COPY assets", "LABEL a=b\nCOPY assets");
    check(&project, "miss: label a added");
    project.edit("services/api/Dockerfile", "COPY main.go go.mod /src/", "COPY main.go /src/");
    check(&project, "miss: services/api/go.mod removed, `COPY main.go /src/` changed");
    project.write("services/api/.dockerignore", "assets/new\n");
    check(&project, "miss: services/api/assets/new/file removed");
    project.edit("services/api/Dockerfile", "COPY assets /assets\n", "");
    check(&project, "miss: `COPY assets /assets` removed");
}

#[test]
fn the_last_run_is_compared_with_also_when_it_was_a_hit() {
    let project = service();
    project.bake(&["api"]);
    project.write("services/api/main.go", "two");
    project.bake(&["api"]);
    project.write("services/api/main.go", "one");
    project.bake(&["api"]).says("nothing had to be done");
    project.write("services/api/go.mod", "other");
    check(&project, "miss: services/api/go.mod changed");
}

#[test]
fn secrets_are_not_shown() {
    let dockerfile = "FROM scratch\nARG API_TOKEN\nENV T=$API_TOKEN API_TOKEN=$API_TOKEN\nCOPY file /\n";
    let project =
        Project::of("[target.api]\nplatforms = [\"linux/amd64\"]\nargs = { API_TOKEN = \"hunter-1\" }\n")
            .file("Dockerfile", dockerfile)
            .file("file", "x");
    project.edit("Dockerfile", " T=$API_TOKEN", "");
    project.bake(&["api"]);
    project.edit("multiarch.toml", "hunter-1", "hunter-2");
    let said = project.mab(&["plan", "api", "--explain"]).run().succeeded().stdout;
    assert_eq!(said, "api linux/amd64: miss: arg API_TOKEN changed\n");
    let said = project.mab(&["plan", "api", "--explain", "--format", "json"]).run().succeeded().stdout;
    assert!(!said.contains("hunter"), "{said}");
}

#[test]
fn programs_are_told_as_well() {
    let project = service();
    project.bake(&["api"]);
    project.edit("multiarch.toml", "1.2", "1.3");
    let text = project.mab(&["plan", "api", "--explain", "--format", "json"]).run().succeeded().stdout;
    let json: Value = serde_json::from_str(&text).unwrap();
    let node = &json["nodes"][0];
    assert_eq!((node["name"].as_str(), node["kind"].as_str()), (Some("api"), Some("build")));
    let explanation = &node["explanation"];
    assert_eq!(
        (explanation["verdict"].as_str(), explanation["nearest"].as_str()),
        (Some("miss"), Some("own"))
    );
    let expected =
        serde_json::json!([{ "part": "env", "name": "V", "change": "changed", "old": "1.2", "new": "1.3" }]);
    assert_eq!(explanation["reasons"], expected);
    project.mab(&["plan", "api", "--explain", "--format", "dot"]).run().failed(2).says("text or JSON");

    let said = project.bake(&["api", "--explain", "--progress", "json"]).stderr;
    let explained: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "explained")
        .collect();
    assert_eq!(explained.len(), 2, "{said}");
    assert_eq!(explained[0]["explanation"]["reasons"], expected);
}

#[test]
fn bases_and_targets_are_explained() {
    let Some(registry) = Registry::of_this_run() else { return };
    let image = format!("{}:1", registry.repository("base"));
    let publish = |text: &str| {
        Project::of(&format!(
            "[target.base]\nplatforms = [\"linux/amd64\"]\ntags = [\"{image}\"]\n\
             dockerfile-inline = \"FROM scratch\\nCOPY version /\\n\"\n"
        ))
        .file("version", text)
        .bake(&["base", "--push"]);
    };
    publish("one");
    let project = Project::of(&format!(
        "[target.common]\nplatforms = [\"linux/amd64\"]\ndockerfile-inline = \"FROM {image}\\nCOPY file /\\n\"\n\
         [target.app]\nplatforms = [\"linux/amd64\"]\ncontexts = {{ common = \"target:common\" }}\n\
         dockerfile-inline = \"FROM common\\nCOPY other /\\n\"\n"
    ))
    .file("file", "x")
    .file("other", "y");
    let explained = || project.mab(&["plan", "app", "--explain"]).run().succeeded().stdout;
    let first = explained();
    assert!(
        first.contains(&format!("resolve {image}: `{}` says linux/amd64 is sha256:", registry.address)),
        "{first}"
    );
    assert!(first.contains("common linux/amd64: miss: no earlier run is known\n"), "{first}");
    assert!(
        first.contains("app linux/amd64: open: not to be known before common linux/amd64 is built\n"),
        "{first}"
    );
    project.bake(&["app"]);
    project.mab(&["lock"]).run().succeeded();
    let hits = explained();
    assert_eq!(hits.matches(": hit: this store").count(), 2, "{hits}");
    assert!(hits.contains("`multiarch.lock` says linux/amd64 is"), "{hits}");
    publish("two");
    project.mab(&["lock", "--update"]).run().succeeded();
    let moved = project.bake(&["app", "--explain"]).stderr;
    assert!(moved.contains(&format!("[common linux/amd64] miss: base {image} changed (sha256:")), "{moved}");
    assert!(moved.contains("[app linux/amd64] miss: base common changed (sha256:"), "{moved}");
    project.bake(&["app", "--explain", "--no-cache"]).says("miss: `no-cache` is asked for");
}

#[test]
fn another_run_is_compared_with_where_there_is_no_own() {
    let project = service();
    project.bake(&["api"]);
    project.edit("multiarch.toml", "target.api", "target.web");
    project.edit("multiarch.toml", "1.2", "1.3");
    let said = project.mab(&["plan", "web", "--explain"]).run().succeeded().stdout;
    assert!(
        said.contains("web linux/amd64: miss: nothing is known of an earlier run; unlike api linux/"),
        "{said}"
    );
    // Files that are damaged or gone are a miss, too, and told as what they are.
    project.edit("multiarch.toml", "target.web", "target.api");
    project.edit("multiarch.toml", "1.3", "1.2");
    for blob in fs::read_dir(project.store().join("blobs/sha256")).unwrap() {
        fs::remove_file(blob.unwrap().path()).unwrap();
    }
    check(&project, "miss: the store has lost the earlier image");
}
