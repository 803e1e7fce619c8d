//! Tells why build nodes hit or miss, by what the store knows of earlier runs, and writes down what the next run
//! compares with: per project, target and platform one account, and one list of files for everything that a COPY
//! reaches. Both replace what was there, and go when nobody used them for long, as keys do.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::build::Prepared;
use super::outlook::Outlook;
use super::test;
use super::worker::PlanWorker;
use crate::base::explanation::{Change, Explanation, Nearest, Part, Reason};
use crate::base::{Digest, NodeId, Parts, StepId};
use crate::context::Context;
use crate::diag::Problem;
use crate::engine::reached::Reached;
use crate::engine::selection::context_name;
use crate::engine::{Engine, blocking};
use crate::event::Event;
use crate::lock::{FILE_NAME, ImagePin};
use crate::model;
use crate::plan::{Account, BaseSource, BuildNode, Node, Plan, ResolveNode, shared_parts, why};
use crate::steps::{CopyOp, Op, selection_parts};
use crate::store::{KeyKind, NewRecord, Record, Store, StoreError};

/// How many runs are looked at for one that shares much.
const MOST_CANDIDATES: usize = 100;
/// An account of what did not change is written again this often, so that it stays as long as what it is of.
const RENEWED_EVERY_SECONDS: i64 = 24 * 3600;
/// No account is larger.
const LARGEST_ACCOUNT: u64 = 64 << 20;
/// The bytes of the key in front of an account.
const KEY_LENGTH: usize = 32;
/// Raised when what is stored changes its meaning; others are as good as none.
const VERSION: u32 = 2;

pub(super) struct Explainer {
    store: Store,
    project: PathBuf,
    /// Whatever the run may note.
    subjects: Vec<String>,
    /// What is written of them, once somebody asked.
    written: OnceLock<BTreeMap<String, Record>>,
    noted: Mutex<Vec<Noted>>,
}

/// What of a node is written down at the end of the run, so that all nodes of a run compare with the one before.
struct Noted {
    subject: String,
    key: Digest,
    account: Account,
    lists: Vec<List>,
}

/// A list of files that is made when it is needed.
struct List {
    step: usize,
    /// Where it is kept.
    slot: Digest,
    /// What the key says of it.
    digest: Digest,
    copy: CopyOp,
    context: Arc<Context>,
}

/// In the record after the node's key, compressed.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    key: Digest,
    account: Account,
    /// Where lists of files are, by step.
    slots: BTreeMap<usize, Digest>,
}

/// The last run to compare with.
struct Earlier {
    stored: Stored,
    nearest: Nearest,
}

fn subject(node: &BuildNode, project: &Path) -> String {
    format!("{} {} {}", node.target, node.platform, project.display())
}

impl Explainer {
    pub fn new(store: Store, project: PathBuf, plan: &Plan) -> Self {
        let subjects = plan.nodes().filter_map(|(_, node)| {
            let Node::Build(node) = node else { return None };
            Some(subject(node, &project))
        });
        let subjects = subjects.collect();
        Self { store, project, subjects, written: OnceLock::new(), noted: Mutex::default() }
    }

    fn subject(&self, node: &BuildNode) -> String {
        subject(node, &self.project)
    }

