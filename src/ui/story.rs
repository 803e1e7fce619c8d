//! What has happened so far, put together from events: the one memory behind every printer.
//!
//! Time comes in as a value, counted from the start of the run. Text from outside is cleaned on its way in,
//! so printers may print everything they find here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::text::{Colours, clean};
use crate::base::payload::{ImageSummary, Outcome, StepCounts};
use crate::base::{Digest, NodeId, Platform, StepId};
use crate::diag::Problem;
use crate::event::{Event, NodeEnd, NodeInfo, NodeKind, RunEnd, Transfer};

/// How much of a step's log is kept for the case that it fails.
const TAIL: usize = 20;

/// A run as far as it has come.
#[derive(Debug, Default)]
pub struct Story {
    nodes: BTreeMap<NodeId, Node>,
    pub merged: Vec<Merged>,
    pub tagged: Vec<Tagged>,
    pub written: Vec<Written>,
    pub end: Option<(RunEnd, Duration)>,
}

/// One node and what it has done.
#[derive(Debug)]
pub struct Node {
    pub info: NodeInfo,
    pub state: State,
    /// Steps under way, in the order they began.
    pub steps: Vec<Step>,
    /// The last step that began, for the node's line and for its failure.
    pub latest: Option<Step>,
    pub counts: StepCounts,
    /// The end of the log, with the step that wrote it.
    pub tail: VecDeque<(StepId, String)>,
    pub image: Option<ImageSummary>,
    /// Bytes under way, by direction and item.
    pub transfers: BTreeMap<(Transfer, String), (u64, Option<u64>)>,
    /// How many of how many blobs are where they are to be.
    pub blobs: Option<(usize, usize)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Waiting,
    Running { since: Duration },
    Ended { end: NodeEnd, elapsed: Duration },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub id: StepId,
    pub text: String,
    pub number: usize,
    pub total: usize,
    pub emulated: bool,
    pub since: Duration,
}

#[derive(Debug)]
pub struct Merged {
    pub target: String,
    pub digest: Digest,
    pub platforms: Vec<Platform>,
    pub names: Vec<String>,
}

#[derive(Debug)]
pub struct Tagged {
    pub target: String,
    pub reference: String,
    pub unchanged: bool,
}

#[derive(Debug)]
pub struct Written {
    pub node: NodeId,
    pub kind: String,
    pub place: String,
}

impl Node {
    fn new(info: &NodeInfo) -> Self {
        let info = NodeInfo { name: plain(&info.name), ..info.clone() };
        Self {
            info,
            state: State::Waiting,
            steps: Vec::new(),
            latest: None,
            counts: StepCounts::default(),
            tail: VecDeque::new(),
            image: None,
            transfers: BTreeMap::new(),
            blobs: None,
        }
    }

    /// `api linux/arm64`, `merge api`: the node as every printer names it.
    pub fn label(&self) -> String {
        let verb = match self.info.kind {
            NodeKind::Resolve => "resolve ",
            NodeKind::Build => "",
            NodeKind::Verify => "verify ",
            NodeKind::Test => "test ",
            NodeKind::Merge => "merge ",
            // One for all targets of a run.
            NodeKind::Publish => return "publish".to_string(),
            NodeKind::Copy => "copy ",
            NodeKind::Index => "index ",
        };
        match &self.info.platform {
            Some(platform) => format!("{verb}{} {platform}", self.info.name),
            None => format!("{verb}{}", self.info.name),
        }
    }

    pub fn is_transfer(&self) -> bool {
        matches!(self.info.kind, NodeKind::Copy | NodeKind::Index)
    }

    pub fn step(&self, id: StepId) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == id)
    }

    pub fn end(&self) -> Option<(&NodeEnd, Duration)> {
        match &self.state {
            State::Ended { end, elapsed } => Some((end, *elapsed)),
            State::Waiting | State::Running { .. } => None,
        }
    }

    pub fn running_since(&self) -> Option<Duration> {
        match self.state {
            State::Running { since } => Some(since),
            State::Waiting | State::Ended { .. } => None,
        }
    }

    /// A command of the node runs under emulation right now.
    pub fn is_emulating(&self) -> bool {
        self.running_since().is_some() && self.steps.iter().any(|step| step.emulated)
    }

    pub fn is_reused(&self) -> bool {
        matches!(self.end(), Some((NodeEnd::Done(Outcome::Reused), _)))
    }

    pub fn failure(&self) -> Option<&Arc<Problem>> {
        match self.end() {
            Some((NodeEnd::Failed(problem), _)) => Some(problem),
            _ => None,
        }
    }

    fn log(&mut self, step: StepId, line: &str) {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back((step, plain(line)));
    }

    fn finish_step(&mut self, id: StepId, outcome: Outcome, elapsed: Duration) {
        let emulated = self.step(id).is_some_and(|step| step.emulated);
        self.steps.retain(|step| step.id != id);
        self.counts.count(outcome, elapsed, emulated);
    }
}

