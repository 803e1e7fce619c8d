//! `mab copy` and `mab tag`: images from one place to another, and under further names.

use std::sync::Arc;

use super::Failure;
use super::inspect::{failed as unreadable, image_of};
use super::plan::Document;
use super::session::{self, SessionOptions};
use super::transfers::{Told, Transferred, document, failed, told, unheard, warnings};
use crate::base::Platform;
use crate::diag::Problem;
use crate::event::{EventSink, NodeKind};
use crate::facts::Facts;
use crate::image::{self, Content, ImageName, Node, Source, Tree};
use crate::oci::{Descriptor, Index};
use crate::publish::load::one_platform;
use crate::transfer::{Delivery, Destination, Part, Referrer, TransferError, compose};
use crate::ui::count;

#[derive(Clone, Debug)]
pub struct CopyOptions {
    pub source: String,
    pub destination: String,
    /// Only these; all without any.
    pub platforms: Vec<Platform>,
    /// Also what refers to the image.
    pub referrers: bool,
    /// Further tags at the destination.
    pub tags: Vec<String>,
}

pub async fn copy(
    options: &CopyOptions,
    session: &SessionOptions,
    facts: &Facts,
    events: Arc<dyn EventSink>,
) -> Result<Transferred, Failure> {
    let means = session::means(session, facts).map_err(|problem| vec![*problem])?;
    let name: ImageName = options.source.parse().map_err(unreadable)?;
    let source = Source::open(&name, &means).await.map_err(unreadable)?;
    let to: ImageName = options.destination.parse().map_err(unreadable)?;
    let to = named_like(to, &name);
    check_tags(&options.tags)?;
    let destination = Destination::open(&to, &means).map_err(failed)?;
    let tree = Tree::read(&source).await.map_err(unreadable)?;
    let only = destination.only_platform().await.map_err(failed)?;
    let (platforms, left_out) = kept(&tree, &options.platforms, only.as_ref(), &destination);
    let (root, nodes) = chosen(&tree, &source, &platforms).await?;
    let mut referrers = Vec::new();
    if options.referrers && !destination.is_home_of(&source) && !destination.is_dockers() {
        let mut about: Vec<&Node> = nodes.iter().flat_map(|node| node.below()).collect();
        about.extend(Some(&tree.root).filter(|own| own.descriptor.digest == root.descriptor.digest));
        about.dedup_by_key(|node| node.descriptor.digest);
        let found = Referrer::find(&source, &about).await.map_err(unreadable)?;
        referrers.extend(found.into_iter().map(|referrer| (&source, referrer)));
    }
    let parts = nodes.into_iter().map(|node| Part { source: &source, node }).collect();
    let keeps_digests = !destination.is_docker_archive() && only.is_none();
    let delivery = Delivery {
        parts,
        root: &root,
        referrers: &referrers,
        tags: &options.tags,
        stands: None,
        report: unheard(),
    };
    let told_events = Told::start(NodeKind::Copy, &to, events);
    let (delivered, of_engine) = match told_events.deliver(delivery, destination).await {
        Ok(moved) => moved,
        Err(problem) => return Ok(Transferred::Failed(problem)),
    };
    // What has Docker's types has a digest of its own.
    let digest = if keeps_digests { format!("  {}", root.descriptor.digest) } else { String::new() };
    let mut text = format!("{to}{digest}\n  {}", told(&delivered));
    if !referrers.is_empty() {
        text.push_str(&format!(", with {}", count(referrers.len(), "referrer")));
    }
    text.push('\n');
    let mut warnings = warnings(&to, &delivered);
    warnings.extend(left_out.into_iter().chain(of_engine));
    Ok(Transferred::Done(Document { text, warnings }))
}

/// Of several platforms an Engine may keep one: its own, if no other is asked for.
fn kept(
    tree: &Tree,
    wanted: &[Platform],
    only: Option<&Platform>,
    destination: &Destination,
) -> (Vec<Platform>, Option<Problem>) {
    let all = tree.platforms();
    match only.filter(|_| wanted.is_empty() && all.len() > 1) {
        None => (wanted.to_vec(), None),
        Some(only) => {
            let is_kept = |platform: &&Platform| platform.fitness(only).is_some();
            let kept = all.iter().filter(is_kept).max_by_key(|platform| platform.fitness(only));
            // Of an image without it nothing is left out: it is refused.
            let left_out = kept.map(|kept| {
                let others = all.iter().filter(|other| *other != kept).map(Platform::to_string);
                let others: Vec<String> = others.collect();
                one_platform(&destination.name.to_string(), &kept.to_string(), &others)
            });
            (vec![only.clone()], left_out)
        }
    }
}

