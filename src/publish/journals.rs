//! The journals of one repository: listed, read, written.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::journal::{End, Journal, JournalName, PREFIX};
use super::push::visible;
use crate::base::Reference;
use crate::oci::{Descriptor, Index};
use crate::registry::{Registry, RegistryError};

/// How many publications without a version a repository remembers at least.
const REMEMBERED: usize = 50;
/// So many more are forgotten together: few publications wait for that.
const TOGETHER: usize = 10;
/// How many are forgotten at a time, where more were left.
const MOST_FORGOTTEN: usize = 50;

pub struct Journals<'a> {
    registry: &'a Registry,
    repository: Reference,
}

/// Publications by how far they are.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Under way, or cut.
    pub open: BTreeSet<JournalName>,
    pub done: BTreeSet<JournalName>,
}

/// A journal as it stands in a repository.
#[derive(Clone, Debug)]
pub struct Found {
    pub journal: Journal,
    pub end: Option<End>,
    /// What the index names.
    pub members: Vec<Descriptor>,
}

impl<'a> Journals<'a> {
    pub fn new(registry: &'a Registry, repository: &Reference) -> Self {
        Self { registry, repository: repository.without_tag() }
    }

    pub fn repository(&self) -> &Reference {
        &self.repository
    }

    /// None where there is no such repository, or nobody may look.
    pub async fn list(&self) -> Result<Listed, RegistryError> {
        let tags = match self.registry.tags_with_prefix(&self.repository, PREFIX).await {
            Err(RegistryError::NotFound { .. }) => return Ok(Listed::default()),
            tags => visible(tags.map(Some))?.unwrap_or_default(),
        };
        let names: Vec<(JournalName, bool)> = tags.iter().filter_map(|tag| JournalName::parse(tag)).collect();
        let done: BTreeSet<JournalName> =
            names.iter().filter(|(_, is_done)| *is_done).map(|(name, _)| name.clone()).collect();
        let open = names.into_iter().map(|(name, _)| name).filter(|name| !done.contains(name)).collect();
        Ok(Listed { open, done })
    }

    /// `None` for what is no journal of this name: anybody can make tags.
    pub async fn read(&self, name: &JournalName, is_done: bool) -> Result<Option<Found>, RegistryError> {
        let resolved = match self.registry.resolve(&self.tag(name, is_done)).await {
            Err(RegistryError::NotFound { .. }) => return Ok(None),
            resolved => resolved?,
        };
        let Ok(index) = Index::parse(&resolved.bytes) else { return Ok(None) };
        let Some(Ok((journal, end))) = Journal::read(&index) else { return Ok(None) };
        Ok((journal.name() == *name).then_some(Found { journal, end, members: index.manifests }))
    }

    /// Whether the publication has been written down here, and is not over.
    pub async fn is_open(&self, name: &JournalName) -> Result<bool, RegistryError> {
        let done = visible(self.registry.head(&self.tag(name, true)).await)?;
        Ok(done.is_none() && self.is_there(name).await?)
    }

    pub async fn is_there(&self, name: &JournalName) -> Result<bool, RegistryError> {
        Ok(visible(self.registry.head(&self.tag(name, false)).await)?.is_some())
    }

    pub async fn write(
        &self,
        journal: &Journal,
        members: &[Descriptor],
        end: Option<End>,
    ) -> Result<(), RegistryError> {
        let name = self.tag(&journal.name(), end.is_some());
        let put = async |members: &[Descriptor]| {
            let index = journal.index(members.to_vec(), end);
            self.registry.push_manifest(&name, &index.media_type, &index.to_bytes()).await.map(drop)
        };
        match put(members).await {
            Err(error @ RegistryError::Refused { .. }) => {
                // Somebody wrote the same where tags are written once; or it knows no index of indexes.
                if self.registry.head(&name).await.is_ok_and(|found| found.is_some()) {
                    return Ok(());
                }
                if members.is_empty() { Err(error) } else { put(&[]).await.map_err(|_| error) }
            }
            written => written,
        }
    }

    /// Removes what of the oldest publications is more than is kept, where the registry lets it. Those of versions stay:
    /// they are what guards later ones, and what one goes back to.
    pub async fn forget_oldest(&self, listed: &Listed) {
        let mut oldest = oldest(&listed.done);
        let Some(first) = oldest.next() else { return };
        // Many registries let nothing be removed: such a one refuses once, not ten times.
        if self.forget(first).await.is_ok() {
            join_all(oldest.map(|name| self.forget(name))).await;
        }
    }

    async fn forget(&self, name: &JournalName) -> Result<(), RegistryError> {
        self.remove(&self.tag(name, false)).await?;
        self.remove(&self.tag(name, true)).await
    }

    async fn remove(&self, tag: &Reference) -> Result<(), RegistryError> {
        match self.registry.head(tag).await? {
            Some(journal) => self.registry.remove_manifest(&self.repository, journal.digest).await,
            None => Ok(()),
        }
    }

    fn tag(&self, name: &JournalName, is_done: bool) -> Reference {
        self.repository.with_tag(&name.tag(is_done)).expect("a journal's name is a tag")
    }
}

/// What is forgotten now, the oldest first.
fn oldest(done: &BTreeSet<JournalName>) -> impl Iterator<Item = &JournalName> {
    let unversioned = || done.iter().filter(|name| name.version.is_none());
    let more = unversioned().count().saturating_sub(REMEMBERED);
    unversioned().take(if more >= TOGETHER { more.min(MOST_FORGOTTEN) } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_without_a_version_go_together_however_many_came_at_once() {
        let forgotten = |publications: usize| {
            let name = |number: usize, version: Option<&str>| JournalName {
                time: format!("20260301T120000{number:03}Z"),
                version: version.map(str::to_string),
                key: "key".to_string(),
            };
            let mut done: BTreeSet<JournalName> =
                (1..=publications).map(|number| name(number, None)).collect();
            done.insert(name(0, Some("1.0.0")));
            let names: Vec<JournalName> = oldest(&done).cloned().collect();
            assert!(names.iter().eq(done.iter().skip(1).take(names.len())), "the oldest, and no version");
            names.len()
        };
        assert_eq!([1, 50, 59].map(forgotten), [0, 0, 0]);
        assert_eq!([60, 61, 75].map(forgotten), [10, 11, 25]);
        assert_eq!(forgotten(200), 50, "the rest is left to later publications");
    }
}
