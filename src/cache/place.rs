//! One place of caches: a backend with the patience it gets, and what is known of it in this run.
//!
//! Every exchange passes here, so that failures are counted, told once, and end in leaving the place alone.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OnceCell, Semaphore};

use super::backend::{Backend, BlobUpload, Progress};
use super::circuit::Circuit;
use super::entry::{Document, Entry, EntryKind};
use super::repository::MOST_QUESTIONS;
use super::{CacheError, Patience};
use crate::base::{Digest, Reference};
use crate::diag::Problem;
use crate::event::{Event, EventSink};
use crate::http::retrying;
use crate::oci::Descriptor;

pub struct Place {
    /// For messages: the cache's name, or the place as bake says it.
    pub name: String,
    /// What tells it from all other places, on every machine.
    pub address: String,
    backend: Box<dyn Backend>,
    patience: Arc<Patience>,
    events: Arc<dyn EventSink>,
    reading: Circuit,
    writing: Circuit,
    questions: Semaphore,
    /// Blobs on their way there. An upload may wait for a download from elsewhere, so these are apart.
    pub transfers: Semaphore,
    downloads: Semaphore,
    state: Mutex<State>,
}

/// Uploaded by whoever comes first.
pub type SharedUpload = Arc<OnceCell<()>>;

#[derive(Default)]
struct State {
    /// Entries that were offered: further ones of the same key are not sent.
    offered: BTreeSet<Digest>,
    /// Entries that are there, as this run has seen.
    standing: BTreeSet<(EntryKind, Digest)>,
    /// What is there and is broken: written anew.
    damaged_entries: BTreeSet<(EntryKind, Digest)>,
    damaged_blobs: BTreeSet<Digest>,
    uploads: BTreeMap<Digest, SharedUpload>,
    written: u32,
    /// Uploads that were begun and have not ended well.
    pending: u32,
}

const MOST_TRANSFERS: usize = 8;

/// Which way something goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Reading,
    Writing,
}

impl Place {
    pub fn new(
        name: String,
        address: String,
        backend: Box<dyn Backend>,
        patience: Arc<Patience>,
        events: Arc<dyn EventSink>,
    ) -> Self {
        Self {
            name,
            address,
            backend,
            patience,
            events,
            reading: Circuit::default(),
            writing: Circuit::default(),
            questions: Semaphore::new(MOST_QUESTIONS),
            transfers: Semaphore::new(MOST_TRANSFERS),
            downloads: Semaphore::new(MOST_TRANSFERS),
            state: Mutex::default(),
        }
    }

    pub fn repository(&self) -> Option<&Reference> {
        self.backend.repository()
    }

    /// A place that cannot be read is not written to either: it is mostly not there at all.
    pub fn takes_more(&self) -> bool {
        !self.reading.is_open() && !self.writing.is_open()
    }

    /// The entry, if the place has it whole.
    pub async fn look_up(&self, kind: EntryKind, key: &Digest) -> Option<Entry> {
        let _permit = self.questions.acquire().await.ok()?;
        if self.reading.is_open() {
            return None;
        }
        let found = self.asking(|| self.backend.entry(kind, key)).await;
        let entry = found.and_then(|bytes| bytes.map(|bytes| Entry::parse(kind, key, &bytes)).transpose());
        if matches!(&entry, Err(error) if error.is_damage()) {
            self.state().damaged_entries.insert((kind, *key));
        }
        self.judged(Way::Reading, entry).flatten()
    }

    /// Writes a blob to an empty file; false when it could not be had. Only what this machine did wrong is an
    /// error.
    pub async fn bring(
        &self,
        blob: &Descriptor,
        to: &std::fs::File,
        progress: Progress<'_>,
    ) -> Result<bool, CacheError> {
        let _permit = self.downloads.acquire().await;
        if self.reading.is_open() {
            return Ok(false);
        }
        let read = match self.backend.read_blob(blob, to, progress).await {
            Ok(false) => Err(CacheError::Lost { digest: blob.digest }),
            other => other,
        };
        match read {
            Err(error) if error.is_local() => Err(error),
            read => {
                if matches!(&read, Err(error) if error.is_damage()) {
                    self.state().damaged_blobs.insert(blob.digest);
                }
                Ok(self.judged(Way::Reading, read).is_some())
            }
        }
    }

    pub async fn has_entry(&self, kind: EntryKind, key: &Digest) -> Result<bool, CacheError> {
        if self.state().damaged_entries.contains(&(kind, *key)) {
            return Ok(false);
        }
        let _permit = self.questions.acquire().await;
        self.asking(|| self.backend.has_entry(kind, key)).await
    }

    pub async fn has_blob(&self, blob: &Descriptor) -> Result<bool, CacheError> {
        if self.state().damaged_blobs.contains(&blob.digest) {
            return Ok(false);
        }
        let _permit = self.questions.acquire().await;
        self.asking(|| self.backend.has_blob(blob)).await
    }

