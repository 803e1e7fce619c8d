//! What this machine, its registries and its builders can do, found by trying it, and what to do where something is
//! missing.
//!
//! Each file tries one area and judges what it saw; judging is pure. A [`Finding`] is data: `cli::doctor` prints it,
//! and [`explaining`] leads from the failure of a build to the check that tells more.

pub mod apparmor;
mod clock;
pub mod emulation;
mod finding;
pub mod namespaces;
mod packages;
pub mod remote;
pub mod sandbox;
pub mod storage;

pub use clock::clock;
pub use finding::{Check, Finding, Fix, Level, Trouble, explaining};
