//! Base images: what is known of them, and how their layers come into the store when something must
//! read them.

use std::path::PathBuf;
use std::sync::Arc;

use super::job::JobEvents;
use super::machine::{blocking, io_problem};
use crate::base::{Digest, Reference};
use crate::cache::Caches;
use crate::diag::{Kind, Problem};
use crate::event::Transfer;
use crate::layer::Compression;
use crate::oci::{Descriptor, ImageConfig};
use crate::registry::Registry;
use crate::store::Store;

/// A base image of one platform.
#[derive(Clone, Debug)]
pub struct Base {
    /// For messages.
    pub name: String,
    /// The manifest's digest, or another name of what it says.
    pub manifest: Digest,
    pub config: Arc<ImageConfig>,
    /// As many as the config has diff ids.
    pub layers: Vec<Descriptor>,
    /// How the layers that were made here are compressed, by their place; nothing for what others made.
    pub compressions: Vec<Option<Compression>>,
    pub origin: Origin,
}

/// Where layers that the store does not have come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Registry(Reference),
    /// The directory of an OCI layout.
    OciLayout(PathBuf),
    /// Built by mab: every blob is in the store, or in the cache that told of it.
    Store,
}

/// The code of the problem that a cache told of a result and cannot give what it consists of.
pub const LOST_BLOB: &str = "cache::lost-blob";
/// The code of the problem that the store does not have what it should.
pub const MISSING_BLOB: &str = "store::missing-blob";

/// Brings one blob into the store, if it is not there yet, and checks its bytes on the way.
pub async fn fetch_blob(
    store: &Store,
    registry: &Registry,
    caches: &Caches,
    origin: &Origin,
    descriptor: &Descriptor,
    events: &JobEvents,
) -> Result<(), Box<Problem>> {
    if store.blobs().contains(&descriptor.digest) {
        return Ok(());
    }
    match origin {
        Origin::Registry(reference) => pull(store, registry, reference, descriptor, events).await,
        Origin::OciLayout(path) => import(store, path, descriptor).await,
        Origin::Store if caches.knows(&descriptor.digest) => take(caches, descriptor, events).await,
        Origin::Store => Err(Box::new(
            Problem::new(
                Kind::Host,
                MISSING_BLOB,
                format!("the store has lost the blob {}", descriptor.digest),
            )
            .help("run again: what is missing is built again"),
        )),
    }
}

async fn pull(
    store: &Store,
    registry: &Registry,
    reference: &Reference,
    descriptor: &Descriptor,
    events: &JobEvents,
) -> Result<(), Box<Problem>> {
    let writer = store.blobs().writer().map_err(|error| Box::new(error.problem()))?;
    let (item, events) = (descriptor.digest.short(), events.clone());
    let progress =
        move |done: u64, total: u64| events.transfer(Transfer::Pull, item.clone(), done, Some(total));
    let mut file = writer.file().try_clone().map_err(|error| Box::new(io_problem("write a blob", &error)))?;
    registry
        .pull_blob(reference, descriptor, &mut file, &progress)
        .await
        .map_err(|error| Box::new(error.problem()))?;
    writer.commit(&descriptor.digest, descriptor.size).map_err(|error| Box::new(error.problem()))
}

async fn take(caches: &Caches, descriptor: &Descriptor, events: &JobEvents) -> Result<(), Box<Problem>> {
    let (item, size) = (descriptor.digest.short(), descriptor.size);
    let progress = move |done: u64, _: u64| events.transfer(Transfer::Pull, item.clone(), done, Some(size));
    let is_here = caches.fetch(descriptor, &progress).await.map_err(|error| Box::new(error.problem()))?;
    if is_here {
        return Ok(());
    }
    let message = format!("no cache can give the blob {} that one told of", descriptor.digest);
    Err(Box::new(
        Problem::new(Kind::Remote, LOST_BLOB, message).help("bake with `--no-cache`, or without the cache"),
    ))
}

async fn import(
    store: &Store,
    layout: &std::path::Path,
    descriptor: &Descriptor,
) -> Result<(), Box<Problem>> {
    let source = layout.join("blobs/sha256").join(descriptor.digest.hex());
    let (store, descriptor) = (store.clone(), descriptor.clone());
    blocking(move || copy_verified(&store, &source, &descriptor)).await
}

fn copy_verified(
    store: &Store,
    source: &std::path::Path,
    descriptor: &Descriptor,
) -> Result<(), Box<Problem>> {
    let damaged = |what: String| {
        Box::new(
            Problem::input("oci-layout::blob", format!("blob `{}` {what}", source.display()))
                .help("make the OCI layout again; its index names a blob that is not there as named"),
        )
    };
    let file = std::fs::File::open(source).map_err(|error| damaged(format!("cannot be read: {error}")))?;
    let writer = store.blobs().writer().map_err(|error| Box::new(error.problem()))?;
    // One byte more than promised is enough to know that the blob is another one.
    let mut reader = crate::base::HashingReader::new(std::io::Read::take(file, descriptor.size + 1));
    std::io::copy(&mut reader, &mut writer.file())
        .map_err(|error| Box::new(io_problem("write a blob", &error)))?;
    if reader.finish() != (descriptor.digest, descriptor.size) {
        return Err(damaged("has other bytes than its digest says".to_string()));
    }
    writer.commit(&descriptor.digest, descriptor.size).map_err(|error| Box::new(error.problem()))
}
