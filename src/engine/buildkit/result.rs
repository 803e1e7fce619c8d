//! The image that a worker sends: an OCI layout as a tar stream, read into the store as it comes. Nothing of it is
//! believed: every blob is hashed, documents are bounded, and the image must be for the platform that was asked for.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::moby::filesync::v1 as proto;
use futures_util::stream;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use super::session::Failures;
use crate::base::payload::StepCounts;
use crate::base::{Digest, HashingReader, Reference};
use crate::diag::{Kind, Problem};
use crate::engine::{BuildJob, BuildOutcome, JobEvents, blocking};
use crate::event::Transfer;
use crate::layer::Compression;
use crate::oci::{ATTESTATION, Descriptor, ImageConfig, Index, Manifest, REFERENCE_TYPE, media_type};
use crate::store::Store;

/// More than documents of honest images have.
pub(super) const LARGEST_DOCUMENT: u64 = 4 << 20;
const MOST_ENTRIES: usize = 4096;
/// Messages under way into the store.
const MESSAGES: usize = 16;
const BLOBS: &str = "blobs/sha256/";

/// Why a result is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResultError {
    #[error("it sent no image")]
    Nothing,
    #[error("its archive breaks off: {0}")]
    Archive(io::Error),
    #[error("its archive has more than {MOST_ENTRIES} entries")]
    TooMany,
    #[error("its `{0}` is larger than 4 MiB")]
    TooLarge(&'static str),
    #[error("its blob `{0}` has other bytes than its name says")]
    Damaged(String),
    #[error("its {what} cannot be read: {cause}")]
    Document { what: &'static str, cause: String },
    #[error("its image lacks the blob {0}")]
    Missing(Digest),
    #[error("its image is for {found}")]
    OtherPlatform { found: String },
    #[error("it makes no attestations")]
    NothingStated,
    #[error("its archive has {0} images")]
    Count(usize),
}

/// Takes the archive; what it names is kept until the build is over.
#[derive(Clone)]
pub(super) struct Receiver {
    pub store: Store,
    pub events: JobEvents,
    pub failures: Failures,
    pub received: Arc<Mutex<Option<Index>>>,
}

impl Receiver {
    pub fn new(store: Store, events: JobEvents, failures: Failures) -> Self {
        Self { store, events, failures, received: Arc::default() }
    }

    /// The image, once the worker says that it is done.
    pub fn outcome(&self, job: &BuildJob, counts: StepCounts) -> Result<BuildOutcome, Box<Problem>> {
        let index = self.received.lock().unwrap_or_else(PoisonError::into_inner).take();
        let index = index.ok_or_else(|| Box::new(refused(&ResultError::Nothing)))?;
        outcome(&self.store, job, &index, None, counts)
    }
}

/// The image that an index leads to. All of it is in the store, but for the layers of one that is in a repository.
pub(super) fn outcome(
    store: &Store,
    job: &BuildJob,
    index: &Index,
    repository: Option<&Reference>,
    counts: StepCounts,
) -> Result<BuildOutcome, Box<Problem>> {
    let image = image(store, job, index, repository.is_none());
    let Received { config, manifest, attestations } = image.map_err(|error| Box::new(refused(&error)))?;
    let manifest_bytes = manifest.to_bytes();
    store.blobs().put_bytes(&manifest_bytes).map_err(|error| Box::new(error.problem()))?;
    // Once per build, before any record names what was written.
    store.sync().map_err(|error| Box::new(error.problem()))?;
    let descriptor = Descriptor::of(media_type::OCI_MANIFEST, &manifest_bytes);
    Ok(BuildOutcome {
        manifest: descriptor.with_platform(&job.platform),
        config,
        compressions: compressions(job, &manifest),
        attestations,
        repository: repository.cloned(),
        counts,
        worker: None,
    })
}

pub(super) fn refused(error: &ResultError) -> Problem {
    let message = format!("the worker's result is not taken: {error}");
    Problem::new(Kind::Remote, "buildkit::result", message).help("run again, or bake without `--builder`")
}

#[tonic::async_trait]
impl proto::file_send_server::FileSend for Receiver {
    type DiffCopyStream = stream::Empty<Result<proto::BytesMessage, Status>>;

    async fn diff_copy(
        &self,
        request: Request<Streaming<proto::BytesMessage>>,
    ) -> Result<Response<Self::DiffCopyStream>, Status> {
        let mut messages = request.into_inner();
        let (sender, receiver) = mpsc::channel(MESSAGES);
        let store = self.store.clone();
        let reading = blocking(move || read(&store, Messages::new(receiver)));
        let events = self.events.clone();
        let forwarding = async move {
            let mut done = 0;
            while let Some(message) = messages.message().await? {
                done += message.data.len() as u64;
                events.transfer(Transfer::Pull, "result".to_string(), done, None);
                // Who reads no more has its reason, and what follows the archive's end is filling.
                if sender.send(message.data).await.is_err() {
                    break;
                }
            }
            // The archive ends whole only if the stream does.
            Ok::<(), Status>(())
        };
        let (read, forwarded) = tokio::join!(reading, forwarding);
        forwarded?;
        let index = read.map_err(|problem| self.failures.keep(*problem))?;
        *self.received.lock().unwrap_or_else(PoisonError::into_inner) = Some(index);
        Ok(Response::new(stream::empty()))
    }
}

/// Messages as one stream of bytes.
pub(super) struct Messages {
    receiver: mpsc::Receiver<Vec<u8>>,
    message: Vec<u8>,
    place: usize,
}

impl Messages {
    pub fn new(receiver: mpsc::Receiver<Vec<u8>>) -> Self {
        Self { receiver, message: Vec::new(), place: 0 }
    }
}

impl Read for Messages {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.place == self.message.len() {
            match self.receiver.blocking_recv() {
                Some(message) => (self.message, self.place) = (message, 0),
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.message.len() - self.place);
        buffer[..length].copy_from_slice(&self.message[self.place..self.place + length]);
        self.place += length;
        Ok(length)
    }
}

/// Reads an archive into the store and returns its index.
fn read(store: &Store, archive: impl Read) -> Result<Index, Box<Problem>> {
    let bad = |error: ResultError| Box::new(refused(&error));
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().map_err(|error| bad(ResultError::Archive(error)))?;
    let mut index = None;
    for (number, entry) in entries.enumerate() {
        let mut entry = entry.map_err(|error| bad(ResultError::Archive(error)))?;
        if number >= MOST_ENTRIES {
            return Err(bad(ResultError::TooMany));
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if path == "index.json" {
            index = Some(read_index(&mut entry).map_err(bad)?);
        } else if let Some(name) = path.strip_prefix(BLOBS).filter(|name| !name.is_empty()) {
            read_blob(store, name, &mut entry)?;
        }
    }
    index.ok_or_else(|| bad(ResultError::Nothing))
}

fn read_index(entry: &mut impl Read) -> Result<Index, ResultError> {
    let mut bytes = Vec::new();
    entry.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes).map_err(ResultError::Archive)?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        return Err(ResultError::TooLarge("index.json"));
    }
    Index::parse(&bytes).map_err(|error| document("index.json", &error))
}

