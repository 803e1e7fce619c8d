//! Images by the names people give them where a build file may be at hand: its targets, and whatever lies elsewhere.

use std::path::PathBuf;

use tempfile::TempDir;

use super::transfers::{document, unheard};
use crate::base::{Digest, Platform, Reference};
use crate::diag::{Kind, Problem};
use crate::engine::base::Base;
use crate::image::{self, Content, FilePick, ImageError, Means, Node, Source, Tree};
use crate::plan::BaseSource;
use crate::run::Bases;
use crate::store::{MAKE_SPACE, Store, free_space};
use crate::transfer::{Delivery, Destination, Part, TransferError};

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageName {
    /// A target of the build file.
    Target(String),
    Elsewhere(image::ImageName),
}

/// An image that was found.
pub struct Image {
    /// As it was asked for.
    pub name: String,
    source: BaseSource,
    bases: Bases,
    /// Those it is there for.
    pub platforms: Vec<Platform>,
    /// What an archive was unpacked to, as long as it is needed.
    _unpacked: Option<TempDir>,
}

/// What images are found with.
pub(super) struct Finder {
    pub means: Means,
    pub store: Store,
    pub bases: Bases,
}

impl ImageName {
    /// Reads a name. `target:` and `docker-image://` say what is meant; without one a digest is the store's, what
    /// `is_target` knows a target, and the rest is read as everywhere.
    pub fn parse(text: &str, is_target: impl Fn(&str) -> bool) -> Result<Self, Problem> {
        if let Some(name) = text.strip_prefix("target:") {
            return Ok(Self::Target(name.to_string()));
        }
        if let Some(name) = text.strip_prefix("docker-image://") {
            return read(&format!("docker://{name}"));
        }
        if let Ok(digest) = text.parse::<Digest>() {
            return Ok(Self::Elsewhere(image::ImageName::Store(digest)));
        }
        if is_target(text) {
            return Ok(Self::Target(text.to_string()));
        }
        read(text)
    }

    /// The reference, of those that others can pull.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Elsewhere(name) => name.reference(),
            Self::Target(_) => None,
        }
    }
}

fn read(text: &str) -> Result<ImageName, Problem> {
    text.parse().map(ImageName::Elsewhere).map_err(|error: ImageError| error.problem())
}

impl Image {
    /// Finds out which platforms it is there for.
    pub(super) async fn open(
        name: &image::ImageName,
        shown: &str,
        finder: Finder,
    ) -> Result<Self, Box<Problem>> {
        let Finder { means, store, bases } = finder;
        let (source, tree, unpacked) = match name {
            image::ImageName::Registry(reference) => (BaseSource::Registry(reference.clone()), None, None),
            image::ImageName::Store(digest) => (of_store(digest, &store)?, None, None),
            files => {
                let source = Source::open(files, &means).await.map_err(unreadable)?;
                let tree = Tree::read(&source).await.map_err(unreadable)?;
                let unpacked = match folder(files, &means) {
                    Some(_) => None,
                    None => Some(unpack(&source, &tree, &means, &store).await?),
                };
                let path = unpacked.as_ref().map(|folder| folder.path().to_path_buf());
                let path = path.or_else(|| folder(files, &means)).expect("it is one or the other");
                let digest = Some(tree.root.descriptor.digest);
                (BaseSource::OciLayout { path, tag: None, digest }, Some(tree), unpacked)
            }
        };
        let mut platforms = bases.platforms(&source).await?;
        if let Some(tree) = tree.filter(|tree| !tree.root.children().is_empty()) {
            // What a Docker Engine saves names platforms that it does not have.
            let held: Vec<Platform> = tree
                .images()
                .into_iter()
                .filter(|node| is_held(node))
                .filter_map(|node| node.descriptor.platform())
                .collect();
            platforms.retain(|platform| held.is_empty() || held.contains(platform));
        }
        Ok(Self { name: shown.to_string(), source, bases, platforms, _unpacked: unpacked })
    }

    /// The image of one platform.
    pub async fn of(&self, platform: &Platform) -> Result<Base, Box<Problem>> {
        let base = self.bases.base(&self.source, platform, None).await.map_err(|mut problem| {
            if problem.code == "base::platform" {
                problem.message = format!("`{}` has no image for `{platform}`", self.name);
                let found: Vec<String> = self.platforms.iter().map(ToString::to_string).collect();
                problem.help = Some(format!("it has: {}", found.join(", ")));
            }
            problem
        })?;
        Ok(Base { name: self.name.clone(), ..base })
    }

