//! Indexes put together from images wherever they lie, taken apart and annotated.

use serde_json::{Value, json};

use crate::inspect::image;
use crate::support::{Project, Registry};

fn inspected(project: &Project, image: &str) -> Value {
    let ran = project.mab(&["inspect", image, "--json"]).run().succeeded();
    serde_json::from_str(&ran.stdout).expect("it is JSON")
}

/// One image for each platform, in a repository of its own, and what their digests are.
fn singles(project: &Project, registry: &Registry, repository: &str) -> Vec<(String, Value)> {
    project.bake(&["--push", "app"]).succeeded();
    let whole = inspected(project, repository);
    ["amd64", "arm64"]
        .into_iter()
        .enumerate()
        .map(|(position, architecture)| {
            let name = format!("{}:1", registry.repository(architecture));
            let platform = format!("linux/{architecture}");
            project.mab(&["copy", repository, &name, "--platform", &platform]).run().succeeded();
            (name, whole["images"][position]["digest"].clone())
        })
        .collect()
}

#[test]
fn two_images_become_one_index_without_a_layer_being_sent() {
    let Some(registry) = Registry::of_this_run() else { return };
    let repository = registry.repository("shop");
    let project = image(&repository);
    let parts = singles(&project, &registry, &repository);
    let tags = ["--tag", "1.4", "--tag", "1", "--tag", "stable", "--tag", "latest"];
    let merged = registry.repository("merged");
    let name = format!("{merged}:1.4.0");
    registry.requests();
    let words = ["index", "create", &name, &parts[0].0, &parts[1].0];
    project.mab(&[&words[..], &tags].concat()).run().succeeded();
    let requests = registry.requests();
    assert!(requests.len() < 50, "{requests:#?}");
    let is_layer = |request: &&String| request.contains("/blobs/sha256:") && request.starts_with("GET");
    // Both configs are read, since they say for which platforms their images are.
    assert_eq!(requests.iter().filter(is_layer).count(), 2, "{requests:#?}");
    assert!(
        !requests.iter().any(|request| request.starts_with("PUT") && request.contains("/blobs/")),
        "{requests:#?}"
    );
    assert_eq!(registry.tags(&merged), ["1", "1.4", "1.4.0", "latest", "stable"]);
    let index = inspected(&project, &name);
    assert_eq!(index["platforms"], json!(["linux/amd64", "linux/arm64"]));
    assert_eq!(
        json!([index["images"][0]["digest"], index["images"][1]["digest"]]),
        json!([parts[0].1, parts[1].1])
    );
    // In the same repository nothing but documents is asked for, and each tag takes one request.
    let here = registry.repository("amd64");
    project.mab(&["copy", &parts[1].0, &format!("{here}:arm")]).run().succeeded();
    registry.requests();
    let words = ["index", "create", &format!("{here}:all"), &parts[0].0, &format!("{here}:arm")];
    project.mab(&[&words[..], &tags].concat()).run().succeeded();
    let requests = registry.requests();
    assert!(requests.len() <= 11, "{requests:#?}");
    assert_eq!(requests.iter().filter(|request| request.starts_with("PUT")).count(), 5, "{requests:#?}");
}