    pub async fn write_blob(&self, upload: BlobUpload<'_>) -> Result<(), CacheError> {
        self.backend.write_blob(upload).await
    }

    pub async fn write_entry(&self, document: &Document) -> Result<(), CacheError> {
        let _permit = self.questions.acquire().await;
        self.asking(|| self.backend.write_entry(document)).await
    }

    /// Tries as often as patience has it, each time for as long as a question may take; and waits once for a cache
    /// that says when to return.
    async fn asking<'a, T, F>(&self, mut ask: impl FnMut() -> F) -> Result<T, CacheError>
    where
        F: Future<Output = Result<T, CacheError>> + 'a,
    {
        let (limit, retries) = (self.patience.lookup, &self.patience.retries);
        let tries = retrying(retries, || {
            let asked = ask();
            async move {
                let answer = tokio::time::timeout(limit, asked).await;
                answer.unwrap_or(Err(CacheError::TimedOut(limit)))
            }
        });
        let all = limit + retries.longest_retry_after;
        tokio::time::timeout(all, tries).await.unwrap_or(Err(CacheError::TimedOut(all)))
    }

    /// Ends an upload: counts it, and tells when it was one too many.
    pub fn uploaded(&self, document: &Document, result: Result<(), CacheError>) -> bool {
        let is_written = self.judged(Way::Writing, result).is_some();
        let mut state = self.state();
        if is_written {
            state.written += 1;
            state.pending -= 1;
            state.damaged_entries.remove(&(document.kind, document.key));
        }
        is_written
    }

    /// Whether an entry is to be sent, which it is once.
    pub fn is_new_offer(&self, document: &Document) -> bool {
        let key = match document.kind.is_replaced() {
            true => Digest::of(&document.bytes),
            false => Digest::of(format!("{} {}", document.kind.name(), document.key)),
        };
        self.state().offered.insert(key)
    }

    pub fn is_standing(&self, kind: EntryKind, key: &Digest) -> bool {
        self.state().standing.contains(&(kind, *key))
    }

    pub fn note_standing(&self, kind: EntryKind, key: &Digest) {
        self.state().standing.insert((kind, *key));
    }

    /// Whether the place holds something under the key that is of no use.
    pub fn is_damaged(&self, kind: EntryKind, key: &Digest) -> bool {
        self.state().damaged_entries.contains(&(kind, *key))
    }

    pub fn note_damage(&self, kind: EntryKind, key: &Digest) {
        let mut state = self.state();
        state.damaged_entries.insert((kind, *key));
        state.standing.remove(&(kind, *key));
    }

    pub fn upload_of(&self, digest: &Digest) -> SharedUpload {
        self.state().uploads.entry(*digest).or_default().clone()
    }

    /// An upload begins.
    pub fn note_pending(&self) {
        self.state().pending += 1;
    }

    fn judged<T>(&self, way: Way, result: Result<T, CacheError>) -> Option<T> {
        let circuit = match way {
            Way::Reading => &self.reading,
            Way::Writing => &self.writing,
        };
        match result {
            Ok(value) => {
                circuit.succeeded();
                Some(value)
            }
            Err(error) => {
                if circuit.failed(&error, self.patience.failures) {
                    self.tell(self.left_alone(way, &error));
                }
                None
            }
        }
    }

    fn left_alone(&self, way: Way, error: &CacheError) -> Problem {
        let help = if error.is_denied() {
            "its credentials do not allow it; correct them, or take the cache out of the file"
        } else {
            "the build goes on without it; when it is well again, the next run uses it"
        };
        let (code, meaning) = match way {
            Way::Reading => {
                ("cache::not-read", "what it may hold is made here, and nothing is written to it")
            }
            Way::Writing if self.state().written > 0 => {
                ("cache::not-written", "nothing more is written to it")
            }
            Way::Writing => ("cache::not-written", "nothing was written to it"),
        };
        Problem::warning(code, format!("cache `{}` is left alone: {error}; {meaning}", self.name)).help(help)
    }

    /// Tells what went wrong and has not been told when it was one too many.
    pub fn tell_failures(&self) {
        if let Some((count, last)) = self.reading.failures() {
            let message = format!(
                "cache `{}` failed {}: {last}; what it may have held was made here",
                self.name,
                times(count)
            );
            self.tell(Problem::warning("cache::failed", message));
        }
        let unwritten = self.state().pending;
        if unwritten > 0 && self.takes_more() {
            let reason = match self.writing.failures() {
                Some((_, last)) => last,
                None => "there was no time left".to_string(),
            };
            let results = if unwritten == 1 { "result was" } else { "results were" };
            let message = format!("{unwritten} {results} not written to cache `{}`: {reason}", self.name);
            self.tell(Problem::warning("cache::failed", message).help("the next run tries again"));
        }
    }

    fn tell(&self, problem: Problem) {
        self.events.emit(Event::Notice { node: None, problem: Arc::new(problem) });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_string() } else { format!("{count} times") }
}
