//! `mab cache`: cache mounts are listed, leave one store as OCI artifacts, and arrive in another one, whole or
//! not at all.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::mounts::caches;
use crate::support::forge::Forge;
use crate::support::image::sha256;
use crate::support::project::{copy_tree, native};
use crate::support::surroundings::needs_root;
use crate::support::users::User;
use crate::support::{Layout, Project, Ran, base};

const FILLS: &str = "FROM busybox\n\
    RUN --mount=type=cache,id=go,target=/c,uid=5,gid=6,mode=0711 --mount=type=cache,target=/other \
    mkdir -m 0 /c/closed; echo content > /c/file; chown 7:8 /c/file; chmod 4640 /c/file; \
    ln -s /etc/passwd /c/link; ln /c/file /c/twin; touch -d @1500000000 /c/file; echo x > /other/x\n";
const SEES: &str = "FROM busybox\n\
    RUN --mount=type=cache,id=go,target=/c,uid=5,gid=6,mode=0711 --mount=type=cache,target=/other \
    cat /c/file /other/x > /seen; stat -c '%a %u %g %h %Y' /c/file >> /seen; stat -c '%a %u %g' /c /c/closed >> /seen; \
    readlink /c/link >> /seen\n";
const SEEN: &str = "content\nx\n4640 7 8 2 1500000000\n711 5 6\n0 0 0\n/etc/passwd\n";

/// `mab cache …` with another store of the project.
fn elsewhere(project: &Project, arguments: &[&str]) -> Ran {
    project.mab(arguments).with_env("MAB_STORE", project.folder().join("elsewhere")).run()
}

fn here(project: &Project, arguments: &[&str]) -> Ran {
    project.mab(arguments).run()
}

/// What `cache ls` says of each cache, without times.
fn listed(project: &Project) -> Vec<(String, String, u64)> {
    let said = here(project, &["cache", "ls", "--json"]).succeeded().stdout;
    let document: Value = serde_json::from_str(&said).expect("it is JSON");
    let text = |cache: &Value, name: &str| cache[name].as_str().expect("it is text").to_string();
    let caches = document["caches"].as_array().expect("a list").iter();
    caches
        .map(|cache| {
            assert_eq!(text(cache, "platform"), native());
            (text(cache, "id"), text(cache, "use"), cache["bytes"].as_u64().expect("a number"))
        })
        .collect()
}

#[test]
fn a_cache_goes_to_another_store_and_keeps_its_digest() {
    for user in User::with_ids() {
        let name = user.name;
        let project = user.project(|base| Project::native_app(base, FILLS));
        project.bake(&["app"]);
        let free = |id: &str, bytes| (id.to_string(), "free".to_string(), bytes);
        assert_eq!(listed(&project), [free("/other", 2), free("go", 27)], "{name}");
        let exported = here(&project, &["cache", "export", "../caches"]).succeeded().stdout;
        assert_eq!(exported.lines().count(), 2, "{name}: {exported}");
        assert_eq!(here(&project, &["cache", "export", "../caches"]).succeeded().stdout, exported, "{name}");
        let roots = Layout::open(&project.folder().join("caches")).roots();
        assert_eq!(roots.len(), 2, "{name}: {roots:?}");

        let imported = elsewhere(&project, &["cache", "import", "../caches"]).succeeded().stdout;
        let platform = native();
        assert_eq!(imported, format!("imported `/other {platform}`\nimported `go {platform}`\n"), "{name}");
        let again = elsewhere(&project, &["cache", "export", "../again"]).succeeded().stdout;
        assert_eq!(again, exported, "{name}");
        project.edit("Dockerfile", FILLS, SEES);
        elsewhere(&project, &["bake", "app", "-o", "type=oci,dest=../image.tar"]).succeeded();
        let image = Layout::open(&project.folder().join("image.tar")).only_image();
        assert_eq!(image.text("seen"), SEEN, "{name}");
    }
}

#[test]
fn root_and_an_ordinary_user_read_what_the_other_has_written() {
    if !needs_root() {
        return;
    }
    let users = User::with_ids;
    for (writer, reader) in users().into_iter().zip(users().into_iter().rev()) {
        let names = format!("{} to {}", writer.name, reader.name);
        let written = writer.project(|base| Project::native_app(base, FILLS));
        written.bake(&["app"]);
        let exported = here(&written, &["cache", "export", "../caches"]).succeeded().stdout;
        let read = reader.project(|base| {
            let project = Project::native_app(base, SEES);
            copy_tree(&written.folder().join("caches"), &project.folder().join("caches"));
            project
        });
        here(&read, &["cache", "import", "../caches"]).succeeded();
        assert_eq!(here(&read, &["cache", "export", "../again"]).succeeded().stdout, exported, "{names}");
        read.bake(&["app", "-o", "type=oci,dest=../image.tar"]);
        let image = Layout::open(&read.folder().join("image.tar")).only_image();
        assert_eq!(image.text("seen"), SEEN, "{names}");
    }
}

