//! The store among processes that die. The test binary runs itself again as a worker, which uses a store as
//! hard as it can until it is killed.

#![allow(clippy::unwrap_used)] // A test program: the setting for tests does not reach its helpers.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use mab::base::Digest;
use mab::store::{Environment, KeyKind, NewRecord, PruneOptions, SnapshotKey, StampedDigest, Store};

const STORE: &str = "MAB_TEST_STORE";

/// Not a test of its own: without the variable there is nothing to do, with it this is a worker.
#[test]
fn worker() {
    let Some(path) = std::env::var_os(STORE) else { return };
    let mut standard_output = std::io::stdout();
    for round in 0_u64.. {
        let store = Store::open(Path::new(&path)).unwrap();
        use_everything(&store, round);
        standard_output.write_all(b".\n").unwrap();
    }
}

fn content(number: u64) -> Vec<u8> {
    format!("content {number} ").repeat(1 + usize::try_from(number % 7).unwrap() * 500).into_bytes()
}

fn use_everything(store: &Store, round: u64) {
    for number in round..round + 5 {
        let number = number % 20;
        let blob = store.blobs().put_bytes(&content(number)).unwrap();
        let key = Digest::of(number.to_string());
        let record = NewRecord {
            kind: KeyKind::Step,
            key: &key,
            subject: "s",
            value: b"v",
            parts: None,
            blobs: &[blob],
        };
        store.keys().put(&record).unwrap();
        let found = store.keys().get(KeyKind::Step, &key).unwrap().expect("what a process uses stays");
        assert_eq!(store.blobs().read(&found.blobs[0], 1 << 20).unwrap(), content(number));
        store.indexes().write(&key, &content(number)).unwrap();
        let snapshot = SnapshotKey::new("layers", key);
        if store.snapshots().get(&snapshot).unwrap().is_none() {
            let pending = store.snapshots().begin(&snapshot).unwrap();
            fs::write(pending.path().join("a"), content(number)).unwrap();
            pending.commit().unwrap();
        }
        let tree = store.snapshots().get(&snapshot).unwrap().expect("what a process made stays");
        assert_eq!(fs::read(tree.join("a")).unwrap(), content(number));
        save_stamps(store, number);
        drop(store.exclusive(&key).unwrap());
    }
    match round % 4 {
        0 => store.sync().unwrap(),
        1 => {
            let keep_bytes = Some(20_000);
            store.prune(&PruneOptions { keep_bytes, ..PruneOptions::default() }).unwrap();
        }
        _ => {}
    }
}

fn save_stamps(store: &Store, number: u64) {
    let mtime = i64::try_from(number).unwrap();
    let stamp = mab::store::Stamp { device: 1, inode: number, size: 1, mtime, ctime: mtime, mode: 0 };
    let hashed = [StampedDigest { stamp, digest: Digest::of(number.to_string()) }];
    store.stat_caches().save(b"root", &hashed, &[]).unwrap();
    let cache = store.stat_caches().load(b"root").unwrap();
    assert_eq!(cache.get(&stamp), Some(hashed[0].digest));
}

fn start(store: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker", "--nocapture", "--test-threads=1"])
        .env(STORE, store)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the worker has done `rounds` rounds, then kills it. Where in the next round that hits is chance.
fn kill_after(mut worker: Child, rounds: usize, spin: u64) {
    let lines = BufReader::new(worker.stdout.take().unwrap()).lines();
    let mut done = lines.map_while(Result::ok).filter(|line| line.ends_with('.'));
    let has_worked = done.nth(rounds).is_some();
    for _ in 0..spin {
        std::hint::black_box(Digest::of("some time"));
    }
    worker.kill().unwrap();
    let output = worker.wait_with_output().unwrap();
    assert!(has_worked, "the worker failed: {}", String::from_utf8_lossy(&output.stderr));
}

/// Everything that can be found is right.
fn check(store: &Store) {
    assert!(store.notices().is_empty(), "{:?}", store.notices());
    for entry in fs::read_dir(store.path().join("blobs/sha256")).unwrap() {
        let entry = entry.unwrap();
        let name = format!("sha256:{}", entry.file_name().to_str().unwrap());
        assert_eq!(Digest::of(fs::read(entry.path()).unwrap()).to_string(), name);
    }
    for number in 0..20 {
        let key = Digest::of(number.to_string());
        if let Some(record) = store.keys().get(KeyKind::Step, &key).unwrap() {
            assert_eq!(record.blobs, [Digest::of(content(number))]);
        }
        if let Some(index) = store.indexes().read(&key).unwrap() {
            assert_eq!(index, content(number));
        }
        if let Some(tree) = store.snapshots().get(&SnapshotKey::new("layers", key)).unwrap() {
            assert_eq!(fs::read(tree.join("a")).unwrap(), content(number));
        }
    }
}

#[test]
fn a_kill_at_any_moment_leaves_the_store_valid() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("store");
    for round in 0..12_u64 {
        let workers = [start(&path), start(&path)];
        for (position, worker) in workers.into_iter().enumerate() {
            kill_after(worker, position + 1, round * 397 % 2000);
        }
        check(&Store::open(&path).unwrap());
    }
    let store = Store::open(&path).unwrap();
    store.prune(&PruneOptions { keep_bytes: Some(0), ..PruneOptions::default() }).unwrap();
    for (folder, kind) in [("tmp", "temporary files"), ("leases", "leases"), ("blobs/sha256", "blobs")] {
        assert_eq!(fs::read_dir(path.join(folder)).unwrap().count(), 0, "{kind} of dead processes are gone");
    }
}

#[test]
fn a_store_that_was_killed_survives_the_next_boot() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("store");
    for boot in 0..3 {
        kill_after(start(&path), 3, 100);
        let environment = Environment { boot_id: format!("boot-{boot}"), ..Environment::of_host() };
        check(&Store::open_in(&path, &environment).unwrap());
    }
}

#[test]
fn many_processes_may_create_the_store_at_once() {
    for _ in 0..3 {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("store");
        let workers: Vec<Child> = (0..4).map(|_| start(&path)).collect();
        workers.into_iter().for_each(|worker| kill_after(worker, 0, 0));
        check(&Store::open(&path).unwrap());
    }
}
