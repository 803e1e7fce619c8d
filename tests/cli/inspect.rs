//! Images looked at wherever they lie: what `mab inspect`, `mab digest` and `mab ls` say, and whether others agree.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::engine::engines;
use crate::support::project::native;
use crate::support::surroundings::{needs, skip};
use crate::support::{Project, Registry};

/// An image of two platforms that needs no base.
pub fn image(repository: &str) -> Project {
    Project::of(&format!(
        "[target.app]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]\nimage = \"{repository}\"\n\
         tags = [\"1.4.0\", \"latest\"]\nlabels = {{ tier = \"back\" }}\n\
         annotations = [\"index:org.opencontainers.image.title=app\"]\n\
         dockerfile-inline = \"\"\"\nFROM scratch\nCOPY content /\nUSER 65532\nSTOPSIGNAL SIGINT\n\"\"\"\n\
         [target.app.on.\"linux/arm64\"]\nargs = {{ ARM = \"1\" }}\n"
    ))
    .file("content", "what is in it")
}

fn said(project: &Project, arguments: &[&str]) -> String {
    project.mab(arguments).run().succeeded().stdout
}

fn inspected(project: &Project, image: &str) -> Value {
    serde_json::from_str(&said(project, &["inspect", image, "--json"])).expect("it is JSON")
}

/// What another tool prints.
fn tool(words: &[&str]) -> String {
    let output = Command::new(words[0]).args(&words[1..]).output().expect("it starts");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text")
}

#[test]
fn the_same_image_is_the_same_wherever_it_lies() {
    let Some(registry) = Registry::of_this_run() else { return };
    let repository = registry.repository("app");
    let project = image(&repository);
    let outputs = ["-o", "type=oci,dest=app.tar", "-o", "type=oci,tar=false,dest=layout"];
    project.bake(&[&["--push", "app"][..], &outputs].concat()).succeeded();
    tool(&["gzip", "-k", project.path("app.tar").to_str().expect("a path is text")]);
    let digest = registry.index(&repository, "1.4.0").0;
    let expected = json!([["linux/amd64", "65532"], ["linux/arm64", "65532"]]);
    let named = format!("{repository}:1.4.0");
    for place in [
        named.as_str(),
        "./app.tar",
        "./app.tar.gz",
        "oci-archive://app.tar:latest",
        "./layout",
        "oci-layout://layout:1.4.0",
        &format!("store://{digest}"),
    ] {
        let value = inspected(&project, place);
        assert_eq!(value["digest"], json!(digest), "{place}");
        let images = value["images"].as_array().expect("a list").iter();
        let images: Value =
            images.map(|image| json!([image["platform"], image["config"]["config"]["User"]])).collect();
        assert_eq!(images, expected, "{place}");
        assert_eq!(said(&project, &["digest", place]), format!("{digest}\n"));
        assert_eq!(
            crate::support::image::sha256(said(&project, &["inspect", "--raw", place]).as_bytes()),
            digest
        );
    }
    let arm = said(&project, &["digest", &named, "--platform", "linux/arm64", "--full"]);
    let pinned = inspected(&project, arm.trim());
    assert_eq!(pinned["platforms"], json!(["linux/arm64"]));
}

/// Where crane is, which `scripts/test` brings with Go where there is one.
#[test]
fn crane_agrees_on_digests_and_platforms() {
    let Some(registry) = Registry::of_this_run() else { return };
    let crane = std::env::var("MAB_TEST_CRANE").unwrap_or_default();
    if crane.is_empty() {
        skip("what crane says of images: MAB_TEST_CRANE does not say where it is");
        return;
    }
    let repository = registry.repository("craned");
    let project = image(&repository);
    project.bake(&["--push", "app"]).succeeded();
    let name = format!("{repository}:1.4.0");
    let crane = |words: &[&str]| tool(&[&[&*crane, "--insecure"], words].concat());
    let own = |words: &[&str]| said(&project, words);
    assert_eq!(own(&["inspect", "--raw", &name]), crane(&["manifest", &name]));
    assert_eq!(own(&["digest", &name]).trim(), crane(&["digest", &name]).trim());
    for platform in ["linux/amd64", "linux/arm64"] {
        let of_platform = [name.as_str(), "--platform", platform];
        let ours = |words: &[&str]| own(&[words, &of_platform[..]].concat());
        let theirs = |word: &str| crane(&[&[word], &of_platform[..]].concat());
        assert_eq!(ours(&["inspect", "--raw"]), theirs("manifest"));
        assert_eq!(ours(&["inspect", "--config"]), theirs("config"));
        assert_eq!(ours(&["digest"]).trim(), theirs("digest").trim());
    }
    // An index that crane makes is read as one of ours.
    let (one, made) = (format!("{repository}:one"), format!("{repository}:made"));
    own(&["copy", &name, &one, "--platform", "linux/arm64"]);
    crane(&["index", "append", "-m", &one, "-t", &made]);
    assert_eq!(inspected(&project, &made)["platforms"], json!(["linux/arm64"]));
    assert_eq!(inspected(&project, &made)["digest"].as_str(), Some(crane(&["digest", &made]).trim()));
}

