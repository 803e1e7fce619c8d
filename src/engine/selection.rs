//! What a COPY reaches in a build context, as one digest: the part of the context that decides its result.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::{Digest, Hasher, Parts, PinnedSource, StepId};
use crate::context::{Context, ContextError};
use crate::diag::{Problem, nearest};
use crate::engine::BuildJob;
use crate::layer::{EntryKind, NodeRef, Tree};
use crate::steps::{CopyFrom, CopyOp, Lowered, Op, ReachError, Selection, Step, select, selection_parts};

use super::job::JobContext;

/// How many paths are looked at for one that was meant.
const MOST_CANDIDATES: usize = 50_000;

/// Raised when the digest of a selection covers something else: what earlier versions remember is then nothing.
const VERSION: u32 = 1;

/// The digests that a run has come to, by context and COPY: platforms of one target mostly ask for the same.
#[derive(Default)]
pub struct Selections {
    known: Mutex<HashMap<(usize, Digest), Slot>>,
}

/// Taken by whoever comes first; the others wait for the answer.
type Slot = Arc<Mutex<Option<Digest>>>;

impl Selections {
    /// As [`selection_digest`], once in a run. The context lives as long as this, so its address is its name.
    fn digest(&self, step: &Step, copy: &CopyOp, context: &JobContext) -> Result<Digest, Problem> {
        let question = question(copy);
        let slot = self.slot(context, question);
        let mut known = locked(&slot);
        if let Some(digest) = *known {
            return Ok(digest);
        }
        let digest = selection_digest(step, copy, context)?;
        context.derive(&question, digest);
        Ok(*known.insert(digest))
    }

    /// The same, if this run or an earlier one has come to it. Reads no files.
    fn remembered(
        &self,
        step: &Step,
        copy: &CopyOp,
        context: &JobContext,
    ) -> Result<Option<Digest>, Problem> {
        let question = question(copy);
        let slot = self.slot(context, question);
        // Who holds it is about to know.
        let Ok(mut known) = slot.try_lock() else { return Ok(None) };
        if known.is_none() {
            *known = context.derived(&question).map_err(|error| unreadable(step, &error))?;
        }
        Ok(*known)
    }