#[test]
fn a_cache_that_no_layer_can_hold_is_named_with_what_to_do() {
    let Some(base) = base() else { return };
    let text = "FROM busybox\nRUN --mount=type=cache,id=go,target=/c touch /c/.wh.x\n";
    let project = Project::native_app(&base, text);
    project.bake(&["app"]);
    let ran = here(&project, &["cache", "export", "caches"]).failed(3).says("`source/.wh.x` has a name");
    assert!(ran.stderr.contains("or name the other caches with `--id`"), "{}", ran.stderr);
    assert!(!project.path("caches/index.json").exists());
    assert_eq!(fs::read_dir(project.path("caches/blobs/sha256")).expect("it is there").count(), 0);
    // It stops none of the others.
    let others = "id=after,target=/after --mount=type=cache,id=before,target=/before --mount=type=cache,id=go,target=/c";
    project.edit("Dockerfile", "id=go,target=/c", others);
    project.bake(&["app"]);
    let ran = here(&project, &["cache", "export", "caches"]).failed(3).says("`go");
    assert_eq!(ran.stdout.lines().filter(|line| line.starts_with("exported")).count(), 2, "{}", ran.stdout);
    assert_eq!(Layout::open(&project.path("caches")).roots().len(), 2);
}

#[test]
fn of_several_folders_the_first_is_exported_and_that_is_said() {
    let Some(base) = base() else { return };
    let run = |what: &str| {
        format!(
            "RUN --mount=type=cache,id=go,target=/c,sharing=private --mount=type=cache,id=meet,target=/meet {what}"
        )
    };
    // Both are in their caches at the same time.
    let meets = |own: &str, other: &str| {
        run(&format!("echo {own} > /c/file; touch /meet/{own}; until [ -e /meet/{other} ]; do :; done"))
    };
    let text = format!(
        "FROM busybox AS one\n{}\nFROM busybox AS two\n{}\nFROM one\nCOPY --from=two /etc /two\n",
        meets("left", "right"),
        meets("right", "left")
    );
    let project = Project::native_app(&base, &text);
    project.bake(&["app", "--jobs", "4"]);
    let said = here(&project, &["cache", "export", "caches", "--id", "go"]).succeeded().stdout;
    assert!(said.contains("; the first of its 2 folders, which the next step is given"), "{said}");
    let said = here(&project, &["cache", "export", "caches", "--id", "meet"]).succeeded().stdout;
    assert!(!said.contains("folders"), "{said}");
}

#[test]
fn who_waits_for_a_locked_cache_says_for_which_and_for_whom() {
    let Some(base) = base() else { return };
    let text = |id: &str, what: &str| {
        format!(
            "FROM busybox\nRUN --mount=type=cache,id={id},target=/c,sharing=locked --mount=type=cache,id=meet,target=/meet {what}\n"
        )
    };
    let holds = text("held", "echo started; until [ -e /meet/go ]; do :; done");
    let project = Project::native_app(&base, &holds);
    let mut holder = project.mab(&["bake", "app"]).start();
    holder.wait_for("| started");
    project.write("Dockerfile", text("held", "true"));
    let mut waiting = project.mab(&["bake", "app"]).start();
    waiting.wait_for("waits for the cache mount `held`, which process ");
    let meet = caches(&project).into_iter().map(|cache| cache.join("fs/source"));
    // That of the others is nobody's to write to but its holder's, and both are empty.
    meet.for_each(|cache| fs::write(cache.join("go"), "").expect("the caches are ours"));
    holder.finish().succeeded();
    waiting.finish().succeeded();
}

