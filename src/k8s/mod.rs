//! Kubernetes' side of an image: the nodes it would run on, and the manifests that name it.
//!
//! `manifest` reads pods out of documents, `nodes` what a cluster has, `placement` which of these a pod may run on,
//! `pin` writes digests into a manifest's text. Nothing here asks a registry or a cluster.

mod manifest;
mod nodes;
mod pin;
mod placement;

pub use manifest::{ImageUse, Workload, workloads};
pub use nodes::Node;
pub use pin::{Pinned, pin};
pub use placement::{Needed, Placement};
