//! What of a file tree a COPY or ADD reaches: the selection, known without its destination.
//!
//! Follows BuildKit's file operation (dockerfile 1.26): sources clean to the root of their tree (`../x` is
//! `/x`), a wildcard works per path component and may match nothing, a source that is a link is followed, a
//! directory means its contents, links found deeper are copied as links. `--exclude` looks at what is in
//! directories, never at a source itself. With `--parents` a source is a pattern below the pivot `/./`.

use super::op::{CopyFrom, CopyOp};
use crate::base::Parts;
use crate::layer::{Entry, EntryKind, NodeRef, Tree, TreeError};
use crate::pattern::{Glob, Ignore, IgnoreError, Matched};

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
    /// What is taken of a directory source, parents first; else empty.
    pub contents: Vec<Within>,
    pub is_directory: bool,
}

/// Something in a directory that is a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Within {
    /// Relative to the directory.
    pub path: Vec<u8>,
    pub node: NodeRef,
    /// Not so for a directory that is only on the way to what is taken.
    pub is_taken: bool,
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
    #[error("`--exclude`: {0}")]
    Exclude(IgnoreError),
}

/// All of a COPY that decides what it selects of a context.
pub fn selection_parts(copy: &CopyOp) -> Parts {
    let mut parts = Parts::new();
    parts.text("parents", copy.parents.to_string());
    parts.text("mounted", copy.is_mounted.to_string());
    for (name, patterns) in [("sources", &copy.sources), ("exclude", &copy.exclude)] {
        let mut listed = Parts::new();
        for (place, pattern) in patterns.iter().enumerate() {
            listed.text(place.to_string(), pattern);
        }
        parts.parts(name, listed);
    }
    parts
}

/// Selects what `copy` reaches in `tree`.
pub fn select(copy: &CopyOp, tree: &Tree) -> Result<Selection, ReachError> {
    let mut filter = Filter { include: None, exclude: ignore(&copy.exclude).map_err(ReachError::Exclude)? };
    let mut selection = Selection::default();
    for source in &copy.sources {
        if copy.parents {
            selection.add_below_pivot(copy, tree, source, &mut filter)?;
        } else if copy.is_mounted {
            // A mount names one thing, whatever characters are in its name.
            let path = clean(source).join(&b'/');
            selection.add(tree, &path, existing(tree, &path)?, &filter)?;
        } else {
            for (path, node) in expand(tree, &clean(source))? {
                selection.add(tree, &path, node, &filter)?;
            }
        }
    }
    Ok(selection)
}

impl Selection {
    fn add(&mut self, tree: &Tree, path: &[u8], node: NodeRef, filter: &Filter) -> Result<(), ReachError> {
        // A matched link is followed like a named one; one that leads nowhere is an error either way.
        let node = match &tree.entry(node).kind {
            EntryKind::Symlink { .. } => existing(tree, path)?,
            _ => node,
        };
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
        let is_directory = tree.entry(node).is_directory();
        let contents = if is_directory { filter.contents(tree, node) } else { Vec::new() };
        self.items.push(Item { name, node, contents, is_directory });
        Ok(())
    }

    /// A source of `--parents`: everything that its pattern matches keeps its path below the pivot.
    fn add_below_pivot(
        &mut self,
        copy: &CopyOp,
        tree: &Tree,
        source: &str,
        filter: &mut Filter,
    ) -> Result<(), ReachError> {
        let (pivot, pattern) = source.split_once("/./").unwrap_or(("", source));
        let (pivot, pattern) = (clean(pivot), clean(pattern).join(&b'/'));
        filter.include = match pattern.is_empty() {
            true => None,
            false => {
                let pattern = String::from_utf8_lossy(&pattern).into_owned();
                let malformed = |_| ReachError::Pattern(source.to_string());
                Some(ignore(&[pattern]).map_err(malformed)?)
            }
        };
        let first = self.items.len();
        for (path, node) in expand(tree, &pivot)? {
            self.add(tree, &path, node, filter)?;
        }
        let is_wild = has_wildcard(&pattern) || pivot.iter().any(|component| has_wildcard(component));
        // What is no directory has nothing below it. Of other file systems than contexts, BuildKit takes it
        // itself where a wildcard matches it.
        let is_kept = |item: &Item| item.is_directory || (is_wild && matches!(copy.from, CopyFrom::Step(_)));
        let kept = self.items.split_off(first).into_iter().filter(is_kept);
        self.items.extend(kept);
        let is_empty = self.items[first..].iter().all(|item| item.contents.is_empty());
        if is_empty && !is_wild && !pattern.is_empty() {
            return Err(ReachError::Missing(display(&joined(&pivot.join(&b'/'), &pattern))));
        }
        Ok(())
    }

