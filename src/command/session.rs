//! The one place that chooses engine, store and clients.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::engines::Engines;
use super::user;
use crate::base::{Platform, Secret};
use crate::cache::{Caches, CachesOptions, Patience};
use crate::config::user::UserConfig;
use crate::diag::{Kind, Problem};
use crate::docker::{EngineAddress, Surroundings};
use crate::engine::buildkit::{Buildkit, BuildkitOptions};
use crate::engine::embedded::{Embedded, EmbeddedOptions};
use crate::event::EventSink;
use crate::facts::Facts;
use crate::image::Means;
use crate::lock::Pins;
use crate::model::Builder;
use crate::publish::about::About;
use crate::publish::journal::Action;
use crate::registry::{CredentialPlaces, Credentials, Registry, RegistryOptions};
use crate::run::{Bases, EPOCHS, Tools};
use crate::source::{GitEnvironment, SourceOptions, Sources, Stdin};
use crate::store::Store;

/// What the command line says about this machine.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// `--store`
    pub store: Option<PathBuf>,
    pub jobs: usize,
    /// `--locked`: what the lock does not know is refused.
    pub is_locked: bool,
    /// `--offline`: nobody is asked anything.
    pub is_offline: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { store: None, jobs: 1, is_locked: false, is_offline: false }
    }
}

/// What commands share. The store is opened when the first of them needs it, or somewhat ahead of that.
pub struct Session<'a> {
    options: &'a SessionOptions,
    store: Arc<OnceLock<Result<Store, Box<Problem>>>>,
    sources: OnceLock<Sources>,
    pins: OnceLock<Pins>,
    builder: OnceLock<(String, Builder)>,
}

impl<'a> Session<'a> {
    pub fn new(options: &'a SessionOptions) -> Self {
        let (store, sources, pins, builder) = Default::default();
        Self { options, store, sources, pins, builder }
    }

    /// What the lock says. To be called before anything else is asked for.
    pub fn set_pins(&self, pins: Pins) {
        let is_first = self.pins.set(pins).is_ok();
        debug_assert!(is_first, "a session has one lock");
    }

    pub fn pins(&self) -> &Pins {
        self.pins.get_or_init(Pins::default)
    }

    /// Who builds in place of this machine. To be called before tools are opened.
    pub fn set_builder(&self, name: String, builder: Builder) {
        let is_first = self.builder.set((name, builder)).is_ok();
        debug_assert!(is_first, "a session has one builder");
    }

    /// Whether somebody builds in place of this machine.
    pub fn has_builder(&self) -> bool {
        self.builder.get().is_some()
    }

    pub fn options(&self) -> &SessionOptions {
        self.options
    }

    /// Begins to open the store beside what comes before it is needed. One that is not there yet waits for that: it may
    /// be that nothing comes of it. What is wrong is told to whoever needs it. To be called where there is a runtime.
    pub fn open_store_ahead(&self, facts: &Facts) {
        if let Ok(path) = store_path(self.options, facts)
            && Store::is_at(&path)
        {
            let store = self.store.clone();
            tokio::task::spawn_blocking(move || store.get_or_init(|| open_at(&path)).is_ok());
        }
    }

    fn store(&self, facts: &Facts) -> Result<Store, Box<Problem>> {
        let path = store_path(self.options, facts)?;
        self.store.get_or_init(|| open_at(&path)).clone()
    }

    /// What contexts and ADD take from elsewhere.
    pub fn sources(&self, facts: &Facts) -> Result<Sources, Box<Problem>> {
        if let Some(sources) = self.sources.get() {
            return Ok(sources.clone());
        }
        let store = self.store(facts)?;
        let git = GitEnvironment::of(&facts.environment);
        let (pins, is_offline) = (self.pins().clone(), self.options.is_offline);
        let options = SourceOptions { git, pins, is_offline, ..SourceOptions::default() };
        let sources = Sources::new(store, options, Stdin::of_program());
        Ok(self.sources.get_or_init(|| sources).clone())
    }

    /// Everything a run works with.
    pub fn open(&self, facts: &Facts, events: Arc<dyn EventSink>) -> Result<Tools<Engines>, Box<Problem>> {
        let sources = self.sources(facts)?;
        let store = sources.store().clone();
        let registry = registry(facts, self.options.is_offline)?;
        let caches = Caches::new(CachesOptions {
            store: store.clone(),
            registry: registry.clone(),
            offline: self.options.is_offline,
            environment: Arc::new(facts.environment.clone()),
            events: events.clone(),
            patience: Patience::default(),
        });
        let surroundings = surroundings(facts);
        let sandbox = Embedded::new(EmbeddedOptions {
            store: store.clone(),
            registry: registry.clone(),
            sources: sources.clone(),
            caches: caches.clone(),
            jobs: self.options.jobs,
        });
        let engine = match self.builder.get().cloned() {
            None => Engines::Embedded(sandbox.clone()),
            Some((name, builder)) => Engines::Buildkit(Buildkit::new(BuildkitOptions {
                name,
                builder,
                store: store.clone(),
                registry: registry.clone(),
                credentials: credentials(facts)?,
                caches: caches.clone(),
                sources: sources.clone(),
                surroundings: surroundings.clone(),
            })?),
        };
        Ok(Tools {
            engine: Arc::new(engine),
            sandbox,
            store,
            registry,
            sources,
            caches,
            named_caches: BTreeMap::new(),
            pins: self.pins().clone(),
            project: facts.directories.current.clone(),
            explains: false,
            environment: Arc::new(facts.environment.clone()),
            events,
            build_platform: build_platform(facts),
            epoch: epoch(facts)?,
            jobs: self.options.jobs,
            now: facts.now.as_second(),
            docker: EngineAddress::usual(&surroundings),
            publication: About::new(Action::Publish, facts.now),
        })
    }
}

