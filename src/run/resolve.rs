//! What a base image is: its index, and for each platform its manifest and config.
//!
//! Each source is asked once per run. Layers are not touched.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use crate::base::{Digest, Platform, Reference};
use crate::diag::{Kind, Place, Problem};
use crate::engine::base::{Base, Origin};
use crate::lock::{FILE_NAME, ImagePin, LockedManifest, Pins, image_name};
use crate::oci::{Descriptor, ImageConfig, Index, Manifest, media_type};
use crate::plan::BaseSource;
use crate::registry::{Registry, RegistryError, Resolved};
use crate::store::Store;

/// The largest manifest, index or config that is read.
const LARGEST_DOCUMENT: u64 = 4 << 20;

/// The base images of one run.
pub struct Bases {
    store: Store,
    registry: Registry,
    pins: Pins,
    known: Mutex<BTreeMap<BaseSource, Once<Arc<Root>>>>,
    images: Mutex<BTreeMap<(BaseSource, Platform), Once<Base>>>,
}

/// Found by whoever asks first.
type Once<T> = Arc<OnceCell<T>>;

/// What a source's name leads to.
pub(super) struct Root {
    pub(super) descriptor: Descriptor,
    pub(super) bytes: Vec<u8>,
}

impl Bases {
    pub fn new(store: Store, registry: Registry, pins: Pins) -> Self {
        Self { store, registry, pins, known: Mutex::default(), images: Mutex::default() }
    }

    /// The image of `source` for `platform`; `place` is where it was asked for.
    pub async fn base(
        &self,
        source: &BaseSource,
        platform: &Platform,
        place: Option<&Place>,
    ) -> Result<Base, Box<Problem>> {
        let at = |problem: Box<Problem>| match place {
            Some(place) if problem.labels.is_empty() => Box::new(problem.at(place.clone(), "needed here")),
            _ => problem,
        };
        let key = (source.clone(), platform.clone());
        let cell = locked(&self.images).entry(key).or_default().clone();
        cell.get_or_try_init(|| self.find_base(source, platform)).await.map_err(at).cloned()
    }

    /// Whether the image is known, and asks for nothing that no Dockerfile names. Does not wait.
    pub fn is_known(&self, source: &BaseSource, platform: &Platform) -> bool {
        let images = locked(&self.images);
        let base = images.get(&(source.clone(), platform.clone())).and_then(|base| base.get());
        base.is_some_and(|base| base.config.config.on_build.as_ref().is_none_or(Vec::is_empty))
    }

    /// The platforms that `source` is there for, in its order.
    pub async fn platforms(&self, source: &BaseSource) -> Result<Vec<Platform>, Box<Problem>> {
        let root = self.root(source).await?;
        if media_type::is_index(&root.descriptor.media_type) {
            let index = Index::parse(&root.bytes).map_err(|error| malformed(source, "index", &error))?;
            let known = index.platforms().into_iter().filter(|platform| platform.os != "unknown");
            let mut platforms: Vec<Platform> = Vec::new();
            for platform in known {
                if !platforms.contains(&platform) {
                    platforms.push(platform);
                }
            }
            if !platforms.is_empty() {
                return Ok(platforms);
            }
        }
        let manifest = match media_type::is_index(&root.descriptor.media_type) {
            false => Root { descriptor: root.descriptor.clone(), bytes: root.bytes.clone() },
            true => self.select(source, &root, &Platform::host()).await?,
        };
        let manifest =
            Manifest::parse(&manifest.bytes).map_err(|error| malformed(source, "manifest", &error))?;
        let config = self.document(source, &manifest.config).await?;
        let config = ImageConfig::parse(&config).map_err(|error| malformed(source, "config", &error))?;
        Ok(vec![config.platform()])
    }

    async fn find_base(&self, source: &BaseSource, platform: &Platform) -> Result<Base, Box<Problem>> {
        match source {
            BaseSource::Registry(reference) => self.registry_base(source, reference, platform).await,
            BaseSource::OciLayout { .. } => {
                let root = self.root(source).await?;
                let manifest = self.select(source, &root, platform).await?;
                self.image(source, platform, manifest).await.map(|(base, _)| base)
            }
        }
    }

