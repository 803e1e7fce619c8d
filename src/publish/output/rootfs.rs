//! `type=tar`: the root file system of an image as a tar, owners kept; and what it shares with `type=local`.
//!
//! Several platforms get a folder each, named as BuildKit names it: `linux_arm_v7`. Without folders they
//! are merged, and a file that two platforms have is an error, as in BuildKit.

use std::collections::HashMap;

use super::OutputError;
use super::contents::{not_an_image, read_config, read_index, read_manifest};
use super::destination::Destination;
use super::flat::{FlatTree, Output, shown};
use crate::base::Platform;
use crate::layer::{Compression, Entry, EntryKind, LayerOptions, LayerWriter};
use crate::model::Dest;
use crate::oci::{Descriptor, media_type};
use crate::publish::BlobSource;

/// Writes the root file system of `image`, a manifest or an index. `split` is `platform-split`; without it,
/// several platforms are split and a single one is not.
pub fn write_root_tar(
    blobs: &dyn BlobSource,
    image: &Descriptor,
    split: Option<bool>,
    dest: &Dest,
) -> Result<(), OutputError> {
    let roots = Roots::of(blobs, image, split)?;
    let mut destination = Destination::create(dest)?;
    let options = LayerOptions { compression: Compression::None, clamp_mtime: None };
    let file = destination.file().try_clone();
    let writer = file.and_then(|file| LayerWriter::create(file, options));
    let mut writer = writer.map_err(|cause| destination.failed(cause))?;
    roots.emit(blobs, &mut Output { sink: &mut writer, failed: &|cause| destination.failed(cause) })?;
    writer.finish().map_err(|cause| destination.failed(cause))?;
    destination.finish()
}

/// The trees of an image's platforms and the folder each goes to; an empty name is none.
pub(super) struct Roots(Vec<(String, FlatTree)>);

impl Roots {
    pub(super) fn of(
        blobs: &dyn BlobSource,
        image: &Descriptor,
        split: Option<bool>,
    ) -> Result<Self, OutputError> {
        let images = platform_images(blobs, image)?;
        let split = split.unwrap_or(images.len() > 1);
        let mut roots = Vec::new();
        let mut taken = HashMap::new();
        for (platform, manifest) in &images {
            let tree = FlatTree::of(blobs, read_manifest(blobs, manifest)?)?;
            if !split && images.len() > 1 {
                refuse_conflicts(&tree, platform, &mut taken)?;
            }
            let folder = if split { platform.to_string().replace('/', "_") } else { String::new() };
            roots.push((folder, tree));
        }
        Ok(Self(roots))
    }

    pub(super) fn emit(&self, blobs: &dyn BlobSource, out: &mut Output<'_>) -> Result<(), OutputError> {
        for (folder, tree) in &self.0 {
            if !folder.is_empty() {
                let entry = Entry::new(folder.as_str(), EntryKind::Directory, 0o755);
                out.append(entry, &mut std::io::empty())?;
            }
            tree.emit(blobs, folder, out)?;
        }
        Ok(())
    }
}

/// Only directories may be in several images. `taken` holds what earlier ones have.
fn refuse_conflicts(
    tree: &FlatTree,
    platform: &Platform,
    taken: &mut HashMap<Vec<u8>, (Platform, bool)>,
) -> Result<(), OutputError> {
    for (path, is_directory) in tree.paths() {
        match taken.get(path) {
            Some((_, true)) if is_directory => {}
            Some((other, _)) => {
                let platforms = Box::new((other.clone(), platform.clone()));
                return Err(OutputError::Conflict { path: shown(path), platforms });
            }
            None => drop(taken.insert(path.to_vec(), (platform.clone(), is_directory))),
        }
    }
    Ok(())
}

fn platform_images(
    blobs: &dyn BlobSource,
    image: &Descriptor,
) -> Result<Vec<(Platform, Descriptor)>, OutputError> {
    if media_type::is_manifest(&image.media_type) {
        let platform = match image.platform() {
            Some(platform) => platform,
            None => read_config(blobs, &read_manifest(blobs, image)?.config)?.platform(),
        };
        return Ok(vec![(platform, image.clone())]);
    }
    if !media_type::is_index(&image.media_type) {
        return Err(not_an_image(image));
    }
    let index = read_index(blobs, image)?;
    let images = index.manifests.into_iter().filter_map(|child| Some((child.platform()?, child)));
    Ok(images.collect())
}

#[cfg(test)]
mod tests;
