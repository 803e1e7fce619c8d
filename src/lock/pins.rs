//! What a run takes from a lock, and what it learns for one.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Lock, LockedManifest, Section, image_name, source_name};
use crate::base::{Digest, PinnedSource, Platform, Reference, RemoteSource};
use crate::diag::Problem;

/// What happens to names that the lock does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// They are looked up.
    #[default]
    Open,
    /// `--locked`: they are refused.
    Strict,
}

/// The pins of a run. Clones share what is learnt.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    lock: Lock,
    rule: Rule,
    learnt: Mutex<Lock>,
}

/// What the lock says of an image for a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagePin {
    /// Nothing: its name is looked up.
    None,
    /// What the name leads to; not what that has for the platform.
    Index(Digest),
    Manifest {
        index: Digest,
        locked: LockedManifest,
    },
}

/// A name that `--locked` needs and the lock does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unlocked {
    #[error("`{name}` is not in `{}`", super::FILE_NAME)]
    Missing { name: String },
    #[error("`{name}` is in `{}` without `{platform}`", super::FILE_NAME)]
    Platform { name: String, platform: Platform },
    #[error("`{name}` is locked to commit {commit}, and its checksum is {checksum}")]
    Checksum { name: String, commit: String, checksum: String },
}

impl Unlocked {
    pub fn problem(&self) -> Problem {
        let (code, help) = match self {
            Self::Missing { .. } | Self::Platform { .. } => ("lock::missing", "`mab lock` adds it"),
            Self::Checksum { .. } => {
                ("lock::stale", "`mab lock --update` looks again, once the checksum is right")
            }
        };
        Problem::input(code, self.to_string()).help(help)
    }
}

impl Pins {
    pub fn new(lock: Lock, rule: Rule) -> Self {
        Self { inner: Arc::new(Inner { lock, rule, learnt: Mutex::default() }) }
    }

    /// What `reference` is for `platform`.
    pub fn image(&self, reference: &Reference, platform: &Platform) -> Result<ImagePin, Unlocked> {
        let name = image_name(reference);
        let is_strict = self.inner.rule == Rule::Strict;
        match self.inner.lock.images.get(&name) {
            None if is_strict => Err(Unlocked::Missing { name }),
            None => Ok(ImagePin::None),
            Some(image) => match image.platforms.get(platform) {
                Some(locked) => Ok(ImagePin::Manifest { index: image.digest, locked: *locked }),
                None if is_strict => Err(Unlocked::Platform { name, platform: platform.clone() }),
                None => Ok(ImagePin::Index(image.digest)),
            },
        }
    }

    /// What `source` is, if the lock says it.
    pub fn source(&self, source: &RemoteSource) -> Result<Option<PinnedSource>, Unlocked> {
        let Some((_, name)) = source_name(source) else { return Ok(None) };
        let Some(pinned) = self.inner.lock.source(source) else {
            return match self.inner.rule {
                Rule::Strict => Err(Unlocked::Missing { name }),
                Rule::Open => Ok(None),
            };
        };
        if let (RemoteSource::Git(git), PinnedSource::Git(locked)) = (source, &pinned)
            && let Some(checksum) = &git.checksum
            && ![&locked.commit, &locked.object].iter().any(|object| object.starts_with(checksum.as_str()))
        {
            let (commit, checksum) = (locked.commit.clone(), checksum.clone());
            return Err(Unlocked::Checksum { name, commit, checksum });
        }
        Ok(Some(pinned))
    }

    /// Whether `source` is one that the lock could hold and does not.
    pub fn lacks(&self, source: &RemoteSource) -> bool {
        source_name(source).is_some() && self.inner.lock.source(source).is_none()
    }

    /// Whether there is a lock at all.
    pub fn is_empty(&self) -> bool {
        self.inner.lock.is_empty()
    }

    pub fn note_image(
        &self,
        reference: &Reference,
        index: Digest,
        platform: &Platform,
        locked: LockedManifest,
    ) {
        self.learnt_mut().add_image(image_name(reference), index, platform.clone(), locked);
    }

    pub fn note_source(&self, source: &RemoteSource, pinned: &PinnedSource) {
        self.learnt_mut().add_source(source, pinned);
    }

    /// Everything that was asked for and found, as a lock of its own.
    pub fn learnt(&self) -> Lock {
        self.learnt_mut().clone()
    }

    /// The entries of the lock that nothing asked for.
    pub fn unused(&self) -> Vec<(Section, String)> {
        let learnt = self.learnt_mut();
        let used: Vec<(Section, &str)> = learnt.names().collect();
        let all = self.inner.lock.names();
        all.filter(|entry| !used.contains(entry)).map(|(section, name)| (section, name.to_string())).collect()
    }

    pub fn lock(&self) -> &Lock {
        &self.inner.lock
    }

    fn learnt_mut(&self) -> std::sync::MutexGuard<'_, Lock> {
        self.inner.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
