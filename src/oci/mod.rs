//! OCI image documents: descriptors, manifests, indexes, image configs.
//!
//! Types of our own, because a document that passes through `mab` keeps what `mab` does not know
//! (Docker's `Healthcheck`, `OnBuild`, `Shell` among it) and because what is written is hashed: maps
//! are ordered, fields keep the order of the specification. Follows image-spec 1.1 and, where noted,
//! Docker's image specification 1.3. No network, no disk.

mod attestation;
pub mod config;
pub mod descriptor;
pub mod index;
pub mod manifest;
pub mod media_type;

pub use attestation::{ATTESTATION, EMPTY, REFERENCE_DIGEST, REFERENCE_TYPE, attestation, attestation_entry};
pub use config::{ContainerConfig, History, ImageConfig, RootFs};
pub use descriptor::{Descriptor, PlatformDescription};
pub use index::Index;
pub use manifest::Manifest;

/// Fields a document carries that `mab` does not know.
pub type Extra = std::collections::BTreeMap<String, serde_json::Value>;
