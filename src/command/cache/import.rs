//! `mab cache import`: cache mounts out of the folder of an OCI layout, put into the store.

use std::fs::File;
use std::path::PathBuf;

use super::source::{FoundArtifact, LayoutSource};
use super::{CacheIdentity, CacheSelection, Placement};
use crate::command::Failure;
use crate::command::session::{self, SessionOptions};
use crate::diag::Problem;
use crate::engine::embedded::CacheFiles;
use crate::facts::Facts;

/// What is imported, and where from.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    pub source: PathBuf,
    pub selection: CacheSelection,
    /// Puts it in the place of what the store has.
    pub replaces: bool,
}

#[derive(Clone, Debug)]
pub struct ImportedCache {
    pub identity: CacheIdentity,
    pub placement: Placement,
    pub warning: Option<Problem>,
}

/// Puts every selected cache of the layout into the store, once all of them are known to be what they say.
pub async fn import(
    session: &SessionOptions,
    options: &ImportOptions,
    facts: &Facts,
) -> Result<Vec<ImportedCache>, Failure> {
    let source = LayoutSource::at(&facts.directories.current.join(&options.source));
    let artifacts = selected(&source, options).map_err(|problem| vec![*problem])??;
    let mut verified: Vec<(FoundArtifact, File)> = Vec::with_capacity(artifacts.len());
    for artifact in artifacts {
        let layer = source.verified_layer(&artifact).map_err(|problem| vec![*problem])?;
        verified.push((artifact, layer));
    }
    let store = session::open_store(session, facts).map_err(|problem| vec![*problem])?;
    let files = CacheFiles::open(&store).await.map_err(|problem| vec![*problem])?;
    let mut imported = Vec::with_capacity(verified.len());
    for (FoundArtifact { identity, layer }, file) in verified {
        let placed = files.import(&identity, &layer.media_type, &file, options.replaces).await;
        let (placement, warning) = placed.map_err(|problem| vec![*problem])?;
        imported.push(ImportedCache { identity, placement, warning });
    }
    Ok(imported)
}

type Selected = Result<Vec<FoundArtifact>, Failure>;

fn selected(source: &LayoutSource, options: &ImportOptions) -> Result<Selected, Box<Problem>> {
    let mut artifacts = source.artifacts()?;
    let known: Vec<&CacheIdentity> = artifacts.iter().map(|artifact| &artifact.identity).collect();
    if let Err(problems) = options.selection.check(&known, &source.name()) {
        return Ok(Err(problems));
    }
    artifacts.retain(|artifact| options.selection.takes(&artifact.identity));
    Ok(Ok(artifacts))
}
