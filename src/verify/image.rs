//! An image as far as it is known without unpacking it.

use std::sync::Arc;

use crate::base::Platform;
use crate::layer::{Entry, EntryKind, Index, NodeRef, Origin, Tree, TreeError};
use crate::oci::ImageConfig;
use crate::scan::Found;

pub struct Image<'a> {
    pub platform: &'a Platform,
    pub config: &'a ImageConfig,
    /// Bottom first. One that is unknown shows no files.
    pub layers: Vec<Option<Arc<Index>>>,
    /// The first layer that is judged. Those below are others' affair.
    pub first: usize,
    /// No layer is unknown, so that what is not there is missing.
    pub is_whole: bool,
    /// It has to start by itself: others are only there to be built on.
    pub starts: bool,
    tree: Tree,
}

/// A file of the image that is of interest.
pub(super) struct Program<'i> {
    pub layer: usize,
    pub path: &'i [u8],
    pub entry: &'i Entry,
    pub found: &'i Found,
}

impl<'a> Image<'a> {
    /// Fails where layers do not fit on each other.
    pub fn new(
        platform: &'a Platform,
        config: &'a ImageConfig,
        layers: Vec<Option<Arc<Index>>>,
        first: usize,
    ) -> Result<Self, TreeError> {
        let mut tree = Tree::new();
        for (place, index) in layers.iter().enumerate() {
            let ordinal = u32::try_from(place).expect("an image has fewer than 2^32 layers");
            if let Some(index) = index {
                tree.apply(ordinal, index)?;
            }
        }
        let is_whole = layers.iter().all(Option::is_some);
        Ok(Self { platform, config, layers, first, is_whole, starts: true, tree })
    }

    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What is shown of the layers that are judged.
    pub(super) fn programs(&self) -> impl Iterator<Item = Program<'_>> {
        let judged = self.layers.iter().enumerate().skip(self.first);
        let known = judged.filter_map(|(layer, index)| Some((layer, index.as_deref()?)));
        known.flat_map(move |(layer, index)| {
            let programs = index.programs.iter().flat_map(|programs| programs.iter());
            programs.filter_map(move |(position, found)| {
                let path = &index.entries.get(position as usize)?.entry.path;
                let node = self.tree.get(path)?;
                let origin = self.tree.origin(node)?;
                let is_shown = origin.layer as usize == layer && origin.position == position;
                is_shown.then(|| Program {
                    layer,
                    path: self.tree.path(node),
                    entry: self.tree.entry(node),
                    found,
                })
            })
        })
    }

    /// What a file is: nothing where that is of no interest, or not known.
    pub(super) fn found(&self, node: NodeRef) -> Option<&Found> {
        let Origin { layer, position } = self.tree.origin(node)?;
        self.layers.get(layer as usize)?.as_ref()?.programs.as_ref()?.get(position)
    }

    /// Whether it is known what a file is, or that it is nothing.
    pub(super) fn is_looked_at(&self, node: NodeRef) -> bool {
        let layer = self.tree.origin(node).and_then(|origin| self.layers.get(origin.layer as usize));
        layer.is_some_and(|index| index.as_ref().is_some_and(|index| index.programs.is_some()))
    }

    /// The layer that has a file.
    pub(super) fn layer_of(&self, node: NodeRef) -> Option<usize> {
        self.tree.origin(node).map(|origin| origin.layer as usize)
    }

    /// The file at a path, links followed.
    pub(super) fn file(&self, path: &[u8]) -> Option<NodeRef> {
        let node = self.tree.resolve(path, true).ok()??;
        matches!(self.tree.entry(node).kind, EntryKind::File { .. }).then_some(node)
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.file(path.as_bytes()).is_some()
    }

    /// The folders where commands are looked for.
    pub(super) fn search_path(&self) -> Vec<&str> {
        const USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let variables = self.config.config.env.iter();
        let set = variables.filter_map(|variable| variable.strip_prefix("PATH=")).next_back();
        set.unwrap_or(USUAL).split(':').filter(|folder| !folder.is_empty()).collect()
    }
}

/// Whether anybody may run it.
pub(super) fn is_executable(entry: &Entry) -> bool {
    entry.mode & 0o111 != 0
}
