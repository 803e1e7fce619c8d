//! `mab bake --call outline` and `targets`: what Dockerfiles ask for, as `docker buildx bake` prints it.

use crate::support::Project;

const DOCKERFILE: &str = "\
# VERSION which version
ARG VERSION=1.${MINOR:-0}
ARG UNUSED=x
ARG BASE=scratch

# base what all share
FROM ${BASE} AS base
ARG VERSION
# MODE how
ARG MODE=fast TARGETARCH
ARG EMPTY
COPY <<EOF /a
x
EOF

FROM scratch AS other
ARG OTHER=1

# app the thing
FROM base AS app
ARG WITH=${MODE}-x
RUN --mount=type=secret,id=npm,required --mount=type=ssh true
FROM scratch
# LATE what comes late
ARG LATE
COPY --from=app /a /b
";

const BAKE: &str = r#"
group "default" { targets = ["one", "two"] }
target "one" {
  target = "app"
  args = { EMPTY = "given", VERSION = null }
}
target "two" {
  description = "second"
  platforms = ["linux/amd64", "linux/arm64"]
}
"#;

/// As buildx and BuildKit answer.
const OUTLINE: &str = "\
one

TARGET:      app
DESCRIPTION: the thing

BUILD ARG   VALUE     DESCRIPTION
VERSION     1.0       which version
BASE        scratch   
MODE        fast      how
EMPTY       given     
WITH        fast-x    

SECRET   REQUIRED
npm      true

SSH       REQUIRED
default   


two
second

BUILD ARG   VALUE     DESCRIPTION
VERSION     1.0       which version
BASE        scratch   
MODE        fast      how
EMPTY                 
WITH        fast-x    
LATE                  what comes late

SECRET   REQUIRED
npm      true

SSH       REQUIRED
default   

";

const TARGETS: &str = "\
one

TARGET    DESCRIPTION
base      what all share
other     
app       the thing
(default) 

two
second

TARGET    DESCRIPTION
base      what all share
other     
app       the thing
(default) 
";

fn project() -> Project {
    Project::new().file("docker-bake.hcl", BAKE).file("Dockerfile", DOCKERFILE)
}

fn stdout(project: &Project, arguments: &[&str]) -> String {
    project.mab(arguments).run().succeeded().stdout
}

#[test]
fn an_outline_is_what_a_dockerfile_asks_for() {
    let project = project();
    assert_eq!(stdout(&project, &["bake", "--call", "outline"]), OUTLINE);
    assert_eq!(stdout(&project, &["bake", "--call=targets"]), TARGETS);
}

#[test]
fn programs_get_it_in_the_shape_of_bake() {
    let project = project();
    let text = stdout(&project, &["bake", "one", "--call", "outline,format=json"]);
    let document: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let line =
        |line: u32| serde_json::json!({ "ranges": [{ "start": { "line": line }, "end": { "line": line } }] });
    assert_eq!(document["group"]["default"]["targets"], serde_json::json!(["one"]));
    let one = &document["target"]["one"];
    assert_eq!(one["build"]["call"], "outline");
    let version = serde_json::json!({ "name": "VERSION", "description": "which version", "value": "1.0", "location": line(2) });
    assert_eq!(one["outline"]["args"][0], version);
    let secret = serde_json::json!([{ "name": "npm", "required": true, "location": line(22) }]);
    assert_eq!(one["outline"]["secrets"], secret);
    assert_eq!(
        (&one["outline"]["name"], &one["outline"]["description"]),
        (&"app".into(), &"the thing".into())
    );
    let text = stdout(&project, &["bake", "one", "--call", "targets,format=json"]);
    let document: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let targets = &document["target"]["one"]["targets"]["targets"];
    let base = serde_json::json!({
        "name": "base", "description": "what all share", "base": "${BASE}", "location": line(7)
    });
    assert_eq!(targets[0], base);
    assert_eq!(targets[3]["default"], true);
}

#[test]
fn a_file_can_ask_for_it_and_caches_are_told_as_well() {
    const FILE: &str = "[target.default]\ncall = \"outline\"\n";
    let project = Project::of(FILE).file(
        "Dockerfile",
        "FROM scratch AS app\nRUN --mount=type=cache,target=/a/../cache --mount=type=cache,id=apt,target=/b true\n",
    );
    let expected = "default\n\nTARGET: app\n\nCACHE MOUNT\n/cache\napt\n\n";
    assert_eq!(stdout(&project, &["bake"]), expected);
    project
        .mab(&["bake", "--call", "outlines"])
        .run()
        .failed(2)
        .says("there are `build`, `check`, `outline`");
}
