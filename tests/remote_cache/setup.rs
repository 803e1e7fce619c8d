//! A cache of some kind, with the ways in which it can be damaged.

use std::fs;
use std::path::PathBuf;

use mab::base::Digest;
use mab::model::{CacheEntry, CacheKind};

use crate::machine::{Machine, entry_of};
use crate::objects::ObjectServer;
use crate::proxy::{Fault, Proxy};

pub struct Setup {
    pub entry: CacheEntry,
    pub environment: Vec<(&'static str, String)>,
    pub way: Way,
}

/// How the tests come between a machine and the cache.
pub enum Way {
    Folder(tempfile::TempDir),
    Proxy(Proxy),
}

impl Setup {
    pub fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let entry = entry_of(CacheKind::Local, &[("path", folder.path().to_str().unwrap())]);
        Self { entry, environment: Vec::new(), way: Way::Folder(folder) }
    }

    /// A new repository of the real registry; `None` where there is none.
    pub async fn registry() -> Option<Self> {
        let Ok(address) = std::env::var("MAB_TEST_REGISTRY") else {
            crate::skip("what needs a registry: see tests/services/start");
            return None;
        };
        let proxy = Proxy::start(&address).await;
        let repository = format!("{}/cache/{:016x}", proxy.address, getrandom::u64().unwrap());
        let entry = entry_of(CacheKind::Registry, &[("ref", &repository)]);
        Some(Self { entry, environment: Vec::new(), way: Way::Proxy(proxy) })
    }

    async fn objects(entry: impl Fn(&str) -> CacheEntry) -> Self {
        let server = ObjectServer::start().await;
        let proxy = Proxy::start(&server.address).await;
        let entry = entry(&format!("http://{}", proxy.address));
        Self { entry, environment: Vec::new(), way: Way::Proxy(proxy) }
    }

    pub async fn s3() -> Self {
        Self::objects(|url| {
            let keys = [("access_key_id", "me"), ("secret_access_key", "secret")];
            let place = [("bucket", "builds"), ("region", "eu-1"), ("endpoint_url", url), ("prefix", "a/b")];
            entry_of(CacheKind::S3, &[keys.as_slice(), place.as_slice()].concat())
        })
        .await
    }

    pub async fn azblob() -> Self {
        Self::objects(|url| {
            let account = [("account_url", url), ("account_name", "me"), ("secret_access_key", "c2VjcmV0")];
            entry_of(CacheKind::Azblob, &[account.as_slice(), &[("container", "builds")]].concat())
        })
        .await
    }

    pub async fn gcs() -> Self {
        let mut setup =
            Self::objects(|url| entry_of(CacheKind::Gcs, &[("bucket", "builds"), ("endpoint_url", url)]))
                .await;
        setup.environment.push(("STORAGE_EMULATOR_HOST", setup.entry.parameters["endpoint_url"].clone()));
        setup
    }

    pub async fn webdav() -> Self {
        Self::objects(|url| {
            let user = [("username", "me"), ("password", "secret")];
            entry_of(
                CacheKind::Webdav,
                &[user.as_slice(), &[("url", url), ("prefix", "builds/shop")]].concat(),
            )
        })
        .await
    }

    /// GitHub's service, in version 1 or 2.
    pub async fn github(version: u32) -> Self {
        let mut setup = Self::objects(|_| entry_of(CacheKind::Gha, &[("scope", "main")])).await;
        let url = format!("http://{}/", setup.proxy().unwrap().address);
        let (address, is_second) =
            if version == 2 { ("ACTIONS_RESULTS_URL", "true") } else { ("ACTIONS_CACHE_URL", "") };
        setup.environment.push((address, url));
        setup.environment.push(("ACTIONS_CACHE_SERVICE_V2", is_second.to_string()));
        setup.environment.push(("ACTIONS_RUNTIME_TOKEN", "job".to_string()));
        setup
    }

    pub fn machine(&self) -> Machine {
        let environment = self.environment.iter().map(|(name, value)| (*name, value.as_str()));
        Machine::new(&self.entry, &environment.collect::<Vec<_>>())
    }

    /// What the service of GitHub holds stays until it is dropped: nobody can write it anew.
    pub fn is_never_mended(&self) -> bool {
        self.entry.kind == CacheKind::Gha
    }

    /// The requests that write, by their methods and parts of their paths.
    pub fn writing(&self) -> &'static [(&'static str, &'static str)] {
        match self.entry.kind {
            CacheKind::Gha => &[("POST", "CreateCacheEntry"), ("POST", "artifactcache/caches")],
            _ => &[("PUT", ""), ("POST", "")],
        }
    }

    pub fn proxy(&self) -> Option<&Proxy> {
        match &self.way {
            Way::Folder(_) => None,
            Way::Proxy(proxy) => Some(proxy),
        }
    }

    /// From now on the blob comes so.
    pub fn damage_blob(&self, digest: &Digest, fault: Fault) {
        self.damage("blobs", &digest.hex(), fault);
    }

    /// From now on the entry comes so.
    pub fn damage_entry(&self, key: &Digest, fault: Fault) {
        self.damage("step", &key.hex(), fault);
    }

    fn damage(&self, folder: &str, name: &str, fault: Fault) {
        match &self.way {
            Way::Proxy(proxy) => proxy.plan("GET", name, fault, None),
            Way::Folder(root) => damage_file(root.path().join("mab/v1").join(folder).join(name), fault),
        }
    }

    /// Faults of a proxy end, those of files stay.
    pub fn heal(&self) {
        if let Way::Proxy(proxy) = &self.way {
            proxy.heal();
        }
    }
}

fn damage_file(path: PathBuf, fault: Fault) {
    let mut bytes = fs::read(&path).unwrap();
    match fault {
        Fault::Short => bytes.truncate(bytes.len() / 2),
        Fault::Altered => *bytes.last_mut().unwrap() ^= 1,
        Fault::Garbage => bytes = b"garbage".to_vec(),
        Fault::Swapped(_, other) => bytes = fs::read(path.with_file_name(other)).unwrap(),
        other => panic!("a file cannot have the fault {other:?}"),
    }
    fs::write(path, bytes).unwrap();
}