/// `mab tag`: further tags where an image is.
pub async fn tag(
    image: &str,
    tags: &[String],
    session: &SessionOptions,
    facts: &Facts,
) -> Result<Document, Failure> {
    check_tags(tags)?;
    let means = session::means(session, facts).map_err(|problem| vec![*problem])?;
    let name: ImageName = image.parse().map_err(unreadable)?;
    let source = Source::open(&name, &means).await.map_err(unreadable)?;
    let root = source.root().await.map_err(unreadable)?;
    let place = match &name {
        ImageName::Registry(reference) => ImageName::Registry(reference.without_tag()),
        ImageName::Layout(path, _) => ImageName::Layout(path.clone(), image::FilePick::default()),
        ImageName::Path(path, _) if means.current.join(path).is_dir() => {
            ImageName::Layout(path.clone(), image::FilePick::default())
        }
        other => return Err(failed(TransferError::NoDestination(other.to_string()))),
    };
    let destination = Destination::open(&place, &means).map_err(failed)?;
    let delivery =
        Delivery { parts: Vec::new(), root: &root, referrers: &[], tags, stands: None, report: unheard() };
    delivery.run(&destination).await.map_err(failed)?;
    destination.finish(&unheard()).await.map_err(failed)?;
    let line = |tag: &String| format!("{place}:{tag}  {}\n", root.descriptor.digest);
    Ok(Document { text: tags.iter().map(line).collect(), warnings: Vec::new() })
}

/// What is copied: the whole, the image of one platform, or an index of some.
async fn chosen<'t>(
    tree: &'t Tree,
    source: &Source,
    platforms: &[Platform],
) -> Result<(image::Document, Vec<&'t Node>), Failure> {
    match (platforms, &tree.root.content) {
        ([], _) => Ok((document(&tree.root), vec![&tree.root])),
        ([one], _) => {
            let node = image_of(tree, source, Some(one)).await?;
            Ok((document(node), vec![node]))
        }
        (several, Content::Index(index, children)) => {
            let mut index: Index = index.clone();
            compose::keep(&mut index, &source.name.to_string(), several).map_err(failed)?;
            let bytes = index.to_bytes();
            let root = image::Document { descriptor: Descriptor::of(&index.media_type, &bytes), bytes };
            Ok((root, children.iter().filter(|child| index.manifests.contains(&child.descriptor)).collect()))
        }
        (_, _) => Err(failed(TransferError::NoIndex(source.name.to_string()))),
    }
}

/// Files take over the name that an image has in its registry, unless they are told another.
fn named_like(to: ImageName, source: &ImageName) -> ImageName {
    let Some(reference) = source.reference() else { return to };
    let tagged = |mut pick: image::FilePick, tag: Option<String>| {
        pick.tag = pick.tag.or(tag);
        pick
    };
    let tag = reference.tag().map(str::to_string);
    match to {
        ImageName::Layout(path, pick) => ImageName::Layout(path, tagged(pick, tag)),
        ImageName::OciArchive(path, pick) => ImageName::OciArchive(path, tagged(pick, tag)),
        ImageName::Path(path, pick) => ImageName::Path(path, tagged(pick, tag)),
        ImageName::DockerArchive(path, pick) => {
            let whole = reference.tag().and_then(|tag| reference.with_tag(tag).ok());
            ImageName::DockerArchive(path, tagged(pick, whole.map(|name| name.familiar())))
        }
        other => other,
    }
}

/// Tags are of the place that is named; other places are copied to.
pub fn check_tags(tags: &[String]) -> Result<(), Failure> {
    let probe: crate::base::Reference = "tag".parse().expect("it is a name");
    let wrong = tags.iter().filter_map(|tag| {
        let error = probe.with_tag(tag).err()?;
        let problem = Problem::input("transfer::bad-tag", format!("`{tag}` is not a tag: {}", error.reason));
        Some(if tag.contains(['/', ':']) { problem.help("`mab copy` takes whole names") } else { problem })
    });
    let wrong: Vec<Problem> = wrong.collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}
