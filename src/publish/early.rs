//! Blobs that travel before their image is published: while it is written down and verified and others are built, they
//! arrive.
//!
//! Nothing leads to them until its manifest stands, so a run that fails after all has published nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};

use crate::base::{Digest, Reference};
use crate::oci::Descriptor;
use crate::registry::Registry;
use crate::store::Store;

/// Blobs on their way, by repository.
#[derive(Clone, Default)]
pub struct EarlyBlobs {
    sent: Arc<Mutex<BTreeMap<(String, Digest), Sent>>>,
}

/// Whether it arrived, in the end.
type Sent = Shared<BoxFuture<'static, bool>>;

impl EarlyBlobs {
    /// Sends a blob of the store to a repository that hardly has it, once.
    pub fn send(&self, registry: &Registry, store: &Store, repository: &Reference, blob: &Descriptor) {
        let key = (repository.name(), blob.digest);
        let mut sent = self.sent();
        if sent.contains_key(&key) {
            return;
        }
        let (registry, store, repository, blob) =
            (registry.clone(), store.clone(), repository.clone(), blob.clone());
        let sending = async move {
            let open = || store.blobs().open(&blob.digest);
            registry.send_blob(&repository, &blob, &open, &|_, _| {}).await.is_ok()
        };
        let sending = sending.boxed().shared();
        tokio::spawn(sending.clone());
        sent.insert(key, sending);
    }

    /// Waits for a blob if it is on its way; whether it arrived. What went wrong is told to whoever pushes it then.
    pub async fn has(&self, repository: &Reference, blob: &Digest) -> bool {
        let sent = self.sent().get(&(repository.name(), *blob)).cloned();
        match sent {
            Some(sent) => sent.await,
            None => false,
        }
    }

    fn sent(&self) -> MutexGuard<'_, BTreeMap<(String, Digest), Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
