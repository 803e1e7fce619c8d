//! `multiarch.lock`: what names of images, repositories and files stood for when somebody looked.
//!
//! ```toml
//! version = 1
//!
//! [image."alpine:3.20"]                    # as people write it, after expansion
//! digest = "sha256:…"                      # what the name leads to: an index, or a single manifest
//! "linux/amd64" = { manifest = "sha256:…", config = "sha256:…" }
//!
//! [git."https://host/tools.git#main"]      # without its folder: one commit for all of them
//! commit = "…"
//! reference = "refs/heads/main"
//! object = "…"                             # an annotated tag, where there is one
//!
//! [http."https://host/tool.tar.gz"]
//! digest = "sha256:…"
//! ```
//!
//! What names its content itself (a commit, a file with a checksum) and what lies on this machine (an OCI layout, an
//! archive) is not in it. Reads, compares and writes text; asking registries is `run`'s, files are `command`'s. It
//! knows neither the build file nor the plan, so that `source` can ask it.

mod compare;
mod pins;
mod read;
mod write;

use std::collections::BTreeMap;

use crate::base::{Digest, GitReference, PinnedCommit, PinnedSource, Platform, Reference, RemoteSource};
use crate::diag::Place;

pub use compare::{Change, changes, names_like};
pub use pins::{ImagePin, Pins, Rule, Unlocked};

/// What the file is called. It lies beside the root build file.
pub const FILE_NAME: &str = "multiarch.lock";

/// Everything that is pinned, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    pub images: BTreeMap<String, LockedImage>,
    pub commits: BTreeMap<String, LockedCommit>,
    pub files: BTreeMap<String, LockedFile>,
    /// Where each entry stands in the text that was read.
    places: Places,
}

/// An image's name, and what it was for each platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedImage {
    pub digest: Digest,
    pub platforms: BTreeMap<Platform, LockedManifest>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockedManifest {
    pub manifest: Digest,
    pub config: Digest,
}

/// A ref of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedCommit {
    pub commit: String,
    /// The full name that led there.
    pub reference: String,
    /// What the name stands for: the commit, or an annotated tag.
    pub object: String,
}

/// A file over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockedFile {
    pub digest: Digest,
}

/// Of no account when locks are compared.
#[derive(Clone, Debug, Default)]
struct Places(BTreeMap<(Section, String), Place>);

impl PartialEq for Places {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Places {}

/// The tables of the file, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    Image,
    Git,
    Http,
}

impl Section {
    pub const ALL: [Self; 3] = [Self::Image, Self::Git, Self::Http];

    pub fn name(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Git => "git",
            Self::Http => "http",
        }
    }
}

/// The name an image has in a lock, however it was spelt.
pub fn image_name(reference: &Reference) -> String {
    reference.familiar()
}

/// The table and name that a source has in a lock; nothing for one that says itself what it is.
pub fn source_name(source: &RemoteSource) -> Option<(Section, String)> {
    match source {
        RemoteSource::Http { checksum: Some(_), .. } => None,
        RemoteSource::Http { url, checksum: None } => Some((Section::Http, url.to_string())),
        RemoteSource::Git(git) if git.commit().is_some() => None,
        RemoteSource::Git(git) => Some((Section::Git, git_name(git))),
    }
}

fn git_name(git: &GitReference) -> String {
    let reference = git.reference.as_ref().map(|reference| format!("#{reference}")).unwrap_or_default();
    format!("{}{reference}", git.redacted_remote())
}

impl Lock {
    pub fn is_empty(&self) -> bool {
        self.images.is_empty() && self.commits.is_empty() && self.files.is_empty()
    }

    /// The names of all entries.
    pub fn names(&self) -> impl Iterator<Item = (Section, &str)> {
        let of = |section| move |name| (section, String::as_str(name));
        let images = self.images.keys().map(of(Section::Image));
        images
            .chain(self.commits.keys().map(of(Section::Git)))
            .chain(self.files.keys().map(of(Section::Http)))
    }

    /// What every name leads to.
    pub fn meanings(&self) -> impl Iterator<Item = (Section, &str, String)> {
        let images = self.images.iter().map(|(name, image)| (Section::Image, name, image.digest.to_string()));
        let commits = self.commits.iter().map(|(name, locked)| (Section::Git, name, locked.commit.clone()));
        let files = self.files.iter().map(|(name, file)| (Section::Http, name, file.digest.to_string()));
        images.chain(commits).chain(files).map(|(section, name, meaning)| (section, name.as_str(), meaning))
    }

    /// Where an entry was read.
    pub fn place(&self, section: Section, name: &str) -> Option<&Place> {
        self.places.0.get(&(section, name.to_string()))
    }

    /// What `source` is pinned to.
    pub fn source(&self, source: &RemoteSource) -> Option<PinnedSource> {
        let (_, name) = source_name(source)?;
        match source {
            RemoteSource::Http { url, .. } => {
                let digest = self.files.get(&name)?.digest;
                Some(PinnedSource::Http { url: url.clone(), digest })
            }
            RemoteSource::Git(git) => {
                let LockedCommit { commit, reference, object } = self.commits.get(&name)?.clone();
                Some(PinnedSource::Git(PinnedCommit { git: git.clone(), commit, reference, object }))
            }
        }
    }

    /// Pins one platform of an image. Of another index than before, nothing else is known any more.
    pub fn add_image(&mut self, name: String, digest: Digest, platform: Platform, locked: LockedManifest) {
        let new = || LockedImage { digest, platforms: BTreeMap::new() };
        let image = self.images.entry(name).or_insert_with(new);
        if image.digest != digest {
            *image = new();
        }
        image.platforms.insert(platform, locked);
    }

    pub fn add_source(&mut self, source: &RemoteSource, pinned: &PinnedSource) {
        let Some((_, name)) = source_name(source) else { return };
        match pinned {
            PinnedSource::Http { digest, .. } => {
                self.files.insert(name, LockedFile { digest: *digest });
            }
            PinnedSource::Git(PinnedCommit { commit, reference, object, .. }) => {
                let (commit, reference, object) = (commit.clone(), reference.clone(), object.clone());
                self.commits.insert(name, LockedCommit { commit, reference, object });
            }
        }
    }

    /// Takes in everything that `newer` says.
    pub fn absorb(&mut self, newer: Lock) {
        for (name, image) in newer.images {
            for (platform, locked) in image.platforms {
                self.add_image(name.clone(), image.digest, platform, locked);
            }
        }
        self.commits.extend(newer.commits);
        self.files.extend(newer.files);
    }

    /// Keeps the entries that `is_kept` takes.
    pub fn retain(&mut self, is_kept: impl Fn(Section, &str) -> bool) {
        self.images.retain(|name, _| is_kept(Section::Image, name));
        self.commits.retain(|name, _| is_kept(Section::Git, name));
        self.files.retain(|name, _| is_kept(Section::Http, name));
    }
}

#[cfg(test)]
mod tests;
