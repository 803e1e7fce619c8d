//! The store as a whole, within one process. What other processes and kills do to it is tested in
//! `tests/store_processes.rs`.

use std::io::Write;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::base::Parts;

fn store() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

fn boot(name: &str) -> Environment {
    Environment { boot_id: name.into(), now: SystemTime::now }
}

fn in_ten_days() -> SystemTime {
    SystemTime::now() + Duration::from_secs(10 * 24 * 3600)
}

fn record<'a>(key: &'a Digest, value: &'a str, blobs: &'a [Digest]) -> NewRecord<'a> {
    let value = value.as_bytes();
    NewRecord { kind: KeyKind::Step, key, subject: "api linux/arm64", value, parts: None, blobs }
}

fn everything_unused() -> PruneOptions {
    PruneOptions { unused_for: Some(Duration::from_secs(60)), ..PruneOptions::default() }
}

fn gone(count: usize, bytes: u64) -> Gone {
    Gone { count, bytes, folders: Vec::new() }
}

#[test]
fn blobs_come_back_under_their_digest() {
    let (_folder, store) = store();
    let blobs = store.blobs();
    let digest = blobs.put_bytes(b"layer").unwrap();
    assert_eq!(blobs.put_bytes(b"layer").unwrap(), digest);
    assert_eq!(blobs.read(&digest, 5).unwrap(), b"layer");
    assert_eq!(blobs.size(&digest).unwrap(), 5);
    assert!(blobs.read(&digest, 4).is_err());
    assert!(!blobs.contains(&Digest::of("other")));
}

