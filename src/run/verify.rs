//! The verify node: the image of a build node judged, before anything is merged of it.
//!
//! Programs are found while layers are written, and a verdict is kept under a key that names all it depends on: an
//! image that is judged already costs one look into the store.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::worker::PlanWorker;
use crate::base::payload::Outcome;
use crate::base::{Digest, NodeId, Parts, Platform};
use crate::cache::{Entry, EntryKind};
use crate::diag::{Kind, Place, Problem, Severity};
use crate::dockerfile::InstructionKind;
use crate::engine::{BuildOutcome, Engine, blocking};
use crate::model::VerifyLevel;
use crate::oci::{Descriptor, ImageConfig};
use crate::plan::{BuildNode, MergeNode, Node, VerifyNode};
use crate::publish::merge::read_manifest;
use crate::steps::Lowered;
use crate::store::{KeyKind, NewRecord, Store, StoreError};
use crate::verify::{self, Finding, Image, Known, Maker, Surface, differences, known_index};

/// What images show, by target and platform, and the blob that has the paths of their files.
pub(super) type Surfaces = Mutex<BTreeMap<(String, Platform), (Surface, Option<Digest>)>>;

/// Verdicts that were found before their nodes' turns, by key.
pub(super) type Verdicts = Mutex<BTreeMap<Digest, Verdict>>;

/// What was judged of an image, as the store keeps it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Verdict {
    findings: Vec<Finding>,
    surface: Surface,
    layers: usize,
    /// Layers of the image that are not the base's.
    new_layers: usize,
    /// The blob that has the paths of the surface, which are read where platforms differ and nowhere else.
    paths: Option<Digest>,
}

/// A verdict as caches of other machines have it.
#[derive(Serialize, Deserialize)]
struct Shared {
    verdict: Verdict,
    paths: Option<String>,
}

/// So long a text of paths is read.
const LONGEST_PATHS: u64 = 64 << 20;

pub(super) async fn work<E: Engine>(
    worker: &PlanWorker<E>,
    id: NodeId,
    node: &VerifyNode,
) -> Result<Outcome, Box<Problem>> {
    let built = (worker.image(&node.target, &node.platform), worker.lowered(&node.target, &node.platform));
    let (Some(image), Some(lowered)) = built else {
        return Err(Box::new(Problem::new(
            Kind::Bug,
            "run::verify",
            "an image is judged before it is built",
        )));
    };
    let key = key(node, &image, &lowered);
    let ahead = worker.verdicts.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    let known = match ahead {
        None => {
            let recorded = recorded(&worker.tools.store, &[key]);
            recorded.map_err(|error| Box::new(error.problem()))?.pop().flatten()
        }
        known => known,
    };
    let outcome = if known.is_some() { Outcome::Reused } else { Outcome::Built };
    let verdict = match known {
        Some(verdict) => verdict,
        None => {
            let mut verdict = match shared(worker, id, &image, &lowered, &key).await? {
                Some(verdict) => verdict,
                None => {
                    let _turn = worker.turns.acquire().await;
                    judge(worker, id, node, &image, &lowered).await?
                }
            };
            record(&worker.tools.store, node, &key, &mut verdict)?;
            verdict
        }
    };
    offer(worker, id, &image, key, &verdict)?;
    let surfaces = || worker.surfaces.lock().unwrap_or_else(PoisonError::into_inner);
    tell(worker, id, node, &verdict, &lowered)?;
    surfaces().insert((node.target.clone(), node.platform.clone()), (verdict.surface, verdict.paths));
    Ok(outcome)
}

