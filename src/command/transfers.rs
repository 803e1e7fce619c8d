//! Images on their way as a run of one node: what is heard of it, how it ends, and what it took in words.
//!
//! Not known here: which images go where.

use std::sync::Arc;
use std::time::Instant;

use super::Failure;
use super::plan::Document;
use crate::base::NodeId;
use crate::base::payload::Outcome;
use crate::diag::Problem;
use crate::event::{Event, EventSink, NodeEnd, NodeInfo, NodeKind, RunEnd};
use crate::image::{self, ImageName, Node};
use crate::oci::Descriptor;
use crate::publish::push::staged;
use crate::transfer::{Delivered, Delivery, Destination, TransferError, TransferEvent, TransferReport};
use crate::ui::{bytes, count};

/// What became of it.
pub enum Transferred {
    Done(Document),
    /// It was told to the sink already.
    Failed(Arc<Problem>),
}

/// The only node of the run.
const NODE: NodeId = NodeId(0);

/// A run of one node, as a sink hears of it.
pub(super) struct Told {
    events: Arc<dyn EventSink>,
    begin: Instant,
}

impl Told {
    pub(super) fn start(kind: NodeKind, to: &ImageName, events: Arc<dyn EventSink>) -> Self {
        let node = NodeInfo { id: NODE, kind, name: to.to_string(), platform: None };
        events.emit(Event::RunStarted { nodes: vec![node] });
        events.emit(Event::NodeStarted { node: NODE });
        Self { events, begin: Instant::now() }
    }

    /// Brings everything to its place, and ends the run. The problem is what an Engine does not keep.
    pub(super) async fn deliver(
        self,
        delivery: Delivery<'_>,
        destination: Destination,
    ) -> Result<(Delivered, Option<Problem>), Arc<Problem>> {
        let delivery = Delivery { report: heard(&self.events), ..delivery };
        let moved = async {
            let delivered = delivery.run(&destination).await?;
            Ok::<_, TransferError>((delivered, destination.finish(&delivery.report).await?))
        };
        match moved.await {
            Ok(moved) => {
                let outcome = if moved.0.sent > 0 { Outcome::Built } else { Outcome::Reused };
                self.end(NodeEnd::Done(outcome), RunEnd::Succeeded);
                Ok(moved)
            }
            Err(error) => {
                let problem = Arc::new(error.problem());
                self.end(NodeEnd::Failed(problem.clone()), RunEnd::Failed);
                Err(problem)
            }
        }
    }

    fn end(&self, end: NodeEnd, of_run: RunEnd) {
        let elapsed = self.begin.elapsed();
        self.events.emit(Event::NodeFinished { node: NODE, end, elapsed });
        self.events.emit(Event::RunFinished { end: of_run, elapsed });
    }
}

/// Lets a sink hear of what is under way.
fn heard(events: &Arc<dyn EventSink>) -> TransferReport {
    let events = Arc::clone(events);
    Arc::new(move |event| {
        events.emit(match event {
            TransferEvent::Bytes { way, item, done, total } => {
                Event::Transfer { node: NODE, what: way, item, done, total: Some(total) }
            }
            TransferEvent::Blobs { done, total } => Event::Blobs { node: NODE, done, total },
        });
    })
}

/// Where nobody is to hear of it, or nobody yet.
pub(super) fn unheard() -> TransferReport {
    Arc::new(|_| {})
}

/// A document by itself, without what an index says of it.
pub(super) fn document(node: &Node) -> image::Document {
    let Descriptor { media_type, digest, .. } = &node.descriptor;
    let descriptor = Descriptor::new(media_type, *digest, node.bytes.len() as u64);
    image::Document { descriptor, bytes: node.bytes.clone() }
}

pub(super) fn failed(error: TransferError) -> Failure {
    vec![error.problem()]
}

/// What a delivery leaves behind.
pub(super) fn warnings(to: &ImageName, delivered: &Delivered) -> Vec<Problem> {
    let repository = to.reference().filter(|_| delivered.staged > 0);
    repository.map(|repository| staged(repository, delivered.staged)).into_iter().collect()
}

/// What a delivery took, in a sentence.
pub(super) fn told(delivered: &Delivered) -> String {
    let Delivered { there, mounted, sent, sent_bytes, staged: _ } = delivered;
    let mut parts = vec![match sent {
        0 => "nothing had to be sent".to_string(),
        _ => format!("{} sent, {}", count(*sent, "blob"), bytes(*sent_bytes)),
    }];
    parts.extend((*mounted > 0).then(|| format!("{mounted} taken from a repository beside it")));
    parts.extend((*there > 0).then(|| format!("{there} there already")));
    parts.join(", ")
}
