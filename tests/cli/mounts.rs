//! `RUN --mount`: what a command sees of binds, caches and tmpfs, what stays of them, and who may use a cache
//! when.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::support::process::{mounts_below, wait_for_end, with_marker};
use crate::support::project::native;
use crate::support::users::User;
use crate::support::{Image, Layout, Project, base};

/// Bakes `app` and gives its image.
#[track_caller]
fn image(project: &Project) -> Image {
    project.bake(&["app", "-o", "type=oci,dest=../image.tar"]);
    Layout::open(&project.folder().join("image.tar")).only_image()
}

/// The folders of all caches in a project's store.
pub fn caches(project: &Project) -> Vec<PathBuf> {
    let below = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    below(project.store().join("caches")).flat_map(below).collect()
}

/// How many cache mounts a prune says went, and their bytes.
fn mounts_of(json: &str) -> (u64, u64) {
    let document: serde_json::Value = serde_json::from_str(json).expect("it is JSON");
    let kinds = document["kinds"].as_array().expect("a list").iter();
    let mounts = kinds.filter(|kind| kind["kind"] == "mounts");
    let figures = mounts.map(|kind| (kind["count"].as_u64(), kind["bytes"].as_u64())).next();
    figures.map_or((0, 0), |(count, bytes)| (count.expect("a number"), bytes.expect("a number")))
}

#[test]
fn binds_show_contexts_stages_and_images_and_keep_nothing() {
    for user in User::all() {
        let name = user.name;
        let text = "FROM busybox AS made\n\
            RUN mkdir -p /data/deep && echo of-stage > /data/file && ln -s /data /link\n\
            FROM busybox\nWORKDIR /w\nARG WHERE=from-arg\n\
            RUN --mount=target=ctx --mount=source=dir/file,target=/one --mount=source=link,target=/followed \
            --mount=from=more,target=/more --mount=from=made,source=/link,target=/stage,rw \
            --mount=from=made,source=/data/file,target=/stage-file,rw --mount=from=busybox,target=/image \
            --mount=type=tmpfs,target=$WHERE,size=64k --mount=source=dir,target=/rw,rw <<END\n\
            set -e\n\
            cat ctx/dir/file /one /followed/file /more/file /stage/file /stage-file > /seen\n\
            ls ctx >> /seen\n\
            test -x /image/bin/busybox\n\
            ! touch ctx/made /more/made 2> /dev/null\n\
            echo more >> /stage/file; echo more >> /stage-file; rm -r /stage/deep; touch /rw/made\n\
            cat /stage/file /stage-file >> /seen; ls /rw /stage >> /seen\n\
            touch from-arg/file; grep -c ' /w/from-arg tmpfs .*size=64k' /proc/mounts >> /seen\n\
            END\n\
            RUN --mount=from=made,source=/data,target=/stage --mount=source=dir,target=/rw \
            ls /stage /rw > /again; cat /stage/file >> /again\n";
        let project = user.project(|base| {
            Project::native_app(base, text)
                .file("dir/file", "of-context\n")
                .file("hidden/file", "x")
                .file(".dockerignore", "hidden\nmultiarch.toml\nDockerfile\n.dockerignore\n")
                .file("more/file", "of-more\n")
        });
        symlink("dir", project.path("link")).expect("the folder is ours");
        project.edit("multiarch.toml", "contexts = { ", "contexts = { more = \"more\", ");
        let image = image(&project);
        let expected = "of-context\nof-context\nof-context\nof-more\nof-stage\nof-stage\n\
                        dir\nlink\nmore\nof-stage\nmore\nof-stage\nmore\n/rw:\nfile\nmade\n\n/stage:\nfile\n1\n";
        assert_eq!(image.text("seen"), expected, "{name}");
        assert_eq!(image.text("again"), "/rw:\nfile\n\n/stage:\ndeep\nfile\nof-stage\n", "{name}");
        let mut added = image.added();
        added.sort();
        assert_eq!(added, ["again", "seen", "w"], "{name}");
        assert_eq!(mounts_below(project.folder()), [""; 0], "{name}");
    }
}

