//! Where tags point, looked at before it is known what they are to point to.
//!
//! A look that was made a moment ago is not made again: it was made within the run, as one made now would be. It is
//! forgotten soon, so that a build that takes its time does not go by what was before it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, Shared};
use futures_util::{FutureExt as _, StreamExt as _, stream};

use crate::base::Reference;
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
}

#[derive(Clone)]
struct Look {
    since: Instant,
    answer: Shared<BoxFuture<'static, Answer>>,
}

impl TagLooks {
    pub fn new(registry: Registry) -> Self {
        Self { registry, looks: Arc::default() }
    }

    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Looks at tags that somebody will ask for, a few at a time. What goes wrong is told to whoever asks.
    pub async fn begin(&self, tags: Vec<Reference>) {
        let looking = tags.into_iter().map(|tag| async move {
            let _ = self.look(&tag).answer.await;
        });
        stream::iter(looking.collect::<Vec<_>>()).buffer_unordered(BESIDE).collect::<()>().await;
    }

    /// Where a tag points; `None` when it does not exist.
    pub async fn at(&self, tag: &Reference) -> Answer {
        let look = self.look(tag);
        if look.since.elapsed() <= LASTING
            && let Ok(found) = look.answer.await
        {
            return Ok(found);
        }
        // What failed beside the builds may be over.
        self.registry.head(tag).await
    }

    fn look(&self, tag: &Reference) -> Look {
        let begin = || {
            let (registry, tag) = (self.registry.clone(), tag.clone());
            let answer = async move { registry.head(&tag).await }.boxed().shared();
            Look { since: Instant::now(), answer }
        };
        self.looks().entry(tag.clone()).or_insert_with(begin).clone()
    }

    fn looks(&self) -> MutexGuard<'_, BTreeMap<Reference, Look>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
