//! Values everybody speaks: digests, platforms, references, what names files elsewhere, ids, named parts.
//!
//! Nothing here does I/O, but for the count of processors, or waits. Types parse at the border and carry the proof afterwards:
//! a [`Digest`] is well formed, a [`Platform`] is normalised, a [`Reference`] names a repository.

pub mod digest;
pub mod explanation;
pub mod git_reference;
pub mod http_url;
pub mod ids;
pub mod parts;
pub mod payload;
pub mod percent;
pub mod platform;
pub mod processors;
pub mod reference;
pub mod remote;
pub mod secret;
pub mod toml_size;

pub use digest::{Digest, HashState, Hasher, HashingReader, HashingWriter};
pub use git_reference::{GitReference, GitTimes};
pub use http_url::HttpUrl;
pub use ids::{NodeId, StepId};
pub use parts::{Part, Parts};
pub use platform::Platform;
pub use processors::processors;
pub use reference::Reference;
pub use remote::{PinnedCommit, PinnedSource, RemoteSource};
pub use secret::Secret;
