//! Where an image is, and how its documents and layers are read there.

use std::io::{self, Read, Write};
use std::str::FromStr as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::damaged;
use crate::base::{Digest, HashingReader, Platform, Reference};
use crate::command::images::ImageName;
use crate::command::session::{self, SessionOptions};
use crate::diag::{Kind, Problem};
use crate::engine::blocking;
use crate::facts::Facts;
use crate::image::{self, FilePick, IMAGE_NAME, ImageError, Layout, REF_NAME};
use crate::layer::Index;
use crate::oci::{self, Descriptor, ImageConfig, Manifest, media_type};
use crate::registry::{BlobSink, Registry};
use crate::store::Store;
use crate::verify::{Known, known_index};

pub(super) enum Place {
    Registry {
        registry: Registry,
        image: Box<Reference>,
        root: Box<Descriptor>,
        document: Vec<u8>,
    },
    /// A folder or an archive.
    Files {
        layout: Arc<Layout>,
        /// Which of several is meant; all of them, if nothing is said.
        pick: FilePick,
    },
    Store {
        store: Store,
        root: Digest,
    },
}

/// Names may be whole ones, `registry.example.com/shop:1`.
fn is_picked(pick: &FilePick, entry: &Descriptor) -> bool {
    let names = || [REF_NAME, IMAGE_NAME].into_iter().filter_map(|key| entry.annotations.get(key));
    let is_called = |tag: &String| {
        names().any(|name| {
            name == tag || name.strip_suffix(tag.as_str()).is_some_and(|rest| rest.ends_with(':'))
        })
    };
    pick.digest.is_none_or(|digest| entry.digest == digest) && pick.tag.as_ref().is_none_or(is_called)
}

/// One platform's image.
pub(super) struct Found {
    pub platform: Platform,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    /// What the manifest says of the image it was built on.
    base: Option<Reference>,
}

/// Documents are small.
const LARGEST_DOCUMENT: u64 = 4 << 20;
const MOST_IMAGES: usize = 256;
const BASE_NAME: &str = "org.opencontainers.image.base.name";
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

impl Place {
    pub async fn open(image: &str, session: &SessionOptions, facts: &Facts) -> Result<Self, Box<Problem>> {
        let name = match ImageName::parse(image, |_| false)? {
            ImageName::Target(name) => return Err(Box::new(target(&name))),
            ImageName::Elsewhere(name) => name,
        };
        match name {
            image::ImageName::Store(root) => {
                Ok(Self::Store { store: session::open_store(session, facts)?, root })
            }
            image::ImageName::Registry(image) => {
                let registry = session::registry(facts, session.is_offline)?;
                let resolved = registry.resolve(&image).await.map_err(|error| Box::new(error.problem()))?;
                let (image, root) = (Box::new(image), Box::new(resolved.descriptor));
                Ok(Self::Registry { registry, image, root, document: resolved.bytes })
            }
            files => {
                let (layout, pick) = image::layout(&files, &session::means(session, facts)?).await.map_err(
                    |error| match error {
                        ImageError::Document { .. } => unusable(&error),
                        error => Box::new(error.problem()),
                    },
                )?;
                Ok(Self::Files { layout: Arc::new(layout), pick })
            }
        }
    }

    /// The images of these platforms; of all, if none is named.
    pub async fn images(&self, wanted: &[Platform]) -> Result<Vec<Found>, Box<Problem>> {
        let (mut found, mut waiting, mut left) = (Vec::new(), self.roots().await?, MOST_IMAGES);
        while let Some((descriptor, document)) = waiting.pop() {
            if media_type::is_index(&descriptor.media_type) {
                for entry in parse_index(&document)?.manifests.into_iter().rev().filter(is_image) {
                    left = left.checked_sub(1).ok_or_else(|| Box::new(too_many()))?;
                    let document = self.document(&entry).await?;
                    waiting.push((entry, document));
                }
            } else {
                found.push(self.image(&descriptor, &document).await?);
            }
        }
        chosen(found, wanted)
    }