    fn slot(&self, context: &JobContext, question: Digest) -> Slot {
        let key = (Arc::as_ptr(context).addr(), question);
        locked(&self.known).entry(key).or_default().clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a context is asked for a COPY.
fn question(copy: &CopyOp) -> Digest {
    let mut parts = Parts::new();
    parts.text("selection", VERSION.to_string());
    parts.parts("of", selection_parts(copy));
    parts.digest()
}

/// The digest of what `copy` selects of `context`: paths below each source, kinds, modes, links and
/// contents. Not times, and not owners, since what comes from a context becomes root's.
pub fn selection_digest(step: &Step, copy: &CopyOp, context: &Context) -> Result<Digest, Problem> {
    let tree = context.tree().map_err(|error| unreadable(step, &error))?;
    let selection = select(copy, tree).map_err(|error| missing_in_context(step, &error, context, tree))?;
    let digests = content_digests(context, tree, &selection).map_err(|error| unreadable(step, &error))?;
    let mut hasher = Hasher::new();
    for item in &selection.items {
        field(&mut hasher, &item.name);
        hash_node(&mut hasher, tree, &digests, item.node);
        for within in &item.contents {
            field(&mut hasher, &within.path);
            hasher.update(if within.is_taken { b"+" } else { b"-" });
            hash_node(&mut hasher, tree, &digests, within.node);
        }
        hasher.update(b"\0end of item");
    }
    Ok(hasher.finish())
}

/// The digests of everything that the steps read of contexts. Blocks where files must be read.
pub fn selection_digests(
    selections: &Selections,
    lowered: &Lowered,
    contexts: &BTreeMap<Option<String>, JobContext>,
    remote: &[PinnedSource],
) -> Result<BTreeMap<StepId, Digest>, Problem> {
    let digest =
        |step: &Step, copy: &CopyOp, context: &JobContext| selections.digest(step, copy, context).map(Some);
    collect(lowered, contexts, remote, digest).map(Option::unwrap_or_default)
}

/// The same, if all of them are known from this run or an earlier one.
pub fn remembered_digests(
    selections: &Selections,
    lowered: &Lowered,
    contexts: &BTreeMap<Option<String>, JobContext>,
    remote: &[PinnedSource],
) -> Result<Option<BTreeMap<StepId, Digest>>, Problem> {
    let digest =
        |step: &Step, copy: &CopyOp, context: &JobContext| selections.remembered(step, copy, context);
    collect(lowered, contexts, remote, digest)
}

fn collect(
    lowered: &Lowered,
    contexts: &BTreeMap<Option<String>, JobContext>,
    remote: &[PinnedSource],
    digest: impl Fn(&Step, &CopyOp, &JobContext) -> Result<Option<Digest>, Problem>,
) -> Result<Option<BTreeMap<StepId, Digest>>, Problem> {
    let mut digests = BTreeMap::new();
    for step in &lowered.steps {
        let Op::Copy(copy) = &step.op else { continue };
        if let CopyFrom::Remote(place) = copy.from {
            digests.insert(step.id, remote[place].identity().digest());
        } else if let Some(context) = context_name(copy).and_then(|name| contexts.get(&name)) {
            let Some(digest) = digest(step, copy, context)? else { return Ok(None) };
            digests.insert(step.id, digest);
        }
    }
    Ok(Some(digests))
}

/// The name of the context a COPY reads; `None` inside for the main one.
pub fn context_name(copy: &CopyOp) -> Option<Option<String>> {
    match &copy.from {
        CopyFrom::MainContext if copy.sources.is_empty() => None,
        CopyFrom::MainContext => Some(None),
        CopyFrom::Context(name) => Some(Some(name.clone())),
        CopyFrom::Step(_) | CopyFrom::Remote(_) => None,
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

/// A source that cannot be taken from a context.
pub fn missing_in_context(step: &Step, error: &ReachError, context: &Context, tree: &Tree) -> Problem {
    let problem = Problem::input("build::source", format!("{error} in the build context"));
    let problem = match error {
        ReachError::Missing(path) if context.leaves_out(path.trim_start_matches('/').as_bytes()) => problem
            .help(format!(
                "it is there, but an ignore file leaves it out: an exception `!{}` brings it back",
                path.trim_start_matches('/')
            )),
        _ => problem.help(advice(error, tree, "").unwrap_or_else(|| {
            "sources are relative to the context, and what `.dockerignore` leaves out is not in it"
                .to_string()
        })),
    };
    placed(problem, step, taken(step))
}

/// A source that cannot be taken from another step's file system.
pub fn missing_in_files(step: &Step, error: &ReachError, tree: &Tree) -> Problem {
    let problem = Problem::input("build::source", format!("`{}`: {error}", step.text));
    let advice = advice(error, tree, "/");
    let problem = problem.help(
        advice
            .unwrap_or_else(|| "sources of `--from` count from the root of that stage or image".to_string()),
    );
    placed(problem, step, taken(step))
}

fn taken(step: &Step) -> &'static str {
    match &step.op {
        Op::Copy(copy) if copy.is_mounted => "mounted here",
        _ => "copied here",
    }
}

/// What the tree tells of a source that is missing in it, where paths are written from `root`.
fn advice(error: &ReachError, tree: &Tree, root: &str) -> Option<String> {
    let ReachError::Missing(missing) = error else { return None };
    let missing = missing.trim_start_matches('/');
    match tree.resolve(missing.as_bytes(), false) {
        Ok(Some(_)) => Some("it is a link, and what it leads to is not there".to_string()),
        _ => nearest_source(missing, tree).map(|near| format!("did you mean `{root}{near}`?")),
    }
}

/// The path that a missing one is likely a slip for: the same name elsewhere, or one that looks like it.
fn nearest_source(missing: &str, tree: &Tree) -> Option<String> {
    let paths: Vec<&str> = tree
        .walk(tree.root())
        .take(MOST_CANDIDATES)
        .filter_map(|node| std::str::from_utf8(tree.path(node)).ok())
        .filter(|path| !path.is_empty())
        .collect();
    let name = missing.rsplit('/').next().unwrap_or(missing);
    let elsewhere =
        paths.iter().filter(|path| path.rsplit('/').next() == Some(name)).min_by_key(|path| path.len());
    elsewhere.copied().or_else(|| nearest(missing, paths)).map(str::to_string)
}

fn placed(problem: Problem, step: &Step, label: &str) -> Problem {
    match &step.place {
        Some(place) => problem.at(place.clone(), label),
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
