//! Dockerfile, arguments, platform and base configs, lowered to steps. Pure: nothing runs, nothing is read.
//!
//! [`lower()`] turns a [`Setting`] into [`Lowered`]: file-system steps and the finished config. `reach` says
//! what of a context a step needs, `placement` where it goes, `parts` what a step's identity is made of.
//! Semantics follow BuildKit's dockerfile frontend for `docker/dockerfile` 1.26.

mod chmod;
mod files;
mod from;
mod history;
mod instructions;
mod lower;
mod mount;
mod op;
mod outline;
mod parts;
mod placement;
mod reach;
mod remote;
mod repeated;
mod run;
mod scope;
mod setting;
mod surface;
mod unpack;

pub use chmod::ParseChmodError;
pub use lower::{BaseImages, LowerError, base_requests, global_value, lower, lower_assuming};
pub use mount::{Access, Asked, CacheMount, MountKind, RunMount};
pub use op::{
    BaseImage, Chmod, CopyFrom, CopyOp, InlineFile, Lowered, LoweredBase, MakeDirectoryOp, MergeOp, Op,
    RunOp, Script, Step,
};
pub use outline::{Outline, OutlineArg, OutlineMount, outline};
pub use parts::{lowered_parts, mounted_parts, step_parts};
pub use placement::{Content, Owner, PlaceError, Placed, Placement, Settings, place_copy, place_directory};
pub use reach::{ReachError, Selection, select, selection_parts};
pub use scope::{BuildArgs, Globals};
pub use setting::{BaseRequest, Setting};
pub use unpack::Archives;

#[cfg(test)]
mod tests;
