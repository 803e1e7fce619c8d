//! The client: one value for all registries of a run, cheap to clone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::auth::Credentials;
use super::endpoint::{Endpoint, Repository};
use super::error::RegistryError;
use super::host::Host;
use super::transport::Transport;
use crate::base::Reference;
use crate::http::{Retries, retrying};

/// Told how many of how many bytes are done.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// How a client behaves. Plain values; nothing is read from the environment but what the libraries beneath
/// read themselves: HTTPS_PROXY and its kin, SSL_CERT_FILE, SSL_CERT_DIR.
#[derive(Clone)]
pub struct RegistryOptions {
    pub credentials: Credentials,
    pub retries: Retries,
    pub user_agent: String,
    /// Registries that may be spoken to without TLS, as a reference names them: `registry.local:5000`. Those on
    /// loopback always may.
    pub insecure: Vec<String>,
    /// By the name of a registry: hosts, perhaps with a folder, that are asked first for what is pulled.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// By the name of a registry: roots that are trusted besides the system's for what it says and where it
    /// leads to, each in PEM.
    pub root_certificates: BTreeMap<String, Vec<Vec<u8>>>,
    /// Registries whose manifests have a tag from the start, since they collect what has none.
    pub staging_tags: Vec<String>,
    /// How many exchanges with one registry run at once.
    pub concurrency: usize,
    pub connect_timeout: Duration,
    /// How long a connection may be silent.
    pub stall: Duration,
    /// Nobody is asked anything.
    pub is_offline: bool,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::none(),
            retries: Retries::default(),
            user_agent: concat!("mab/", env!("CARGO_PKG_VERSION")).to_string(),
            insecure: Vec::new(),
            mirrors: BTreeMap::new(),
            root_certificates: BTreeMap::new(),
            staging_tags: Vec::new(),
            concurrency: 8,
            connect_timeout: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            is_offline: false,
        }
    }
}

/// The client of all registries.
#[derive(Clone)]
pub struct Registry {
    transport: Arc<Transport>,
    endpoints: Arc<Mutex<BTreeMap<Host, SharedEndpoint>>>,
}

/// Connected to by whoever comes first; a failure is not remembered.
type SharedEndpoint = Arc<OnceCell<Arc<Endpoint>>>;

impl Registry {
    /// Makes the client; nothing is contacted and no certificate is read before the first request.
    pub fn new(options: RegistryOptions) -> Self {
        Self { transport: Arc::new(Transport::new(options)), endpoints: Arc::default() }
    }

    /// Another client that knows what this one knows, but for what `change` changes.
    pub fn adjusted(&self, change: impl FnOnce(&mut RegistryOptions)) -> Self {
        let mut options = self.options().clone();
        change(&mut options);
        Self::new(options)
    }

    /// How it was told to behave.
    pub fn options(&self) -> &RegistryOptions {
        self.transport.options()
    }

    pub(super) fn retries(&self) -> &Retries {
        &self.transport.options().retries
    }

    /// Where something may be pulled from: mirrors in their order, then the registry itself.
    pub(super) fn sources(&self, reference: &Reference) -> Vec<Reference> {
        let host = Host::of(reference.registry());
        let mirrors = self.transport.options().mirrors.iter();
        let mirrors = mirrors.filter(|(name, _)| Host::of(name) == host).flat_map(|(_, mirrors)| mirrors);
        let digest = reference.digest();
        let mirrored = mirrors.filter_map(|mirror| {
            let name = format!("{}/{}", mirror.trim_end_matches('/'), reference.repository());
            let name = name.parse::<Reference>().ok()?;
            let name = match reference.tag() {
                Some(tag) => name.with_tag(tag).ok()?,
                None => name,
            };
            Some(digest.map_or(name.clone(), |digest| name.with_digest(digest)))
        });
        mirrored.chain([reference.clone()]).collect()
    }

    /// Whether the registry of `reference` is on this machine, and so shares its processors.
    pub fn is_on_this_machine(reference: &Reference) -> bool {
        Host::of(reference.registry()).is_loopback()
    }

    /// Finds out how the registry of `reference` is spoken to, so that it is known when it is needed. What goes wrong
    /// is told to whoever needs it.
    pub async fn approach(&self, reference: &Reference) {
        let _ = self.repository(reference).await;
    }

    /// The registries that were spoken to.
    pub(super) fn known(&self) -> Vec<Arc<Endpoint>> {
        let endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        endpoints.values().filter_map(|endpoint| endpoint.get().cloned()).collect()
    }

    pub(super) async fn repository(&self, reference: &Reference) -> Result<Repository, RegistryError> {
        let host = Host::of(reference.registry());
        if self.transport.options().is_offline {
            return Err(RegistryError::Offline { what: reference.name() });
        }
        let shared = {
            let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(endpoints.entry(host.clone()).or_default())
        };
        let connect = || async {
            let credentials = self.transport.options().credentials.clone();
            Endpoint::connect(host.clone(), Arc::clone(&self.transport), credentials).await.map(Arc::new)
        };
        let endpoint = shared.get_or_try_init(|| retrying(self.retries(), connect)).await?;
        Ok(endpoint.repository(reference.repository()))
    }
}
