//! What goes wrong around a store: a damaged database, blobs that are gone, disks that are full or cannot be written,
//! processes beside each other, processes that are killed. The build ends right, or the message says what to do.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use crate::support::project::native;
use crate::support::surroundings::{needs, needs_root};
use crate::support::{Layout, Mab, Project, base};
use rustix::process::Signal;

const BUILDS: &str = "FROM busybox\nCOPY a /a\nRUN cat /a > /b\nCOPY c /c\n";

fn project(base: &Path) -> Project {
    Project::native_app(base, BUILDS).file("a", "a").file("c", &"c".repeat(5000))
}

/// A bake whose result has no times of its own.
fn timeless(project: &Project) -> Mab {
    project
        .mab(&["bake", "app", "--progress", "plain", "-o", "type=oci,dest=image.tar"])
        .with_env("SOURCE_DATE_EPOCH", "1700000000")
}

fn digest(project: &Project) -> String {
    Layout::open(&project.path("image.tar")).digest()
}

#[track_caller]
fn assert_whole(project: &Project) {
    let ran = project.mab(&["cache", "verify"]).run();
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn a_damaged_database_is_moved_aside_and_the_build_ends_right() {
    let Some(base) = base() else { return };
    let project = project(&base);
    timeless(&project).run().succeeded();
    let expected = digest(&project);
    let database = project.store().join("db.sqlite");
    let garbage = |path: &Path| fs::write(path, "no database at all, ".repeat(1000)).expect("it is ours");
    let truncated = |path: &Path| {
        File::options().write(true).open(path).and_then(|file| file.set_len(4096 * 2)).expect("it is ours")
    };
    let overwritten = |path: &Path| {
        let mut file = File::options().write(true).open(path).expect("it is there");
        let length = file.metadata().expect("it is there").len();
        file.seek(SeekFrom::Start(4096)).expect("it is a file");
        file.write_all(&vec![0xa5; usize::try_from(length - 4096).expect("it is small")])
            .expect("it is ours");
    };
    let emptied = |path: &Path| fs::write(path, "").expect("it is ours");
    type Damage = fn(&Path);
    let ways: [(&str, Damage); 4] =
        [("garbage", garbage), ("truncated", truncated), ("overwritten", overwritten), ("emptied", emptied)];
    for (way, damage) in ways {
        damage(&database);
        let ran = timeless(&project).run().succeeded();
        let said = ran.lines_with("the store's database was damaged and begins anew; the old one is `");
        assert_eq!(said.len(), 1, "{way}: {}", ran.stderr);
        assert_eq!(digest(&project), expected, "{way}");
        timeless(&project).run().succeeded().says("nothing had to be done").does_not_say("damaged");
        assert_whole(&project);
    }
}

#[test]
fn a_damaged_log_of_the_database_costs_no_more_than_what_was_in_it() {
    let Some(base) = base() else { return };
    let project = project(&base);
    timeless(&project).run().succeeded();
    let expected = digest(&project);
    for suffix in ["-wal", "-shm"] {
        fs::write(project.store().join(format!("db.sqlite{suffix}")), [0x5a; 40_000]).expect("it is ours");
        timeless(&project).run().succeeded();
        assert_eq!(digest(&project), expected, "{suffix}");
        assert_whole(&project);
    }
}

#[test]
fn a_database_of_a_newer_mab_is_left_alone() {
    let Some(base) = base() else { return };
    let project = project(&base);
    timeless(&project).run().succeeded();
    // The user version in the header of the file: https://www.sqlite.org/fileformat.html, 1.3.
    let mut file = File::options().write(true).open(project.store().join("db.sqlite")).expect("it is there");
    file.seek(SeekFrom::Start(60)).and_then(|_| file.write_all(&[0, 0, 0, 9])).expect("it is ours");
    let ran = timeless(&project).run().failed(3).says("has version 9, and this mab knows 1");
    assert!(ran.stderr.contains("use the newer mab, or another folder with `--store`"), "{}", ran.stderr);
}

#[test]
fn any_blob_that_is_gone_is_made_again() {
    let Some(base) = base() else { return };
    let project = project(&base);
    timeless(&project).run().succeeded();
    let expected = digest(&project);
    let blobs: Vec<_> =
        fs::read_dir(project.store().join("blobs/sha256")).expect("it is there").flatten().collect();
    assert!(blobs.len() > 5, "{blobs:?}");
    for blob in blobs {
        fs::remove_file(blob.path()).expect("it is ours");
        timeless(&project).run().succeeded();
        assert_eq!(digest(&project), expected, "{blob:?}");
    }
    timeless(&project).run().succeeded().says("nothing had to be done");
}

#[test]
fn a_store_that_cannot_be_written_is_named_with_what_to_do() {
    let Some(base) = base() else { return };
    if !needs_root() || !needs("unshare") {
        return;
    }
    let project = project(&base);
    timeless(&project).run().succeeded();
    let store = project.store().display().to_string();
    let script = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    let read_only = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, &store];
    let ran = timeless(&project).inside(&read_only).run().failed(3);
    assert!(
        ran.stderr.contains(&format!("the store `{store}` cannot be used: Read-only file system")),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("name a folder you may write to with `--store` or `MAB_STORE`"),
        "{}",
        ran.stderr
    );
    timeless(&project).run().succeeded().says("nothing had to be done");
}

