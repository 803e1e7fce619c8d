//! Images copied between registries, layouts and archives, with what refers to them, and tagged where they are.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;

use serde_json::{Value, json};

use crate::inspect::image;
use crate::support::engine::engines;
use crate::support::image::sha256;
use crate::support::project::native;
use crate::support::surroundings::needs;
use crate::support::{Project, Registry};

fn digest(project: &Project, image: &str) -> String {
    project.mab(&["digest", image]).run().succeeded().stdout.trim().to_string()
}

#[test]
fn an_image_goes_round_and_stays_the_same() {
    let Some(registry) = Registry::of_this_run() else { return };
    let first = registry.repository("first");
    let project = image(&first);
    project.bake(&["--push", "app"]).succeeded();
    let expected = digest(&project, &first);
    let named = format!("{first}:1.4.0");
    let back = registry.repository("back");
    let last = format!("{back}:1.4.0");
    for (from, to) in [
        (named.as_str(), "./layout"),
        ("./layout:1.4.0", "./app.tar"),
        ("oci-archive://app.tar", "oci-layout://other:2"),
        ("./other:2", last.as_str()),
    ] {
        let ran = project.mab(&["copy", from, to]).run().succeeded();
        assert!(ran.stdout.contains(&expected), "{from} to {to}: {}", ran.stdout);
        assert_eq!(digest(&project, to), expected, "{from} to {to}");
    }
    if needs("skopeo") {
        for place in ["oci:layout:1.4.0".to_string(), format!("docker://{last}")] {
            let mut skopeo = std::process::Command::new("skopeo");
            let skopeo = skopeo.current_dir(project.path(""));
            let ran = skopeo
                .args(["copy", "--all", "--src-tls-verify=false", &place, "oci:seen"])
                .output()
                .unwrap();
            assert!(ran.status.success(), "{place}: {}", String::from_utf8_lossy(&ran.stderr));
        }
    }
    // Nothing is sent a second time.
    let ran = project.mab(&["copy", "./other:2", &last]).run().succeeded();
    assert!(ran.stdout.contains("nothing had to be sent"), "{}", ran.stdout);
}

#[test]
fn within_a_registry_nothing_is_sent_and_what_is_there_is_asked_for_once() {
    let Some(registry) = Registry::of_this_run() else { return };
    let (from, to) = (registry.repository("from"), registry.repository("to"));
    let project = image(&from);
    project.bake(&["--push", "app"]).succeeded();
    registry.requests();
    let copy = || project.mab(&["copy", "--no-referrers", &from, &to, "--tag", "stable"]).run().succeeded();
    copy();
    let requests = registry.requests();
    assert!(
        !requests.iter().any(|request| request.starts_with("GET") && request.contains("/blobs/")),
        "{requests:#?}"
    );
    assert!(
        !requests.iter().any(|request| request.starts_with("PUT") && request.contains("/blobs/")),
        "{requests:#?}"
    );
    assert_eq!(registry.tags(&to), ["latest", "stable"]);
    assert_eq!(registry.index(&to, "stable").0, registry.index(&from, "latest").0);
    registry.requests();
    copy();
    let requests = registry.requests();
    let path = registry.url_path(&to);
    let heads: Vec<&String> = requests.iter().filter(|request| request.starts_with("HEAD")).collect();
    assert_eq!(heads.len(), 2, "one for each platform's manifest: {requests:#?}");
    assert!(
        heads.iter().all(|request| request.contains(&format!("{path}/manifests/sha256:"))),
        "{requests:#?}"
    );
    let changes: Vec<&String> = requests.iter().filter(|request| request.starts_with('P')).collect();
    assert_eq!(changes.len(), 2, "one for each tag: {requests:#?}");
}

