//! Reads parts, which come from other machines: bounded, and nothing in them is believed that can be looked at.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::{FILE_NAME, FORMAT, Part, PartFolder, PartImage, plan_digest};
use crate::base::{Digest, Platform};
use crate::diag::Problem;
use crate::layer::Compression;
use crate::oci::{Descriptor, ImageConfig, Manifest, media_type};

const LARGEST_PART: u64 = 16 << 20;
/// As registries have it.
const LARGEST_DOCUMENT: u64 = 4 << 20;
/// Statements list every file of an image.
const LARGEST_STATEMENT: u64 = 256 << 20;
const MOST_IMAGES: usize = 10_000;
const MOST_LAYERS: usize = 1000;
/// Artifacts of CI come in a folder each.
const DEEPEST: usize = 3;
const MOST_PARTS: usize = 10_000;

/// The parts at `path`: it is one, or a folder with some in it.
pub fn find(path: &Path, shown: &str) -> Result<Vec<(PathBuf, String)>, Box<Problem>> {
    let mut found = Vec::new();
    look(path, shown, 0, &mut found).map_err(|error| bad(shown, &format!("cannot be read: {error}")))?;
    if found.len() > MOST_PARTS {
        return Err(bad(shown, &format!("has more than {MOST_PARTS} parts in it")));
    }
    if found.is_empty() {
        let help = "`mab bake TARGET --platform PLATFORM --part FOLDER` writes parts";
        return Err(Box::new(
            bad(shown, &format!("has no part in it: there is no `{FILE_NAME}`")).help(help),
        ));
    }
    Ok(found)
}

fn look(path: &Path, shown: &str, depth: usize, found: &mut Vec<(PathBuf, String)>) -> io::Result<()> {
    if fs::symlink_metadata(path.join(FILE_NAME)).is_ok_and(|file| file.is_file()) {
        found.push((path.to_path_buf(), shown.to_string()));
        return Ok(());
    }
    let mut folders = BTreeSet::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // What is being written begins with a dot. Links lead elsewhere.
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() && !name.starts_with('.') {
            folders.insert((name, entry.path()));
        }
    }
    if depth == DEEPEST || found.len() > MOST_PARTS {
        return Ok(());
    }
    folders.into_iter().try_for_each(|(name, folder)| {
        look(&folder, &format!("{}/{name}", shown.trim_end_matches('/')), depth + 1, found)
    })
}

/// The part in a folder, with all of its documents looked at.
pub fn read(path: PathBuf, shown: String) -> Result<PartFolder, Box<Problem>> {
    let text = file_of(&path.join(FILE_NAME), LARGEST_PART)
        .map_err(|error| bad(&shown, &format!("has a `{FILE_NAME}` that cannot be read: {error}")))?;
    let part = parse(&text).map_err(|error| bad(&shown, &error))?;
    let folder = PartFolder { path, shown, part };
    for image in &folder.part.images {
        folder.check(image).map_err(|error| bad(&folder.shown, &error))?;
    }
    Ok(folder)
}

/// `part.json`, as far as it can be judged alone.
fn parse(text: &[u8]) -> Result<Part, String> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
        version: String,
    }
    let damaged = |error: serde_json::Error| format!("has a damaged `{FILE_NAME}`: {error}");
    let Format { format, version } = serde_json::from_slice(text).map_err(damaged)?;
    if format != FORMAT {
        return Err(format!("was written by mab {version}, in a form that this version does not know"));
    }
    let part: Part = serde_json::from_slice(text).map_err(damaged)?;
    if part.images.is_empty() {
        return Err("has no image in it".to_string());
    }
    if part.images.len() > MOST_IMAGES {
        return Err(format!("has more than {MOST_IMAGES} images"));
    }
    if plan_digest(&part.plans) != part.plan {
        return Err("says two different things about its plan".to_string());
    }
    let mut known = BTreeSet::new();
    for image in &part.images {
        if !part.plans.contains_key(&image.target) {
            return Err(format!("does not say what `{}` is built from", image.target));
        }
        if !known.insert((&image.target, &image.platform)) {
            return Err(format!("has `{}` for `{}` twice", image.target, image.platform));
        }
    }
    Ok(part)
}

