//! `mab k8s`: images against nodes and manifests, and digests written into manifests.

use serde_json::Value;

use crate::support::surroundings::PATH;
use crate::support::{Project, Registry};

const NODES: &str = r#"{"kind":"List","items":[
  {"metadata":{"name":"intel","labels":{"kubernetes.io/arch":"amd64"}},"status":{"nodeInfo":{"architecture":"amd64","operatingSystem":"linux"}}},
  {"metadata":{"name":"ampere","labels":{"kubernetes.io/arch":"arm64"}},"status":{"nodeInfo":{"architecture":"arm64","operatingSystem":"linux"}}},
  {"metadata":{"name":"big","labels":{"kubernetes.io/arch":"s390x"}},"spec":{"taints":[{"key":"mainframe","effect":"NoSchedule"}]},"status":{"nodeInfo":{"architecture":"s390x","operatingSystem":"linux"}}}]}"#;

/// A project whose image `both` has two platforms and `one` has one, both pushed; and the folder they are in.
fn shop(name: &str) -> Option<(Project, String, Registry)> {
    let registry = Registry::of_this_run()?;
    let repository = registry.repository(name);
    let target = |name: &str, platforms: &str| {
        format!(
            "[target.{name}]\nplatforms = [{platforms}]\ntags = [\"{repository}/{name}:1\"]\n\
             dockerfile-inline = \"FROM scratch\\nCOPY multiarch.toml /\\n\"\n"
        )
    };
    let both = target("both", "\"linux/amd64\", \"linux/arm64\"");
    let project = Project::of(&format!("{both}{}", target("one", "\"linux/amd64\"")));
    project.bake(&["both", "one", "--push"]);
    project.write("nodes.json", NODES);
    Some((project, repository, registry))
}

fn deployment(name: &str, image: &str, pod: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment # kept\nmetadata: {{name: {name}}}\nspec:\n  template:\n    spec:\n{pod}      \
         containers:\n      - name: app   # as it is\n        image: {image}\n"
    )
}

#[test]
fn an_image_must_have_the_platform_of_every_node_it_may_run_on() {
    let Some((project, repository, _)) = shop("nodes") else { return };
    let (both, one) = (format!("{repository}/both:1"), format!("{repository}/one:1"));
    let ran = project.mab(&["k8s", "check", &both, &one, "--nodes", "nodes.json"]).run().failed(2);
    assert_eq!(
        ran.stdout,
        format!(
            "✓ {both}  needs linux/amd64, linux/arm64, has linux/amd64, linux/arm64\n\
             ✗ {one}   needs linux/amd64, linux/arm64, has linux/amd64\n"
        )
    );
    ran.says(&format!("`{one}` is not there for linux/arm64: node `ampere`")).does_not_say("s390x");
    project.mab(&["k8s", "check", &both, "--nodes", "nodes.json"]).run().succeeded();
}

