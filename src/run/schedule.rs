//! Which node may run next: a pure state machine over the plan's graph.
//!
//! Legal transitions, all through [`Schedule::set`]:
//! `Waiting → Ready → Running → Done | Failed | Cancelled`, and `Waiting | Ready → Skipped | Cancelled`.
//! While a node is unfinished and the run goes on, some node is `Ready` or `Running`: the graph has no cycle.

use crate::base::NodeId;
use crate::plan::Plan;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Something it depends on is unfinished.
    Waiting,
    Ready,
    Running,
    Done,
    Failed,
    /// Never ran, because this node failed.
    Skipped(NodeId),
    Cancelled,
}

/// The states of all nodes of one run.
pub struct Schedule {
    states: Vec<State>,
    dependents: Vec<Vec<NodeId>>,
    /// How many unfinished nodes each node waits for.
    unfinished: Vec<usize>,
    keep_going: bool,
}

/// What changed because a node ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consequences {
    /// Nodes that will never run, with the failed node that is the reason.
    pub skipped: Vec<(NodeId, NodeId)>,
}

impl Schedule {
    /// With `keep_going`, a failure stops only what depends on it; otherwise nothing new starts.
    pub fn new(plan: &Plan, keep_going: bool) -> Self {
        let unfinished: Vec<usize> = plan.nodes().map(|(id, _)| plan.dependencies(id).len()).collect();
        let dependents = plan.nodes().map(|(id, _)| plan.dependents(id)).collect();
        let states =
            unfinished.iter().map(|count| if *count == 0 { State::Ready } else { State::Waiting }).collect();
        Self { states, dependents, unfinished, keep_going }
    }

    /// The ready node with the lowest id among those that may run, now running.
    pub fn start_next(&mut self, may_run: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        let id = self.ids().find(|id| self.state(*id) == State::Ready && may_run(*id))?;
        self.set(id, State::Running);
        Some(id)
    }

    pub fn done(&mut self, id: NodeId) {
        self.set(id, State::Done);
        for dependent in self.dependents[id.0 as usize].clone() {
            let count = &mut self.unfinished[dependent.0 as usize];
            *count -= 1;
            if *count == 0 && self.state(dependent) == State::Waiting {
                self.set(dependent, State::Ready);
            }
        }
    }

    pub fn failed(&mut self, id: NodeId) -> Consequences {
        self.set(id, State::Failed);
        let mut skipped = Vec::new();
        let mut waiting = self.dependents[id.0 as usize].clone();
        while let Some(next) = waiting.pop() {
            if matches!(self.state(next), State::Waiting | State::Ready) {
                self.set(next, State::Skipped(id));
                skipped.push((next, id));
                waiting.extend(&self.dependents[next.0 as usize]);
            }
        }
        if !self.keep_going {
            skipped.extend(self.stop_unstarted(State::Skipped(id)).into_iter().map(|node| (node, id)));
        }
        skipped.sort_unstable();
        Consequences { skipped }
    }

    pub fn cancelled(&mut self, id: NodeId) {
        self.set(id, State::Cancelled);
    }

    /// Nothing new starts any more; the nodes that now never will.
    pub fn cancel_unstarted(&mut self) -> Vec<NodeId> {
        self.stop_unstarted(State::Cancelled)
    }

    fn stop_unstarted(&mut self, end: State) -> Vec<NodeId> {
        let is_unstarted = |id: &NodeId| matches!(self.state(*id), State::Waiting | State::Ready);
        let unstarted: Vec<NodeId> = self.ids().filter(is_unstarted).collect();
        for id in &unstarted {
            self.set(*id, end);
        }
        unstarted
    }

    fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.states.len()).map(|index| NodeId(u32::try_from(index).expect("node ids are u32")))
    }

    pub fn state(&self, id: NodeId) -> State {
        self.states[id.0 as usize]
    }

    pub fn is_finished(&self) -> bool {
        !self.states.iter().any(|state| matches!(state, State::Waiting | State::Ready | State::Running))
    }

    fn set(&mut self, id: NodeId, next: State) {
        let state = &mut self.states[id.0 as usize];
        let legal = match (*state, next) {
            (State::Waiting, State::Ready) | (State::Ready, State::Running) => true,
            (State::Waiting | State::Ready, State::Skipped(_) | State::Cancelled) => true,
            (State::Running, State::Done | State::Failed | State::Cancelled) => true,
            (State::Waiting | State::Ready | State::Running, _) => false,
            (State::Done | State::Failed | State::Skipped(_) | State::Cancelled, _) => false,
        };
        assert!(legal, "node {id} cannot go from {state:?} to {next:?}");
        *state = next;
    }
}
