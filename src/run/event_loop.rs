//! Starts nodes, waits for them, tells everybody. Decisions are `schedule`'s.

use std::any::Any;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet, unconstrained};

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
    /// Nodes running at one time, besides those of which is known what comes of them.
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
                Some(ended) => this.task_ended(ended),
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
        loop {
            let is_full = self.running.len() >= jobs;
            let next = self.schedule.start_next(|node| !is_full || self.worker.is_known(node));
            let Some(node) = next else { return };
            self.events.emit(Event::NodeStarted { node });
            let (worker, begin) = (self.worker.clone(), Instant::now());
            let mut work = Box::pin(async move { (node, worker.work(node).await) });
            // What is known already is told at once: to hand it to another thread would take longer than to look it up.
            match AssertUnwindSafe(unconstrained(&mut work)).catch_unwind().now_or_never() {
                None => {
                    let task = self.running.spawn(work);
                    self.started.push((task.id(), node, begin));
                }
                Some(Ok((_, result))) => self.node_ended(node, begin, result),
                Some(Err(panic)) => self.node_ended(node, begin, Err(panicked(panic))),
            }
        }
    }

    fn task_ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let place =
            self.started.iter().position(|(task, ..)| *task == id).expect("every task was started here");
        let (_, node, begin) = self.started.swap_remove(place);
        match ended {
            Ok((_, (_, result))) => self.node_ended(node, begin, result),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => self.node_ended(node, begin, Err(panicked(panic))),
                Err(_) => {
                    self.schedule.cancelled(node);
                    self.tell_end(node, begin, NodeEnd::Cancelled);
                }
            },
        }
    }

    fn node_ended(&mut self, node: NodeId, begin: Instant, result: Result<Outcome, Box<Problem>>) {
        match result {
            Ok(outcome) => {
                self.schedule.done(node);
                self.tell_end(node, begin, NodeEnd::Done(outcome));
            }
            Err(problem) => {
                let problem = Arc::<Problem>::from(problem);
                self.failures.push(problem.clone());
                self.tell_end(node, begin, NodeEnd::Failed(problem));
                self.skip_dependents(node);
            }
        }
    }

    fn tell_end(&self, node: NodeId, begin: Instant, end: NodeEnd) {
        self.events.emit(Event::NodeFinished { node, end, elapsed: begin.elapsed() });
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

fn panicked(panic: Box<dyn Any + Send>) -> Box<Problem> {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = format!("mab panicked: {}", text.unwrap_or("it does not say why"));
    Box::new(Problem::new(Kind::Bug, "run::panic", message))
}
