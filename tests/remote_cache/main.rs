//! Caches between machines, each kind through one suite: what one machine writes another finds, nothing is
//! overwritten, and whatever goes wrong is a miss that is told once.
//!
//! Behind a proxy that can do wrong stand a real registry and a server of one's own that speaks as object stores
//! and CI services do. A directory has its files damaged instead.

#![allow(clippy::unwrap_used, reason = "the lint knows test functions, not what they call")]

mod access;
mod contract;
mod machine;
mod objects;
mod outage;
mod proxy;
mod service;
mod setup;

/// Says, where somebody looks, that a test did not run.
fn skip(what: &str) {
    use std::io::Write as _;
    eprintln!("skipped: {what}");
    if let Some(path) = std::env::var_os("MAB_TEST_SKIPS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.unwrap().write_all(format!("{what}\n").as_bytes()).unwrap();
    }
}