impl PartFolder {
    /// A document of the part, its digest checked.
    pub fn document(&self, document: &Descriptor, largest: u64) -> Result<Vec<u8>, String> {
        let Descriptor { digest, size, .. } = document;
        if *size > largest {
            return Err(format!("has a document {digest} of {size} bytes, which is more than {largest}"));
        }
        let bytes = file_of(&self.blob(digest), *size)
            .map_err(|error| format!("cannot give its document {digest}: {error}"))?;
        match Digest::of(&bytes) == *digest && bytes.len() as u64 == *size {
            true => Ok(bytes),
            false => Err(format!("is damaged: {digest} has other bytes than its digest says")),
        }
    }

    /// Manifests and configs of an image, which are small.
    pub fn documents(&self, image: &PartImage) -> Result<Vec<Vec<u8>>, String> {
        let mut documents = Vec::new();
        for manifest in image.manifests() {
            let bytes = self.document(manifest, LARGEST_DOCUMENT)?;
            let parsed = Manifest::parse(&bytes)
                .map_err(|error| format!("has a manifest {} that is none: {error}", manifest.digest))?;
            documents.push(self.document(&parsed.config, LARGEST_DOCUMENT)?);
            documents.push(bytes);
        }
        Ok(documents)
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.path.join("blobs/sha256").join(digest.hex())
    }

    /// That an image is what it is said to be, as far as its documents say.
    fn check(&self, image: &PartImage) -> Result<(), String> {
        for form in image.manifests() {
            let manifest = self.manifest(form)?;
            let (target, platform) = (&image.target, &image.platform);
            let config = self.document(&manifest.config, LARGEST_DOCUMENT)?;
            let config = ImageConfig::parse(&config)
                .map_err(|error| format!("has a config {} that is none: {error}", manifest.config.digest))?;
            let own = Platform::new(&config.os, &config.architecture, config.variant.as_deref());
            let says = form.platform().is_none_or(|said| is_same(&said, platform));
            if !is_same(&own, platform) || !says {
                return Err(format!("has an image of `{target}` for `{own}` where it says `{platform}`"));
            }
            if config.rootfs.diff_ids.len() != manifest.layers.len() || manifest.layers.len() > MOST_LAYERS {
                return Err(format!("has a manifest {} whose layers are not its config's", form.digest));
            }
            if image.is_carried() {
                manifest.layers.iter().try_for_each(|layer| self.check_layer(layer))?;
            }
        }
        let is_known = |text: &String| text.parse::<Compression>().is_ok();
        if !image.compressions.iter().flatten().all(is_known) {
            return Err(format!("says of layers of `{}` what this version does not know", image.target));
        }
        image
            .attestations
            .iter()
            .try_for_each(|statement| self.document(statement, LARGEST_STATEMENT).map(drop))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest, String> {
        if !media_type::is_manifest(&descriptor.media_type) {
            return Err(format!(
                "calls {} an image, and it is `{}`",
                descriptor.digest, descriptor.media_type
            ));
        }
        let bytes = self.document(descriptor, LARGEST_DOCUMENT)?;
        let manifest = Manifest::parse(&bytes)
            .map_err(|error| format!("has a manifest {} that is none: {error}", descriptor.digest))?;
        Ok(manifest)
    }

    /// Its bytes are looked at when they are used.
    fn check_layer(&self, layer: &Descriptor) -> Result<(), String> {
        let file = fs::symlink_metadata(self.blob(&layer.digest))
            .map_err(|error| format!("is cut: its layer {} cannot be read: {error}", layer.digest))?;
        match file.is_file() && file.len() == layer.size {
            true => Ok(()),
            false => Err(format!("is cut: its layer {} is not a file of {} bytes", layer.digest, layer.size)),
        }
    }
}

/// The version of an operating system stands in neither the request nor always in the config.
fn is_same(own: &Platform, wanted: &Platform) -> bool {
    (&own.os, &own.architecture, &own.variant) == (&wanted.os, &wanted.architecture, &wanted.variant)
}

/// A plain file; whatever else may stand there could be anything, or never end.
fn file_of(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_file() || found.len() > largest {
        return Err(io::Error::other(format!("it is not a file of at most {largest} bytes")));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(largest).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn bad(shown: &str, what: &str) -> Box<Problem> {
    let help = "make the part again; no tag was moved";
    Box::new(Problem::input("part::bad", format!("`{shown}` {what}")).help(help))
}
