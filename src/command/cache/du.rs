//! `mab cache du`: what the store holds, and how much of it would go.

use std::path::PathBuf;

use crate::command::Failure;
use crate::command::prune::{self, PruneRules};
use crate::command::session::{self, SessionOptions};
use crate::command::user;
use crate::diag::Problem;
use crate::engine::embedded::measure_trees;
use crate::facts::Facts;
use crate::store::{Gone, Holding, Kind, PruneOptions, Store};

/// What the store holds of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub kind: Kind,
    pub count: usize,
    pub bytes: u64,
    /// Of these bytes, those of blobs that several records need.
    pub shared: u64,
    /// What `mab prune` would remove now.
    pub reclaimable: u64,
    /// In seconds since the epoch.
    pub last_used: Option<i64>,
}

/// Every kind, also those of which there is nothing.
pub async fn du(session: &SessionOptions, facts: &Facts) -> Result<Vec<Usage>, Failure> {
    let store = session::open_store(session, facts).map_err(|problem| vec![*problem])?;
    let failed = |problem: Box<Problem>| vec![*problem];
    let rules = PruneRules { is_dry_run: true, ..PruneRules::default() };
    let folder_bytes = prune::measured(&store).await.map_err(failed)?;
    let options = prune::options(&rules, &user::config(facts)?);
    let options = PruneOptions { folder_bytes: folder_bytes.clone(), ..options };
    let pruned = store.prune(&options).map_err(|error| vec![error.problem()])?;
    let holdings = store.holdings().map_err(|error| vec![error.problem()])?;
    let mut usages = Vec::with_capacity(holdings.len());
    for (kind, holding) in holdings {
        let gone = pruned.of(kind);
        let usage = Usage {
            kind,
            count: holding.count,
            bytes: holding.bytes
                + holding.trees.iter().filter_map(|tree| folder_bytes.get(&tree.path)).sum::<u64>(),
            shared: holding.shared,
            reclaimable: gone.bytes,
            last_used: holding.last_used,
        };
        usages.push(match kind {
            Kind::Remains => remains(&store, usage, &holding, &gone).await.map_err(failed)?,
            _ => usage,
        });
    }
    Ok(usages)
}

/// All of it goes: what waits for its removal, and what prune finds.
async fn remains(store: &Store, usage: Usage, dead: &Holding, gone: &Gone) -> Result<Usage, Box<Problem>> {
    let paths: Vec<PathBuf> =
        dead.trees.iter().map(|tree| tree.path.clone()).chain(gone.folders.iter().cloned()).collect();
    let bytes = measure_trees(store, &paths).await?.iter().sum::<u64>() + gone.bytes;
    Ok(Usage { count: dead.count + gone.count, bytes, reclaimable: bytes, ..usage })
}
