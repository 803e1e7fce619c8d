//! Whether repositories take what is pushed, tried as soon as something is to be pushed to them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use tokio::sync::OnceCell;

use crate::base::Reference;
use crate::diag::Problem;
use crate::registry::Registry;

/// What repositories have against being pushed to; each is asked once.
#[derive(Default)]
pub struct Access {
    tried: Mutex<BTreeMap<String, Arc<OnceCell<Option<Problem>>>>>,
}

impl Access {
    /// Begins an upload in every repository that was not tried before, and beside it `more` that are likely to be needed;
    /// the answer is what all of them have against it.
    pub async fn refusals(&self, registry: &Registry, names: &[&Reference], more: usize) -> Vec<Problem> {
        let repositories: BTreeMap<String, &Reference> =
            names.iter().map(|name| (name.name(), *name)).collect();
        let tried = repositories.into_iter().map(|(name, repository)| async move {
            let answer = self.of(name);
            let ask = || async {
                let refusal = registry.begin_upload(repository).await.err();
                if refusal.is_none() {
                    registry.begin_uploads_beside(repository, more).await;
                }
                refusal.map(|error| error.problem())
            };
            answer.get_or_init(ask).await.clone()
        });
        join_all(tried).await.into_iter().flatten().collect()
    }

    fn of(&self, repository: String) -> Arc<OnceCell<Option<Problem>>> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).entry(repository).or_default().clone()
    }
}
