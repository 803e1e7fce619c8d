//! Which caches a target gets: by name and by entry, trusted or not, offline or not.

use std::collections::BTreeMap;

use mab::base::Digest;
use mab::cache::{Entry, EntryKind};
use mab::model::{Cache, CacheEntry, CacheKind, CacheMode, CacheUse};

use crate::machine::{Machine, Run, both, by_name, entry_of, named, step};
use crate::setup::Setup;

fn declared(setup: &Setup, mode: Option<CacheMode>, trust: Option<bool>) -> BTreeMap<String, Cache> {
    named(CacheEntry { mode, ..setup.entry.clone() }, trust)
}

fn opened(machine: &Machine, caches: &CacheUse, named: &BTreeMap<String, Cache>, trusted_only: bool) -> Run {
    let mut run = machine.unopened(false);
    run.access = run.caches.access(caches, named, &[], trusted_only).unwrap();
    run
}

#[tokio::test]
async fn a_named_cache_is_read_and_written() {
    let (setup, key) = (Setup::folder(), Digest::of("named"));
    let (machine, caches) = (setup.machine(), declared(&setup, None, None));
    let run = opened(&machine, &by_name("ci"), &caches, false);
    assert!(run.access.reads() && run.access.writes() && !run.access.writes_all_steps());
    // Without a mode it takes results only.
    run.write(step(&key, "a step in between", &[])).await;
    assert_eq!(run.get(&key).await, None);
    run.caches.offer(&run.access, step(&key, "a result", &[]), true);
    run.finish().await;
    let found = run.get(&key).await.unwrap();
    assert_eq!((found.cache.as_str(), found.entry), ("ci", step(&key, "a result", &[])));
    assert!(
        opened(&machine, &by_name("ci"), &declared(&setup, Some(CacheMode::Max), None), false)
            .access
            .writes_all_steps()
    );

    let problem = machine.unopened(false).caches.access(&by_name("cd"), &caches, &[], false).err().unwrap();
    assert_eq!(problem.message, "there is no cache `cd`");
}

#[tokio::test]
async fn only_what_is_trusted_is_read_for_a_release() {
    let setup = Setup::folder();
    let machine = setup.machine();
    for (trust, reads) in [(None, false), (Some(false), false), (Some(true), true)] {
        let run = opened(&machine, &by_name("ci"), &declared(&setup, None, trust), true);
        assert_eq!((run.access.reads(), run.access.writes()), (reads, true), "{trust:?}");
        let told = ["cache `ci` is not read here: only caches that are trusted may be"];
        assert_eq!(run.notices(), &told[usize::from(reads)..]);
    }
    let run = opened(&machine, &both(&setup.entry), &BTreeMap::new(), true);
    assert!(!run.access.reads() && run.access.writes());
}

#[tokio::test]
async fn offline_only_directories_are_used() {
    let setup = Setup::folder();
    let machine = setup.machine();
    let registry = entry_of(CacheKind::Registry, &[("ref", "127.0.0.1:1/cache")]);
    let mut caches = both(&registry);
    caches.from.extend(both(&setup.entry).from);
    let run = machine.unopened(true);
    let access = run.caches.access(&caches, &BTreeMap::new(), &[], false).unwrap();
    assert!(access.reads() && !access.writes());
    assert_eq!(run.notices()[0], "`--offline` leaves caches on other machines alone");
}

#[tokio::test]
async fn an_inline_cache_is_beside_the_image() {
    let Some(setup) = Setup::registry().await else { return };
    let (machine, key) = (setup.machine(), Digest::of("inline"));
    let image = format!("{}:1", setup.entry.parameters["ref"]).parse().unwrap();
    let inline = both(&entry_of(CacheKind::Inline, &[]));
    let run = machine.unopened(false);
    let access = run.caches.access(&inline, &BTreeMap::new(), &[image], false).unwrap();
    assert!(!access.writes_all_steps());
    let entry = Entry { kind: EntryKind::Node, ..step(&key, "image", &[]) };
    run.caches.offer(&access, entry.clone(), true);
    run.finish().await;
    // By its name the repository is a cache like any other.
    let other = setup.machine().run();
    let found = other.caches.get(&other.access, EntryKind::Node, &key).await.unwrap();
    assert_eq!(found.entry, entry);
    let unnamed = machine.unopened(false);
    assert!(unnamed.caches.access(&inline, &BTreeMap::new(), &[], false).unwrap().is_empty());
    assert_eq!(unnamed.notices()[0], "an inline cache is kept beside the image, and an image has no name");
}

#[tokio::test]
async fn what_one_cache_has_is_written_to_another() {
    let Some(setup) = Setup::registry().await else { return };
    let (key, writer) = (Digest::of("both"), setup.machine());
    let blob = writer.put(&crate::machine::layer("both", 50_000));
    writer.run().write(step(&key, "whole", &[&blob])).await;

    let machine = setup.machine();
    let second = entry_of(CacheKind::Registry, &[("ref", &format!("{}-2", setup.entry.parameters["ref"]))]);
    let caches = CacheUse { from: both(&setup.entry).from, to: both(&second).to, ..CacheUse::default() };
    let run = machine.unopened(false);
    let access = run.caches.access(&caches, &BTreeMap::new(), &[], false).unwrap();
    let found = run.caches.get(&access, EntryKind::Step, &key).await.unwrap();
    let names: Vec<String> =
        run.caches.repositories_with(&blob.digest).iter().map(|known| known.name()).collect();
    assert_eq!(names, [setup.entry.parameters["ref"].clone()]);
    run.caches.offer(&access, found.entry, false);
    run.finish().await;
    assert_eq!(run.notices(), [""; 0]);
    assert!(!machine.store.blobs().contains(&blob.digest), "the registry has passed it on itself");
    let other = Machine::new(&second, &[]);
    let run = other.run();
    assert!(run.get(&key).await.is_some() && run.fetch(&blob).await);
}

#[tokio::test]
async fn outside_of_github_its_service_is_left_out() {
    // Where a job should see it, that it does not is told; elsewhere nobody can do anything about it.
    let told = "there is no cache service of GitHub Actions here";
    for (environment, parameters, expected) in [
        (&[][..], &[][..], None),
        (&[("CI", "true")], &[("scope", "main")], None),
        (&[("GITHUB_ACTIONS", "true")], &[], Some(told)),
        (&[("ACTIONS_RUNTIME_TOKEN", "job")], &[], Some(told)),
        (&[], &[("token", "job")], Some(told)),
    ] {
        let run = Machine::new(&entry_of(CacheKind::Gha, parameters), environment).run();
        assert!(run.access.is_empty());
        assert_eq!(run.notices().first().map(String::as_str), expected, "{environment:?} {parameters:?}");
    }
}

#[tokio::test]
async fn what_a_cache_has_is_believed_for_a_day() {
    let (setup, key) = (Setup::folder(), Digest::of("a day"));
    let machine = setup.machine();
    machine.run().write(step(&key, "written", &[])).await;
    let has = |machine: &Machine| {
        let run = machine.run();
        run.caches.all_have(&run.access, EntryKind::Step, &key)
    };
    assert!(has(&machine));
    assert!(!has(&machine.tomorrow()));
}
