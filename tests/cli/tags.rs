//! `mab tags`, and bakes of targets whose tags are made by rules.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::project::copy_tree;
use crate::support::{Layout, Project, Registry, repository};

/// One target for two platforms that needs no base.
const FILE: &str = r#"
[project]
platforms = ["linux/amd64", "linux/arm64"]
[target.default]
image = "IMAGE"
dockerfile-inline = "FROM scratch\nCOPY multiarch.toml /"
tag-rules = ["type=semver,pattern={{version}}", "type=semver,pattern={{major}}", { ref = "branch" }]
args = { VERSION = "{{ target.version }}" }
"#;

fn committed(project: &Project) {
    project.git(&["init", "-q", "-b", "main"]);
    project.git(&["add", "."]);
    project.git(&["commit", "-q", "-m", "one"]);
}

/// What `mab tags --json` says.
fn told(project: &Project, arguments: &[&str]) -> Value {
    let ran = project.mab(&["tags", "--json"]).with(arguments).run().succeeded();
    serde_json::from_str(&ran.stdout).expect("it is JSON")
}

#[test]
fn the_example_is_called_as_it_says() {
    let project = Project::new();
    copy_tree(&repository().join("examples/release"), &project.path("."));
    committed(&project);
    let names = |arguments: &[&str]| {
        let told = told(&project, arguments);
        ["api", "web"].map(|target| {
            let names = told["targets"][target]["tag-names"].as_array().expect("a list").iter();
            names.map(|name| name.as_str().expect("a text").to_string()).collect::<Vec<_>>().join(" ")
        })
    };
    let sha =
        Command::new("git").arg("-C").arg(project.path(".")).args(["rev-parse", "HEAD"]).output().unwrap();
    let sha = format!("sha-{}", &String::from_utf8(sha.stdout).unwrap()[..7]);
    assert_eq!(names(&["release"]), ["main".to_string(), "main-static".to_string()]);
    assert_eq!(names(&[]), ["", ""], "only the group has rules");
    project.git(&["tag", "api/v1.2.3"]);
    assert_eq!(names(&["release"]), ["1.2.3 1.2 1 main latest".to_string(), "main-static".to_string()]);
    project.git(&["tag", "api/v1.3.0"]);
    let backport = names(&["release", "--fact", "tag=api/v1.2.3"]);
    assert_eq!(backport, [format!("1.2.3 1.2 {sha}"), format!("{sha}-static")]);
    let pull = names(&["release", "--fact", "pull-request=7"]);
    assert_eq!(pull, [format!("pr-7 {sha}"), format!("pr-7-static {sha}-static")]);
    let nightly = ["release", "--fact", "event=schedule", "--fact", "branch=main", "--now", "2026-03-01"];
    let nightly = names(&nightly);
    assert_eq!(nightly[0], "nightly-20260301 main");
    project.bake(&["release", "--fact", "tag=web/v2.0.0", "-o", "type=oci,dest=out,tar=false", "web"]);
    let index: Value = serde_json::from_str(&project.read("out/index.json")).unwrap();
    let named: Vec<&str> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["annotations"]["org.opencontainers.image.ref.name"].as_str())
        .collect();
    assert!(named.iter().any(|name| name.ends_with("2.0-static")), "{named:?}");
}

#[test]
fn a_run_on_github_is_told_from_its_payload() {
    let project = Project::of(&FILE.replace("IMAGE", "ghcr.io/o/r"));
    project.write(
        "event.json",
        json!({
            "base_ref": "refs/heads/main",
            "repository": {"name": "r", "default_branch": "main", "html_url": "https://github.com/o/r",
                "description": "a shop", "license": {"spdx_id": "MIT"}},
            "head_commit": {"id": "0123456789abcdef", "timestamp": "2026-01-02T03:04:05Z"},
        })
        .to_string(),
    );
    let mut mab = project.mab(&["tags", "--json"]);
    for (name, value) in [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_REF", "refs/tags/v1.2.3"),
        ("GITHUB_SHA", "0123456789abcdef"),
        ("GITHUB_REPOSITORY", "o/r"),
        ("GITHUB_EVENT_PATH", project.path("event.json").to_str().unwrap()),
    ] {
        mab.env(name, value);
    }
    let ran = mab.run().succeeded().says("whether there is a higher version is not known");
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told["version"], "1.2.3");
    assert_eq!(told["tags"], json!(["ghcr.io/o/r:1.2.3", "ghcr.io/o/r:1", "ghcr.io/o/r:latest"]));
    assert_eq!(told["targets"]["default"]["tags"], told["tags"]);
    assert_eq!(
        told["annotations"],
        json!([
            "index:org.opencontainers.image.created=2026-01-02T03:04:05.000Z",
            "index:org.opencontainers.image.description=a shop",
            "index:org.opencontainers.image.licenses=MIT",
            "index:org.opencontainers.image.revision=0123456789abcdef",
            "index:org.opencontainers.image.source=https://github.com/o/r",
            "index:org.opencontainers.image.title=r",
            "index:org.opencontainers.image.url=https://github.com/o/r",
            "index:org.opencontainers.image.version=1.2.3",
        ])
    );
}

