//! An image wherever it lies: in a registry, an OCI layout, an archive, a Docker Engine, or mab's own store.
//!
//! [`ImageName`] says where, [`Source`] reads from there, [`Tree`] is what an image consists of as far as its
//! documents tell. Whatever is read was checked against its digest, and is bounded in size, depth and number. Nothing is
//! written here.

mod archive;
mod docker_archive;
mod error;
mod layout;
mod name;
mod source;
mod tree;
mod verified;

pub use error::ImageError;
pub use layout::{IMAGE_NAME, Layout, REF_NAME};
pub use name::{FilePick, ImageName};
pub use source::{Means, Source, layout};
pub use tree::{Content, Image, Node, Tree};

use crate::oci::Descriptor;

/// The largest manifest, index or config that is read, which is what registries accept.
pub const LARGEST_DOCUMENT: u64 = 4 << 20;

/// A manifest or index, digest checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
}
