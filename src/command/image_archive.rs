//! Images in archives: what an OCI layout in a tar has, or what `docker save` of an older Docker writes, as a layout on
//! disk.
//!
//! Nothing but the members that an image consists of is taken out, each under the name that this code gives it. Their
//! digests are checked when they are read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::Deserialize;
use tempfile::TempDir;

use crate::base::{Digest, HashingReader};
use crate::diag::{Kind, Problem};
use crate::layer::{ArchiveReader, Entry, EntryKind, LayerError};
use crate::oci::{Descriptor, ImageConfig, Index, Manifest, media_type};
use crate::store::{MAKE_SPACE, Store, free_space};

/// The largest document of an archive that is read into memory.
const LARGEST_DOCUMENT: u64 = 4 << 20;
/// More links than this from one member to the next are a loop.
const MAX_LINKS: usize = 8;

/// Unpacks the images of the archive at `path` into a folder that goes with the value.
pub(super) fn unpack(path: &Path, store: &Store) -> Result<TempDir, Box<Problem>> {
    let unreadable = |error: &dyn std::fmt::Display| {
        let message = format!("`{}` is no archive of an image: {error}", path.display());
        let problem = Problem::input("image::archive", message);
        Box::new(problem.help("`mab bake -o type=oci,dest=FILE` and `docker save -o FILE` write one"))
    };
    let full = |error: io::Error| {
        Box::new(Problem::new(
            Kind::Host,
            "image::archive",
            format!("cannot unpack `{}`: {error}", path.display()),
        ))
    };
    let open = || File::open(path).map_err(|error| unreadable(&error));
    let archive = ArchiveReader::new(open()?).and_then(ArchiveReader::entries);
    let archive = Archive { entries: archive.map_err(|error| unreadable(&error))?, path };
    let folder =
        tempfile::Builder::new().prefix("image-").tempdir_in(store.path().join("tmp")).map_err(full)?;
    if let Some(shortage) = free_space::shortage_after(store.path(), archive.bytes()) {
        let problem = Problem::new(
            Kind::Host,
            "store::full",
            format!("`{}` is not unpacked: {shortage}", path.display()),
        );
        return Err(Box::new(problem.help(MAKE_SPACE)));
    }
    std::fs::create_dir_all(folder.path().join("blobs/sha256")).map_err(full)?;
    let unpacked = match archive.position("index.json") {
        Some(index) => archive.unpack_layout(index, folder.path()),
        None => archive.unpack_saved(folder.path()),
    };
    unpacked.map_err(|error| unreadable(&error))?;
    Ok(folder)
}

struct Archive<'a> {
    entries: Vec<Entry>,
    path: &'a Path,
}

