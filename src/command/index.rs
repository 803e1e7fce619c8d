//! `mab index`: indexes put together from images wherever they lie, and changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::Failure;
use super::copy::check_tags;
use super::inspect::failed as unreadable;
use super::plan::Document;
use super::session::{self, SessionOptions};
use super::transfers::{Told, Transferred, failed, told, unheard, warnings};
use crate::base::{Digest, Platform};
use crate::event::{EventSink, NodeKind};
use crate::facts::Facts;
use crate::image::{self, Content, ImageName, Means, Node, Source, Tree};
use crate::oci::{Descriptor, Index, media_type};
use crate::transfer::{Delivery, Destination, Part, TransferError, compose};

/// Where the index goes, and how.
#[derive(Clone, Debug)]
pub struct IndexOptions {
    /// The index that is made, or changed.
    pub index: String,
    /// Where a changed one goes, if not in the place of the old.
    pub to: Option<String>,
    pub tags: Vec<String>,
    pub is_oci: bool,
    pub dry_run: bool,
}

/// What is done to it.
#[derive(Clone, Debug)]
pub enum Change {
    Create { sources: Vec<String>, replaces: bool, annotations: BTreeMap<String, String> },
    Append { sources: Vec<String>, replaces: bool },
    Remove { platforms: Vec<Platform> },
    Annotate { platform: Option<Platform>, annotations: BTreeMap<String, String> },
}

/// A place that was read.
struct Read {
    source: Source,
    tree: Tree,
    /// As an index names it.
    entries: Vec<Descriptor>,
}

pub async fn index(
    options: &IndexOptions,
    change: &Change,
    session: &SessionOptions,
    facts: &Facts,
    events: Arc<dyn EventSink>,
) -> Result<Transferred, Failure> {
    check_tags(&options.tags)?;
    let means = session::means(session, facts).map_err(|problem| vec![*problem])?;
    let own: ImageName = options.index.parse().map_err(unreadable)?;
    let to: ImageName = options.to.as_ref().unwrap_or(&options.index).parse().map_err(unreadable)?;
    let destination = Destination::open(&to, &means).map_err(failed)?;
    let sources = match change {
        Change::Create { sources, .. } | Change::Append { sources, .. } => sources.clone(),
        Change::Remove { .. } | Change::Annotate { .. } => Vec::new(),
    };
    let standing = match change {
        Change::Create { .. } => None,
        _ => Some(read(&own, &means).await?),
    };
    let added = try_join_all(
        sources.iter().map(|source| async { read(&source.parse().map_err(unreadable)?, &means).await }),
    );
    let added = added.await?;
    let index = changed(standing.as_ref(), &added, change, options.is_oci).map_err(failed)?;
    let bytes = index.to_bytes();
    if options.dry_run {
        let text = serde_json::to_string_pretty(&index).expect("indexes are JSON");
        return Ok(Transferred::Done(Document { text: format!("{text}\n"), warnings: Vec::new() }));
    }
    let root = image::Document { descriptor: Descriptor::of(&index.media_type, &bytes), bytes };
    let delivery = Delivery {
        parts: parts(&index, &standing, &added),
        root: &root,
        referrers: &[],
        tags: &options.tags,
        stands: standing
            .as_ref()
            .filter(|_| options.to.is_none())
            .map(|read| (&read.source, &read.tree.root)),
        report: unheard(),
    };
    let told_events = Told::start(NodeKind::Index, &to, events);
    let (delivered, left_out) = match told_events.deliver(delivery, destination).await {
        Ok(moved) => moved,
        Err(problem) => return Ok(Transferred::Failed(problem)),
    };
    let platforms: Vec<String> = index.platforms().iter().map(Platform::to_string).collect();
    let mut text = format!("{to}  {}\n", root.descriptor.digest);
    for tag in &options.tags {
        let name = destination_tag(&to, tag);
        text.push_str(&format!("{name}  {}\n", root.descriptor.digest));
    }
    text.push_str(&format!("  {}: {}\n", platforms.join(", "), told(&delivered)));
    let mut warnings = warnings(&to, &delivered);
    warnings.extend(left_out);
    Ok(Transferred::Done(Document { text, warnings }))
}

fn destination_tag(to: &ImageName, tag: &str) -> String {
    match to.reference() {
        Some(reference) => format!("{}:{tag}", reference.without_tag().familiar()),
        None => format!("{to} ({tag})"),
    }
}

async fn read(name: &ImageName, means: &Means) -> Result<Read, Failure> {
    let source = Source::open(name, means).await.map_err(unreadable)?;
    let tree = Tree::read(&source).await.map_err(unreadable)?;
    let entries = match &tree.root.content {
        Content::Index(index, _) => index.manifests.clone(),
        _ => vec![entry(&tree.root, &source).await?],
    };
    Ok(Read { source, tree, entries })
}

/// An image as an index names it: for the platform that its config says.
async fn entry(node: &Node, source: &Source) -> Result<Descriptor, Failure> {
    if !node.is_runnable() {
        return Err(failed(TransferError::PlatformUnknown(source.name.to_string())));
    }
    let config = node.image(source).await.map_err(unreadable)?.config;
    let descriptor = &node.descriptor;
    let descriptor = Descriptor::new(&descriptor.media_type, descriptor.digest, node.bytes.len() as u64);
    let mut entry = descriptor.with_platform(&config.platform());
    if let Some(platform) = &mut entry.platform {
        platform.os_features.clone_from(&config.os_features);
    }
    Ok(entry)
}

fn changed(
    standing: Option<&Read>,
    added: &[Read],
    change: &Change,
    is_oci: bool,
) -> Result<Index, TransferError> {
    let place = standing.map(|read| read.source.name.to_string()).unwrap_or_default();
    let mut index = match standing.map(|read| (&read.tree.root.content, &read.entries, change)) {
        None => Index::new(Vec::new()),
        Some((Content::Index(index, _), ..)) => index.clone(),
        // A single image becomes the first of an index.
        Some((_, entries, Change::Append { .. })) => Index::new(entries.clone()),
        Some(_) => return Err(TransferError::NoIndex(place)),
    };
    let entries = || added.iter().flat_map(|read| read.entries.clone()).collect::<Vec<_>>();
    match change {
        Change::Create { replaces, annotations, .. } => {
            compose::add(&mut index, entries(), *replaces)?;
            index.annotations.clone_from(annotations);
            compose::settle_type(&mut index, is_oci);
        }
        Change::Append { replaces, .. } => {
            compose::add(&mut index, entries(), *replaces)?;
            let stays_oci = index.media_type == media_type::OCI_INDEX
                && standing.is_some_and(|it| it.tree.root.manifest().is_none());
            compose::settle_type(&mut index, is_oci || stays_oci);
        }
        Change::Remove { platforms } => compose::remove(&mut index, &place, platforms)?,
        Change::Annotate { platform, annotations } => {
            if is_oci {
                compose::settle_type(&mut index, true);
            }
            compose::annotate(&mut index, &place, platform.as_ref(), annotations)?;
        }
    }
    Ok(index)
}

/// Everything the index names, where it was found.
fn parts<'r>(index: &Index, standing: &'r Option<Read>, added: &'r [Read]) -> Vec<Part<'r>> {
    let mut found: BTreeMap<Digest, Part<'r>> = BTreeMap::new();
    // What is there already goes before what would have to come.
    for read in added.iter().rev().chain(standing) {
        let source = &read.source;
        for node in read.tree.nodes() {
            found.insert(node.descriptor.digest, Part { source, node });
        }
    }
    index.manifests.iter().filter_map(|entry| found.get(&entry.digest).copied()).collect()
}
