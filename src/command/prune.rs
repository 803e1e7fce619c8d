//! `mab prune`: removes from the store what no one needs.

use super::Failure;
use super::session::{self, SessionOptions};
use crate::engine::embedded::{measure_trees, remove_trees};
use crate::facts::Facts;
use crate::store::{PruneOptions, Pruned};

/// What a prune removed, or would remove.
#[derive(Clone, Debug)]
pub struct PrunedStore {
    pub pruned: Pruned,
    /// The bytes of the files in caches.
    pub cache_bytes: u64,
}

/// Prunes the store; unpacked trees are removed with the rights they were made with.
pub async fn prune(
    session: &SessionOptions,
    options: &PruneOptions,
    facts: &Facts,
) -> Result<PrunedStore, Failure> {
    let store = session::open_store(session, facts).map_err(|problem| vec![*problem])?;
    let pruned = store.prune(options).map_err(|error| vec![error.problem()])?;
    let contents: Vec<_> = pruned.caches.iter().map(|cache| cache.join("fs")).collect();
    let cache_bytes = measure_trees(&store, &contents).await.map_err(|problem| vec![*problem])?;
    if !options.is_dry_run {
        remove_trees(&store, &pruned.dead_paths).await.map_err(|problem| vec![*problem])?;
    }
    Ok(PrunedStore { pruned, cache_bytes })
}