#[test]
fn a_disk_that_is_full_is_named_and_what_is_on_it_stays_good() {
    let Some(base) = base() else { return };
    if !needs_root() || !needs("unshare") {
        return;
    }
    let file = format!(
        "[target._t]\ncontext = \".\"\ncontexts = {{ busybox = \"oci-layout://{}\" }}\n\
         [target.app]\ninherits = [\"_t\"]\n\
         [target.large]\ninherits = [\"_t\"]\ndockerfile-inline = \"FROM scratch\\nCOPY large /large\\n\"\n",
        base.display()
    );
    let project = Project::of(&file).file("Dockerfile", BUILDS).file("a", "a").file("c", "c");
    // What no compression makes smaller.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| next(&mut state).to_le_bytes()).take(6 << 20).flatten();
    project.write("large", noise.collect::<Vec<u8>>());
    fs::create_dir(project.store()).expect("it is new");
    let script = "mount -t tmpfs -o size=32M store \"$0\" && { \"$1\" bake large --progress plain; echo \"large $?\"; \
                  exec \"$1\" bake app --progress plain -o type=oci,dest=image.tar; }";
    let store = project.store().display().to_string();
    let inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, &store];
    let ran = project.mab(&[]).inside(&inside).run().succeeded();
    assert_eq!(ran.stdout, "large 3\n", "{}", ran.stderr);
    assert!(ran.stderr.contains("\nstore::full\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("move the store with `--store`"), "{}", ran.stderr);
    assert_eq!(Layout::open(&project.path("image.tar")).only_image().text("b"), "a");
}

/// Eight processes, each with three of eight targets, which all build on one.
#[test]
fn many_processes_build_overlapping_targets_and_every_step_runs_once() {
    let Some(base) = base() else { return };
    let mut file = format!(
        "[project]\nplatforms = [\"{}\"]\n[target._t]\ncontexts = {{ busybox = \"oci-layout://{}\" }}\n\
         [target.shared]\ninherits = [\"_t\"]\n\
         dockerfile-inline = \"FROM busybox\\nRUN cat /proc/sys/kernel/random/uuid > /shared\"\n",
        native(),
        base.display()
    );
    for number in 0..8 {
        file += &format!(
            "[target.t{number}]\ncontexts = {{ shared = \"target:shared\" }}\n\
             dockerfile-inline = \"FROM shared\\nRUN echo {number} > /n; cat /proc/sys/kernel/random/uuid > /own\"\n"
        );
    }
    let project = Project::of(&file);
    for processes in [2, 8] {
        let start = |first: usize| {
            let names = [0, 1, 2].map(|more| format!("t{}", (first + more) % 8));
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mab = project.mab(&["bake", "--metadata-file"]).with(&[&format!("{processes}-{first}.json")]);
            mab.with(&names).start()
        };
        let running: Vec<_> = (0..processes).map(start).collect();
        running.into_iter().for_each(|running| drop(running.finish().succeeded()));
        let mut known = std::collections::BTreeMap::new();
        for first in 0..processes {
            let text = project.read(&format!("{processes}-{first}.json"));
            let document: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
            for (target, result) in document.as_object().expect("an object") {
                let digest = result["containerimage.digest"].clone();
                let first = known.entry(target.clone()).or_insert(digest.clone());
                assert_eq!(*first, digest, "{target} was built twice: {text}");
            }
        }
        assert_eq!(known.len(), if processes == 2 { 4 } else { 8 }, "{known:?}");
        assert_whole(&project);
        project.mab(&["prune", "--unused-for", "0"]).run().succeeded();
    }
}

/// xorshift64*: Vigna, An experimental exploration of Marsaglia's xorshift generators, scrambled.
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How many different builds there are.
const VARIANTS: u64 = 5;

fn set_variant(project: &Project, variant: u64) {
    project.write("a", format!("a{variant}"));
    project.write("c", format!("{variant}").repeat(3000));
}

/// Kills `mab` somewhere, `MAB_KILLS` times: in bakes, prunes and heals. After each, a bake that is not killed makes the
/// same image as one with a store of its own, and nothing of the store is damaged.
#[test]
fn a_kill_at_any_moment_loses_nothing() {
    let Some(base) = base() else { return };
    let expected: Vec<String> = (0..VARIANTS)
        .map(|variant| {
            let project = project(&base);
            set_variant(&project, variant);
            timeless(&project).run().succeeded();
            digest(&project)
        })
        .collect();
    let project = project(&base);
    let seed = number("MAB_KILL_SEED").unwrap_or(0x006d_6162);
    let mut state = seed;
    for round in 0..number("MAB_KILLS").unwrap_or(40) {
        let variant = next(&mut state) % VARIANTS;
        set_variant(&project, variant);
        if next(&mut state).is_multiple_of(2) {
            // So that there is something to do.
            project.mab(&["cache", "prune", "--unused-for", "0"]).run().succeeded();
        }
        let (what, lines) = match next(&mut state) % 6 {
            0 => (project.mab(&["cache", "prune", "--unused-for", "0"]), 0),
            1 => (project.mab(&["cache", "verify", "--heal"]), 0),
            _ => (timeless(&project), next(&mut state) % 14),
        };
        let mut running = what.start();
        running.read_lines(lines);
        for _ in 0..next(&mut state) % 60_000 {
            std::hint::black_box(next(&mut state.clone()));
        }
        running.signal(Signal::KILL);
        running.finish();
        let told = format!("round {round}, MAB_KILL_SEED={seed}");
        let ran = timeless(&project).run();
        assert_eq!(ran.code, Some(0), "{told}: {}", ran.stderr);
        assert!(!ran.stderr.contains("store::"), "{told}: {}", ran.stderr);
        assert_eq!(digest(&project), expected[usize::try_from(variant).expect("it is small")], "{told}");
        let verified = project.mab(&["cache", "verify"]).run();
        assert_eq!(verified.code, Some(0), "{told}: {}{}", verified.stdout, verified.stderr);
    }
}