#[test]
fn a_copy_that_is_cut_moves_no_tag_and_goes_on() {
    let Some(registry) = Registry::of_this_run() else { return };
    let from = registry.repository("whole");
    let project = image(&from);
    project.bake(&["--push", "app", "-o", "type=oci,tar=false,dest=layout"]).succeeded();
    let whole = digest(&project, &from);
    let copy = |to: &str| project.mab(&["copy", "./layout:latest", to]).run();
    registry.requests();
    copy(&format!("{}:1", registry.repository("uncut"))).succeeded();
    let requests = registry.requests().len();
    assert!((8..40).contains(&requests), "{requests}");
    let cut = |left: usize| {
        let cut = Registry::of_this_run().expect("it was there a moment ago");
        let repository = cut.repository("cut");
        let to = format!("{repository}:1");
        cut.cut_after(left);
        let ran = copy(&to);
        cut.mend();
        if ran.code == Some(0) {
            // Only questions whose answers nobody needs were cut.
            return;
        }
        ran.failed(4);
        assert_eq!(cut.tags(&repository), [""; 0], "after {left}");
        copy(&to).succeeded();
        assert_eq!(digest(&project, &to), whole, "after {left}");
    };
    thread::scope(|scope| {
        let cut = &cut;
        let runs: Vec<_> = (0..requests).map(|left| scope.spawn(move || cut(left))).collect();
        runs.into_iter().for_each(|run| run.join().expect("no run panicked"));
    });
}

#[test]
fn one_platform_is_an_image_and_some_are_an_index() {
    let project = image("registry.example/shop/app");
    project.bake(&["app", "-o", "type=oci,tar=false,dest=all"]).succeeded();
    let inspected = |place: &str| -> Value {
        let ran = project.mab(&["inspect", place, "--json"]).run().succeeded();
        serde_json::from_str(&ran.stdout).expect("it is JSON")
    };
    let all = inspected("./all");
    project.mab(&["copy", "./all", "./one.tar", "--platform", "linux/arm64"]).run().succeeded();
    let one = inspected("./one.tar");
    assert_eq!((&one["digest"], &one["platforms"]), (&all["images"][1]["digest"], &json!(["linux/arm64"])));
    project.mab(&["copy", "./all", "./both", "--platform", "linux/amd64,linux/arm64"]).run().succeeded();
    assert_eq!(inspected("./both")["platforms"], all["platforms"]);
    let ran = project.mab(&["copy", "./all", "docker-archive://two.tar"]).run().failed(2);
    assert!(!project.path("two.tar").exists(), "{}", ran.stderr);
    let words = ["copy", "./all", "docker-archive://app.tar:shop/app:1", "--platform", "linux/amd64"];
    project.mab(&words).run().succeeded();
    assert_eq!(inspected("docker-archive://app.tar:shop/app:1")["platforms"], json!(["linux/amd64"]));
    let words =
        ["copy", "./all", "docker-archive://app.tar:shop/app:1", "--platform", "linux/amd64", "--tag", "2"];
    project.mab(&words).run().succeeded();
    assert_eq!(inspected("docker-archive://app.tar:shop/app:2")["platforms"], json!(["linux/amd64"]));
    let by_digest = format!("engine://app@sha256:{}", "0".repeat(64));
    let ran = project.mab(&["copy", "./all", &by_digest]).run().failed(2);
    assert!(ran.stderr.contains("is no name that an image can get in a Docker Engine"), "{}", ran.stderr);
}

/// Puts a manifest that is about another one, by hand.
fn put(registry: &Registry, repository: &str, tag: &str, bytes: &str, kind: &str) {
    let path = format!("{}/manifests/{tag}", registry.url_path(repository));
    send(registry, "PUT", &path, kind, bytes);
}

fn put_blob(registry: &Registry, repository: &str, bytes: &str) -> Value {
    let path = format!("{}/blobs/uploads/", registry.url_path(repository));
    let answer = send(registry, "POST", &path, "x", "");
    let location = answer.lines().find_map(|line| line.strip_prefix("Location: ")).expect("an upload").trim();
    let location = location.split_once("/v2/").expect("a path").1;
    let digest = sha256(bytes.as_bytes());
    send(registry, "PUT", &format!("/v2/{location}&digest={digest}"), "application/octet-stream", bytes);
    json!({ "mediaType": "text/plain", "digest": digest, "size": bytes.len() })
}

