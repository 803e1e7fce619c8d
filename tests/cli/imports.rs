//! Bake and Compose files as they are: found, printed and built.

use crate::support::{Layout, Project};

const BAKE: &str = r#"
variable "TAG" { default = "dev" }

target "base" {
  dockerfile-inline = "FROM scratch\nCOPY a.txt /base.txt\n"
}

target "default" {
  dockerfile-inline = "FROM base\nARG WHO\nLABEL who=$WHO\nCOPY a.txt /a.txt\n"
  contexts = { base = "target:base" }
  args = { WHO = "nobody" }
  platforms = ["linux/amd64", "linux/arm64"]
  tags = ["example.com/app:${TAG}"]
  output = ["type=oci,dest=out.tar"]
  tag = ["a slip"]
}
"#;

fn project() -> Project {
    Project::new().file("docker-bake.hcl", BAKE).file("a.txt", "a")
}

#[test]
fn a_bake_file_is_found_and_built_with_what_it_links_to() {
    let project = project();
    let set = "default.args.WHO=somebody";
    project.bake(&["--set", set]).says("a target has no attribute `tag`, so bake passes over it");
    let layout = Layout::open(&project.path("out.tar"));
    assert_eq!(layout.platforms(), ["linux/amd64", "linux/arm64"]);
}

#[test]
fn what_is_printed_is_for_bake_and_what_is_said_for_people() {
    let project = project();
    let ran = project.mab(&["bake", "--print", "--push"]).with_env("TAG", "1").run().succeeded();
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).expect("the output is JSON alone");
    assert_eq!(document["target"]["default"]["tags"][0], "example.com/app:1");
    assert_eq!(document["target"]["base"]["output"][0]["type"], "cacheonly");
    ran.says("did you mean `tags`?");
}

#[test]
fn what_cannot_be_built_yet_is_refused_and_said() {
    let project = Project::new()
        .file("compose.yaml", "services:\n  app:\n    build:\n      context: .\n      sbom: true\n")
        .file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    project.mab(&["bake"]).run().failed(2).says("`attest`").says("compose.yaml:5");
    project.bake(&["--set", "*.attest=", "--set", "*.output=type=oci,dest=out.tar"]);
}

#[test]
fn what_no_engine_does_is_said_with_its_place_in_their_file() {
    const FILE: &str = r#"
target "default" {
  dockerfile-inline = "FROM scratch\nCOPY docker-bake.hcl /\n"
  platforms = ["linux/amd64"]
  output = ["type=oci,dest=out.tar"]
  cache-from = ["type=registry,ref=r.example/cache", "type=moon,secret=hidden"]
  cache-to = ["type=gha,mode=max"]
}
target "other" {
  inherits = ["default"]
  output = ["type=oci,dest=other.tar"]
}
target "limited" {
  inherits = ["default"]
  resources = { memory = "1g" }
}
"#;
    let project = Project::new().file("docker-bake.hcl", FILE);
    // Bake builds on without its caches.
    let ran = project.bake(&["--offline", "default", "other"]);
    ran.says("`--offline` leaves caches on other machines alone")
        .says("`type` cannot be `moon`")
        .does_not_say("hidden");
    project.mab(&["bake", "limited"]).run().failed(2).says("asks for `resources`").says("docker-bake.hcl:15");
}