/// An image in the `manifest.json` of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Archive<'_> {
    fn bytes(&self) -> u64 {
        self.entries.iter().map(Entry::size).sum()
    }

    /// The last member of this name, which is the one that counts, through links.
    fn position(&self, name: &str) -> Option<u32> {
        let mut name = name.as_bytes().to_vec();
        for _ in 0..MAX_LINKS {
            let place = self.entries.iter().rposition(|entry| entry.path == name)?;
            match &self.entries[place].kind {
                EntryKind::File { .. } => return u32::try_from(place).ok(),
                EntryKind::HardLink { target } => name = target.clone(),
                EntryKind::Symlink { target } => name = beside(&name, target),
                _ => return None,
            }
        }
        None
    }

    /// Hands the content of members to `visit`, in the order they have.
    fn visit(
        &self,
        mut positions: Vec<u32>,
        visit: impl FnMut(u32, &mut dyn Read) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        positions.sort_unstable();
        positions.dedup();
        ArchiveReader::new(File::open(self.path)?)?.visit(&positions, visit)
    }

    fn document(&self, position: u32) -> Result<Vec<u8>, LayerError> {
        let mut bytes = Vec::new();
        self.visit(vec![position], |_, content| {
            content.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes)?;
            Ok(())
        })?;
        if bytes.len() as u64 > LARGEST_DOCUMENT {
            return Err(LayerError::Limit { what: "bytes of a document", limit: LARGEST_DOCUMENT });
        }
        Ok(bytes)
    }

    fn unpack_layout(&self, index: u32, folder: &Path) -> Result<(), LayerError> {
        std::fs::write(folder.join("index.json"), self.document(index)?)?;
        let mut names = BTreeMap::new();
        for entry in &self.entries {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            let digest =
                path.strip_prefix("blobs/sha256/").map(|hex| format!("sha256:{hex}").parse::<Digest>());
            if let (Some(Ok(digest)), Some(position)) = (digest, self.position(&path)) {
                names.insert(position, digest);
            }
        }
        self.visit(names.keys().copied().collect(), |position, content| {
            let mut file = File::create(folder.join("blobs/sha256").join(names[&position].hex()))?;
            io::copy(content, &mut file)?;
            Ok(())
        })
    }

    fn unpack_saved(&self, folder: &Path) -> Result<(), LayerError> {
        let malformed = |text: String| LayerError::Malformed(text);
        let missing = |name: &str| malformed(format!("it has no `{name}`"));
        let position = |name: &str| self.position(name).ok_or_else(|| missing(name));
        let list = self.document(position("manifest.json").map_err(|_| missing("index.json"))?)?;
        let images: Vec<Saved> =
            serde_json::from_slice(&list).map_err(|error| malformed(format!("`manifest.json`: {error}")))?;
        let mut wanted = Vec::new();
        for name in images.iter().flat_map(|image| image.layers.iter().chain([&image.config])) {
            wanted.push(position(name)?);
        }
        let mut blobs = BTreeMap::new();
        self.visit(wanted, |position, content| {
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            let mut reader = HashingReader::new(content);
            io::copy(&mut reader, &mut file)?;
            let (digest, size) = reader.finish();
            file.persist(folder.join("blobs/sha256").join(digest.hex())).map_err(|error| error.error)?;
            blobs.insert(position, (digest, size));
            Ok(())
        })?;
        let blob = |name: &str| position(name).map(|position| blobs[&position]);
        let mut manifests = Vec::new();
        for image in images {
            let (digest, size) = blob(&image.config)?;
            let config = std::fs::read(folder.join("blobs/sha256").join(digest.hex()))?;
            let platform =
                ImageConfig::parse(&config).map_err(|error| malformed(format!("a config: {error}")))?;
            let config = Descriptor::new(media_type::OCI_CONFIG, digest, size);
            let mut layers = Vec::new();
            for name in &image.layers {
                let (digest, size) = blob(name)?;
                layers.push(Descriptor::new(media_type::OCI_LAYER, digest, size));
            }
            let bytes = Manifest::new(config, layers).to_bytes();
            let digest = Digest::of(&bytes);
            File::create(folder.join("blobs/sha256").join(digest.hex()))?.write_all(&bytes)?;
            let descriptor = Descriptor::new(media_type::OCI_MANIFEST, digest, bytes.len() as u64)
                .with_platform(&platform.platform());
            manifests.extend(named(descriptor, image.repo_tags.unwrap_or_default()));
        }
        std::fs::write(folder.join("index.json"), Index::new(manifests).to_bytes())?;
        Ok(())
    }
}

/// One entry for each tag.
fn named(descriptor: Descriptor, names: Vec<String>) -> Vec<Descriptor> {
    const NAME: &str = "org.opencontainers.image.ref.name";
    if names.is_empty() {
        return vec![descriptor];
    }
    let tag = |name: String| name.rsplit_once(':').map_or("latest".to_string(), |(_, tag)| tag.to_string());
    let entry = |name: String| {
        let mut descriptor = descriptor.clone();
        descriptor.annotations.insert(NAME.to_string(), tag(name));
        descriptor
    };
    names.into_iter().map(entry).collect()
}

/// Where a link at `path` leads to.
fn beside(path: &[u8], target: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    parts.pop();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join(&b'/')
}
