//! `mab prune`, `mab cache prune`: removes from the store what no one needs; and the same after a bake, where the
//! user's configuration says how much the store may hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::Failure;
use super::session::{self, SessionOptions};
use super::user;
use crate::config::user::UserConfig;
use crate::diag::Problem;
use crate::engine::embedded::{measure_trees, remove_trees};
use crate::facts::Facts;
use crate::store::{Kind, PruneOptions, Pruned, Store};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const FORTNIGHT: Duration = DAY.saturating_mul(14);

/// What the command line says. What it does not say is the configuration's.
#[derive(Clone, Debug, Default)]
pub struct PruneRules {
    pub unused_for: Option<Duration>,
    pub keep_bytes: Option<u64>,
    pub kinds: BTreeSet<Kind>,
    pub is_dry_run: bool,
}

/// What a prune removed, or would remove, by kind.
#[derive(Clone, Debug, Default)]
pub struct PrunedStore {
    pub records: usize,
    pub kinds: BTreeMap<Kind, PrunedKind>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrunedKind {
    pub count: usize,
    pub bytes: u64,
}

impl PrunedStore {
    pub fn bytes(&self) -> u64 {
        self.kinds.values().map(|kind| kind.bytes).sum()
    }
}

/// Prunes the store; folders are removed with the rights they were made with.
pub async fn prune(
    session: &SessionOptions,
    rules: &PruneRules,
    facts: &Facts,
) -> Result<PrunedStore, Failure> {
    let store = session::open_store(session, facts).map_err(|problem| vec![*problem])?;
    let options = options(rules, &user::config(facts)?);
    prune_store(&store, options).await.map_err(|problem| vec![*problem])
}

/// The rules, completed by the configuration and what is built in.
pub(super) fn options(rules: &PruneRules, user: &UserConfig) -> PruneOptions {
    PruneOptions {
        unused_for: Some(rules.unused_for.or(user.keep).unwrap_or(FORTNIGHT)),
        keep_bytes: rules.keep_bytes.or(user.budget),
        kinds: rules.kinds.clone(),
        is_dry_run: rules.is_dry_run,
        ..PruneOptions::default()
    }
}

pub(super) async fn prune_store(store: &Store, options: PruneOptions) -> Result<PrunedStore, Box<Problem>> {
    let folder_bytes = match options.keep_bytes {
        Some(_) => measured(store).await?,
        None => BTreeMap::new(),
    };
    let options = PruneOptions { folder_bytes, ..options };
    let Pruned { records, kinds: gone, dead_paths } =
        store.prune(&options).map_err(|error| Box::new(error.problem()))?;
    let mut kinds = BTreeMap::new();
    for (kind, gone) in gone {
        // Beside what is in them, folders of the store hold next to nothing.
        let content =
            |folder: &PathBuf| if kind == Kind::Remains { folder.clone() } else { folder.join("fs") };
        let contents: Vec<PathBuf> = gone.folders.iter().map(content).collect();
        let folders: u64 = measure_trees(store, &contents).await?.iter().sum();
        kinds.insert(kind, PrunedKind { count: gone.count, bytes: gone.bytes + folders });
    }
    if !options.is_dry_run {
        remove_trees(store, &dead_paths).await?;
    }
    Ok(PrunedStore { records, kinds })
}

/// The bytes of all folders that may go.
pub(super) async fn measured(store: &Store) -> Result<BTreeMap<PathBuf, u64>, Box<Problem>> {
    let holdings = store.holdings().map_err(|error| Box::new(error.problem()))?;
    let mut known = BTreeMap::new();
    let mut unknown = Vec::new();
    for (kind, tree) in holdings
        .into_iter()
        .flat_map(|(kind, holding)| holding.trees.into_iter().map(move |tree| (kind, tree)))
    {
        match tree.bytes {
            Some(bytes) => drop(known.insert(tree.path, bytes)),
            None if kind == Kind::Remains => {}
            None => unknown.push((kind, tree.path)),
        }
    }
    let contents: Vec<PathBuf> = unknown.iter().map(|(_, path)| path.join("fs")).collect();
    for ((kind, path), bytes) in unknown.into_iter().zip(measure_trees(store, &contents).await?) {
        if kind == Kind::Trees {
            // The others may still grow.
            store.note_tree_bytes(&path, bytes);
        }
        known.insert(path, bytes);
    }
    Ok(known)
}

/// How often a store is pruned without being asked to.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// A bake does not wait for longer; what is not removed by then is removed by a later one.
const PATIENCE: Duration = Duration::from_secs(20);

/// After a bake: prunes if the configuration says what the store may hold and nobody did so of late. What went, if
/// something did.
pub(super) async fn prune_by_itself(store: &Store, facts: &Facts) -> Option<PrunedStore> {
    let user = user::config(facts).ok()?;
    let is_off = facts.environment.get("MAB_AUTO_PRUNE").is_some_and(|value| value == "off");
    if is_off || !user.prunes_by_itself || (user.budget.is_none() && user.keep.is_none()) {
        return None;
    }
    if !store.is_prune_due(EVERY).ok()? {
        return None;
    }
    let options = PruneOptions { unused_for: user.keep, keep_bytes: user.budget, ..PruneOptions::default() };
    let pruned = tokio::time::timeout(PATIENCE, prune_store(store, options)).await.ok()?.ok()?;
    (pruned.bytes() > 0).then_some(pruned)
}
