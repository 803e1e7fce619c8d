//! Brings images to repositories: blobs, then manifests by digest, the index last of them. Moves no tag.
//!
//! What a repository has is not sent, and what a neighbouring repository of the same registry has is mounted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;

use futures_util::future::{BoxFuture, try_join, try_join_all};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::PushSource;
use super::content::{Content, Contents, Document};
use super::early::EarlyBlobs;
use super::looks::TagLooks;
use super::release::Release;
use super::standing::manifests;
use crate::base::{Digest, Platform, Reference};
use crate::diag::{Kind, Problem};
use crate::oci::{Descriptor, Manifest, media_type};
use crate::registry::{OpenBlob, Pushed, RegistryError};

/// What goes where.
pub struct ImagePush<'a> {
    /// The index, or the manifest of an image for one platform.
    pub image: &'a Descriptor,
    /// A name without a tag gets the image by digest only.
    pub names: &'a [Reference],
    pub release: Release,
    /// Tags that follow a branch or a commit, and no version.
    pub historical: &'a [String],
    /// Whoever comes gets a floating tag.
    pub is_unguarded: bool,
    /// The repository's own tags say which version is the highest.
    pub asks_registry: bool,
}

/// What a push reports while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushEvent {
    /// Bytes of a blob on their way.
    Transfer { repository: String, digest: Digest, done: u64, total: u64 },
    /// A blob stands in a repository.
    Blob { repository: String, digest: Digest, how: Pushed },
    /// A name is where it belongs.
    Name(PushedName),
    /// What whoever publishes should know.
    Notice(Box<Problem>),
}

/// A name, and where it leads now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedName {
    pub reference: Reference,
    /// Where it led before.
    pub old: Option<Digest>,
    pub digest: Digest,
    /// It did before.
    pub unchanged: bool,
    /// It is left to another release than this one.
    pub is_kept: bool,
}

/// Why a push failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the image's document {digest} cannot be used: {cause}")]
    Document { digest: Digest, cause: String },
    #[error("`{name}` stays at {standing}: the registry does not let it move to {wanted}")]
    Immutable { name: String, standing: Digest, wanted: Digest },
    #[error("`{name}` would lose {}", listed(.lost))]
    FewerPlatforms { name: String, lost: Vec<Platform> },
    #[error("`{repository}` has lost {digest}, which was pushed a moment ago")]
    Vanished { repository: String, digest: Digest },
}

fn listed(platforms: &[Platform]) -> String {
    let names: Vec<String> = platforms.iter().map(|platform| format!("`{platform}`")).collect();
    names.join(", ")
}

impl PushError {
    /// A registry does not let push.
    pub fn is_refusal(&self) -> bool {
        use RegistryError::{Denied, Refused, Unauthorized};
        matches!(self, Self::Registry(Denied { .. } | Refused { .. } | Unauthorized { .. }))
    }

    pub fn problem(&self) -> Problem {
        let problem = |kind, code| Problem::new(kind, code, self.to_string());
        match self {
            Self::Registry(error) => error.problem(),
            Self::Document { .. } => problem(Kind::Host, "publish::document"),
            Self::Immutable { .. } => problem(Kind::Remote, "publish::immutable-tag")
                .help("a version that is published stays as it is there: release another one"),
            Self::FewerPlatforms { .. } => problem(Kind::Input, "publish::fewer-platforms")
                .help("publish all its platforms, or say `--allow-fewer-platforms`; no tag was moved"),
            Self::Vanished { .. } => problem(Kind::Remote, "publish::vanished")
                .help("something cleans the repository up; run again, and let it spare what is new"),
        }
    }
}

/// That tags stay in a repository which only held manifests until the image's own tags led to them.
pub fn staged(repository: &Reference, left: usize) -> Problem {
    let (tags, stay) = if left == 1 { ("tag", "stays") } else { ("tags", "stay") };
    let message = format!(
        "{left} {tags} `mab.staging.…` {stay} in `{}`, whose registry wants a tag for every manifest and does not let them go",
        repository.without_tag().familiar()
    );
    Problem::warning("publish::staging-tags", message)
        .help("they lead to what the image consists of: take them away only where that keeps the manifests")
}

/// Takes reports, from any thread.
pub type PushReport<'a> = &'a (dyn Fn(PushEvent) + Send + Sync);

