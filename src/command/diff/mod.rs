//! `mab diff`: in what two images differ: platforms, configs, layers, files.

mod config;
mod files;
mod report;

use std::collections::BTreeMap;

use super::Failure;
use super::inspect::{failed, image_of, open};
use super::session::SessionOptions;
use crate::base::{Digest, Platform};
use crate::facts::Facts;
use crate::image::{Image, Node, Source, Tree};
use crate::oci::Descriptor;

pub use config::Change;
pub use files::{FileChange, FileState};

#[derive(Clone, Debug)]
pub struct DiffOptions {
    pub old: String,
    pub new: String,
    pub platform: Option<Platform>,
    /// Configs and layers alone: nothing is fetched but documents.
    pub without_files: bool,
    pub is_json: bool,
    /// Every file, however many.
    pub all_files: bool,
}

/// What there is to tell, and whether there is anything.
pub struct Told {
    pub text: String,
    pub differs: bool,
}

/// Two images, and what differs.
struct Differences {
    old: (String, Digest),
    new: (String, Digest),
    /// What the index of the one or the other alone has.
    only_old: Vec<String>,
    only_new: Vec<String>,
    annotations: Vec<Change>,
    platforms: Vec<PlatformDifference>,
}

/// One platform's images.
struct PlatformDifference {
    platform: String,
    digests: (Digest, Digest),
    sizes: (u64, u64),
    config: Vec<Change>,
    annotations: Vec<Change>,
    shared_layers: usize,
    only_old: Vec<Descriptor>,
    only_new: Vec<Descriptor>,
    /// `None`: not looked at.
    files: Option<Vec<FileChange>>,
}

pub async fn diff(options: &DiffOptions, session: &SessionOptions, facts: &Facts) -> Result<Told, Failure> {
    let (old, new) = (open(&options.old, session, facts).await?, open(&options.new, session, facts).await?);
    let trees = (Tree::read(&old).await.map_err(failed)?, Tree::read(&new).await.map_err(failed)?);
    let (before, after) = match &options.platform {
        None => (named(&trees.0, &old).await?, named(&trees.1, &new).await?),
        Some(platform) => {
            let chosen = (
                image_of(&trees.0, &old, Some(platform)).await?,
                image_of(&trees.1, &new, Some(platform)).await?,
            );
            let name = platform.to_string();
            (BTreeMap::from([(name.clone(), chosen.0)]), BTreeMap::from([(name, chosen.1)]))
        }
    };
    let only = |these: &BTreeMap<String, &Node>, others: &BTreeMap<String, &Node>| {
        these.keys().filter(|name| !others.contains_key(*name)).cloned().collect()
    };
    let mut platforms = Vec::new();
    for (platform, node) in &before {
        let Some(other) = after.get(platform) else { continue };
        if node.descriptor.digest != other.descriptor.digest {
            let images = (node.image(&old).await.map_err(failed)?, other.image(&new).await.map_err(failed)?);
            platforms
                .push(platform_difference(options, platform, (&old, &images.0), (&new, &images.1)).await?);
        }
    }
    let is_one = options.platform.is_some();
    let annotations = |tree: &Tree| if is_one { BTreeMap::new() } else { index_annotations(tree) };
    let differences = Differences {
        old: (options.old.clone(), trees.0.root.descriptor.digest),
        new: (options.new.clone(), trees.1.root.descriptor.digest),
        only_old: only(&before, &after),
        only_new: only(&after, &before),
        annotations: config::changes(&annotations(&trees.0), &annotations(&trees.1)),
        platforms,
    };
    let differs = differences.old.1 != differences.new.1 && (!is_one || !differences.platforms.is_empty());
    let text = match options.is_json {
        true => format!("{:#}\n", report::json(&differences)),
        false => report::text(&differences, options.all_files),
    };
    Ok(Told { text, differs })
}

/// Images by what they are for.
async fn named<'t>(tree: &'t Tree, source: &Source) -> Result<BTreeMap<String, &'t Node>, Failure> {
    let mut named = BTreeMap::new();
    for node in tree.images().into_iter().filter(|node| node.is_runnable()) {
        let platform = match node.descriptor.platform() {
            Some(platform) => platform,
            None => node.image(source).await.map_err(failed)?.config.platform(),
        };
        named.insert(platform.to_string(), node);
    }
    Ok(named)
}

fn index_annotations(tree: &Tree) -> BTreeMap<String, String> {
    match &tree.root.content {
        crate::image::Content::Index(index, _) => index.annotations.clone(),
        _ => BTreeMap::new(),
    }
}

async fn platform_difference(
    options: &DiffOptions,
    platform: &str,
    (old, before): (&Source, &Image),
    (new, after): (&Source, &Image),
) -> Result<PlatformDifference, Failure> {
    let only = |these: &[Descriptor], others: &[Descriptor]| -> Vec<Descriptor> {
        these
            .iter()
            .filter(|layer| others.iter().all(|other| other.digest != layer.digest))
            .cloned()
            .collect()
    };
    let (layers_before, layers_after) = (&before.manifest.layers, &after.manifest.layers);
    let only_old = only(layers_before, layers_after);
    let files = if options.without_files {
        None
    } else if before.config.rootfs.diff_ids == after.config.rootfs.diff_ids {
        // However they are compressed, they hold the same.
        Some(Vec::new())
    } else {
        let trees = (files::Files::read(old, before).await?, files::Files::read(new, after).await?);
        Some(trees.0.changes_to(&trees.1))
    };
    Ok(PlatformDifference {
        platform: platform.to_string(),
        digests: (before.descriptor.digest, after.descriptor.digest),
        sizes: (before.manifest.content_size(), after.manifest.content_size()),
        config: config::changes(&config::flat(&before.config_bytes), &config::flat(&after.config_bytes)),
        annotations: config::changes(&before.manifest.annotations, &after.manifest.annotations),
        shared_layers: layers_before.len() - only_old.len(),
        only_old,
        only_new: only(layers_after, layers_before),
        files,
    })
}