#[test]
fn caches_are_chosen_by_id_and_platform() {
    let Some(base) = base() else { return };
    let project = Project::native_app(&base, FILLS);
    here(&project, &["cache", "export", "caches"]).failed(2).says("a build with `RUN --mount=type=cache`");
    assert_eq!(listed(&project), []);
    project.bake(&["app"]);
    let platform = native();
    here(&project, &["cache", "export", "caches", "--id", "goo"]).failed(2).says("did you mean `go`?");
    let foreign = ["cache", "export", "caches", "--platform", "linux/s390x"];
    here(&project, &foreign).failed(2).says(&format!("there are `/other {platform}`, `go {platform}`"));
    assert!(!project.path("caches").exists());
    here(&project, &["cache", "export", "caches", "--id", "go", "--platform", &platform]).succeeded();
    assert_eq!(Layout::open(&project.path("caches")).roots().len(), 1);
    elsewhere(&project, &["cache", "import", "caches", "--id", "/other"]).failed(2).says("`go");
    let text = here(&project, &["cache", "ls"]).succeeded().stdout;
    assert!(text.contains(&format!("\ngo {platform}")) && text.contains("  free "), "{text}");
    fs::write(project.path("file"), "x").expect("the folder is ours");
    here(&project, &["cache", "export", "file"]).failed(2);
    here(&project, &["cache", "import", "nowhere"]).failed(2).says("is no OCI layout");
}

#[test]
fn a_cache_in_use_is_waited_for_or_left_out_and_never_replaced() {
    let Some(base) = base() else { return };
    let text = "FROM busybox\nRUN --mount=type=cache,id=held,target=/c,sharing=locked --mount=type=cache,id=meet,target=/meet \
                echo one > /c/file\n";
    let project = Project::native_app(&base, text);
    project.bake(&["app"]);
    let before = here(&project, &["cache", "export", "before", "--id", "held"]).succeeded().stdout;
    let holds = "echo two > /c/file; echo started; until [ -e /meet/go ]; do :; done";
    project.edit("Dockerfile", "echo one > /c/file", holds);
    let mut running = project.mab(&["bake", "app"]).start();
    running.wait_for("| started");

    let used = |id: &str, how: &str, bytes| (id.to_string(), how.to_string(), bytes);
    assert_eq!(listed(&project), [used("held", "locked", 4), used("meet", "shared", 0)]);
    let skipped = here(&project, &["cache", "export", "skipped", "--skip-busy"]).succeeded().stdout;
    assert_eq!(skipped.lines().filter(|line| line.contains("a step uses it")).count(), 2, "{skipped}");
    here(&project, &["cache", "import", "before", "--replace"]).failed(3).says("import again when");
    let kept = here(&project, &["cache", "import", "before"]).succeeded().stdout;
    assert!(kept.starts_with("kept `held"), "{kept}");
    let mut cut = project.mab(&["cache", "export", "cut", "--id", "held"]).start();
    cut.wait_for("waits for `held").signal(Signal::INT);
    assert_eq!(cut.finish().code, Some(130));
    assert_eq!(fs::read_dir(project.path("cut/blobs/sha256")).expect("it is there").count(), 0);
    let mut waiting = project.mab(&["cache", "export", "after", "--id", "held"]).start();
    waiting.wait_for("waits for `held");
    let meet = caches(&project).into_iter().map(|cache| cache.join("fs/source"));
    let meet = meet.filter(|cache| !cache.join("file").exists()).collect::<Vec<PathBuf>>();
    fs::write(meet[0].join("go"), "").expect("the cache is ours");
    running.finish().succeeded();
    let after = waiting.finish().succeeded().stdout;
    assert!(after.starts_with("exported `held") && after != before, "{after}");

    let replaced = here(&project, &["cache", "import", "before", "--replace"]).succeeded().stdout;
    assert!(replaced.starts_with("replaced `held"), "{replaced}");
    project.edit("Dockerfile", holds, "cat /c/file > /seen");
    project.bake(&["app", "-o", "type=oci,dest=image.tar"]);
    assert_eq!(Layout::open(&project.path("image.tar")).only_image().text("seen"), "one\n");
}

/// A layout with one cache mount of these bytes, whose manifest `change` may change.
fn forge(folder: &Path, layer: &[u8], change: impl Fn(&mut Value)) {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder.join("blobs/sha256")).expect("the folder is ours");
    let put = |bytes: &[u8], media_type: &str| {
        let digest = sha256(bytes);
        let path = folder.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
        fs::write(path, bytes).expect("the layout is ours");
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    };
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.mab.cache-mount.v1",
        "config": put(b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": [put(layer, "application/vnd.oci.image.layer.v1.tar")],
        "annotations": {
            "vnd.mab.cache.id": "go",
            "vnd.mab.cache.platform": native(),
            "vnd.mab.cache.beginning": "empty 755 0:0",
        },
    });
    change(&mut manifest);
    let entry = put(manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json");
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    fs::write(folder.join("index.json"), index.to_string()).expect("the layout is ours");
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("the layout is ours");
}

