//! The store is looked after: what is in it is told, what is not needed goes, by hand and by itself.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::users::User;
use crate::support::{Layout, Project, Ran, base};

const BUILDS: &str = "FROM busybox\nCOPY a /a\nRUN --mount=type=cache,target=/c echo 1234567 > /c/file\n";

fn project(base: &Path) -> Project {
    Project::native_app(base, BUILDS).file("a", "a")
}

fn parsed(text: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(text).expect("it is JSON");
    assert_eq!(document["version"], 1);
    document["kinds"].as_array().expect("a list").clone()
}

/// One figure of one kind.
fn figure(kinds: &[Value], kind: &str, name: &str) -> u64 {
    let found = kinds.iter().find(|object| object["kind"] == kind);
    found.map_or(0, |object| object[name].as_u64().expect("a number"))
}

fn used(project: &Project) -> Vec<Value> {
    parsed(&project.mab(&["cache", "du", "--json"]).run().succeeded().stdout)
}

/// Makes everything with a path of its own look as if nobody had used it for a month.
fn age(folder: &Path) {
    let month = SystemTime::now() - Duration::from_secs(30 * 24 * 3600);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        File::open(entry.path()).and_then(|file| file.set_modified(month)).expect("it is ours");
    }
}

#[test]
fn du_tells_what_the_store_holds_and_prune_takes_what_it_said() {
    for user in User::all() {
        let name = user.name;
        let project = user.project(project);
        project.bake(&["app"]);
        let before = used(&project);
        for kind in ["images", "trees", "indexes", "keys"] {
            assert!(figure(&before, kind, "count") > 0, "{name}: {kind}");
            assert!(figure(&before, kind, "bytes") > 0, "{name}: {kind}");
        }
        assert_eq!(
            (figure(&before, "mounts", "count"), figure(&before, "mounts", "bytes")),
            (1, 8),
            "{name}"
        );
        assert_eq!(figure(&before, "trees", "reclaimable"), 0, "{name}");
        age(&project.store().join("snapshots/layer"));
        age(&project.store().join("snapshots/layer-mapped"));
        age(&project.store().join("snapshots/chain"));
        age(&project.store().join("snapshots/chain-mapped"));
        let after = used(&project);
        let trees = figure(&after, "trees", "reclaimable");
        assert_eq!(trees, figure(&before, "trees", "bytes"), "{name}");
        let text = project.mab(&["cache", "du"]).run().succeeded().stdout;
        assert!(text.starts_with("KIND ") && text.contains("\ntotal "), "{name}: {text}");

        let dry =
            project.mab(&["cache", "prune", "--kind", "trees,logs", "--dry-run"]).run().succeeded().stdout;
        assert!(dry.starts_with("would remove ") && dry.contains(" tree"), "{name}: {dry}");
        let pruned = project.mab(&["prune", "--kind", "trees", "--json"]).run().succeeded().stdout;
        assert_eq!(figure(&parsed(&pruned), "trees", "bytes"), trees, "{name}");
        let left = used(&project);
        assert_eq!((figure(&left, "trees", "count"), figure(&left, "remains", "count")), (0, 0), "{name}");
        assert_eq!(figure(&left, "images", "bytes"), figure(&before, "images", "bytes"), "{name}");
        project.edit("Dockerfile", "echo 1234567 > /c/file", "cat /c/file > /b");
        project.bake(&["app"]);
    }
}

#[test]
fn nothing_is_left_when_everything_is_to_go() {
    let Some(base) = base() else { return };
    let project = project(&base);
    project.bake(&["app"]);
    project.mab(&["cache", "prune", "--unused-for", "0"]).run().succeeded();
    for kind in used(&project) {
        if kind["kind"] != "keys" {
            assert_eq!((&kind["count"], &kind["bytes"]), (&0.into(), &0.into()), "{kind}");
        }
    }
    // Where helpers of bakes mount is not anybody's file: one may be at work there.
    assert!(project.store().join("tmp/sandbox").is_dir());
    let said = project.mab(&["prune", "--kind", "layers"]).run().failed(2).stderr;
    assert!(said.contains("images, trees, mounts, sources, indexes, logs"), "{said}");
}

/// The index of a layer that nobody has any more.
fn leave_index(project: &Project) {
    let folder = project.store().join("indexes");
    fs::write(folder.join("0".repeat(64)), "an index").expect("it is ours");
    age(&folder);
}

#[test]
fn a_bake_prunes_by_itself_where_the_configuration_bounds_the_store() {
    let Some(base) = base() else { return };
    let check = |config: &str, environment: &[(&str, &str)], expected: bool| {
        let project = project(&base);
        project.bake(&["app"]);
        project.write("../home/.config/mab/config.toml", config);
        project.edit("a", "a", "another");
        leave_index(&project);
        let bake = || {
            let mut mab = project.mab(&["bake", "app"]);
            for (name, value) in environment {
                mab.env(name, value);
            }
            mab.run().succeeded()
        };
        let ran = bake();
        let said = ran.lines_with("store: removed ");
        assert_eq!(said.len(), usize::from(expected), "{config}: {}", ran.stderr);
        // What the bake itself used is still there, and the next one does not prune within the hour.
        leave_index(&project);
        let again = bake().says("nothing had to be done");
        assert_eq!(again.lines_with("store: removed ").len(), 0, "{config}");
    };
    check("", &[], false);
    check("[store]\nkeep = \"14d\"\n", &[], true);
    check("[store]\nbudget = \"1kb\"\n", &[], true);
    check("[store]\nbudget = \"100GB\"\n", &[], false);
    check("[store]\nbudget = \"1kb\"\n", &[("MAB_AUTO_PRUNE", "off")], false);
}

