//! `mab` as its users run it: real files, real sandboxes, a real registry, and what comes out read by others.
//!
//! A test that cannot run on a machine says so in the file `MAB_TEST_SKIPS`; see scripts/test.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod bench;
mod border;
mod build_platform;
mod builders;
mod builders_attest;
mod builders_engine;
mod builders_fleet;
mod builders_kept;
mod builders_reached;
mod builders_refused;
mod cache_mounts;
mod changed;
mod check;
mod compression;
mod copy;
mod diff;
mod example;
mod explain;
mod explain_builds;
mod faults;
mod files;
mod flags;
mod hostile;
mod imports;
mod index;
mod inspect;
mod interruption;
mod keeping;
mod loading;
mod lock;
mod login;
mod mistakes;
mod mounts;
mod outline;
mod outputs;
mod overrides;
mod printed;
mod publications;
mod push;
mod releases;
mod remote_contexts;
mod remote_definitions;
mod remote_files;
mod repositories;
mod reproducible;
mod rewriting;
mod running;
mod sandbox;
mod sarif;
mod secrets;
mod shared_results;
mod tags;
mod targets;
mod testing;
mod user_config;
mod verify;
mod walks;
mod watch;
mod words;