#[test]
fn skopeo_agrees_on_digests_and_platforms() {
    let Some(registry) = Registry::of_this_run() else { return };
    if !needs("skopeo") {
        return;
    }
    let repository = registry.repository("agreed");
    let project = image(&repository);
    project.bake(&["--push", "app"]).succeeded();
    let own = inspected(&project, &repository);
    let source = format!("docker://{repository}:latest");
    let raw = tool(&["skopeo", "inspect", "--tls-verify=false", "--raw", &source]);
    assert_eq!(said(&project, &["inspect", "--raw", &repository]), raw);
    let theirs: Value = serde_json::from_str(&raw).expect("it is JSON");
    let theirs = theirs["manifests"].as_array().expect("an index").iter().map(|entry| {
        let platform = &entry["platform"];
        let name =
            format!("{}/{}", platform["os"].as_str().unwrap(), platform["architecture"].as_str().unwrap());
        json!([entry["digest"], name])
    });
    let images = own["images"].as_array().expect("a list").iter();
    let images: Value = images.map(|image| json!([image["digest"], image["platform"]])).collect();
    assert_eq!(images, theirs.collect::<Value>());
    for platform in ["amd64", "arm64"] {
        let config = tool(&[
            "skopeo",
            "inspect",
            "--tls-verify=false",
            "--override-arch",
            platform,
            "--config",
            "--raw",
            &source,
        ]);
        let platform = format!("linux/{platform}");
        assert_eq!(said(&project, &["inspect", &repository, "--config", "--platform", &platform]), config);
    }
    let tags: Value = serde_json::from_str(&tool(&[
        "skopeo",
        "list-tags",
        "--tls-verify=false",
        &format!("docker://{repository}"),
    ]))
    .expect("it is JSON");
    let listed: Value =
        serde_json::from_str(&said(&project, &["ls", &repository, "--all", "--json"])).expect("JSON");
    let mut listed: Vec<&str> =
        listed.as_array().unwrap().iter().map(|tag| tag["tag"].as_str().unwrap()).collect();
    let mut theirs: Vec<&str> =
        tags["Tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    listed.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(listed, theirs);
}

#[test]
fn an_index_and_an_image_take_one_screen() {
    let project = image("registry.example/shop/app");
    project
        .bake(&["app", "-o", "type=oci,dest=app.tar", "--set", "app.output=type=oci,dest=app.tar"])
        .succeeded();
    let value = inspected(&project, "./app.tar");
    let digest = |position: usize| value["images"][position]["digest"].as_str().expect("text").to_string();
    let text = said(&project, &["inspect", "./app.tar"]);
    let sizes: Vec<&str> = text.lines().filter(|line| line.contains("linux/")).collect();
    assert_eq!(sizes.len(), 2, "{text}");
    assert!(sizes[0].trim_start().starts_with("linux/amd64") && sizes[0].ends_with(&digest(0)), "{text}");
    assert!(sizes[1].trim_start().starts_with("linux/arm64") && sizes[1].ends_with(&digest(1)), "{text}");
    assert!(text.contains("\nAnnotations\n  org.opencontainers.image.title  app\n"), "{text}");
    assert!(text.contains("  content  2 platforms, "), "{text}");
    let text = said(&project, &["inspect", "./app.tar", "--platform", "linux/arm64"]);
    for part in [
        "  platform  linux/arm64\n",
        "\nConfig\n  user         65532\n",
        "  stop signal  SIGINT\n",
        "\nLabels\n  tier  back\n",
        "  COPY content / # buildkit\n",
        "  USER 65532\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let format = "{% for image in images %}{{ image.platform }} {% endfor %}";
    assert_eq!(said(&project, &["inspect", "./app.tar", "--format", format]), "linux/amd64 linux/arm64 \n");
    let ran = project.mab(&["inspect", "./app.tar", "--format", "{{ digset }}"]).run().failed(2);
    assert!(
        ran.errors().contains("the format `{{ digset }}` does not fit: undefined value"),
        "{}",
        ran.stderr
    );
}

#[test]
fn tags_stand_in_the_order_of_versions_and_what_tools_keep_is_left_out() {
    let Some(registry) = Registry::of_this_run() else { return };
    let repository = registry.repository("listed");
    let project = image(&repository);
    project.bake(&["--push", "app", "--set", &format!("app.tags={repository}:1.10.0")]).succeeded();
    project
        .bake(&["--push", "app", "--set", &format!("app.tags={repository}:1.9.0,{repository}:edge")])
        .succeeded();
    assert_eq!(said(&project, &["ls", &repository]), "edge\n1.9.0\n1.10.0\n");
    assert!(said(&project, &["ls", &repository, "--all"]).contains("mab."));
    let long = said(&project, &["ls", &repository, "--long"]);
    assert_eq!(long.lines().filter(|line| line.ends_with("linux/amd64, linux/arm64")).count(), 3, "{long}");
}

#[test]
fn what_is_no_image_is_told() {
    let project = image("registry.example/shop/app").file("text", "hello").file("folder/x", "");
    for (place, message) in [
        ("./nothing", "`./nothing` does not exist"),
        ("./text", "`./text` is no archive of images: "),
        ("./folder", "`./folder` is neither an OCI layout nor an archive of images"),
        ("s3://bucket", "`s3://bucket` names no image: nobody knows `s3://`"),
    ] {
        let ran = project.mab(&["inspect", place]).run().failed(2);
        assert!(ran.errors().contains(message), "{place}: {}", ran.stderr);
    }
    project.bake(&["app", "-o", "type=oci,tar=false,dest=layout"]).succeeded();
    let ran = project.mab(&["inspect", "./layout", "--platform", "linux/s390x"]).run().failed(2);
    assert!(ran.errors().contains("`./layout` has no image for `linux/s390x`"), "{}", ran.stderr);
    assert!(ran.errors().contains("it has linux/amd64, linux/arm64"), "{}", ran.stderr);
    let ran = project.mab(&["inspect", "./layout:2.0"]).run().failed(2);
    assert!(ran.errors().contains("`./layout:2.0` holds no image `2.0`"), "{}", ran.stderr);
    // Somebody has changed a document.
    let index: Value = serde_json::from_str(&project.read("layout/index.json")).expect("it is JSON");
    let hex = index["manifests"][0]["digest"].as_str().expect("text").replace("sha256:", "blobs/sha256/");
    project.edit(&format!("layout/{hex}"), "manifests", "manifestZ");
    let ran = project.mab(&["inspect", "./layout"]).run().failed(2);
    assert!(ran.errors().contains("has other bytes than its digest says"), "{}", ran.stderr);
}

/// Indexes within indexes end somewhere.
#[test]
fn indexes_are_not_nested_for_ever() {
    let project = Project::new();
    let layout = project.path("deep");
    std::fs::create_dir_all(layout.join("blobs/sha256")).expect("folders are made");
    let kind = "application/vnd.oci.image.index.v1+json";
    let mut inner = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": [] }).to_string();
    for _ in 0..8 {
        let digest = crate::support::image::sha256(inner.as_bytes());
        let size = inner.len();
        std::fs::write(layout.join("blobs/sha256").join(&digest[7..]), &inner).expect("it is written");
        let entry = json!({ "mediaType": kind, "digest": digest, "size": size });
        inner = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": [entry] }).to_string();
    }
    std::fs::write(layout.join("index.json"), inner).expect("it is written");
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("it is written");
    let ran = project.mab(&["inspect", "./deep"]).run().failed(2);
    assert!(ran.errors().contains("indexes are nested too deep"), "{}", ran.stderr);
}

#[test]
fn what_a_docker_engine_has_is_looked_into() {
    for (place, engine) in engines().iter().enumerate() {
        let name = format!("mab-test-inspected-{place}-{}", std::process::id());
        let project = image(&name);
        let mab = |arguments: &[&str]| project.mab(arguments).with_env("DOCKER_HOST", &engine.address);
        mab(&["bake", "app", "--load", "-o", "type=oci,dest=app.tar"]).run().succeeded();
        let there = format!("engine://{name}:1.4.0");
        let nowhere = format!("there is no image `{name}:2` in the Docker Engine at");
        mab(&["inspect", &format!("engine://{name}:2")]).run().failed(4).says(&nowhere);
        let ran = mab(&["inspect", &there, "--platform", &native(), "--json"]).run().succeeded();
        let value: Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
        assert_eq!(value["platforms"], json!([native()]), "{}", engine.address);
        assert_eq!(value["images"][0]["config"]["config"]["User"], "65532", "{}", engine.address);
        let ran = mab(&["diff", &there, "./app.tar", "--platform", &native(), "--json"]).run();
        let told: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
        for platform in told["platforms"].as_array().expect("a list") {
            assert_eq!(
                (&platform["files"], &platform["config"]),
                (&json!([]), &json!([])),
                "{}",
                engine.address
            );
        }
        mab(&["copy", &there, "./taken", "--platform", &native()]).run().succeeded();
        assert_eq!(inspected(&project, "./taken")["platforms"], json!([native()]));
        engine.remove_image(&format!("{name}:1.4.0"));
        engine.remove_image(&format!("{name}:latest"));
        let ran = mab(&["inspect", &there]).run();
        assert!(matches!(ran.code, Some(2..=4)), "{}: {}", engine.address, ran.stderr);
    }
}