#[test]
fn a_command_runs_again_for_what_it_reads_and_for_nothing_else() {
    let Some(base) = base() else { return };
    let project = Project::native_app(
        &base,
        "FROM busybox\nRUN --mount=source=read,target=/read cat /read/* > /seen\n",
    )
    .file("read/file", "one")
    .file("beside", "x");
    assert_eq!(image(&project).text("seen"), "one");
    let unchanged = |why: &str| {
        let ran = project.bake(&["app"]);
        assert!(ran.stderr.contains("nothing had to be done"), "{why}: {}", ran.stderr);
    };
    project.write("beside", "y");
    unchanged("a file beside what is mounted");
    let later = SystemTime::now() + Duration::from_secs(60);
    File::open(project.path("read/file"))
        .and_then(|file| file.set_modified(later))
        .expect("the file is ours");
    unchanged("a time");
    project.write("read/file", "two");
    assert_eq!(image(&project).text("seen"), "two");
    project.write("read/more", "three");
    assert_eq!(image(&project).text("seen"), "twothree");
}

#[test]
fn a_stage_with_equal_files_and_other_times_is_no_reason_to_run() {
    let Some(base) = base() else { return };
    let text = "FROM busybox AS made\nRUN echo same > /file; echo other > /beside-1\n\
                FROM busybox\nRUN --mount=from=made,source=/file,target=/file cat /file > /seen; cat /proc/sys/kernel/random/uuid > /id\n";
    let project = Project::native_app(&base, text);
    let first = image(&project);
    project.edit("Dockerfile", "beside-1", "beside-2");
    let second = image(&project);
    assert_eq!(first.text("id"), second.text("id"));
    project.edit("Dockerfile", "echo same", "echo changed");
    let third = image(&project);
    assert_eq!(third.text("seen"), "changed\n");
    assert_ne!(first.text("id"), third.text("id"));
}

#[test]
fn what_cannot_be_mounted_is_named() {
    let Some(base) = base() else { return };
    let project = Project::native_app(&base, "");
    symlink("/nowhere", project.path("dangling")).unwrap();
    for (mount, code, said) in [
        ("source=nowhere,target=/a", 2, "`/nowhere` does not exist in the build context"),
        ("source=dangling,target=/a", 2, "it is a link, and what it leads to is not there"),
        ("from=made,source=/nowhere,target=/a", 2, "`/nowhere` does not exist"),
        ("from=missing,target=/a", 4, "missing"),
        ("target=/", 2, "a mount cannot cover `/`"),
        ("type=secret,id=a,required", 2, "requires the secret `a`, which is not there"),
        ("type=ssh,required", 2, "requires the SSH agent `default`, which is not there"),
        ("type=bind,target=/etc/passwd/file", 3, "/etc/passwd/file"),
    ] {
        project
            .write("Dockerfile", format!("FROM busybox AS made\nFROM busybox\nRUN --mount={mount} true\n"));
        if mount.starts_with("from=missing") {
            project.edit("Dockerfile", "from=missing", "from=127.0.0.1:1/missing");
        }
        let ran = project.mab(&["bake", "app"]).run().failed(code).says(said);
        assert!(ran.stderr.contains("Dockerfile:3"), "{mount}: {}", ran.stderr);
    }
}

