//! A cache that is out of order: the run goes on, asks it no more, and says so once.

use std::time::Duration;

use mab::base::Digest;
use mab::cache::Patience;

use crate::machine::{layer, patience, step};
use crate::proxy::{Fault, Proxy};
use crate::setup::Setup;

async fn outages(setup: &Setup) {
    let proxy = setup.proxy().unwrap();
    unavailable(setup, proxy).await;
    refused(setup, proxy).await;
    limited(setup, proxy).await;
    hanging(setup, proxy).await;
    refused_writing(setup, proxy).await;
    a_passing_failure_of_writing(setup, proxy).await;
}

#[tokio::test]
async fn a_registry_may_be_out_of_order() {
    if let Some(setup) = Setup::registry().await {
        outages(&setup).await;
    }
}

#[tokio::test]
async fn an_object_store_may_be_out_of_order() {
    for setup in [Setup::s3().await, Setup::azblob().await, Setup::gcs().await, Setup::webdav().await] {
        outages(&setup).await;
    }
}

#[tokio::test]
async fn the_service_of_github_may_be_out_of_order() {
    for version in [1, 2] {
        outages(&Setup::github(version).await).await;
    }
}

#[tokio::test]
async fn a_blob_that_comes_byte_by_byte_is_asked_for_again() {
    let mut setups =
        vec![Setup::s3().await, Setup::azblob().await, Setup::gcs().await, Setup::webdav().await];
    setups.extend([Setup::github(1).await, Setup::github(2).await]);
    futures_util::future::join_all(setups.iter().map(trickling)).await;
}

/// 25 bytes a second, and never silence: what is given up is asked for again, from where it was.
async fn trickling(setup: &Setup) {
    let (key, writer, proxy) = (Digest::of("trickling"), setup.machine(), setup.proxy().unwrap());
    let blob = writer.put(&layer("trickling", 20_000));
    writer.run().write(step(&key, "whole", &[&blob])).await;
    proxy.plan("GET", &blob.digest.hex(), Fault::Trickle(Duration::from_millis(40)), Some(1));
    let run = setup.machine().run_with(Patience { stall: Duration::from_millis(400), ..patience() });
    assert!(run.get(&key).await.is_some());
    proxy.take_requests("");
    assert!(run.fetch(&blob).await);
    // GitHub's service is asked where it is, with its name in the query.
    let is_for_blob = |line: &&String| {
        let path = line.split(['?', ' ']).nth(1).unwrap_or_default();
        line.starts_with("GET") && path.contains(&blob.digest.hex())
    };
    let asked = proxy.take_requests("").iter().filter(is_for_blob).count();
    assert_eq!(asked, 2, "{}", setup.entry.kind.name());
    run.finish().await;
    assert_eq!(run.notices(), [""; 0]);
}

#[tokio::test]
async fn uploads_are_not_waited_for_without_end() {
    let setup = Setup::s3().await;
    setup.proxy().unwrap().plan("PUT", "", Fault::Hang, None);
    let machine = setup.machine();
    let blob = machine.put(b"never arrives");
    let run = machine.run_with(Patience { finish: Duration::from_millis(100), ..patience() });
    run.write(step(&Digest::of("late"), "lost", &[&blob])).await;
    let notices = run.notices();
    let (start, end) = ("1 result was not written to cache `type=s3,", "`: there was no time left");
    assert!(notices.len() == 1 && notices[0].starts_with(start) && notices[0].ends_with(end), "{notices:?}");
}

const MEANING: &str = "what it may hold is made here, and nothing is written to it";

/// Three questions that fail, and one that is not asked.
async fn left_alone(setup: &Setup, proxy: &Proxy, patience: Patience) -> Vec<String> {
    let run = setup.machine().run_with(patience);
    for seed in ["1", "2", "3"] {
        assert_eq!(run.get(&Digest::of(seed)).await, None);
    }
    proxy.take_requests("");
    assert_eq!(run.get(&Digest::of("4")).await, None);
    run.write(step(&Digest::of("5"), "written", &[])).await;
    assert_eq!(proxy.take_requests("").len(), 0);
    proxy.heal();
    run.notices()
}