    /// What the image's name leads to, with its bytes.
    async fn roots(&self) -> Result<Vec<(Descriptor, Vec<u8>)>, Box<Problem>> {
        match self {
            Self::Registry { root, document, .. } => Ok(vec![((**root).clone(), document.clone())]),
            Self::Store { store, root } => {
                let bytes = stored(store, root)?;
                let media_type = kind_of(&bytes);
                Ok(vec![(Descriptor::new(media_type, *root, bytes.len() as u64), bytes)])
            }
            Self::Files { layout, pick } => self.entries(&layout.index, pick).await,
        }
    }

    async fn entries(
        &self,
        index: &oci::Index,
        pick: &FilePick,
    ) -> Result<Vec<(Descriptor, Vec<u8>)>, Box<Problem>> {
        let mut entries = Vec::new();
        for entry in index.manifests.iter().rev().filter(|entry| is_image(entry)).take(MOST_IMAGES + 1) {
            // One image may stand under several names.
            if is_picked(pick, entry)
                && entries.iter().all(|(known, _): &(Descriptor, _)| known.digest != entry.digest)
            {
                let document = self.document(entry).await?;
                entries.push((entry.clone(), document));
            }
        }
        match entries.len() {
            0 => Err(Box::new(no_such_image())),
            1..=MOST_IMAGES => Ok(entries),
            _ => Err(Box::new(too_many())),
        }
    }

    async fn image(&self, descriptor: &Descriptor, document: &[u8]) -> Result<Found, Box<Problem>> {
        let manifest = Manifest::parse(document)
            .map_err(|error| Box::new(damaged(format!("a manifest is none: {error}"))))?;
        let platform = match descriptor.platform() {
            Some(platform) => platform,
            None => platform_of(&self.config_of(&manifest.config).await?),
        };
        let said = |key: &str| manifest.annotations.get(key);
        let base = said(BASE_NAME).and_then(|name| Reference::from_str(name).ok());
        let digest = said(BASE_DIGEST).and_then(|digest| Digest::from_str(digest).ok());
        let base = base.map(|base| digest.map_or(base.clone(), |digest| base.with_digest(digest)));
        Ok(Found { platform, config: manifest.config, layers: manifest.layers, base })
    }

    /// How many layers are those of the base that the manifest names, as far as the registry knows it. An image is no
    /// base of itself, whatever a tag leads to by now.
    pub async fn base_layers(&self, found: &Found) -> usize {
        let (Self::Registry { registry, .. }, Some(base)) = (self, &found.base) else { return 0 };
        let layers = async {
            let resolved = registry.resolve(base).await.ok()?;
            let manifest = match media_type::is_index(&resolved.descriptor.media_type) {
                false => resolved.bytes,
                true => {
                    let index = oci::Index::parse(&resolved.bytes).ok()?;
                    registry.manifest(base, index.select(&found.platform)?.digest).await.ok()?.bytes
                }
            };
            let manifest = Manifest::parse(&manifest).ok()?;
            (manifest.config.digest != found.config.digest).then_some(manifest.layers)
        };
        let base = layers.await.unwrap_or_default();
        let is_below = base.len() <= found.layers.len()
            && base.iter().zip(&found.layers).all(|(base, layer)| base.digest == layer.digest);
        if is_below { base.len() } else { 0 }
    }

    pub async fn config(&self, found: &Found) -> Result<ImageConfig, Box<Problem>> {
        self.config_of(&found.config).await
    }

    async fn config_of(&self, descriptor: &Descriptor) -> Result<ImageConfig, Box<Problem>> {
        let bytes = self.document(descriptor).await?;
        ImageConfig::parse(&bytes).map_err(|error| Box::new(damaged(format!("a config is none: {error}"))))
    }