#[test]
fn an_index_is_added_to_taken_from_and_annotated() {
    let project = image("registry.example/shop/app");
    project.bake(&["app", "-o", "type=oci,tar=false,dest=all"]).succeeded();
    let all = inspected(&project, "./all");
    let run = |arguments: &[&str]| project.mab(&[&["index"], arguments].concat()).run();
    project.mab(&["copy", "./all", "./arm.tar", "--platform", "linux/arm64"]).run().succeeded();
    let removed =
        ["remove", "./all:latest", "--platform", "linux/arm64", "--to-index", "oci-layout://less:1"];
    run(&removed).succeeded();
    assert_eq!(inspected(&project, "./less")["platforms"], json!(["linux/amd64"]));
    run(&["append", "oci-layout://less:1", "./arm.tar"]).succeeded();
    let joined = inspected(&project, "./less:1");
    assert_eq!(joined["platforms"], all["platforms"]);
    assert_eq!(joined["images"][1]["digest"], all["images"][1]["digest"]);
    let ran = run(&["create", "oci-layout://twice:1", "./all:latest", "./arm.tar"]).succeeded();
    assert!(ran.stdout.contains("linux/amd64, linux/arm64"), "the same image twice is one: {}", ran.stdout);
    project.write("content", "something else");
    project.bake(&["app", "-o", "type=oci,tar=false,dest=changed"]).succeeded();
    let ran = run(&["append", "oci-layout://less:1", "./changed:latest"]).failed(2);
    assert!(ran.errors().contains("two images claim the platform `linux/amd64`"), "{}", ran.stderr);
    run(&["append", "oci-layout://less:1", "./changed:latest", "--replace"]).succeeded();
    let replaced = inspected(&project, "./less:1");
    assert_ne!(replaced["images"][0]["digest"], all["images"][0]["digest"]);
    run(&["annotate", "oci-layout://less:1", "a=b", "c=d"]).succeeded();
    run(&["annotate", "oci-layout://less:1", "tested=yes", "--platform", "linux/arm64"]).succeeded();
    run(&["annotate", "oci-layout://less:1", "c="]).succeeded();
    let annotated = inspected(&project, "./less:1");
    assert_eq!(annotated["annotations"]["a"], "b");
    assert!(annotated["annotations"].get("c").is_none());
    assert_eq!(annotated["images"][1]["index-annotations"], json!({ "tested": "yes" }));
    assert_eq!(annotated["images"][1]["digest"], replaced["images"][1]["digest"]);
    let ran = run(&["remove", "oci-layout://less:1", "--platform", "linux/s390x"]).failed(2);
    assert!(ran.errors().contains("`oci-layout://less:1` has nothing for `linux/s390x`"), "{}", ran.stderr);
    let ran = run(&["remove", "oci-layout://less:1", "--platform", "linux/amd64,linux/arm64"]).failed(2);
    assert!(ran.errors().contains("nothing would be left of `oci-layout://less:1`"), "{}", ran.stderr);
    let ran = run(&["annotate", "./arm.tar", "a=b"]).failed(2);
    assert!(
        ran.errors().contains("`./arm.tar` is the image of one platform, and no index"),
        "{}",
        ran.stderr
    );
    let ran = run(&["create", "oci-layout://dry:1", "./all:latest", "--dry-run"]).succeeded();
    assert!(ran.stdout.contains("\"manifests\"") && !project.path("dry").exists(), "{}", ran.stdout);
}

