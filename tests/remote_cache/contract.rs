//! What holds for every kind of cache.

use mab::base::Digest;
use mab::cache::{Entry, EntryKind};

use crate::machine::{layer, step};
use crate::proxy::Fault;
use crate::setup::Setup;

/// More than one part of a multipart upload.
const LARGE: usize = 12 << 20;

#[tokio::test]
async fn a_directory_keeps_the_contract() {
    contract(&Setup::folder()).await;
}

#[tokio::test]
async fn a_registry_keeps_the_contract() {
    if let Some(setup) = Setup::registry().await {
        contract(&setup).await;
        a_blob_that_breaks_off_is_resumed(&setup).await;
    }
}

async fn object_contract(setup: Setup) {
    contract(&setup).await;
    a_blob_that_breaks_off_is_resumed(&setup).await;
}

#[tokio::test]
async fn s3_keeps_the_contract() {
    object_contract(Setup::s3().await).await;
}

#[tokio::test]
async fn azure_keeps_the_contract() {
    object_contract(Setup::azblob().await).await;
}

#[tokio::test]
async fn google_cloud_keeps_the_contract() {
    object_contract(Setup::gcs().await).await;
}

#[tokio::test]
async fn webdav_keeps_the_contract() {
    object_contract(Setup::webdav().await).await;
}

#[tokio::test]
async fn the_service_of_github_keeps_the_contract() {
    for version in [1, 2] {
        object_contract(Setup::github(version).await).await;
    }
}

async fn contract(setup: &Setup) {
    a_second_machine_finds_what_the_first_wrote(setup).await;
    an_unchanged_run_asks_nobody(setup).await;
    the_first_entry_stays(setup).await;
    the_newest_mount_counts(setup).await;
    a_shared_blob_travels_once(setup).await;
    for fault in [Fault::Short, Fault::Altered] {
        a_damaged_blob_is_a_miss_and_is_mended(setup, fault).await;
    }
    what_is_no_entry_is_a_miss(setup).await;
    the_entry_of_another_key_is_a_miss(setup).await;
}

async fn a_second_machine_finds_what_the_first_wrote(setup: &Setup) {
    let (key, first) = (Digest::of("found"), setup.machine());
    let blobs = [first.put(&layer("large", LARGE)), first.put(b"small"), first.put(b"")];
    let entry = step(&key, "found", &blobs.iter().collect::<Vec<_>>());
    let run = first.run();
    assert_eq!(run.get(&key).await, None);
    assert!(!run.caches.all_have(&run.access, EntryKind::Step, &key));
    run.write(entry.clone()).await;
    assert_eq!(run.notices(), [""; 0]);
    assert!(run.caches.all_have(&run.access, EntryKind::Step, &key));

    let second = setup.machine();
    let run = second.run();
    assert_eq!(run.get(&Digest::of("never written")).await, None);
    assert!(!run.caches.knows(&blobs[0].digest));
    assert_eq!(run.get(&key).await.map(|found| found.entry), Some(entry));
    assert_eq!(run.caches.get(&run.access, EntryKind::Node, &key).await, None, "kinds do not share keys");
    assert!(run.caches.knows(&blobs[0].digest));
    assert!(!second.store.blobs().contains(&blobs[0].digest), "a hit moves no blob");
    for blob in &blobs {
        assert!(run.fetch(blob).await, "{blob:?}");
        let size = second.store.blobs().read(&blob.digest, LARGE as u64).unwrap().len();
        assert_eq!(size as u64, blob.size);
    }
    run.finish().await;
    assert_eq!(run.notices(), [""; 0]);
}

async fn an_unchanged_run_asks_nobody(setup: &Setup) {
    let (key, machine) = (Digest::of("unchanged"), setup.machine());
    let blob = machine.put(b"unchanged");
    machine.run().write(step(&key, "unchanged", &[&blob])).await;
    let asked = || setup.proxy().map_or(0, |proxy| proxy.take_requests("").len());
    asked();
    let run = machine.run();
    assert!(run.caches.all_have(&run.access, EntryKind::Step, &key));
    run.write(step(&key, "unchanged", &[&blob])).await;
    assert_eq!(asked(), 0);
    // Another machine has to ask once.
    let other = setup.machine();
    let run = other.run();
    assert!(!run.caches.all_have(&run.access, EntryKind::Step, &key));
    assert!(run.get(&key).await.is_some());
    assert!(run.caches.all_have(&run.access, EntryKind::Step, &key));
}

async fn the_first_entry_stays(setup: &Setup) {
    let key = Digest::of("append only");
    setup.machine().run().write(step(&key, "first", &[])).await;
    let run = setup.machine().run();
    run.write(step(&key, "second", &[])).await;
    assert_eq!(run.notices(), [""; 0]);
    let found = setup.machine().run().get(&key).await.unwrap();
    assert_eq!(found.entry.value["result"], "first");
}

