//! The places of a run: each is opened once, however many targets name it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::access::Lists;
use super::backend::Backend;
use super::folder::Folder;
use super::github::Service;
use super::place::Place;
use super::repository::{RegistryClients, Repository};
use super::web::Web;
use super::webdav::Webdav;
use super::{Access, CachesOptions};
use crate::base::Reference;
use crate::diag::Problem;
use crate::event::Event;
use crate::model::{Cache, CacheEntry, CacheKind, CacheMode, CacheUse};

pub struct Places {
    options: CachesOptions,
    clients: OnceLock<RegistryClients>,
    web: OnceLock<Web>,
    open: Mutex<BTreeMap<String, Arc<Place>>>,
}

/// What one target asks for.
pub struct Wanted<'a> {
    pub caches: &'a CacheUse,
    pub named: &'a BTreeMap<String, Cache>,
    pub images: &'a [Reference],
    pub trusted_only: bool,
}

impl Places {
    pub fn new(options: CachesOptions) -> Self {
        Self { options, clients: OnceLock::new(), web: OnceLock::new(), open: Mutex::default() }
    }

    pub fn options(&self) -> &CachesOptions {
        &self.options
    }

    /// All that are open.
    pub fn all(&self) -> Vec<Arc<Place>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub fn access(&self, wanted: &Wanted<'_>) -> Result<Access, Box<Problem>> {
        let mut lists = Lists { images: wanted.images.to_vec(), ..Lists::default() };
        for name in &wanted.caches.named {
            let Some(cache) = wanted.named.get(&name.value) else {
                let message = format!("there is no cache `{}`", name.value);
                let mut problem = Problem::input("cache::unknown", message);
                if let Some(place) = &name.place {
                    problem = problem.at(place.clone(), "named here");
                }
                return Err(Box::new(problem.help(format!("declare `[cache.{}]`", name.value))));
            };
            let places = self.places(&cache.entry, Some(&cache.name), wanted.images)?;
            let may_read = self.may_read(wanted, cache.trust == Some(true), &cache.name);
            if may_read {
                lists.add_read(&places);
            }
            lists.add_write(&places, mode(&cache.entry));
            if cache.entry.parameters.get("mounts").is_some_and(|text| is_true(text)) {
                lists.add_mounts(&places, may_read);
            }
        }
        for entry in &wanted.caches.from {
            let places = self.places(&entry.value, None, wanted.images)?;
            if self.may_read(wanted, false, &shown(&entry.value)) {
                lists.add_read(&places);
            }
        }
        for entry in &wanted.caches.to {
            let places = self.places(&entry.value, None, wanted.images)?;
            lists.add_write(&places, mode(&entry.value));
        }
        Ok(Access::new(lists))
    }

    fn may_read(&self, wanted: &Wanted<'_>, is_trusted: bool, name: &str) -> bool {
        let may = is_trusted || !wanted.trusted_only;
        if !may {
            let message = format!("cache `{name}` is not read here: only caches that are trusted may be");
            self.tell(Problem::warning("cache::untrusted", message).help(
                "if nobody but trusted jobs can write to it, declare it as `[cache.NAME]` with `trust = true`",
            ));
        }
        may
    }

    /// Mostly one; an inline cache has as many as the image has repositories.
    fn places(
        &self,
        entry: &CacheEntry,
        name: Option<&str>,
        images: &[Reference],
    ) -> Result<Vec<Arc<Place>>, Box<Problem>> {
        if self.options.offline && entry.kind != CacheKind::Local {
            self.tell(
                Problem::warning("cache::offline", "`--offline` leaves caches on other machines alone")
                    .help("a cache of type `local` is used all the same"),
            );
            return Ok(Vec::new());
        }
        if entry.kind != CacheKind::Inline {
            let place = self.place(address(entry), name, || self.backend(entry))?;
            return Ok(place.into_iter().collect());
        }
        if images.is_empty() {
            let message = "an inline cache is kept beside the image, and an image has no name";
            self.tell(Problem::warning("cache::no-image", message).help("give its target a tag"));
        }
        let mut places = Vec::new();
        for image in images {
            let address = repository_address(image);
            places.extend(self.place(address, name, || Ok(Some(self.repository(image, false))))?);
        }
        Ok(places)
    }

    fn place(
        &self,
        address: String,
        name: Option<&str>,
        open: impl FnOnce() -> Result<Option<Box<dyn Backend>>, Box<Problem>>,
    ) -> Result<Option<Arc<Place>>, Box<Problem>> {
        let mut places = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get(&address) {
            return Ok(Some(place.clone()));
        }
        let Some(backend) = open()? else { return Ok(None) };
        let name = name.unwrap_or(&address).to_string();
        let (patience, events) = (self.options.patience.clone(), self.options.events.clone());
        let place = Arc::new(Place::new(name, address.clone(), backend, Arc::new(patience), events));
        places.insert(address, place.clone());
        Ok(Some(place))
    }