    /// As the lock has it, else as it is now.
    async fn registry_base(
        &self,
        source: &BaseSource,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Base, Box<Problem>> {
        let pin = self.pins.image(reference, platform).map_err(|unlocked| Box::new(unlocked.problem()))?;
        let (index, base, locked) = match pin {
            ImagePin::Manifest { index, locked } => {
                let found = self.pinned_image(source, platform, locked).await;
                let (base, found) = found.map_err(|problem| gone(problem, reference))?;
                if found != locked {
                    return Err(contradiction(reference, platform));
                }
                (index, base, found)
            }
            ImagePin::None | ImagePin::Index(_) => {
                let root = match pin {
                    ImagePin::Index(digest) => {
                        let pinned = BaseSource::Registry(reference.with_digest(digest));
                        self.root(&pinned).await.map_err(|problem| gone(problem, reference))?
                    }
                    _ => self.root(source).await?,
                };
                let manifest = self.select(source, &root, platform).await?;
                let (base, found) = self.image(source, platform, manifest).await?;
                (root.descriptor.digest, base, found)
            }
        };
        self.pins.note_image(reference, index, platform, locked);
        Ok(base)
    }

    async fn pinned_image(
        &self,
        source: &BaseSource,
        platform: &Platform,
        locked: LockedManifest,
    ) -> Result<(Base, LockedManifest), Box<Problem>> {
        // How large it is does not matter: it is found by its digest.
        let descriptor = Descriptor::new(media_type::OCI_MANIFEST, locked.manifest, 0);
        let bytes = self.document(source, &descriptor).await?;
        self.image(source, platform, Root { descriptor, bytes }).await
    }

    pub(super) async fn root(&self, source: &BaseSource) -> Result<Arc<Root>, Box<Problem>> {
        let cell = locked(&self.known).entry(source.clone()).or_default().clone();
        cell.get_or_try_init(|| async { self.find_root(source).await.map(Arc::new) }).await.cloned()
    }

    async fn find_root(&self, source: &BaseSource) -> Result<Root, Box<Problem>> {
        match source {
            BaseSource::Registry(reference) => {
                // A name with a digest means one content for ever: what the store has of it is it.
                if let Some(known) = reference.digest().and_then(|digest| self.stored(digest)) {
                    return Ok(known);
                }
                let resolved = self.registry.resolve(reference).await.map_err(|error| {
                    let mut problem = error.problem();
                    // The registry did its part: the name is wrong.
                    if matches!(error, RegistryError::NotFound { .. }) {
                        problem.kind = Kind::Input;
                    }
                    Box::new(problem)
                })?;
                Ok(Root { descriptor: resolved.descriptor, bytes: resolved.bytes })
            }
            BaseSource::OciLayout { path, tag, digest } => layout_root(path, tag.as_deref(), *digest),
        }
    }

    fn stored(&self, digest: Digest) -> Option<Root> {
        let bytes = self.store.blobs().read(&digest, LARGEST_DOCUMENT).ok()?;
        let media_type = serde_json::from_slice::<serde_json::Value>(&bytes).ok()?;
        let media_type = media_type.get("mediaType")?.as_str()?.to_string();
        Some(Root { descriptor: Descriptor::new(&media_type, digest, bytes.len() as u64), bytes })
    }

    /// The manifest for `platform`: out of an index, or the image itself when it is for that platform.
    async fn select(
        &self,
        source: &BaseSource,
        root: &Root,
        platform: &Platform,
    ) -> Result<Root, Box<Problem>> {
        if !media_type::is_index(&root.descriptor.media_type) {
            return Ok(Root { descriptor: root.descriptor.clone(), bytes: root.bytes.clone() });
        }
        let index = Index::parse(&root.bytes).map_err(|error| malformed(source, "index", &error))?;
        let Some(descriptor) = index.select(platform) else {
            return Err(missing_platform(source, platform, &index.platforms()));
        };
        if media_type::is_index(&descriptor.media_type) {
            let inner =
                Root { descriptor: descriptor.clone(), bytes: self.document(source, descriptor).await? };
            return Box::pin(self.select(source, &inner, platform)).await;
        }
        Ok(Root { descriptor: descriptor.clone(), bytes: self.document(source, descriptor).await? })
    }

    async fn image(
        &self,
        source: &BaseSource,
        platform: &Platform,
        root: Root,
    ) -> Result<(Base, LockedManifest), Box<Problem>> {
        let manifest = Manifest::parse(&root.bytes).map_err(|error| malformed(source, "manifest", &error))?;
        let config = self.document(source, &manifest.config).await?;
        let config = ImageConfig::parse(&config).map_err(|error| malformed(source, "config", &error))?;
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(Box::new(Problem::input(
                "base::layers",
                format!(
                    "`{source}` has {} layers and {} diff ids",
                    manifest.layers.len(),
                    config.rootfs.diff_ids.len()
                ),
            )));
        }
        // An image that is no index speaks for itself: never a wrong platform's bytes.
        if config.platform().fitness(platform).is_none() {
            return Err(missing_platform(source, platform, &[config.platform()]));
        }
        let put =
            |bytes: &[u8]| self.store.blobs().put_bytes(bytes).map_err(|error| Box::new(error.problem()));
        put(&root.bytes)?;
        let locked = LockedManifest { manifest: root.descriptor.digest, config: manifest.config.digest };
        let base = Base {
            name: source.to_string(),
            manifest: root.descriptor.digest,
            config: Arc::new(config),
            layers: manifest.layers,
            compressions: Vec::new(),
            origin: match source {
                BaseSource::Registry(reference) => Origin::Registry(reference.clone()),
                BaseSource::OciLayout { path, .. } => Origin::OciLayout(path.clone()),
            },
        };
        Ok((base, locked))
    }

