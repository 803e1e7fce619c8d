//! Uploads that are begun before it is known what they carry.
//!
//! That one can be begun shows that the credentials may push. It is kept for the first blob of its repository that comes
//! within a while; what nobody took is dropped in the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
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
    location: Url,
    since: Instant,
}

impl BegunUploads {
    fn keep(&self, repository: &str, location: Url) {
        let begun = Begun { location, since: Instant::now() };
        self.all().entry(repository.to_string()).or_default().push(begun);
    }

    /// One that is young enough to be gone on with.
    pub(super) fn take(&self, repository: &str) -> Option<Url> {
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
        let what = format!("pushing to `{}`", name.name());
        let location = retrying(self.retries(), || begin(&repository, &what)).await?;
        repository.uploads().keep(repository.name(), location);
        Ok(())
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

async fn drop_upload(repository: Repository, location: Url) {
    let what = format!("an upload to `{}`", repository.name());
    let _ = repository.send(call(Method::DELETE, location, vec![repository.scope(true)], &what)).await;
}

/// Where the registry waits for an upload's bytes.
pub(super) async fn begin(repository: &Repository, what: &str) -> Result<Url, RegistryError> {
    let url = repository.url("blobs/uploads/")?;
    let response = repository.send(call(Method::POST, url, vec![repository.scope(true)], what)).await?;
    repository.location(&response)
}
