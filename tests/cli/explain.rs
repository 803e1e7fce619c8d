//! `mab explain`: a value, and the layers that give it.

use serde_json::Value;

use crate::support::Project;

const FILE: &str = r#"[project]
image = "r.example/{{ target.name }}"
platforms = ["linux/amd64", "linux/arm64"]
[vars]
go = "1.23"
[var.token]
env = "TOKEN"
secret = true
[group.release]
targets = ["api"]
push = true
tags = ["{{ target.name }}-1"]
[target._go]
args = { GO = "{{ vars.go }}", DEBUG = "1" }
tags = ["dev"]
[target._go.on."linux/arm64"]
args = { GO = "1.25" }
[target.api]
inherits = ["_go"]
append.tags = ["more"]
remove = ["args.DEBUG"]
labels = { "org.x.y" = "1" }
secret = ["id=npm,env=TOKEN"]
"#;

fn check(arguments: &[&str], expected: &str) {
    let project = Project::of(FILE);
    let ran = project.mab(&["explain"]).with(arguments).with_env("TOKEN", "hunter2").run().succeeded();
    assert_eq!(ran.stdout, expected, "{arguments:?}");
}

#[test]
fn a_value_is_shown_with_all_of_its_layers() {
    check(
        &["api.args.GO", "--set", "api.args.GO=9"],
        r#"api.args.GO = "9"
  template `_go`                        multiarch.toml:14  "{{ vars.go }}", which is "1.23"  overridden
  `on."linux/arm64"` of template `_go`  multiarch.toml:17  "1.25"                            overridden
  `--set`                               --set:1            "9"
"#,
    );
    check(
        &["api.args.DEBUG"],
        r#"api.args.DEBUG is not set
  template `_go`  multiarch.toml:14  "1"              overridden
  target          multiarch.toml:21  removes `DEBUG`
"#,
    );
    check(&["api.network"], "api.network = \"default\"\n  built-in default    \"default\"\n");
}

#[test]
fn platforms_are_shown_where_they_differ() {
    check(
        &["api.args.GO"],
        r#"api.args.GO = "1.23" for linux/amd64
api.args.GO = "1.25" for linux/arm64
  template `_go`                        multiarch.toml:14  "{{ vars.go }}", which is "1.23"  for linux/amd64
  `on."linux/arm64"` of template `_go`  multiarch.toml:17  "1.25"
"#,
    );
    check(
        &["api.on.\"linux/arm64\".args.GO"],
        r#"api.on."linux/arm64".args.GO = "1.25"
  template `_go`                        multiarch.toml:14  "{{ vars.go }}", which is "1.23"  overridden
  `on."linux/arm64"` of template `_go`  multiarch.toml:17  "1.25"
"#,
    );
}

#[test]
fn a_group_counts_when_it_is_baked() {
    check(
        &["api.tags"],
        r#"api.tags = ["r.example/api:dev","r.example/api:more"]
  template `_go`  multiarch.toml:15  ["dev"]
  target          multiarch.toml:20  adds ["more"]
"#,
    );
    check(
        &["api.tags", "--group", "release"],
        r#"api.tags = ["r.example/api:api-1"]
  template `_go`   multiarch.toml:15  ["dev"]                                      overridden
  target           multiarch.toml:20  adds ["more"]                                overridden
  group `release`  multiarch.toml:12  ["{{ target.name }}-1"], which is ["api-1"]
"#,
    );
    check(
        &["api.push", "--group", "release"],
        "api.push = true\n  group `release`  multiarch.toml:11  true\n",
    );
}

#[test]
fn a_target_is_shown_with_the_source_of_every_value() {
    check(
        &["api"],
        r#"api.context          = "."    # built-in default
api.dockerfile       = "Dockerfile"    # built-in default
api.args.GO          = "1.23" for linux/amd64    # template `_go`, multiarch.toml:14
api.args.GO          = "1.25" for linux/arm64    # `on."linux/arm64"` of template `_go`, multiarch.toml:17
api.secret           = [{"id":"npm","env":"TOKEN"}]    # target, multiarch.toml:23
api.labels."org.x.y" = "1"    # target, multiarch.toml:22
api.tags             = ["r.example/api:dev","r.example/api:more"]    # target, multiarch.toml:20
api.platforms        = ["linux/amd64","linux/arm64"]    # `[project]`, multiarch.toml:3
api.images           = ["r.example/api"]    # `[project]`, multiarch.toml:2
"#,
    );
}