    fn note(&self, noted: Noted) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).push(noted);
    }

    /// Writes down everything that is news. Called once, at the end of the run.
    pub fn save(&self) -> Result<(), StoreError> {
        let noted = std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        for noted in noted {
            for list in &noted.lists {
                self.save_list(&noted.subject, list)?;
            }
            let slots = noted.lists.iter().map(|list| (list.step, list.slot)).collect();
            let stored = Stored { version: VERSION, key: noted.key, account: noted.account, slots };
            let text = serde_json::to_vec(&stored).expect("an account is plain data");
            let Ok(packed) = zstd::bulk::compress(&text, 1) else { continue };
            let value = [&noted.key.as_bytes()[..], &packed].concat();
            self.put(KeyKind::Account, &Digest::of(&noted.subject), &noted.subject, &value)?;
        }
        Ok(())
    }

    /// Whether the account of a node with this key is the last that was written, and not long ago.
    fn is_written(&self, subject: &str, key: &Digest) -> bool {
        let keys = self.store.keys();
        let written = self.written.get_or_init(|| {
            // What cannot be read is written again.
            let latest = keys.latest_of(KeyKind::Account, &self.subjects).unwrap_or_default();
            latest.into_iter().flatten().map(|record| (record.subject.clone(), record)).collect()
        });
        written.get(subject).is_some_and(|record| {
            record.value.starts_with(key.as_bytes())
                && record.last_used > keys.now().saturating_sub(RENEWED_EVERY_SECONDS)
        })
    }

    fn save_list(&self, subject: &str, list: &List) -> Result<(), StoreError> {
        if self
            .store
            .keys()
            .get(KeyKind::Reached, &list.slot)?
            .is_some_and(|record| record.value.starts_with(list.digest.as_bytes()))
        {
            return Ok(());
        }
        let packed = Reached::new(&list.copy, &list.context).and_then(|reached| reached.pack().ok());
        let Some(packed) = packed else { return Ok(()) };
        let value = [&list.digest.as_bytes()[..], &packed].concat();
        self.put(KeyKind::Reached, &list.slot, subject, &value)
    }

    fn put(&self, kind: KeyKind, key: &Digest, subject: &str, value: &[u8]) -> Result<(), StoreError> {
        self.store.keys().put(&NewRecord { kind, key, subject, value, parts: None, blobs: &[] })
    }

    /// The account of the last run of the same target and platform here; else in another project; else of whatever
    /// shares most.
    fn earlier(&self, node: &BuildNode, parts: &Parts) -> Result<Option<Earlier>, StoreError> {
        let own = self.store.keys().latest(KeyKind::Account, &self.subject(node))?;
        if let Some(stored) = own.and_then(|record| stored(&record)) {
            return Ok(Some(Earlier { stored, nearest: Nearest::Own }));
        }
        let of_key = |record: &Record| -> Option<Stored> {
            let account = Account::of_parts(record.parts()?);
            Some(Stored { version: VERSION, key: record.key, account, slots: BTreeMap::new() })
        };
        let same = self.store.keys().latest(KeyKind::Node, &format!("{} {}", node.target, node.platform))?;
        if let Some(stored) = same.as_ref().and_then(of_key) {
            return Ok(Some(Earlier { stored, nearest: Nearest::Own }));
        }
        let candidates = self.store.keys().newest(KeyKind::Node, MOST_CANDIDATES)?;
        let decoded = candidates.iter().filter_map(|record| Some((record, of_key(record)?)));
        let best = decoded
            .max_by_key(|(record, stored)| (shared_parts(&stored.account.parts, parts), record.created));
        Ok(best.map(|(record, stored)| Earlier { stored, nearest: Nearest::Other(record.subject.clone()) }))
    }

    /// The files that a step of the earlier run reached, if somebody still knows.
    fn list(&self, stored: &Stored, step: usize) -> Option<Reached> {
        let slot = stored.slots.get(&step)?;
        let Some(crate::base::Part::Parts(sources)) = stored.account.parts.get("sources") else {
            return None;
        };
        let id = StepId(u32::try_from(step).ok()?).to_string();
        let Some(crate::base::Part::Digest(digest)) = sources.get(&id) else { return None };
        let record = self.store.keys().get(KeyKind::Reached, slot).ok()??;
        Reached::unpack(record.value.strip_prefix(&digest.as_bytes()[..])?)
    }
}

