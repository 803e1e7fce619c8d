//! Loads an image into a Docker Engine, as `docker load` does, without the layers that it has.
//!
//! An Engine with containerd's image store takes an index with all its platforms; the classic store keeps one platform
//! of an image, which is the Engine's own if the image has it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::sync::Arc;

use super::BlobSource;
use super::merge::Merged;
use super::output::{OutputError, read_platform_image, write_partial_oci_archive};
use crate::base::{Digest, Platform, Reference};
use crate::diag::{Kind, Problem};
use crate::docker::{DockerEngine, EngineAddress, EngineError, LoadedImage, LoadedLayer};
use crate::layer;
use crate::model::Dest;
use crate::oci::{Descriptor, Manifest};

/// What is to be loaded, and whom it is told.
#[derive(Clone)]
pub struct Load {
    pub blobs: Arc<dyn BlobSource>,
    pub image: Merged,
    pub names: Vec<Reference>,
    /// Hears how many bytes were sent, and of how many.
    pub progress: Arc<dyn Fn(u64, u64) + Send + Sync>,
}

/// What an Engine made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Names, or ids of images without one, in the Engine's order.
    pub images: Vec<String>,
    /// What of the image the Engine does not keep.
    pub warning: Option<Problem>,
}

/// Why an image could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{cause}")]
    NoEngine { cause: EngineError },
    #[error("the Docker Engine at `{address}` does not load the image: {cause}")]
    Refused { address: String, cause: String },
    #[error(transparent)]
    Output(#[from] OutputError),
    #[error("cannot write the archive: {0}")]
    Archive(#[from] std::io::Error),
}

/// Loads it.
pub async fn load(address: &EngineAddress, load: &Load) -> Result<Loaded, LoadError> {
    let engine = DockerEngine::connect(address).await?;
    let about = engine.about().await?;
    if about.has_containerd_store {
        return load_index(&engine, load).await;
    }
    let image = of_platform(&load.image, &about.platform);
    let warning = (load.image.images.len() > 1).then(|| left_out(&engine, image, &load.image));
    let chains = engine.chains().await?;
    let has_known = !chains.is_empty();
    let archive = |chains: HashSet<Digest>| {
        let (load, image) = (load.clone(), image.clone());
        blocking(move || classic_archive(&load, &image, &chains))
    };
    let images = match send(&engine, archive(chains).await?, load).await {
        // An image whose layers were left out may be removed meanwhile.
        Err(LoadError::Refused { .. }) if has_known => {
            send(&engine, archive(HashSet::new()).await?, load).await?
        }
        sent => sent?,
    };
    Ok(Loaded { images, warning })
}

/// The Engine's own platform, or the first.
fn of_platform<'a>(image: &'a Merged, platform: &Platform) -> &'a Descriptor {
    let fitness = |image: &&Descriptor| image.platform().and_then(|own| own.fitness(platform));
    let fitting = image.images.iter().filter(|image| fitness(image).is_some()).max_by_key(fitness);
    fitting.or(image.images.first()).unwrap_or(&image.root)
}

fn left_out(engine: &DockerEngine, image: &Descriptor, merged: &Merged) -> Problem {
    let name = |image: &Descriptor| image.platform().map(|platform| platform.to_string()).unwrap_or_default();
    let others = merged.images.iter().filter(|other| other.digest != image.digest).map(name);
    one_platform(engine.address().text(), &name(image), &others.collect::<Vec<_>>())
}

/// What a classic store leaves out.
pub fn one_platform(address: &str, kept: &str, others: &[String]) -> Problem {
    let others = others.join(", ");
    let message = format!(
        "the Docker Engine at `{address}` keeps one platform of an image: {kept} is loaded, and not {others}"
    );
    Problem::warning("load::one-platform", message)
        .help("containerd's image store keeps all of them: \"containerd-snapshotter\" in its daemon.json")
}