fn send(registry: &Registry, method: &str, path: &str, kind: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(&registry.address).expect("the registry answers");
    let (address, length) = (&registry.address, body.len());
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("sent");
    let answer = std::io::read_to_string(stream).expect("the registry answers");
    assert!(answer.contains(" 201 ") || answer.contains(" 202 "), "{method} {path}: {answer}");
    answer
}

#[test]
fn what_refers_to_an_image_goes_with_it() {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let Some(registry) = Registry::of_this_run() else { return };
    let (from, to) = (registry.repository("signed"), registry.repository("verified"));
    let project = image(&from);
    project.bake(&["--push", "app"]).succeeded();
    let subject = digest(&project, &from);
    let index = registry.index(&from, "latest").1;
    let size = index.to_string().expect("it is JSON").len();
    let (config, layer) = (put_blob(&registry, &from, "{}"), put_blob(&registry, &from, "signed"));
    let signature = |about: Value| {
        json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "text/signature", "config": config,
            "layers": [layer], "subject": about,
        })
        .to_string()
    };
    let about =
        json!({ "mediaType": "application/vnd.oci.image.index.v1+json", "digest": subject, "size": size });
    // By the tag that clients keep, and by cosign's.
    let signed = signature(about);
    let signed_digest = sha256(signed.as_bytes());
    put(&registry, &from, &signed_digest, &signed, MANIFEST);
    let entry = json!({
        "mediaType": MANIFEST, "digest": signed_digest, "size": signed.len(), "artifactType": "text/signature",
    });
    let kind = "application/vnd.oci.image.index.v1+json";
    let list = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": [entry] }).to_string();
    let tag = subject.replace(':', "-");
    put(&registry, &from, &tag, &list, kind);
    let cosign =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] }).to_string();
    put(&registry, &from, &format!("{tag}.sig"), &cosign, MANIFEST);

    let ran = project.mab(&["copy", &from, &to]).run().succeeded();
    assert!(ran.stdout.contains("with 2 referrers"), "{}", ran.stdout);
    assert_eq!(registry.tags(&to), ["latest".to_string(), tag.clone(), format!("{tag}.sig")]);
    let shown = project.mab(&["inspect", &to, "--referrers"]).run().succeeded().stdout;
    assert!(shown.contains("\nReferrers\n") && shown.contains("text/signature"), "{shown}");
    assert!(shown.contains(&signed_digest), "{shown}");
    // Through files, and from there.
    project.mab(&["copy", &to, "./kept.tar"]).run().succeeded();
    let third = registry.repository("third");
    let ran = project.mab(&["copy", "./kept.tar:latest", &third]).run().succeeded();
    assert!(ran.stdout.contains("with 2 referrers"), "{}", ran.stdout);
    assert_eq!(registry.tags(&third), registry.tags(&to));
    // A registry that knows referrers is believed.
    let path = format!("{}/referrers/{subject}", registry.url_path(&from));
    registry.refuse(&format!("GET {path}"), 200, &list.replace("text/signature", "text/listed"));
    let shown = project.mab(&["inspect", &from, "--referrers"]).run().succeeded().stdout;
    registry.mend();
    assert!(shown.contains("text/listed") && !shown.contains("text/signature"), "{shown}");
}

