//! Images in memory, for the tests of every output.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::base::{Digest, Platform, Reference};
use crate::layer::{Entry, EntrySink, LayerOptions, LayerWriter};
use crate::oci::{Descriptor, ImageConfig, Index, Manifest, media_type};
use crate::publish::BlobSource;

/// BlobSource as files of a folder.
pub(super) struct Folder(tempfile::TempDir);

impl BlobSource for Folder {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.0.path().join(digest.hex()))
    }
}

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn put(&self, media_type: &str, bytes: &[u8]) -> Descriptor {
        let descriptor = Descriptor::of(media_type, bytes);
        fs::write(self.0.path().join(descriptor.digest.hex()), bytes).unwrap();
        descriptor
    }

    pub(super) fn damage(&self, digest: &Digest) {
        let path = self.0.path().join(digest.hex());
        File::options().append(true).open(path).unwrap().write_all(b"x").unwrap();
    }

    /// An image of layers that are no tars, which most outputs do not look into.
    pub(super) fn image(&self, platform: &str, layers: &[&str]) -> Descriptor {
        let layers =
            layers.iter().map(|layer| self.put(media_type::OCI_LAYER_GZIP, layer.as_bytes())).collect();
        self.image_of(platform, layers)
    }

    pub(super) fn layer(&self, entries: &[(Entry, Vec<u8>)]) -> Descriptor {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = LayerWriter::create(file.reopen().unwrap(), LayerOptions::default()).unwrap();
        for (entry, content) in entries {
            writer.append(entry, &mut content.as_slice()).unwrap();
        }
        let layer = writer.finish().unwrap();
        self.put(layer.media_type, &fs::read(file.path()).unwrap())
    }

    pub(super) fn image_of(&self, platform: &str, layers: Vec<Descriptor>) -> Descriptor {
        let platform: Platform = platform.parse().unwrap();
        let config = self.put(media_type::OCI_CONFIG, &ImageConfig::empty(&platform).to_bytes());
        let manifest = Manifest::new(config, layers);
        self.put(media_type::OCI_MANIFEST, &manifest.to_bytes()).with_platform(&platform)
    }

    pub(super) fn index(&self, images: Vec<Descriptor>) -> Descriptor {
        self.put(media_type::OCI_INDEX, &Index::new(images).to_bytes())
    }
}

pub(super) fn names(names: &[&str]) -> Vec<Reference> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// The files of a tar by name, in whatever order; directories as empty.
pub(super) fn files_of_tar(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(File::open(path).unwrap());
    let read = |entry: io::Result<tar::Entry<'_, File>>| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    };
    archive.entries().unwrap().map(read).collect()
}

/// That every blob a tar names is in it, with the bytes of its digest.
pub(super) fn assert_blobs(files: &BTreeMap<String, Vec<u8>>, count: usize) {
    let blobs: Vec<_> = files.iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
    let blobs = blobs.iter().filter_map(|(name, bytes)| Some((name.strip_prefix("blobs/sha256/")?, bytes)));
    let blobs: Vec<_> = blobs.collect();
    assert!(blobs.iter().all(|(name, bytes)| Digest::of(bytes).hex() == **name));
    assert_eq!(blobs.len(), count);
}
