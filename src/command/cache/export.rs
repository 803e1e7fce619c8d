//! `mab cache export`: cache mounts, written into the folder of an OCI layout.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::artifact;
use super::{CacheIdentity, CacheSelection};
use crate::base::Digest;
use crate::command::Failure;
use crate::command::session::{self, SessionOptions};
use crate::diag::Problem;
use crate::engine::embedded::{CacheFiles, StoredCache, stored_caches};
use crate::facts::Facts;
use crate::publish::output::{LayoutFolder, OutputError};

/// What is exported, and where to.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    pub destination: PathBuf,
    pub selection: CacheSelection,
    /// Leaves out what a step uses, instead of waiting for it.
    pub skips_busy: bool,
}

#[derive(Clone, Debug)]
pub struct ExportedCache {
    pub identity: CacheIdentity,
    /// How many folders it has; the first is exported, since it is what the next step is given.
    pub folders: usize,
    pub outcome: ExportOutcome,
}

#[derive(Clone, Debug)]
pub enum ExportOutcome {
    /// The digest of its manifest, and the bytes of its layer.
    Written(Digest, u64),
    /// It has something that no layer can hold.
    Refused(Box<Problem>),
    Busy,
    /// It was pruned while it was waited for.
    Gone,
}

/// Writes every selected cache, one after the other; what is written stays when another one fails. Calls
/// `waits` with each that has to be waited for.
pub async fn export(
    session: &SessionOptions,
    options: &ExportOptions,
    facts: &Facts,
    waits: impl Fn(&CacheIdentity),
) -> Result<Vec<ExportedCache>, Failure> {
    let store = session::open_store(session, facts).map_err(|problem| vec![*problem])?;
    let mut caches = stored_caches(&store).map_err(|problem| vec![*problem])?;
    // Of several folders the first is what the next step is given.
    let mut folders: BTreeMap<CacheIdentity, usize> = BTreeMap::new();
    for cache in &caches {
        *folders.entry(cache.identity.clone()).or_default() += 1;
    }
    caches.dedup_by(|later, earlier| later.identity == earlier.identity);
    let known: Vec<&CacheIdentity> = caches.iter().map(|cache| &cache.identity).collect();
    options.selection.check(&known, "the store")?;
    caches.retain(|cache| options.selection.takes(&cache.identity));
    let export = Export {
        files: CacheFiles::open(&store).await.map_err(|problem| vec![*problem])?,
        layout: LayoutFolder::at(&facts.directories.current.join(&options.destination)),
        skips_busy: options.skips_busy,
    };
    let mut exported = Vec::with_capacity(caches.len());
    for cache in caches {
        let outcome = export.one(&cache, &waits).await.map_err(|problem| vec![*problem])?;
        let folders = folders[&cache.identity];
        exported.push(ExportedCache { identity: cache.identity, folders, outcome });
    }
    Ok(exported)
}

struct Export<'s> {
    files: CacheFiles<'s>,
    layout: LayoutFolder,
    skips_busy: bool,
}

impl Export<'_> {
    async fn one(
        &self,
        cache: &StoredCache,
        waits: &impl Fn(&CacheIdentity),
    ) -> Result<ExportOutcome, Box<Problem>> {
        if let Some(written) = self.attempt(cache, false).await? {
            return Ok(written);
        }
        if self.skips_busy {
            return Ok(ExportOutcome::Busy);
        }
        waits(&cache.identity);
        Ok(self.attempt(cache, true).await?.unwrap_or(ExportOutcome::Gone))
    }

    async fn attempt(
        &self,
        cache: &StoredCache,
        patient: bool,
    ) -> Result<Option<ExportOutcome>, Box<Problem>> {
        let blob = self.layout.new_blob().map_err(problem)?;
        let exported = self.files.export(cache, patient, blob.file()).await;
        let layer = match exported {
            Ok(Some(layer)) => layer,
            Ok(None) => return Ok(None),
            Err(problem) => return Ok(Some(ExportOutcome::Refused(not_exported(&cache.identity, *problem)))),
        };
        blob.finish(&layer.digest).map_err(problem)?;
        self.layout.put(artifact::EMPTY_TYPE, artifact::EMPTY).map_err(problem)?;
        let manifest = artifact::manifest(&cache.identity, &layer);
        let entry = artifact::entry(&cache.identity, &manifest);
        self.layout.put(&entry.media_type, &manifest.to_bytes()).map_err(problem)?;
        let digest = entry.digest;
        self.layout.add(entry).map_err(problem)?;
        Ok(Some(ExportOutcome::Written(digest, layer.size)))
    }
}

/// A cache may hold what no layer can, such as names that begin with `.wh.`.
fn not_exported(identity: &CacheIdentity, problem: Problem) -> Box<Problem> {
    const NEXT: &str =
        "remove what the message names in a RUN that mounts the cache, or name the other caches with `--id`";
    let message = format!("the cache mount `{identity}` was not exported: {}", problem.message);
    let problem = Problem { message, ..problem };
    Box::new(if problem.help.is_some() { problem } else { problem.help(NEXT) })
}

fn problem(error: OutputError) -> Box<Problem> {
    Box::new(Problem::from(&error))
}
