//! The folder of an OCI layout, blob by blob: for artifacts that are no images and are in no store.
//!
//! A blob has its name when it is complete, and the index names an artifact when all of its blobs are there.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::OutputError;
use super::destination::temporary_in;
use super::oci::add_to_index;
use crate::base::Digest;
use crate::oci::Descriptor;

/// A layout that is written to.
pub struct LayoutFolder {
    path: PathBuf,
}

/// A blob being written. Dropping it removes it.
pub struct NewBlob {
    file: NamedTempFile,
    folder: PathBuf,
}

impl LayoutFolder {
    /// The layout at `path`; it is there once something was added.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    /// A file for a blob whose digest is not known yet.
    pub fn new_blob(&self) -> Result<NewBlob, OutputError> {
        let folder = self.path.join("blobs/sha256");
        let failed = |source: io::Error| OutputError::writing(&self.path, source);
        fs::create_dir_all(&folder).map_err(failed)?;
        let file = temporary_in(&folder, Path::new("blob")).map_err(failed)?;
        Ok(NewBlob { file, folder })
    }

    pub fn put(&self, media_type: &str, bytes: &[u8]) -> Result<Descriptor, OutputError> {
        let mut blob = self.new_blob()?;
        blob.file.write_all(bytes).map_err(|source| OutputError::writing(&self.path, source))?;
        let descriptor = Descriptor::of(media_type, bytes);
        blob.finish(&descriptor.digest)?;
        Ok(descriptor)
    }

    /// Names an artifact whose blobs are here in the index. What had one of its names loses it.
    pub fn add(&self, artifact: Descriptor) -> Result<(), OutputError> {
        add_to_index(&self.path, vec![artifact])
    }
}

impl NewBlob {
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Gives it its name; it is the caller who knows the digest of what he wrote.
    pub fn finish(self, digest: &Digest) -> Result<(), OutputError> {
        let path = self.folder.join(digest.hex());
        self.file.persist(&path).map(drop).map_err(|failed| OutputError::writing(&path, failed.error))
    }
}
