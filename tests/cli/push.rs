//! Into the real registry on loopback, and out of it.

use std::process::Command;

use serde_json::Value;

use crate::support::surroundings::{base_with_ids, needs};
use crate::support::{Layout, Project, Registry, base};

/// The shop, to be pushed below a repository of its own.
fn shop(base: &std::path::Path, repository: &str) -> Project {
    let project = Project::shop(base);
    project.edit("multiarch.toml", "localhost:5000/shop", repository);
    project
}

fn position(requests: &[String], what: impl Fn(&str) -> bool) -> Vec<usize> {
    requests.iter().enumerate().filter(|(_, request)| what(request)).map(|(at, _)| at).collect()
}

#[test]
fn a_push_moves_tags_last_and_only_once() {
    let (Some(base), Some(registry)) = (base_with_ids(), Registry::of_this_run()) else { return };
    let repository = registry.repository("shop");
    let project = shop(&base, &repository);
    project.bake(&["--push", "--metadata-file", "metadata.json"]);
    let requests = registry.requests();
    let metadata: Value = serde_json::from_str(&project.read("metadata.json")).unwrap();
    for target in ["base", "api", "web"] {
        let name = format!("{repository}/{target}");
        assert_eq!(registry.tags(&name), ["1.4.0"]);
        let (digest, index) = registry.index(&name, "1.4.0");
        assert_eq!(metadata[target]["containerimage.digest"], digest);
        assert_eq!(index.manifests().len(), 2);
        let machine = registry.image(&name, "1.4.0", "arm64");
        assert_eq!(machine.config["architecture"], "arm64");

        let of_target = |request: &str| request.contains(&format!("/{target}/"));
        let is_write = |request: &str| {
            !request.starts_with("GET") && !request.starts_with("HEAD") && !request.contains("manifests/mab.")
        };
        let journals = position(&requests, |request| {
            of_target(request) && request.starts_with("PUT") && request.contains("manifests/mab.")
        });
        assert_eq!(journals.len(), 2, "the journal is opened and closed: {requests:#?}");
        let writes = position(&requests, |request| of_target(request) && is_write(request));
        let tags = position(&requests, |request| {
            of_target(request) && request.starts_with("PUT") && request.ends_with("manifests/1.4.0")
        });
        assert_eq!(tags.len(), 1, "{requests:#?}");
        assert_eq!(writes.last(), tags.last(), "the tag of {target} is written last: {requests:#?}");
        assert!(journals[0] < tags[0] && tags[0] < journals[1], "{requests:#?}");
        let children = position(&requests, |request| {
            of_target(request) && request.starts_with("PUT") && request.contains("manifests/sha256:")
        });
        assert_eq!(children.len(), 3, "both images and the index: {requests:#?}");
    }
    assert_eq!(
        registry.image(&format!("{repository}/api"), "1.4.0", "arm64").text("etc/shop-machine"),
        "aarch64\n"
    );

    registry.requests();
    project.bake(&["--push"]).says("nothing had to be done").says("(unchanged)");
    let again = registry.requests();
    let writes = position(&again, |request| !request.starts_with("GET") && !request.starts_with("HEAD"));
    assert!(writes.is_empty(), "{again:#?}");
    assert!(again.len() <= 6, "an unchanged tag costs one look: {again:#?}");
}

#[test]
fn a_changed_image_moves_its_tag_and_sends_what_is_new() {
    let (Some(base), Some(registry)) = (base_with_ids(), Registry::of_this_run()) else { return };
    let repository = registry.repository("shop");
    let project = shop(&base, &repository);
    project.bake(&["web", "--push"]);
    let name = format!("{repository}/web");
    let (before, _) = registry.index(&name, "1.4.0");
    let first = registry.requests().iter().filter(|request| request.starts_with("POST")).count();
    project.edit(
        "examples/shop/web/Dockerfile",
        "ENTRYPOINT [\"announce\", \"web\"]",
        "ENTRYPOINT [\"announce\", \"site\"]",
    );
    project.bake(&["web", "--push"]);
    let requests = registry.requests();
    let second = requests.iter().filter(|request| request.starts_with("POST")).count();
    let read = position(&requests, |request| request.starts_with("GET") && request.contains("/manifests/"));
    assert!(read.is_empty(), "what the tag led to is in the store: {requests:#?}");
    let asked =
        |part: &str| position(&requests, |request| request.starts_with("HEAD") && request.contains(part));
    assert_eq!(
        asked("/manifests/sha256:").len(),
        2,
        "what the tag led to holds what is not new: {requests:#?}"
    );
    assert!(asked("/blobs/").is_empty(), "so no layer is asked about: {requests:#?}");
    let (after, _) = registry.index(&name, "1.4.0");
    assert_ne!(before, after);
    assert_eq!(second, 3, "the access is tried, and only two configs are new, after {first} uploads");
    assert_eq!(
        registry.image(&name, &before, "amd64").config["config"]["Entrypoint"][1],
        "web",
        "the old one stays"
    );
}

#[test]
fn several_tags_of_a_repository_are_one_question_about_each_manifest() {
    let (Some(base), Some(registry)) = (base(), Registry::of_this_run()) else { return };
    let name = registry.repository("app");
    let project = Project::of(&format!(
        "[target.app]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\ntags = [\"{name}:1\", \"{name}:2\", \"{name}:3\"]\n\
         contexts = {{ busybox = \"oci-layout://{}\" }}\n",
        base.display()
    ));
    project.write("Dockerfile", "FROM busybox\nCOPY file /file\n");
    project.write("file", "one\n");
    project.bake(&["app", "--push"]);
    project.write("file", "two\n");
    registry.requests();
    project.bake(&["app", "--push"]);
    let requests = registry.requests();
    let asked =
        position(&requests, |request| request.starts_with("HEAD") && request.contains("/manifests/sha256:"));
    assert_eq!(asked.len(), 2, "one for each platform: {requests:#?}");
}

