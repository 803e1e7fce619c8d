//! What a bake writes besides its store, and what other tools make of it.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::surroundings::needs;
use crate::support::{Layout, Project, base};

const DOCKERFILE: &str = "FROM busybox\nRUN uname -m > /machine && rm /etc/shadow && ln -s machine /link\n";

fn tagged(base: &std::path::Path) -> Project {
    let project = Project::app(base, DOCKERFILE);
    let file = project.read("multiarch.toml");
    project.file("multiarch.toml", &format!("{file}tags = [\"example.com/app:1\", \"example.com/app:2\"]\n"))
}

fn json_file(project: &Project, path: &str) -> Value {
    serde_json::from_str(&project.read(path)).expect("it is JSON")
}

/// Runs another tool; what it prints.
#[track_caller]
fn tool(words: &[&str], project: &Project) -> String {
    let output =
        Command::new(words[0]).args(&words[1..]).current_dir(project.path("")).output().expect("it is there");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn one_bake_writes_every_form() {
    let Some(base) = base() else { return };
    let project = tagged(&base);
    let outputs = [
        "type=oci,dest=image.tar",
        "type=oci,tar=false,dest=image",
        "type=local,dest=root",
        "type=tar,dest=root.tar",
    ];
    let mut arguments = vec!["app", "--metadata-file", "metadata.json"];
    arguments.extend(outputs.iter().flat_map(|output| ["-o", output]));
    let ran = project.bake(&arguments);
    for form in ["oci PROJECT/image.tar", "oci PROJECT/image", "local PROJECT/root", "tar PROJECT/root.tar"] {
        assert!(ran.errors().contains(&format!("→ {form}\n")), "{}", ran.errors());
    }

    let (tar, folder) = (Layout::open(&project.path("image.tar")), Layout::open(&project.path("image")));
    assert_eq!(tar.digest(), folder.digest());
    let names: Vec<String> = tar
        .roots()
        .iter()
        .map(|root| root.annotations().as_ref().expect("a name")["org.opencontainers.image.ref.name"].clone())
        .collect();
    assert_eq!(names, ["1", "2"]);

    let metadata = json_file(&project, "metadata.json");
    assert_eq!(metadata["app"]["containerimage.digest"], tar.digest());
    assert_eq!(metadata["app"]["image.name"], "example.com/app:1,example.com/app:2");
    for platform in ["linux/amd64", "linux/arm64"] {
        let (image, told) = (tar.image(platform), &metadata["app"]["mab.platforms"][platform]);
        assert_eq!(told["containerimage.digest"], image.digest);
        assert_eq!(told["containerimage.config.digest"], image.manifest.config().digest().to_string());
    }

    let mut packed = Vec::new();
    for entry in tar::Archive::new(fs::File::open(project.path("root.tar")).unwrap()).entries().unwrap() {
        packed.push(entry.unwrap().path().unwrap().display().to_string());
    }
    for (folder, machine) in [("linux_amd64", "x86_64"), ("linux_arm64", "aarch64")] {
        assert_eq!(project.read(&format!("root/{folder}/machine")), format!("{machine}\n"));
        assert_eq!(
            fs::read_link(project.path(&format!("root/{folder}/link"))).unwrap().to_str(),
            Some("machine")
        );
        assert!(!project.path(&format!("root/{folder}/etc/shadow")).exists(), "whiteouts are applied");
        assert!(packed.contains(&format!("{folder}/machine")), "{packed:?}");
        assert!(!packed.contains(&format!("{folder}/etc/shadow")), "{packed:?}");
        let image = tar.image(&folder.replace('_', "/"));
        assert!(!image.has("etc/shadow") && image.added().contains(&"etc/.wh.shadow".to_string()));
    }
}

#[test]
fn an_archive_for_docker_has_one_platform() {
    let Some(base) = base() else { return };
    let project = tagged(&base);
    let ran = project.mab(&["bake", "app", "-o", "type=docker,dest=image.tar"]).run().failed(2);
    // It is known before anything is built.
    ran.says("output::several-platforms").does_not_say("RUN uname");
    assert!(!project.path("image.tar").exists());
    project.bake(&["app", "--platform", "linux/arm64", "-o", "type=docker,dest=image.tar"]);
    let archive = Layout::open(&project.path("image.tar"));
    assert_eq!(archive.only_image().text("machine"), "aarch64\n");
    tool(&["tar", "xf", "image.tar", "manifest.json"], &project);
    let image = archive.only_image();
    let blob = |digest: &str| format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"));
    let layers: Vec<String> = image.layer_digests().iter().map(|digest| blob(digest)).collect();
    let expected = json!([{
        "Config": blob(image.manifest.config().digest().as_ref()),
        "RepoTags": ["example.com/app:1", "example.com/app:2"],
        "Layers": layers,
    }]);
    assert_eq!(json_file(&project, "manifest.json"), expected);
}

#[test]
fn one_platform_goes_to_standard_output() {
    let Some(base) = base() else { return };
    let project = tagged(&base);
    let ran = project.bake(&["app", "--platform", "linux/arm64", "-o", "-"]);
    let mut archive = tar::Archive::new(&ran.output[..]);
    let paths: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert!(paths.contains(&"machine".to_string()), "{paths:?}");
}

#[test]
fn other_tools_read_both_images() {
    let Some(base) = base() else { return };
    if !(needs("skopeo") && needs("umoci")) {
        return;
    }
    let project = tagged(&base);
    project.bake(&["app", "-o", "type=oci,tar=false,dest=image", "-o", "type=oci,dest=image.tar"]);
    let layout = Layout::open(&project.path("image"));
    for source in ["oci:image:1", "oci-archive:image.tar:2"] {
        let raw: Value =
            serde_json::from_str(&tool(&["skopeo", "inspect", "--raw", source], &project)).unwrap();
        assert_eq!(raw["mediaType"], "application/vnd.oci.image.index.v1+json");
        for architecture in ["amd64", "arm64"] {
            let words = ["skopeo", "--override-arch", architecture, "inspect", "--config", source];
            let config: Value = serde_json::from_str(&tool(&words, &project)).unwrap();
            assert_eq!(config["architecture"], architecture);
            assert_eq!(config["rootfs"], layout.image(&format!("linux/{architecture}")).config["rootfs"]);
        }
    }
    for (architecture, machine) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        let one = format!("oci:{architecture}:1");
        tool(&["skopeo", "--override-arch", architecture, "copy", "oci:image:1", &one], &project);
        let bundle = format!("{architecture}-bundle");
        tool(&["umoci", "unpack", "--rootless", "--image", &format!("{architecture}:1"), &bundle], &project);
        assert_eq!(project.read(&format!("{bundle}/rootfs/machine")), format!("{machine}\n"));
        assert!(!project.path(&format!("{bundle}/rootfs/etc/shadow")).exists());
    }
}