    /// Every node whose content the selection holds.
    pub fn nodes(&self) -> impl Iterator<Item = NodeRef> {
        self.items
            .iter()
            .flat_map(|item| std::iter::once(item.node).chain(item.contents.iter().map(|within| within.node)))
    }
}

/// What of a directory's contents is taken.
struct Filter {
    /// Everything, where there is none.
    include: Option<Ignore>,
    exclude: Ignore,
}

/// What matched a directory on either side.
#[derive(Default)]
struct Marks {
    include: Matched,
    exclude: Matched,
}

impl Filter {
    fn contents(&self, tree: &Tree, directory: NodeRef) -> Vec<Within> {
        let mut contents = Vec::new();
        self.collect(tree, directory, &mut Vec::new(), &Marks::default(), &mut contents);
        contents
    }

    /// A directory that is not taken itself is entered only if something below may be.
    fn collect(
        &self,
        tree: &Tree,
        directory: NodeRef,
        path: &mut Vec<u8>,
        marks: &Marks,
        found: &mut Vec<Within>,
    ) {
        for node in tree.children(directory) {
            let length = path.len();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(tree.name(node));
            let (is_included, include) = match &self.include {
                Some(include) => include.check(path, &marks.include),
                None => (true, Matched::default()),
            };
            let (is_excluded, exclude) = match self.exclude.is_empty() {
                true => (false, Matched::default()),
                false => self.exclude.check(path, &marks.exclude),
            };
            let is_taken = is_included && !is_excluded;
            let is_entered = tree.entry(node).is_directory()
                && (is_included || self.include.as_ref().is_none_or(|include| include.may_match_below(path)))
                && (!is_excluded || self.exclude.may_return_below(path));
            if is_taken || is_entered {
                found.push(Within { path: path.clone(), node, is_taken });
            }
            if is_entered {
                let place = found.len();
                self.collect(tree, node, path, &Marks { include, exclude }, found);
                if found.len() == place && !is_taken {
                    found.pop();
                }
            }
            path.truncate(length);
        }
    }
}

/// The paths that a source names, in the order of a walk, with what stands there. As in BuildKit, links
/// are followed up to the first component with a wildcard, and from there on not.
fn expand(tree: &Tree, components: &[Vec<u8>]) -> Result<Vec<(Vec<u8>, NodeRef)>, ReachError> {
    let plain = components.iter().position(|component| has_wildcard(component)).unwrap_or(components.len());
    let start = components[..plain].join(&b'/');
    let node = existing(tree, &start)?;
    if plain == components.len() {
        return Ok(vec![(start, node)]);
    }
    let pattern = components[plain..].join(&b'/');
    let glob = Glob::parse(&pattern).map_err(|_| ReachError::Pattern(display(&components.join(&b'/'))))?;
    // A negated class matches a slash, too.
    let depth = components.len() - plain + pattern.windows(2).filter(|pair| pair == b"[^").count();
    let mut found = Vec::new();
    matching(tree, node, &glob, depth, &mut Vec::new(), &mut found);
    Ok(found.into_iter().map(|(path, node)| (joined(&start, &path), node)).collect())
}

/// Collects what matches below `directory`; what is below a match is not looked at.
fn matching(
    tree: &Tree,
    directory: NodeRef,
    glob: &Glob,
    depth: usize,
    path: &mut Vec<u8>,
    found: &mut Vec<(Vec<u8>, NodeRef)>,
) {
    for node in tree.children(directory) {
        let length = path.len();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(tree.name(node));
        if glob.matches(path) {
            found.push((path.clone(), node));
        } else if depth > 1 {
            matching(tree, node, glob, depth - 1, path, found);
        }
        path.truncate(length);
    }
}

fn existing(tree: &Tree, path: &[u8]) -> Result<NodeRef, ReachError> {
    let found =
        tree.resolve(path, true).map_err(|cause| ReachError::Unresolvable { path: display(path), cause })?;
    found.ok_or_else(|| ReachError::Missing(display(path)))
}

fn ignore(patterns: &[String]) -> Result<Ignore, IgnoreError> {
    Ignore::from_patterns(patterns.iter().map(|pattern| pattern.as_bytes()))
}

/// Whether a component is more than a name; `\` takes the next character's meaning away.
fn has_wildcard(component: &[u8]) -> bool {
    let mut bytes = component.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
    false
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