    /// A manifest, an index or a config.
    async fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Box<Problem>> {
        match self {
            Self::Registry { registry, image, .. } => {
                let bytes = match media_type::MANIFESTS.contains(&descriptor.media_type.as_str()) {
                    true => registry.manifest(image, descriptor.digest).await.map(|resolved| resolved.bytes),
                    false => registry.blob_bytes(image, descriptor, LARGEST_DOCUMENT).await,
                };
                bytes.map_err(|error| Box::new(error.problem()))
            }
            Self::Files { layout, .. } => {
                layout.bytes(descriptor, LARGEST_DOCUMENT).map_err(|error| unusable(&error))
            }
            Self::Store { store, .. } => stored(store, &descriptor.digest),
        }
    }

    /// What is in a layer, whose uncompressed bytes are to have that digest.
    pub async fn index(&self, layer: &Descriptor, diff_id: Digest) -> Result<Arc<Index>, Box<Problem>> {
        let layer = layer.clone();
        match self {
            Self::Registry { registry, image, .. } => pulled(registry, image, &layer, diff_id).await,
            Self::Files { layout, .. } => {
                let layout = layout.clone();
                blocking(move || {
                    let blob = layout.open_unchecked(&layer.digest);
                    let blob =
                        blob.map_err(|error| Box::new(damaged(format!("layer {}: {error}", layer.digest))))?;
                    scan_blob(blob, &layer, diff_id)
                })
                .await
            }
            Self::Store { store, .. } => {
                let store = store.clone();
                blocking(move || {
                    let known = known_index(&store, &layer, Known::Programs);
                    let known = known.map_err(|error| Box::new(damaged(error.to_string())))?;
                    known
                        .ok_or_else(|| Box::new(damaged(format!("the store does not have {}", layer.digest))))
                })
                .await
            }
        }
    }
}

fn chosen(found: Vec<Found>, wanted: &[Platform]) -> Result<Vec<Found>, Box<Problem>> {
    let has: Vec<String> = found.iter().map(|image| image.platform.to_string()).collect();
    let missing = wanted.iter().find(|platform| found.iter().all(|image| image.platform != **platform));
    if let Some(platform) = missing {
        let problem = Problem::input("verify::no-platform", format!("the image is not there for {platform}"));
        return Err(Box::new(problem.help(format!("it is for {}", has.join(", ")))));
    }
    let is_wanted = |image: &Found| wanted.is_empty() || wanted.contains(&image.platform);
    Ok(found.into_iter().filter(is_wanted).collect())
}

/// Attestations stand among images under a platform that is none.
fn is_image(entry: &Descriptor) -> bool {
    entry.platform().is_none_or(|platform| platform.os != "unknown")
        && (media_type::is_index(&entry.media_type) || media_type::is_manifest(&entry.media_type))
}

fn platform_of(config: &ImageConfig) -> Platform {
    Platform::new(&config.os, &config.architecture, config.variant.as_deref())
}

fn parse_index(bytes: &[u8]) -> Result<oci::Index, Box<Problem>> {
    oci::Index::parse(bytes).map_err(|error| Box::new(damaged(format!("an index is none: {error}"))))
}

fn kind_of(document: &[u8]) -> &'static str {
    let value = serde_json::from_slice::<serde_json::Value>(document).unwrap_or_default();
    if value.get("manifests").is_some() { media_type::OCI_INDEX } else { media_type::OCI_MANIFEST }
}

fn stored(store: &Store, digest: &Digest) -> Result<Vec<u8>, Box<Problem>> {
    let read = store.blobs().read(digest, LARGEST_DOCUMENT);
    read.map_err(|error| Box::new(damaged(format!("the store does not give {digest}: {error}"))))
}