#[test]
fn a_cache_stays_for_the_next_build_and_never_reaches_an_image() {
    for user in User::with_ids() {
        let name = user.name;
        let text = "FROM busybox AS made\nRUN mkdir /data && echo seed > /data/seed\n\
            FROM busybox\n\
            RUN --mount=type=cache,target=/cache,uid=5,gid=6,mode=0711 --mount=type=cache,target=/same,id=/cache,uid=5,gid=6,mode=0711 \
            --mount=type=cache,target=/seeded,from=made,source=data \
            --mount=type=cache,id=other,target=/other \
            stat -c '%a %u %g' /cache > /seen; ls /cache /seeded /other >> /seen; echo run-1 > /cache/run-1; \
            chown 7:8 /cache/run-1; chmod 0700 /cache; touch /seeded/new; ls /same >> /seen; mkdir -m 0 /cache/closed\n";
        let project = user.project(|base| Project::native_app(base, text));
        let first = image(&project);
        let expected = "711 5 6\n/cache:\n\n/other:\n\n/seeded:\nseed\nrun-1\n";
        assert_eq!(first.text("seen"), expected, "{name}");
        assert_eq!(first.added(), ["seen"], "{name}");
        project.edit("Dockerfile", "echo run-1 > /cache/run-1", "cat /cache/run-1 >> /seen");
        project.edit("Dockerfile", "mkdir -m 0 /cache/closed", "true");
        let second = image(&project);
        let expected =
            "700 5 6\n/cache:\nclosed\nrun-1\n\n/other:\n\n/seeded:\nnew\nseed\nrun-1\nclosed\nrun-1\n";
        assert_eq!(second.text("seen"), expected, "{name}");
        project.bake(&["app"]).says("nothing had to be done");

        assert_eq!(caches(&project).len(), 3, "{name}");
        let yesterday = SystemTime::now() - Duration::from_secs(24 * 3600);
        for cache in caches(&project) {
            File::open(cache).and_then(|folder| folder.set_modified(yesterday)).expect("the folder is ours");
        }
        let dry = project.mab(&["prune", "--json", "--unused-for", "0", "--dry-run"]).run().succeeded();
        assert_eq!(mounts_of(&dry.stdout), (3, 11), "{name}");
        assert_eq!(caches(&project).len(), 3, "{name}");
        let pruned = project.mab(&["cache", "prune", "--json", "--unused-for", "0"]).run().succeeded();
        assert_eq!(mounts_of(&pruned.stdout), (3, 11), "{name}");
        assert_eq!(caches(&project).len(), 0, "{name}");
        assert_eq!(fs::read_dir(project.store().join("dead")).expect("it is there").count(), 0, "{name}");
    }
}

#[test]
fn platforms_do_not_share_a_cache() {
    let Some(base) = base() else { return };
    let text = "FROM busybox\nRUN --mount=type=cache,target=/c ls /c > /seen; uname -m > /c/made\n";
    let project = Project::app(&base, text);
    project.bake(&["app", "-o", "type=oci,dest=image.tar"]);
    for platform in ["linux/amd64", "linux/arm64"] {
        assert_eq!(Layout::open(&project.path("image.tar")).image(platform).text("seen"), "", "{platform}");
    }
}

/// Targets that each run a script with a cache at `/c`, shared in some way, and one at `/meet` for meeting.
fn sharing(base: &Path, sharing: &str, scripts: &[(&str, &str)]) -> Project {
    let mut file = format!(
        "[target._t]\nplatforms = [\"{}\"]\ncontexts = {{ busybox = \"oci-layout://{}\" }}\n",
        native(),
        base.display()
    );
    for (name, script) in scripts {
        file.push_str(&format!(
            "[target.{name}]\ninherits = [\"_t\"]\ndockerfile-inline = '''\nFROM busybox\n\
             RUN --mount=type=cache,target=/c,sharing={sharing} --mount=type=cache,target=/meet <<END\nset -e\n\
             meet() {{ touch /meet/$1; until [ -e /meet/$2 ]; do :; done; }}\n{script}\necho {name} > /done\nEND\n'''\n"
        ));
    }
    Project::of(&file)
}

#[track_caller]
fn bake_in_two_processes(project: &Project) {
    let start = |name: &str| project.mab(&["bake", name]).start();
    for run in ["left", "right"].map(start) {
        run.finish().succeeded();
    }
}

#[test]
fn who_shares_a_cache_is_in_it_with_others() {
    let Some(base) = base() else { return };
    let (left, right) = (
        "meet l r; touch /c/l; until [ -e /c/r ]; do :; done",
        "meet r l; touch /c/r; until [ -e /c/l ]; do :; done",
    );
    let project = sharing(&base, "shared", &[("left", left), ("right", right)]);
    bake_in_two_processes(&project);
    let project = sharing(&base, "shared", &[("left", left), ("right", right)]);
    project.bake(&["left", "right", "--jobs", "4"]);
}

