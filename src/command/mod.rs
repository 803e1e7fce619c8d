//! One file per verb: typed options in, typed result out.
//!
//! `build_files` finds files, `project` reads them and compiles the plan; `session` alone chooses engine,
//! store and clients.

mod advice;
pub mod bake;
mod bases;
mod build_files;
pub mod cache;
pub mod check;
mod dockerfiles;
pub mod explain;
pub mod import;
pub mod init;
pub mod lock;
mod lock_file;
mod new_file;
pub mod plan;
mod project;
pub mod prune;
mod session;

pub use project::ProjectOptions;
pub use session::SessionOptions;

use crate::diag::Problem;

/// What kept a command from its result.
pub type Failure = Vec<Problem>;