#[test]
fn facts_and_the_time_can_be_said() {
    let project = Project::of(
        "[target.default]\nplatforms = [\"linux/amd64\"]\ndockerfile-inline = \"FROM scratch\"\n\
         tag-rules = [\"type=raw,value={{branch}}-{{date 'YYYYMMDD'}}-{{commit_date 'HH'}}\"]\n",
    );
    let version = |arguments: &[&str]| told(&project, arguments)["version"].as_str().unwrap().to_string();
    let said = ["--fact", "branch=x", "--fact", "commit-date=2026-01-02T05:00:00Z", "--now", "2026-01-03"];
    assert_eq!(version(&said), "x-20260103-05");
    let ran = project
        .mab(&["tags", "--fact", "ref=refs/heads/y"])
        .with_env("SOURCE_DATE_EPOCH", "86400")
        .with_env("MAB_BRANCH", "z")
        .run()
        .succeeded();
    assert_eq!(
        ran.stdout,
        "default\n  version      y-19700102-00\n  tags         y-19700102-00\n  \
         annotations  manifest:org.opencontainers.image.created=1970-01-02T00:00:00.000Z\n               \
         manifest:org.opencontainers.image.version=y-19700102-00\n"
    );
    project
        .mab(&["tags", "--fact", "brunch=x"])
        .run()
        .failed(2)
        .says("there is no fact `brunch`")
        .says("`branch`");
    project.mab(&["tags", "--now", "soon"]).run().failed(2).says("`soon` is not a time such as");
}

#[test]
fn a_bake_pushes_what_rules_say_and_again_nothing() {
    let Some(registry) = Registry::of_this_run() else { return };
    let name = registry.repository("ruled");
    let project = Project::of(&FILE.replace("IMAGE", &name));
    committed(&project);
    project.git(&["tag", "v1.2.3"]);
    project.bake(&["--push"]);
    assert_eq!(registry.tags(&name), ["1", "1.2.3", "latest", "main"]);
    let (digest, index) = registry.index(&name, "1.2.3");
    let annotations = index.annotations().clone().unwrap_or_default();
    assert_eq!(annotations["org.opencontainers.image.version"], "1.2.3");
    assert_eq!(annotations["org.opencontainers.image.created"], "2026-01-02T03:04:05.000Z");
    project.bake(&["--push"]).says("nothing had to be done");
    // A backport is a version of its own, and moves nothing else.
    project.git(&["commit", "-q", "--allow-empty", "-m", "two"]);
    project.git(&["tag", "v1.1.9"]);
    project.bake(&["--push"]).says("`1` belongs to the higher version `1.2.3`");
    assert_eq!(registry.tags(&name), ["1", "1.1.9", "1.2.3", "latest", "main"]);
    assert_eq!(registry.index(&name, "latest").0, digest);
    assert_ne!(registry.index(&name, "1.1.9").0, digest);
}

#[test]
fn what_is_printed_has_tags_and_no_rules() {
    let project = Project::of(&FILE.replace("IMAGE", "r.example/app"));
    committed(&project);
    project.git(&["tag", "v1.2.3"]);
    let printed = project.mab(&["bake", "--print"]).run().succeeded().stdout;
    let document: Value = serde_json::from_str(&printed).unwrap();
    let target = &document["target"]["default"];
    assert_eq!(
        target["tags"],
        json!(["1.2.3", "1", "main", "latest"].map(|tag| format!("r.example/app:{tag}")))
    );
    assert_eq!(target["args"]["VERSION"], "1.2.3");
    assert_eq!(target.get("tag-rules"), None);
    project.git(&["tag", "-d", "v1.2.3"]);
    project.write("printed.json", &printed);
    let again = project.mab(&["bake", "--print", "-f", "printed.json"]).run().succeeded().stdout;
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap()["target"], document["target"]);
    let explained = project.mab(&["explain", "default.tag-rules"]).run().succeeded();
    assert!(explained.stdout.contains("type=semver,pattern={{version}}"), "{}", explained.stdout);
}

#[test]
fn a_compatible_tag_that_cannot_be_is_shown_and_not_baked() {
    let project = Project::of(
        "[project]\ncompat = \"metadata-action\"\nimage = \"r.example/app\"\n[target.default]\n\
         dockerfile-inline = \"FROM scratch\"\ntag-rules = [\"type=raw,value=-x\"]\n",
    );
    assert_eq!(told(&project, &[])["tags"], json!(["r.example/app:-x"]));
    let ran = project.mab(&["bake"]).run().failed(2);
    assert!(ran.stderr.contains("plan::bad-tag"), "{}", ran.stderr);
    project.edit("multiarch.toml", "compat = \"metadata-action\"\n", "");
    assert_eq!(told(&project, &[])["tags"], json!(["r.example/app:x"]));
    project.bake(&["-o", "type=oci,dest=out.tar"]);
    Layout::open(&project.path("out.tar"));
}
