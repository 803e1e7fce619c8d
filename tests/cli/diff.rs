//! In what two images differ, by config, layers and files.

use serde_json::{Value, json};

use crate::support::{Project, Registry};

fn project(dockerfile: &str) -> Project {
    Project::of(&format!(
        "[target.app]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n\
         dockerfile-inline = \"\"\"\nFROM scratch\nCOPY base /base\n{dockerfile}\"\"\"\n"
    ))
    .file("base", "the same in both")
    .file("one", "first")
    .file("two", "the second")
}

fn built(project: &Project, from: &str, to: &str, dest: &str) {
    if !from.is_empty() {
        project.edit("multiarch.toml", from, to);
    }
    let output = format!("type=oci,dest={dest}");
    project
        .mab(&["bake", "app", "-o", &output])
        .with_env("SOURCE_DATE_EPOCH", "1700000000")
        .run()
        .succeeded();
}

#[test]
fn images_differ_in_config_layers_and_files() {
    let project = project("COPY one /etc/one\nCOPY one /etc/gone\nENV A=1 B=2\nUSER 1\n");
    built(&project, "", "", "old.tar");
    let changed = "COPY two /etc/one\nCOPY --chmod=0755 one /etc/come\nENV A=1 B=3\n";
    built(&project, "COPY one /etc/one\nCOPY one /etc/gone\nENV A=1 B=2\nUSER 1\n", changed, "new.tar");
    let ran = project.mab(&["diff", "./old.tar", "./new.tar", "--platform", "linux/arm64"]).run().failed(1);
    assert_eq!(ran.stderr, "");
    for part in [
        "\nlinux/arm64  ",
        "\n  config\n    ~ config.Env.B  2 → 3\n    - config.User   1\n",
        "\n  layers  1 shared\n",
        "\n  files   1 added, 1 removed, 1 changed\n",
        "\n    + /etc/come  5 B\n",
        "\n    - /etc/gone  5 B\n",
        "\n    ~ /etc/one   5 B → 10 B\n",
    ] {
        assert!(ran.stdout.contains(part), "{part} in {}", ran.stdout);
    }
    let ran = project.mab(&["diff", "./old.tar", "./new.tar", "--json"]).run().failed(1);
    let told: Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    let platforms: Vec<&Value> =
        told["platforms"].as_array().unwrap().iter().map(|it| &it["platform"]).collect();
    assert_eq!(json!(platforms), json!(["linux/amd64", "linux/arm64"]));
    let come = &told["platforms"][0]["files"][0];
    assert_eq!(
        (&come["path"], &come["old"], &come["new"]["mode"]),
        (&json!("/etc/come"), &json!(null), &json!("0755"))
    );
}

#[test]
fn the_same_is_the_same_wherever_it_lies_and_costs_no_layer() {
    let Some(registry) = Registry::of_this_run() else { return };
    let repository = registry.repository("same");
    let project = project("COPY one /one\n");
    built(&project, "", "", "app.tar");
    project.mab(&["copy", "./app.tar", &repository]).run().succeeded();
    registry.requests();
    let ran = project.mab(&["diff", "./app.tar", &repository]).run().succeeded();
    assert!(ran.stdout.starts_with("both are sha256:"), "{}", ran.stdout);
    let other = format!("{repository}-other");
    project.mab(&["index", "create", &other, &repository, "--annotation", "a=b"]).run().succeeded();
    registry.requests();
    let ran = project.mab(&["diff", &repository, &other]).run().failed(1);
    assert!(ran.stdout.contains("  annotations\n    + a  b\n"), "{}", ran.stdout);
    let requests = registry.requests();
    assert!(!requests.iter().any(|request| request.contains("/blobs/")), "{requests:#?}");
    project.mab(&["copy", &repository, "./arm.tar", "--platform", "linux/arm64"]).run().succeeded();
    let ran = project.mab(&["diff", "./app.tar", "./arm.tar"]).run().failed(1);
    assert!(ran.stdout.contains("\n- linux/amd64\n"), "{}", ran.stdout);
    project.mab(&["diff", "./app.tar", "./arm.tar", "--platform", "linux/arm64"]).run().succeeded();
    project.mab(&["diff", "./app.tar", "./nothing.tar"]).run().failed(2);
}
