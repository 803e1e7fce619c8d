//! One file per verb: typed options in, typed result out.
//!
//! `build_files` finds files, `project` reads them and compiles the plan; `session` alone chooses engine,
//! store and clients.

mod advice;
pub mod bake;
mod bases;
pub mod bench;
mod build_files;
pub mod builder;
mod builders;
mod buildx;
pub mod cache;
mod changed;
pub mod check;
pub mod ci;
mod circles;
pub mod copy;
pub mod diff;
pub mod digest;
mod dockerfiles;
pub mod doctor;
mod emulation;
mod engines;
pub mod explain;
pub mod fix;
mod grants;
pub mod images;
pub mod import;
pub mod index;
pub mod init;
pub mod inspect;
pub mod k8s;
pub mod list;
pub mod lock;
mod lock_file;
pub mod login;
pub mod ls;
pub mod merge;
mod new_file;
pub mod outline;
mod overlay;
mod parts;
pub mod plan;
mod project;
pub mod prune;
pub mod release;
pub mod remote;
pub mod run;
mod session;
pub mod tags;
pub mod test;
pub mod transfers;
pub mod untag;
pub mod user;
pub mod verify;
pub mod watch;

pub use changed::{Changed, Reason};
pub use grants::{Grant, entitlements};
pub use overlay::Overlay;
pub use parts::{PartOptions, WrittenPart};
pub use project::{ChangedOption, ProjectOptions};
pub use session::SessionOptions;

use crate::diag::Problem;

/// `path` without `.` and `..`, not asking the disk.
fn clean(path: &std::path::Path) -> std::path::PathBuf {
    use std::path::Component;
    let mut cleaned = std::path::PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                cleaned.pop();
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}

/// What kept a command from its result.
pub type Failure = Vec<Problem>;
