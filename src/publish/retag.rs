//! Moves tags to images that a registry has, by the same way as a publication: with a journal, guarded, verified.

use std::collections::BTreeMap;

use super::about::About;
use super::early::EarlyBlobs;
use super::elsewhere::Elsewhere;
use super::journal::{Journal, Move};
use super::journals::Journals;
use super::looks::TagLooks;
use super::publication::publish;
use super::push::{ImagePush, PushError, PushReport, PushedName};
use super::release::{Release, is_version_tag};
use super::standing::Standing;
use crate::base::{Digest, Reference};
use crate::oci::Descriptor;
use crate::registry::{Registry, RegistryError};

/// Publications that are asked about a tag.
const MOST_ASKED: usize = 100;

/// Gives further names to an image, also in other repositories.
pub async fn promote(
    registry: &Registry,
    source: &Reference,
    names: &[Reference],
    about: &About,
    report: PushReport<'_>,
) -> Result<Vec<PushedName>, PushError> {
    let mut blobs = Elsewhere::new(registry.clone(), source)?;
    let image = blobs.fetch(source).await?;
    let said = Standing::read(registry, source, &image).await?;
    let release = said.map(|said| said.release).unwrap_or_default().or_of_tags(source.tag().into_iter());
    let push = ImagePush {
        image: &image,
        names,
        release,
        historical: &[],
        is_unguarded: false,
        asks_registry: false,
    };
    let looks = TagLooks::new(registry.clone());
    let pushed =
        publish(&looks, &EarlyBlobs::default(), &blobs, std::slice::from_ref(&push), about, report).await?;
    Ok(pushed.into_iter().flatten().collect())
}

/// What a rollback finds.
pub struct Earlier {
    pub journal: Journal,
    /// Tags that float, were moved by it and are there still, with where they came from.
    pub tags: Vec<(Move, Digest)>,
}

/// The last publication that moved floating tags of a repository, or this one of them.
pub async fn last(
    registry: &Registry,
    repository: &Reference,
    tag: Option<&str>,
) -> Result<Option<Earlier>, PushError> {
    let journals = Journals::new(registry, repository);
    let listed = journals.list().await?;
    for name in listed.done.iter().rev().take(MOST_ASKED) {
        let Some(found) = journals.read(name, true).await? else { continue };
        let moves = found.journal.moves_in(journals.repository()).filter(|moved| !moved.is_kept);
        let moves: Vec<Move> = moves
            .filter(|moved| match (tag, moved.name.tag()) {
                (Some(tag), own) => own == Some(tag),
                (None, own) => !is_version_tag(own.unwrap_or_default(), &moved.release),
            })
            .cloned()
            .collect();
        if moves.is_empty() {
            continue;
        }
        let mut tags = Vec::new();
        for moved in moves {
            let standing = registry.head(&moved.name).await?.map(|standing| standing.digest);
            if let Some(old) = moved.old.filter(|_| standing == Some(moved.new)) {
                tags.push((moved, old));
            }
        }
        return Ok(Some(Earlier { journal: found.journal, tags }));
    }
    Ok(None)
}

/// Moves tags of one repository back.
pub async fn back(
    registry: &Registry,
    repository: &Reference,
    tags: &[(Move, Digest)],
    about: &About,
    report: PushReport<'_>,
) -> Result<Vec<PushedName>, PushError> {
    let mut blobs = Elsewhere::new(registry.clone(), repository)?;
    let mut groups: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
    for (tag, old) in tags {
        groups.entry(*old).or_default().push(tag.name.clone());
    }
    let mut images: Vec<(Descriptor, Release, Vec<Reference>)> = Vec::new();
    for (old, names) in groups {
        let by_digest = repository.without_tag().with_digest(old);
        let image = match blobs.fetch(&by_digest).await {
            Err(RegistryError::NotFound { .. }) => {
                return Err(PushError::Vanished { repository: repository.familiar(), digest: old });
            }
            image => image?,
        };
        let said = Standing::read(registry, repository, &image).await?;
        images.push((image, said.map(|said| said.release).unwrap_or_default(), names));
    }
    let pushes: Vec<ImagePush<'_>> = images
        .iter()
        .map(|(image, release, names)| ImagePush {
            image,
            names,
            release: release.clone(),
            historical: &[],
            is_unguarded: true,
            asks_registry: false,
        })
        .collect();
    let about = About { allows_fewer_platforms: true, allows_older: true, ..about.clone() };
    let looks = TagLooks::new(registry.clone());
    let pushed = publish(&looks, &EarlyBlobs::default(), &blobs, &pushes, &about, report).await?;
    Ok(pushed.into_iter().flatten().collect())
}