/// Looks for the verdicts of build nodes' images before their own nodes' turns come.
pub(super) fn look_ahead<'i, E: Engine>(
    worker: &PlanWorker<E>,
    images: impl Iterator<Item = (NodeId, &'i BuildOutcome, &'i Lowered)>,
) {
    let keys: Vec<Digest> = images
        .flat_map(|(build, image, lowered)| {
            let dependents = worker.plan.dependents(build).into_iter();
            dependents.filter_map(move |dependent| {
                let Node::Verify(node) = worker.plan.node(dependent) else { return None };
                Some(key(node, image, lowered))
            })
        })
        .collect();
    // What is wrong with the store is told when the turn has come.
    let Ok(recorded) = recorded(&worker.tools.store, &keys) else { return };
    let known = keys.into_iter().zip(recorded).filter_map(|(key, verdict)| Some((key, verdict?)));
    worker.verdicts.lock().unwrap_or_else(PoisonError::into_inner).extend(known);
}

/// In the order of the keys. A verdict that cannot be read is one of another version.
fn recorded(store: &Store, keys: &[Digest]) -> Result<Vec<Option<Verdict>>, StoreError> {
    let records = store.keys().get_many(KeyKind::Verdict, keys)?.into_iter();
    Ok(records.map(|record| serde_json::from_slice(&record?.value).ok()).collect())
}

/// The build node whose image is judged.
fn judged<E: Engine>(worker: &PlanWorker<E>, id: NodeId) -> Option<&BuildNode> {
    worker.plan.dependencies(id).into_iter().find_map(|need| match worker.plan.node(need) {
        Node::Build(build) => Some(&**build),
        Node::Resolve(_) | Node::Verify(_) | Node::Test(_) | Node::Merge(_) | Node::Publish(_) => None,
    })
}

/// What another machine judged of an image that came from a cache. Its layers stay where they are.
async fn shared<E: Engine>(
    worker: &PlanWorker<E>,
    id: NodeId,
    image: &BuildOutcome,
    lowered: &Lowered,
    key: &Digest,
) -> Result<Option<Verdict>, Box<Problem>> {
    let manifest = read_manifest(&worker.tools.store, &image.manifest)?;
    let first = manifest.layers.len().saturating_sub(lowered.new_layers());
    let is_here = manifest.layers[first..].iter().all(|layer| worker.blobs.has(&layer.digest));
    let Some(build) = judged(worker, id).filter(|_| !is_here) else { return Ok(None) };
    let access = worker.access(build)?;
    if !access.reads() {
        return Ok(None);
    }
    let Some(found) = worker.tools.caches.get(&access, EntryKind::Node, key).await else { return Ok(None) };
    let Ok(Shared { mut verdict, paths }) = serde_json::from_value(found.entry.value) else {
        return Ok(None);
    };
    verdict.surface.set_paths(paths);
    Ok(Some(verdict))
}

/// Tells caches of the verdict, if they want to know.
fn offer<E: Engine>(
    worker: &PlanWorker<E>,
    id: NodeId,
    image: &BuildOutcome,
    key: Digest,
    verdict: &Verdict,
) -> Result<(), Box<Problem>> {
    let Some(build) = judged(worker, id) else { return Ok(()) };
    let access = worker.access(build)?;
    let caches = &worker.tools.caches;
    if !access.writes() || !image.attestations.is_empty() || caches.all_have(&access, EntryKind::Node, &key) {
        return Ok(());
    }
    let paths = verdict.paths.and_then(|blob| paths(&worker.tools.store, &blob));
    let shared = Shared { verdict: verdict.clone(), paths };
    let value = serde_json::to_value(shared).expect("a verdict is plain data");
    caches.offer(&access, Entry { kind: EntryKind::Node, key, value, blobs: Vec::new() }, true);
    Ok(())
}

/// Everything that a verdict depends on.
fn key(node: &VerifyNode, image: &BuildOutcome, lowered: &Lowered) -> Digest {
    let mut parts = Parts::new();
    parts.text("verify", format!("{} {}", verify::FORMAT, crate::scan::FORMAT));
    parts.text("platform", node.platform.to_string());
    parts.digest_of("image", image.manifest.digest);
    parts.text("new layers", lowered.new_layers().to_string());
    parts.text("starts", node.starts.to_string());
    parts.text("allow", serde_json::to_string(&node.rules.allow).expect("texts are plain data"));
    parts.digest()
}