#[test]
fn pods_run_where_their_manifests_let_them() {
    let Some((project, repository, _)) = shop("pods") else { return };
    let (both, one) = (format!("{repository}/both:1"), format!("{repository}/one:1"));
    let held = deployment("held", &one, "      nodeSelector: {kubernetes.io/arch: amd64}\n");
    let tolerant = deployment("tolerant", &both, "      tolerations: [{key: mainframe, operator: Exists}]\n");
    project.write(
        "deploy/all.yaml",
        format!("{held}---\n{tolerant}---\nkind: Service\nmetadata: {{name: s}}\n"),
    );
    let arguments = ["k8s", "check", "-f", "deploy", "--nodes", "nodes.json", "--json"];
    let ran = project.mab(&arguments).run().failed(2);
    let report: Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    let problems: Vec<usize> = report["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["problems"].as_array().unwrap().len())
        .collect();
    assert_eq!(problems, [0, 1], "{}", ran.stdout);
    assert_eq!(report["images"][1]["workload"], "Deployment tolerant");
    ran.says("is not there for linux/s390x: node `big`").says("deploy/all.yaml:21");
    project.mab(&["k8s", "check", "-f", "deploy", "--without-nodes"]).run().succeeded();
    for path in ["deploy/", "deploy/all.yaml", "./deploy"] {
        let same = project.mab(&["k8s", "check", path, "--nodes", "nodes.json"]).run().failed(2);
        same.says("is not there for linux/s390x: node `big`");
        project.mab(&["k8s", "check", path, "--without-nodes"]).run().succeeded();
    }
    let nothing = project.mab(&["k8s", "check", &both, "--without-nodes"]).run().failed(2);
    nothing.says("without nodes nothing is needed of these images");
    let wrong = deployment("wrong", &one, "      nodeSelector: {kubernetes.io/arch: arm64}\n");
    project.write("deploy/all.yaml", wrong);
    let ran = project.mab(&["k8s", "check", "-f", "deploy", "--without-nodes"]).run().failed(2);
    ran.says("is not there for linux/arm64: `kubernetes.io/arch` is asked for");
}

#[test]
fn pinning_changes_names_and_nothing_else() {
    let Some((project, repository, registry)) = shop("pinned") else { return };
    let image = format!("{repository}/both:1");
    let text = format!(
        "# shop\n{}---\n{}",
        deployment("a", &format!("\"{image}\""), ""),
        deployment("b", &format!("{repository}/one:1 # web"), "")
    );
    project.write("deploy/a.yaml", &text);
    project.write("deploy/readme.txt", "image: untouched");
    let (digest, _) = registry.index(&format!("{repository}/both"), "1");
    let only = format!("{repository}/b*");
    let diff = project.mab(&["k8s", "pin", "deploy", "--only", &only, "--diff"]).run().succeeded().stdout;
    assert!(diff.contains(&format!("+        image: \"{image}@{digest}\"\n")), "{diff}");
    assert_eq!(project.read("deploy/a.yaml"), text);
    let ran = project.mab(&["k8s", "pin", "deploy", "--only", &only]).run().succeeded();
    assert_eq!(ran.stderr, "deploy/a.yaml: 1 image pinned, 0 already right\n");
    assert_eq!(project.read("deploy/a.yaml"), text.replace(&image, &format!("{image}@{digest}")));
    let ran = project.mab(&["k8s", "pin", "deploy", "--only", &only]).run().succeeded();
    assert_eq!(ran.stderr, "deploy/a.yaml: 0 images pinned, 1 already right\n");
}

#[test]
fn nothing_is_written_unless_all_of_it_can_be() {
    let Some((project, repository, _)) = shop("none") else { return };
    let good = deployment("a", &format!("{repository}/both:1"), "");
    project.write("deploy/a.yaml", &good);
    project.write("deploy/b.yaml", deployment("b", &format!("{repository}/gone:1"), ""));
    let ran = project.mab(&["k8s", "pin", "deploy"]).run();
    assert!(ran.code != Some(0) && ran.stderr.contains("deploy/b.yaml:9"), "{}", ran.stderr);
    assert_eq!(project.read("deploy/a.yaml"), good);
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    let project = Project::new().file("bad.yaml", "kind: Pod\nspec: [\n").file("nodes.json", "{}");
    project.mab(&["k8s", "pin", "bad.yaml"]).run().failed(2).says("k8s::syntax").says("bad.yaml:");
    let ran = project.mab(&["k8s", "check", "localhost:1/x", "--nodes", "nodes.json"]).run().failed(2);
    ran.says("nodes.json` is no list of nodes").says("kubectl get nodes -o json");
    project.mab(&["k8s", "check"]).run().failed(2);
    let ran = project.mab(&["k8s", "check", "-f", "-", "--nodes", "-"]).run().failed(2);
    ran.says("standard input is named twice");
}

#[test]
fn a_cluster_is_asked_for_its_nodes() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some((project, repository, _)) = shop("cluster") else { return };
    project.write("bin/kubectl", "#!/bin/sh\necho \"$*\" > asked\ncat nodes.json\n");
    std::fs::set_permissions(project.path("bin/kubectl"), std::fs::Permissions::from_mode(0o755))
        .expect("it is ours");
    let path = format!("{}:{PATH}", project.path("bin").display());
    let check = ["k8s", "check", &format!("{repository}/one:1"), "--context", "live"];
    let ran = project.mab(&check).with_env("PATH", path).run().failed(2);
    ran.says("is not there for linux/arm64: node `ampere`");
    let none = project.mab(&["k8s", "check", "localhost:1/none:1", "--nodes", "nodes.json"]).run().failed(4);
    assert_eq!(
        none.stdout,
        "✗ localhost:1/none:1  needs linux/amd64, linux/arm64; it could not be looked at\n"
    );
    assert_eq!(project.read("asked"), "get nodes -o json --request-timeout=20s --context=live\n");
}

#[test]
fn a_cluster_that_cannot_be_asked_is_told() {
    let project = Project::new();
    let ran =
        project.mab(&["k8s", "check", "localhost:1/x"]).with_env("KUBECONFIG", "/nowhere").run().failed(4);
    ran.says("`kubectl get nodes` failed").says("`--nodes`");
}