#[test]
fn who_has_a_cache_to_himself_gets_another_one() {
    let Some(base) = base() else { return };
    // Both are inside at one time, and neither sees the other's folder.
    let (left, right) = ("mkdir /c/mine; meet l r; meet l2 r2", "mkdir /c/mine; meet r l; meet r2 l2");
    let project = sharing(&base, "private", &[("left", left), ("right", right)]);
    bake_in_two_processes(&project);
    // Later on the first free one serves.
    project.edit("multiarch.toml", "mkdir /c/mine; meet l r; meet l2 r2", "test -d /c/mine");
    project.bake(&["left"]);
    assert_eq!(caches(&project).len(), 3);
}

#[test]
fn who_locks_a_cache_is_alone_in_it() {
    let Some(base) = base() else { return };
    let script = "for turn in $(seq 2000); do mkdir /c/inside; rmdir /c/inside; done; echo $turn >> /c/turns";
    let project =
        sharing(&base, "locked", &[("left", &format!("{script} # l")), ("right", &format!("{script} # r"))]);
    bake_in_two_processes(&project);
    project.bake(&["left", "right", "--jobs", "4", "--no-cache"]);
    let turns: Vec<PathBuf> = caches(&project)
        .into_iter()
        .map(|cache| cache.join("fs/source/turns"))
        .filter(|path| path.exists())
        .collect();
    assert_eq!(turns.len(), 1, "all of them had the same folder");
    assert_eq!(fs::read_to_string(&turns[0]).expect("it is ours"), "2000\n".repeat(4));
}

/// A number of seconds that no other process sleeps for.
fn mark(of_test: u32) -> String {
    format!("{of_test}{:08}", std::process::id())
}

#[test]
fn a_cache_in_use_is_not_pruned_and_free_when_its_user_is_cut() {
    let Some(base) = base() else { return };
    for (number, signal, code) in [(5, Signal::INT, Some(130)), (6, Signal::KILL, None)] {
        let seconds = mark(number);
        let text = format!(
            "FROM busybox\nRUN --mount=type=cache,target=/c,sharing=locked --mount=target=/w,rw echo in > /c/file; echo started; sleep {seconds}; true\n"
        );
        let project = Project::native_app(&base, &text);
        let mut running = project.mab(&["bake", "app"]).start();
        running.wait_for("| started");
        let commands = with_marker(&seconds);
        let yesterday = SystemTime::now() - Duration::from_secs(24 * 3600);
        for cache in caches(&project) {
            File::open(cache).and_then(|folder| folder.set_modified(yesterday)).expect("the folder is ours");
        }
        let pruned = project.mab(&["cache", "prune", "--json", "--unused-for", "0"]).run().succeeded();
        assert_eq!(mounts_of(&pruned.stdout), (0, 0));
        running.signal(signal);
        assert_eq!(running.finish().code, code);
        wait_for_end(&commands);
        assert_eq!(mounts_below(project.folder()), [""; 0]);
        project.edit("Dockerfile", &format!("echo started; sleep {seconds}; true"), "cat /c/file > /seen");
        assert_eq!(image(&project).text("seen"), "in\n");
    }
}

#[test]
fn stages_of_the_filter_are_built_again() {
    let Some(base) = base() else { return };
    let text = "FROM busybox AS one\nRUN cat /proc/sys/kernel/random/uuid > /one\n\
                FROM busybox AS two\nRUN cat /proc/sys/kernel/random/uuid > /two\n\
                FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n";
    let project = Project::native_app(&base, text);
    let first = image(&project);
    let file = project.read("multiarch.toml");
    project.write("multiarch.toml", format!("{file}no-cache-filter = [\"Two\"]\n"));
    let second = image(&project);
    assert_eq!(first.text("one"), second.text("one"));
    assert_ne!(first.text("two"), second.text("two"));
}