/// What was made a moment ago and is no larger is sent without a question: hardly any registry has it, and sending takes
/// little longer than asking.
pub const UNASKED: u64 = 2 * 1024 * 1024;
/// How many blobs of a repository are under way; the client bounds the exchanges with a registry besides.
const PARALLEL_BLOBS: usize = 8;
/// More neighbours are not asked for a blob: each refusal begins an upload at the registry.
const MOST_NEIGHBOURS: usize = 3;

/// A repository that has an image of this push, or most likely has it.
#[derive(Clone, Copy)]
pub struct Filled<'a> {
    pub name: &'a Reference,
    pub contents: &'a Contents<'a>,
    pub image: usize,
}

impl Filled<'_> {
    fn has(&self, blob: &Digest) -> bool {
        self.contents.of(self.image).is_ok_and(|content| content.has(blob))
    }
}

/// What may be seen. A registry that does not let look may still let push, so only pushing decides about access.
pub fn visible<T>(found: Result<Option<T>, RegistryError>) -> Result<Option<T>, RegistryError> {
    match found {
        Err(RegistryError::Unauthorized { .. } | RegistryError::Denied { .. }) => Ok(None),
        other => other,
    }
}

/// The name without a digest, if it has a tag.
pub fn tag_of(name: &Reference) -> Option<Reference> {
    name.with_tag(name.tag()?).ok()
}

/// One push under way.
pub struct Work<'a> {
    pub looks: &'a TagLooks,
    pub early: &'a EarlyBlobs,
    pub blobs: &'a dyn PushSource,
    pub contents: &'a Contents<'a>,
    /// Which of them is pushed.
    pub image: usize,
    pub report: PushReport<'a>,
}