async fn the_newest_mount_counts(setup: &Setup) {
    let key = Digest::of("mount");
    let entry = |value| Entry { kind: EntryKind::Mount, ..step(&key, value, &[]) };
    setup.machine().run_with_mounts().write(entry("old")).await;
    let machine = setup.machine();
    let run = machine.run_with_mounts();
    assert!(!run.caches.all_have(&run.access, EntryKind::Mount, &key));
    run.write(entry("new")).await;
    assert_eq!(run.notices(), [""; 0]);
    let run = setup.machine().run_with_mounts();
    let found = run.caches.get(&run.access, EntryKind::Mount, &key).await.unwrap();
    assert_eq!(found.entry.value["result"], "new");
}

async fn a_shared_blob_travels_once(setup: &Setup) {
    let machine = setup.machine();
    let (own, shared) = (machine.put(b"own"), machine.put(&layer("shared", 100_000)));
    let run = machine.run();
    let sent =
        |line: &String| line.starts_with("PUT") || line.starts_with("POST") || line.starts_with("PATCH");
    let moved = || {
        setup
            .proxy()
            .map(|proxy| proxy.take_requests(&shared.digest.hex()).iter().filter(|line| sent(line)).count())
    };
    let keys = ["a", "b", "c"].map(Digest::of);
    run.caches.offer(&run.access, step(&keys[0], "a", &[&shared]), false);
    run.caches.offer(&run.access, step(&keys[0], "a", &[&shared]), false);
    run.caches.offer(&run.access, step(&keys[1], "b", &[&shared, &own]), false);
    run.finish().await;
    let first = moved();
    run.write(step(&keys[2], "c", &[&shared])).await;
    // Some name the blob in two requests, which begin and end its upload.
    assert!(first.is_none_or(|count| count <= 2), "{first:?}");
    assert!(moved().is_none_or(|count| count == 0));
    let run = setup.machine().run();
    for key in &keys {
        assert!(run.get(key).await.is_some());
    }
    assert_eq!(run.notices(), [""; 0]);
}

async fn a_damaged_blob_is_a_miss_and_is_mended(setup: &Setup, fault: Fault) {
    let seed = format!("damaged {fault:?}");
    let (key, bytes) = (Digest::of(&seed), layer(&seed, 50_000));
    let writer = setup.machine();
    let blob = writer.put(&bytes);
    writer.run().write(step(&key, "whole", &[&blob])).await;
    setup.damage_blob(&blob.digest, fault);

    let machine = setup.machine();
    let run = machine.run();
    assert!(run.get(&key).await.is_some());
    assert!(!run.fetch(&blob).await);
    assert!(!machine.store.blobs().contains(&blob.digest));
    assert!(!run.caches.knows(&blob.digest), "nobody is asked again");
    assert!(!run.caches.all_have(&run.access, EntryKind::Step, &key), "it is to be written anew");
    // What was missing was made here.
    machine.put(&bytes);
    if setup.is_never_mended() {
        return setup.heal();
    }
    setup.heal();
    run.write(step(&key, "made again", &[&blob])).await;
    let notices = run.notices();
    assert!(notices.len() == 1 && notices[0].contains("what it may have held was made here"), "{notices:?}");

    let run = setup.machine().run();
    assert!(run.get(&key).await.is_some());
    assert!(run.fetch(&blob).await);
}

async fn what_is_no_entry_is_a_miss(setup: &Setup) {
    let key = Digest::of("garbage");
    setup.machine().run().write(step(&key, "whole", &[])).await;
    setup.damage_entry(&key, Fault::Garbage);
    let run = setup.machine().run();
    assert_eq!(run.get(&key).await, None);
    setup.heal();
    run.finish().await;
    let notices = run.notices();
    assert!(notices.len() == 1 && notices[0].contains(" failed once: "), "{notices:?}");
}

async fn the_entry_of_another_key_is_a_miss(setup: &Setup) {
    let (asked, other) = (Digest::of("asked for"), Digest::of("another"));
    let run = setup.machine().run();
    run.caches.offer(&run.access, step(&asked, "right", &[]), false);
    run.write(step(&other, "wrong", &[])).await;
    setup.damage_entry(&asked, Fault::Swapped(asked.hex(), other.hex()));
    let run = setup.machine().run();
    assert_eq!(run.get(&asked).await, None);
    setup.heal();
    run.finish().await;
    let name = run.notices().pop().unwrap();
    let expected =
        format!("the step entry {} cannot be used: it is the result of another key", asked.short());
    assert!(name.contains(&expected), "{name}");
}

pub async fn a_blob_that_breaks_off_is_resumed(setup: &Setup) {
    let (key, writer) = (Digest::of("half"), setup.machine());
    let blob = writer.put(&layer("half", 300_000));
    writer.run().write(step(&key, "whole", &[&blob])).await;
    let proxy = setup.proxy().unwrap();
    proxy.plan("GET", &blob.digest.hex(), Fault::Half, Some(1));
    let run = setup.machine().run();
    assert!(run.get(&key).await.is_some());
    assert!(run.fetch(&blob).await);
    run.finish().await;
    assert_eq!(run.notices(), [""; 0]);
    proxy.heal();
}