/// What tells of base images, without an engine.
pub fn bases(options: &SessionOptions, facts: &Facts) -> Result<Bases, Box<Problem>> {
    Ok(Bases::new(open_store(options, facts)?, registry(facts, options.is_offline)?, Pins::default()))
}

/// The client of all registries, as the user wants them reached.
pub fn registry(facts: &Facts, is_offline: bool) -> Result<Registry, Box<Problem>> {
    let credentials = credentials(facts)?;
    let options = user::registries(&user_config(facts)?)?;
    Ok(Registry::new(RegistryOptions { credentials, is_offline, ..options }))
}

/// What images are reached with, wherever they lie.
pub fn means(options: &SessionOptions, facts: &Facts) -> Result<Means, Box<Problem>> {
    Ok(Means {
        registry: registry(facts, options.is_offline)?,
        docker: surroundings(facts),
        current: facts.directories.current.clone(),
        store: store_path(options, facts).ok(),
    })
}

/// The platform that builds run on.
pub fn build_platform(facts: &Facts) -> Platform {
    facts.host.clone()
}

/// What decides where Docker Engines are.
pub fn surroundings(facts: &Facts) -> Surroundings {
    Surroundings { environment: Arc::new(facts.environment.clone()), home: facts.directories.home.clone() }
}

/// What is wrong with it was told at the start, all at once.
fn user_config(facts: &Facts) -> Result<UserConfig, Box<Problem>> {
    user::config(facts).map_err(|mut problems| Box::new(problems.swap_remove(0)))
}

pub fn open_store(options: &SessionOptions, facts: &Facts) -> Result<Store, Box<Problem>> {
    open_at(&store_path(options, facts)?)
}

fn open_at(path: &Path) -> Result<Store, Box<Problem>> {
    Store::open(path).map_err(|error| Box::new(error.problem()))
}

/// The store of `--store` or `MAB_STORE`, of the user's configuration, or the usual one.
pub fn store_path(options: &SessionOptions, facts: &Facts) -> Result<PathBuf, Box<Problem>> {
    let configured = if options.store.is_none() { user_config(facts)?.store } else { None };
    match (options.store.as_ref().or(configured.as_ref()), &facts.directories.data) {
        (Some(path), _) => Ok(facts.directories.current.join(path)),
        (None, Some(data)) => Ok(data.join("mab")),
        (None, None) => Err(Box::new(
            Problem::new(
                Kind::Host,
                "store::nowhere",
                "there is no place for the store: neither HOME nor XDG_DATA_HOME is set",
            )
            .help("name one with `--store` or `MAB_STORE`"),
        )),
    }
}

fn credentials(facts: &Facts) -> Result<Credentials, Box<Problem>> {
    Credentials::load(&credential_places(facts)).map_err(|error| Box::new(error.problem()))
}

/// Where credentials are looked for, and kept.
pub fn credential_places(facts: &Facts) -> CredentialPlaces {
    let variable = |name: &str| facts.environment.get(name).filter(|value| !value.is_empty());
    let path = |name: &str| variable(name).map(PathBuf::from);
    CredentialPlaces {
        docker_auth_config: variable("DOCKER_AUTH_CONFIG").map(|text| Secret::new(text.as_bytes())),
        docker_config: path("DOCKER_CONFIG"),
        home: facts.directories.home.clone(),
        registry_auth_file: path("REGISTRY_AUTH_FILE"),
        xdg_runtime_dir: path("XDG_RUNTIME_DIR"),
        xdg_config_home: path("XDG_CONFIG_HOME"),
        path: variable("PATH").map(Into::into),
    }
}

/// `SOURCE_DATE_EPOCH`, see reproducible-builds.org: whole seconds.
fn epoch(facts: &Facts) -> Result<Option<i64>, Box<Problem>> {
    let Some(text) = facts.environment.get("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.parse::<i64>() {
        Ok(seconds) if EPOCHS.contains(&seconds) => Ok(Some(seconds)),
        _ => Err(Box::new(
            Problem::input(
                "facts::epoch",
                format!("SOURCE_DATE_EPOCH is `{text}`, which is no number of seconds"),
            )
            .help("set it to a Unix time, for instance `$(git log -1 --format=%ct)`, or unset it"),
        )),
    }
}
