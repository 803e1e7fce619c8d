//! Moves the tags of one repository: a version's at once, those that float only forward.
//!
//! Registries have no compare-and-set. Whoever moves a floating tag has written its journal before, and looks at the
//! journals again afterwards: one that came in between and is of a higher version gets the tag. So whoever writes last
//! sees everybody above it, and the highest version has the tag in the end.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use tokio::sync::OnceCell;

use super::about::About;
use super::journal::{JournalName, Move};
use super::journals::{Found, Journals, Listed};
use super::push::{PushError, visible};
use super::release::Release;
use super::rivals;
use super::standing::Standing;
use crate::base::{Digest, Reference};
use crate::oci::Descriptor;
use crate::registry::{Registry, RegistryError};
use crate::tagging;

/// How often a tag that others move, too, is put right.
const MOST_ROUNDS: usize = 8;
/// How many journals of higher versions are asked whether one of them has a tag.
const MOST_ASKED: usize = 32;

/// A manifest or index as it is put.
#[derive(Clone)]
pub struct Document {
    pub media_type: String,
    pub bytes: Vec<u8>,
}

impl Document {
    /// One that a repository has.
    pub async fn read(
        registry: &Registry,
        repository: &Reference,
        digest: Digest,
    ) -> Result<Self, RegistryError> {
        let resolved = registry.manifest(&repository.without_tag(), digest).await?;
        Ok(Self { media_type: resolved.descriptor.media_type, bytes: resolved.bytes })
    }
}

/// A tag that is to move, and what it is to lead to.
pub struct Wanted<'a> {
    pub tag: &'a Move,
    pub document: Document,
}

/// A tag that stayed where it was, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub name: Reference,
    pub digest: Digest,
    pub release: Release,
    /// The tag is there; else it is left to whoever has a right to it.
    pub stands: bool,
}

/// The tags of one repository.
pub struct Tags<'a> {
    pub registry: &'a Registry,
    pub journals: &'a Journals<'a>,
    pub about: &'a About,
    /// What is known of what its tags lead to.
    pub seen: Option<&'a BTreeMap<Digest, Standing>>,
    /// All of its tags, for those that go by them.
    pub versions: OnceCell<Vec<String>>,
}

/// All tags of a repository; none where there is no such repository.
pub async fn versions(registry: &Registry, repository: &Reference) -> Result<Vec<String>, RegistryError> {
    match registry.tags(&repository.without_tag()).await {
        Err(RegistryError::NotFound { .. }) => Ok(Vec::new()),
        tags => tags,
    }
}

