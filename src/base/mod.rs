//! Values everybody speaks: digests, platforms, references, ids, named parts.
//!
//! Nothing here does I/O or waits. Types parse at the border and carry the proof afterwards:
//! a [`Digest`] is well formed, a [`Platform`] is normalised, a [`Reference`] names a repository.

pub mod digest;
pub mod ids;
pub mod parts;
pub mod payload;
pub mod platform;
pub mod reference;
pub mod secret;

pub use digest::{Digest, Hasher, HashingReader, HashingWriter};
pub use ids::{NodeId, StepId};
pub use parts::{Part, Parts};
pub use platform::Platform;
pub use reference::Reference;
pub use secret::Secret;
