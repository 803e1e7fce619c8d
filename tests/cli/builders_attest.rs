//! What workers state about images, through merge, push and output.

use serde_json::{Value, json};

use crate::builders::{fleet, foreign, sockets};
use crate::support::project::native;
use crate::support::{Project, Registry, base};

fn document(registry: &Registry, repository: &str, kind: &str, name: &str) -> Value {
    let path = repository.split_once('/').expect("a host comes first").1;
    let answer = registry.get(&format!("/v2/{path}/{kind}/{name}"));
    assert_eq!(answer.status, 200, "{path} {name}: {}", answer.headers);
    serde_json::from_slice(&answer.body).expect("it is JSON")
}

fn project(registry: &Registry, attest: &str) -> Option<Project> {
    let project = Project::of(&format!(
        "[target.app]\nplatforms = [\"{}\", \"{}\"]\nimages = [\"{}\"]\ntags = [\"1\"]\nattest = [{attest}]\n\
         annotations = [\"manifest:a=b\", \"index:c=d\"]\ncontexts = {{ busybox = \"oci-layout://{}\" }}\n\
         dockerfile-inline = \"FROM busybox\\nCOPY multiarch.toml /\\n\"\n",
        native(),
        foreign(),
        registry.repository("app"),
        base()?.display()
    ));
    fleet(&project, &sockets()?);
    Some(project)
}

#[test]
fn provenance_stands_beside_each_platform() {
    let Some(registry) = Registry::of_this_run() else { return };
    let Some(project) = project(&registry, "\"type=provenance,mode=max\"") else { return };
    let repository = registry.repository("app");
    project.mab(&["bake", "app", "--builder", "fleet", "--push"]).run().succeeded();
    let index = document(&registry, &repository, "manifests", "1");
    let entries = index["manifests"].as_array().expect("an index has entries");
    assert_eq!(entries.len(), 4, "{index}");
    assert_eq!(index["annotations"], json!({ "c": "d" }));
    for (image, statement) in entries.iter().zip(&entries[2..]) {
        assert_eq!(statement["platform"], json!({ "architecture": "unknown", "os": "unknown" }));
        assert_eq!(statement["annotations"]["vnd.docker.reference.type"], "attestation-manifest");
        assert_eq!(statement["annotations"]["vnd.docker.reference.digest"], image["digest"]);
        let digest = statement["digest"].as_str().expect("a digest is text");
        let manifest = document(&registry, &repository, "manifests", digest);
        assert_eq!(manifest["subject"]["digest"], image["digest"]);
        assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.in-toto+json");
        let layer = manifest["layers"][0]["digest"].as_str().expect("a digest is text");
        let told = document(&registry, &repository, "blobs", layer);
        let predicate = told["predicateType"].as_str().expect("it says what it is");
        assert!(predicate.starts_with("https://slsa.dev/provenance/"), "{told}");
        assert!(told["predicate"].to_string().contains("llbDefinition"), "mode=max tells the build");
    }
    // The second bake asks nobody, and says the same.
    project
        .mab(&["bake", "app", "--builder", "fleet", "--push"])
        .run()
        .succeeded()
        .says("nothing had to be done");
    assert_eq!(document(&registry, &repository, "manifests", "1"), index);
    let output = ["bake", "app", "--builder", "fleet", "-o", "type=oci,dest=out,tar=false"];
    project.mab(&output).run().succeeded();
    let out: Value = serde_json::from_str(&project.read("out/index.json")).expect("it is JSON");
    let root = out["manifests"][0]["digest"].as_str().expect("a digest is text").replace(':', "/");
    let written: Value =
        serde_json::from_str(&project.read(&format!("out/blobs/{root}"))).expect("it is JSON");
    assert_eq!(written["manifests"].as_array().map(Vec::len), Some(4), "{written}");
    for entry in written["manifests"].as_array().into_iter().flatten() {
        let digest = entry["digest"].as_str().expect("a digest is text").replace(':', "/");
        assert!(project.path(&format!("out/blobs/{digest}")).is_file());
    }
    project.mab(&["bake", "app", "--builder", "fleet", "-o", "type=local,dest=root"]).run().succeeded();
}

#[test]
fn what_cannot_be_stated_is_said() {
    let Some(registry) = Registry::of_this_run() else { return };
    let Some(project) = project(&registry, "\"type=sbom,generator=127.0.0.1:1/scanner\"") else { return };
    let ran = project.mab(&["bake", "app", "--builder", "fleet", "--progress", "quiet"]).run().failed(1);
    assert!(ran.stderr.contains("127.0.0.1:1/v2/scanner"), "{}", ran.stderr);
    let ran = project.mab(&["bake", "app"]).run().failed(2);
    ran.says("the embedded engine does not write attestations yet").says("bake with `--builder NAME`");
}