/// A bake whose result has no times of its own.
fn rebake(project: &Project) -> Ran {
    let mab = project.mab(&["bake", "app", "-o", "type=oci,dest=image.tar"]);
    mab.with_env("SOURCE_DATE_EPOCH", "1700000000").run().succeeded()
}

/// A project of four steps, and the blobs of their layers.
fn four(base: &Path) -> (Project, Vec<String>) {
    let project = Project::native_app(base, "FROM busybox\nCOPY a /a\nCOPY b /b\nCOPY c /c\nCOPY d /d\n");
    for name in ["a", "b", "c", "d"] {
        project.write(name, format!("{name} {}", "text ".repeat(500)));
    }
    rebake(&project);
    let digests = Layout::open(&project.path("image.tar")).only_image().layer_digests();
    let own = digests[digests.len() - 4..].to_vec();
    (project, own)
}

fn blob(project: &Project, digest: &str) -> PathBuf {
    project.store().join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
}

fn truncate(path: &Path) {
    let file = File::options().write(true).open(path).expect("it is there");
    file.set_len(file.metadata().expect("it is there").len() / 2).expect("it is ours");
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("it is ours");
}

/// The damages that verify finds, as name and flaw.
fn damages(project: &Project, code: i32) -> Vec<(String, String)> {
    let ran = project.mab(&["cache", "verify", "--json"]).run().failed(code);
    let document: Value = serde_json::from_str(&ran.stdout).expect("it is JSON");
    let text = |damage: &Value, key: &str| damage[key].as_str().expect("it is text").to_string();
    let damages = document["damages"].as_array().expect("a list").iter();
    damages.map(|damage| (text(damage, "name"), text(damage, "flaw"))).collect()
}

/// Whether the step with this text was made anew.
fn is_built(ran: &Ran, step: &str) -> bool {
    let lines = ran.lines_with(step);
    !lines.is_empty() && !lines.iter().any(|line| line.ends_with("reused"))
}

#[test]
fn verify_names_what_is_damaged_and_heals_so_that_just_that_is_built_again() {
    let Some(base) = base() else { return };
    let (project, layers) = four(&base);
    assert_eq!(damages(&project, 0), []);
    let before = Layout::open(&project.path("image.tar")).digest();
    fs::remove_file(blob(&project, &layers[0])).expect("it is there");
    truncate(&blob(&project, &layers[1]));
    flip(&blob(&project, &layers[2]));
    let mut expected: Vec<(String, String)> =
        layers[..3].iter().cloned().zip(["missing", "altered", "altered"].map(String::from)).collect();
    expected.sort();
    assert_eq!(damages(&project, 3), expected);
    let said = project.mab(&["cache", "verify"]).run().failed(3).stdout;
    let platform = crate::support::project::native();
    assert_eq!(said.matches(&format!("  needed by `app {platform}`\n")).count(), 3, "{said}");
    assert!(said.contains("3 things are damaged; `mab cache verify --heal` removes them"), "{said}");

    let said = project.mab(&["cache", "verify", "--heal"]).run().succeeded().stdout;
    assert!(said.contains("3 things are damaged, now removed with "), "{said}");
    assert_eq!(damages(&project, 0), []);
    let ran = rebake(&project);
    let built = ["COPY a /a", "COPY b /b", "COPY c /c", "COPY d /d"].map(|step| is_built(&ran, step));
    assert_eq!(built, [true, true, true, false], "{}", ran.stderr);
    assert_eq!(Layout::open(&project.path("image.tar")).digest(), before);
    assert_eq!(damages(&project, 0), []);
}

#[test]
fn verify_looks_at_indexes_trees_mounts_and_the_database() {
    let Some(base) = base() else { return };
    let project = project(&base);
    project.bake(&["app"]);
    let first = |folder: &str| {
        let entries = fs::read_dir(project.store().join(folder)).expect("it is there").flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths.remove(0)
    };
    let name = |path: &Path| path.strip_prefix(project.store()).expect("of the store").display().to_string();
    let index = first("indexes");
    truncate(&index);
    let torn = project.store().join("snapshots/layer").join("0".repeat(64));
    fs::create_dir_all(&torn).expect("it is ours");
    let cache = first("caches").join("none");
    fs::write(&cache, "").expect("it is ours");
    let mut expected = vec![
        (name(&torn), "torn".to_string()),
        (name(&cache), "torn".to_string()),
        (name(&index), "altered".to_string()),
    ];
    assert_eq!(damages(&project, 3), expected);
    project.mab(&["cache", "verify", "--heal"]).run().succeeded();
    assert_eq!(damages(&project, 0), []);
    project.edit("a", "a", "another");
    project.bake(&["app"]);

    // A page in the middle of the database.
    let database = project.store().join("db.sqlite");
    let mut bytes = fs::read(&database).expect("it is there");
    bytes[4096..8192].fill(0xa5);
    fs::write(&database, bytes).expect("it is ours");
    expected = vec![("db.sqlite".to_string(), "database".to_string())];
    assert_eq!(damages(&project, 3)[..1], expected);
    project.mab(&["cache", "verify", "--heal"]).run();
    project.bake(&["app"]);
    assert_eq!(damages(&project, 0), []);
}