impl Tags<'_> {
    /// Writes a tag, whatever it leads to.
    pub async fn put(&self, name: &Reference, document: &Document) -> Result<(), PushError> {
        let error = match self.registry.push_manifest(name, &document.media_type, &document.bytes).await {
            Ok(_) => return Ok(()),
            Err(error @ (RegistryError::Refused { .. } | RegistryError::Denied { .. })) => error,
            Err(error) => return Err(error.into()),
        };
        let wanted = Digest::of(&document.bytes);
        // Some refuse to write a tag that stands, even as it is.
        match visible(self.registry.head(name).await)? {
            Some(standing) if standing.digest == wanted => Ok(()),
            Some(standing) if is_about_tags(&error) => {
                Err(PushError::Immutable { name: name.familiar(), standing: standing.digest, wanted })
            }
            _ => Err(error.into()),
        }
    }

    /// Moves floating tags, but for those that a newer release has. `known` was listed before.
    pub async fn float(&self, wanted: &[Wanted<'_>], known: &Listed) -> Result<Vec<Kept>, PushError> {
        let judged = try_join_all(wanted.iter().map(|wanted| self.newer(wanted.tag, known))).await?;
        let mut kept = Vec::new();
        let mut moving = Vec::new();
        for (wanted, newer) in wanted.iter().zip(judged) {
            match newer {
                Some(newer) => kept.push(newer),
                None => moving.push(wanted),
            }
        }
        try_join_all(moving.iter().map(|wanted| self.put(&wanted.tag.name, &wanted.document))).await?;
        moving.retain(|wanted| self.is_contested(wanted.tag));
        kept.extend(self.settle(&moving, known).await?);
        Ok(kept)
    }

    /// Whether others may move the tag at the same time to what is newer.
    fn is_contested(&self, tag: &Move) -> bool {
        let version = tag.release.version.as_deref();
        self.is_guarded(tag)
            && !tag.follows_history
            && version.is_some_and(|version| tagging::order(version, version).is_some())
    }

    fn is_guarded(&self, tag: &Move) -> bool {
        tag.release.is_known() && !tag.is_unguarded && !self.about.allows_older
    }

    /// The newer release that has a tag now.
    pub async fn newer(&self, tag: &Move, known: &Listed) -> Result<Option<Kept>, PushError> {
        if !self.is_guarded(tag) {
            return Ok(None);
        }
        let Some(standing) = visible(self.registry.head(&tag.name).await)? else {
            return self.above(tag, None).await;
        };
        if standing.digest == tag.new {
            return Ok(None);
        }
        let release = self.release_of(tag, &standing, known).await?;
        let is_older =
            tag.release.is_older_than(&release, tag.follows_history, self.about.checkout.as_deref());
        let kept =
            is_older.then(|| Kept { name: tag.name.clone(), digest: standing.digest, release, stands: true });
        match kept {
            None => self.above(tag, Some(standing.digest)).await,
            kept => Ok(kept),
        }
    }

    /// The higher version among the repository's tags, where they are to be asked.
    async fn above(&self, tag: &Move, standing: Option<Digest>) -> Result<Option<Kept>, PushError> {
        let version = tag.release.version.as_deref().filter(|_| tag.asks_registry && !tag.follows_history);
        let Some((version, text)) = version.zip(tag.name.tag()) else { return Ok(None) };
        let tags = self.versions.get_or_try_init(|| versions(self.registry, &tag.name)).await?;
        let Some(rival) = rivals::highest(text, version, tags) else { return Ok(None) };
        let release = Release { version: Some(rival.to_string()), revision: None };
        let digest = standing.unwrap_or(tag.new);
        Ok(Some(Kept { name: tag.name.clone(), digest, release, stands: standing.is_some() }))
    }

    /// The release that a tag leads to: as the image says, else as the journals of higher versions do.
    async fn release_of(
        &self,
        tag: &Move,
        standing: &Descriptor,
        known: &Listed,
    ) -> Result<Release, PushError> {
        let seen = self.seen.and_then(|seen| seen.get(&standing.digest)).cloned();
        let said = match seen {
            Some(seen) => Some(seen),
            None => Standing::read(self.registry, &tag.name, standing).await?,
        };
        let said = said.map(|standing| standing.release).unwrap_or_default();
        if said.is_known() || !self.is_contested(tag) {
            return Ok(said);
        }
        let higher = known.done.iter().chain(&known.open).filter(|name| is_above(name, &tag.release));
        for name in by_version(higher).into_iter().take(MOST_ASKED) {
            let is_done = known.done.contains(name);
            let Some(Found { journal, .. }) = self.journals.read(name, is_done).await? else { continue };
            let has =
                |known: &&Move| known.name == tag.name && known.new == standing.digest && !known.is_kept;
            if let Some(mover) = journal.moves_in(self.journals.repository()).find(has) {
                return Ok(mover.release.clone());
            }
        }
        Ok(said)
    }

    /// Looks again after tags were moved, and gives them to whoever is above and came at the same time.
    async fn settle(&self, moved: &[&Wanted<'_>], known: &Listed) -> Result<Vec<Kept>, PushError> {
        if moved.is_empty() {
            return Ok(Vec::new());
        }
        let mut rivals: Vec<Found> = Vec::new();
        let mut asked: BTreeSet<JournalName> = BTreeSet::new();
        for _ in 0..MOST_ROUNDS {
            let listed = self.journals.list().await?;
            let new = listed.open.iter().chain(&listed.done).filter(|name| !known.done.contains(name));
            let new: Vec<JournalName> = new.filter(|name| !asked.contains(name)).cloned().collect();
            for name in new {
                let is_above = moved.iter().any(|wanted| is_above(&name, &wanted.tag.release));
                if is_above
                    && let Some(found) = self.journals.read(&name, listed.done.contains(&name)).await?
                {
                    rivals.push(found);
                }
                asked.insert(name);
            }
            let looks = moved.iter().map(|wanted| self.settle_one(wanted, &rivals));
            if try_join_all(looks).await?.into_iter().all(|is_settled| is_settled) {
                break;
            }
        }
        let lost = moved.iter().filter_map(|wanted| {
            let above = self.highest_above(wanted.tag, &rivals)?;
            let (digest, release) = (above.new, above.release.clone());
            Some(Kept { name: wanted.tag.name.clone(), digest, release, stands: true })
        });
        Ok(lost.collect())
    }

    /// Whether a tag is where it belongs; if not, it is put there.
    async fn settle_one(&self, wanted: &Wanted<'_>, rivals: &[Found]) -> Result<bool, PushError> {
        let name = &wanted.tag.name;
        let standing = visible(self.registry.head(name).await)?.map(|standing| standing.digest);
        let above = self.highest_above(wanted.tag, rivals);
        let right = above.map_or(wanted.tag.new, |above| above.new);
        if standing == Some(right) {
            return Ok(true);
        }
        match above {
            Some(above) => {
                let document = Document::read(self.registry, name, above.new).await?;
                self.put(name, &document).await?;
                Ok(false)
            }
            None => {
                // Somebody else moved it since: one who is below by mistake, another on purpose.
                let Some(descriptor) = visible(self.registry.head(name).await)? else { return Ok(true) };
                let standing = Standing::read(self.registry, name, &descriptor).await?;
                let is_below = standing
                    .and_then(|standing| standing.release.order(&wanted.tag.release))
                    .is_some_and(Ordering::is_lt);
                if is_below {
                    self.put(name, &wanted.document).await?;
                }
                Ok(!is_below)
            }
        }
    }

    /// The highest of the versions above that want the same tag.
    fn highest_above<'f>(&self, tag: &Move, rivals: &'f [Found]) -> Option<&'f Move> {
        let moves = rivals.iter().flat_map(|found| found.journal.moves_in(self.journals.repository()));
        let above = moves.filter(|rival| {
            rival.name == tag.name
                && !rival.is_kept
                && rival.release.order(&tag.release).is_some_and(Ordering::is_gt)
        });
        above.max_by(|one, other| one.release.order(&other.release).unwrap_or(Ordering::Equal))
    }
}

fn is_above(name: &JournalName, release: &Release) -> bool {
    let (Some(named), Some(own)) = (&name.version, &release.version) else { return false };
    tagging::order(named, own).is_some_and(Ordering::is_gt)
}

/// The highest first.
fn by_version<'a>(names: impl Iterator<Item = &'a JournalName>) -> Vec<&'a JournalName> {
    let mut names: Vec<&JournalName> = names.collect();
    let version = |name: &JournalName| name.version.clone().unwrap_or_default();
    names.sort_by(|one, other| tagging::order(&version(other), &version(one)).unwrap_or(Ordering::Equal));
    names
}

/// Whether a refusal may be about a tag that cannot move, as registries say it in many ways.
fn is_about_tags(error: &RegistryError) -> bool {
    match error {
        RegistryError::Refused { status, code, detail, .. } => {
            let text = format!("{code} {detail}").to_ascii_lowercase();
            *status == 409
                || ["immutab", "already exist", "alreadyexist", "overwrit"]
                    .iter()
                    .any(|word| text.contains(word))
        }
        RegistryError::Denied { detail, .. } => {
            let text = detail.to_ascii_lowercase();
            text.contains("immutab") || text.contains("overwrit")
        }
        _ => false,
    }
}