impl Story {
    /// Where the time of all nodes' steps went.
    pub fn counts(&self) -> StepCounts {
        self.nodes().fold(StepCounts::default(), |sum, node| StepCounts {
            built: sum.built + node.counts.built,
            reused: sum.reused + node.counts.reused,
            spent: sum.spent + node.counts.spent,
            emulated: sum.emulated + node.counts.emulated,
        })
    }

    /// Takes `event`, which came `now` after the start of the run, into the story.
    pub fn tell(&mut self, event: &Event, now: Duration) {
        match event {
            Event::RunStarted { nodes } => {
                self.nodes = nodes.iter().map(|info| (info.id, Node::new(info))).collect();
            }
            Event::NodeStarted { node } => {
                self.change(*node, |node| node.state = State::Running { since: now })
            }
            Event::StepStarted { node, step, text, number, total, emulated, stage: _ } => {
                let step = Step {
                    id: *step,
                    text: plain(text),
                    number: *number,
                    total: *total,
                    emulated: *emulated,
                    since: now,
                };
                self.change(*node, |node| {
                    node.latest = Some(step.clone());
                    node.steps.push(step);
                });
            }
            Event::StepFinished { node, step, outcome, elapsed } => {
                self.change(*node, |node| node.finish_step(*step, *outcome, *elapsed));
            }
            Event::Log { node, step, line, stream: _ } => self.change(*node, |node| node.log(*step, line)),
            Event::Transfer { node, what, item, done, total } => self.change(*node, |node| {
                node.transfers.insert((*what, plain(item)), (*done, *total));
            }),
            Event::Blobs { node, done, total } => {
                self.change(*node, |node| node.blobs = Some((*done, *total)));
            }
            Event::Assigned { .. } | Event::Notice { .. } | Event::Explained { .. } => {}
            Event::Image { node, summary } => self.change(*node, |node| node.image = Some(summary.clone())),
            Event::Merged { node: _, target, digest, platforms, names } => {
                let (target, platforms) = (plain(target), platforms.clone());
                let names = names.iter().map(|name| plain(name)).collect();
                self.merged.push(Merged { target, digest: *digest, platforms, names });
            }
            Event::Tagged { node: _, target, reference, digest: _, unchanged } => {
                let (target, reference) = (plain(target), plain(reference));
                self.tagged.push(Tagged { target, reference, unchanged: *unchanged });
            }
            Event::Written { node, kind, place } => {
                self.written.push(Written { node: *node, kind: plain(kind), place: plain(place) });
            }
            Event::NodeFinished { node, end, elapsed } => {
                self.change(*node, |node| node.state = State::Ended { end: end.clone(), elapsed: *elapsed });
            }
            Event::RunFinished { end, elapsed } => self.end = Some((*end, *elapsed)),
        }
    }

    /// The step that `event` is about to end.
    pub fn ending_step(&self, event: &Event) -> Option<Step> {
        match event {
            Event::StepFinished { node, step, .. } => self.node(*node)?.step(*step).cloned(),
            _ => None,
        }
    }

    fn change(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(&id) {
            change(node);
        }
    }

    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The node's label, or its id for a node nobody announced.
    pub fn label(&self, id: NodeId) -> String {
        self.node(id).map_or_else(|| id.to_string(), Node::label)
    }

    /// Nodes under way, the longest running first.
    pub fn running(&self) -> Vec<&Node> {
        let mut running: Vec<&Node> = self.nodes().filter(|node| node.running_since().is_some()).collect();
        running.sort_by_key(|node| (node.running_since(), node.info.id));
        running
    }

    /// Build nodes of a target, in the order of the plan.
    pub fn builds<'a>(&'a self, target: &'a str) -> impl Iterator<Item = &'a Node> {
        self.nodes().filter(move |node| node.info.kind == NodeKind::Build && node.info.name == target)
    }

    /// Whether it is not about building at all: images go from place to place.
    pub fn is_transfer(&self) -> bool {
        self.nodes().next().is_some_and(Node::is_transfer)
    }

    /// Whether the run succeeded and built, published and wrote nothing.
    pub fn did_nothing(&self) -> bool {
        let mut work = self
            .nodes()
            .filter(|node| matches!(node.info.kind, NodeKind::Build | NodeKind::Publish))
            .peekable();
        work.peek().is_some() && work.all(Node::is_reused)
    }
}

/// One line of foreign text, without colours.
fn plain(text: &str) -> String {
    clean(text, Colours::Drop)
}
