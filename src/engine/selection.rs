//! What a COPY reaches in a build context, as one digest: the part of the context that decides its result.

use std::collections::{BTreeMap, HashMap};

use crate::base::{Digest, Hasher, StepId};
use crate::context::{Context, ContextError};
use crate::diag::Problem;
use crate::engine::BuildJob;
use crate::layer::{EntryKind, NodeRef, Tree};
use crate::steps::{CopyFrom, CopyOp, Lowered, Op, Selection, Step, select};

use super::job::JobContext;

/// The digest of what `copy` selects of `context`: paths below each source, kinds, modes, links and
/// contents. Not times, and not owners, since what comes from a context becomes root's.
pub fn selection_digest(step: &Step, copy: &CopyOp, context: &Context) -> Result<Digest, Problem> {
    let tree = context.tree().map_err(|error| unreadable(step, &error))?;
    let selection = select(copy, tree).map_err(|error| missing_source(step, &error))?;
    let digests = content_digests(context, tree, &selection).map_err(|error| unreadable(step, &error))?;
    let mut hasher = Hasher::new();
    for item in &selection.items {
        field(&mut hasher, &item.name);
        hash_node(&mut hasher, tree, &digests, item.node);
        for (path, node) in &item.contents {
            field(&mut hasher, path);
            hash_node(&mut hasher, tree, &digests, *node);
        }
        hasher.update(b"\0end of item");
    }
    Ok(hasher.finish())
}

/// The digests of everything that the steps read of contexts.
pub fn selection_digests(
    lowered: &Lowered,
    contexts: &BTreeMap<Option<String>, JobContext>,
) -> Result<BTreeMap<StepId, Digest>, Problem> {
    let mut digests = BTreeMap::new();
    for step in &lowered.steps {
        if let Op::Copy(copy) = &step.op
            && let Some(context) = context_name(copy).and_then(|name| contexts.get(&name))
        {
            digests.insert(step.id, selection_digest(step, copy, context)?);
        }
    }
    Ok(digests)
}

/// The name of the context a COPY reads; `None` inside for the main one.
pub fn context_name(copy: &CopyOp) -> Option<Option<String>> {
    match &copy.from {
        CopyFrom::MainContext if copy.sources.is_empty() => None,
        CopyFrom::MainContext => Some(None),
        CopyFrom::Context(name) => Some(Some(name.clone())),
        CopyFrom::Step(_) => None,
    }
}

/// The context of a job that a COPY reads, if it reads one.
pub fn context_of<'a>(job: &'a BuildJob, copy: &CopyOp) -> Option<&'a JobContext> {
    job.contexts.get(&context_name(copy)?)
}

/// The digests of all files of a selection, by their position in the context.
pub fn content_digests(
    context: &Context,
    tree: &Tree,
    selection: &Selection,
) -> Result<HashMap<usize, Digest>, ContextError> {
    let is_file = |node: &NodeRef| matches!(tree.entry(*node).kind, EntryKind::File { .. });
    let positions: Vec<usize> =
        selection.nodes().filter(is_file).filter_map(|node| position(tree, node)).collect();
    let digests = context.digests(&positions)?;
    Ok(positions.into_iter().zip(digests).collect())
}

/// The place of a node in its context's walk; the root has none.
pub fn position(tree: &Tree, node: NodeRef) -> Option<usize> {
    tree.origin(node).map(|origin| origin.position as usize)
}

fn hash_node(hasher: &mut Hasher, tree: &Tree, digests: &HashMap<usize, Digest>, node: NodeRef) {
    let entry = tree.entry(node);
    field(hasher, format!("{:o}", entry.mode).as_bytes());
    match &entry.kind {
        EntryKind::File { .. } => {
            hasher.update(b"f");
            if let Some(digest) = position(tree, node).and_then(|position| digests.get(&position)) {
                hasher.update(digest.as_bytes());
            }
        }
        EntryKind::Symlink { target } => {
            hasher.update(b"l");
            field(hasher, target);
        }
        other => field(hasher, format!("{other:?}").as_bytes()),
    }
    if let Some(group) = tree.link_group(node) {
        field(hasher, tree.path(group));
    }
    if let Some(capability) = entry.xattrs.get(&b"security.capability"[..]) {
        field(hasher, capability);
    }
}

fn field(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn missing_source(step: &Step, error: &dyn std::fmt::Display) -> Problem {
    let problem = Problem::input("build::source", format!("{error} in the build context"))
        .help("sources are relative to the context, and what `.dockerignore` leaves out is not in it");
    match &step.place {
        Some(place) => problem.at(place.clone(), "copied here"),
        None => problem,
    }
}

fn unreadable(step: &Step, error: &ContextError) -> Problem {
    let problem = error.problem();
    match &step.place {
        Some(place) => problem.at(place.clone(), "read for this step"),
        None => problem,
    }
}
