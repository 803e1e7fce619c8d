//! `type=oci`: an image as OCI image layout (image-spec, "Image Layout"), in a tar or in a directory.
//!
//! The layout's index names the image once per reference, with the two annotations containerd and BuildKit
//! write: `org.opencontainers.image.ref.name` is the tag, `io.containerd.image.name` the whole reference.
//! BlobSource in a directory are copies. They are no hard links into the store, because a `chown -R` or an
//! editor there would change the store's own; file systems that can share extents do.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use super::OutputError;
use super::archive::write_archive;
use super::contents::Contents;
use super::destination::temporary_in;
use crate::base::{Digest, Reference};
use crate::model::Dest;
use crate::oci::{Descriptor, Index};
use crate::publish::BlobSource;

pub(super) const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const IMAGE_NAME: &str = "io.containerd.image.name";

/// Writes `image`, an index or a manifest, with all below it as a tar.
pub fn write_oci_archive(
    blobs: &dyn BlobSource,
    image: &Descriptor,
    names: &[Reference],
    dest: &Dest,
) -> Result<(), OutputError> {
    write_partial_oci_archive(blobs, image, names, &HashSet::new(), dest)
}

/// The same without some of the blobs, for whoever has them.
pub fn write_partial_oci_archive(
    blobs: &dyn BlobSource,
    image: &Descriptor,
    names: &[Reference],
    left_out: &HashSet<Digest>,
    dest: &Dest,
) -> Result<(), OutputError> {
    let mut contents = Contents::of(blobs, image)?;
    contents.leave_out(left_out);
    let index = Index::new(named(image, names));
    let documents =
        BTreeMap::from([("index.json", index.to_bytes()), ("oci-layout", LAYOUT.as_bytes().to_vec())]);
    write_archive(blobs, &contents, &documents, dest)
}

/// Several images and artifacts in one archive, each as its descriptor names it.
pub fn write_oci_archive_of(
    blobs: &dyn BlobSource,
    images: &[Descriptor],
    dest: &Dest,
) -> Result<(), OutputError> {
    let contents = Contents::of_all(blobs, images)?;
    let index = Index::new(images.to_vec());
    let documents =
        BTreeMap::from([("index.json", index.to_bytes()), ("oci-layout", LAYOUT.as_bytes().to_vec())]);
    write_archive(blobs, &contents, &documents, dest)
}

/// Writes `image` with all below it into a directory. A layout that is there already is added to; what had
/// one of the names loses it. Several runs may write into one directory at a time.
pub fn write_oci_directory(
    blobs: &dyn BlobSource,
    image: &Descriptor,
    names: &[Reference],
    directory: &Path,
) -> Result<(), OutputError> {
    let contents = Contents::of(blobs, image)?;
    let folder = directory.join("blobs/sha256");
    fs::create_dir_all(&folder).map_err(|source| OutputError::writing(directory, source))?;
    for (digest, size) in contents.sizes() {
        copy_blob(blobs, &contents, &digest, size, &folder)?;
    }
    add_to_index(directory, named(image, names))
}

/// Makes what is in the layout's directory already part of the layout.
pub(super) fn add_to_index(directory: &Path, added: Vec<Descriptor>) -> Result<(), OutputError> {
    write_file(&directory.join("oci-layout"), LAYOUT.as_bytes())?;
    // Last, and one writer at a time: the index is what makes the blobs an image.
    let lock = File::open(directory).map_err(|source| OutputError::writing(directory, source))?;
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(|cause| OutputError::writing(directory, cause.into()))?;
    let path = directory.join("index.json");
    let mut index = existing_index(&path)?;
    for descriptor in added {
        index.manifests.retain(|existing| !is_replaced(existing, &descriptor));
        index.manifests.push(descriptor);
    }
    write_file(&path, &index.to_bytes())
}

/// The descriptors of the image in the layout's index: one per name.
pub(super) fn named(image: &Descriptor, names: &[Reference]) -> Vec<Descriptor> {
    if names.is_empty() {
        return vec![image.clone()];
    }
    let mut descriptors: Vec<Descriptor> = Vec::new();
    for name in names {
        let mut descriptor = image.clone();
        descriptor.annotations.insert(IMAGE_NAME.to_string(), name.to_string());
        if let Some(tag) = name.tag() {
            descriptor.annotations.insert(REF_NAME.to_string(), tag.to_string());
        }
        if !descriptors.contains(&descriptor) {
            descriptors.push(descriptor);
        }
    }
    descriptors
}

/// Whether a layout cannot hold both: one tag names one image, as does one name.
fn is_replaced(existing: &Descriptor, new: &Descriptor) -> bool {
    let same = |key: &str| {
        new.annotations.get(key).is_some_and(|value| existing.annotations.get(key) == Some(value))
    };
    let is_nameless = |descriptor: &Descriptor| {
        !descriptor.annotations.contains_key(REF_NAME) && !descriptor.annotations.contains_key(IMAGE_NAME)
    };
    // Two names of one image with equal tags differ in their repository, and both stand.
    let other_name = existing.digest == new.digest && !same(IMAGE_NAME) && !is_nameless(existing);
    let is_same_without_name = existing.digest == new.digest && is_nameless(existing);
    existing == new || is_same_without_name || same(IMAGE_NAME) || (same(REF_NAME) && !other_name)
}

fn existing_index(path: &Path) -> Result<Index, OutputError> {
    match fs::read(path) {
        Ok(bytes) => Index::parse(&bytes)
            .map_err(|source| OutputError::NotALayout { path: path.to_path_buf(), source }),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(Index::new(Vec::new())),
        Err(source) => Err(OutputError::writing(path, source)),
    }
}

fn copy_blob(
    blobs: &dyn BlobSource,
    contents: &Contents,
    digest: &Digest,
    size: u64,
    folder: &Path,
) -> Result<(), OutputError> {
    let path = folder.join(digest.hex());
    if fs::metadata(&path).is_ok_and(|existing| existing.is_file() && existing.len() == size) {
        return Ok(());
    }
    let failed = |source| OutputError::writing(&path, source);
    let mut file = temporary_in(folder, &path).map_err(failed)?;
    contents.copy(blobs, digest, file.as_file_mut())?.map_err(failed)?;
    file.persist(&path).map(drop).map_err(|cause| failed(cause.error))
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let failed = |source| OutputError::writing(path, source);
    let folder = path.parent().expect("a file of the layout is in the layout's directory");
    let mut file = temporary_in(folder, path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.persist(path).map(drop).map_err(|cause| failed(cause.error))
}

#[cfg(test)]
mod tests;
