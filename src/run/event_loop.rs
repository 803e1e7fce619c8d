//! Starts nodes, waits for them, tells everybody. Decisions are `schedule`'s.

use std::future::pending;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};

use super::Worker;
use super::schedule::Schedule;
use crate::base::NodeId;
use crate::base::payload::Outcome;
use crate::diag::{Kind, Problem};
use crate::event::{Event, EventSink, NodeEnd, RunEnd};
use crate::plan::Plan;

/// How much at once, and how far after a failure.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nodes running at one time.
    pub jobs: usize,
    pub keep_going: bool,
}

/// What is left to say after a run.
#[derive(Debug)]
pub struct RunResult {
    pub end: RunEnd,
    pub failures: Vec<Arc<Problem>>,
}

type Ended = (NodeId, Result<Outcome, Box<Problem>>);

struct EventLoop<W> {
    worker: Arc<W>,
    schedule: Schedule,
    events: Arc<dyn EventSink>,
    running: JoinSet<Ended>,
    /// Which node a task works on and since when.
    started: Vec<(Id, NodeId, Instant)>,
    failures: Vec<Arc<Problem>>,
    interrupted: bool,
}

/// Runs every node of `plan`. When `cancel` turns true nothing new starts, running nodes are dropped,
/// which is how their work is told to stop, and the run ends once they are gone.
pub async fn run<W: Worker>(
    plan: &Plan,
    worker: Arc<W>,
    limits: Limits,
    events: Arc<dyn EventSink>,
    mut cancel: watch::Receiver<bool>,
) -> RunResult {
    let begin = Instant::now();
    events.emit(Event::RunStarted { nodes: plan.nodes().map(|(id, node)| node.info(id)).collect() });
    let mut this = EventLoop {
        worker,
        schedule: Schedule::new(plan, limits.keep_going),
        events,
        running: JoinSet::new(),
        started: Vec::new(),
        failures: Vec::new(),
        interrupted: false,
    };
    loop {
        this.start_ready(limits.jobs.max(1));
        tokio::select! {
            ended = this.running.join_next_with_id() => match ended {
                Some(ended) => this.ended(ended),
                None => break,
            },
            () = turned_true(&mut cancel), if !this.interrupted => this.interrupt(),
        }
    }
    assert!(this.schedule.is_finished(), "no node can run and some are unfinished");
    if !this.interrupted {
        tokio::select! {
            () = this.worker.settle() => {}
            // The nodes are done: what is beside them is dropped, and the run has succeeded or failed all the same.
            () = turned_true(&mut cancel) => {}
        }
    }
    this.finish(begin)
}

async fn turned_true(cancel: &mut watch::Receiver<bool>) {
    if cancel.wait_for(|cancelled| *cancelled).await.is_err() {
        // Whoever could cancel is gone: this run will not be.
        pending::<()>().await;
    }
}

impl<W: Worker> EventLoop<W> {
    fn start_ready(&mut self, jobs: usize) {
        while self.running.len() < jobs {
            let Some(node) = self.schedule.start_next() else { return };
            self.events.emit(Event::NodeStarted { node });
            let worker = self.worker.clone();
            let task = self.running.spawn(async move { (node, worker.work(node).await) });
            self.started.push((task.id(), node, Instant::now()));
        }
    }

    fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let place =
            self.started.iter().position(|(task, ..)| *task == id).expect("every task was started here");
        let (_, node, begin) = self.started.swap_remove(place);
        let end = match ended {
            Ok((_, (_, Ok(outcome)))) => {
                self.schedule.done(node);
                NodeEnd::Done(outcome)
            }
            Ok((_, (_, Err(problem)))) => self.fail(node, *problem),
            Err(error) if error.is_cancelled() => {
                self.schedule.cancelled(node);
                NodeEnd::Cancelled
            }
            Err(error) => {
                self.fail(node, Problem::new(Kind::Bug, "run::panic", format!("mab panicked: {error}")))
            }
        };
        let failed = matches!(end, NodeEnd::Failed(_));
        self.events.emit(Event::NodeFinished { node, end, elapsed: begin.elapsed() });
        if failed {
            self.skip_dependents(node);
        }
    }

    fn fail(&mut self, _node: NodeId, problem: Problem) -> NodeEnd {
        let problem = Arc::new(problem);
        self.failures.push(problem.clone());
        NodeEnd::Failed(problem)
    }

    fn skip_dependents(&mut self, node: NodeId) {
        for (skipped, because) in self.schedule.failed(node).skipped {
            let end = NodeEnd::Skipped { because };
            self.events.emit(Event::NodeFinished { node: skipped, end, elapsed: std::time::Duration::ZERO });
        }
    }

    fn interrupt(&mut self) {
        self.interrupted = true;
        for node in self.schedule.cancel_unstarted() {
            let end = NodeEnd::Cancelled;
            self.events.emit(Event::NodeFinished { node, end, elapsed: std::time::Duration::ZERO });
        }
        self.running.abort_all();
    }

    fn finish(self, begin: Instant) -> RunResult {
        let end = match (self.interrupted, self.failures.is_empty()) {
            (true, _) => RunEnd::Interrupted,
            (false, true) => RunEnd::Succeeded,
            (false, false) => RunEnd::Failed,
        };
        self.events.emit(Event::RunFinished { end, elapsed: begin.elapsed() });
        RunResult { end, failures: self.failures }
    }
}
