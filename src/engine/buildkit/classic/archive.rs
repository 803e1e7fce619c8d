//! What an Engine saves, as a platform image of the store. Nothing of it is believed: its size is bounded, layers are
//! found by their own digests, and the image must be for the platform that was asked for.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};

use jiff::Timestamp;
use serde::Deserialize;

use super::amend::{Amendment, amendments};
use crate::base::payload::StepCounts;
use crate::base::{Digest, HashingReader};
use crate::diag::{Kind, Problem};
use crate::engine::{BuildJob, BuildOutcome, io_problem};
use crate::layer::{Compression, LayerError, LayerOptions, amend};
use crate::oci::{Descriptor, ImageConfig, Manifest, media_type};
use crate::store::Store;

/// More than archives of honest images have: three for a layer, of which there may be 127.
const MOST_ENTRIES: usize = 1024;
/// What is kept in memory of an archive are its small files, and no larger ones than this.
const SMALL: u64 = 64 << 10;
const LARGEST_DOCUMENT: u64 = 4 << 20;

/// Why a result is not taken.
#[derive(Debug, thiserror::Error)]
enum ArchiveError {
    #[error("its archive breaks off: {0}")]
    Broken(io::Error),
    #[error("its archive has more than {MOST_ENTRIES} entries")]
    TooMany,
    #[error("its archive has no `{0}`")]
    Lacks(String),
    #[error("its `{0}` is larger than 4 MiB")]
    TooLarge(String),
    #[error("its `{path}` cannot be read: {cause}")]
    Document { path: String, cause: serde_json::Error },
    #[error("its archive has {0} images")]
    Count(usize),
    #[error("its image is for {0}")]
    OtherPlatform(String),
    #[error("its image lacks the layer {0}")]
    Missing(Digest),
}

impl From<ArchiveError> for Box<Problem> {
    fn from(error: ArchiveError) -> Self {
        let message = format!("the worker's result is not taken: {error}");
        Box::new(
            Problem::new(Kind::Remote, "buildkit::result", message)
                .help("run again, or bake without `--builder`"),
        )
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
}

/// A file of the archive.
enum Content {
    Small(Vec<u8>),
    Large(File),
}

/// The files by their digests, and their names.
#[derive(Default)]
struct Files {
    contents: HashMap<Digest, Content>,
    names: HashMap<String, Digest>,
}

/// Takes the image of an archive.
pub(super) fn take(
    store: &Store,
    archive: impl Read,
    job: &BuildJob,
    counts: StepCounts,
    is_old: bool,
) -> Result<BuildOutcome, Box<Problem>> {
    // Layers that a base has need not be kept: they stay the blobs that they are.
    let bases = layers_of_bases(job);
    let mut files = Files::read(archive, &bases)?;
    let entries: Vec<Entry> = files.document("manifest.json")?;
    let [entry] = &entries[..] else { return Err(ArchiveError::Count(entries.len()).into()) };
    let told: ImageConfig = files.document(&entry.config)?;
    let found = told.platform();
    if (&found.os, &found.architecture) != (&job.platform.os, &job.platform.architecture) {
        return Err(ArchiveError::OtherPlatform(found.to_string()).into());
    }
    let mut config = as_elsewhere(job, told);
    let (mut layers, mut compressions) = (Vec::new(), Vec::new());
    let mut amendments = amendments(job, is_old);
    let of_base = config.rootfs.diff_ids.len().saturating_sub(amendments.len());
    for (place, diff_id) in config.rootfs.diff_ids.iter_mut().enumerate() {
        let (layer, compression) = match bases.get(diff_id) {
            Some(known) => known.clone(),
            None => {
                let content = files.contents.get_mut(diff_id).ok_or(ArchiveError::Missing(*diff_id))?;
                let amendment = place.checked_sub(of_base).and_then(|place| amendments.get_mut(place));
                let (made, layer) = write_layer(store, content, amendment, job)?;
                *diff_id = made;
                (layer, Some(job.compression))
            }
        };
        layers.push(layer);
        compressions.push(compression);
    }
    let config = config.to_bytes();
    let manifest = Manifest::new(Descriptor::of(media_type::OCI_CONFIG, &config), layers).to_bytes();
    for document in [&config, &manifest] {
        store.blobs().put_bytes(document).map_err(|error| Box::new(error.problem()))?;
    }
    // Once per build, before any record names what was written.
    store.sync().map_err(|error| Box::new(error.problem()))?;
    Ok(BuildOutcome {
        manifest: Descriptor::of(media_type::OCI_MANIFEST, &manifest).with_platform(&job.platform),
        config: Digest::of(&config),
        compressions,
        counts,
        attestations: Vec::new(),
        repository: None,
        worker: None,
    })
}

/// The config that the Dockerfile asks for, with the layers and times of what the Engine made: old frontends word the
/// history in their own way.
fn as_elsewhere(job: &BuildJob, told: ImageConfig) -> ImageConfig {
    let mut config = job.steps.config.clone();
    let epoch = job.epoch.and_then(|epoch| Timestamp::from_second(epoch).ok()).map(|epoch| epoch.to_string());
    for (place, (step, told)) in config.history.iter_mut().zip(told.history).enumerate() {
        let of_this_build = epoch.clone().filter(|_| place >= job.steps.base_history);
        step.created = of_this_build.or(told.created).or(step.created.take());
    }
    config.rootfs = told.rootfs;
    config.created = epoch.or(told.created);
    config
}

type BaseLayers = HashMap<Digest, (Descriptor, Option<Compression>)>;

fn layers_of_bases(job: &BuildJob) -> BaseLayers {
    let mut found = BaseLayers::new();
    for base in &job.bases {
        for (place, (layer, diff_id)) in base.layers.iter().zip(&base.config.rootfs.diff_ids).enumerate() {
            let kind = media_type::to_oci(&layer.media_type);
            let layer = Descriptor { media_type: kind.to_string(), ..layer.clone() };
            let compression = base.compressions.get(place).copied().flatten();
            found.entry(*diff_id).or_insert((layer, compression));
        }
    }
    found
}

impl Files {
    fn read(archive: impl Read, known: &BaseLayers) -> Result<Self, Box<Problem>> {
        let mut files = Self::default();
        let mut archive = tar::Archive::new(archive);
        for (number, entry) in archive.entries().map_err(ArchiveError::Broken)?.enumerate() {
            let mut entry = entry.map_err(ArchiveError::Broken)?;
            if number >= MOST_ENTRIES {
                return Err(ArchiveError::TooMany.into());
            }
            // Others are folders, and links to layers that are there twice.
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let size = entry.size();
            let mut reader = HashingReader::new(&mut entry);
            let content = match size {
                0..=SMALL => {
                    let mut bytes = Vec::new();
                    reader.read_to_end(&mut bytes).map_err(ArchiveError::Broken)?;
                    Content::Small(bytes)
                }
                _ => Content::Large(spooled(&mut reader)?),
            };
            let (digest, _) = reader.finish();
            files.names.insert(name, digest);
            if !known.contains_key(&digest) {
                files.contents.insert(digest, content);
            }
        }
        Ok(files)
    }