#[test]
fn journals_stay_in_the_repository_that_they_tell_of() {
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let Some(registry) = Registry::of_this_run() else { return };
    let (from, to) = (registry.repository("released"), registry.repository("taken"));
    let project = image(&from);
    project.bake(&["--push", "app"]).succeeded();
    let (subject, journals) = (digest(&project, &from), registry.journals(&from));
    assert_eq!(journals.len(), 2, "{journals:?}");
    // As a registry tells that knows what refers to an image.
    let entries = journals.iter().map(|tag| {
        let answer = registry.get(&format!("{}/manifests/{tag}", registry.url_path(&from)));
        let journal: Value = serde_json::from_slice(&answer.body).expect("it is JSON");
        json!({
            "mediaType": INDEX, "digest": sha256(&answer.body), "size": answer.body.len(),
            "artifactType": journal["artifactType"],
        })
    });
    let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries.collect::<Vec<_>>() });
    let asked = format!("GET {}/referrers/{subject}", registry.url_path(&from));
    registry.answer(&asked, 200, &format!("Content-Type: {INDEX}\r\n"), &list.to_string());
    registry.requests();
    let ran = project.mab(&["copy", &from, &to, "--tag", "1.4.0"]).run().succeeded();
    assert!(registry.requests().contains(&asked), "nobody asked");
    registry.mend();
    assert!(!ran.stdout.contains("referrer"), "{}", ran.stdout);
    assert_eq!(
        (registry.journals(&to), registry.tags(&to)),
        (Vec::new(), vec!["1.4.0".into(), "latest".into()])
    );
    // Nor do they go into files.
    project.mab(&["copy", &from, "./kept"]).run().succeeded();
    assert_eq!(project.mab(&["ls", "./kept"]).run().succeeded().stdout, "latest\n");
}