    /// A manifest, index or config: from the store, else from the source and then into the store.
    pub(super) async fn document(
        &self,
        source: &BaseSource,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, Box<Problem>> {
        if let Ok(bytes) = self.store.blobs().read(&descriptor.digest, LARGEST_DOCUMENT) {
            return Ok(bytes);
        }
        let bytes = match source {
            BaseSource::Registry(reference) => self.registry_document(reference, descriptor).await?,
            BaseSource::OciLayout { path, .. } => layout_blob(path, descriptor)?,
        };
        self.store.blobs().put_bytes(&bytes).map_err(|error| Box::new(error.problem()))?;
        Ok(bytes)
    }

    async fn registry_document(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, Box<Problem>> {
        let kind = &descriptor.media_type;
        let answer = if media_type::is_index(kind) || media_type::is_manifest(kind) {
            let resolved = self.registry.manifest(reference, descriptor.digest).await;
            resolved.map(|Resolved { bytes, .. }| bytes)
        } else {
            self.registry.blob_bytes(reference, descriptor, LARGEST_DOCUMENT).await
        };
        answer.map_err(|error| Box::new(error.problem()))
    }
}

/// The entry of an OCI layout's `index.json` that `tag` or `digest` names; without either, the only one.
fn layout_root(path: &Path, tag: Option<&str>, digest: Option<Digest>) -> Result<Root, Box<Problem>> {
    const NAME: &str = "org.opencontainers.image.ref.name";
    let file = path.join("index.json");
    let unreadable = |error: &dyn std::fmt::Display| {
        Box::new(
            Problem::input("oci-layout::missing", format!("`{}` is not an OCI layout: {error}", path.display()))
                .help("make it with `skopeo copy … oci:DIR`, `mab bake --output type=oci,tar=false,dest=DIR`, or the script that your project has for it"),
        )
    };
    let bytes =
        read_bounded(&file).map_err(|error| unreadable(&format!("cannot read `index.json`: {error}")))?;
    let index = Index::parse(&bytes).map_err(|error| unreadable(&error))?;
    let chosen = match (tag, digest) {
        (_, Some(digest)) => return layout_document(path, digest, &index),
        (Some(tag), None) => {
            index.manifests.iter().find(|entry| entry.annotations.get(NAME).is_some_and(|name| name == tag))
        }
        (None, None) => match &index.manifests[..] {
            [only] => Some(only),
            entries => {
                entries.iter().find(|entry| entry.annotations.get(NAME).is_some_and(|name| name == "latest"))
            }
        },
    };
    let Some(descriptor) = chosen else {
        let names: Vec<&str> = index
            .manifests
            .iter()
            .filter_map(|entry| entry.annotations.get(NAME).map(String::as_str))
            .collect();
        let wanted = tag.unwrap_or("latest");
        return Err(Box::new(
            Problem::input("oci-layout::tag", format!("`{}` holds no image `{wanted}`", path.display()))
                .help(format!(
                    "it holds: {}",
                    if names.is_empty() { "nothing with a name".into() } else { names.join(", ") }
                )),
        ));
    };
    Ok(Root { bytes: layout_blob(path, descriptor)?, descriptor: descriptor.clone() })
}

/// A layout's manifest by digest, whether `index.json` lists it or something it lists does.
fn layout_document(path: &Path, digest: Digest, index: &Index) -> Result<Root, Box<Problem>> {
    if let Some(listed) = index.manifests.iter().find(|entry| entry.digest == digest) {
        return Ok(Root { bytes: layout_blob(path, listed)?, descriptor: listed.clone() });
    }
    let size = std::fs::metadata(blob_path(path, digest)).map_or(0, |metadata| metadata.len());
    let bytes = layout_blob(path, &Descriptor::new("", digest, size))?;
    let media_type = serde_json::from_slice::<serde_json::Value>(&bytes)
        .ok()
        .and_then(|document| Some(document.get("mediaType")?.as_str()?.to_string()))
        .unwrap_or_else(|| media_type::OCI_MANIFEST.to_string());
    Ok(Root { descriptor: Descriptor::new(&media_type, digest, size), bytes })
}

fn blob_path(layout: &Path, digest: Digest) -> std::path::PathBuf {
    layout.join("blobs/sha256").join(digest.hex())
}

fn layout_blob(layout: &Path, descriptor: &Descriptor) -> Result<Vec<u8>, Box<Problem>> {
    let file = blob_path(layout, descriptor.digest);
    let damaged = |what: String| {
        Box::new(
            Problem::input("oci-layout::blob", format!("blob `{}` {what}", file.display()))
                .help("make the OCI layout again"),
        )
    };
    let bytes = read_bounded(&file).map_err(|error| damaged(format!("cannot be read: {error}")))?;
    if Digest::of(&bytes) != descriptor.digest {
        return Err(damaged("has other bytes than its digest says".to_string()));
    }
    Ok(bytes)
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_DOCUMENT {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "larger than 4 MiB"));
    }
    Ok(bytes)
}

