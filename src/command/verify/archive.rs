//! An image in a tar: an OCI layout, or what `docker save` writes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::Deserialize;

use super::damaged;
use super::place::{Pick, no_such_image};
use crate::base::Digest;
use crate::diag::Problem;
use crate::layer::{EntryKind, Index};
use crate::oci::{Descriptor, media_type};

pub(super) struct Archive {
    file: File,
    /// Where the content of each member is.
    members: HashMap<String, (u64, u64)>,
}

/// `manifest.json` of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    config: String,
    layers: Vec<String>,
}

/// Config and layers; those are named by their members.
type SavedImage = (Descriptor, Vec<Descriptor>);

/// Says of a layer which member it is, where that is not named after its digest.
const MEMBER: &str = "mab.member";
const LARGEST_DOCUMENT: u64 = 4 << 20;

impl Archive {
    pub(super) fn open(path: &Path) -> Result<Self, Box<Problem>> {
        let unreadable = |error: &dyn std::fmt::Display| {
            Box::new(
                Problem::input(
                    "verify::no-image",
                    format!("`{}` is no archive of an image: {error}", path.display()),
                )
                .help(
                    "archives are tars without compression, of an OCI layout or as `docker save` writes them",
                ),
            )
        };
        let file = File::open(path).map_err(|error| unreadable(&error))?;
        let mut magic = [0; 4];
        let _ = file.read_at(&mut magic, 0).map_err(|error| unreadable(&error))?;
        if magic.starts_with(&[0x1f, 0x8b]) || magic == [0x28, 0xb5, 0x2f, 0xfd] {
            return Err(unreadable(&"it is compressed"));
        }
        let cloned = file.try_clone().map_err(|error| unreadable(&error))?;
        let index = Index::of_tar(io::BufReader::new(cloned)).map_err(|error| unreadable(&error))?;
        let members = index.entries.into_iter().filter_map(|indexed| match indexed.entry.kind {
            EntryKind::File { size } => {
                Some((String::from_utf8_lossy(&indexed.entry.path).into_owned(), (indexed.offset, size)))
            }
            _ => None,
        });
        Ok(Self { file, members: members.collect() })
    }

    /// The name of the member that has a blob.
    pub(super) fn name_of(&self, digest: &Digest) -> String {
        format!("blobs/sha256/{}", digest.hex())
    }

    pub(super) fn member(&self, name: &str, limit: u64) -> Result<Vec<u8>, Box<Problem>> {
        let mut bytes = Vec::new();
        let (content, size) = self.content(name)?;
        if size > limit {
            return Err(Box::new(damaged(format!("`{name}` is too large"))));
        }
        let read = { content }.read_to_end(&mut bytes);
        read.map_err(|error| Box::new(damaged(format!("`{name}`: {error}"))))?;
        Ok(bytes)
    }

    /// A layer, and whether its digest is known.
    pub(super) fn layer(&self, layer: &Descriptor) -> Result<(impl Read, bool), Box<Problem>> {
        let member = layer.annotations.get(MEMBER);
        let name = member.cloned().unwrap_or_else(|| self.name_of(&layer.digest));
        Ok((self.content(&name)?.0, member.is_none()))
    }

    fn content(&self, name: &str) -> Result<(impl Read + use<>, u64), Box<Problem>> {
        let (offset, size) = *self
            .members
            .get(name)
            .ok_or_else(|| Box::new(damaged(format!("the archive has no `{name}`"))))?;
        let file = self.file.try_clone().map_err(|error| Box::new(damaged(error.to_string())))?;
        Ok((Section { file, at: offset, left: size }, size))
    }

    /// The images that `docker save` wrote; nothing where the archive is an OCI layout.
    pub(super) fn docker_images(&self, pick: &Pick) -> Result<Option<Vec<SavedImage>>, Box<Problem>> {
        if self.members.contains_key("index.json") || !self.members.contains_key("manifest.json") {
            return Ok(None);
        }
        let bytes = self.member("manifest.json", LARGEST_DOCUMENT)?;
        let saved: Vec<Saved> = serde_json::from_slice(&bytes)
            .map_err(|error| Box::new(damaged(format!("`manifest.json` is none: {error}"))))?;
        let is_meant = |saved: &Saved| match &saved.repo_tags {
            Some(names) if !names.is_empty() => names.iter().any(|name| pick.is_name(name)),
            _ => pick.is_name(""),
        };
        let images = saved.into_iter().filter(is_meant).map(|saved| self.saved_image(saved));
        let images: Vec<SavedImage> = images.collect::<Result<_, _>>()?;
        if images.is_empty() { Err(Box::new(no_such_image())) } else { Ok(Some(images)) }
    }

    fn saved_image(&self, saved: Saved) -> Result<SavedImage, Box<Problem>> {
        let config = self.member(&saved.config, LARGEST_DOCUMENT)?;
        let layer = |name: String| {
            let mut layer = Descriptor::new(media_type::OCI_LAYER, Digest::of(&name), 0);
            layer.annotations.insert(MEMBER.to_string(), name);
            layer
        };
        let mut descriptor = Descriptor::of(media_type::OCI_CONFIG, &config);
        descriptor.annotations.insert(MEMBER.to_string(), saved.config);
        Ok((descriptor, saved.layers.into_iter().map(layer).collect()))
    }

    /// The config of such an image has a name of its own, too.
    pub(super) fn name_of_document(&self, descriptor: &Descriptor) -> String {
        descriptor.annotations.get(MEMBER).cloned().unwrap_or_else(|| self.name_of(&descriptor.digest))
    }
}

/// A part of a file, read without moving anybody else's place in it.
struct Section {
    file: File,
    at: u64,
    left: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..room], self.at)?;
        if count == 0 && room > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
