//! Uploads that are begun before it is known what they carry.
//!
//! That one can be begun shows that the credentials may push. It is kept for the first blob of its repository that comes
//! within a while; what nobody took is dropped in the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};
use reqwest::{Method, Url};

use super::client::Registry;
use super::endpoint::Repository;
use super::error::RegistryError;
use super::push::call;
use crate::base::Reference;
use crate::http::retrying;

/// Registries forget uploads, but none so soon.
const LASTING: Duration = Duration::from_secs(30);
/// How long dropping may take: registries forget by themselves what is not dropped.
const DROPPING: Duration = Duration::from_secs(5);

/// Those of a registry, by repository.
#[derive(Default)]
pub struct BegunUploads(Mutex<BTreeMap<String, Vec<Begun>>>);

struct Begun {
    location: Location,
    since: Instant,
}

/// Where the bytes go, once the registry has said so.
type Location = Shared<BoxFuture<'static, Result<Url, RegistryError>>>;

impl BegunUploads {
    fn keep(&self, repository: &str, location: Location) {
        let begun = Begun { location, since: Instant::now() };
        self.all().entry(repository.to_string()).or_default().push(begun);
    }

    /// One that is young enough to be gone on with. One that the registry has not answered yet is waited for.
    pub(super) async fn take(&self, repository: &str) -> Option<Url> {
        loop {
            let location = self.take_any(repository)?;
            if let Ok(location) = location.await {
                return Some(location);
            }
        }
    }

    fn take_any(&self, repository: &str) -> Option<Location> {
        let mut all = self.all();
        let begun = all.get_mut(repository)?;
        let place = begun.iter().position(|begun| begun.since.elapsed() < LASTING)?;
        Some(begun.swap_remove(place).location)
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Begun>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Whether the credentials may push to a repository: begins an upload, which waits for a blob.
    pub async fn begin_upload(&self, name: &Reference) -> Result<(), RegistryError> {
        let repository = self.repository(name).await?;
        let _permit = repository.permit().await;
        self.beginning(&repository).await.map(drop)
    }

    /// Begins a few more uploads without waiting for the registry's answers: whoever needs one does.
    pub async fn begin_uploads_beside(&self, name: &Reference, count: usize) {
        let Ok(repository) = self.repository(name).await else { return };
        for _ in 0..count {
            tokio::spawn(self.beginning(&repository));
        }
    }

    /// An upload that begins now, and is kept. It waits for no permit: who has one may be waiting for it.
    fn beginning(&self, repository: &Repository) -> Location {
        let (registry, beginning) = (self.clone(), repository.clone());
        let location = async move {
            let what = format!("pushing to `{}/{}`", beginning.host(), beginning.name());
            retrying(registry.retries(), || begin(&beginning, &what)).await
        };
        let location = location.boxed().shared();
        repository.uploads().keep(repository.name(), location.clone());
        location
    }

    /// Drops uploads that no blob came for. Not every registry can; those that cannot forget them after a while.
    pub async fn drop_uploads(&self) {
        let mut drops = Vec::new();
        for endpoint in self.known() {
            let begun = std::mem::take(&mut *endpoint.uploads.all());
            for (name, begun) in begun {
                let repository = endpoint.repository(&name);
                drops.extend(begun.into_iter().map(|begun| drop_upload(repository.clone(), begun.location)));
            }
        }
        let _ = tokio::time::timeout(DROPPING, join_all(drops)).await;
    }
}

async fn drop_upload(repository: Repository, location: Location) {
    let Ok(location) = location.await else { return };
    let what = format!("an upload to `{}`", repository.name());
    let _ = repository.send(call(Method::DELETE, location, vec![repository.scope(true)], &what)).await;
}

/// Where the registry waits for an upload's bytes.
pub(super) async fn begin(repository: &Repository, what: &str) -> Result<Url, RegistryError> {
    let url = repository.url("blobs/uploads/")?;
    let response = repository.send(call(Method::POST, url, vec![repository.scope(true)], what)).await?;
    repository.location(&response)
}