#[test]
fn an_index_tells_how_far_it_is() {
    let Some(registry) = Registry::of_this_run() else { return };
    let project = image("registry.example/shop/app");
    project.bake(&["app", "-o", "type=oci,tar=false,dest=layout"]).succeeded();
    project.mab(&["copy", "./layout:latest", "./arm.tar", "--platform", "linux/arm64"]).run().succeeded();
    let run =
        |words: &[&str], how: &str| project.mab(&[&["index"], words, &["--progress", how]].concat()).run();
    let to = format!("{}:1", registry.repository("told"));
    let created = run(&["create", &to, "./layout:latest"], "json").succeeded();
    let events = created.events();
    let of_kind = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    let node = json!({ "node": 0, "kind": "index", "name": to, "platform": null });
    assert_eq!(of_kind("run-started")[0]["nodes"], json!([node]));
    let sent = of_kind("transfer").into_iter().filter(|event| event["done"] == event["total"]);
    assert_eq!(sent.count(), 3, "two configs and a layer: {}", created.stderr);
    let last = of_kind("blobs").pop().expect("there are some");
    assert_eq!((&last["done"], &last["total"]), (&json!(3), &json!(3)));
    assert_eq!(events.last().expect("there are some")["end"], "succeeded");
    // A line for each blob that is sent, and none where all is there.
    let other = format!("{}:1", registry.repository("other"));
    let pushed = |words: &[&str]| {
        let ran = run(words, "plain").succeeded();
        let of_index = |line: &str| line.starts_with(&format!("[index {other}] "));
        assert!(ran.stderr.lines().all(of_index), "{}", ran.stderr);
        ran.stderr.lines().filter(|line| line.contains("] pushed ")).count()
    };
    assert_eq!(pushed(&["create", &other, "./arm.tar"]), 2);
    assert_eq!(pushed(&["append", &other, "./layout:latest"]), 1, "the other platform's config");
    assert_eq!(pushed(&["annotate", &other, "a=b"]), 0);
    assert_eq!(pushed(&["remove", &other, "--platform", "linux/arm64"]), 0);
    assert_eq!(run(&["annotate", &other, "a=c"], "quiet").succeeded().stderr, "");
    registry.refuse("PUT", 400, "{}");
    let failed = run(&["annotate", &other, "a=d"], "json").failed(4);
    let ends: Vec<Value> =
        failed.events().into_iter().rev().take(2).map(|event| event["end"].clone()).collect();
    assert_eq!(ends, ["failed", "failed"], "{}", failed.stderr);
    registry.mend();
}

#[test]
fn an_index_that_somebody_else_moves_meanwhile_is_left_alone() {
    let Some(registry) = Registry::of_this_run() else { return };
    let (name, project) = (registry.repository("moved"), image("registry.example/shop/app"));
    let to = format!("{name}:1");
    project.bake(&["app", "-o", "type=oci,tar=false,dest=layout"]).succeeded();
    project.mab(&["copy", "./layout:latest", "./arm.tar", "--platform", "linux/arm64"]).run().succeeded();
    project.mab(&["index", "create", &to, "./arm.tar"]).run().succeeded();
    let before = registry.index(&name, "1").0;
    let (elsewhere, kind) = ("0".repeat(64), "application/vnd.oci.image.index.v1+json");
    let headers = format!("Docker-Content-Digest: sha256:{elsewhere}\r\nContent-Type: {kind}\r\n");
    registry.answer(&format!("HEAD {}/manifests/1", registry.url_path(&name)), 200, &headers, "{}");
    registry.requests();
    let ran = project.mab(&["index", "append", &to, "./layout:latest"]).run().failed(4);
    ran.says(&format!("`{to}` holds something else now than a moment ago: sha256:{elsewhere}, not {before}"));
    // It is looked at when all the rest is there, and nothing comes after it.
    let last = registry.requests().pop().expect("there are some");
    assert!(last.starts_with("HEAD ") && last.ends_with("/manifests/1"), "{last}");
    registry.mend();
    assert_eq!(registry.index(&name, "1").0, before);
}

/// Puts a document into a layout, and describes it.
fn put(project: &Project, layout: &str, kind: &str, document: &Value) -> Value {
    let bytes = document.to_string();
    let digest = crate::support::image::sha256(bytes.as_bytes());
    project.write(&format!("{layout}/blobs/sha256/{}", &digest[7..]), &bytes);
    json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
}