    /// The platform that is meant where none is named: the host's, or the only one there is.
    pub fn usual_platform(&self, host: &Platform) -> Platform {
        match &self.platforms[..] {
            [only] => only.clone(),
            _ => host.clone(),
        }
    }
}

fn unreadable(error: ImageError) -> Box<Problem> {
    Box::new(error.problem())
}

/// The store is a layout itself.
fn of_store(digest: &Digest, store: &Store) -> Result<BaseSource, Box<Problem>> {
    if store.blobs().contains(digest) {
        let path = store.path().to_path_buf();
        return Ok(BaseSource::OciLayout { path, tag: None, digest: Some(*digest) });
    }
    let problem = Problem::input("image::not-in-store", format!("the store has no image `{digest}`"));
    Err(Box::new(problem.help(
        "name the target, which is built where it must be, or a reference with this digest: `NAME@sha256:…`",
    )))
}

/// The folder of a layout that is one.
fn folder(name: &image::ImageName, means: &Means) -> Option<PathBuf> {
    let path = match name {
        image::ImageName::Layout(path, _) | image::ImageName::Path(path, _) => means.current.join(path),
        _ => return None,
    };
    path.is_dir().then_some(path)
}

fn is_held(node: &Node) -> bool {
    node.manifest().is_some() && !node.is_attestation()
}

/// The images of an archive as a layout, which goes with the value.
async fn unpack(source: &Source, tree: &Tree, means: &Means, store: &Store) -> Result<TempDir, Box<Problem>> {
    let nodes = tree.nodes();
    let images: Vec<&Node> = nodes.iter().copied().filter(|node| is_held(node)).collect();
    let manifests = images.iter().filter_map(|node| node.manifest());
    let blobs = manifests.flat_map(|manifest| manifest.layers.iter().chain([&manifest.config]));
    let bytes = blobs.map(|blob| blob.size).sum();
    if let Some(shortage) = free_space::shortage_after(store.path(), bytes) {
        let message = format!("`{}` is not unpacked: {shortage}", source.name);
        return Err(Box::new(Problem::new(Kind::Host, "store::full", message).help(MAKE_SPACE)));
    }
    let folder = tempfile::Builder::new().prefix("image-").tempdir_in(store.path().join("tmp"));
    let folder = folder.map_err(|error| {
        let message = format!("cannot unpack `{}`: {error}", source.name);
        Box::new(Problem::new(Kind::Host, "image::unpacking", message))
    })?;
    let place = image::ImageName::Layout(folder.path().to_path_buf(), FilePick::default());
    let put = async {
        let destination = Destination::open(&place, means)?;
        for inner in nodes.iter().filter(|node| matches!(node.content, Content::Index(..))) {
            destination.put(&inner.descriptor, &inner.bytes).await?;
        }
        let root = document(&tree.root);
        let delivery = Delivery {
            parts: images.into_iter().map(|node| Part { source, node }).collect(),
            root: &root,
            referrers: &[],
            tags: &[],
            stands: None,
            report: unheard(),
        };
        delivery.run(&destination).await?;
        destination.finish(&unheard()).await?;
        Ok::<_, TransferError>(())
    };
    put.await.map_err(|error| Box::new(error.problem()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_the_image_is() {
        let check = |text: &str, expected: &str| {
            let found = ImageName::parse(text, |name| name == "api").map(|name| match name {
                ImageName::Target(name) => format!("target {name}"),
                ImageName::Elsewhere(name) => name.to_string(),
            });
            assert_eq!(found.unwrap_or_else(|problem| problem.message), expected, "{text}");
        };
        check("api", "target api");
        check("target:web", "target web");
        check("alpine:3", "alpine:3");
        check("docker-image://api", "api:latest");
        check("./images:v1", "./images:v1");
        check("oci-archive://a.tar:v1", "oci-archive://a.tar:v1");
        check("engine://api", "engine://api");
        let digest = Digest::of(b"x");
        check(&digest.to_string(), &format!("store://{digest}"));
        check("nope://x", "`nope://x` names no image: nobody knows `nope://`");
    }
}
