//! Everything a run reports, as one closed enum: the whole border to `ui` and `report`.
//!
//! Whoever works emits, whoever prints matches without a wildcard. Events carry plain values of
//! `base`; they know neither the plan nor an engine.

use std::sync::Arc;
use std::time::Duration;

use crate::base::explanation::Explanation;
use crate::base::payload::{ImageSummary, Outcome, Stream, WorkerName};
use crate::base::{Digest, NodeId, Platform, StepId};
use crate::diag::Problem;

/// What a node of the graph does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeKind {
    Resolve,
    Build,
    Verify,
    Test,
    Merge,
    Publish,
    /// An image goes from one place to another; the only node of its run.
    Copy,
    /// An index is put together or changed, and goes to its place with what it names; the only node of its run.
    Index,
}

/// A node as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    pub id: NodeId,
    pub kind: NodeKind,
    /// The target's name, or the base image's for a resolve node.
    pub name: String,
    /// The platform of a build, verify or test node.
    pub platform: Option<Platform>,
}

/// How a node ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEnd {
    Done(Outcome),
    Failed(Arc<Problem>),
    /// Not run, because `because` failed.
    Skipped {
        because: NodeId,
    },
    /// Stopped from outside.
    Cancelled,
}

/// How a whole run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    Succeeded,
    Failed,
    Interrupted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    RunStarted {
        nodes: Vec<NodeInfo>,
    },
    NodeStarted {
        node: NodeId,
    },
    /// A worker has begun with a node; again, when that one is lost and another one takes it.
    Assigned {
        node: NodeId,
        worker: WorkerName,
    },
    /// A step of a build node begins; `total` counts the node's steps.
    StepStarted {
        node: NodeId,
        step: StepId,
        /// `stage` of a multi-stage Dockerfile, for people.
        stage: String,
        /// The instruction as written, on one line.
        text: String,
        number: usize,
        total: usize,
        /// The step's command runs under emulation.
        emulated: bool,
    },
    StepFinished {
        node: NodeId,
        step: StepId,
        outcome: Outcome,
        elapsed: Duration,
    },
    /// One line, without its line end, that a command wrote.
    Log {
        node: NodeId,
        step: StepId,
        stream: Stream,
        line: String,
    },
    /// Bytes on their way; `total` is `None` while unknown. Repeated with growing `done`.
    Transfer {
        node: NodeId,
        what: Transfer,
        item: String,
        done: u64,
        total: Option<u64>,
    },
    /// How many blobs are where they are to be, whether sent, mounted or there before. Repeated with growing `done`;
    /// `total` grows with what is found to belong to the image.
    Blobs {
        node: NodeId,
        done: usize,
        total: usize,
    },
    /// Something the user should know that is not a failure; said once per run and code.
    Notice {
        node: Option<NodeId>,
        problem: Arc<Problem>,
    },
    /// Why a node is a hit or a miss, for who asked.
    Explained {
        node: NodeId,
        explanation: Explanation,
    },
    /// A build node's image.
    Image {
        node: NodeId,
        summary: ImageSummary,
    },
    /// A merge node's index (or the single manifest, where a target has one platform).
    Merged {
        node: NodeId,
        target: String,
        digest: Digest,
        platforms: Vec<Platform>,
        /// What it is tagged with when it is pushed.
        names: Vec<String>,
    },
    /// A tag stands in a registry.
    Tagged {
        node: NodeId,
        /// Whose image it names; one node publishes for all.
        target: String,
        reference: String,
        digest: Digest,
        /// The tag already pointed to the digest.
        unchanged: bool,
    },
    /// An output was written; `place` is a path, a registry name or an engine's address.
    Written {
        node: NodeId,
        kind: String,
        place: String,
    },
    NodeFinished {
        node: NodeId,
        end: NodeEnd,
        elapsed: Duration,
    },
    RunFinished {
        end: RunEnd,
        elapsed: Duration,
    },
}

/// Which way bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transfer {
    Pull,
    Push,
    Export,
}

/// Takes events, from any thread, in order per thread.
pub trait EventSink: Send + Sync {
    fn emit(&self, event: Event);
}
