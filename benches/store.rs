//! The store when it is full: 1,000 keys among 100,000 are looked up (bound: 20 ms), 10,000 entries are pruned (bound:
//! 5 s), and what 100,000 keys and 10,000 blobs take is counted.
//!
//! `cargo bench --bench store`. Stores are made in the folder for temporary files, each by a process's worth of leases
//! of its own, so that nothing is protected by who made it.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use mab::base::Digest;
use mab::store::{KeyKind, NewRecord, PruneOptions, SnapshotKey, Store};
use tempfile::TempDir;

const KEYS: u32 = 100_000;
const LOOKED_UP: u32 = 1_000;
const PRUNED: u32 = 10_000;

fn main() {
    divan::main();
}

fn key(number: u32) -> Digest {
    Digest::of(number.to_le_bytes())
}

/// Records in lots, each with one blob; `blobs` of these are different ones.
fn fill(folder: &Path, records: u32, blobs: u32) {
    let store = Store::open(folder).expect("a store can be made");
    let blobs: Vec<Digest> = (0..blobs)
        .map(|number| store.blobs().put_bytes(format!("blob {number}").as_bytes()).expect("there is room"))
        .collect();
    let keys: Vec<Digest> = (0..records).map(key).collect();
    for lot in keys.chunks(1000) {
        let records: Vec<NewRecord<'_>> = lot
            .iter()
            .enumerate()
            .map(|(at, key)| NewRecord {
                kind: KeyKind::Step,
                key,
                subject: "api linux/amd64 7",
                value: &[7; 400],
                parts: None,
                blobs: std::slice::from_ref(
                    &blobs[(usize::from(key.as_bytes()[0]) * 1000 + at) % blobs.len()],
                ),
            })
            .collect();
        store.keys().put_all(&records).expect("there is room");
    }
}

fn large() -> &'static Path {
    static LARGE: OnceLock<TempDir> = OnceLock::new();
    let folder = LARGE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("there is a place for files");
        fill(folder.path(), KEYS, PRUNED);
        folder
    });
    folder.path()
}

/// As a bake does it: all keys at once, by a process that has just begun.
#[divan::bench(sample_count = 20)]
fn look_up_1000_among_100000(bencher: divan::Bencher<'_, '_>) {
    let keys: Vec<Digest> = (0..LOOKED_UP).map(|number| key(number * (KEYS / LOOKED_UP))).collect();
    bencher.with_inputs(|| Store::open(large()).expect("it is there")).bench_values(|store| {
        let found = store.keys().get_many(KeyKind::Step, &keys).expect("it can be read");
        assert!(found.iter().all(Option::is_some));
    });
}

#[divan::bench(sample_count = 5)]
fn count_100000(bencher: divan::Bencher<'_, '_>) {
    let store = Store::open(large()).expect("it is there");
    bencher.bench(|| store.holdings().expect("it can be read"));
}

/// Records with a blob each, unpacked trees and indexes, all unused.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn prune_10000(bencher: divan::Bencher<'_, '_>) {
    let make = || {
        let folder = tempfile::tempdir().expect("there is a place for files");
        fill(folder.path(), PRUNED, PRUNED);
        let store = Store::open(folder.path()).expect("it is there");
        for number in 0..PRUNED / 10 {
            let snapshot = SnapshotKey::new("layer", key(number));
            store.snapshots().begin(&snapshot).and_then(|pending| pending.commit()).expect("there is room");
            store.indexes().write(&key(number), b"index").expect("there is room");
        }
        drop(store);
        folder
    };
    let options = PruneOptions { unused_for: Some(Duration::ZERO), ..PruneOptions::default() };
    bencher.with_inputs(make).bench_refs(|folder| {
        let store = Store::open(folder.path()).expect("it is there");
        let pruned = store.prune(&options).expect("it can be pruned");
        assert_eq!(pruned.records, 10_000);
    });
}
