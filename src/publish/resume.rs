//! Ends publications that were cut: their journals say which tags were to move to what.
//!
//! A publication counts once its journal is in every repository it touches; before that no tag has moved, and none
//! will. What it moves in a repository is what that repository's own journal says. Two that end the same one write the
//! same; one that still runs may be helped so.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use jiff::SignedDuration;
use tokio::sync::OnceCell;

use super::about::About;
use super::floating::{Document, Tags, Wanted};
use super::journal::{End, Journal, JournalName, Move};
use super::journals::{Found, Journals, Listed};
use super::push::{PushError, visible};
use super::release::is_version_tag;
use crate::base::Reference;
use crate::registry::{Registry, RegistryError};

/// A publication that has not written all its journals after this time never will.
const PATIENCE: SignedDuration = SignedDuration::from_mins(60);

/// A publication that was ended here.
#[derive(Clone, Debug)]
pub struct Resumed {
    pub journal: Journal,
    /// The tags that lead where it wanted them now, and did not before.
    pub moved: Vec<Move>,
}

pub struct Resume<'a> {
    pub registry: &'a Registry,
    pub about: &'a About,
    /// Registries that this run deals with anyway: others are not asked because a stranger's journal names them.
    pub hosts: BTreeSet<&'a str>,
}

impl Resume<'_> {
    /// Ends everything that is open in a repository, the oldest first.
    pub async fn all(&self, journals: &Journals<'_>, listed: &Listed) -> Result<Vec<Resumed>, PushError> {
        let mut resumed = Vec::new();
        for name in &listed.open {
            let Some(found) = journals.read(name, false).await? else { continue };
            if found.journal.moves_in(journals.repository()).next().is_none() {
                continue;
            }
            if !self.is_whole(&found.journal, journals.repository()).await? {
                if self.about.started.duration_since(found.journal.started) > PATIENCE {
                    journals.write(&found.journal, &found.members, Some(End::Abandoned)).await?;
                }
                continue;
            }
            let mut moved = self.end(journals, &found, listed).await?;
            for other in self.others(&found.journal, journals.repository()) {
                moved.extend(self.end_elsewhere(&other, name, &found.journal).await?);
            }
            resumed.push(Resumed { journal: found.journal, moved });
        }
        Ok(resumed)
    }

    /// The other repositories of a publication.
    fn others(&self, journal: &Journal, here: &Reference) -> Vec<Reference> {
        let all = journal.moves.iter().map(|tag| tag.name.without_tag());
        let others: BTreeMap<String, Reference> = all.map(|name| (name.name(), name)).collect();
        let is_known = |name: &Reference| name.name() != here.name() && self.hosts.contains(name.registry());
        others.into_values().filter(is_known).collect()
    }

    async fn is_whole(&self, journal: &Journal, here: &Reference) -> Result<bool, PushError> {
        let (others, name) = (self.others(journal, here), journal.name());
        let asked = others.iter().map(|other| async {
            let journals = Journals::new(self.registry, other);
            journals.is_there(&name).await
        });
        Ok(try_join_all(asked).await?.into_iter().all(|is_there| is_there))
    }

    /// In a repository that nobody publishes to now. What keeps from it does not keep this run from its own work.
    async fn end_elsewhere(
        &self,
        repository: &Reference,
        name: &JournalName,
        journal: &Journal,
    ) -> Result<Vec<Move>, PushError> {
        let journals = Journals::new(self.registry, repository);
        if !journals.is_open(name).await? {
            return Ok(Vec::new());
        }
        let Some(found) = journals.read(name, false).await?.filter(|found| found.journal == *journal) else {
            return Ok(Vec::new());
        };
        let ended = self.end(&journals, &found, &journals.list().await?).await;
        match ended {
            Err(PushError::Registry(RegistryError::Unauthorized { .. } | RegistryError::Denied { .. })) => {
                Ok(Vec::new())
            }
            ended => ended,
        }
    }

    async fn end(
        &self,
        journals: &Journals<'_>,
        found: &Found,
        listed: &Listed,
    ) -> Result<Vec<Move>, PushError> {
        let tags = Tags {
            registry: self.registry,
            journals,
            about: self.about,
            seen: None,
            versions: OnceCell::new(),
        };
        let (mut versions, mut floating) = (Vec::new(), Vec::new());
        for tag in found.journal.moves_in(journals.repository()) {
            let standing = visible(self.registry.head(&tag.name).await)?.map(|standing| standing.digest);
            // Where it leads elsewhere by now, somebody came later.
            if standing != tag.old || standing == Some(tag.new) {
                continue;
            }
            let document = match Document::read(self.registry, &tag.name, tag.new).await {
                Err(RegistryError::NotFound { .. }) => {
                    journals.write(&found.journal, &found.members, Some(End::Abandoned)).await?;
                    return Ok(Vec::new());
                }
                document => document?,
            };
            let is_version = is_version_tag(tag.name.tag().unwrap_or_default(), &tag.release);
            let side = if is_version { &mut versions } else { &mut floating };
            side.push(Wanted { tag, document });
        }
        for wanted in &versions {
            match tags.put(&wanted.tag.name, &wanted.document).await {
                Err(PushError::Immutable { .. }) => {
                    journals.write(&found.journal, &found.members, Some(End::Abandoned)).await?;
                    return Ok(Vec::new());
                }
                put => put?,
            }
        }
        let kept = tags.float(&floating, listed).await?;
        let is_kept = |tag: &Move| kept.iter().any(|kept| kept.name == tag.name);
        let mut ended = found.journal.clone();
        for tag in &mut ended.moves {
            tag.is_kept |= is_kept(tag);
        }
        journals.write(&ended, &found.members, Some(End::Done)).await?;
        let moved = versions.iter().chain(&floating).map(|wanted| wanted.tag.clone());
        Ok(moved.filter(|tag| !is_kept(tag)).collect())
    }
}
