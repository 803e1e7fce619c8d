//! What comes from elsewhere: files over HTTP, git repositories, archives, standard input. First pinned, to a
//! digest or a commit, then fetched as a folder of the store; either happens once per run.
//!
//! ```text
//! <store>/snapshots/source/<hex>/fs   the files of a pinned source; the name is the digest of its identity
//! <store>/snapshots/archive/<hex>/fs  an archive's files; the name is the digest of its bytes
//! <store>/snapshots/git/<hex>/fs      a bare repository; the name is the digest of its remote
//! ```
//!
//! Credentials go to their host alone, and nothing that is shown has any. Knows neither Dockerfiles nor engines.

mod archive;
mod auth;
mod context;
mod error;
mod git;
mod http;
mod stdin;
#[cfg(target_os = "linux")]
mod unpacking;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::base::{Digest, PinnedSource, RemoteSource};
use crate::http::{ClientOptions, Clients, Retries};
use crate::lock::Pins;
use crate::store::{Flight, SnapshotKey, Store};

pub use auth::SourceAuth;
pub use context::ContextFiles;
pub use error::SourceError;
pub use git::GitEnvironment;
pub use stdin::Stdin;

/// How sources are asked.
#[derive(Clone, Debug)]
pub struct SourceOptions {
    pub git: GitEnvironment,
    pub user_agent: String,
    pub retries: Retries,
    pub connect_timeout: Duration,
    /// How long a connection may be silent.
    pub stall: Duration,
    /// What is known before anybody is asked.
    pub pins: Pins,
    /// Nobody is asked anything.
    pub is_offline: bool,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            git: GitEnvironment::default(),
            user_agent: concat!("mab/", env!("CARGO_PKG_VERSION")).to_string(),
            retries: Retries { attempts: 4, ..Retries::default() },
            connect_timeout: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            pins: Pins::default(),
            is_offline: false,
        }
    }
}

/// The sources of a run. Clones share what is known.
#[derive(Clone)]
pub struct Sources {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    options: SourceOptions,
    clients: OnceLock<Result<Clients, String>>,
    stdin: Stdin,
    /// The folder that standard input was written to.
    stdin_read: Mutex<Option<PathBuf>>,
    pinned: Mutex<BTreeMap<RemoteSource, Arc<OnceCell<PinnedSource>>>>,
    fetched: Mutex<BTreeMap<Digest, Arc<OnceCell<PathBuf>>>>,
}

impl Sources {
    /// Nothing is contacted before the first question.
    pub fn new(store: Store, options: SourceOptions, stdin: Stdin) -> Self {
        let clients = OnceLock::new();
        let (stdin_read, pinned, fetched) = Default::default();
        Self { inner: Arc::new(Inner { store, options, clients, stdin, stdin_read, pinned, fetched }) }
    }

    /// What the source is now. Whoever asks again in the same run is told the same.
    pub async fn pin(&self, source: &RemoteSource, auth: &SourceAuth) -> Result<PinnedSource, SourceError> {
        let cell = {
            let mut pinned = self.inner.pinned.lock().unwrap_or_else(PoisonError::into_inner);
            pinned.entry(source.clone()).or_default().clone()
        };
        let pinned = cell.get_or_try_init(|| async {
            let pins = &self.options().pins;
            let pinned = match pins.source(source)? {
                Some(pinned) => pinned,
                None => self.look_up(source, auth).await?,
            };
            pins.note_source(source, &pinned);
            Ok(pinned)
        });
        pinned.await.cloned()
    }

    async fn look_up(&self, source: &RemoteSource, auth: &SourceAuth) -> Result<PinnedSource, SourceError> {
        match source {
            RemoteSource::Http { url, checksum } => self.pin_http(url, *checksum, auth).await,
            RemoteSource::Git(git) => Ok(PinnedSource::Git(self.pin_git(git, auth).await?)),
        }
    }

    /// An error where nobody may be asked.
    fn expect_network(&self, what: &str) -> Result<(), SourceError> {
        match self.options().is_offline {
            true => Err(SourceError::Offline { what: what.to_string() }),
            false => Ok(()),
        }
    }

    /// The folder with the source's files, which stays as long as this process lives: the file alone, or the
    /// files of the commit.
    pub async fn fetch(&self, pinned: &PinnedSource, auth: &SourceAuth) -> Result<PathBuf, SourceError> {
        let cell = {
            let mut fetched = self.inner.fetched.lock().unwrap_or_else(PoisonError::into_inner);
            fetched.entry(pinned.identity().digest()).or_default().clone()
        };
        let path = cell.get_or_try_init(|| async {
            let key = snapshot_key(pinned);
            if let Some(path) = self.store().snapshots().get(&key)? {
                return Ok(path);
            }
            // Another process may be at it.
            let _turn = self.exclusive(pinned.identity().digest()).await?;
            if let Some(path) = self.store().snapshots().get(&key)? {
                return Ok(path);
            }
            match pinned {
                PinnedSource::Http { url, digest } => self.fetch_http(url, digest, auth).await,
                PinnedSource::Git(commit) => self.fetch_git(commit, auth).await,
            }
        });
        path.await.cloned()
    }

    /// The time that the source says it is of: the committer's, or the server's for the file.
    pub async fn time(&self, pinned: &PinnedSource, auth: &SourceAuth) -> Result<Option<i64>, SourceError> {
        match pinned {
            PinnedSource::Git(commit) => self.committed(commit, auth).await.map(Some),
            PinnedSource::Http { url, .. } => {
                let file = self.fetch(pinned, auth).await?.join(url.file_name());
                match http::modified(&file)? {
                    Some(time) => Ok(Some(time)),
                    None => self.newest_in_archive(&file).await,
                }
            }
        }
    }

    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    fn options(&self) -> &SourceOptions {
        &self.inner.options
    }

    fn clients(&self) -> Result<&Clients, SourceError> {
        let options = self.options();
        let clients = self.inner.clients.get_or_init(|| {
            Clients::new(&ClientOptions {
                user_agent: &options.user_agent,
                root_certificates: &[],
                connect_timeout: options.connect_timeout,
            })
        });
        let failed = |cause: &String| SourceError::Local {
            action: "make an HTTP client",
            cause: std::io::Error::other(cause.clone()),
        };
        clients.as_ref().map_err(failed)
    }

    /// Keeps other processes from the same work until the guard is dropped.
    async fn exclusive(&self, work: Digest) -> Result<Flight, SourceError> {
        let store = self.store().clone();
        Ok(blocking(move || store.exclusive(&work)).await?)
    }
}

fn snapshot_key(pinned: &PinnedSource) -> SnapshotKey {
    SnapshotKey::new("source", pinned.identity().digest())
}

/// Runs blocking work on the blocking pool.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The pool drops work only while the program ends; then nobody waits for this.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests;
