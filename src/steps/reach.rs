//! What of a file tree a COPY or ADD reaches: the selection, known without its destination.
//!
//! Follows BuildKit's file operation (facts of dockerfile 1.26): sources clean to the root of their tree
//! (`../x` is `/x`), a wildcard works per path component and may match nothing, a source that is a link
//! is followed, a directory means its contents, links found deeper are copied as links.

use std::collections::BTreeSet;

use super::op::CopyOp;
use crate::layer::{Entry, EntryKind, NodeRef, Tree, TreeError};
use crate::pattern::{Glob, Ignore};

/// Everything that one COPY takes from its source tree, in the order it is written.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub items: Vec<Item>,
}

/// One source after wildcards.
#[derive(Clone, Debug)]
pub struct Item {
    /// The last component of the source as written or matched: the name below a destination directory.
    pub name: Vec<u8>,
    /// What the source is, links followed.
    pub node: NodeRef,
    /// The contents of a directory source, parents first, with paths relative to it; else empty.
    pub contents: Vec<(Vec<u8>, NodeRef)>,
    pub is_directory: bool,
}

/// Why a source cannot be selected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReachError {
    #[error("`{0}` does not exist")]
    Missing(String),
    #[error("`{path}`: {cause}")]
    Unresolvable { path: String, cause: TreeError },
    #[error("pattern `{0}` is malformed")]
    Pattern(String),
}

/// Selects what `copy` reaches in `tree`.
pub fn select(copy: &CopyOp, tree: &Tree) -> Result<Selection, ReachError> {
    let exclude = Ignore::from_patterns(copy.exclude.iter().map(String::as_bytes))
        .map_err(|error| ReachError::Pattern(error.to_string()))?;
    let mut selection = Selection::default();
    for source in &copy.sources {
        let components = clean(source);
        if components.iter().any(|component| Glob::is_wild(component)) {
            for (path, node) in expand(tree, &components)? {
                selection.add(tree, &path, node, &exclude)?;
            }
        } else {
            let path = components.join(&b'/');
            let node = resolve(tree, &path)?.ok_or_else(|| ReachError::Missing(display(&path)))?;
            selection.add(tree, &path, node, &exclude)?;
        }
    }
    Ok(selection)
}

impl Selection {
    fn add(&mut self, tree: &Tree, path: &[u8], node: NodeRef, exclude: &Ignore) -> Result<(), ReachError> {
        // A matched link is followed like a named one; one that leads nowhere is an error either way.
        let node = match &tree.entry(node).kind {
            EntryKind::Symlink { .. } => {
                resolve(tree, path)?.ok_or_else(|| ReachError::Missing(display(path)))?
            }
            _ => node,
        };
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
        let is_directory = tree.entry(node).is_directory();
        if !is_directory && exclude.matches(&name) {
            return Ok(());
        }
        let mut contents = Vec::new();
        if is_directory {
            collect(tree, node, &mut Vec::new(), exclude, &mut contents);
        }
        self.items.push(Item { name, node, contents, is_directory });
        Ok(())
    }

    /// Every node whose content the selection holds.
    pub fn nodes(&self) -> impl Iterator<Item = NodeRef> {
        self.items
            .iter()
            .flat_map(|item| std::iter::once(item.node).chain(item.contents.iter().map(|(_, node)| *node)))
    }
}

/// The contents of a directory. An excluded directory is left out unless something below is taken again.
fn collect(
    tree: &Tree,
    directory: NodeRef,
    path: &mut Vec<u8>,
    exclude: &Ignore,
    found: &mut Vec<(Vec<u8>, NodeRef)>,
) {
    for child in tree.children(directory) {
        let name = tree.name(child);
        let length = path.len();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        let is_directory = tree.entry(child).is_directory();
        if !exclude.matches(path) {
            found.push((path.clone(), child));
            if is_directory {
                collect(tree, child, path, exclude, found);
            }
        } else if is_directory && exclude.may_return_below(path) {
            let place = found.len();
            collect(tree, child, path, exclude, found);
            if found.len() > place {
                found.insert(place, (path.clone(), child));
            }
        }
        path.truncate(length);
    }
}

/// The paths that a pattern matches, in byte order. Components before a wildcard follow links.
fn expand(tree: &Tree, components: &[Vec<u8>]) -> Result<Vec<(Vec<u8>, NodeRef)>, ReachError> {
    let mut matched: BTreeSet<Vec<u8>> = BTreeSet::from([Vec::new()]);
    for component in components {
        let wildcard = Glob::is_wild(component)
            .then(|| Glob::parse(component))
            .transpose()
            .map_err(|_| ReachError::Pattern(display(&components.join(&b'/'))))?;
        let mut next = BTreeSet::new();
        for parent in &matched {
            let Some(directory) = resolve(tree, parent)? else { continue };
            match &wildcard {
                None => {
                    next.insert(joined(parent, component));
                }
                Some(glob) => {
                    let names = tree.children(directory).map(|child| tree.name(child));
                    next.extend(names.filter(|name| glob.matches(name)).map(|name| joined(parent, name)));
                }
            }
        }
        matched = next;
    }
    let mut found = Vec::new();
    for path in matched {
        // After the wildcard plain components may name nothing in some of the directories.
        if let Some(node) = resolve_parents(tree, &path)? {
            found.push((path, node));
        }
    }
    Ok(found)
}

fn resolve(tree: &Tree, path: &[u8]) -> Result<Option<NodeRef>, ReachError> {
    tree.resolve(path, true).map_err(|cause| ReachError::Unresolvable { path: display(path), cause })
}

fn resolve_parents(tree: &Tree, path: &[u8]) -> Result<Option<NodeRef>, ReachError> {
    tree.resolve(path, false).map_err(|cause| ReachError::Unresolvable { path: display(path), cause })
}

fn joined(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// The components of a source path, `.` and `..` resolved as text, never above the root.
pub(super) fn clean(path: &str) -> Vec<Vec<u8>> {
    let mut components: Vec<Vec<u8>> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            name => components.push(name.as_bytes().to_vec()),
        }
    }
    components
}

fn display(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}

/// The entry a selected node becomes before it has an owner and a place: what COPY keeps of it.
pub(super) fn copied(entry: &Entry) -> Entry {
    let mut copied = entry.clone();
    copied.xattrs.retain(|name, _| name == b"security.capability");
    copied
}