/// A layer's blob whose digest nobody has checked.
fn scan_blob(blob: impl Read, layer: &Descriptor, diff_id: Digest) -> Result<Arc<Index>, Box<Problem>> {
    let blob = blob.take(layer.size.saturating_add(1));
    // Without compression both digests are one.
    if layer.digest == diff_id {
        return scan(blob, layer, diff_id);
    }
    let mut hashing = HashingReader::new(blob);
    let index = scan(&mut hashing, layer, diff_id)?;
    let unreadable = |error: io::Error| Box::new(damaged(format!("layer {}: {error}", layer.digest)));
    // What follows the archive is part of the blob.
    io::copy(&mut hashing, &mut io::sink()).map_err(unreadable)?;
    match hashing.finish() == (layer.digest, layer.size) {
        true => Ok(index),
        false => Err(Box::new(damaged(format!("the blob {} has other bytes", layer.digest)))),
    }
}

fn scan(blob: impl Read, layer: &Descriptor, diff_id: Digest) -> Result<Arc<Index>, Box<Problem>> {
    let scanned = Index::scan(blob, &layer.media_type);
    let (index, found) =
        scanned.map_err(|error| Box::new(damaged(format!("layer {}: {error}", layer.digest))))?;
    match found == diff_id {
        true => Ok(Arc::new(index)),
        false => Err(Box::new(damaged(format!(
            "the content of layer {} is {found} where the config says {diff_id}",
            layer.digest
        )))),
    }
}

/// A layer read while it comes from a registry, which checks its digest.
async fn pulled(
    registry: &Registry,
    image: &Reference,
    layer: &Descriptor,
    diff_id: Digest,
) -> Result<Arc<Index>, Box<Problem>> {
    const CHUNKS: usize = 16;
    let (sender, receiver) = sync_channel(CHUNKS);
    let reading = layer.clone();
    let scanned = tokio::spawn(blocking(move || scan(Incoming::new(receiver), &reading, diff_id)));
    let mut outgoing = Outgoing(sender);
    let pulled = registry.pull_blob(image, layer, &mut outgoing, &|_, _| {}).await;
    drop(outgoing);
    let scanned = scanned.await;
    // A layer that is refused is read no further; that it was cut off then is no news.
    match (pulled, scanned) {
        (_, Err(_)) => {
            Err(Box::new(Problem::new(Kind::Bug, "verify::layer", "reading a layer has ended early")))
        }
        (Err(error), Ok(Ok(_))) => Err(Box::new(error.problem())),
        (_, Ok(Err(problem))) => Err(problem),
        (Ok(()), Ok(Ok(index))) => Ok(index),
    }
}

struct Outgoing(SyncSender<Vec<u8>>);

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.send(bytes.to_vec());
        sent.map(|()| bytes.len()).map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads on"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobSink for Outgoing {
    /// What was read cannot be taken back.
    fn restart(&mut self) -> io::Result<()> {
        Err(io::Error::other("a mirror gave other bytes; ask again"))
    }
}

struct Incoming {
    chunks: Receiver<Vec<u8>>,
    chunk: io::Cursor<Vec<u8>>,
}

impl Incoming {
    fn new(chunks: Receiver<Vec<u8>>) -> Self {
        Self { chunks, chunk: io::Cursor::default() }
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.chunk.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.chunks.recv() {
                Ok(chunk) => self.chunk = io::Cursor::new(chunk),
                Err(_) => return Ok(0),
            }
        }
    }
}

fn unusable(error: &ImageError) -> Box<Problem> {
    Box::new(damaged(error.to_string()))
}

fn no_such_image() -> Problem {
    Problem::input("verify::no-image", "there is no such image in the OCI layout or archive")
        .help("without a tag and a digest all images are judged that are there")
}

fn too_many() -> Problem {
    damaged(format!("more than {MOST_IMAGES} images are named"))
}

fn target(name: &str) -> Problem {
    Problem::input("verify::no-image", format!("`{name}` is a target, which has no image by itself"))
        .help(format!("`mab bake {name}` verifies what it builds"))
}