pub(super) fn document(what: &'static str, error: &serde_json::Error) -> ResultError {
    ResultError::Document { what, cause: error.to_string() }
}

fn read_blob(store: &Store, name: &str, entry: &mut impl Read) -> Result<(), Box<Problem>> {
    let damaged = || Box::new(refused(&ResultError::Damaged(name.to_string())));
    let digest = format!("sha256:{name}").parse::<Digest>().map_err(|_| damaged())?;
    if store.blobs().contains(&digest) {
        return Ok(());
    }
    let writer = store.blobs().writer().map_err(|error| Box::new(error.problem()))?;
    let mut reader = HashingReader::new(entry);
    io::copy(&mut reader, &mut writer.file())
        .map_err(|error| Box::new(crate::engine::io_problem("write a blob", &error)))?;
    let (found, size) = reader.finish();
    if found != digest {
        return Err(damaged());
    }
    writer.commit(&digest, size).map_err(|error| Box::new(error.problem()))
}

/// An image that a worker sent.
struct Received {
    config: Digest,
    /// Of nothing but config and layers.
    manifest: Manifest,
    attestations: Vec<Descriptor>,
}

/// The one image of an index, and what is stated about it.
fn image(
    store: &Store,
    job: &BuildJob,
    index: &Index,
    must_have_layers: bool,
) -> Result<Received, ResultError> {
    let read = |digest: &Digest| {
        store.blobs().read(digest, LARGEST_DOCUMENT).map_err(|_| ResultError::Missing(*digest))
    };
    // With statements, the archive's one entry is an index of its own.
    let inner = match &index.manifests[..] {
        [only] if media_type::is_index(&only.media_type) => {
            Some(Index::parse(&read(&only.digest)?).map_err(|error| document("index", &error))?)
        }
        _ => None,
    };
    let listed = inner.as_ref().unwrap_or(index).manifests.iter();
    let (statements, images): (Vec<_>, Vec<_>) = listed
        .partition(|entry| entry.annotations.get(REFERENCE_TYPE).is_some_and(|kind| kind == ATTESTATION));
    let [root] = images[..] else { return Err(ResultError::Count(images.len())) };
    let mut attestations = Vec::new();
    for entry in statements {
        let manifest = Manifest::parse(&read(&entry.digest)?);
        for layer in manifest.map_err(|error| document("attestation", &error))?.layers {
            if !store.blobs().contains(&layer.digest) {
                return Err(ResultError::Missing(layer.digest));
            }
            attestations.push(layer);
        }
    }
    if attestations.is_empty() && !job.recipe.attestations.is_empty() {
        return Err(ResultError::NothingStated);
    }
    let manifest = Manifest::parse(&read(&root.digest)?).map_err(|error| document("manifest", &error))?;
    let config_bytes = read(&manifest.config.digest)?;
    let config = ImageConfig::parse(&config_bytes).map_err(|error| document("config", &error))?;
    let found = config.platform();
    if (&found.os, &found.architecture) != (&job.platform.os, &job.platform.architecture) {
        return Err(ResultError::OtherPlatform { found: found.to_string() });
    }
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        let cause = "it has another number of layers than the manifest".to_string();
        return Err(ResultError::Document { what: "config", cause });
    }
    let is_good = |layer: &Digest| !must_have_layers || store.blobs().contains(layer);
    let layers = manifest.layers.iter().map(|layer| match is_good(&layer.digest) {
        true => Ok(Descriptor::new(media_type::to_oci(&layer.media_type), layer.digest, layer.size)),
        false => Err(ResultError::Missing(layer.digest)),
    });
    let described = Descriptor::of(media_type::OCI_CONFIG, &config_bytes);
    let config = manifest.config.digest;
    Ok(Received {
        config,
        manifest: Manifest::new(described, layers.collect::<Result<_, _>>()?),
        attestations,
    })
}

/// How layers that are not a base's are compressed: as was asked for, unless the worker had them already.
fn compressions(job: &BuildJob, manifest: &Manifest) -> Vec<Option<Compression>> {
    let of_bases: HashMap<Digest, Option<Compression>> = job
        .bases
        .iter()
        .flat_map(|base| {
            let known = |place: usize| base.compressions.get(place).copied().flatten();
            base.layers.iter().enumerate().map(move |(place, layer)| (layer.digest, known(place)))
        })
        .collect();
    let of_layer = |layer: &Descriptor| match of_bases.get(&layer.digest) {
        Some(known) => *known,
        None if layer.media_type == job.compression.media_type() => Some(job.compression),
        None => match layer.media_type.as_str() {
            media_type::OCI_LAYER => Some(Compression::None),
            media_type::OCI_LAYER_GZIP => Some(Compression::GZIP),
            media_type::OCI_LAYER_ZSTD => Some(Compression::ZSTD),
            _ => None,
        },
    };
    manifest.layers.iter().map(of_layer).collect()
}
