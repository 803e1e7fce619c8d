//! The scheduler over random graphs, and the event loop with a worker that follows a script.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use proptest::prelude::*;
use tokio::sync::{Notify, watch};

use super::{Limits, RunResult, Schedule, State, Worker, run};
use crate::base::NodeId;
use crate::base::payload::Outcome;
use crate::diag::{Kind, Problem};
use crate::event::{Event, EventSink, NodeEnd, RunEnd};
use crate::plan::{MergeNode, Node, Plan};

/// A plan of merge nodes; the second of an edge waits for the first.
fn plan(count: u32, edges: &[(u32, u32)]) -> Plan {
    let node = |id| {
        let target = format!("t{id}");
        let empty = MergeNode {
            export: crate::model::ExportOptions::default(),
            target,
            platforms: Vec::new(),
            annotations: Vec::new(),
            names: Vec::new(),
            outputs: Vec::new(),
        };
        Node::Merge(empty)
    };
    Plan::of((0..count).map(node).collect(), edges)
}

/// Graphs whose edges lead from lower to higher numbers.
fn graphs() -> impl Strategy<Value = (u32, Vec<(u32, u32)>)> {
    (1_u32..12).prop_flat_map(|count| {
        let edge = (0..count, 0..count).prop_filter("an edge goes up", |(from, to)| from < to);
        let edges = proptest::collection::vec(edge, 0..if count > 1 { 20 } else { 1 });
        (Just(count), edges)
    })
}

fn edges_of(plan: &Plan) -> BTreeMap<NodeId, Vec<NodeId>> {
    plan.nodes().map(|(id, _)| (id, plan.dependencies(id))).collect()
}

proptest! {
    #[test]
    fn every_node_ends_and_none_before_what_it_needs(
        (count, edges) in graphs(),
        failing in proptest::collection::btree_set(0_u32..12, 0..4),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 12),
        jobs in 1_usize..4,
        keep_going: bool,
    ) {
        let plan = plan(count, &edges);
        let needs = edges_of(&plan);
        let mut schedule = Schedule::new(&plan, keep_going);
        let (mut running, mut done, mut ended) = (Vec::<NodeId>::new(), BTreeSet::new(), BTreeSet::new());
        let mut failed = None;
        let mut order = order.into_iter();
        loop {
            while running.len() < jobs && let Some(node) = schedule.start_next(|_| true) {
                prop_assert!(keep_going || failed.is_none(), "{} started after a failure", node);
                prop_assert!(needs[&node].iter().all(|need| done.contains(need)), "{} started early", node);
                running.push(node);
            }
            if running.is_empty() { break }
            let choice = order.next().expect("no node runs twice");
            let node = running.swap_remove(choice.index(running.len()));
            prop_assert!(ended.insert(node));
            if failing.contains(&node.0) {
                failed = Some(node);
                for (skipped, because) in schedule.failed(node).skipped {
                    prop_assert_eq!(because, node);
                    prop_assert!(ended.insert(skipped), "{} ended twice", skipped);
                }
            } else {
                schedule.done(node);
                done.insert(node);
            }
        }
        prop_assert!(schedule.is_finished());
        prop_assert_eq!(ended.len(), count as usize);
        for (node, needs) in &needs {
            let can_run = needs.iter().all(|need| done.contains(need));
            match schedule.state(*node) {
                State::Done => prop_assert!(can_run),
                State::Failed => prop_assert!(failing.contains(&node.0)),
                State::Skipped(_) => prop_assert!(!keep_going || !can_run),
                other => prop_assert!(false, "{} is {:?}", node, other),
            }
        }
    }
}

/// What a scripted node does.
#[derive(Clone)]
enum Act {
    Succeed,
    /// What is known already.
    Known,
    Fail,
    /// At once, or after it has waited.
    Panic {
        waits: bool,
    },
    /// Says that it runs, and never ends.
    Hang(Arc<Notify>),
}

struct Scripted(BTreeMap<u32, Act>);

impl Worker for Scripted {
    async fn work(&self, node: NodeId) -> Result<Outcome, Box<Problem>> {
        match self.0.get(&node.0).cloned().unwrap_or(Act::Succeed) {
            Act::Succeed | Act::Known => Ok(Outcome::Built),
            Act::Fail => Err(Box::new(Problem::new(Kind::Build, "test::fail", format!("{node} fails")))),
            Act::Panic { waits } => {
                if waits {
                    tokio::task::yield_now().await;
                }
                panic!("{node} is broken")
            }
            Act::Hang(started) => {
                started.notify_one();
                std::future::pending().await
            }
        }
    }

    fn is_known(&self, node: NodeId) -> bool {
        matches!(self.0.get(&node.0), Some(Act::Known))
    }
}

#[derive(Default)]
struct Recorded(Mutex<Vec<String>>);