#[test]
fn a_tag_whose_manifests_are_gone_vouches_for_no_layer() {
    let (Some(base), Some(registry)) = (base(), Registry::of_this_run()) else { return };
    let name = registry.repository("app");
    let output = format!("type=image,name={name}:1,push=true");
    let project = Project::app(&base, "FROM busybox\nCOPY file /file\n");
    project.write("file", "one\n");
    project.bake(&["app", "-o", &output]);
    project.write("file", "two\n");
    registry.requests();
    // As where what has no tag of its own is cleaned away.
    registry.refuse(&format!("HEAD {}/manifests/sha256:", registry.url_path(&name)), 404, "");
    project.bake(&["app", "-o", &output]);
    let requests = registry.requests();
    let asked = position(&requests, |request| request.starts_with("HEAD") && request.contains("/blobs/"));
    assert_eq!(asked.len(), 2, "the base's layer for each platform: {requests:#?}");
    registry.mend();
    for architecture in ["amd64", "arm64"] {
        assert_eq!(registry.image(&name, "1", architecture).text("file"), "two\n");
    }
}

#[test]
fn bases_come_from_the_registry_and_their_layers_go_back_by_mount() {
    let (Some(base), Some(registry)) = (base(), Registry::of_this_run()) else { return };
    let (lower, upper) = (registry.repository("lower"), registry.repository("upper"));
    let maker = Project::app(&base, "FROM busybox\nRUN uname -m > /lower\n");
    maker.bake(&["app", "-o", &format!("type=image,name={lower}:1,push=true")]);
    registry.requests();

    let user = Project::of(&format!(
        "[project]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\n\
         [target.plain]\ntags = [\"{upper}:plain\"]\ndockerfile-inline = \"FROM {lower}:1\\nRUN cat /lower > /upper\"\n\
         [target.named]\ntags = [\"{upper}:named\"]\ncontexts = {{ below = \"docker-image://{lower}:1\" }}\n\
         dockerfile-inline = \"FROM below\\nCOPY --from=below /lower /copy\"\n"
    ));
    user.bake(&["plain", "--push"]);
    let requests = registry.requests();
    let from = format!("&from={}", lower.split_once('/').expect("a host").1.replace('/', "%2F"));
    let mounts = position(&requests, |request| request.contains("?mount=") && request.ends_with(&from));
    assert!(mounts.len() >= 4, "two layers of the base for each platform: {requests:#?}");
    let uploads = position(&requests, |request| request.starts_with("PUT") && request.contains("/uploads/"));
    assert_eq!(uploads.len(), 4, "a layer and a config for each platform: {requests:#?}");
    for (architecture, machine) in [("amd64", "x86_64"), ("arm64", "aarch64")] {
        assert_eq!(registry.image(&upper, "plain", architecture).text("upper"), format!("{machine}\n"));
    }
    user.bake(&["named", "--push"]);
    assert_eq!(registry.image(&upper, "named", "arm64").text("copy"), "aarch64\n");
    assert_eq!(registry.tags(&upper), ["named", "plain"]);
}

#[test]
fn skopeo_reads_what_was_pushed() {
    let (Some(base), Some(registry)) = (base(), Registry::of_this_run()) else { return };
    if !needs("skopeo") {
        return;
    }
    let name = registry.repository("app");
    let project = Project::app(&base, "FROM busybox\nRUN uname -m > /machine\nLABEL made=here\n");
    project.bake(&[
        "app",
        "-o",
        &format!("type=image,name={name}:1,push=true"),
        "-o",
        "type=oci,dest=image.tar",
    ]);
    let source = format!("docker://{name}:1");
    let skopeo = |arguments: &[&str]| -> Value {
        let output =
            Command::new("skopeo").args(arguments).arg("--tls-verify=false").arg(&source).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("it is JSON")
    };
    let index = skopeo(&["inspect", "--raw"]);
    let layout = Layout::open(&project.path("image.tar"));
    for (at, architecture) in ["amd64", "arm64"].iter().enumerate() {
        let image = layout.image(&format!("linux/{architecture}"));
        assert_eq!(index["manifests"][at]["digest"], image.digest);
        let seen = skopeo(&["--override-arch", architecture, "inspect"]);
        assert_eq!(seen["Architecture"], *architecture);
        assert_eq!(seen["Labels"]["made"], "here");
        assert_eq!(seen["Layers"], serde_json::json!(image.layer_digests()));
    }
}

#[test]
fn dockers_media_types_make_a_manifest_list() {
    let (Some(base), Some(registry)) = (base(), Registry::of_this_run()) else { return };
    let name = registry.repository("list");
    let project = Project::app(&base, "FROM busybox\nRUN uname -m > /machine\n");
    project.bake(&["app", "-o", &format!("type=image,name={name}:1,push=true,oci-mediatypes=false")]);
    let docker = "application/vnd.docker";
    let (_, list) = registry.index(&name, "1");
    assert_eq!(
        list.media_type().as_ref().unwrap().to_string(),
        format!("{docker}.distribution.manifest.list.v2+json")
    );
    for entry in list.manifests() {
        assert_eq!(entry.media_type().to_string(), format!("{docker}.distribution.manifest.v2+json"));
    }
    let image = registry.image(&name, "1", "arm64");
    let config = image.manifest.config().media_type().to_string();
    assert_eq!(config, format!("{docker}.container.image.v1+json"));
    for layer in image.manifest.layers() {
        assert_eq!(layer.media_type().to_string(), format!("{docker}.image.rootfs.diff.tar.gzip"));
    }
    assert_eq!(image.text("machine"), "aarch64\n");
}
