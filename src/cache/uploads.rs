//! Uploads beside the build: started when results are offered, waited for at the end, never its failure.
//!
//! An entry is written after its blobs, so whoever finds it finds them. What a cache has already is not sent;
//! what is under way is waited for, not sent twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::CacheError;
use super::backend::{BlobUpload, Progress};
use super::entry::Document;
use super::place::Place;
use super::shared::Shared;
use crate::base::Reference;
use crate::oci::Descriptor;

/// How often progress is told.
const TICK: Duration = Duration::from_millis(200);

#[derive(Default)]
pub struct Uploads {
    tasks: Mutex<JoinSet<()>>,
    bytes: Arc<Bytes>,
}

/// Of blobs that had to be sent.
#[derive(Default)]
struct Bytes {
    done: AtomicU64,
    total: AtomicU64,
}

/// One entry on its way to one place.
struct Upload {
    shared: Arc<Shared>,
    place: Arc<Place>,
    document: Arc<Document>,
    /// Repositories that may have its blobs.
    images: Vec<Reference>,
    bytes: Arc<Bytes>,
}

impl Uploads {
    /// Returns at once. Must be called on a runtime; elsewhere nothing could run beside the build.
    pub fn start(
        &self,
        shared: &Arc<Shared>,
        place: &Arc<Place>,
        document: &Arc<Document>,
        images: &[Reference],
    ) {
        place.note_pending();
        let Ok(runtime) = Handle::try_current() else { return };
        let upload = Upload {
            shared: shared.clone(),
            place: place.clone(),
            document: document.clone(),
            images: images.to_vec(),
            bytes: self.bytes.clone(),
        };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // What has ended holds memory until it is asked for.
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(upload.run(), &runtime);
    }

    /// Waits for all of them, for as long as `limit`; what is not written then is given up.
    pub async fn finish(&self, limit: Duration, progress: Progress<'_>) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let end = Instant::now() + limit;
        let mut told = 0;
        while !tasks.is_empty() && Instant::now() < end {
            // A task that panicked is one that wrote nothing, which its place has on record.
            let _ = tokio::time::timeout_at(end.min(Instant::now() + TICK), tasks.join_next()).await;
            let done = self.bytes.done.load(Ordering::Relaxed);
            if done != told {
                told = done;
                progress(done, self.bytes.total.load(Ordering::Relaxed));
            }
        }
        tasks.shutdown().await;
    }
}

impl Upload {
    async fn run(self) {
        if !self.place.takes_more() {
            return;
        }
        let sent = self.send().await;
        if self.place.uploaded(&self.document, sent) {
            let Document { kind, key, .. } = &*self.document;
            self.shared.memory.note(&self.place, *kind, key);
        }
    }

    async fn send(&self) -> Result<(), CacheError> {
        let Document { kind, key, blobs, .. } = &*self.document;
        if !kind.is_replaced() && self.place.has_entry(*kind, key).await? {
            return Ok(());
        }
        try_join_all(blobs.iter().map(|blob| self.send_blob(blob))).await?;
        self.place.write_entry(&self.document).await
    }

    /// Whoever comes first sends it, the others wait for that.
    async fn send_blob(&self, blob: &Descriptor) -> Result<(), CacheError> {
        let upload = self.place.upload_of(&blob.digest);
        upload.get_or_try_init(|| self.send_new_blob(blob)).await.map(drop)
    }

    async fn send_new_blob(&self, blob: &Descriptor) -> Result<(), CacheError> {
        if self.place.has_blob(blob).await? {
            return Ok(());
        }
        let _permit = self.place.transfers.acquire().await;
        let mut mount_from = self.shared.repositories_with(&blob.digest);
        mount_from.extend(self.images.iter().cloned());
        let store = &self.shared.store;
        let open = || store.blobs().open(&blob.digest);
        let counted = AtomicU64::new(0);
        let progress = |done: u64, _: u64| {
            let before = counted.swap(done, Ordering::Relaxed);
            // A transfer that begins anew goes backwards, which nobody needs to see.
            self.bytes.done.fetch_add(done.saturating_sub(before), Ordering::Relaxed);
        };
        self.bytes.total.fetch_add(blob.size, Ordering::Relaxed);
        let upload = BlobUpload { blob, open: &open, mount_from: &mount_from, progress: &progress };
        if !store.blobs().contains(&blob.digest) && self.is_near(&mount_from) {
            // What a neighbour has need not come here to go there. Where that fails, its bytes are opened, and
            // they are not here.
            match self.place.write_blob(upload).await {
                Err(error) if error.is_local() => {}
                written => return written,
            }
        }
        self.shared.ensure(blob).await?;
        self.place.write_blob(upload).await
    }

    /// Whether the place is in a registry that has one of the repositories.
    fn is_near(&self, repositories: &[Reference]) -> bool {
        let own = self.place.repository();
        own.is_some_and(|own| repositories.iter().any(|other| other.registry() == own.registry()))
    }
}
