//! The file tree that a stack of layers shows, known from their entries alone: nothing is unpacked.
//!
//! Also serves build contexts, as a stack of one. Lookups follow symlinks the way a process confined to the
//! root would. What a file contains is not here; its [`Origin`] says which layer has it and where.

mod apply;
mod independent;
mod resolve;

use std::collections::BTreeMap;

use super::entry::{Entry, EntryKind};
use super::path;

pub use independent::is_independent;

/// A tree of files, directories and links. Nodes that were replaced or removed keep their memory.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
}

/// Names a node of one tree. A node that was removed still answers; it is in no directory any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeRef(u32);

/// Where an entry comes from: the layer, counted by the caller, and the position in its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    pub layer: u32,
    pub position: u32,
}

#[derive(Clone, Debug)]
struct Node {
    /// With the path the node has in the tree; hard links are as what they link to.
    entry: Entry,
    origin: Option<Origin>,
    /// The layer that put it here. For a hard link it may be above the one of the origin.
    layer: Option<u32>,
    /// The first node of those that are one file.
    link_group: Option<NodeRef>,
    children: BTreeMap<Vec<u8>, NodeRef>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error("`{path}` leads through more than {limit} symlinks")]
    Loop { path: String, limit: usize },
    #[error("`{path}` is not a directory")]
    NotADirectory { path: String },
    #[error("`{path}` is a hard link to `{target}`, which is not there")]
    NoLinkTarget { path: String, target: String },
    #[error("`{path}` is a hard link to the directory `{target}`")]
    LinkToDirectory { path: String, target: String },
    #[error("`{path}` is the root, which cannot be removed or replaced")]
    Root { path: String },
    #[error("`{path}` is longer than 4096 bytes")]
    TooLong { path: String },
    #[error("there are more entries than a tree can hold")]
    Full,
}

const ROOT: NodeRef = NodeRef(0);
/// Of directories that no entry describes, as every tool creates them.
const IMPLIED_MODE: u32 = 0o755;

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

impl Tree {
    /// A tree with nothing but its root.
    pub fn new() -> Self {
        Self { nodes: vec![Node::implied(Vec::new())] }
    }

    pub fn root(&self) -> NodeRef {
        ROOT
    }

    /// The node at a clean path, no symlink followed.
    pub fn get(&self, path: &[u8]) -> Option<NodeRef> {
        path.split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty())
            .try_fold(ROOT, |node, name| self.child(node, name))
    }

    pub fn child(&self, node: NodeRef, name: &[u8]) -> Option<NodeRef> {
        self.node(node).children.get(name).copied()
    }

    /// What is in a directory, sorted by name, bytewise.
    pub fn children(&self, node: NodeRef) -> impl Iterator<Item = NodeRef> {
        self.node(node).children.values().copied()
    }

    /// The node and everything below it: directories before what is in them, names sorted.
    pub fn walk(&self, node: NodeRef) -> impl Iterator<Item = NodeRef> {
        let mut waiting = vec![node];
        std::iter::from_fn(move || {
            let next = waiting.pop()?;
            waiting.extend(self.node(next).children.values().rev());
            Some(next)
        })
    }

    /// Relative to the root, clean.
    pub fn path(&self, node: NodeRef) -> &[u8] {
        &self.node(node).entry.path
    }

    /// The last component of the path; empty for the root.
    pub fn name(&self, node: NodeRef) -> &[u8] {
        path::split(self.path(node)).1
    }

    /// Its path is the one in the tree. A hard link shows what it links to.
    pub fn entry(&self, node: NodeRef) -> &Entry {
        &self.node(node).entry
    }

    /// Where the entry comes from, for a hard link where its content is. Implied directories have none.
    pub fn origin(&self, node: NodeRef) -> Option<Origin> {
        self.node(node).origin
    }

    /// The same for all hard links to one file; nothing for a file that has no other name.
    pub fn link_group(&self, node: NodeRef) -> Option<NodeRef> {
        self.node(node).link_group
    }

    fn node(&self, node: NodeRef) -> &Node {
        &self.nodes[node.0 as usize]
    }

    fn node_mut(&mut self, node: NodeRef) -> &mut Node {
        &mut self.nodes[node.0 as usize]
    }

    fn add(&mut self, node: Node) -> Result<NodeRef, TreeError> {
        let reference = u32::try_from(self.nodes.len()).map(NodeRef).map_err(|_| TreeError::Full)?;
        self.nodes.push(node);
        Ok(reference)
    }
}

impl Node {
    fn implied(path: Vec<u8>) -> Self {
        Self::new(Entry::new(path, EntryKind::Directory, IMPLIED_MODE), None)
    }

    fn new(entry: Entry, origin: Option<Origin>) -> Self {
        let layer = origin.map(|origin| origin.layer);
        Self { entry, origin, layer, link_group: None, children: BTreeMap::new() }
    }
}

/// A path for messages.
fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

#[cfg(test)]
mod tests;