    /// None when it cannot be used here, which was told.
    fn backend(&self, entry: &CacheEntry) -> Result<Option<Box<dyn Backend>>, Box<Problem>> {
        match entry.kind {
            CacheKind::Local => Ok(Some(Box::new(Folder::new(Path::new(local_path(entry)))))),
            CacheKind::Registry | CacheKind::Inline => {
                let is_insecure = entry.parameters.get("registry.insecure").is_some_and(|text| is_true(text));
                Ok(Some(self.repository(&reference(entry)?, is_insecure)))
            }
            CacheKind::Gha => Ok(self.service(entry)),
            CacheKind::Webdav => {
                let (questions, transfers) = self.web();
                let retries = self.options.patience.retries.clone();
                Ok(Some(Box::new(Webdav::open(entry, questions, transfers, retries)?)))
            }
            CacheKind::S3 | CacheKind::Azblob | CacheKind::Gcs => self.objects(entry),
        }
    }

    fn service(&self, entry: &CacheEntry) -> Option<Box<dyn Backend>> {
        let (questions, transfers) = self.web();
        let (environment, retries) = (&self.options.environment, self.options.patience.retries.clone());
        match Service::open(entry, environment, questions, transfers, retries) {
            Ok(service) => service.map(|service| Box::new(service) as Box<dyn Backend>),
            Err(problem) => {
                self.tell(problem);
                None
            }
        }
    }

    #[cfg(feature = "remote-cache")]
    fn objects(&self, entry: &CacheEntry) -> Result<Option<Box<dyn Backend>>, Box<Problem>> {
        let given = super::object_stores::Given { entry, environment: &self.options.environment };
        let operator = super::object_stores::operator(&given)?;
        let (questions, transfers) = self.web();
        let retries = self.options.patience.retries.clone();
        Ok(Some(Box::new(super::objects::Objects::new(operator, questions, transfers, retries))))
    }

    #[cfg(not(feature = "remote-cache"))]
    fn objects(&self, entry: &CacheEntry) -> Result<Option<Box<dyn Backend>>, Box<Problem>> {
        let message = format!("this mab was built without caches of type `{}`", entry.kind.name());
        Err(Box::new(Problem::input("cache::kind", message).help("build it with the feature `remote-cache`")))
    }

    /// For questions, which are tried once, since a place asks again itself; and for transfers.
    fn web(&self) -> (Web, Web) {
        let CachesOptions { registry, patience, .. } = &self.options;
        let transfers = self.web.get_or_init(|| Web::new(registry, patience)).clone();
        (transfers.once(patience.lookup), transfers)
    }

    fn repository(&self, reference: &Reference, is_insecure: bool) -> Box<dyn Backend> {
        let CachesOptions { registry, patience, .. } = &self.options;
        let clients = match is_insecure {
            true => RegistryClients::new(registry, patience, Some(reference.registry())),
            false => self.clients.get_or_init(|| RegistryClients::new(registry, patience, None)).clone(),
        };
        Box::new(Repository::new(clients, reference))
    }

    pub fn tell(&self, problem: Problem) {
        self.options.events.emit(Event::Notice { node: None, problem: Arc::new(problem) });
    }
}

fn mode(entry: &CacheEntry) -> CacheMode {
    match entry.kind {
        CacheKind::Inline => CacheMode::Min,
        _ => entry.mode.unwrap_or(CacheMode::Min),
    }
}

fn reference(entry: &CacheEntry) -> Result<Reference, Box<Problem>> {
    let text = entry.parameters.get("ref").map(String::as_str).unwrap_or_default();
    text.parse().map_err(|cause| Box::new(Problem::input("cache::reference", format!("{cause}"))))
}

fn local_path(entry: &CacheEntry) -> &str {
    let path = ["path", "src", "dest"].iter().find_map(|key| entry.parameters.get(*key));
    path.map(String::as_str).unwrap_or_default()
}

fn repository_address(reference: &Reference) -> String {
    format!("type=registry,ref={}", reference.name())
}

/// What tells a place from others, without what is secret of it.
fn address(entry: &CacheEntry) -> String {
    match entry.kind {
        CacheKind::Local => format!("type=local,path={}", local_path(entry)),
        CacheKind::Registry => match reference(entry) {
            Ok(reference) => repository_address(&reference),
            Err(_) => shown(entry),
        },
        _ => shown(entry),
    }
}

/// The place as bake says it, without what is secret of it.
fn shown(entry: &CacheEntry) -> String {
    const TELLING: [&str; 15] = [
        "ref",
        "path",
        "src",
        "dest",
        "url",
        "url_v2",
        "scope",
        "version",
        "endpoint_url",
        "account_url",
        "account_name",
        "container",
        "bucket",
        "region",
        "prefix",
    ];
    let telling = TELLING.iter().filter_map(|key| Some((*key, entry.parameters.get(*key)?)));
    telling.fold(format!("type={}", entry.kind.name()), |text, (key, value)| format!("{text},{key}={value}"))
}

/// Bake takes these words, and `config` has checked that it is one of them or of their opposites.
fn is_true(text: &str) -> bool {
    matches!(text, "true" | "1")
}
