//! What `docker save` wrote before it wrote layouts (Docker's image specification 1.2), as a layout.
//!
//! Such an archive has configs and layers but no manifests, so they are made: with Docker's types, over the layers as
//! they lie there. The same archive gives the same digests every time.

use std::collections::BTreeMap;
use std::io::{self, Read};

use serde::Deserialize;

use super::LARGEST_DOCUMENT;
use super::archive::Archive;
use super::error::ImageError;
use super::layout::Other;
use crate::base::{Digest, HashingReader};
use crate::oci::{Descriptor, ImageConfig, Index, Manifest, PlatformDescription, media_type};

const MOST_IMAGES: usize = 1_000;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// One image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// The images as an index, and where the blobs are that it leads to.
pub fn read(archive: &Archive, place: &str) -> Result<(Index, BTreeMap<Digest, Other>), ImageError> {
    let failed = |what: &str, cause: String| ImageError::Document {
        place: place.to_string(),
        what: format!("`{what}`"),
        cause,
    };
    let bytes =
        member(archive, "manifest.json").map_err(|error| failed("manifest.json", error.to_string()))?;
    let images: Vec<Saved> =
        serde_json::from_slice(&bytes).map_err(|error| failed("manifest.json", error.to_string()))?;
    let (mut index, mut others) = (Index::new(Vec::new()), BTreeMap::new());
    for image in images.iter().take(MOST_IMAGES) {
        let config =
            member(archive, &image.config).map_err(|error| failed(&image.config, error.to_string()))?;
        let parsed = ImageConfig::parse(&config).map_err(|error| failed(&image.config, error.to_string()))?;
        let names = image.layers.clone().unwrap_or_default();
        let mut layers = Vec::new();
        for (position, name) in names.iter().enumerate() {
            let diff_id = parsed.rootfs.diff_ids.get(position);
            let layer = layer(archive, name, diff_id).map_err(|error| failed(name, error.to_string()))?;
            others.insert(layer.digest, Other::Member(name.clone()));
            layers.push(layer);
        }
        let described = Descriptor::of(media_type::DOCKER_CONFIG, &config);
        others.insert(described.digest, Other::Bytes(config));
        let manifest = Manifest {
            media_type: media_type::DOCKER_MANIFEST.to_string(),
            ..Manifest::new(described, layers)
        };
        let bytes = manifest.to_bytes();
        let mut entry = Descriptor::of(media_type::DOCKER_MANIFEST, &bytes);
        entry.platform = Some(PlatformDescription::from(&parsed.platform()));
        others.insert(entry.digest, Other::Bytes(bytes));
        let tags = image.repo_tags.clone().unwrap_or_default();
        index.manifests.extend(tags.iter().map(|tag| named(&entry, tag)));
        if tags.is_empty() {
            index.manifests.push(entry);
        }
    }
    Ok((index, others))
}

fn named(entry: &Descriptor, name: &str) -> Descriptor {
    let mut entry = entry.clone();
    entry.annotations.insert("io.containerd.image.name".to_string(), name.to_string());
    entry
}

/// A layer's descriptor. A plain tar has the digest that the config says, which whoever reads it checks.
fn layer(archive: &Archive, name: &str, diff_id: Option<&Digest>) -> io::Result<Descriptor> {
    let mut magic = [0; 2];
    let mut part = archive.member(name)?;
    let is_gzip = part.read_exact(&mut magic).is_ok() && magic == GZIP_MAGIC;
    match diff_id.filter(|_| !is_gzip) {
        Some(diff_id) => {
            let size = archive.size(name).unwrap_or_default();
            Ok(Descriptor::new(media_type::DOCKER_LAYER, *diff_id, size))
        }
        None => {
            let mut reader = HashingReader::new(archive.member(name)?);
            io::copy(&mut reader, &mut io::sink())?;
            let (digest, size) = reader.finish();
            let kind = if is_gzip { media_type::DOCKER_LAYER_GZIP } else { media_type::DOCKER_LAYER };
            Ok(Descriptor::new(kind, digest, size))
        }
    }
}

fn member(archive: &Archive, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    archive.member(name)?.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > LARGEST_DOCUMENT {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 4 MiB")),
        false => Ok(bytes),
    }
}