#[test]
fn tags_are_given_and_taken_where_an_image_is() {
    let Some(registry) = Registry::of_this_run() else { return };
    let repository = registry.repository("tagged");
    let project = image(&repository);
    project.bake(&["--push", "app"]).succeeded();
    let expected = digest(&project, &repository);
    let ran = project.mab(&["tag", &format!("{repository}:1.4.0"), "1.4", "1"]).run().succeeded();
    assert_eq!(ran.stdout, format!("{repository}:1.4  {expected}\n{repository}:1  {expected}\n"));
    assert_eq!(registry.tags(&repository), ["1", "1.4", "1.4.0", "latest"]);
    let ran = project.mab(&["tag", &repository, "a/b"]).run().failed(2);
    assert!(ran.errors().contains("`a/b` is not a tag"), "{}", ran.stderr);
    let one = format!("{repository}:1");
    // The registry of these tests deletes nothing.
    let ran = project.mab(&["untag", &one]).run().failed(4);
    assert!(ran.errors().contains("the registry takes no tags away, only whole manifests"), "{}", ran.stderr);
    let path = format!("DELETE {}/manifests/1", registry.url_path(&repository));
    registry.refuse(&path, 202, "");
    assert_eq!(project.mab(&["untag", &one]).run().succeeded().stdout, format!("{one}  is gone\n"));
    registry.refuse(&path, 404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#);
    let ran = project.mab(&["untag", &one]).run().failed(2);
    assert!(ran.errors().contains(&format!("`{one}` does not exist")), "{}", ran.stderr);
    registry.mend();
    let ran = project.mab(&["untag", &repository]).run().failed(2);
    assert!(ran.errors().contains("is no tag of a registry"), "{}", ran.stderr);
    project.bake(&["app", "-o", "type=oci,tar=false,dest=layout"]).succeeded();
    project.mab(&["tag", "./layout:latest", "stable"]).run().succeeded();
    let listed = project.mab(&["ls", "./layout"]).run().succeeded().stdout;
    assert!(
        listed.lines().any(|tag| tag == "stable") && listed.lines().any(|tag| tag == "latest"),
        "{listed}"
    );
}

#[test]
fn a_copy_tells_how_far_it_is() {
    let Some(registry) = Registry::of_this_run() else { return };
    let project = image("registry.example/shop/app");
    project.bake(&["app", "-o", "type=oci,tar=false,dest=layout"]).succeeded();
    let copy = |name: &str, how: &str| {
        let to = format!("{}:1", registry.repository(name));
        (project.mab(&["copy", "./layout:latest", &to, "--progress", how]).run(), to)
    };
    let (ran, to) = copy("json", "json");
    let ran = ran.succeeded();
    let events = ran.events();
    let of_kind = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    assert_eq!(
        of_kind("run-started")[0]["nodes"],
        json!([{
            "node": 0, "kind": "copy", "name": to, "platform": null,
        }])
    );
    // Two configs and a layer, each from its first byte to its last.
    let sent: Vec<&Value> =
        of_kind("transfer").into_iter().filter(|event| event["done"] == event["total"]).collect();
    assert_eq!(sent.len(), 3, "{}", ran.stderr);
    assert!(sent.iter().all(|event| event["what"] == "push"), "{}", ran.stderr);
    let blobs = of_kind("blobs");
    assert_eq!((&blobs[0]["done"], &blobs[0]["total"]), (&json!(0), &json!(3)));
    let last = blobs.last().expect("there are some");
    assert_eq!((&last["done"], &last["total"]), (&json!(3), &json!(3)));
    let last = events.last().expect("there are some");
    assert_eq!((&last["event"], &last["end"]), (&json!("run-finished"), &json!("succeeded")));

    let (ran, to) = copy("plain", "plain");
    let ran = ran.succeeded();
    let pushed: Vec<&str> = ran.stderr.lines().filter(|line| line.contains("] pushed ")).collect();
    assert_eq!(pushed.len(), 3, "{}", ran.stderr);
    assert!(pushed.iter().all(|line| line.starts_with(&format!("[copy {to}] "))), "{}", ran.stderr);
    let (ran, _) = copy("quiet", "quiet");
    assert_eq!(ran.succeeded().stderr, "");
    // Nothing is news where all is there.
    let (ran, _) = copy("plain", "plain");
    assert_eq!(ran.succeeded().stderr, "");

    registry.refuse("PUT", 400, "{}");
    let (ran, _) = copy("failed", "json");
    let ran = ran.failed(4);
    let events = ran.events();
    let ends: Vec<&Value> = events.iter().rev().take(2).map(|event| &event["end"]).collect();
    assert_eq!(ends, [&json!("failed"), &json!("failed")], "{}", ran.stderr);
    let (ran, _) = copy("failed", "quiet");
    assert_eq!(ran.failed(4).stderr.matches("failed: copy ").count(), 1);
    registry.mend();
}

#[test]
fn images_go_into_docker_engines() {
    for (place, engine) in engines().iter().enumerate() {
        let name = format!("mab-test-copied-{place}-{}", std::process::id());
        let project = image("registry.example/shop/app");
        project.bake(&["app", "-o", "type=oci,tar=false,dest=layout"]).succeeded();
        let mab = |arguments: &[&str]| project.mab(arguments).with_env("DOCKER_HOST", &engine.address).run();
        let to = format!("engine://{name}:1");
        let ran = mab(&["copy", "./layout:latest", &to, "--tag", "2"]).succeeded();
        for tag in ["1", "2"] {
            let expected = match engine.is_classic() {
                true => vec![native()],
                false => vec!["linux/amd64".to_string(), "linux/arm64".to_string()],
            };
            assert_eq!(engine.platforms(&format!("{name}:{tag}")), expected, "{}", engine.address);
        }
        // What keeps images as they are keeps their digest.
        let whole = digest(&project, "./layout:latest");
        assert_eq!(ran.stdout.contains(&whole), !engine.is_classic(), "{}", ran.stdout);
        let left_out = "keeps one platform of an image";
        assert_eq!(ran.stderr.contains(left_out), engine.is_classic(), "{}", ran.stderr);
        let taken = format!("{name}:1");
        assert_eq!(engine.read(&taken, "content"), b"what is in it", "{}", engine.address);
        let ran = mab(&["copy", "./layout:latest", &to, "--platform", "linux/s390x"]).failed(2);
        assert!(ran.errors().contains("has no image for `linux/s390x`"), "{}", ran.stderr);
        engine.remove_image(&format!("{name}:1"));
        engine.remove_image(&format!("{name}:2"));
    }
}