/// All platforms, without the blobs that the Engine has as far as its images tell.
async fn load_index(engine: &DockerEngine, load: &Load) -> Result<Loaded, LoadError> {
    let known = engine.manifests().await?;
    let blobs = load.blobs.clone();
    let known = blocking(move || Ok(known_layers(&*blobs, &known))).await?;
    let archive = |known: HashSet<Digest>| {
        let load = load.clone();
        blocking(move || {
            let folder = tempfile::tempdir()?;
            let path = folder.path().join("image.tar");
            let dest = Dest::Path(path.clone());
            write_partial_oci_archive(&*load.blobs, &load.image.root, &load.names, &known, &dest)?;
            // Whoever has it open does not need its name.
            Ok(File::open(path)?)
        })
    };
    let has_known = !known.is_empty();
    let images = match send(engine, archive(known).await?, load).await {
        // An image may be there without all that its manifest names.
        Err(LoadError::Refused { .. }) if has_known => {
            send(engine, archive(HashSet::new()).await?, load).await?
        }
        sent => sent?,
    };
    Ok(Loaded { images, warning: None })
}

/// The layers of the manifests that are known here, too: of what was loaded, pushed or built on before.
fn known_layers(blobs: &dyn BlobSource, manifests: &HashSet<Digest>) -> HashSet<Digest> {
    const LARGEST: u64 = 4 << 20;
    let read = |digest: &Digest| {
        let mut bytes = Vec::new();
        blobs.open(digest).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
        Manifest::parse(&bytes).ok()
    };
    let known = manifests.iter().filter_map(read);
    known.flat_map(|manifest| manifest.layers).map(|layer| layer.digest).collect()
}

/// One platform as a classic store takes it, without the files of layers whose chain it has.
fn classic_archive(load: &Load, image: &Descriptor, chains: &HashSet<Digest>) -> Result<File, LoadError> {
    let (manifest, config, diff_ids) = read_platform_image(&*load.blobs, image)?;
    let mut layers = Vec::new();
    for ((layer, diff_id), chain) in manifest.layers.iter().zip(&diff_ids).zip(LoadedImage::chains(&diff_ids))
    {
        let content = match chains.contains(&chain) {
            true => None,
            false => Some(readable(&*load.blobs, layer)?),
        };
        layers.push(LoadedLayer { diff_id: *diff_id, content });
    }
    let mut tags: Vec<String> = Vec::new();
    for name in load.names.iter().filter(|name| name.tag().is_some() && name.digest().is_none()) {
        if !tags.contains(&name.familiar()) {
            tags.push(name.familiar());
        }
    }
    let mut file = tempfile::tempfile()?;
    LoadedImage { config, layers, tags }.write(&mut file)?;
    file.flush()?;
    Ok(file)
}

/// A layer as every Engine reads it: old ones know no zstd.
fn readable(blobs: &dyn BlobSource, layer: &Descriptor) -> Result<File, LoadError> {
    let file = blobs.open(&layer.digest)?;
    if !layer.media_type.ends_with("zstd") {
        return Ok(file);
    }
    let mut plain = tempfile::tempfile()?;
    let mut reader = layer::decompressed(file, &layer.media_type).map_err(std::io::Error::other)?;
    std::io::copy(&mut reader, &mut plain)?;
    Ok(plain)
}

async fn send(engine: &DockerEngine, mut archive: File, load: &Load) -> Result<Vec<String>, LoadError> {
    archive.rewind()?;
    let (progress, total) = (load.progress.clone(), archive.metadata()?.len());
    let sent = engine.load(tokio::fs::File::from_std(archive), move |sent| progress(sent, total)).await;
    sent.map_err(|error| match error {
        EngineError::Refused { address, cause } => LoadError::Refused { address, cause },
        cause => LoadError::NoEngine { cause },
    })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(LoadError::Archive(std::io::Error::other(error))),
    }
}

impl From<EngineError> for LoadError {
    fn from(cause: EngineError) -> Self {
        Self::NoEngine { cause }
    }
}

impl LoadError {
    pub fn problem(&self) -> Problem {
        match self {
            Self::NoEngine { cause } => {
                let problem = cause.problem();
                let first = problem.help.clone().unwrap_or_default();
                Problem { code: "load::no-engine", ..problem }
                    .help(format!("{first}; or write an archive with `--output type=docker,dest=image.tar`"))
            }
            Self::Refused { .. } => Problem::new(Kind::Remote, "load::refused", self.to_string()),
            Self::Output(error) => Problem::from(error),
            Self::Archive(_) => Problem::new(Kind::Host, "host::io", self.to_string()),
        }
    }
}
