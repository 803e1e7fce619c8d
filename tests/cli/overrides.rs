//! Layers above the file's targets: what a group says about its members, and `--set`.

use serde_json::Value;

use crate::support::{Layout, Project};

const FILE: &str = r#"
[project]
image = "r.example/{{ target.name }}"
platforms = ["linux/amd64", "linux/arm64"]

[group.default]
targets = ["api", "web"]

[group.release]
targets = ["default"]
push = true
tags = ["{{ vars.version }}"]
append.annotations = { "org.example.channel" = "release" }
require = ["clean", "tag"]

[group.loaded]
targets = ["api"]
push = false

[vars]
version = "1.2.3"

[target._service]
tags = ["dev"]
dockerfile-inline = "FROM scratch\nARG WHO=nobody\nLABEL who=$WHO\nCOPY multiarch.toml /\n"

[target.api]
inherits = ["_service"]
append.tags = ["api"]

[target.web]
inherits = ["_service"]
"#;

fn printed(project: &Project, arguments: &[&str]) -> Value {
    let ran = project.mab(&["bake", "--print"]).with(arguments).run().succeeded();
    serde_json::from_str(&ran.stdout).expect("the output is JSON alone")
}

#[test]
fn what_is_set_is_built() {
    let project = Project::of(FILE);
    let set = ["--set", "api.args.WHO=me", "--set", "api.on.\"linux/arm64\".args.WHO=arm"];
    project.bake(&[&["api", "-o", "type=oci,dest=out.tar"], &set[..]].concat());
    let layout = Layout::open(&project.path("out.tar"));
    for (platform, who) in [("linux/amd64", "me"), ("linux/arm64", "arm")] {
        assert_eq!(layout.image(platform).config["config"]["Labels"]["who"], who, "{platform}");
    }
}

#[test]
fn a_plan_has_what_is_set() {
    let project = Project::of(FILE);
    let nodes = |arguments: &[&str]| {
        let ran = project.mab(&["plan", "--format", "json"]).with(arguments).run().succeeded();
        let plan: Value = serde_json::from_str(&ran.stdout).expect("the plan is JSON");
        plan["nodes"].as_array().expect("a plan has nodes").clone()
    };
    let builds = nodes(&["--set", "w*.platform=linux/riscv64"]);
    let built = |target: &str| -> Vec<String> {
        let of_target = builds.iter().filter(|node| node["kind"] == "build" && node["name"] == target);
        of_target.map(|node| node["platform"].as_str().unwrap_or_default().to_string()).collect()
    };
    assert_eq!((built("api").len(), built("web")), (2, vec!["linux/riscv64".to_string()]));
    let publishes = |nodes: Vec<Value>| nodes.iter().any(|node| node["kind"] == "publish");
    assert!(!publishes(nodes(&[])) && publishes(nodes(&["--set", "*.push=true"])));
}

#[test]
fn a_slip_in_an_override_is_said_with_its_place() {
    let project = Project::of(FILE);
    project
        .mab(&["bake", "--print", "--set", "apj.args.X=1", "--set", "api.platfroms=linux/amd64"])
        .run()
        .failed(2)
        .says("no target matches `apj`")
        .says("did you mean `api`?")
        .says("a target has no key `platfroms`")
        .says("--set:2:5");
}

#[test]
fn a_group_says_how_its_members_are_delivered() {
    let project = Project::of(FILE);
    let plain = printed(&project, &["api"]);
    assert_eq!(plain["target"]["api"]["tags"], serde_json::json!(["r.example/api:dev", "r.example/api:api"]));
    assert!(plain["target"]["api"]["output"].is_null());
    let released = printed(&project, &["release"]);
    let api = &released["target"]["api"];
    assert_eq!(api["tags"], serde_json::json!(["r.example/api:1.2.3"]));
    assert_eq!(api["annotations"], serde_json::json!(["manifest:org.example.channel=release"]));
    assert_eq!(api["output"], serde_json::json!([{ "type": "image", "push": "true" }]));
    let set = printed(&project, &["release", "--set", "api.tags=mine", "--set", "web.push=0"]);
    assert_eq!(set["target"]["api"]["tags"][0], "r.example/api:mine");
    assert!(set["target"]["web"]["output"].is_null());
}

#[test]
fn groups_that_disagree_are_not_baked_in_one_run() {
    let project = Project::of(FILE);
    project
        .mab(&["plan", "release", "loaded"])
        .run()
        .failed(2)
        .says("the groups `release` and `loaded` disagree about `push` of `api`")
        .says("`release` says otherwise")
        .says("`loaded` says so");
}

#[test]
fn a_group_refuses_what_is_not_committed_and_tagged() {
    let project = Project::of(FILE);
    project.git(&["init", "--quiet"]);
    project.git(&["add", "."]);
    project.git(&["commit", "--quiet", "--message=first"]);
    let refused = |words: &[&str]| {
        let ran = project.mab(&["bake", "release"]).run().failed(2);
        for word in words {
            assert!(ran.stderr.contains(word), "{}", ran.stderr);
        }
        ran
    };
    refused(&["group `release` requires `tag`, but no tag points at HEAD", "git tag v1.2.3"])
        .does_not_say("`clean`");
    project.git(&["tag", "v1"]);
    project.mab(&["plan", "release"]).run().succeeded();
    project.edit("multiarch.toml", "1.2.3", "1.2.4");
    refused(&["group `release` requires `clean`, but tracked files differ", "git status"]);
    // Others do not ask, and what would be done can be seen.
    project.mab(&["plan"]).run().succeeded();
    project.mab(&["plan", "release"]).run().succeeded();
    assert_eq!(printed(&project, &["release"])["target"]["api"]["tags"][0], "r.example/api:1.2.4");
}

#[test]
fn a_release_comes_from_its_branch() {
    const FILE: &str = "[project]\nplatforms = [\"linux/amd64\"]\ndefault-branch = \"trunk\"\n\
                        [group.default]\ntargets = [\"app\"]\nrequire = [\"branch\"]\n\
                        [target.app]\ndockerfile-inline = \"FROM scratch\"\n";
    let project = Project::of(FILE);
    project.git(&["init", "--quiet", "--initial-branch=trunk"]);
    project.git(&["add", "."]);
    project.git(&["commit", "--quiet", "--message=first"]);
    project.mab(&["plan"]).run().succeeded();
    project.git(&["checkout", "--quiet", "-b", "other"]);
    let said = "group `default` requires `branch`, but HEAD is on `other`, and releases come from `trunk`";
    project.mab(&["bake"]).run().failed(2).says(said);
    project.git(&["checkout", "--quiet", "--detach"]);
    project.mab(&["bake"]).run().failed(2).says("HEAD is on no branch");
    let own = "[project]\nplatforms = [\"linux/amd64\"]\n\
               [target.default]\nrequire = [\"branch\"]\ndockerfile-inline = \"FROM scratch\"\n";
    project.write("multiarch.toml", own);
    let ran = project.mab(&["bake"]).run().failed(2);
    ran.says("nothing says which branch releases come from").says("name it with `default-branch`");
}
