//! Images of earlier runs by the key of their node: in this store, and in the caches of the target.

use serde::{Deserialize, Serialize};

use super::build::{Prepared, is_loss};
use super::worker::PlanWorker;
use crate::base::payload::StepCounts;
use crate::base::{Digest, NodeId, Reference};
use crate::cache::{Entry, EntryKind};
use crate::diag::Problem;
use crate::engine::{BuildOutcome, Engine};
use crate::layer::FORMAT;
use crate::oci::{Descriptor, Manifest};
use crate::plan::BuildNode;
use crate::publish::merge::read_manifest;
use crate::steps::Lowered;
use crate::store::{KeyKind, NewRecord};

/// What the store remembers of a build node under its key.
#[derive(Serialize, Deserialize)]
struct NodeRecord {
    manifest: Descriptor,
    config: Digest,
    /// Of each layer, as [`crate::layer::Compression`] is written; nothing for what others made.
    compressions: Vec<Option<String>>,
    format: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attestations: Vec<Descriptor>,
    /// The repository that has the layers, where a worker left them there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
}

/// The same as it travels, with the documents themselves.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeValue {
    record: NodeRecord,
    manifest: String,
    config: String,
    /// Seconds since the epoch.
    made: i64,
}

/// An image that another machine made.
pub(super) struct Shared {
    pub image: BuildOutcome,
    /// Seconds since the epoch.
    pub made: i64,
    cache: String,
}

impl Shared {
    /// Where it was found, for people.
    pub fn place(&self) -> String {
        format!("cache `{}`", self.cache)
    }
}

impl NodeRecord {
    fn of(image: &BuildOutcome) -> Self {
        let compressions = image.compressions.iter();
        let compressions = compressions.map(|known| known.map(|compression| compression.to_string()));
        Self {
            manifest: image.manifest.clone(),
            config: image.config,
            compressions: compressions.collect(),
            format: FORMAT,
            attestations: image.attestations.clone(),
            repository: image.repository.as_ref().map(Reference::name),
        }
    }

    /// The image; none when it has bytes of another version.
    fn image(self, lowered: &Lowered) -> Option<BuildOutcome> {
        let compression = |text: Option<String>| text.and_then(|text| text.parse().ok());
        let repository = self.repository.map(|name| name.parse::<Reference>()).transpose().ok()?;
        (self.format == FORMAT).then(|| BuildOutcome {
            manifest: self.manifest,
            config: self.config,
            compressions: self.compressions.into_iter().map(compression).collect(),
            attestations: self.attestations,
            repository: repository.map(|repository| repository.without_tag()),
            counts: StepCounts { reused: lowered.new_layers(), ..StepCounts::default() },
            worker: None,
        })
    }
}

