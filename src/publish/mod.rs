//! Platform images to an index, and where it goes.

pub mod about;
pub mod access;
pub mod content;
pub mod early;
mod elsewhere;
pub mod export;
mod floating;
pub mod journal;
pub mod journals;
pub mod load;
pub mod looks;
pub mod merge;
pub mod output;
pub mod part;
pub mod publication;
pub mod push;
pub mod release;
mod resume;
pub mod retag;
mod rivals;
mod standing;

use std::fs::File;
use std::io;

use futures_util::future::BoxFuture;

use crate::base::{Digest, Reference};
use crate::oci::Descriptor;
use crate::store::{Blobs, Store};

/// Gives the bytes of images: their manifests, configs and layers.
pub trait BlobSource: Send + Sync {
    fn open(&self, digest: &Digest) -> io::Result<File>;
}

/// The same where some blobs are elsewhere still, and need not come here to be pushed.
pub trait PushSource: BlobSource {
    /// Makes sure that the blob can be opened.
    fn bring<'a>(&'a self, blob: &'a Descriptor) -> BoxFuture<'a, io::Result<()>>;

    /// Where it is known to be, so that a registry can take it from there.
    fn repositories_with(&self, digest: &Digest) -> Vec<Reference>;

    /// Whether a document or blob was made a moment ago, so that no registry has to be asked for it: hardly any has it.
    fn is_new(&self, part: &Descriptor) -> bool {
        let _ = part;
        false
    }
}

impl PushSource for Store {
    fn bring<'a>(&'a self, _: &'a Descriptor) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn repositories_with(&self, _: &Digest) -> Vec<Reference> {
        Vec::new()
    }
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