/// A project whose store has the cache `go` of the forged layouts, with `kept` in it.
fn with_a_cache() -> Option<Project> {
    let text = "FROM busybox\nRUN --mount=type=cache,id=go,target=/c echo kept > /c/file\n";
    let project = Project::native_app(&base()?, text);
    project.bake(&["app"]);
    Some(project)
}

#[test]
fn a_hostile_layout_is_refused_and_changes_nothing() {
    let Some(project) = with_a_cache() else { return };
    let check = |layer: Vec<u8>, change: &dyn Fn(&mut Value), said: &str| {
        forge(&project.path("forged"), &layer, change);
        here(&project, &["cache", "import", "forged", "--replace"]).failed(2).says(said);
        let cache = caches(&project);
        assert_eq!(cache.len(), 1, "{said}");
        assert_eq!(
            fs::read_to_string(cache[0].join("fs/source/file")).expect("it is ours"),
            "kept\n",
            "{said}"
        );
        assert!(!cache[0].join("made").exists(), "{said}");
        assert!(!project.path("escaped").exists() && !project.folder().join("escaped").exists(), "{said}");
    };
    let cache = || Forge::default().folder("source");
    let same = |_: &mut Value| ();
    check(cache().file("../escaped", "x").bytes(), &same, "no layer of a cache");
    check(cache().file("source/../../escaped", "x").bytes(), &same, "no layer of a cache");
    check(cache().file("/escaped", "x").bytes(), &same, "`escaped` is not of its directory");
    check(cache().symlink("source", "/").file("source/escaped", "x").bytes(), &same, "`source` is not of");
    check(Forge::default().symlink("source", "/etc").bytes(), &same, "`source` is not of its directory");
    check(Forge::default().file("source/x", "x").bytes(), &same, "is not of its directory");
    check(cache().hardlink("source/x", "etc/passwd").bytes(), &same, "`source/x` is not of its directory");
    check(Forge::default().bytes(), &same, "it is empty");
    check(b"no tar at all".repeat(100), &same, "no layer of a cache");
    let good = || cache().file("source/file", "new").bytes();
    let wrong = |pointer: &'static str, value: Value| {
        move |manifest: &mut Value| *manifest.pointer_mut(pointer).expect("it is there") = value.clone()
    };
    check(good(), &wrong("/layers/0/size", json!(7)), "has other bytes than its digest says");
    check(good(), &wrong("/layers/0/digest", json!(sha256(b"x"))), "cannot be read");
    check(good(), &wrong("/layers", json!([])), "it has not one layer");
    check(good(), &wrong("/annotations", json!({})), "it has no annotation");
    check(good(), &wrong("/artifactType", json!("text/plain")), "there are none");
}

#[test]
fn a_damaged_blob_is_refused_before_any_cache_is_placed() {
    let Some(base) = base() else { return };
    let project = Project::native_app(&base, FILLS);
    project.bake(&["app"]);
    here(&project, &["cache", "export", "caches"]).succeeded();
    let blobs = fs::read_dir(project.path("caches/blobs/sha256")).expect("it is there").flatten();
    let layers = blobs.map(|entry| entry.path()).filter(|path| fs::read(path).unwrap()[0] != b'{');
    for layer in layers.collect::<Vec<_>>() {
        let bytes = fs::read(&layer).expect("it is ours");
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 1;
        fs::write(&layer, damaged).expect("it is ours");
        elsewhere(&project, &["cache", "import", "caches"]).failed(2).says("has other bytes than its digest");
        assert!(!project.folder().join("elsewhere/caches").exists());
        fs::write(&layer, bytes).expect("it is ours");
    }
    elsewhere(&project, &["cache", "import", "caches"]).succeeded();
}

#[test]
fn what_a_symlink_in_a_cache_leads_to_stays_as_it_is() {
    let Some(project) = with_a_cache() else { return };
    let layer = Forge::default().folder("source").symlink("source/out", "../../../../../../work");
    let layer = layer.file("source/out/escaped", "x").bytes();
    forge(&project.path("forged"), &layer, |_| ());
    let ran = here(&project, &["cache", "import", "forged", "--replace"]);
    assert!(!project.path("escaped").exists(), "{}", ran.stderr);
    assert_ne!(ran.code, Some(0));
    let cache = caches(&project).remove(0);
    assert_eq!(fs::read_to_string(cache.join("fs/source/file")).expect("it is ours"), "kept\n");
    assert!(!cache.join("made").exists());
}
