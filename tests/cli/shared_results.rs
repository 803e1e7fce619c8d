//! Results that machines share through caches: what the second machine need not do, and what it need not move.

use std::path::{Path, PathBuf};

use crate::support::{Layout, Project, Registry, base};

const SHOP: &str = r#"version = 1
[target.default]
context = "app"
platforms = ["linux/amd64", "linux/arm64"]
contexts = { base = "oci-layout://BASE" }
dockerfile-inline = """
FROM base AS tools
RUN echo made > /tool
FROM base
COPY --from=tools /tool /tool
COPY file /file
RUN cat /file /tool > /both
"""
cache = ["ci"]
[cache.ci]
CACHE
mode = "max"
"#;

/// A machine of its own: the same files, another store.
fn machine(base: &Path, cache: &str) -> Project {
    let file = SHOP.replace("BASE", &base.display().to_string()).replace("CACHE", cache);
    Project::of(&file).file("app/file", "content\n")
}

fn check(cache: &str) {
    let Some(base) = base() else { return };
    let first = machine(&base, cache);
    let made = first.bake(&["--output", "type=oci,dest=image.tar"]);
    made.says("built");
    let digest = Layout::open(&first.path("image.tar")).digest();
    drop(first);

    // Nothing is built again, and the image is the same.
    let second = machine(&base, cache);
    let explained = second.mab(&["plan", "--explain"]).run().succeeded();
    assert!(explained.stdout.contains("cache `ci`"), "{}", explained.stdout);
    let ran = second.bake(&["--output", "type=oci,dest=image.tar", "--progress", "plain"]);
    assert!(!ran.stderr.contains("RUN cat"), "{}", ran.stderr);
    assert_eq!(Layout::open(&second.path("image.tar")).digest(), digest);

    // What did not change is still taken from there.
    let third = machine(&base, cache);
    third.write("app/file", "another\n");
    let ran = third.bake(&["--output", "type=oci,dest=image.tar", "--progress", "plain"]);
    let reused = ran.lines_with("RUN echo made");
    assert!(reused.iter().all(|line| !line.contains("built")), "{reused:?}");
    assert_eq!(Layout::open(&third.path("image.tar")).image("linux/amd64").text("both"), "another\nmade\n");
}

/// The files below a folder, largest first.
fn blobs_by_size(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("it is there") {
            let path = entry.expect("it is there").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.retain(|path| path.components().any(|part| part.as_os_str() == "blobs"));
    found.sort_by_key(|path| std::cmp::Reverse(path.metadata().expect("it is there").len()));
    found
}

#[test]
fn damaged_blobs_are_built_again() {
    let Some(base) = base() else { return };
    let damage: [fn(&Path); 3] = [
        |blob| std::fs::write(blob, &std::fs::read(blob).unwrap()[..10]).unwrap(),
        |blob| {
            let mut bytes = std::fs::read(blob).unwrap();
            bytes[20] ^= 1;
            std::fs::write(blob, bytes).unwrap();
        },
        |blob| std::fs::remove_file(blob).unwrap(),
    ];
    for damage in damage {
        let folder = tempfile::tempdir().unwrap();
        let cache = format!("type = \"local\"\npath = \"{}\"", folder.path().display());
        let first = machine(&base, &cache);
        first.bake(&["--output", "type=oci,dest=image.tar"]);
        blobs_by_size(folder.path()).iter().for_each(|blob| damage(blob));
        let second = machine(&base, &cache);
        let ran = second.bake(&["--output", "type=oci,dest=image.tar"]);
        assert!(ran.stderr.contains("it is built here"), "{}", ran.stderr);
        for platform in ["linux/amd64", "linux/arm64"] {
            let image = Layout::open(&second.path("image.tar")).image(platform);
            assert_eq!(image.text("both"), "content\nmade\n");
        }
    }
}

#[test]
fn an_image_that_is_only_pushed_again_moves_no_layers() {
    let (Some(base), Some(registry)) = (base(), Registry::of_this_run()) else { return };
    let cache = format!("type = \"registry\"\nref = \"{}\"", registry.repository("cache"));
    let name = registry.repository("image");
    let push = |tag: &str| {
        let project = machine(&base, &cache);
        project.bake(&["--output", &format!("type=image,push=true,name={name}:{tag}")]);
        registry.requests()
    };
    registry.requests();
    push("1");
    let again = push("2");
    let sent = again.iter().filter(|request| request.starts_with("PATCH") || request.contains("uploads/"));
    assert_eq!(sent.collect::<Vec<_>>(), Vec::<&String>::new(), "{again:#?}");
    let fetched = again.iter().filter(|request| request.starts_with("GET") && request.contains("/blobs/"));
    // Entries are documents of a few kilobytes; two nodes have one each.
    assert!(fetched.count() <= 4, "{again:#?}");
    let digests = ["1", "2"].map(|tag| registry.index(&name, tag).0);
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn a_release_reads_trusted_caches_alone() {
    let (Some(base), Some(registry)) = (base(), Registry::of_this_run()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let bake = |trust: &str| {
        let cache = format!("type = \"local\"\npath = \"{}\"\n{trust}", folder.path().display());
        let project = machine(&base, &cache);
        let image = registry.repository("released");
        let file = project.read("multiarch.toml");
        let tags = format!("tags = [\"{image}:1\"]\ncache =");
        let release = format!(
            "{}\n[group.release]\ntargets = [\"default\"]\npush = true\n",
            file.replace("cache =", &tags)
        );
        project.write("multiarch.toml", release);
        project.bake(&["release", "--progress", "plain"]).stderr
    };
    let first = bake("");
    assert!(first.contains("trust"), "{first}");
    let untrusted = bake("trust = false");
    assert!(!untrusted.contains("nothing had to be done"), "{untrusted}");
    assert!(untrusted.contains("RUN cat"), "{untrusted}");
    let trusted = bake("trust = true");
    assert!(!trusted.contains("RUN cat"), "{trusted}");
}

#[test]
fn through_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    check(&format!("type = \"local\"\npath = \"{}\"", folder.path().display()));
}

#[test]
fn through_a_registry() {
    let Some(registry) = Registry::of_this_run() else { return };
    check(&format!("type = \"registry\"\nref = \"{}\"", registry.repository("cache")));
}

#[test]
fn cache_mounts_travel_where_a_cache_says_so() {
    let Some(base) = base() else { return };
    let folder = tempfile::tempdir().unwrap();
    let bake = |step: &str, mounts: &str| {
        let file = format!(
            "[target.default]\ncontexts = {{ base = \"oci-layout://{}\" }}\ncache = [\"ci\"]\n\
             dockerfile-inline = \"FROM base\\nRUN --mount=type=cache,target=/kept {step}\\n\"\n\
             [cache.ci]\ntype = \"local\"\npath = \"{}\"\n{mounts}\n",
            base.display(),
            folder.path().display()
        );
        let project = Project::of(&file);
        project.bake(&["--output", "type=oci,dest=image.tar"]);
        Layout::open(&project.path("image.tar")).only_image()
    };
    bake("echo one > /kept/of-another-machine", "mounts = true");
    // Another command each time, since results are shared, too.
    assert_eq!(bake("ls /kept > /seen", "").text("seen"), "");
    assert_eq!(bake("ls /kept > /seen # 2", "mounts = true").text("seen"), "of-another-machine\n");
    bake("echo two > /kept/newer", "mounts = true");
    assert_eq!(
        bake("ls /kept | sort > /seen # 3", "mounts = true").text("seen"),
        "newer\nof-another-machine\n"
    );
}
