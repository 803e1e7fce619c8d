//! Brings documents and everything they name to a destination, and names them last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::destination::{Destination, blobs_of};
use super::error::TransferError;
use super::referrers::Referrer;
use crate::base::Digest;
use crate::event::Transfer;
use crate::image::{Content, Document, Node, Source};
use crate::oci::Descriptor;
use crate::registry::Pushed;

/// How many blobs are under way; the client bounds the exchanges with a registry besides.
const AT_ONCE: usize = 8;

/// Something that is to be at the destination, and where it comes from.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    pub source: &'a Source,
    pub node: &'a Node,
}

pub struct Delivery<'a> {
    pub parts: Vec<Part<'a>>,
    /// What the names lead to: one of the parts, or an index of them.
    pub root: &'a Document,
    pub referrers: &'a [(&'a Source, Referrer)],
    /// Further names in a repository.
    pub tags: &'a [String],
    /// What the name led to when it was looked at, where it is to be changed only if it still does.
    pub stands: Option<(&'a Source, &'a Node)>,
    pub report: TransferReport,
}

/// What is told while a delivery is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferEvent {
    /// Bytes on their way, of a blob or of an archive of them.
    Bytes { way: Transfer, item: String, done: u64, total: u64 },
    /// So many of so many blobs are there.
    Blobs { done: usize, total: usize },
}

pub type TransferReport = Arc<dyn Fn(TransferEvent) + Send + Sync>;

/// What a delivery took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivered {
    pub there: usize,
    pub mounted: usize,
    pub sent: usize,
    pub sent_bytes: u64,
    /// Tags that hold documents, and that the registry does not let go.
    pub staged: usize,
}

struct Tally<'a> {
    report: &'a TransferReport,
    /// How many blobs there are to see to, as far as is known.
    total: AtomicUsize,
    there: AtomicUsize,
    mounted: AtomicUsize,
    sent: AtomicUsize,
    sent_bytes: AtomicU64,
}

impl Delivery<'_> {
    /// Names are given when all the rest is there. Files are whole after [`Destination::finish`].
    pub async fn run(&self, to: &Destination) -> Result<Delivered, TransferError> {
        let tally = Tally::new(&self.report);
        self.images(to, &tally).await?;
        for (source, referrer) in self.referrers {
            let blobs = referrer.manifest.as_ref().into_iter().flat_map(blobs_of).map(|blob| (blob, *source));
            take(to, blobs.collect(), &tally).await?;
            referrer.put(to).await?;
        }
        self.still_stands().await?;
        let Document { descriptor, bytes } = self.root;
        if to.has_own_name() || self.tags.is_empty() {
            to.name(None, descriptor, bytes).await?;
        }
        try_join_all(self.tags.iter().map(|tag| to.name(Some(tag), descriptor, bytes))).await?;
        let placed = self.parts.iter().flat_map(|part| part.node.below());
        let placed: Vec<_> = placed.map(|node| (&node.descriptor, node.bytes.as_slice())).collect();
        let staged = to.drop_staged(&placed).await;
        Ok(Delivered { staged, ..tally.told() })
    }

    /// Registries have no compare and set: this is as late as it can be looked.
    async fn still_stands(&self) -> Result<(), TransferError> {
        let Some((source, node)) = self.stands else { return Ok(()) };
        let (found, expected) = (source.head().await?.digest, node.descriptor.digest);
        if found == expected {
            return Ok(());
        }
        Err(TransferError::Moved {
            place: source.name.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        })
    }

    async fn images(&self, to: &Destination, tally: &Tally<'_>) -> Result<(), TransferError> {
        // The root is put under its names.
        let nodes =
            self.parts.iter().flat_map(|part| part.node.below().into_iter().map(|node| (node, part.source)));
        let mut wanted: BTreeMap<Digest, (&Node, &Source)> = BTreeMap::new();
        let mut indexes = Vec::new();
        for (node, source) in nodes.filter(|(_, source)| !to.is_home_of(source)) {
            match &node.content {
                Content::Manifest(_) => drop(wanted.insert(node.descriptor.digest, (node, source))),
                Content::Index(..) => indexes.push(node),
                Content::Missing => {
                    let digest = node.descriptor.digest.to_string();
                    return Err(TransferError::Incomplete { place: source.name.to_string(), digest });
                }
                Content::Other => drop(wanted.insert(node.descriptor.digest, (node, source))),
            }
        }
        let asked = wanted.into_values().map(|(node, source)| async move {
            let is_there = node.manifest().is_some() && to.has(&node.descriptor).await?;
            Ok::<_, TransferError>((!is_there).then_some((node, source)))
        });
        let missing: Vec<(&Node, &Source)> = try_join_all(asked).await?.into_iter().flatten().collect();
        let mut blobs: BTreeMap<Digest, (&Descriptor, &Source)> = BTreeMap::new();
        for (node, source) in &missing {
            let own = node.manifest().into_iter().flat_map(blobs_of);
            let own = own.chain(matches!(node.content, Content::Other).then_some(&node.descriptor));
            blobs.extend(own.map(|blob| (blob.digest, (blob, *source))));
        }
        take(to, blobs.into_values().collect(), tally).await?;
        let manifests = missing.iter().map(|(node, _)| *node).filter(|node| node.manifest().is_some());
        let manifests = manifests.filter(|node| node.descriptor.digest != self.root.descriptor.digest);
        try_join_all(manifests.map(|node| to.put(&node.descriptor, &node.bytes))).await?;
        // What an index names must stand before it.
        for index in indexes.into_iter().filter(|node| node.descriptor.digest != self.root.descriptor.digest)
        {
            to.put(&index.descriptor, &index.bytes).await?;
        }
        Ok(())
    }
}

async fn take(
    to: &Destination,
    blobs: Vec<(&Descriptor, &Source)>,
    tally: &Tally<'_>,
) -> Result<(), TransferError> {
    tally.expect(blobs.len());
    let taken: Vec<_> = blobs
        .into_iter()
        .map(|(blob, source)| async move {
            let how = match to.is_home_of(source) {
                true => Pushed::AlreadyThere,
                false => to.take_blob(blob, source, tally.report).await?,
            };
            tally.note(how, blob.size);
            Ok::<_, TransferError>(())
        })
        .collect();
    stream::iter(taken).buffer_unordered(AT_ONCE).try_collect::<()>().await
}

impl<'a> Tally<'a> {
    fn new(report: &'a TransferReport) -> Self {
        Self {
            report,
            total: AtomicUsize::default(),
            there: AtomicUsize::default(),
            mounted: AtomicUsize::default(),
            sent: AtomicUsize::default(),
            sent_bytes: AtomicU64::default(),
        }
    }

    fn expect(&self, blobs: usize) {
        self.total.fetch_add(blobs, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        let Delivered { there, mounted, sent, .. } = self.told();
        let total = self.total.load(Ordering::Relaxed);
        (self.report)(TransferEvent::Blobs { done: there + mounted + sent, total });
    }

    fn note(&self, how: Pushed, size: u64) {
        let counter = match how {
            Pushed::AlreadyThere => &self.there,
            Pushed::Mounted => &self.mounted,
            Pushed::Uploaded => {
                self.sent_bytes.fetch_add(size, Ordering::Relaxed);
                &self.sent
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    fn told(&self) -> Delivered {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        Delivered {
            there: count(&self.there),
            mounted: count(&self.mounted),
            sent: count(&self.sent),
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
            staged: 0,
        }
    }
}