#[test]
fn a_blob_appears_only_when_it_is_whole() {
    let (_folder, store) = store();
    let digest = Digest::of("layer");
    let mut writer = store.blobs().writer().unwrap();
    writer.write_all(b"lay").unwrap();
    assert!(matches!(writer.commit(&digest, 5), Err(StoreError::Size { found: 3, .. })));
    assert!(!store.blobs().contains(&digest));
    drop(store.blobs().writer().unwrap());
    assert_eq!(fs::read_dir(store.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_damaged_blob_is_not_read() {
    let (_folder, store) = store();
    let digest = store.blobs().put_bytes(b"layer").unwrap();
    fs::write(store.blobs().path(&digest), b"laxer").unwrap();
    assert!(store.blobs().read(&digest, 100).is_err());
}

#[test]
fn records_need_their_blobs() {
    let (_folder, store) = store();
    let keys = store.keys();
    let blob = store.blobs().put_bytes(b"layer").unwrap();
    let (here, gone) = (Digest::of("1"), Digest::of("2"));
    keys.put_all(&[record(&here, "one", &[blob]), record(&gone, "two", &[blob, Digest::of("missing")])])
        .unwrap();
    let found = keys.get_many(KeyKind::Step, &[gone, here, Digest::of("3")]).unwrap();
    let values: Vec<_> = found.iter().map(|r| r.as_ref().map(|r| r.value.as_slice())).collect();
    assert_eq!(values, [None, Some(&b"one"[..]), None]);
    assert_eq!(keys.get(KeyKind::Node, &here).unwrap(), None);
}

#[test]
fn the_latest_record_of_a_subject_tells_its_parts() {
    let (_folder, store) = store();
    let mut parts = Parts::new();
    parts.text("command", "make").digest_of("input", Digest::of("x"));
    let (first, second) = (Digest::of("1"), Digest::of("2"));
    store.keys().put(&record(&first, "one", &[])).unwrap();
    store.keys().put(&NewRecord { parts: Some(&parts), ..record(&second, "two", &[]) }).unwrap();
    let latest = store.keys().latest(KeyKind::Step, "api linux/arm64").unwrap().unwrap();
    assert_eq!((latest.key, latest.parts()), (second, Some(parts)));
    store.keys().put(&record(&first, "again", &[])).unwrap();
    let latest = store.keys().latest(KeyKind::Step, "api linux/arm64").unwrap().unwrap();
    assert_eq!((latest.key, latest.parts(), &latest.value[..]), (first, None, &b"again"[..]));
    assert_eq!(store.keys().latest(KeyKind::Step, "web linux/arm64").unwrap(), None);
    let subjects = ["web linux/arm64", "api linux/arm64"];
    assert_eq!(store.keys().latest_of(KeyKind::Step, &subjects).unwrap(), [None, Some(latest)]);
}

#[test]
fn use_is_noted_late_and_only_when_it_is_news() {
    let (folder, store) = store();
    let key = Digest::of("1");
    store.keys().put(&record(&key, "one", &[])).unwrap();
    let created = store.keys().get(KeyKind::Step, &key).unwrap().unwrap().last_used;
    assert!(store.inner.database.take_used().is_empty());
    drop(store);
    let later = Environment { now: in_ten_days, ..Environment::of_host() };
    let store = Store::open_in(&folder.path().join("store"), &later).unwrap();
    store.keys().get(KeyKind::Step, &key).unwrap().unwrap();
    store.sync().unwrap();
    let noted = store.keys().get(KeyKind::Step, &key).unwrap().unwrap().last_used;
    assert!(noted >= created + 10 * 24 * 3600, "{noted} {created}");
}

#[test]
fn blobs_that_did_not_survive_a_power_loss_are_dropped() {
    let folder = TempDir::new().unwrap();
    let open = |name| Store::open_in(folder.path(), &boot(name)).unwrap();
    let store = open("one");
    let synced = store.blobs().put_bytes(b"synced").unwrap();
    store.sync().unwrap();
    let lost = store.blobs().put_bytes(b"lost").unwrap();
    let survived = store.blobs().put_bytes(b"survived").unwrap();
    store.keys().put(&record(&lost, "needs it", &[lost])).unwrap();
    fs::write(store.blobs().path(&lost), b"").unwrap();
    // Damage to a synced blob is not what this looks for, which shows that it was not read.
    fs::write(store.blobs().path(&synced), b"damage").unwrap();
    assert!(open("one").blobs().contains(&lost), "within the boot nothing is doubted");

    let after = open("two");
    assert_eq!(after.notices(), [Notice::BlobsDropped { count: 1 }]);
    assert!(!after.blobs().contains(&lost));
    assert_eq!(after.keys().get(KeyKind::Step, &lost).unwrap(), None);
    assert!(after.blobs().contains(&survived) && after.blobs().contains(&synced));
    assert!(open("two").notices().is_empty());
}

#[test]
fn snapshots_live_one_boot_unless_they_were_synced() {
    let folder = TempDir::new().unwrap();
    let open = |name| Store::open_in(folder.path(), &boot(name)).unwrap();
    let key = |name: &str| SnapshotKey::new("layers", Digest::of(name));
    let make = |store: &Store, name: &str| {
        let pending = store.snapshots().begin(&key(name)).unwrap();
        fs::write(pending.path().join("file"), name).unwrap();
        assert_eq!(store.snapshots().get(&key(name)).unwrap(), None);
        pending.commit().unwrap()
    };
    let store = open("one");
    make(&store, "synced");
    store.sync().unwrap();
    let path = make(&store, "unsynced");
    assert_eq!(store.snapshots().get(&key("unsynced")).unwrap(), Some(path));
    assert!(store.snapshots().dead_paths().unwrap().is_empty());

    let after = open("two");
    assert_eq!(after.snapshots().get(&key("unsynced")).unwrap(), None);
    let tree = after.snapshots().get(&key("synced")).unwrap().unwrap();
    assert_eq!(fs::read_to_string(tree.join("file")).unwrap(), "synced");
    assert_eq!(after.snapshots().dead_paths().unwrap().len(), 1);
}

#[test]
fn the_first_snapshot_of_a_key_wins() {
    let (_folder, store) = store();
    let key = SnapshotKey::new("steps", Digest::of("x"));
    let snapshots = store.snapshots();
    let (first, second) = (snapshots.begin(&key).unwrap(), snapshots.begin(&key).unwrap());
    fs::write(first.path().join("who"), "first").unwrap();
    fs::write(second.path().join("who"), "second").unwrap();
    let path = first.commit().unwrap();
    assert_eq!(second.commit().unwrap(), path);
    assert_eq!(fs::read_to_string(path.join("who")).unwrap(), "first");
    snapshots.begin(&key).unwrap().abandon().unwrap();
    assert_eq!(snapshots.dead_paths().unwrap().len(), 2);
}

#[test]
fn prune_removes_what_no_record_needs() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let kept = store.blobs().put_bytes(b"kept").unwrap();
    let loose = store.blobs().put_bytes(b"loose").unwrap();
    store.keys().put(&record(&kept, "keeps", &[kept])).unwrap();
    let other = Store::open(folder.path()).unwrap();
    assert_eq!(other.prune(&PruneOptions::default()).unwrap(), Pruned::default(), "the writer is alive");
    drop(store);
    let planned = other.prune(&PruneOptions { is_dry_run: true, ..PruneOptions::default() }).unwrap();
    let pruned = other.prune(&PruneOptions::default()).unwrap();
    assert_eq!((pruned.records, pruned.of(Kind::Images)), (0, gone(1, 5)));
    assert_eq!(planned, pruned);
    assert!(other.blobs().contains(&kept) && !other.blobs().contains(&loose));
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn prune_goes_by_age_and_by_size_but_never_over_a_lease() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let blobs = ["old one", "shared one"].map(|text| store.blobs().put_bytes(text.as_bytes()).unwrap());
    let keys = ["1", "2"].map(Digest::of);
    store.keys().put_all(&[record(&keys[0], "a", &blobs), record(&keys[1], "b", &blobs[1..])]).unwrap();
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    let keep = |bytes| PruneOptions { keep_bytes: Some(bytes), ..PruneOptions::default() };
    assert_eq!(store.prune(&keep(17)).unwrap().records, 0);
    let pruned = store.prune(&keep(16)).unwrap();
    assert_eq!(
        (pruned.records, pruned.of(Kind::Images).count),
        (1, 1),
        "the older record goes, what it shares stays"
    );

    let user = Store::open(folder.path()).unwrap();
    assert!(user.keys().get(KeyKind::Step, &keys[1]).unwrap().is_some());
    let later = Environment { now: in_ten_days, ..Environment::of_host() };
    let store = Store::open_in(folder.path(), &later).unwrap();
    assert_eq!(store.prune(&everything_unused()).unwrap().records, 0, "somebody found it");
    drop(user);
    assert_eq!(store.prune(&everything_unused()).unwrap().records, 1);
    assert!(!store.blobs().contains(&blobs[1]));
}

#[test]
fn prune_buries_snapshots_and_removes_what_dead_processes_left() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let key = SnapshotKey::new("layers", Digest::of("x"));
    store.snapshots().begin(&key).unwrap().commit().unwrap();
    store.indexes().write(&Digest::of("x"), b"index").unwrap();
    let later = Environment { now: in_ten_days, ..Environment::of_host() };
    let pruner = Store::open_in(folder.path(), &later).unwrap();
    assert_eq!(pruner.prune(&everything_unused()).unwrap(), Pruned::default());
    drop(store);
    fs::write(folder.path().join("tmp/0123.1"), "left by a kill").unwrap();
    fs::create_dir(folder.path().join("tmp/0123.2")).unwrap();
    let pruned = pruner.prune(&everything_unused()).unwrap();
    assert_eq!(pruned.dead_paths.len(), 2);
    assert_eq!(pruner.snapshots().get(&key).unwrap(), None);
    assert_eq!(pruner.indexes().read(&Digest::of("x")).unwrap(), None);
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
}

/// A store with one thing of every kind that prune knows, the later in the list the later used; and nobody in it.
fn one_of_each(folder: &Path) -> Store {
    let store = Store::open(folder).unwrap();
    let image = store.blobs().put_bytes(b"image").unwrap();
    store.keys().put(&record(&image, "image", &[image])).unwrap();
    let source = store.blobs().put_bytes(b"source").unwrap();
    store.keys().put(&NewRecord { kind: KeyKind::Source, ..record(&source, "source", &[source]) }).unwrap();
    for kind in ["layer", "git"] {
        let pending = store.snapshots().begin(&SnapshotKey::new(kind, Digest::of("x"))).unwrap();
        fs::write(pending.path().join("file"), "1234567").unwrap();
        pending.commit().unwrap();
    }
    drop(store.caches().take(&Digest::of("x"), CacheUse::Shared).unwrap());
    store.indexes().write(&Digest::of("x"), b"index").unwrap();
    fs::write(store.logs().join("log"), "log").unwrap();
    drop(store);
    let ages = ["logs/log", "indexes/*", "caches/*/0", "snapshots/git/*", "snapshots/layer/*"];
    for (days, pattern) in (1..).zip(ages) {
        let time = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        File::open(only(folder, pattern)).unwrap().set_modified(time).unwrap();
    }
    Store::open(folder).unwrap()
}

/// The path that a pattern of names and lone stars leads to.
fn only(folder: &Path, pattern: &str) -> PathBuf {
    pattern.split('/').fold(folder.to_path_buf(), |path, name| match name {
        "*" => fs::read_dir(path).unwrap().next().unwrap().unwrap().path(),
        name => path.join(name),
    })
}

#[test]
fn prune_takes_the_kinds_it_is_asked_for() {
    for kind in Kind::PRUNED {
        let folder = TempDir::new().unwrap();
        let store = one_of_each(folder.path());
        let options = PruneOptions {
            kinds: [kind].into(),
            unused_for: Some(Duration::ZERO),
            ..PruneOptions::default()
        };
        let planned = store.prune(&PruneOptions { is_dry_run: true, ..options.clone() }).unwrap();
        let pruned = store.prune(&options).unwrap();
        let count = if kind == Kind::Sources { 2 } else { 1 };
        for pruned in [planned, pruned] {
            let counts: Vec<_> = pruned.kinds.iter().map(|(kind, gone)| (*kind, gone.count)).collect();
            assert_eq!(counts, [(kind, count)]);
        }
        let left = store.holdings().unwrap();
        assert_eq!(left[&kind].count, 0, "{kind:?}");
        let others: usize = Kind::PRUNED.iter().map(|kind| left[kind].count).sum();
        assert_eq!(others, 7 - count, "{kind:?}");
    }
}

#[test]
fn a_size_is_one_of_everything_together() {
    let folder = TempDir::new().unwrap();
    let store = one_of_each(folder.path());
    let trees = store.holdings().unwrap();
    let folder_bytes: BTreeMap<PathBuf, u64> = [Kind::Trees, Kind::Mounts, Kind::Sources]
        .iter()
        .flat_map(|kind| trees[kind].trees.iter().map(|tree| (tree.path.clone(), 100)))
        .collect();
    // 300 in folders, an index of 37 bytes, a log of 3, blobs of 11.
    let keep = |bytes| PruneOptions {
        keep_bytes: Some(bytes),
        folder_bytes: folder_bytes.clone(),
        ..PruneOptions::default()
    };
    assert_eq!(store.prune(&keep(351)).unwrap(), Pruned::default());
    let pruned = store.prune(&keep(350)).unwrap();
    assert_eq!((pruned.kinds.len(), pruned.of(Kind::Trees)), (1, gone(1, 100)));
    let pruned = store.prune(&keep(20)).unwrap();
    let kinds: Vec<_> = pruned.kinds.into_iter().collect();
    let expected =
        [(Kind::Mounts, gone(1, 100)), (Kind::Sources, gone(1, 100)), (Kind::Indexes, gone(1, 37))];
    assert_eq!(kinds, expected);
}

#[test]
fn what_a_tree_has_is_measured_once_and_not_taken_for_use() {
    let folder = TempDir::new().unwrap();
    let store = one_of_each(folder.path());
    let tree = |store: &Store| store.holdings().unwrap()[&Kind::Trees].trees[0].clone();
    let before = tree(&store);
    store.note_tree_bytes(&before.path, 7);
    assert_eq!(tree(&store), FoundTree { bytes: Some(7), ..before });
}

fn an_hour_ago() -> SystemTime {
    SystemTime::now() - Duration::from_secs(3600)
}

#[test]
fn a_clock_that_goes_backwards_loses_nothing_and_keeps_nothing_for_ever() {
    let folder = TempDir::new().unwrap();
    let open = |now: fn() -> SystemTime| {
        Store::open_in(folder.path(), &Environment { now, ..Environment::of_host() }).unwrap()
    };
    let store = open(in_ten_days);
    let key = Digest::of("1");
    store.keys().put(&record(&key, "one", &[])).unwrap();
    store.indexes().write(&key, b"index").unwrap();
    File::open(only(folder.path(), "indexes/*")).unwrap().set_modified(in_ten_days()).unwrap();
    assert!(store.is_prune_due(Duration::from_secs(60)).unwrap());
    drop(store);
    // The clock is right again: what was used then counts as used now.
    let store = open(an_hour_ago);
    assert_eq!(store.prune(&everything_unused()).unwrap(), Pruned::default());
    assert!(store.is_prune_due(Duration::from_secs(60)).unwrap());
    assert!(!store.is_prune_due(Duration::from_secs(60)).unwrap());
    drop(store);
    let store = open(SystemTime::now);
    let pruned = store.prune(&everything_unused()).unwrap();
    assert_eq!((pruned.records, pruned.of(Kind::Indexes).count), (1, 1));
}

#[test]
fn use_is_noted_by_a_clock_that_went_backwards() {
    let folder = TempDir::new().unwrap();
    let key = Digest::of("1");
    let in_future = Environment { now: in_ten_days, ..Environment::of_host() };
    let store = Store::open_in(folder.path(), &in_future).unwrap();
    store.keys().put(&record(&key, "one", &[])).unwrap();
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    store.keys().get(KeyKind::Step, &key).unwrap().unwrap();
    store.sync().unwrap();
    let noted = store.keys().get(KeyKind::Step, &key).unwrap().unwrap().last_used;
    assert!(noted <= store.keys().now(), "{noted}");
}

#[test]
fn indexes_come_back_whole_or_not_at_all() {
    let (_folder, store) = store();
    let diff_id = Digest::of("layer");
    assert_eq!(store.indexes().read(&diff_id).unwrap(), None);
    store.indexes().write(&diff_id, b"entries").unwrap();
    assert_eq!(store.indexes().read(&diff_id).unwrap().as_deref(), Some(&b"entries"[..]));
    for damage in [&b""[..], b"short", &[7; 60]] {
        fs::write(store.path().join("indexes").join(diff_id.hex()), damage).unwrap();
        assert_eq!(store.indexes().read(&diff_id).unwrap(), None);
    }
}

#[test]
fn a_damaged_database_is_moved_aside() {
    let folder = TempDir::new().unwrap();
    let database = folder.path().join("db.sqlite");
    for damage in [&b"this is no database, and it is long enough to be looked at as if it were one"[..], b""]
    {
        drop(Store::open(folder.path()).unwrap());
        fs::write(&database, damage).unwrap();
        let store = Store::open(folder.path()).unwrap();
        let notices = store.notices();
        let [Notice::DatabaseRebuilt { moved_to }] = &notices[..] else { panic!("{notices:?}") };
        assert_eq!(fs::read(moved_to).unwrap(), damage);
        store.keys().put(&record(&Digest::of("1"), "one", &[])).unwrap();
        assert!(Store::open(folder.path()).unwrap().notices().is_empty());
    }
}

#[test]
fn a_store_at_rest_has_no_database_open_and_goes_on_where_it_was() {
    let (_folder, store) = store();
    let (first, second) = (Digest::of("1"), Digest::of("2"));
    let log = store.path().join("db.sqlite-wal");
    store.keys().put(&record(&first, "one", &[])).unwrap();
    assert!(log.exists());
    store.rest();
    assert!(!log.exists(), "who closes a database last leaves no log behind");
    store.sync().unwrap();
    assert!(!log.exists(), "there is nothing to be synced, and so nothing to be opened");
    store.keys().put(&record(&second, "two", &[])).unwrap();
    let found = store.keys().get_many(KeyKind::Step, &[first, second]).unwrap();
    let values: Vec<Vec<u8>> = found.into_iter().flatten().map(|record| record.value).collect();
    assert_eq!(values, [b"one", b"two"]);

    store.rest();
    fs::write(store.path().join("db.sqlite"), "what a fault of the disk left of a database").unwrap();
    assert_eq!(store.keys().get(KeyKind::Step, &first).unwrap(), None);
    assert!(matches!(&store.notices()[..], [Notice::DatabaseRebuilt { .. }]));
}

#[test]
fn who_expects_records_has_their_log_begun() {
    let (_folder, store) = store();
    let (key, log) = (Digest::of("1"), store.path().join("db.sqlite-wal"));
    assert_eq!(store.keys().get(KeyKind::Step, &key).unwrap(), None);
    assert_eq!(fs::metadata(&log).unwrap().len(), 0, "reading writes nothing");
    store.expect_records();
    assert!(fs::metadata(&log).unwrap().len() > 0);
    store.keys().put(&record(&key, "one", &[])).unwrap();
    assert!(store.keys().get(KeyKind::Step, &key).unwrap().is_some());
    assert_eq!(store.notices(), []);
}

#[test]
fn damage_found_late_is_repaired_at_once_and_by_one() {
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let records: Vec<Digest> = (0..500).map(|n| Digest::of(n.to_string())).collect();
    let value = "v".repeat(500);
    let records: Vec<_> = records.iter().map(|key| record(key, &value, &[])).collect();
    store.keys().put_all(&records).unwrap();
    drop(store);
    let database = folder.path().join("db.sqlite");
    let mut bytes = fs::read(&database).unwrap();
    let length = bytes.len();
    bytes[4096 * 2..length].fill(0xa5);
    fs::write(&database, bytes).unwrap();
    let [store, other] = [0, 1].map(|_| Store::open(folder.path()).unwrap());
    assert!(store.notices().is_empty());
    assert_eq!(store.keys().get(KeyKind::Step, records[0].key).unwrap(), None);
    assert!(matches!(store.notices()[..], [Notice::DatabaseRebuilt { .. }]));
    store.keys().put(&records[0]).unwrap();
    // Who had the damaged one open goes on with the one that is there, and so does who comes later.
    assert!(other.keys().get(KeyKind::Step, records[0].key).unwrap().is_some());
    assert!(other.notices().is_empty());
    assert!(Store::open(folder.path()).unwrap().notices().is_empty());
}

#[test]
fn a_newer_store_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let open = Store::open(folder.path()).unwrap();
    let connection = rusqlite::Connection::open(folder.path().join("db.sqlite")).unwrap();
    connection.pragma_update(None, "user_version", 9).unwrap();
    open.expect_records();
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 9, "who had it open before leaves it at that");
    drop((open, connection));
    let error = Store::open(folder.path()).err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 9, .. }), "{error}");
    assert!(error.problem().help.is_some());
}

