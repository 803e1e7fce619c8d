//! Platform images to an index, and where it goes.

pub mod export;
pub mod load;
pub mod merge;
pub mod output;
pub mod push;

use std::fs::File;
use std::io;

use crate::base::Digest;
use crate::store::{Blobs, Store};

/// Gives the bytes of images: their manifests, configs and layers.
pub trait BlobSource: Send + Sync {
    fn open(&self, digest: &Digest) -> io::Result<File>;
}

impl BlobSource for Store {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        self.blobs().open(digest)
    }
}

impl BlobSource for Blobs<'_> {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        Blobs::open(self, digest)
    }
}