fn stored(record: &Record) -> Option<Stored> {
    let mut text = Vec::new();
    let packed = record.value.get(KEY_LENGTH..)?;
    let decoder = zstd::stream::Decoder::new(packed).ok()?;
    decoder.take(LARGEST_ACCOUNT).read_to_end(&mut text).ok()?;
    let stored: Stored = serde_json::from_slice(&text).ok()?;
    (stored.version == VERSION).then_some(stored)
}

impl<E: Engine> PlanWorker<E> {
    fn account(&self, node: &BuildNode, prepared: &Prepared) -> Account {
        let given = node.variant.args.keys().cloned();
        Account::new(&prepared.parts, &prepared.lowered, &node.dockerfile, given)
    }

    /// What the steps of a node reach, each with the place where its list is kept.
    fn lists(&self, node: &BuildNode, prepared: &Prepared) -> Vec<List> {
        let steps = prepared.lowered.steps.iter().filter_map(|step| match &step.op {
            Op::Copy(copy) => Some((step.id, copy)),
            _ => None,
        });
        let lists = steps.filter_map(|(id, copy)| {
            let name = context_name(copy)?;
            let context = prepared.contexts.get(&name)?.clone();
            let digest = *prepared.sources.get(&id)?;
            let slot = self.slot(node, name.as_deref(), copy);
            Some(List { step: id.0 as usize, slot, digest, copy: copy.clone(), context })
        });
        lists.collect()
    }

    /// One for what one COPY of a target takes, whatever that is now and on whichever platform.
    fn slot(&self, node: &BuildNode, context: Option<&str>, copy: &CopyOp) -> Digest {
        let mut parts = Parts::new();
        parts.text("kind", "reached");
        parts.text("project", self.explainer.project.to_string_lossy());
        parts.text("target", &node.target);
        parts.text("context", context.unwrap_or_default());
        parts.parts("selection", selection_parts(copy));
        parts.digest()
    }

    /// Whether the next run will know of it without being told.
    pub(super) fn is_noted(&self, node: &BuildNode, prepared: &Prepared) -> bool {
        self.explainer.is_written(&self.explainer.subject(node), &prepared.key)
    }

    /// For the next run.
    pub(super) fn note(&self, node: &BuildNode, prepared: &Prepared) {
        if self.is_noted(node, prepared) {
            return;
        }
        let subject = self.explainer.subject(node);
        let (account, lists) = (self.account(node, prepared), self.lists(node, prepared));
        self.explainer.note(Noted { subject, key: prepared.key, account, lists });
    }

    /// What came from where.
    pub(super) fn hit(&self, place: String, made: i64) -> Explanation {
        let age = u64::try_from(self.tools.now.saturating_sub(made)).unwrap_or(0);
        Explanation::Hit { place, age: Duration::from_secs(age) }
    }

    /// Why there is no image of a node's key.
    pub(super) async fn miss(
        &self,
        node: &BuildNode,
        prepared: &Prepared,
    ) -> Result<Explanation, Box<Problem>> {
        if let Some(asked) = &prepared.is_forced {
            let reasons = vec![Reason::new(Part::NoCache, asked, Change::Changed(None))];
            return Ok(Explanation::Miss { nearest: Nearest::None, reasons });
        }
        let (account, lists) = (self.account(node, prepared), self.lists(node, prepared));
        let shown: BTreeMap<usize, String> = lists
            .iter()
            .filter_map(|list| Some((list.step, self.shown_root(node, context_name(&list.copy)?.as_deref()))))
            .collect();
        let (explainer, parts, key) = (self.explainer.clone(), prepared.parts.clone(), prepared.key);
        let node = node.clone();
        let explained = blocking(move || {
            let Some(Earlier { stored, nearest }) = explainer.earlier(&node, &parts)? else {
                return Ok(Explanation::Miss { nearest: Nearest::None, reasons: Vec::new() });
            };
            let reached = |old: usize, new: usize| {
                let before = explainer.list(&stored, old)?;
                let list = lists.iter().find(|list| list.step == new)?;
                let root = &shown[&new];
                Some(
                    Reached::new(&list.copy, &list.context)?.changes_since(&before, |path| below(root, path)),
                )
            };
            let mut reasons = why(&stored.account, &account, &reached);
            if reasons.is_empty() && stored.key == key {
                reasons.push(Reason::new(Part::Lost, "", Change::Removed));
            }
            Ok::<_, StoreError>(Explanation::Miss { nearest, reasons })
        });
        explained.await.map_err(|error| Box::new(error.problem()))
    }

