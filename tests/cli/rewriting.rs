//! `mab import`: a file of another tool becomes ours, and says the same.

use crate::support::Project;

const BAKE: &str = r#"
variable "TAG" { default = "dev" }

group "default" { targets = ["api", "web"] }

target "_common" {
  platforms = ["linux/amd64", "linux/arm64"]
  args      = { GO = "1.24" }
}

target "api" {
  inherits = ["_common"]
  context  = "api"
  tags     = ["example.com/shop/api:${TAG}"]
}

target "web" {
  inherits = ["_common"]
  contexts = { api = "target:api" }
  tags     = ["example.com/shop/web:${TAG}"]
  labels   = { made = timestamp() }
}
"#;

fn targets(text: &str) -> serde_json::Value {
    let document: serde_json::Value = serde_json::from_str(text).expect("the output is JSON alone");
    document["target"].clone()
}

#[test]
fn the_written_file_says_what_the_bake_file_says() {
    let project = Project::new().file("docker-bake.hcl", BAKE);
    let file = ["-f", "docker-bake.hcl"];
    let theirs = project.mab(&["bake", "--print"]).with(&file).with_env("TAG", "1").run().succeeded();
    let said = project.mab(&["import", "-o", "multiarch.toml"]).run().succeeded().stderr;
    assert!(said.contains("wrote multiarch.toml with 3 targets; next: mab bake --print"), "{said}");
    let ours = project.mab(&["bake", "--print"]).with_env("TAG", "1").run().succeeded();
    let (theirs, ours) = (targets(&theirs.stdout), targets(&ours.stdout));
    for name in ["api", "web"] {
        for key in ["context", "contexts", "args", "tags", "platforms"] {
            assert_eq!(ours[name][key], theirs[name][key], "{name}.{key}");
        }
    }
    let text = project.read("multiarch.toml");
    assert!(text.contains("image = \"example.com/shop/{{ target.name }}\""), "{text}");
    assert!(text.contains("# `timestamp()` (docker-bake.hcl:21) has no equal here"), "{text}");
}

#[test]
fn without_a_name_the_file_goes_to_standard_output() {
    let project = Project::new().file("compose.yaml", "services:\n  app:\n    build: ./app\n");
    let text = project.mab(&["import"]).run().succeeded().stdout;
    assert!(
        text.ends_with("[group.default]\ntargets = [\"app\"]\n\n[target.app]\ncontext = \"app\"\n"),
        "{text}"
    );
    assert!(!project.path("multiarch.toml").exists());
}

#[test]
fn a_file_that_is_there_stays_unless_it_is_given_up() {
    let project = Project::of("version = 1\n").file("docker-bake.hcl", BAKE);
    let said = project.mab(&["import", "-o", "multiarch.toml"]).run().failed(2).stderr;
    assert!(said.contains("there is a `multiarch.toml` already"), "{said}");
    assert_eq!(project.read("multiarch.toml"), "version = 1\n");
    project.mab(&["import", "-o", "multiarch.toml", "--force"]).run().succeeded();
    assert!(project.read("multiarch.toml").contains("[target.web]"));
}

#[test]
fn wrong_files_are_told_apart() {
    let project = Project::of("version = 1\n").file("bad.hcl", "target {").file("docker-bake.hcl", BAKE);
    for (arguments, expected) in [
        (&["import", "bad.hcl"][..], "bake::"),
        (&["import", "none.hcl"], "there is no file `none.hcl`"),
        (&["import", "multiarch.toml"], "`multiarch.toml` is no file of another tool"),
        (&["import", "-o", "../multiarch.toml"], "`../multiarch.toml` is not in the working directory"),
    ] {
        let said = project.mab(arguments).run().failed(2).stderr;
        assert!(said.contains(expected), "{said}");
    }
    let said = Project::new().mab(&["import"]).run().failed(2).stderr;
    assert!(said.contains("there is no bake or Compose file in"), "{said}");
}