fn record(store: &Store, node: &VerifyNode, key: &Digest, verdict: &mut Verdict) -> Result<(), Box<Problem>> {
    let failed = |error: StoreError| Box::new(error.problem());
    let kept = verdict.surface.paths().map(|paths| store.blobs().put_bytes(paths.as_bytes()));
    verdict.paths = kept.transpose().map_err(failed)?;
    let value = serde_json::to_vec(verdict).expect("a verdict is plain data");
    let subject = format!("{} {}", node.target, node.platform);
    let blobs = verdict.paths.as_slice();
    let record =
        NewRecord { kind: KeyKind::Verdict, key, subject: &subject, value: &value, parts: None, blobs };
    store.keys().put(&record).map_err(failed)
}

/// A record holds the blob that it names: this fails with the disk alone.
fn paths(store: &Store, blob: &Digest) -> Option<String> {
    String::from_utf8(store.blobs().read(blob, LONGEST_PATHS).ok()?).ok()
}

async fn judge<E: Engine>(
    worker: &PlanWorker<E>,
    id: NodeId,
    node: &VerifyNode,
    image: &BuildOutcome,
    lowered: &Lowered,
) -> Result<Verdict, Box<Problem>> {
    let manifest = read_manifest(&worker.tools.store, &image.manifest)?;
    let config = worker.config(&manifest)?;
    let first = manifest.layers.len().saturating_sub(lowered.new_layers());
    for layer in &manifest.layers[first..] {
        if is_known(&worker.tools.store, layer)? {
            continue;
        }
        match image.repository.is_some() && !is_tested(worker, node) {
            true => worker.blobs.look_into(layer, &worker.job_events(id)).await?,
            false => worker.blobs.bring(layer, &worker.job_events(id)).await?,
        }
    }
    let (store, node) = (worker.tools.store.clone(), node.clone());
    blocking(move || verdict(&store, &node, &manifest.layers, first, &config)).await.map_err(Box::new)
}

/// Whether the image runs here, too, so that its bytes come here anyway.
fn is_tested<E: Engine>(worker: &PlanWorker<E>, judged: &VerifyNode) -> bool {
    worker.plan.nodes().any(|(_, node)| {
        matches!(node, Node::Test(node) if (&node.target, &node.platform) == (&judged.target, &judged.platform))
    })
}

/// Whether the programs of a layer are known without its bytes.
fn is_known(store: &Store, layer: &Descriptor) -> Result<bool, Box<Problem>> {
    if store.blobs().contains(&layer.digest) {
        return Ok(true);
    }
    let known =
        known_index(store, layer, Known::Programs).map_err(|error| Box::new(unreadable(layer, &error)))?;
    Ok(known.is_some())
}

fn verdict(
    store: &Store,
    node: &VerifyNode,
    layers: &[Descriptor],
    first: usize,
    config: &ImageConfig,
) -> Result<Verdict, Problem> {
    let mut indexes = Vec::with_capacity(layers.len());
    for (place, layer) in layers.iter().enumerate() {
        let wanted = if place < first { Known::Files } else { Known::Programs };
        indexes.push(known_index(store, layer, wanted).map_err(|error| unreadable(layer, &error))?);
    }
    let image = Image::new(&node.platform, config, indexes, first);
    let mut image = image.map_err(|error| unreadable(&layers[layers.len() - 1], &error))?;
    image.starts = node.starts;
    Ok(Verdict {
        findings: verify::judge(&image, &node.rules),
        surface: Surface::new(&image, &node.rules),
        layers: layers.len(),
        new_layers: layers.len() - first,
        paths: None,
    })
}

