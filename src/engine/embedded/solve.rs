//! Solves a job: every step's file system from its inputs', found in the store or made.
//!
//! A step runs once its inputs are there, so stages run side by side; one that nobody needs never runs. A step's key names its operation and the *results* it reads. One flight per key: equal
//! steps of all targets and platforms of a run happen once; a lock in the store does the same between
//! processes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};

use super::filesystem::{FileSystem, Layer, StepRecord};
use super::{Embedded, fault, file_step, merge_step, offers, run_step};
use crate::base::payload::{Outcome, StepCounts};
use crate::base::{Digest, Parts, StepId};
use crate::diag::Problem;
use crate::engine::{BuildJob, Engine as _, SEMANTICS};
use crate::event::Event;
use crate::steps::{CopyFrom, CopyOp, Op, Step, step_parts};
use crate::store::{KeyKind, NewRecord};

pub(super) type Solved = Result<Arc<FileSystem>, Arc<Problem>>;

/// A step's layer and how it was come by.
pub(super) type Landed = Result<(Layer, Outcome), Arc<Problem>>;

/// One job being solved.
pub(super) struct Solver {
    pub engine: Arc<Embedded>,
    pub job: Arc<BuildJob>,
    /// The steps whose layers the image has.
    pub(super) result: BTreeSet<StepId>,
    counts: std::sync::Mutex<StepCounts>,
}

/// A layer to be made, with everything the work needs; owned, since several jobs may wait for it.
#[derive(Clone)]
pub(super) struct Task {
    pub engine: Arc<Embedded>,
    pub job: Arc<BuildJob>,
    pub step: Step,
    /// The file systems of `step.op.inputs()`, in that order.
    pub inputs: Vec<Arc<FileSystem>>,
    pub key: Digest,
    pub parts: Arc<Parts>,
    /// Those of `parts` that say nothing of the operation and what it reads.
    pub surroundings: Arc<Parts>,
}

impl Solver {
    pub fn new(engine: Arc<Embedded>, job: BuildJob) -> Arc<Self> {
        let result = offers::of_result(&job.steps);
        Arc::new(Self { engine, job: Arc::new(job), result, counts: std::sync::Mutex::default() })
    }

    /// The file system of the job's result. A step begins when all it reads is there, so independent stages
    /// run side by side, and however long a Dockerfile is, no future waits inside another.
    pub async fn solve(self: &Arc<Self>) -> Solved {
        let steps = &self.job.steps;
        let mut waiting: Vec<StepId> = steps.needed().into_iter().collect();
        let mut solved: HashMap<StepId, Arc<FileSystem>> = HashMap::new();
        let mut running = FuturesUnordered::new();
        loop {
            waiting.retain(|id| {
                let inputs = steps.step(*id).op.inputs();
                let Some(inputs) = inputs.iter().map(|input| solved.get(input).cloned()).collect() else {
                    return true;
                };
                let (this, id) = (self.clone(), *id);
                running.push(async move { (id, this.step(id, inputs).await) });
                false
            });
            match running.next().await {
                Some((id, files)) => solved.insert(id, files?),
                None => return Ok(solved[&steps.result].clone()),
            };
        }
    }