impl Work<'_> {
    /// Fills every repository whose tags do not lead to the image yet, registries side by side. `standing` is what they
    /// lead to, by name.
    pub async fn push_missing(
        &self,
        push: &ImagePush<'_>,
        standing: &[Option<Descriptor>],
        filled: &[Filled<'_>],
    ) -> Result<(), PushError> {
        let mut registries: BTreeMap<&str, BTreeMap<&str, Side<'_>>> = BTreeMap::new();
        let names = push.names.iter().zip(standing);
        for (name, old) in
            names.filter(|(_, old)| old.as_ref().is_none_or(|old| old.digest != push.image.digest))
        {
            let sides = registries.entry(name.registry()).or_default();
            let side = sides.entry(name.repository()).or_insert_with(|| Side { name, old: Vec::new() });
            side.old.extend(old);
        }
        let sides = registries.into_iter().map(|(host, repositories)| {
            let neighbours = filled.iter().copied().filter(|filled| filled.name.registry() == host);
            self.push_registry(repositories.into_values(), neighbours.collect())
        });
        try_join_all(sides).await.map(drop)
    }

    /// One repository after the other, so that the later ones mount what the first received.
    async fn push_registry<'f>(
        &'f self,
        repositories: impl Iterator<Item = Side<'f>>,
        mut filled: Vec<Filled<'f>>,
    ) -> Result<(), PushError> {
        for side in repositories {
            self.push_content(&side, &filled).await?;
            filled.insert(0, Filled { name: side.name, contents: self.contents, image: self.image });
        }
        Ok(())
    }

    async fn push_content(&self, side: &Side<'_>, filled: &[Filled<'_>]) -> Result<(), PushError> {
        let repository = side.name;
        let content = self.contents.of(self.image)?;
        let asked = content.documents.iter().map(|document| async move {
            // An index does not prove that its children are still there, a manifest does for its blobs.
            let is_known = !media_type::is_index(&document.descriptor.media_type)
                && !self.blobs.is_new(&document.descriptor)
                && self.looks.has(repository, document.descriptor.digest).await?;
            Ok::<_, PushError>((document, is_known))
        });
        let (asked, held) = try_join(try_join_all(asked), self.held(side, content)).await?;
        let missing = asked.into_iter().filter(|(_, is_known)| !is_known).map(|(document, _)| document);
        self.push_documents(repository, missing.collect(), &held, filled).await
    }

    /// Blobs that the image has in common with what the repository's tags lead to, where that is known here: one
    /// question about each manifest of it, in place of one about each blob.
    async fn held(&self, side: &Side<'_>, content: &Content) -> Result<BTreeSet<Digest>, PushError> {
        let wanted: BTreeSet<Digest> = content.blobs().map(|blob| blob.digest).collect();
        let earlier = side.old.iter().flat_map(|old| manifests(self.blobs, old));
        let looks = earlier.map(|(digest, manifest)| {
            let Manifest { config, layers, .. } = manifest;
            let blobs = layers.into_iter().chain([config]).map(|blob| blob.digest);
            let shared: Vec<Digest> = blobs.filter(|blob| wanted.contains(blob)).collect();
            async move {
                let is_there = !shared.is_empty() && self.looks.has(side.name, digest).await?;
                Ok::<_, PushError>(if is_there { shared } else { Vec::new() })
            }
        });
        Ok(try_join_all(looks).await?.into_iter().flatten().collect())
    }

    /// Brings these to a repository with all that they need but what it is known to hold.
    pub async fn push_documents(
        &self,
        repository: &Reference,
        missing: Vec<&Document>,
        held: &BTreeSet<Digest>,
        filled: &[Filled<'_>],
    ) -> Result<(), PushError> {
        let mut seen = held.clone();
        let blobs: Vec<&Descriptor> = missing
            .iter()
            .flat_map(|document| &document.blobs)
            .filter(|blob| seen.insert(blob.digest))
            .collect();
        let pushes: Vec<_> = blobs.into_iter().map(|blob| self.push_blob(repository, blob, filled)).collect();
        stream::iter(pushes).buffer_unordered(PARALLEL_BLOBS).try_collect::<()>().await?;
        let (indexes, manifests): (Vec<&Document>, Vec<&Document>) =
            missing.into_iter().partition(|document| media_type::is_index(&document.descriptor.media_type));
        try_join_all(manifests.into_iter().map(|document| self.push_document(repository, document))).await?;
        // What an index names must stand before it.
        for index in indexes {
            self.push_document(repository, index).await?;
        }
        Ok(())
    }

    async fn push_document(&self, repository: &Reference, document: &Document) -> Result<(), PushError> {
        let Document { descriptor, bytes, .. } = document;
        Ok(self.looks.registry().place_manifest(repository, descriptor, bytes).await?)
    }

    async fn push_blob(
        &self,
        repository: &Reference,
        blob: &Descriptor,
        filled: &[Filled<'_>],
    ) -> Result<(), PushError> {
        let (name, digest, registry) = (repository.name(), blob.digest, self.looks.registry());
        if self.early.has(repository, &digest).await {
            (self.report)(PushEvent::Blob { repository: name, digest, how: Pushed::Uploaded });
            return Ok(());
        }
        let open = Brought { blobs: self.blobs, blob };
        let is_new = self.blobs.is_new(blob);
        let mount_from = self.holders(repository, &digest, if is_new { &[] } else { filled });
        let progress = |done, total| {
            (self.report)(PushEvent::Transfer { repository: name.clone(), digest, done, total });
        };
        let how = match mount_from.is_empty() && is_new && blob.size <= UNASKED {
            true => registry.send_blob(repository, blob, &open, &progress).await?,
            false => registry.push_blob(repository, blob, &open, &mount_from, &progress).await?,
        };
        (self.report)(PushEvent::Blob { repository: name.clone(), digest, how });
        Ok(())
    }

    /// Neighbouring repositories that are known to have a blob, the likeliest first.
    fn holders(&self, repository: &Reference, blob: &Digest, filled: &[Filled<'_>]) -> Vec<String> {
        let known = self.blobs.repositories_with(blob);
        let filled = filled.iter().filter(|filled| filled.has(blob)).map(|filled| filled.name);
        let mut names: Vec<String> = Vec::new();
        for holder in known.iter().chain(filled).filter(|holder| holder.registry() == repository.registry()) {
            let name = holder.repository();
            if name != repository.repository() && !names.iter().any(|known| known == name) {
                names.push(name.to_string());
            }
            if names.len() == MOST_NEIGHBOURS {
                break;
            }
        }
        names
    }
}

/// A repository to be filled.
struct Side<'a> {
    name: &'a Reference,
    /// What its tags lead to that are to move.
    old: Vec<&'a Descriptor>,
}

/// A blob that comes here when it has to be sent.
struct Brought<'a> {
    blobs: &'a dyn PushSource,
    blob: &'a Descriptor,
}

impl OpenBlob for Brought<'_> {
    fn open(&self) -> BoxFuture<'_, io::Result<File>> {
        Box::pin(async {
            self.blobs.bring(self.blob).await?;
            self.blobs.open(&self.blob.digest)
        })
    }
}