/// What the lock pins may be deleted.
fn gone(mut problem: Box<Problem>, reference: &Reference) -> Box<Problem> {
    if problem.code == "registry::not-found" {
        problem.kind = Kind::Input;
        problem.help = Some(format!(
            "`{FILE_NAME}` pins it, and the registry has it no more: `mab lock --update {}` looks again",
            image_name(reference)
        ));
    }
    problem
}

fn contradiction(reference: &Reference, platform: &Platform) -> Box<Problem> {
    let name = image_name(reference);
    let message = format!(
        "`{FILE_NAME}` contradicts itself: the manifest of `{name}` for `{platform}` has another config"
    );
    let help = format!("`mab lock --update {name}` writes the entry anew");
    Box::new(Problem::input("lock::stale", message).help(help))
}

fn malformed(source: &BaseSource, what: &str, error: &serde_json::Error) -> Box<Problem> {
    Box::new(Problem::new(
        Kind::Remote,
        "base::malformed",
        format!("the {what} of `{source}` is malformed: {error}"),
    ))
}

fn missing_platform(source: &BaseSource, platform: &Platform, found: &[Platform]) -> Box<Problem> {
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    Box::new(Problem::input("base::platform", format!("`{source}` has no image for `{platform}`")).help(
        format!("it has: {}; choose another base, or drop the platform from the target", found.join(", ")),
    ))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
