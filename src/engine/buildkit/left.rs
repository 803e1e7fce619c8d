//! An image that a worker leaves in the repository that it is for, by its digest. Its documents and what is stated about
//! it are read there, each against its digest; its layers stay.

use std::collections::HashMap;

use super::Tools;
use super::result::{LARGEST_DOCUMENT, ResultError, document, outcome, refused};
use crate::base::payload::StepCounts;
use crate::base::{Digest, Reference};
use crate::diag::{Kind, Problem};
use crate::engine::base::{Origin, fetch_blob};
use crate::engine::{BuildJob, BuildOutcome, blocking};
use crate::oci::{ATTESTATION, Descriptor, Index, Manifest, REFERENCE_TYPE, media_type};
use crate::registry::Resolved;

/// Where a worker's answer says what it pushed.
const DIGEST: &str = "containerimage.digest";
/// An image, and what is stated about it.
const MOST_MANIFESTS: usize = 16;

/// Reads what a worker says that it left in a repository.
pub(super) async fn take(
    repository: &Reference,
    answer: &HashMap<String, String>,
    job: &BuildJob,
    tools: &Tools,
    counts: StepCounts,
) -> Result<BuildOutcome, Box<Problem>> {
    let left = Left { repository, job, tools };
    let digest = answer.get(DIGEST).and_then(|digest| digest.parse::<Digest>().ok());
    let root = left.document(digest.ok_or_else(|| bad(&ResultError::Nothing))?).await?;
    if media_type::is_index(&root.descriptor.media_type) {
        let index = Index::parse(&root.bytes).map_err(|error| bad(&document("index", &error)))?;
        if index.manifests.len() > MOST_MANIFESTS {
            return Err(bad(&ResultError::Count(index.manifests.len())));
        }
        for entry in &index.manifests {
            let manifest = left.document(entry.digest).await?;
            let is_stated = entry.annotations.get(REFERENCE_TYPE).is_some_and(|kind| kind == ATTESTATION);
            left.parts(&manifest, is_stated).await?;
        }
    } else {
        left.parts(&root, false).await?;
    }
    let (store, job, repository) = (tools.store.clone(), job.clone(), repository.clone());
    let index = Index::new(vec![root.descriptor]);
    blocking(move || outcome(&store, &job, &index, Some(&repository), counts)).await
}

/// What is wrong with a push of a worker's.
pub(super) fn not_pushed(endpoint: &str, repository: &Reference, cause: &str) -> Problem {
    let message = format!("worker `{endpoint}` cannot push to `{}`: {cause}", repository.name());
    Problem::new(Kind::Remote, "builder::push", message).help(
        "let that worker reach the registry as its own buildkitd.toml says, or have results come here first: \
         `results = \"store\"` in the builder",
    )
}

struct Left<'a> {
    repository: &'a Reference,
    job: &'a BuildJob,
    tools: &'a Tools,
}

impl Left<'_> {
    /// A manifest or index, which comes into the store.
    async fn document(&self, digest: Digest) -> Result<Resolved, Box<Problem>> {
        let resolved = self.tools.registry.manifest(self.repository, digest).await;
        let resolved = resolved.map_err(|error| Box::new(error.problem()))?;
        if resolved.descriptor.digest != digest {
            return Err(bad(&ResultError::Damaged(digest.to_string())));
        }
        let put = self.tools.store.blobs().put_bytes(&resolved.bytes);
        put.map_err(|error| Box::new(error.problem()))?;
        Ok(resolved)
    }

    /// What is needed here of what a manifest names: the config of an image, statements about one.
    async fn parts(&self, manifest: &Resolved, is_stated: bool) -> Result<(), Box<Problem>> {
        let named = Manifest::parse(&manifest.bytes).map_err(|error| bad(&document("manifest", &error)))?;
        if !is_stated && named.config.size > LARGEST_DOCUMENT {
            return Err(bad(&ResultError::TooLarge("config")));
        }
        let wanted: Vec<Descriptor> = if is_stated { named.layers } else { vec![named.config] };
        let origin = Origin::Registry(self.repository.clone());
        let Tools { store, registry, caches, .. } = self.tools;
        for blob in &wanted {
            fetch_blob(store, registry, caches, &origin, blob, &self.job.events).await?;
        }
        Ok(())
    }
}

fn bad(error: &ResultError) -> Box<Problem> {
    Box::new(refused(error))
}
