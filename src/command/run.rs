//! `mab run`: a command in an image, for any of its platforms.

mod streams;

use std::sync::Arc;

use tokio::sync::watch;

use super::Failure;
use super::bake::{self, BakeOptions, BakedImage};
use super::images::{Finder, Image, ImageName};
use super::project::{self, ProjectOptions};
use super::session::{self, SessionOptions};
use crate::base::{NodeId, Platform, Reference};
use crate::cache::{Caches, CachesOptions, Patience};
use crate::config::PlatformName;
use crate::diag::{Kind, Problem};
use crate::engine::embedded::{Embedded, EmbeddedOptions};
use crate::engine::{JobEvents, Overrides, RunCommand, RunJob, Surroundings, stop_signal};
use crate::event::{Event, EventSink, RunEnd};
use crate::facts::Facts;
use crate::image;
use crate::lock::Pins;
use crate::model::Output;
use crate::plan::Request;
use crate::run::Bases;
use crate::source::{SourceOptions, Sources, Stdin};
use crate::store::Store;

pub use streams::{Console, Prefix, RunStreams, StreamWriter};

#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The build file, and what of it is said otherwise; for targets.
    pub project: ProjectOptions,
    pub session: SessionOptions,
    pub request: Request,
    /// As it was given.
    pub image: String,
    /// The host's, or the only one there is, when there is none.
    pub platforms: Vec<Platform>,
    /// `--all-platforms`
    pub is_for_all: bool,
    pub overrides: Overrides,
    pub surroundings: Surroundings,
}

/// What is to run: one job for each platform.
pub struct Runs {
    pub engine: Arc<Embedded>,
    pub jobs: Vec<RunJob>,
    /// The signal that asks the command to end.
    pub stop_signals: Vec<i32>,
    // An archive is there as long as it is needed.
    _images: Vec<Image>,
}

/// Finds the image, builds it if it is a target, and puts together what runs.
pub async fn prepare(
    options: &RunOptions,
    facts: &mut Facts,
    events: Arc<dyn EventSink>,
    notices: Arc<dyn EventSink>,
    cancel: watch::Receiver<bool>,
) -> Result<Runs, Failure> {
    let one = |problem: Box<Problem>| vec![*problem];
    let name = name_of(options, facts)?;
    let store = session::open_store(&options.session, facts).map_err(one)?;
    let images = match &name {
        ImageName::Target(target) => {
            let baked = build(options, target, facts, events, cancel).await?;
            let mut images = Vec::new();
            for image in baked {
                let name = image::ImageName::Store(image.manifest);
                images.push(open(&name, target, options, &store, facts).await?);
            }
            images
        }
        ImageName::Elsewhere(name) => vec![open(name, &options.image, options, &store, facts).await?],
    };
    let engine = engine(&options.session, &store, facts, notices.clone()).map_err(one)?;
    let (mut jobs, mut stop_signals) = (Vec::new(), Vec::new());
    for (image, platform) in wanted(options, &images, facts)? {
        let base = image.of(&platform).await.map_err(one)?;
        let config = &base.config.config;
        stop_signals.push(stop_signal(config.stop_signal.as_deref()));
        let command = RunCommand::of(config, &options.overrides).map_err(one)?;
        jobs.push(RunJob {
            command,
            platform,
            surroundings: options.surroundings.clone(),
            events: JobEvents { node: NodeId(0), sink: notices.clone() },
            image: base,
        });
    }
    tell_of_emulation(options, &jobs, &engine, facts);
    Ok(Runs { engine, jobs, stop_signals, _images: images })
}

/// Targets of the build file here, if there is one that can be read.
fn name_of(options: &RunOptions, facts: &mut Facts) -> Result<ImageName, Failure> {
    let text = options.image.as_str();
    let says_more = text.contains(['/', ':', '@', '.']) && !text.starts_with("target:");
    let is_target = |name: &str| {
        !says_more
            && project::load(
                &ProjectOptions { names: Vec::new(), ..options.project.clone() },
                &mut facts.clone(),
            )
            .is_ok_and(|loaded| loaded.project.targets.contains_key(name))
    };
    ImageName::parse(text, is_target).map_err(|problem| vec![problem])
}

/// The image, if it is one that others can pull.
pub fn in_registry(options: &RunOptions, facts: &mut Facts) -> Result<Option<Reference>, Failure> {
    Ok(name_of(options, facts)?.reference().cloned())
}