    pub fn counts(&self) -> StepCounts {
        *self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn step(&self, id: StepId, inputs: Vec<Arc<FileSystem>>) -> Solved {
        let step = self.job.steps.step(id);
        match &step.op {
            Op::Scratch => Ok(Arc::default()),
            Op::Base(base) => self.base(*base),
            Op::Run(_) | Op::Copy(_) | Op::MakeDirectory(_) | Op::Merge(_) => {
                let layer = self.layer(step, inputs.clone()).await?;
                Ok(Arc::new(inputs[0].with(layer)))
            }
        }
    }

    fn base(&self, place: usize) -> Solved {
        let base = &self.job.bases[place];
        let layers = base.config.rootfs.diff_ids.iter().zip(&base.layers).enumerate();
        let layer = |(number, (diff_id, blob)): (usize, (&Digest, &crate::oci::Descriptor))| Layer {
            diff_id: *diff_id,
            blob: blob.clone(),
            compression: base.compressions.get(number).copied().flatten(),
            base: Some(place),
            created: 0,
        };
        Ok(Arc::new(FileSystem::new(layers.map(layer).collect())))
    }

    async fn layer(&self, step: &Step, inputs: Vec<Arc<FileSystem>>) -> Result<Layer, Arc<Problem>> {
        let begin = Instant::now();
        let surroundings = self.surroundings(step);
        let parts = self.key_parts(step, &inputs, &surroundings).await?;
        let task = Task {
            engine: self.engine.clone(),
            job: self.job.clone(),
            step: step.clone(),
            inputs,
            key: parts.digest(),
            parts: Arc::new(parts),
            surroundings: Arc::new(surroundings),
        };
        self.announce(step);
        let (reuse, key) = (self.job.may_reuse(step), task.key);
        let landed = self.engine.flights.fly((key, reuse), || task.land().boxed()).await;
        let (layer, outcome) = landed.value?;
        self.offer(step.id, &key, &layer);
        let outcome = if landed.joined && outcome == Outcome::Built { Outcome::Shared } else { outcome };
        let elapsed = begin.elapsed();
        self.count(step, outcome, elapsed);
        self.job.events.step_finished(step.id, outcome, elapsed);
        Ok(layer)
    }

    fn announce(&self, step: &Step) {
        let makes_layer = |step: &&Step| !matches!(step.op, Op::Scratch | Op::Base(_));
        let steps = &self.job.steps.steps;
        self.job.events.sink.emit(Event::StepStarted {
            node: self.job.events.node,
            step: step.id,
            stage: step.stage.clone(),
            text: step.text.clone(),
            number: steps
                .iter()
                .filter(makes_layer)
                .position(|other| other.id == step.id)
                .map_or(0, |place| place + 1),
            total: steps.iter().filter(makes_layer).count(),
            emulated: self.is_emulated(step),
        });
    }

    fn is_emulated(&self, step: &Step) -> bool {
        matches!(step.op, Op::Run(_)) && self.engine.execution(&step.platform).is_emulated()
    }

    fn count(&self, step: &Step, outcome: Outcome, elapsed: std::time::Duration) {
        let mut counts = self.counts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counts.count(outcome, elapsed, self.is_emulated(step));
    }

    /// What decides a step's result besides its operation and what it reads.
    fn surroundings(&self, step: &Step) -> Parts {
        let mut parts = Parts::new();
        parts.text("engine", format!("{} {SEMANTICS}", self.engine.info().kind));
        for limit in self.engine.info().degraded {
            parts.text(format!("degraded {limit}"), "");
        }
        if let Some(epoch) = self.job.epoch {
            parts.text("epoch", epoch.to_string());
        }
        if let Op::Run(run) = &step.op {
            parts.parts("forwarded", self.job.forwarded.presence(run));
            if let Some(identity) = self.engine.execution(&step.platform).emulator_identity() {
                parts.text("emulator", identity);
            }
        }
        parts
    }

    /// The key by definition: the operation, and the results of everything it reads.
    async fn key_parts(
        &self,
        step: &Step,
        inputs: &[Arc<FileSystem>],
        surroundings: &Parts,
    ) -> Result<Parts, Arc<Problem>> {
        let mut parts = surroundings.clone();
        parts.parts("step", step_parts(step));
        for (place, input) in inputs.iter().enumerate() {
            parts.digest_of(format!("input {place}"), input.digest());
        }
        if let Op::Copy(copy) = &step.op
            && let Some(digest) = self.context_digest(step, copy)
        {
            parts.digest_of("sources", digest);
        }
        Ok(parts)
    }

    /// What a COPY reads of a context, where it reads one.
    fn context_digest(&self, step: &Step, copy: &CopyOp) -> Option<Digest> {
        match copy.from {
            CopyFrom::Remote(place) => Some(self.job.sources[place].identity().digest()),
            _ => self.job.selected.get(&step.id).copied(),
        }
    }
}

impl Task {
    /// The step's layer: from the store if it is there, else made and recorded.
    async fn land(self) -> Landed {
        if self.job.may_reuse(&self.step)
            && let Some(layer) = self.engine.recorded(KeyKind::Step, &self.key)?
        {
            return Ok((layer, Outcome::Reused));
        }
        if let Some(layer) = self.shared(&self.key).await? {
            return Ok((layer, Outcome::Reused));
        }
        let _permit = self.engine.permits.acquire().await.expect("the semaphore is never closed");
        let (store, key) = (self.engine.store.clone(), self.key);
        let flight = fault::blocking(move || store.exclusive(&key)).await;
        let _flight = flight.map_err(|error| Arc::new(error.problem()))?;
        // Another process may have made it while this one waited.
        if self.job.may_reuse(&self.step)
            && let Some(layer) = self.engine.recorded(KeyKind::Step, &self.key)?
        {
            return Ok((layer, Outcome::Reused));
        }
        let (layer, outcome) = match &self.step.op {
            Op::Run(run) => run_step::run(&self, run).await?,
            Op::Copy(copy) => file_step::copy(&self, copy).await?,
            Op::MakeDirectory(make) => file_step::make_directory(&self, make).await?,
            Op::Merge(_) => merge_step::merge(&self).await?,
            Op::Scratch | Op::Base(_) => unreachable_step(&self.step),
        };
        self.record(KeyKind::Step, &self.key, Some(&self.parts), &layer)?;
        Ok((layer, outcome))
    }

    pub fn record(
        &self,
        kind: KeyKind,
        key: &Digest,
        parts: Option<&Parts>,
        layer: &Layer,
    ) -> Result<(), Arc<Problem>> {
        let value = serde_json::to_vec(&StepRecord::from(layer)).expect("a step's record is plain data");
        let subject = self.subject(kind);
        let record =
            NewRecord { kind, key, subject: &subject, value: &value, parts, blobs: &[layer.blob.digest] };
        self.engine.store.keys().put(&record).map_err(|error| Arc::new(error.problem()))
    }

    /// What the store calls the step, to find its run before this one. Content is of all platforms.
    pub fn subject(&self, kind: KeyKind) -> String {
        let BuildJob { target, platform, .. } = &*self.job;
        match kind {
            KeyKind::Content => format!("{target} {}", self.step.id),
            _ => format!("{target} {platform} {}", self.step.id),
        }
    }

    /// Which of the job's contexts or inputs a COPY reads, when it is another step's file system.
    pub fn copy_source(&self, copy: &CopyOp) -> Option<&Arc<FileSystem>> {
        match copy.from {
            CopyFrom::Step(_) => self.inputs.get(1),
            CopyFrom::MainContext | CopyFrom::Context(_) | CopyFrom::Remote(_) => None,
        }
    }
}

fn unreachable_step(step: &Step) -> ! {
    panic!("step {} makes no layer and was asked for one", step.id)
}