impl EventSink for Recorded {
    fn emit(&self, event: Event) {
        let line = match event {
            Event::NodeStarted { node } => format!("{node} starts"),
            Event::NodeFinished { node, end, .. } => match end {
                NodeEnd::Done(_) => format!("{node} done"),
                NodeEnd::Failed(_) => format!("{node} failed"),
                NodeEnd::Skipped { because } => format!("{node} skipped for {because}"),
                NodeEnd::Cancelled => format!("{node} cancelled"),
            },
            _ => return,
        };
        self.0.lock().unwrap().push(line);
    }
}

async fn played(
    plan: &Plan,
    acts: &[(u32, Act)],
    keep_going: bool,
    cancel: watch::Receiver<bool>,
) -> (RunResult, Vec<String>) {
    let events = Arc::new(Recorded::default());
    let worker = Arc::new(Scripted(acts.iter().cloned().collect()));
    let result = run(plan, worker, Limits { jobs: 1, keep_going }, events.clone(), cancel).await;
    let lines = std::mem::take(&mut *events.0.lock().unwrap());
    (result, lines)
}

#[tokio::test]
async fn a_failure_skips_what_waits_for_it() {
    let plan = plan(4, &[(0, 1), (1, 2)]);
    let check = async |keep_going, expected: &[&str]| {
        let (_sender, cancel) = watch::channel(false);
        let (result, lines) = played(&plan, &[(0, Act::Fail)], keep_going, cancel).await;
        assert_eq!(lines, expected);
        assert_eq!((result.end, result.failures.len()), (RunEnd::Failed, 1));
    };
    let skipped = ["n0 starts", "n0 failed", "n1 skipped for n0", "n2 skipped for n0"];
    check(true, &[&skipped[..], &["n3 starts", "n3 done"]].concat()).await;
    check(false, &[&skipped[..], &["n3 skipped for n0"]].concat()).await;
}

#[tokio::test]
async fn an_interruption_drops_what_runs_and_starts_nothing() {
    let (sender, cancel) = watch::channel(false);
    let started = Arc::new(Notify::new());
    let plan = plan(3, &[(0, 1)]);
    let stop = async {
        started.notified().await;
        sender.send(true).unwrap();
    };
    let acts = [(0, Act::Hang(started.clone()))];
    let ((result, lines), ()) = tokio::join!(played(&plan, &acts, true, cancel), stop);
    assert_eq!(result.end, RunEnd::Interrupted);
    assert_eq!(lines, ["n0 starts", "n1 cancelled", "n2 cancelled", "n0 cancelled"]);
}

#[tokio::test]
async fn what_is_known_waits_for_no_place() {
    let (sender, cancel) = watch::channel(false);
    let started = Arc::new(Notify::new());
    let stop = async {
        started.notified().await;
        sender.send(true).unwrap();
    };
    let acts = [(0, Act::Hang(started.clone())), (2, Act::Known), (3, Act::Known)];
    let plan = plan(4, &[(1, 3)]);
    let ((_, lines), ()) = tokio::join!(played(&plan, &acts, true, cancel), stop);
    assert_eq!(lines, ["n0 starts", "n2 starts", "n2 done", "n1 cancelled", "n3 cancelled", "n0 cancelled"]);
}

#[tokio::test]
async fn a_run_that_nobody_can_cancel_ends_by_itself() {
    let (sender, cancel) = watch::channel(false);
    drop(sender);
    let (result, lines) = played(&plan(2, &[(0, 1)]), &[], false, cancel).await;
    assert_eq!((result.end, lines.len()), (RunEnd::Succeeded, 4));
}

#[tokio::test]
async fn a_panic_fails_its_node_alone() {
    for waits in [false, true] {
        let (_sender, cancel) = watch::channel(false);
        let (result, lines) = played(&plan(2, &[]), &[(0, Act::Panic { waits })], true, cancel).await;
        assert_eq!(lines, ["n0 starts", "n0 failed", "n1 starts", "n1 done"]);
        assert_eq!(result.failures[0].message, "mab panicked: n0 is broken");
    }
}

/// Says in which thread its nodes are.
struct Threads(Mutex<Vec<ThreadId>>);

impl Worker for Threads {
    async fn work(&self, node: NodeId) -> Result<Outcome, Box<Problem>> {
        if node.0 == 1 {
            tokio::task::yield_now().await;
        }
        self.0.lock().unwrap().push(std::thread::current().id());
        Ok(Outcome::Reused)
    }
}

/// An unchanged bake is made of such nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_need_not_wait_stays_in_its_thread() {
    let (_sender, cancel) = watch::channel(false);
    let worker = Arc::new(Threads(Mutex::default()));
    let limits = Limits { jobs: 1, keep_going: false };
    run(&plan(3, &[]), worker.clone(), limits, Arc::new(Recorded::default()), cancel).await;
    let here = std::thread::current().id();
    let is_here: Vec<bool> = worker.0.lock().unwrap().iter().map(|thread| *thread == here).collect();
    assert_eq!(is_here, [true, false, true]);
}
