//! Patterns over paths: Go's globs, and the ignore rules that Docker builds on them. Pure.

mod glob;
mod ignore;
mod wildcard;

pub use glob::{Glob, PatternError};
pub use ignore::{Ignore, IgnoreError, Matched};
