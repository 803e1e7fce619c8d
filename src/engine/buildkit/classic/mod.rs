//! Builds on Docker Engines with the classic image store. Their BuildKit hands out no OCI layout: an image is made there
//! under a name of this run's, saved, taken apart into the store, and its name removed. Their frontends know neither
//! named contexts nor images of this side: bases are loaded into the Engine, and the Dockerfile that it is sent names
//! what was found in place of what was written.

mod amend;
mod archive;
mod dockerfile;
mod otherwise;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Seek as _};
use std::sync::{Mutex, PoisonError};

use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Tools;
use super::needs::Language;
use super::request::Asked;
use super::result::Messages;
use crate::base::payload::StepCounts;
use crate::base::{Digest, Platform};
use crate::diag::{Kind, Problem};
use crate::dial::PATIENCE;
use crate::docker::{DockerEngine, EngineError, LoadedImage, LoadedLayer};
use crate::engine::base::{Base, Origin, fetch_blob};
use crate::engine::{BuildJob, BuildOutcome, blocking, io_problem};
use crate::event::Transfer;
use crate::layer::decompressed;
use crate::store::Store;

/// Messages under way into the store.
const MESSAGES: usize = 16;

/// An Engine that keeps images in its own way.
pub(super) struct Classic {
    engine: DockerEngine,
    /// Whether its frontend makes some things in its own way.
    is_old: bool,
    /// The names that it has of this run.
    names: Mutex<BTreeSet<String>>,
    /// Names of bases that were loaded, by their configs.
    bases: tokio::sync::Mutex<BTreeMap<Digest, String>>,
}

impl Classic {
    pub fn new(engine: DockerEngine, language: Language) -> Self {
        let (names, bases) = Default::default();
        Self { engine, is_old: language.is_of_an_old_frontend(), names, bases }
    }

    /// Turns what is asked of any worker into what this one understands, and says what the image is to be called.
    pub async fn prepare(
        &self,
        job: &BuildJob,
        tools: &Tools,
        asked: &mut Asked,
    ) -> Result<String, Box<Problem>> {
        refuse(job, asked)?;
        if self.is_old {
            let job = job.clone();
            blocking(move || otherwise::check(&job)).await?;
        }
        asked.options.remove("cache-imports");
        // Newer frontends know it by themselves.
        let stage = job.recipe.stage.clone().unwrap_or_else(|| "default".to_string());
        asked.options.entry("build-arg:TARGETSTAGE".to_string()).or_insert(stage);
        for (name, value) in target_platform(&job.platform) {
            asked.options.entry(format!("build-arg:{name}")).or_insert(value);
        }
        asked.options.retain(|key, value| !key.starts_with("context:") || value.starts_with("local:"));
        let mut names = Vec::with_capacity(job.bases.len());
        for base in &job.bases {
            names.push(match &base.origin {
                Origin::Registry(reference) => format!("{}@{}", reference.name(), base.manifest),
                Origin::OciLayout(_) | Origin::Store => self.base(base, job, tools).await?,
            });
        }
        let text = dockerfile::with_bases(&job.recipe.dockerfile, &job.steps, &names)?;
        asked.set_dockerfile(text);
        Ok(self.name("build"))
    }

    /// A name that nobody else has, until the end of the run.
    fn name(&self, what: &str) -> String {
        let name = format!("mab-{}:{what}", super::session::id());
        self.names().insert(name.clone());
        name
    }