    fn document<T: serde::de::DeserializeOwned>(&mut self, path: &str) -> Result<T, ArchiveError> {
        let digest = self.names.get(path);
        let content = digest.and_then(|digest| self.contents.get_mut(digest));
        let content = content.ok_or_else(|| ArchiveError::Lacks(path.to_string()))?;
        let mut bytes = Vec::new();
        match content {
            Content::Small(small) => bytes.clone_from(small),
            Content::Large(file) => {
                file.rewind().map_err(ArchiveError::Broken)?;
                file.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes).map_err(ArchiveError::Broken)?;
            }
        }
        if bytes.len() as u64 > LARGEST_DOCUMENT {
            return Err(ArchiveError::TooLarge(path.to_string()));
        }
        let parsed = serde_json::from_slice(&bytes);
        parsed.map_err(|cause| ArchiveError::Document { path: path.to_string(), cause })
    }
}

/// Kept in a file without a name until it is known what it is.
fn spooled(reader: &mut impl Read) -> Result<File, Box<Problem>> {
    let failed = |error: io::Error| Box::new(io_problem("keep a layer", &error));
    let mut file = tempfile::tempfile().map_err(failed)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match reader.read(&mut buffer).map_err(ArchiveError::Broken)? {
            0 => return Ok(file),
            length => file.write_all(&buffer[..length]).map_err(failed)?,
        }
    }
}

/// Writes a layer as those that are made here are written; its uncompressed digest with it.
fn write_layer(
    store: &Store,
    content: &mut Content,
    amendment: Option<&mut Amendment>,
    job: &BuildJob,
) -> Result<(Digest, Descriptor), Box<Problem>> {
    match content {
        Content::Small(bytes) => write(store, io::Cursor::new(&bytes[..]), amendment, job),
        Content::Large(file) => {
            file.rewind().map_err(unwritten)?;
            write(store, io::BufReader::new(file), amendment, job)
        }
    }
}

fn write(
    store: &Store,
    mut layer: impl Read + io::Seek,
    amendment: Option<&mut Amendment>,
    job: &BuildJob,
) -> Result<(Digest, Descriptor), Box<Problem>> {
    let failed = |error: LayerError| unwritten(io::Error::other(error));
    let amendment = match amendment {
        Some(amendment) => {
            amendment.look(&mut layer).map_err(failed)?;
            &*amendment
        }
        None => &Amendment::default(),
    };
    let writer = store.blobs().writer().map_err(|error| Box::new(error.problem()))?;
    let out = writer.file().try_clone().map_err(unwritten)?;
    let options = LayerOptions { compression: job.compression, clamp_mtime: job.epoch };
    let made = amend(layer, media_type::OCI_LAYER, out, options, |entry| amendment.apply(entry));
    let made = made.map_err(failed)?;
    writer.commit(&made.digest, made.size).map_err(|error| Box::new(error.problem()))?;
    Ok((made.diff_id, Descriptor::new(made.media_type, made.digest, made.size)))
}

fn unwritten(error: io::Error) -> Box<Problem> {
    Box::new(io_problem("write a layer", &error))
}
