//! The folder of an OCI layout that caches are read from: `mab cache export` wrote it, or another tool fetched
//! it from a registry. Nothing in it is believed before it was looked at.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::CacheIdentity;
use super::artifact;
use crate::base::HashingReader;
use crate::diag::Problem;
use crate::engine::embedded::check_cache_layer;
use crate::oci::{Descriptor, Index, Manifest, media_type};

/// The most bytes of an index or a manifest; registries allow four megabytes.
const DOCUMENT_LIMIT: u64 = 4 << 20;

pub struct LayoutSource {
    path: PathBuf,
}

/// A cache of the layout. Its layer was not looked at yet.
#[derive(Clone, Debug)]
pub struct FoundArtifact {
    pub identity: CacheIdentity,
    pub layer: Descriptor,
}

impl LayoutSource {
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_path_buf() }
    }

    /// For messages.
    pub fn name(&self) -> String {
        format!("`{}`", self.path.display())
    }

    /// The caches that the index names, in its order; what else it names is no concern of ours.
    pub fn artifacts(&self) -> Result<Vec<FoundArtifact>, Box<Problem>> {
        let index = self.index()?;
        let mut found: Vec<FoundArtifact> = Vec::new();
        for descriptor in index.manifests.iter().filter(|entry| entry.media_type == media_type::OCI_MANIFEST)
        {
            let Some(artifact) = self.artifact(descriptor)? else { continue };
            let twin = found.iter().find(|known| known.identity == artifact.identity);
            match twin {
                None => found.push(artifact),
                // One manifest under several names.
                Some(twin) if twin.layer.digest == artifact.layer.digest => {}
                Some(_) => return Err(self.ambiguous(&artifact.identity)),
            }
        }
        Ok(found)
    }

    fn index(&self) -> Result<Index, Box<Problem>> {
        let path = self.path.join("index.json");
        let not_a_layout = |why: String| {
            let message = format!("{} is no OCI layout: {why}", self.name());
            Box::new(Problem::input("cache::layout", message).help(
                "name the folder that `mab cache export` wrote, or that `skopeo copy docker://IMAGE oci:FOLDER` made",
            ))
        };
        let mut bytes = Vec::new();
        open_file(&path)
            .and_then(|file| file.take(DOCUMENT_LIMIT).read_to_end(&mut bytes))
            .map_err(|error| not_a_layout(format!("`index.json` cannot be read: {error}")))?;
        Index::parse(&bytes).map_err(|error| not_a_layout(format!("`index.json` is no index: {error}")))
    }

    fn artifact(&self, descriptor: &Descriptor) -> Result<Option<FoundArtifact>, Box<Problem>> {
        let refused = |why: &str| self.refused(descriptor, why);
        if descriptor.size > DOCUMENT_LIMIT {
            return Err(refused("is too large for a manifest"));
        }
        let mut bytes = Vec::new();
        let mut file = self.verified(descriptor)?;
        file.read_to_end(&mut bytes).map_err(|error| refused(&format!("cannot be read: {error}")))?;
        let manifest =
            Manifest::parse(&bytes).map_err(|error| refused(&format!("is no manifest: {error}")))?;
        let Some(identity) = artifact::identity(&manifest) else { return Ok(None) };
        let identity = identity.map_err(|why| refused(&format!("is no cache mount: {why}")))?;
        match &manifest.layers[..] {
            [layer] => Ok(Some(FoundArtifact { identity, layer: layer.clone() })),
            _ => Err(refused("is no cache mount: it has not one layer")),
        }
    }

    /// The layer of a cache, from its beginning: it has the bytes its digest says, and nothing in it lies
    /// outside the cache.
    pub fn verified_layer(&self, artifact: &FoundArtifact) -> Result<File, Box<Problem>> {
        let layer = &artifact.layer;
        let mut file = self.verified(layer)?;
        check_cache_layer(&file, &layer.media_type).map_err(|why| self.refused(layer, &why))?;
        file.rewind().map_err(|error| self.refused(layer, &format!("cannot be read: {error}")))?;
        Ok(file)
    }

    fn verified(&self, descriptor: &Descriptor) -> Result<File, Box<Problem>> {
        let unreadable = |error: io::Error| self.refused(descriptor, &format!("cannot be read: {error}"));
        let path = self.path.join("blobs/sha256").join(descriptor.digest.hex());
        let mut file = open_file(&path).map_err(unreadable)?;
        // One byte more than promised is enough to know that the blob is another one.
        let mut reader = HashingReader::new((&file).take(descriptor.size.saturating_add(1)));
        io::copy(&mut reader, &mut io::sink()).map_err(unreadable)?;
        if reader.finish() != (descriptor.digest, descriptor.size) {
            return Err(self.refused(descriptor, "has other bytes than its digest says"));
        }
        file.rewind().map_err(unreadable)?;
        Ok(file)
    }

    fn refused(&self, descriptor: &Descriptor, why: &str) -> Box<Problem> {
        let message = format!("blob `{}` of {} {why}", descriptor.digest, self.name());
        Box::new(Problem::input("cache::blob", message).help(
            "export or fetch the layout anew; this one is damaged or hostile, and the store is as it was",
        ))
    }

    fn ambiguous(&self, identity: &CacheIdentity) -> Box<Problem> {
        let message = format!("{} holds the cache mount `{identity}` with two contents", self.name());
        Box::new(Problem::input("cache::ambiguous", message).help(
            "fetch the one that is meant into a folder of its own: `skopeo copy oci:FOLDER:NAME oci:OTHER:NAME`",
        ))
    }
}

/// A pipe with the name of a file is not waited for.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("flags of open fit into its argument");
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no file")),
    }
}
