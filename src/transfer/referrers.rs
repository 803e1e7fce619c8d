//! What refers to images: found at a source, put at a destination.
//!
//! Three kinds: manifests with a subject, which registries list; the same under a tag of the subject's digest, which
//! clients keep where a registry does not; and cosign's tags, which only their names tie to an image.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;

use super::destination::Destination;
use super::error::TransferError;
use crate::base::Digest;
use crate::image::{ImageError, Node, Source};
use crate::oci::{Descriptor, Manifest};
use crate::publish::journal::ARTIFACT_TYPE;

/// A signature of an SBOM of an image is as far as anybody goes.
const DEEPEST: usize = 3;
const MOST_REFERRERS: usize = 1_000;
/// What cosign ends its tags with.
const COSIGN: [&str; 3] = ["sig", "att", "sbom"];

/// An artifact that is about an image.
#[derive(Clone, Debug)]
pub struct Referrer {
    descriptor: Descriptor,
    bytes: Vec<u8>,
    /// `None`: an index, which is put as it is.
    pub manifest: Option<Manifest>,
    tie: Tie,
}

#[derive(Clone, Debug)]
enum Tie {
    Subject(Digest),
    Tag(String),
}

impl Referrer {
    /// Everything that refers to these documents, what is referred to before what refers to it.
    pub async fn find(source: &Source, nodes: &[&Node]) -> Result<Vec<Self>, ImageError> {
        let mut found = Vec::new();
        let mut asked: Vec<Descriptor> = nodes.iter().map(|node| node.descriptor.clone()).collect();
        let mut seen: BTreeSet<Digest> = asked.iter().map(|descriptor| descriptor.digest).collect();
        for _ in 0..DEEPEST {
            let mut next = Vec::new();
            let answers = try_join_all(asked.iter().map(|subject| source.referrers(subject))).await?;
            for (subject, referring) in asked.iter().zip(answers) {
                for descriptor in referring {
                    // A journal tells of the tags of its own repository.
                    if descriptor.artifact_type.as_deref() == Some(ARTIFACT_TYPE) {
                        continue;
                    }
                    if !seen.insert(descriptor.digest) {
                        continue;
                    }
                    if seen.len() > MOST_REFERRERS + nodes.len() {
                        return Err(ImageError::TooMany { place: source.name.to_string() });
                    }
                    found.push(Self::read(source, &descriptor, Tie::Subject(subject.digest)).await?);
                    next.push(descriptor);
                }
            }
            if next.is_empty() {
                break;
            }
            asked = next;
        }
        found.extend(Self::of_cosign(source, nodes).await?);
        Ok(found)
    }

    async fn of_cosign(source: &Source, nodes: &[&Node]) -> Result<Vec<Self>, ImageError> {
        let tags = source.tags_of_digests().await?;
        let mut found = Vec::new();
        for node in nodes {
            for end in COSIGN {
                let tag = format!("{}.{end}", node.descriptor.digest.to_string().replace(':', "-"));
                if tags.contains(&tag) {
                    let root = source.tagged(&tag)?.root().await?;
                    let manifest = Manifest::parse(&root.bytes).ok();
                    let (descriptor, bytes) = (root.descriptor, root.bytes);
                    found.push(Self { descriptor, bytes, manifest, tie: Tie::Tag(tag) });
                }
            }
        }
        Ok(found)
    }

    async fn read(source: &Source, descriptor: &Descriptor, tie: Tie) -> Result<Self, ImageError> {
        let bytes = source.document(descriptor).await?.bytes;
        let manifest = Manifest::parse(&bytes).ok();
        Ok(Self { descriptor: descriptor.clone(), bytes, manifest, tie })
    }

    /// Its blobs are there.
    pub async fn put(&self, to: &Destination) -> Result<(), TransferError> {
        match &self.tie {
            Tie::Subject(subject) => to.put_referrer(&self.descriptor, &self.bytes, *subject).await,
            Tie::Tag(tag) => to.name(Some(tag), &self.descriptor, &self.bytes).await,
        }
    }
}
