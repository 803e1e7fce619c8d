//! `mab cache verify`: whether the store is whole, and making it so.

use crate::command::Failure;
use crate::command::session::{self, SessionOptions};
use crate::engine::embedded::remove_trees;
use crate::facts::Facts;
use crate::store::{Progress, Verified};

/// What was found, and what was done about it.
#[derive(Clone, Debug)]
pub struct VerifiedStore {
    pub verified: Verified,
    /// The records that went, if what is damaged was taken away.
    pub healed: Option<usize>,
}

/// Looks at everything in the store; with `heals`, what is damaged goes.
pub async fn verify(
    session: &SessionOptions,
    heals: bool,
    facts: &Facts,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<VerifiedStore, Failure> {
    let store = session::open_store(session, facts).map_err(|problem| vec![*problem])?;
    let verified = store.verify(progress).map_err(|error| vec![error.problem()])?;
    let healed = match heals {
        true => Some(store.heal(&verified.damages).map_err(|error| vec![error.problem()])?),
        false => None,
    };
    if heals {
        let dead = store.snapshots().dead_paths().map_err(|error| vec![error.problem()])?;
        remove_trees(&store, &dead).await.map_err(|problem| vec![*problem])?;
    }
    Ok(VerifiedStore { verified, healed })
}
