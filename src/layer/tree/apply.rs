//! Putting layers into a tree, as containerd applies them to a directory.
//!
//! - The parents of an entry are reached through symlinks; its own name is not followed.
//! - Whatever is at the name goes, unless both are directories; then the old one takes new attributes.
//! - Parents that are missing appear as directories of root, mode 0755.
//! - A whiteout or an opaque mark removes what lower layers had, and never what its own layer brings,
//!   whatever their order (OCI image specification, layer.md, "Whiteouts").
//! - A hard link shows the file it links to, across layers too.

use std::collections::BTreeMap;

use super::super::entry::{Entry, EntryKind};
use super::super::index::Index;
use super::super::path;
use super::{Node, NodeRef, Origin, ROOT, Tree, TreeError, shown};

impl Tree {
    /// Puts a layer on top of what is there.
    pub fn apply(&mut self, layer: u32, index: &Index) -> Result<(), TreeError> {
        for (position, indexed) in index.entries.iter().enumerate() {
            let position = u32::try_from(position).map_err(|_| TreeError::Full)?;
            self.put(&indexed.entry, Origin { layer, position })?;
        }
        Ok(())
    }

    /// Puts one entry, which has a clean path, into the tree. A mark of removal gives no node.
    pub fn put(&mut self, entry: &Entry, origin: Origin) -> Result<Option<NodeRef>, TreeError> {
        match entry.kind {
            EntryKind::Whiteout => self.whiteout(entry, origin.layer).map(|()| None),
            EntryKind::Opaque => {
                if let Some(directory) = self.resolve(&entry.path, true)? {
                    self.remove_lower_children(directory, origin.layer);
                }
                Ok(None)
            }
            _ => self.insert(entry, origin).map(Some),
        }
    }

    /// Puts a file, directory or link into the tree.
    pub fn insert(&mut self, entry: &Entry, origin: Origin) -> Result<NodeRef, TreeError> {
        if entry.path.is_empty() {
            return self.describe_root(entry, origin);
        }
        let (parent, name) = path::split(&entry.path);
        let parent = self.make_directory(parent)?;
        let linked = match &entry.kind {
            EntryKind::HardLink { target } => Some(self.link_target(entry, target)?),
            _ => None,
        };
        let path = path::join(self.path(parent), name);
        if path.len() > path::MAX_PATH_BYTES {
            return Err(TreeError::TooLong { path: shown(&path) });
        }
        if let Some(old) = self.child(parent, name) {
            if entry.is_directory() && self.entry(old).is_directory() {
                let node = self.node_mut(old);
                node.entry = Entry { path, ..entry.clone() };
                node.origin = Some(origin);
                node.layer = Some(origin.layer);
                return Ok(old);
            }
            if linked.is_some_and(|linked| self.is_same_file(linked, old)) {
                return Ok(old);
            }
            self.leave_group(old);
        }
        let node = match linked {
            None => Node::new(Entry { path, ..entry.clone() }, Some(origin)),
            Some(linked) => Node { layer: Some(origin.layer), ..self.another_name(linked, path) },
        };
        let node = self.add(node)?;
        self.node_mut(parent).children.insert(name.to_vec(), node);
        Ok(node)
    }

    /// Removes the node at a clean path, parents reached through symlinks, with everything below it.
    pub fn remove(&mut self, path: &[u8]) -> Result<(), TreeError> {
        let (parent, name) = path::split(path);
        if name.is_empty() {
            return Err(TreeError::Root { path: shown(path) });
        }
        let Some(parent) = self.resolve(parent, true)? else { return Ok(()) };
        if let Some(node) = self.node_mut(parent).children.remove(name) {
            self.leave_group(node);
        }
        Ok(())
    }

    fn describe_root(&mut self, entry: &Entry, origin: Origin) -> Result<NodeRef, TreeError> {
        if !entry.is_directory() {
            return Err(TreeError::Root { path: shown(&entry.path) });
        }
        let root = self.node_mut(ROOT);
        root.entry = entry.clone();
        root.origin = Some(origin);
        Ok(ROOT)
    }

    /// The directory a path leads to; what is missing of it is created.
    fn make_directory(&mut self, path: &[u8]) -> Result<NodeRef, TreeError> {
        if let Some(node) = self.get(path).filter(|node| self.entry(*node).is_directory()) {
            return Ok(node);
        }
        let path = self.resolve_missing(path, true)?;
        let mut node = ROOT;
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            node = match self.child(node, name) {
                Some(child) => child,
                None => {
                    let created = self.add(Node::implied(path::join(self.path(node), name)))?;
                    self.node_mut(node).children.insert(name.to_vec(), created);
                    created
                }
            };
        }
        if self.entry(node).is_directory() {
            Ok(node)
        } else {
            Err(TreeError::NotADirectory { path: shown(&path) })
        }
    }

    fn link_target(&self, entry: &Entry, target: &[u8]) -> Result<NodeRef, TreeError> {
        let (path, shown_target) = (shown(&entry.path), shown(target));
        match self.resolve(target, false)? {
            None => Err(TreeError::NoLinkTarget { path, target: shown_target }),
            Some(node) if self.entry(node).is_directory() => {
                Err(TreeError::LinkToDirectory { path, target: shown_target })
            }
            Some(node) => Ok(node),
        }
    }

    fn is_same_file(&self, one: NodeRef, other: NodeRef) -> bool {
        one == other || (self.link_group(one).is_some() && self.link_group(one) == self.link_group(other))
    }

    /// A node that is the same file as `linked`, under another path.
    fn another_name(&mut self, linked: NodeRef, path: Vec<u8>) -> Node {
        let file = self.node_mut(linked);
        let group = *file.link_group.get_or_insert(linked);
        let entry = Entry { path, ..file.entry.clone() };
        Node { link_group: Some(group), ..Node::new(entry, file.origin) }
    }

    /// Nodes out of the tree answer no question about links.
    fn leave_group(&mut self, node: NodeRef) {
        self.node_mut(node).link_group = None;
    }

    fn whiteout(&mut self, entry: &Entry, layer: u32) -> Result<(), TreeError> {
        let (parent, name) = path::split(&entry.path);
        if name.is_empty() {
            return Err(TreeError::Root { path: shown(&entry.path) });
        }
        let Some(parent) = self.resolve(parent, true)? else { return Ok(()) };
        let Some(node) = self.child(parent, name) else { return Ok(()) };
        if !self.remove_lower(node, layer) {
            self.node_mut(parent).children.remove(name);
        }
        Ok(())
    }

    /// Removes what is below `node` and not of `layer`; whether the node itself has to stay.
    fn remove_lower(&mut self, node: NodeRef, layer: u32) -> bool {
        let of_layer = self.node(node).layer == Some(layer);
        let holds_some = self.remove_lower_children(node, layer);
        if !of_layer && !holds_some {
            self.leave_group(node);
        }
        of_layer || holds_some
    }

    /// Whether anything is left in the directory. Paths have at most 2048 components, and so has the recursion.
    fn remove_lower_children(&mut self, directory: NodeRef, layer: u32) -> bool {
        let children = std::mem::take(&mut self.node_mut(directory).children);
        let kept: BTreeMap<_, _> =
            children.into_iter().filter(|(_, child)| self.remove_lower(*child, layer)).collect();
        let holds_some = !kept.is_empty();
        self.node_mut(directory).children = kept;
        holds_some
    }
}