async fn unavailable(setup: &Setup, proxy: &Proxy) {
    proxy.plan("", "", Fault::Answer(500, ""), None);
    let notices = left_alone(setup, proxy, patience()).await;
    assert_eq!(notices.len(), 1, "{notices:?}");
    let start = format!("cache `type={}", setup.entry.kind.name());
    assert!(notices[0].starts_with(&start) && notices[0].contains("is left alone: "), "{notices:?}");
    assert!(notices[0].contains("status 500") && notices[0].ends_with(MEANING), "{notices:?}");
    assert!(!notices[0].contains("secret"), "{notices:?}");
}

async fn refused(setup: &Setup, proxy: &Proxy) {
    proxy.plan("", "", Fault::Answer(403, ""), None);
    let run = setup.machine().run();
    assert_eq!(run.get(&Digest::of("1")).await, None);
    proxy.take_requests("");
    assert_eq!(run.get(&Digest::of("2")).await, None);
    assert_eq!(proxy.take_requests("").len(), 0, "one refusal is enough");
    proxy.heal();
    run.finish().await;
    assert_eq!(run.notices().len(), 1);
}

/// What says when to return is obeyed, if that is soon.
async fn limited(setup: &Setup, proxy: &Proxy) {
    let key = Digest::of("limited");
    setup.machine().run().write(step(&key, "found", &[])).await;
    proxy.plan("", "", Fault::Answer(429, "Retry-After: 0\r\n"), Some(1));
    let run = setup.machine().run();
    assert!(run.get(&key).await.is_some());
    run.finish().await;
    assert_eq!(run.notices(), [""; 0]);

    proxy.plan("", "", Fault::Answer(503, "Retry-After: 3600\r\n"), None);
    let run = setup.machine().run();
    proxy.take_requests("");
    assert_eq!(run.get(&key).await, None);
    assert_eq!(proxy.take_requests("").len(), 1, "an hour is not waited for");
    proxy.heal();
    run.finish().await;
    let notices = run.notices();
    assert!(notices.len() == 1 && notices[0].contains("made here"), "{notices:?}");
}

async fn hanging(setup: &Setup, proxy: &Proxy) {
    proxy.plan("", "", Fault::Hang, None);
    let short = Patience { lookup: Duration::from_millis(50), ..patience() };
    let notices = left_alone(setup, proxy, short).await;
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert!(notices[0].contains("is left alone"), "{notices:?}");
}

async fn refused_writing(setup: &Setup, proxy: &Proxy) {
    let key = Digest::of("readable");
    setup.machine().run().write(step(&key, "found", &[])).await;
    for (method, part) in setup.writing() {
        proxy.plan(method, part, Fault::Answer(403, ""), None);
    }
    let machine = setup.machine();
    let blob = machine.put(b"never arrives");
    let run = machine.run();
    run.write(step(&Digest::of("unwritable"), "lost", &[&blob])).await;
    let notices = run.notices();
    assert!(notices.len() == 1 && notices[0].ends_with("; nothing was written to it"), "{notices:?}");
    assert!(run.get(&key).await.is_some(), "what is there is still read");
    proxy.heal();
    assert_eq!(setup.machine().run().get(&Digest::of("unwritable")).await, None);
}

async fn a_passing_failure_of_writing(setup: &Setup, proxy: &Proxy) {
    let (key, machine) = (Digest::of("passing"), setup.machine());
    let blob = machine.put(b"arrives at the second try");
    for (method, part) in setup.writing() {
        proxy.plan(method, part, Fault::Answer(502, ""), Some(1));
    }
    let run = machine.run();
    run.write(step(&key, "written", &[&blob])).await;
    assert_eq!(run.notices(), [""; 0]);
    let run = setup.machine().run();
    assert!(run.get(&key).await.is_some());
    assert!(run.fetch(&blob).await);
    proxy.heal();
}