impl<E: Engine> PlanWorker<E> {
    /// The images of earlier runs with the same keys, and when they were made, if all of them is still here; in the order
    /// of the nodes. None is known that is to be made again.
    pub(super) fn known<'p>(
        &self,
        nodes: impl IntoIterator<Item = &'p Prepared, IntoIter: Clone>,
    ) -> Result<Vec<Option<(BuildOutcome, i64)>>, Box<Problem>> {
        let nodes = nodes.into_iter();
        let wanted = nodes.clone().filter(|node| node.is_forced.is_none());
        let keys: Vec<Digest> = wanted.map(|node| node.key).collect();
        let records = self.tools.store.keys().get_many(KeyKind::Node, &keys);
        let mut records = records.map_err(|error| Box::new(error.problem()))?.into_iter();
        let known = nodes.map(|node| {
            let record = if node.is_forced.is_none() { records.next()?? } else { return None };
            // A record that cannot be read is one of another version: a miss.
            let decoded = serde_json::from_slice::<NodeRecord>(&record.value).ok()?;
            Some((decoded.image(&node.lowered)?, record.created))
        });
        Ok(known.collect())
    }

    /// The image that a cache has for the node's key, once it is certain that whoever needs its bytes gets them.
    pub(super) async fn shared(
        &self,
        id: NodeId,
        node: &BuildNode,
        prepared: &Prepared,
    ) -> Result<Option<Shared>, Box<Problem>> {
        let Some(shared) = self.foreign_image(node, prepared).await? else { return Ok(None) };
        match self.secure(id, node, &shared.image).await {
            Ok(()) => {
                self.record(node, prepared, &shared.image)?;
                Ok(Some(shared))
            }
            Err(problem) if is_loss(&problem) => {
                self.tell_of_loss(id, &problem);
                Ok(None)
            }
            Err(problem) => Err(problem),
        }
    }

    /// What a cache says the node's image is. Its documents come into the store; its layers stay where they are.
    pub(super) async fn foreign_image(
        &self,
        node: &BuildNode,
        prepared: &Prepared,
    ) -> Result<Option<Shared>, Box<Problem>> {
        let access = self.access(node)?;
        if !access.reads() {
            return Ok(None);
        }
        let found = self.tools.caches.get(&access, EntryKind::Node, &prepared.key).await;
        let Some(found) = found else { return Ok(None) };
        // What cannot be read was written by another version, or by nobody who can be believed.
        let Ok(value) = serde_json::from_value::<NodeValue>(found.entry.value) else { return Ok(None) };
        if !is_coherent(&value) {
            return Ok(None);
        }
        for document in [&value.manifest, &value.config] {
            let put = self.tools.store.blobs().put_bytes(document.as_bytes());
            put.map_err(|error| Box::new(error.problem()))?;
        }
        let (made, cache) = (value.made, found.cache);
        let image = value.record.image(&prepared.lowered);
        // Whoever writes a cache does not say which repositories are asked.
        let image = image.filter(|image| match &image.repository {
            Some(repository) => self.destinations(node).contains(repository),
            None => true,
        });
        Ok(image.map(|image| Shared { image, made, cache }))
    }

    pub(super) fn record(
        &self,
        node: &BuildNode,
        prepared: &Prepared,
        image: &BuildOutcome,
    ) -> Result<(), Box<Problem>> {
        let manifest = read_manifest(&self.tools.store, &image.manifest)?;
        // The store answers for what it has alone.
        let layers = manifest.layers.iter().filter(|_| image.repository.is_none()).map(|layer| layer.digest);
        let statements = image.attestations.iter().map(|statement| statement.digest);
        let blobs: Vec<Digest> =
            layers.chain(statements).chain([image.manifest.digest, image.config]).collect();
        let value = serde_json::to_vec(&NodeRecord::of(image)).expect("a node's record is plain data");
        let record = NewRecord {
            kind: KeyKind::Node,
            key: &prepared.key,
            subject: &format!("{} {}", node.target, node.platform),
            value: &value,
            parts: Some(&prepared.parts),
            blobs: &blobs,
        };
        self.tools.store.keys().put(&record).map_err(|error| Box::new(error.problem()))
    }

    /// Whether there is more to tell caches of the node than its image: its steps, which are solved for it.
    pub(super) fn is_news(&self, node: &BuildNode, prepared: &Prepared) -> Result<bool, Box<Problem>> {
        let access = self.access(node)?;
        Ok(access.writes()
            && node.attestations.is_empty()
            && !self.tools.caches.all_have(&access, EntryKind::Node, &prepared.key))
    }

    /// Tells caches of the node's image, if they want to know.
    pub(super) fn offer(
        &self,
        node: &BuildNode,
        key: &Digest,
        image: &BuildOutcome,
    ) -> Result<(), Box<Problem>> {
        let access = self.access(node)?;
        // Statements tell of one build and stay where it was.
        if !image.attestations.is_empty() {
            return Ok(());
        }
        if !access.writes() || self.tools.caches.all_have(&access, EntryKind::Node, key) {
            return Ok(());
        }
        let manifest = read_manifest(&self.tools.store, &image.manifest)?;
        let config = self.config(&manifest)?;
        let value = NodeValue {
            record: NodeRecord::of(image),
            manifest: String::from_utf8_lossy(&manifest.to_bytes()).into_owned(),
            config: String::from_utf8_lossy(&config.to_bytes()).into_owned(),
            made: self.tools.now,
        };
        // Documents that others wrote in another way than we would are not ours to tell of.
        if !is_coherent(&value) {
            return Ok(());
        }
        let blobs = manifest.layers.into_iter().filter(|layer| !self.blobs.is_of_base(&layer.digest));
        let value = serde_json::to_value(value).expect("a node's record is plain data");
        let entry = Entry { kind: EntryKind::Node, key: *key, value, blobs: blobs.collect() };
        self.tools.caches.offer(&access, entry, true);
        Ok(())
    }
}

/// Whether the documents are those that the record names.
fn is_coherent(value: &NodeValue) -> bool {
    let names_config = |manifest: Manifest| manifest.config.digest == value.record.config;
    Digest::of(&value.manifest) == value.record.manifest.digest
        && Digest::of(&value.config) == value.record.config
        && Manifest::parse(value.manifest.as_bytes()).is_ok_and(names_config)
}