fn unreadable(layer: &Descriptor, error: &dyn std::fmt::Display) -> Problem {
    let message = format!("layer {} cannot be verified: {error}", layer.digest);
    Problem::new(Kind::Host, "verify::unreadable", message)
        .help("bake with `--no-cache` to make it again, or say `verify = \"off\"` in the target")
}

/// Warnings as notices, errors as the node's failure.
fn tell<E: Engine>(
    worker: &PlanWorker<E>,
    id: NodeId,
    node: &VerifyNode,
    verdict: &Verdict,
    lowered: &Lowered,
) -> Result<(), Box<Problem>> {
    let first = verdict.layers.saturating_sub(verdict.new_layers);
    let steps = Maker::of_layers(lowered, verdict.new_layers).unwrap_or_default();
    let mut errors = Vec::new();
    for finding in &verdict.findings {
        let step =
            finding.layer.and_then(|layer| layer.checked_sub(first)).and_then(|place| steps.get(place));
        let maker = match step {
            Some(step) => Maker::of_step(lowered, step, &node.platform),
            None => Maker::of_history(None),
        };
        let mut problem = finding.problem(&maker, verdict.layers);
        if finding.layer.is_none()
            && let Some(place) = judged(worker, id).and_then(start_place)
        {
            problem = problem.at(place, "this is how the image starts");
        }
        match problem.is_error() && node.rules.level == VerifyLevel::Error {
            true => errors.push(problem),
            false => {
                worker.job_events(id).notice(Problem { severity: Severity::Warning, ..problem });
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Box::new(joined(errors))) }
}

/// The line that says how the image starts, if its own stage says it.
fn start_place(build: &BuildNode) -> Option<Place> {
    let stages = &build.dockerfile.stages;
    let named = build.variant.stage.as_ref().map(|stage| stage.value.to_lowercase());
    let stage = match named {
        Some(name) => stages.iter().find(|stage| stage.name.as_ref() == Some(&name))?,
        None => stages.last()?,
    };
    let last = |is_it: fn(&InstructionKind) -> bool| {
        let found = stage.instructions.iter().rev().find(|instruction| is_it(&instruction.kind));
        found.map(|instruction| instruction.place.clone())
    };
    last(|kind| matches!(kind, InstructionKind::Entrypoint(_)))
        .or_else(|| last(|kind| matches!(kind, InstructionKind::Cmd(_))))
}

/// A node fails with one problem; what else is wrong follows its details.
fn joined(problems: Vec<Problem>) -> Problem {
    let mut problems = problems.into_iter();
    let first = problems.next().expect("a failed verification names a problem");
    let rest: Vec<String> = problems.map(|problem| problem.message).collect();
    if rest.is_empty() {
        return first;
    }
    let details = first.details.clone().into_iter().chain(rest).collect::<Vec<_>>().join("\n");
    first.details(details)
}

/// Tells where the platforms of a target differ and should not.
pub(super) fn compare<E: Engine>(worker: &PlanWorker<E>, id: NodeId, node: &MergeNode) {
    if node.platforms.len() < 2 {
        return;
    }
    let mut known: Vec<(&Platform, Surface, Option<Digest>)> = {
        let mut surfaces = worker.surfaces.lock().unwrap_or_else(PoisonError::into_inner);
        let known = node.platforms.iter().filter_map(|platform| {
            let (surface, paths) = surfaces.remove(&(node.target.clone(), platform.clone()))?;
            Some((platform, surface, paths))
        });
        known.collect()
    };
    if !known.iter().all(|(_, surface, _)| surface.has_files_like(&known[0].1)) {
        for (_, surface, blob) in &mut known {
            surface.set_paths(blob.and_then(|blob| paths(&worker.tools.store, &blob)));
        }
    }
    let known: Vec<(&Platform, &Surface)> =
        known.iter().map(|(platform, surface, _)| (*platform, surface)).collect();
    let maker = Maker::of_history(None);
    for finding in differences(&known) {
        worker.job_events(id).notice(finding.problem(&maker, 0));
    }
}
