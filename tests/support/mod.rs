//! The words the tests of the whole program are written in: a project on disk, a run of `mab` in it, the
//! images it made as another reader sees them, and the real parts on loopback.
//!
//! Nothing here uses the library: what is asserted is what anybody else would see.

pub mod account;
pub mod archive;
pub mod daemon;
pub mod engine;
pub mod forge;
pub mod gate;
pub mod image;
pub mod mab;
pub mod process;
pub mod program;
pub mod project;
pub mod proxy;
pub mod redact;
pub mod registry;
pub mod repository;
pub mod surroundings;
pub mod users;
pub mod web;

pub use account::Account;
pub use image::{Image, Kind, Layout, sha256};
pub use mab::{Mab, Ran};
pub use project::Project;
pub use registry::Registry;
pub use repository::Repository;
pub use surroundings::{base, repository, skip};
pub use web::{Fault, Web};