#[test]
fn names_with_the_prefix_of_an_include_have_their_layers() {
    let root = "include = [{ path = \"vendor/multiarch.toml\", prefix = \"vendor-\" }]\n[project]\nplatforms = [\"linux/arm64\"]\n";
    let vendor = "[group.all]\ntargets = [\"api\"]\ntags = [\"r.example/api:1\"]\n[target._go]\nargs.GO = \"1\"\n\
                  [target._go.on.\"linux/arm64\"]\nargs.GO = \"2\"\n[target.api]\ninherits = [\"_go\"]\nargs.A = \"a\"\n";
    let project = Project::new().file("multiarch.toml", root).file("vendor/multiarch.toml", vendor);
    let explained = |arguments: &[&str]| project.mab(&["explain"]).with(arguments).run().succeeded().stdout;
    assert_eq!(
        explained(&["vendor-api.args.GO"]),
        r#"vendor-api.args.GO = "2"
  template `_vendor-go`                        vendor/multiarch.toml:5  "1"  overridden
  `on."linux/arm64"` of template `_vendor-go`  vendor/multiarch.toml:7  "2"
"#
    );
    assert_eq!(
        explained(&["vendor-api.args.A"]),
        "vendor-api.args.A = \"a\"\n  target  vendor/multiarch.toml:10  \"a\"\n"
    );
    assert_eq!(
        explained(&["vendor-api.tags", "--group", "vendor-all"]),
        "vendor-api.tags = [\"r.example/api:1\"]\n  group `vendor-all`  vendor/multiarch.toml:3  [\"r.example/api:1\"]\n"
    );
}

#[test]
fn variables_are_explained_and_secrets_are_not_shown() {
    check(
        &["vars.go", "--var", "go=2"],
        "vars.go = \"2\"\n  default   multiarch.toml:5  \"1.23\"  overridden\n  --var go                    \"2\"\n",
    );
    check(&["vars.token"], "vars.token = \"***\"\n  TOKEN    ***\n");
}

#[test]
fn what_is_not_there_is_said() {
    let project = Project::of(FILE);
    for (path, said) in [
        ("apj.args", "did you mean `api`?"),
        ("api.arsg", "did you mean `args`?"),
        ("api.tags.x", "`tags` has no entries by name"),
        ("api.on.linux/s390x.args", "target `api` is not built for `linux/s390x`"),
        ("release.tags", "it is a group; ask for one of `api`"),
    ] {
        project.mab(&["explain", path]).run().failed(2).says(said);
    }
}

#[test]
fn machines_read_json() {
    let project = Project::of(FILE);
    let ran = project.mab(&["explain", "api.args.GO", "--json"]).run().succeeded();
    let document: Value = serde_json::from_str(&ran.stdout).expect("the output is JSON alone");
    let layers = document["explained"][0]["layers"].as_array().expect("layers are a list");
    assert_eq!(layers.len(), 2);
    assert_eq!((&layers[0]["line"], &layers[0]["rendered"]), (&Value::from(14), &Value::from("\"1.23\"")));
    assert_eq!(layers[0]["holds"], serde_json::json!(["linux/amd64"]));
    assert_eq!(layers[1]["holds"], true);
}

#[test]
fn of_other_files_the_last_place_is_known() {
    let file = "target \"base\" {\n  args = { A = 1 }\n}\ntarget \"app\" {\n  inherits = [\"base\"]\n  tags = [\"r.example/app\"]\n}\n";
    let project = Project::new().file("docker-bake.hcl", file);
    let ran = project.mab(&["explain", "app.tags"]).run().succeeded();
    assert!(ran.stdout.contains("docker-bake.hcl:6"), "{}", ran.stdout);
    assert!(ran.stdout.contains("only the last place"), "{}", ran.stdout);
}