    /// How files of a context begin for people: with their folder in the project, or the context's name.
    fn shown_root(&self, node: &BuildNode, name: Option<&str>) -> String {
        let declared = match name {
            None => &node.variant.context,
            Some(name) => &node.variant.contexts[name],
        };
        match (&declared.value, name) {
            (model::Context::Directory(root), _) => {
                root.strip_prefix(&self.explainer.project).unwrap_or(root).display().to_string()
            }
            (_, Some(name)) => name.to_string(),
            (_, None) => String::new(),
        }
    }

    /// What a resolve node found, if somebody wants to know.
    pub(super) async fn explain_base(&self, id: NodeId, node: &ResolveNode) -> Result<(), Box<Problem>> {
        if self.tools.explains {
            let explanation = self.base_explanation(node).await?;
            self.tools.events.emit(Event::Explained { node: id, explanation });
        }
        Ok(())
    }

    async fn base_explanation(&self, node: &ResolveNode) -> Result<Explanation, Box<Problem>> {
        let mut images = Vec::new();
        for (platform, place) in &node.wanted {
            let base = self.bases.base(&node.source, platform, place.as_ref()).await?;
            images.push((platform.clone(), base.manifest));
        }
        let is_pinned = |reference| {
            let pins = node.wanted.iter().map(|(platform, _)| self.tools.pins.image(reference, platform));
            pins.into_iter().all(|pin| matches!(pin, Ok(ImagePin::Manifest { .. })))
        };
        let told_by = match &node.source {
            BaseSource::Registry(reference) if is_pinned(reference) => format!("`{FILE_NAME}`"),
            BaseSource::Registry(reference) => format!("`{}`", reference.registry()),
            BaseSource::OciLayout { path, .. } => {
                format!("the layout `{}`", relative(path, &self.explainer.project))
            }
        };
        Ok(Explanation::Base { images, told_by })
    }

    /// What a bake would find, without building: of every base, build and test node.
    pub async fn explain(&self) -> Result<Vec<(NodeId, Explanation)>, Vec<Problem>> {
        let (mut explained, mut problems) = (Vec::new(), Vec::new());
        for (id, node) in self.plan.nodes() {
            let found = match node {
                Node::Resolve(node) => self.base_explanation(node).await,
                Node::Build(node) => self.build_explanation(id, node).await,
                Node::Test(node) => test::explanation(self, id, node),
                Node::Verify(_) | Node::Merge(_) | Node::Publish(_) => continue,
            };
            match found {
                Ok(explanation) => explained.push((id, explanation)),
                Err(problem) => problems.push(*problem),
            }
        }
        if problems.is_empty() { Ok(explained) } else { Err(problems) }
    }

    async fn build_explanation(&self, id: NodeId, node: &BuildNode) -> Result<Explanation, Box<Problem>> {
        match self.outlook(id, node).await? {
            Outlook::Waits(waits_for) => Ok(Explanation::Open { waits_for }),
            Outlook::Known { place, made } => Ok(self.hit(place, made)),
            Outlook::Unknown(prepared) => self.miss(node, &prepared).await,
        }
    }
}

fn below(root: &str, path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    match (root, &*path) {
        ("", "") => ".".to_string(),
        ("", path) => path.to_string(),
        (root, "") => root.to_string(),
        (root, path) => format!("{root}/{path}"),
    }
}

fn relative(path: &Path, project: &Path) -> String {
    path.strip_prefix(project).unwrap_or(path).display().to_string()
}
