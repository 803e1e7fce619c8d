//! Writes a part: next to its place first, and under its name when all of it is there.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::{FILE_NAME, Part, PartImage};
use crate::base::Digest;
use crate::oci::{Descriptor, Manifest, media_type};
use crate::publish::BlobSource;
use crate::publish::output::{LayoutFolder, OutputError, write_oci_directory};

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Writes it below `folder`, and gives its path. A part with equal content is there already.
pub fn write(blobs: &dyn BlobSource, part: &Part, folder: &Path) -> Result<PathBuf, OutputError> {
    let mut text = serde_json::to_vec_pretty(part).expect("a part is plain data");
    text.push(b'\n');
    let path = folder.join(name(part, &Digest::of(&text)));
    if path.join(FILE_NAME).is_file() {
        return Ok(path);
    }
    let failed = |source| OutputError::writing(&path, source);
    fs::create_dir_all(folder).map_err(failed)?;
    let unfinished = tempfile::Builder::new().prefix(".part-").tempdir_in(folder).map_err(failed)?;
    for image in &part.images {
        add_image(blobs, image, unfinished.path())?;
    }
    fs::write(unfinished.path().join(FILE_NAME), &text).map_err(failed)?;
    readable(unfinished.path()).map_err(failed)?;
    let unfinished = unfinished.keep();
    fs::rename(&unfinished, &path).map_err(|source| {
        let _ = fs::remove_dir_all(&unfinished);
        failed(source)
    })?;
    Ok(path)
}

/// Temporary folders are for their owner alone; this one is as any other.
fn readable(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let blobs = fs::metadata(folder.join("blobs"))?.permissions().mode();
    fs::set_permissions(folder, fs::Permissions::from_mode(blobs))
}

/// What people recognise, and a part of a digest.
fn name(part: &Part, digest: &Digest) -> String {
    const MOST: usize = 3;
    let mut platforms: Vec<String> = part.images.iter().map(|image| image.platform.file_name()).collect();
    platforms.sort();
    platforms.dedup();
    let words = match platforms.len() {
        0..=MOST => platforms.join("_"),
        many => format!("{many}-platforms"),
    };
    format!("{words}-{}", digest.short())
}

fn add_image(blobs: &dyn BlobSource, image: &PartImage, folder: &Path) -> Result<(), OutputError> {
    let layout = LayoutFolder::at(folder);
    for (at, manifest) in image.manifests().into_iter().enumerate() {
        let mut named = match manifest.platform {
            Some(_) => manifest.clone(),
            None => manifest.clone().with_platform(&image.platform),
        };
        let suffix = if at == 0 { String::new() } else { format!("-{at}") };
        let name = format!("{}-{}{suffix}", image.target, image.platform.file_name());
        named.annotations.insert(REF_NAME.to_string(), name);
        if image.is_carried() {
            write_oci_directory(blobs, &named, &[], folder)?;
            continue;
        }
        let bytes = copy(blobs, &layout, manifest)?;
        let document = Manifest::parse(&bytes)
            .map_err(|source| OutputError::Document { digest: manifest.digest, source })?;
        copy(blobs, &layout, &document.config)?;
        layout.add(named)?;
    }
    image.attestations.iter().try_for_each(|statement| copy(blobs, &layout, statement).map(drop))
}

/// One document of the store.
fn copy(
    blobs: &dyn BlobSource,
    layout: &LayoutFolder,
    document: &Descriptor,
) -> Result<Vec<u8>, OutputError> {
    let failed = |source| OutputError::Read { digest: document.digest, source };
    let mut bytes = Vec::new();
    let file = blobs.open(&document.digest).map_err(failed)?;
    file.take(document.size + 1).read_to_end(&mut bytes).map_err(failed)?;
    let written = layout.put(media_type::OCI_MANIFEST, &bytes)?;
    if written.digest != document.digest {
        return Err(OutputError::Damaged { digest: document.digest });
    }
    Ok(bytes)
}
