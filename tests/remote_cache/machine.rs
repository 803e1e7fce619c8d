//! A machine: a store of its own, and the caches of one run after the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mab::base::Digest;
use mab::cache::{Access, Caches, CachesOptions, Entry, EntryKind, Found, Patience};
use mab::diag::{Located, Place, Source};
use mab::event::{Event, EventSink};
use mab::http::Retries;
use mab::model::{Cache, CacheEntry, CacheKind, CacheMode, CacheUse};
use mab::oci::{Descriptor, media_type};
use mab::registry::{Registry, RegistryOptions};
use mab::store::{Environment, Store};

pub struct Machine {
    folder: Arc<tempfile::TempDir>,
    pub store: Store,
    entry: CacheEntry,
    environment: Arc<BTreeMap<String, String>>,
}

/// One run on a machine.
pub struct Run {
    pub caches: Arc<Caches>,
    pub access: Access,
    notices: Arc<Notices>,
    /// A run may outlive what it ran on in the words of a test.
    _folder: Arc<tempfile::TempDir>,
}

#[derive(Default)]
struct Notices(Mutex<Vec<String>>);

impl EventSink for Notices {
    fn emit(&self, event: Event) {
        let Event::Notice { problem, .. } = event else { return };
        self.0.lock().unwrap().push(problem.message.clone());
    }
}

/// As patient as tests are.
pub fn patience() -> Patience {
    Patience {
        lookup: Duration::from_secs(5),
        stall: Duration::from_secs(5),
        retries: Retries {
            attempts: 3,
            first_pause: Duration::ZERO,
            longest_pause: Duration::ZERO,
            longest_retry_after: Duration::from_secs(1),
        },
        ..Patience::default()
    }
}

pub fn located(entry: &CacheEntry) -> Located<CacheEntry> {
    Located { value: entry.clone(), place: None }
}

/// Reads and writes the place with everything.
pub fn both(entry: &CacheEntry) -> CacheUse {
    let to = CacheEntry { mode: Some(CacheMode::Max), ..entry.clone() };
    CacheUse { named: Vec::new(), from: vec![located(entry)], to: vec![located(&to)] }
}

/// The caches of a project that has one, `ci`.
pub fn named(entry: CacheEntry, trust: Option<bool>) -> BTreeMap<String, Cache> {
    let place = Place::new(&Source::new("multiarch.toml", ""), 0..0);
    BTreeMap::from([("ci".to_string(), Cache { name: "ci".to_string(), place, entry, trust })])
}

pub fn by_name(name: &str) -> CacheUse {
    CacheUse { named: vec![Located { value: name.to_string(), place: None }], ..CacheUse::default() }
}

pub fn entry_of(kind: CacheKind, parameters: &[(&str, &str)]) -> CacheEntry {
    let parameters = parameters.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    CacheEntry { kind, mode: None, parameters: parameters.collect() }
}

impl Machine {
    pub fn new(entry: &CacheEntry, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let environment =
            environment.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Self { folder: Arc::new(folder), store, entry: entry.clone(), environment: Arc::new(environment) }
    }

    /// The same machine after more than a day.
    pub fn tomorrow(&self) -> Self {
        let now = || SystemTime::now() + Duration::from_secs(25 * 3600);
        let later = Environment { now, ..Environment::of_host() };
        Self {
            folder: self.folder.clone(),
            store: Store::open_in(self.store.path(), &later).unwrap(),
            entry: self.entry.clone(),
            environment: self.environment.clone(),
        }
    }

    pub fn run(&self) -> Run {
        self.run_with(patience())
    }

    pub fn run_with(&self, patience: Patience) -> Run {
        let (caches, notices) = self.caches(patience, false);
        let access = caches.access(&both(&self.entry), &BTreeMap::new(), &[], false).unwrap();
        Run { caches, access, notices, _folder: self.folder.clone() }
    }

    /// The cache by its name, with which it keeps cache mounts, too.
    pub fn run_with_mounts(&self) -> Run {
        let (caches, notices) = self.caches(patience(), false);
        let mut entry = CacheEntry { mode: Some(CacheMode::Max), ..self.entry.clone() };
        entry.parameters.insert("mounts".to_string(), "true".to_string());
        let access = caches.access(&by_name("ci"), &named(entry, None), &[], false).unwrap();
        Run { caches, access, notices, _folder: self.folder.clone() }
    }

    /// A run that has opened nothing yet.
    pub fn unopened(&self, offline: bool) -> Run {
        let (caches, notices) = self.caches(patience(), offline);
        Run { caches, access: Access::none(), notices, _folder: self.folder.clone() }
    }

    fn caches(&self, patience: Patience, offline: bool) -> (Arc<Caches>, Arc<Notices>) {
        let notices = Arc::new(Notices::default());
        let caches = Caches::new(CachesOptions {
            store: self.store.clone(),
            registry: Registry::new(RegistryOptions::default()),
            offline,
            environment: self.environment.clone(),
            events: notices.clone(),
            patience,
        });
        (caches, notices)
    }

    pub fn put(&self, bytes: &[u8]) -> Descriptor {
        self.store.blobs().put_bytes(bytes).unwrap();
        Descriptor::of(media_type::OCI_LAYER_GZIP, bytes)
    }
}

impl Run {
    pub async fn get(&self, key: &Digest) -> Option<Found> {
        self.caches.get(&self.access, EntryKind::Step, key).await
    }

    pub async fn fetch(&self, blob: &Descriptor) -> bool {
        self.caches.fetch(blob, &|_, _| {}).await.unwrap()
    }

    /// Offers and waits until it is there.
    pub async fn write(&self, entry: Entry) {
        self.caches.offer(&self.access, entry, false);
        self.finish().await;
    }

    pub async fn finish(&self) {
        self.caches.finish(&|_, _| {}).await;
    }

    /// What was told so far.
    pub fn notices(&self) -> Vec<String> {
        self.notices.0.lock().unwrap().clone()
    }
}

/// A step's result that needs `blobs`.
pub fn step(key: &Digest, value: &str, blobs: &[&Descriptor]) -> Entry {
    Entry {
        kind: EntryKind::Step,
        key: *key,
        value: serde_json::json!({ "result": value }),
        blobs: blobs.iter().map(|blob| (*blob).clone()).collect(),
    }
}

/// Bytes that nothing compresses and no other seed gives, as layers are.
pub fn layer(seed: &str, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut last = Digest::of(seed);
    while bytes.len() < length {
        bytes.extend_from_slice(last.as_bytes());
        last = Digest::of(last.as_bytes());
    }
    bytes.truncate(length);
    bytes
}