/// The images of one target, one for each platform.
pub(super) async fn build(
    options: &RunOptions,
    target: &str,
    facts: &mut Facts,
    events: Arc<dyn EventSink>,
    cancel: watch::Receiver<bool>,
) -> Result<Vec<BakedImage>, Failure> {
    let mut project = ProjectOptions { names: vec![target.to_string()], ..options.project.clone() };
    if project.platforms.is_empty() && !options.is_for_all {
        project.platforms = usual_platforms(&project, target, facts)?;
    }
    let bake = BakeOptions {
        project,
        session: options.session.clone(),
        request: Request { outputs: Some(Vec::<Output>::new()), ..options.request.clone() },
        call: None,
        keep_going: false,
        explains: false,
        metadata: None,
        publishing: bake::Publishing::default(),
        keeps_images: true,
        part: None,
    };
    let baked = bake::bake(&bake, facts, events, cancel).await?;
    match baked.end {
        Some(RunEnd::Succeeded) => Ok(baked.images),
        // Told already, as events.
        Some(RunEnd::Failed) => Err(Vec::new()),
        Some(RunEnd::Interrupted) => Err(vec![Problem::new(
            Kind::Interrupted,
            "run::interrupted",
            "interrupted before the image was built",
        )]),
        None => {
            Err(vec![Problem::input("run::nothing-built", format!("nothing is built of target `{target}`"))])
        }
    }
}

/// What is built of a target where no platform is named: the host's, or all there is.
fn usual_platforms(
    options: &ProjectOptions,
    target: &str,
    facts: &mut Facts,
) -> Result<Vec<PlatformName>, Failure> {
    let host = session::build_platform(facts);
    let loaded = project::load(options, facts)?;
    let variants = loaded.project.targets.get(target).map(|target| &target.variants[..]).unwrap_or_default();
    match variants {
        [] | [_] => Ok(Vec::new()),
        several if several.iter().any(|variant| variant.platform.value == host) => {
            Ok(vec![PlatformName::Platform(host)])
        }
        _ => {
            let message = format!("target `{target}` is not built for `{host}`, and for several others");
            Err(vec![
                Problem::input("run::platform", message)
                    .help("choose one with `--platform`, or `--all-platforms`"),
            ])
        }
    }
}

async fn open(
    name: &image::ImageName,
    shown: &str,
    options: &RunOptions,
    store: &Store,
    facts: &Facts,
) -> Result<Image, Failure> {
    let found = async {
        let means = session::means(&options.session, facts)?;
        let bases = Bases::new(store.clone(), means.registry.clone(), Pins::default());
        Image::open(name, shown, Finder { means, store: store.clone(), bases }).await
    };
    found.await.map_err(|problem| vec![*problem])
}

/// The engine for images that need not be built. Commands of different platforms run one after the other.
pub(super) fn engine(
    options: &SessionOptions,
    store: &Store,
    facts: &Facts,
    events: Arc<dyn EventSink>,
) -> Result<Arc<Embedded>, Box<Problem>> {
    let registry = session::registry(facts, options.is_offline)?;
    let sources = Sources::new(store.clone(), SourceOptions::default(), Stdin::of_program());
    let caches = Caches::new(CachesOptions {
        store: store.clone(),
        registry: registry.clone(),
        offline: options.is_offline,
        environment: Arc::new(facts.environment.clone()),
        events,
        patience: Patience::default(),
    });
    Ok(Embedded::new(EmbeddedOptions { store: store.clone(), registry, sources, caches, jobs: options.jobs }))
}

/// The platforms that are asked for, each with the image that has it.
fn wanted<'a>(
    options: &RunOptions,
    images: &'a [Image],
    facts: &Facts,
) -> Result<Vec<(&'a Image, Platform)>, Failure> {
    let has = |platform: &Platform| {
        let fits = |image: &&Image| image.platforms.iter().any(|found| found.fitness(platform).is_some());
        images.iter().find(fits)
    };
    let all =
        images.iter().flat_map(|image| image.platforms.iter().map(move |platform| (image, platform.clone())));
    if options.is_for_all {
        let all: Vec<_> = all.collect();
        return Ok(all);
    }
    if options.platforms.is_empty() {
        let host = session::build_platform(facts);
        return match images {
            [image] => Ok(vec![(image, image.usual_platform(&host))]),
            // One for each platform of a target.
            images => Ok(vec![(has(&host).unwrap_or(&images[0]), host)]),
        };
    }
    // Whether an image has it is said when its manifest is looked for.
    let found =
        options.platforms.iter().map(|platform| (has(platform).unwrap_or(&images[0]), platform.clone()));
    Ok(found.collect())
}

/// Nobody asked for another platform than this machine's: that it is one is told.
fn tell_of_emulation(options: &RunOptions, jobs: &[RunJob], engine: &Embedded, facts: &Facts) {
    let [job] = jobs else { return };
    let is_chosen = options.is_for_all || !options.platforms.is_empty();
    if is_chosen || engine.emulator(&job.platform).is_none() {
        return;
    }
    let (name, host) = (&job.image.name, session::build_platform(facts));
    let message = format!("`{name}` is for `{}` only, which is emulated on `{host}`", job.platform);
    job.events
        .sink
        .emit(Event::Notice { node: None, problem: Arc::new(Problem::warning("run::emulated", message)) });
}