    fn names(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the Engine calls a base of this side, which is loaded into it once a run.
    async fn base(&self, base: &Base, job: &BuildJob, tools: &Tools) -> Result<String, Box<Problem>> {
        let config = base.config.to_bytes();
        let mut bases = self.bases.lock().await;
        if let Some(name) = bases.get(&Digest::of(&config)) {
            return Ok(name.clone());
        }
        let chains = self.engine.chains().await.map_err(refused)?;
        let diff_ids = base.config.rootfs.diff_ids.clone();
        let has: Vec<bool> =
            LoadedImage::chains(&diff_ids).iter().map(|chain| chains.contains(chain)).collect();
        for (layer, _) in base.layers.iter().zip(&has).filter(|(_, has)| !**has) {
            fetch_blob(&tools.store, &tools.registry, &tools.caches, &base.origin, layer, &job.events)
                .await?;
        }
        let name = self.name("base");
        let archive = {
            let (store, base, name) = (tools.store.clone(), base.clone(), name.clone());
            blocking(move || base_archive(&store, &base, &has, name))
        };
        let archive = archive.await.map_err(|error| Box::new(io_problem("write an archive", &error)))?;
        let total = archive.metadata().map(|metadata| metadata.len()).ok();
        let (events, item) = (job.events.clone(), base.name.clone());
        let progress = move |sent| events.transfer(Transfer::Push, item.clone(), sent, total);
        self.engine.load(tokio::fs::File::from_std(archive), progress).await.map_err(refused)?;
        bases.insert(Digest::of(&config), name.clone());
        Ok(name)
    }

    /// The image that was built under the name, which it loses.
    pub async fn take(
        &self,
        name: &str,
        job: &BuildJob,
        tools: &Tools,
        counts: StepCounts,
    ) -> Result<BuildOutcome, Box<Problem>> {
        let (sender, receiver) = mpsc::channel(MESSAGES);
        let reading = {
            let (store, job, is_old) = (tools.store.clone(), job.clone(), self.is_old);
            blocking(move || archive::take(&store, Messages::new(receiver), &job, counts, is_old))
        };
        let forwarding = async move {
            let (mut chunks, mut done) = (Box::pin(self.engine.save(name)), 0);
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(refused)?;
                done += chunk.len() as u64;
                job.events.transfer(Transfer::Pull, "result".to_string(), done, None);
                // Who reads no more has its reason.
                if sender.send(chunk.into()).await.is_err() {
                    break;
                }
            }
            Ok::<(), Box<Problem>>(())
        };
        let (read, forwarded) = tokio::join!(reading, forwarding);
        self.remove(name).await;
        forwarded?;
        read
    }

    /// Takes the names of this run from the Engine, and the images that have no others with them.
    pub async fn tidy(&self) {
        let names = self.names().clone();
        for name in names {
            self.remove(&name).await;
        }
    }

    /// What cannot be removed is tried again at the end of the run, and then left: it is in nobody's way.
    async fn remove(&self, name: &str) {
        if let Ok(Ok(_)) = timeout(PATIENCE, self.engine.remove_image(name)).await {
            self.names().remove(name);
        }
    }
}

/// What the classic store cannot do for a job, whatever its frontend knows.
fn refuse(job: &BuildJob, asked: &Asked) -> Result<(), Box<Problem>> {
    let (what, help) = if asked.policy.is_some() {
        ("cannot be held to what `ADD` takes from elsewhere".to_string(), "make it a named context, or ")
    } else if job.bases.is_empty() && job.steps.new_layers() == 0 {
        (format!("makes no image without layers, as `{}` is", job.target), "")
    } else {
        return Ok(());
    };
    let message = format!("a Docker Engine with the classic store {what}");
    Err(Box::new(Problem::new(Kind::Host, "buildkit::classic", message).help(format!("{help}{ELSEWHERE}"))))
}

/// Who does what such an Engine does not.
const ELSEWHERE: &str = "leave `--builder` out: the embedded engine can, as can a BuildKit or an Engine with containerd's image \
     store";

/// Before the first FROM, old frontends do not know these by themselves.
fn target_platform(platform: &Platform) -> [(&'static str, String); 4] {
    [
        ("TARGETPLATFORM", platform.to_string()),
        ("TARGETOS", platform.os.clone()),
        ("TARGETARCH", platform.architecture.clone()),
        ("TARGETVARIANT", platform.variant.clone().unwrap_or_default()),
    ]
}

/// How the Engine is to keep the result.
pub(super) fn exporter(name: &str) -> proto::Exporter {
    let attrs = HashMap::from([("name".to_string(), name.to_string())]);
    proto::Exporter { r#type: "moby".to_string(), attrs }
}

fn refused(error: EngineError) -> Box<Problem> {
    Box::new(error.problem())
}

/// A base as the Engine loads it, without the layers that it `has`.
fn base_archive(store: &Store, base: &Base, has: &[bool], name: String) -> io::Result<File> {
    let layers = base.layers.iter().zip(&base.config.rootfs.diff_ids).zip(has);
    let layers = layers.map(|((layer, diff_id), has)| {
        let content = match has {
            true => None,
            false => Some(readable(store.blobs().open(&layer.digest)?, &layer.media_type)?),
        };
        Ok(LoadedLayer { diff_id: *diff_id, content })
    });
    let layers = layers.collect::<io::Result<Vec<_>>>()?;
    let mut file = tempfile::tempfile()?;
    LoadedImage { config: base.config.to_bytes(), layers, tags: vec![name] }.write(&mut file)?;
    file.rewind()?;
    Ok(file)
}

/// Old Engines know no zstd.
fn readable(layer: File, media_type: &str) -> io::Result<File> {
    if !media_type.ends_with("zstd") {
        return Ok(layer);
    }
    let mut plain = tempfile::tempfile()?;
    io::copy(&mut decompressed(layer, media_type).map_err(io::Error::other)?, &mut plain)?;
    Ok(plain)
}
