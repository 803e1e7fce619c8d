//! Runs a plan's graph.
//!
//! `schedule` is a state machine that decides and never waits; `event_loop` waits and never decides;
//! a [`Worker`] does what a node is for. Knows no file formats.

mod ahead;
mod blobs;
mod build;
mod caches;
mod epoch;
mod event_loop;
mod explain;
mod export;
mod foresee;
mod images;
mod merge;
mod outlook;
mod publish;
mod resolve;
mod said_once;
mod schedule;
mod sources;
mod supplied;
mod survey;
mod test;
mod verify;
mod worker;

pub use caches::NamedCaches;
pub use epoch::EPOCHS;
pub use event_loop::{Limits, RunResult, run};
pub use resolve::Bases;
pub use said_once::SaidOnce;
pub use schedule::{Schedule, State};
pub use supplied::SuppliedImage;
pub use survey::Survey;
pub use worker::{PlanWorker, Tools};

use crate::base::NodeId;
use crate::base::payload::Outcome;
use crate::diag::Problem;

/// Does the work of nodes. Called once per node, after everything it depends on is done.
pub trait Worker: Send + Sync + 'static {
    fn work(&self, node: NodeId) -> impl Future<Output = Result<Outcome, Box<Problem>>> + Send;

    /// Whether it is known already what comes of a node that is ready. It is soon done, and takes no place among those that
    /// run.
    fn is_known(&self, _node: NodeId) -> bool {
        false
    }

    /// Waits for what goes on beside the nodes. Called once, after the last of them.
    fn settle(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

#[cfg(test)]
mod tests;
