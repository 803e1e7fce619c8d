//! `type=docker`: an archive for `docker load`.
//!
//! Two formats in one tar, as BuildKit and `docker save` since Docker 25 write it: an OCI layout, and
//! `manifest.json` of the older Docker image specification (1.2), which names blobs of the layout. Media
//! types are Docker's, so the manifest is a new document; config and layers are the store's blobs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::OutputError;
use super::archive::write_archive;
use super::contents::{Contents, not_an_image, read_index, read_manifest};
use super::oci::{LAYOUT, named};
use crate::base::{Digest, Reference};
use crate::model::Dest;
use crate::oci::{Descriptor, Index, Manifest, media_type};
use crate::publish::BlobSource;
use crate::publish::merge::with_docker_types;

/// One image in `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LoadManifest {
    config: String,
    /// Familiar names with tags, or `null`.
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Writes `image`, a manifest or an index with one platform, as an archive that `docker load` reads.
pub fn write_docker_archive(
    blobs: &dyn BlobSource,
    image: &Descriptor,
    names: &[Reference],
    dest: &Dest,
) -> Result<(), OutputError> {
    let chosen = single_platform(blobs, image)?;
    let manifest = with_docker_types(read_manifest(blobs, &chosen)?);
    let mut contents = Contents::default();
    contents.add(&manifest.config);
    contents.add_layers(blobs, &manifest)?;
    let descriptor = contents.make(&manifest.media_type, manifest.to_bytes());
    let descriptor = Descriptor { platform: chosen.platform, ..descriptor };
    let documents = BTreeMap::from([
        ("index.json", Index::new(named(&descriptor, names)).to_bytes()),
        ("manifest.json", load_manifest(&manifest, &contents, names)),
        ("oci-layout", LAYOUT.as_bytes().to_vec()),
    ]);
    write_archive(blobs, &contents, &documents, dest)
}

/// The one platform's manifest; attestations beside it do not count.
fn single_platform(blobs: &dyn BlobSource, image: &Descriptor) -> Result<Descriptor, OutputError> {
    if media_type::is_manifest(&image.media_type) {
        return Ok(image.clone());
    }
    if !media_type::is_index(&image.media_type) {
        return Err(not_an_image(image));
    }
    let index = read_index(blobs, image)?;
    let mut images = index.manifests.iter().filter(|child| child.platform().is_some());
    match (images.next(), images.next(), &index.manifests[..]) {
        (Some(only), None, _) | (None, _, [only]) => Ok(only.clone()),
        (Some(_), Some(_), _) => Err(OutputError::SeveralPlatforms { platforms: index.platforms() }),
        (None, _, _) => Err(not_an_image(image)),
    }
}

fn load_manifest(manifest: &Manifest, contents: &Contents, names: &[Reference]) -> Vec<u8> {
    let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    let layers = manifest.layers.iter().map(|layer| layer.digest).filter(|digest| contents.has(digest));
    let mut tags: Vec<String> = Vec::new();
    for name in names.iter().filter(|name| name.tag().is_some() && name.digest().is_none()) {
        if !tags.contains(&name.familiar()) {
            tags.push(name.familiar());
        }
    }
    let image = LoadManifest {
        config: path(&manifest.config.digest),
        repo_tags: (!tags.is_empty()).then_some(tags),
        layers: layers.map(|digest| path(&digest)).collect(),
    };
    serde_json::to_vec(&[image]).expect("it holds only strings")
}

#[cfg(test)]
mod tests;