/// Lets a layout name a document.
fn name(project: &Project, layout: &str, tag: &str, descriptor: &Value) {
    let path = format!("{layout}/index.json");
    let mut index: Value = serde_json::from_str(&project.read(&path)).expect("it is JSON");
    let mut named = descriptor.clone();
    named["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    index["manifests"].as_array_mut().expect("a list").push(named);
    project.write(&path, index.to_string());
}

#[test]
fn attestations_and_inner_indexes_are_kept() {
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let Some(registry) = Registry::of_this_run() else { return };
    let project = image("registry.example/shop/app");
    project.bake(&["app", "-o", "type=oci,tar=false,dest=all"]).succeeded();
    let raw = project.mab(&["inspect", "./all", "--raw"]).run().succeeded().stdout;
    let mut index: Value = serde_json::from_str(&raw).expect("it is JSON");
    let config = put(&project, "all", "application/vnd.oci.image.config.v1+json", &json!({}));
    let mut statement = put(&project, "all", "application/vnd.in-toto+json", &json!({ "statement": 1 }));
    statement["annotations"] = json!({ "in-toto.io/predicate-type": "https://slsa.dev/provenance/v1" });
    let attestation =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [statement] });
    let mut entry = put(&project, "all", MANIFEST, &attestation);
    entry["platform"] = json!({ "architecture": "unknown", "os": "unknown" });
    entry["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": index["manifests"][0]["digest"],
    });
    index["manifests"].as_array_mut().expect("a list").push(entry);
    let attested = put(&project, "all", INDEX, &index);
    name(&project, "all", "attested", &attested);
    let outer = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [attested] });
    let outer = put(&project, "all", INDEX, &outer);
    name(&project, "all", "outer", &outer);

    let repository = registry.repository("outer");
    project.mab(&["copy", "./all:outer", &repository]).run().succeeded();
    let there = inspected(&project, &repository);
    assert_eq!(there["digest"], outer["digest"]);
    assert_eq!(there["indexes"][0]["digest"], attested["digest"]);
    assert_eq!(there["platforms"], json!(["linux/amd64", "linux/arm64"]));
    let text = project.mab(&["inspect", &repository]).run().succeeded().stdout;
    assert!(text.contains("  content  2 platforms, 1 attestation, "), "{text}");
    assert!(
        text.lines().any(|line| line.contains("linux/amd64") && line.ends_with("  provenance")),
        "{text}"
    );

    let merged = registry.repository("merged");
    project.mab(&["index", "create", &merged, "./all:attested"]).run().succeeded();
    let there = inspected(&project, &merged);
    assert_eq!(there["images"][0]["attestations"][0]["statements"][0]["digest"], statement["digest"]);
    let removed = ["index", "remove", &merged, "--platform", "linux/amd64"];
    project.mab(&removed).run().succeeded();
    let text = project.mab(&["inspect", &merged]).run().succeeded().stdout;
    assert!(text.contains("  content  1 platform, ") && !text.contains("attestation"), "{text}");
}

#[test]
fn dockers_images_make_a_manifest_list_unless_others_are_among_them() {
    let project = image("registry.example/shop/app");
    let outputs =
        ["-o", "type=oci,tar=false,oci-mediatypes=false,dest=docker", "-o", "type=oci,tar=false,dest=oci"];
    project.bake(&[&["app"][..], &outputs].concat()).succeeded();
    let made = |arguments: &[&str]| {
        project.mab(&[&["index", "create", "oci-layout://made:1"], arguments].concat()).run().succeeded();
        inspected(&project, "./made:1")["media-type"].as_str().expect("text").to_string()
    };
    const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    assert_eq!(made(&["./docker:latest"]), LIST);
    assert_eq!(made(&["./docker:latest", "--oci"]), INDEX);
    assert_eq!(made(&["./docker:latest", "--annotation", "a=b"]), INDEX);
    for (place, platform) in [("./docker:latest", "linux/amd64"), ("./oci:latest", "linux/arm64")] {
        let to = format!("./{}.tar", &platform[6..]);
        project.mab(&["copy", place, &to, "--platform", platform]).run().succeeded();
    }
    assert_eq!(made(&["./amd64.tar", "./arm64.tar"]), INDEX);
    made(&["./docker:latest"]);
    let ran = project.mab(&["index", "annotate", "oci-layout://made:1", "a=b"]).run().failed(2);
    assert!(ran.errors().contains("a Docker manifest list has no annotations"), "{}", ran.stderr);
}