#[test]
fn print_shows_the_resolved_file() {
    let project = Project::of(
        "[project]\nimage = \"example.com/{{ target.name }}\"\n[vars]\nflavour = \"plain\"\n\
         [group.default]\ntargets = [\"app\"]\n\
         [target.app]\nargs = { FLAVOUR = \"{{ vars.flavour }}\" }\ntags = [\"1\"]\nplatforms = [\"linux/amd64\"]\n",
    );
    let ran = project.mab(&["bake", "--print", "--var", "flavour=salty"]).run().succeeded();
    let printed: Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    assert_eq!(printed["group"]["default"]["targets"], json!(["app"]));
    let app = &printed["target"]["app"];
    assert_eq!(app["args"], json!({ "FLAVOUR": "salty" }));
    assert_eq!(app["tags"], json!(["example.com/app:1"]));
    assert_eq!(app["platforms"], json!(["linux/amd64"]));
    assert!(!project.store().exists(), "nothing is built, nothing is stored");
}

#[test]
fn plans_in_three_forms() {
    let project = Project::of(
        "[project]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n[group.default]\ntargets = [\"app\"]\n\
         [target.lib]\ndockerfile-inline = \"FROM scratch\"\n\
         [target.app]\ncontexts = { lib = \"target:lib\" }\ndockerfile-inline = \"FROM lib\"\n",
    );
    let plan = |format: &str| project.mab(&["plan", "--format", format]).run().succeeded().stdout;
    let names = ["build lib linux/amd64", "build app linux/arm64", "merge lib", "merge app"];
    let (text, dot) = (plan("text"), plan("dot"));
    for name in names {
        assert!(text.contains(name) && dot.contains(name), "{name}:\n{text}{dot}");
    }
    assert!(dot.starts_with("digraph "), "{dot}");
    let plan: Value = serde_json::from_str(&plan("json")).expect("it is JSON");
    let nodes = plan["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 10, "{plan:#}");
    let find = |name: &str, platform: &str| {
        nodes
            .iter()
            .find(|node| node["kind"] == "build" && node["name"] == name && node["platform"] == platform)
            .expect("a node")
    };
    for platform in ["linux/amd64", "linux/arm64"] {
        assert_eq!(find("app", platform)["needs"], json!([find("lib", platform)["id"]]));
    }
    assert!(!project.store().exists(), "nothing is built, nothing is stored");
}
