//! Where tags point, and which manifests are there, looked at before it is known what is to be pushed.
//!
//! A look that was made a moment ago is not made again: it was made within the run, as one made now would be. It is
//! forgotten soon, so that a build that takes its time does not go by what was before it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, Shared};
use futures_util::{FutureExt as _, StreamExt as _, stream};

use super::PushSource;
use super::push::visible;
use super::standing::manifests;
use crate::base::{Digest, Reference};
use crate::oci::Descriptor;
use crate::registry::{Registry, RegistryError};

/// How long a look counts.
const LASTING: Duration = Duration::from_secs(2);
/// How many tags are looked at beside other work, which may want the same registry.
const BESIDE: usize = 3;

type Answer = Result<Option<Descriptor>, RegistryError>;

/// The looks of a run.
#[derive(Clone)]
pub struct TagLooks {
    registry: Registry,
    looks: Arc<Mutex<BTreeMap<Reference, Look>>>,
    /// Where tags are to lead to when the run is over.
    expected: Arc<Mutex<BTreeMap<Reference, Descriptor>>>,
}

#[derive(Clone)]
struct Look {
    since: Instant,
    answer: Shared<BoxFuture<'static, Answer>>,
}

impl TagLooks {
    pub fn new(registry: Registry) -> Self {
        Self { registry, looks: Arc::default(), expected: Arc::default() }
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What a tag is to lead to, and so most likely does, where nothing changed.
    pub fn expect(&self, tag: Reference, image: &Descriptor) {
        locked(&self.expected).insert(tag, image.clone());
    }

    /// Looks at tags that somebody will ask for, a few at a time, or one where their registry takes processors from what
    /// goes on beside. What goes wrong is told to whoever asks.
    pub async fn begin(&self, tags: Vec<Reference>) {
        let is_here = tags.iter().any(Registry::is_on_this_machine);
        let at_once = if is_here { 1 } else { BESIDE };
        let looking = tags.into_iter().map(|tag| async move {
            let _ = self.look(&tag).answer.await;
        });
        stream::iter(looking.collect::<Vec<_>>()).buffer_unordered(at_once).collect::<()>().await;
    }

    /// Looks, before another image takes a tag, whether the manifests of the one that has it are still there, as far as
    /// it is known here: what they have need not be pushed.
    pub async fn begin_below(&self, blobs: &dyn PushSource, tag: &Reference) {
        if let Ok(Some(image)) = self.at(tag).await {
            let manifests = manifests(blobs, &image).into_iter();
            self.begin(manifests.map(|(digest, _)| manifest(tag, digest)).collect()).await;
        }
    }

    /// Whether a repository has a manifest.
    pub async fn has(&self, repository: &Reference, digest: Digest) -> Result<bool, RegistryError> {
        Ok(visible(self.at(&manifest(repository, digest)).await)?.is_some())
    }

    /// Where a tag points, or whether a digest is there; `None` when it does not exist.
    pub async fn at(&self, tag: &Reference) -> Answer {
        match self.look(tag).answer.await {
            Ok(found) => Ok(found),
            // What failed beside the builds may be over.
            Err(_) => self.registry.head(tag).await,
        }
    }

    /// The look that was begun a moment ago, or one that begins now.
    fn look(&self, tag: &Reference) -> Look {
        let mut looks = locked(&self.looks);
        if let Some(look) = looks.get(tag).filter(|look| look.since.elapsed() <= LASTING) {
            return look.clone();
        }
        let (registry, asked, expected) = (self.registry.clone(), tag.clone(), self.expected.clone());
        let answer = async move {
            let expected = locked(&expected).get(&asked).cloned();
            match expected {
                Some(expected) => registry.head_expecting(&asked, &expected).await,
                None => registry.head(&asked).await,
            }
        };
        let answer = answer.boxed().shared();
        let look = Look { since: Instant::now(), answer };
        looks.insert(tag.clone(), look.clone());
        look
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The name that a look at a manifest is kept under, whatever tag of the repository it is asked about for.
fn manifest(repository: &Reference, digest: Digest) -> Reference {
    repository.without_tag().with_digest(digest)
}
