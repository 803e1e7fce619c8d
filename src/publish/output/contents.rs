//! Everything an image is made of: the blobs below an index or manifest.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read};

use super::OutputError;
use crate::base::Digest;
use crate::oci::{Descriptor, ImageConfig, Index, Manifest, media_type};
use crate::publish::BlobSource;

/// The most bytes an index, manifest or config may have; registries allow four megabytes.
const DOCUMENT_LIMIT: u64 = 16 << 20;
/// How deep indexes may nest. Two levels are in use.
const DEPTH_LIMIT: usize = 8;

/// BlobSource by digest, with their sizes. Those made here, which no store has, carry their bytes.
#[derive(Default)]
pub(super) struct Contents {
    blobs: BTreeMap<Digest, Content>,
}

enum Content {
    Stored { size: u64 },
    Made(Vec<u8>),
}

impl Contents {
    /// What is below `image`, and the image itself.
    pub(super) fn of(blobs: &dyn BlobSource, image: &Descriptor) -> Result<Self, OutputError> {
        Self::of_all(blobs, std::slice::from_ref(image))
    }

    pub(super) fn of_all(blobs: &dyn BlobSource, images: &[Descriptor]) -> Result<Self, OutputError> {
        let mut contents = Self::default();
        images.iter().try_for_each(|image| contents.collect(blobs, image, 0))?;
        Ok(contents)
    }

    fn collect(
        &mut self,
        blobs: &dyn BlobSource,
        descriptor: &Descriptor,
        depth: usize,
    ) -> Result<(), OutputError> {
        if self.blobs.contains_key(&descriptor.digest) {
            return Ok(());
        }
        if media_type::is_index(&descriptor.media_type) && depth < DEPTH_LIMIT {
            let index = read_index(blobs, descriptor)?;
            self.add(descriptor);
            return index.manifests.iter().try_for_each(|child| self.collect(blobs, child, depth + 1));
        }
        if !media_type::is_manifest(&descriptor.media_type) {
            return Err(not_an_image(descriptor));
        }
        let manifest = read_manifest(blobs, descriptor)?;
        self.add(descriptor);
        self.add(&manifest.config);
        self.add_layers(blobs, &manifest)
    }

    pub(super) fn add(&mut self, descriptor: &Descriptor) {
        self.blobs.insert(descriptor.digest, Content::Stored { size: descriptor.size });
    }

    /// Adds bytes that are in no store.
    pub(super) fn make(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let descriptor = Descriptor::of(media_type, &bytes);
        self.blobs.insert(descriptor.digest, Content::Made(bytes));
        descriptor
    }

    /// Layers with URLs of their own (Windows bases) may not be distributed and need not be here.
    pub(super) fn add_layers(
        &mut self,
        blobs: &dyn BlobSource,
        manifest: &Manifest,
    ) -> Result<(), OutputError> {
        for layer in &manifest.layers {
            match blobs.open(&layer.digest) {
                Err(source) if layer.urls.is_empty() || source.kind() != io::ErrorKind::NotFound => {
                    return Err(OutputError::Read { digest: layer.digest, source });
                }
                Err(_) => {}
                Ok(_) => self.add(layer),
            }
        }
        Ok(())
    }

    pub(super) fn leave_out(&mut self, left_out: &HashSet<Digest>) {
        self.blobs.retain(|digest, _| !left_out.contains(digest));
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.blobs.contains_key(digest)
    }

    /// Digest and size of every blob, by digest.
    pub(super) fn sizes(&self) -> impl Iterator<Item = (Digest, u64)> {
        self.blobs.iter().map(|(digest, content)| match content {
            Content::Stored { size } => (*digest, *size),
            Content::Made(bytes) => (*digest, bytes.len() as u64),
        })
    }

    /// Copies one of the blobs to `out`. The kernel copies, and shares extents where the file system can.
    pub(super) fn copy(
        &self,
        blobs: &dyn BlobSource,
        digest: &Digest,
        out: &mut File,
    ) -> Result<io::Result<()>, OutputError> {
        let size = match &self.blobs[digest] {
            Content::Made(bytes) => return Ok(io::Write::write_all(out, bytes)),
            Content::Stored { size } => *size,
        };
        let failed = |source| OutputError::Read { digest: *digest, source };
        let file = blobs.open(digest).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() != size {
            return Err(OutputError::Damaged { digest: *digest });
        }
        Ok(io::copy(&mut file.take(size), out).map(drop))
    }
}

pub(super) fn read_index(blobs: &dyn BlobSource, descriptor: &Descriptor) -> Result<Index, OutputError> {
    let bytes = read_document(blobs, descriptor)?;
    Index::parse(&bytes).map_err(|source| OutputError::Document { digest: descriptor.digest, source })
}

pub(super) fn read_manifest(
    blobs: &dyn BlobSource,
    descriptor: &Descriptor,
) -> Result<Manifest, OutputError> {
    let bytes = read_document(blobs, descriptor)?;
    Manifest::parse(&bytes).map_err(|source| OutputError::Document { digest: descriptor.digest, source })
}

fn read_document(blobs: &dyn BlobSource, descriptor: &Descriptor) -> Result<Vec<u8>, OutputError> {
    let digest = descriptor.digest;
    let mut bytes = Vec::new();
    let read = blobs.open(&digest).and_then(|file| file.take(DOCUMENT_LIMIT).read_to_end(&mut bytes));
    read.map_err(|source| OutputError::Read { digest, source })?;
    if Digest::of(&bytes) == digest { Ok(bytes) } else { Err(OutputError::Damaged { digest }) }
}

/// A platform's manifest, its config as it is written, and the uncompressed digests of its layers.
pub fn read_platform_image(
    blobs: &dyn BlobSource,
    image: &Descriptor,
) -> Result<(Manifest, Vec<u8>, Vec<Digest>), OutputError> {
    let manifest = read_manifest(blobs, image)?;
    let config = read_document(blobs, &manifest.config)?;
    let diff_ids = read_config(blobs, &manifest.config)?.rootfs.diff_ids;
    Ok((manifest, config, diff_ids))
}

pub(super) fn not_an_image(descriptor: &Descriptor) -> OutputError {
    OutputError::NotAnImage { digest: descriptor.digest, media_type: descriptor.media_type.clone() }
}

pub(super) fn read_config(
    blobs: &dyn BlobSource,
    descriptor: &Descriptor,
) -> Result<ImageConfig, OutputError> {
    let bytes = read_document(blobs, descriptor)?;
    ImageConfig::parse(&bytes).map_err(|source| OutputError::Document { digest: descriptor.digest, source })
}
