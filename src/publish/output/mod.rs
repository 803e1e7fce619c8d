//! Results that are in the store, written out for the user: as OCI layout, as archive for `docker load`,
//! as plain root file system.
//!
//! What `oci`, `docker`, `local` and `tar` write is what BuildKit's exporters of these names write, except
//! that bytes depend on the image and its names alone: no time of writing anywhere. Files get their final
//! name when they are complete. Not known here: registries, how the images came to be.

mod archive;
mod contents;
mod destination;
mod docker;
mod error;
mod flat;
mod layout;
#[cfg(target_os = "linux")]
mod local;
mod oci;
mod rootfs;

pub use contents::read_platform_image;
pub use docker::write_docker_archive;
pub use error::OutputError;
pub use layout::{LayoutFolder, NewBlob};
#[cfg(target_os = "linux")]
pub use local::{LocalReport, write_root_directory};
pub use oci::{write_oci_archive, write_oci_archive_of, write_oci_directory, write_partial_oci_archive};
pub use rootfs::write_root_tar;

#[cfg(test)]
mod tests;
