//! `mab cache`: what the store holds, and the cache mounts of steps, listed, and carried to other stores as an OCI
//! layout.

mod artifact;
mod du;
mod export;
mod import;
mod list;
mod source;
mod verify;

pub use du::{Usage, du};
pub use export::{ExportOptions, ExportOutcome, ExportedCache, export};
pub use import::{ImportOptions, ImportedCache, import};
pub use list::{ListedCache, list};
pub use verify::{VerifiedStore, verify};

pub use crate::engine::embedded::{Beginning, CacheIdentity, Placement};
pub use crate::store::Occupancy;

use super::Failure;
use crate::base::Platform;
use crate::diag::{Problem, nearest};

/// Which caches are meant; without any ids, or platforms, all of them.
#[derive(Clone, Debug, Default)]
pub struct CacheSelection {
    pub ids: Vec<String>,
    pub platforms: Vec<Platform>,
}

impl CacheSelection {
    fn takes(&self, identity: &CacheIdentity) -> bool {
        (self.ids.is_empty() || self.ids.contains(&identity.id))
            && (self.platforms.is_empty() || self.platforms.contains(&identity.platform))
    }

    /// Refuses ids that none of the `known` has, and a selection of nothing. `place` is where they are.
    fn check(&self, known: &[&CacheIdentity], place: &str) -> Result<(), Failure> {
        let is_known = |id: &&String| known.iter().any(|identity| identity.id == **id);
        let unknown = self.ids.iter().filter(|id| !is_known(id));
        let problems: Vec<Problem> = unknown.map(|id| unknown_id(id, known, place)).collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        if known.iter().any(|identity| self.takes(identity)) {
            return Ok(());
        }
        let problem = Problem::input("cache::none", format!("no cache mount of {place} is asked for"));
        Err(vec![problem.help(names(known))])
    }
}

fn unknown_id(id: &str, known: &[&CacheIdentity], place: &str) -> Problem {
    let problem = Problem::input("cache::unknown-id", format!("no cache mount of {place} has the id `{id}`"));
    match nearest(id, known.iter().map(|identity| identity.id.as_str())) {
        Some(name) => problem.help(format!("did you mean `{name}`?")),
        None => problem.help(names(known)),
    }
}

fn names(known: &[&CacheIdentity]) -> String {
    let mut names: Vec<String> = known.iter().map(|identity| format!("`{identity}`")).collect();
    names.dedup();
    match names.is_empty() {
        true => "there are none; a build with `RUN --mount=type=cache` makes them".to_string(),
        false => format!("there are {}", names.join(", ")),
    }
}
