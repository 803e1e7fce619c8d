//! `mab bake --print`, read back: the same file again, and the same plan.

use crate::support::Project;

const FILE: &str = r#"
[project]
image = "r.example/{{ target.name }}"
platforms = ["linux/amd64", "linux/arm64", "linux/riscv64"]

[group.default]
targets = ["api", "web", "sites"]

[group.release]
targets = ["default"]
push = true
tags = ["{{ target.name }}-1"]

[target.base]
dockerfile-inline = "FROM scratch\nCOPY --chmod=${MODE:-644} multiarch.toml /\n"

[target.first]
dockerfile-inline = "FROM scratch\nCOPY multiarch.toml /first\n"

[target.api]
description = "what answers"
dockerfile-inline = "FROM base\nARG FEATURES\nLABEL features=${FEATURES}\nCOPY multiarch.toml /\n"
contexts = { base = "target:base", alpine = "docker-image://alpine" }
needs = ["first"]
args = { FEATURES = "none", COST = "$${x} %{y}", DEBUG = "1" }
tags = ["1", "other.example/api:2"]
labels = { "org.example.cost" = "${literally}" }
annotations = ["index:a=b,c", "manifest[linux/arm64]:k=v"]
output = ["type=oci,dest=api.tar,compression=zstd"]
secret = ["id=npm,env=NPM_TOKEN", "id=netrc,src=secrets/{{ platform.arch }}", "id=plain"]
ssh = ["default", "deploy=keys/a,keys/b"]
ulimits = ["nofile=1024:2048"]
shm-size = "64m"
extra-hosts = { db = "10.0.0.1" }
network = "none"
no-cache-filter = ["builder"]
emulate = "allow"
pull = true

[target.api.on."linux/arm64"]
args = { FEATURES = "neon" }
remove = ["args.DEBUG"]
emulate = "deny"

[target.api.on."linux/riscv64"]
dockerfile = "riscv/Dockerfile"
stage = "small"

[target.web]
stage = "final"
dockerfile-inline = "FROM scratch AS final\nCOPY multiarch.toml /\n"
call = "check"
[target.web.on."linux/arm64"]
remove = ["stage"]

[target.sites]
matrix.axes = { site = ["de", "fr"] }
dockerfile-inline = "FROM scratch\nCOPY multiarch.toml /\nLABEL site='{{ not a template }}'\n"
args = { SITE = "{{ matrix.site }}" }
platforms = ["linux/amd64"]
output = ["type=docker,dest={{ matrix.site }}.tar"]
tags = ["dev"]
"#;

fn project() -> Project {
    Project::of(FILE).file("riscv/Dockerfile", "FROM scratch AS small\nCOPY multiarch.toml /\n")
}

fn stdout(project: &Project, arguments: &[&str]) -> String {
    project.mab(arguments).run().succeeded().stdout
}

#[test]
fn a_printed_file_is_the_same_file() {
    let project = project();
    for names in [&["default"][..], &["release"], &["api"], &["sites-de", "first"]] {
        let printed = stdout(&project, &[&["bake", "--print"], names].concat());
        project.write("x.json", &printed);
        let again = stdout(&project, &[&["bake", "-f", "x.json", "--print"], names].concat());
        assert_eq!(again, printed, "{names:?}");
        for format in ["text", "json"] {
            let plan =
                |file: &[&str]| stdout(&project, &[&["plan", "--format", format], file, names].concat());
            assert_eq!(plan(&["-f", "x.json"]), plan(&[]), "{names:?}");
            // What was asked for is the default of what was printed.
            let default = stdout(&project, &["plan", "--format", format, "-f", "x.json"]);
            assert_eq!(default, plan(&[]), "{names:?}");
        }
    }
}

#[test]
fn what_is_said_of_the_whole_project_comes_along() {
    for lint in ["skip = [\"arg-not-in-stage\"]\nerror = true", "error = [\"NoEmptyContinuation\"]"] {
        let file = format!(
            "[project]\ndefault-branch = \"trunk\"\nplatforms = [\"linux/amd64\"]\n[lint]\n{lint}\n\
             [target.default]\ndockerfile-inline = \"FROM scratch\"\nrequire = [\"branch\"]\n"
        );
        let project = Project::of(&file);
        let printed = stdout(&project, &["bake", "--print"]);
        let document: serde_json::Value = serde_json::from_str(&printed).expect("it is JSON");
        assert_eq!(document["project"]["default-branch"], "trunk");
        assert!(document["lint"]["error"].is_boolean() || document["lint"]["error"].is_array());
        project.write("x.json", &printed);
        assert_eq!(stdout(&project, &["bake", "-f", "x.json", "--print"]), printed);
    }
}

#[test]
fn overrides_and_explanations_work_on_it() {
    let project = project();
    project.write("x.json", stdout(&project, &["bake", "--print"]));
    let set = stdout(
        &project,
        &["bake", "-f", "x.json", "--print", "--set", "api.on.\"linux/arm64\".args.FEATURES=sve"],
    );
    let document: serde_json::Value = serde_json::from_str(&set).expect("the output is JSON");
    assert_eq!(document["target"]["api"]["on"]["linux/arm64"]["args"]["FEATURES"], "sve");
    assert_eq!(document["target"]["api"]["on"]["linux/arm64"]["args"]["DEBUG"], serde_json::Value::Null);
}

#[test]
fn paths_are_those_of_the_working_directory() {
    let project =
        Project::of("[target.default]\ncontext = \"services/api\"\nplatforms = [\"linux/amd64\"]\n")
            .file("services/api/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    let mut inside = project.mab(&["bake", "--print"]).command();
    let ran = inside.current_dir(project.path("services")).output().expect("mab runs");
    let document: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("the output is JSON");
    assert_eq!(document["target"]["default"]["context"], "api");
}

#[test]
fn what_does_not_fit_is_said_with_its_place() {
    let project = Project::new();
    project
        .write("x.json", "{\"//\": {\"mab\": 1}, \"target\": {\"a\": {\"tgas\": [], \"pull\": \"yes\"}}}\n");
    let ran = project.mab(&["bake", "-f", "x.json", "--print", "a"]).run().failed(2);
    ran.says("did you mean `tags`?").says("`pull` must be `true` or `false`").says("x.json:1:37");
    project.write("x.json", "{\"//\": {\"mab\": 9}, \"target\": {}}\n");
    project.mab(&["bake", "-f", "x.json", "--print"]).run().failed(2).says("this mab reads version 1");
}