#[test]
fn a_path_that_cannot_be_a_store_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.join("store"), file, "/proc/self/nothing".into()] {
        let error = Store::open(&path).err().unwrap();
        assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
        assert!(error.problem().message.contains(path.to_str().unwrap()));
    }
}

#[test]
fn one_flight_at_a_time() {
    let (_folder, store) = store();
    let key = Digest::of("work");
    let flight = store.exclusive(&key).unwrap();
    assert!(store.try_exclusive(&key).unwrap().is_none());
    assert!(store.try_exclusive(&Digest::of("other")).unwrap().is_some());
    drop(flight);
    assert!(store.try_exclusive(&key).unwrap().is_some());
    assert_eq!(fs::read_dir(store.path().join("flights")).unwrap().count(), 0);
}

#[test]
fn threads_take_turns_in_a_flight() {
    let (folder, store) = store();
    let counter = folder.path().join("counter");
    fs::write(&counter, "0").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let _flight = store.exclusive(&Digest::of("count")).unwrap();
                    let count: u32 = fs::read_to_string(&counter).unwrap().parse().unwrap();
                    fs::write(&counter, (count + 1).to_string()).unwrap();
                }
            });
        }
    });
    assert_eq!(fs::read_to_string(&counter).unwrap(), "200");
}

#[test]
fn threads_write_the_same_blobs_and_records() {
    let (_folder, store) = store();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for number in 0..40 {
                    let blob = store.blobs().put_bytes(format!("blob {number}").as_bytes()).unwrap();
                    store.keys().put(&record(&blob, "same", &[blob])).unwrap();
                    assert!(store.keys().get(KeyKind::Step, &blob).unwrap().is_some());
                }
                store.sync().unwrap();
            });
        }
    });
    assert_eq!(fs::read_dir(store.path().join("blobs/sha256")).unwrap().count(), 40);
}
