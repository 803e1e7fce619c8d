//! One JSON object a line for every event, for programs. The fields are a contract of their own, with a
//! version, and independent of how events look inside.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::story::Story;
use crate::base::payload::{Outcome, StepCounts, Stream};
use crate::base::{Digest, NodeId, Platform, StepId};
use crate::diag::to_json;
use crate::event::{Event, NodeEnd, NodeInfo, NodeKind, RunEnd, Transfer};

/// Raised when a field changes its meaning or goes; new fields and events do not raise it.
const VERSION: u32 = 1;

/// The line for `event`, which came `now` after the start of the run and is the last of `story`, with its line end.
pub fn line(event: &Event, story: &Story, now: Duration) -> String {
    let record = Record { version: VERSION, at: milliseconds(now), event: kind(event, story) };
    let mut line =
        serde_json::to_string(&record).expect("records hold only strings, numbers and JSON values");
    line.push('\n');
    line
}

#[derive(Serialize)]
struct Record<'a> {
    version: u32,
    /// Milliseconds since the start of the run.
    at: u64,
    #[serde(flatten)]
    event: Kind<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
enum Kind<'a> {
    RunStarted {
        nodes: Vec<Node<'a>>,
    },
    NodeStarted {
        node: u32,
    },
    Assigned {
        node: u32,
        builder: &'a str,
        endpoint: Option<&'a str>,
    },
    StepStarted {
        node: u32,
        step: u32,
        stage: &'a str,
        text: &'a str,
        number: usize,
        total: usize,
        emulated: bool,
    },
    StepFinished {
        node: u32,
        step: u32,
        outcome: &'static str,
        elapsed: u64,
    },
    Log {
        node: u32,
        step: u32,
        stream: &'static str,
        line: &'a str,
    },
    Transfer {
        node: u32,
        what: &'static str,
        item: &'a str,
        done: u64,
        total: Option<u64>,
    },
    Blobs {
        node: u32,
        done: usize,
        total: usize,
    },
    Notice {
        node: Option<u32>,
        problem: Value,
    },
    Explained {
        node: u32,
        explanation: Value,
    },
    Image {
        node: u32,
        platform: &'a Platform,
        manifest: &'a Digest,
        size: u64,
        layers: usize,
    },
    Merged {
        node: u32,
        target: &'a str,
        digest: &'a Digest,
        platforms: &'a [Platform],
        names: &'a [String],
    },
    Tagged {
        node: u32,
        target: &'a str,
        reference: &'a str,
        digest: &'a Digest,
        unchanged: bool,
    },
    Written {
        node: u32,
        kind: &'a str,
        place: &'a str,
    },
    NodeFinished {
        node: u32,
        end: &'static str,
        problem: Option<Value>,
        because: Option<u32>,
        elapsed: u64,
    },
    RunFinished {
        end: &'static str,
        elapsed: u64,
        steps: Steps,
    },
}

/// All steps together. They run side by side, so that their time may be more than that of the run.
#[derive(Serialize)]
struct Steps {
    built: usize,
    reused: usize,
    elapsed: u64,
    /// Of that time.
    emulated: u64,
}

impl From<StepCounts> for Steps {
    fn from(StepCounts { built, reused, spent, emulated }: StepCounts) -> Self {
        Self { built, reused, elapsed: milliseconds(spent), emulated: milliseconds(emulated) }
    }
}

#[derive(Serialize)]
struct Node<'a> {
    node: u32,
    kind: &'static str,
    name: &'a str,
    platform: Option<&'a Platform>,
}

impl<'a> From<&'a NodeInfo> for Node<'a> {
    fn from(info: &'a NodeInfo) -> Self {
        let kind = match info.kind {
            NodeKind::Resolve => "resolve",
            NodeKind::Build => "build",
            NodeKind::Verify => "verify",
            NodeKind::Test => "test",
            NodeKind::Merge => "merge",
            NodeKind::Publish => "publish",
            NodeKind::Copy => "copy",
            NodeKind::Index => "index",
        };
        Self { node: info.id.0, kind, name: &info.name, platform: info.platform.as_ref() }
    }
}

fn kind<'a>(event: &'a Event, story: &Story) -> Kind<'a> {
    match event {
        Event::RunStarted { nodes } => Kind::RunStarted { nodes: nodes.iter().map(Node::from).collect() },
        Event::NodeStarted { node } => Kind::NodeStarted { node: node.0 },
        Event::Assigned { node, worker } => {
            Kind::Assigned { node: node.0, builder: &worker.builder, endpoint: worker.endpoint.as_deref() }
        }
        Event::StepStarted { node, step, stage, text, number, total, emulated } => Kind::StepStarted {
            node: node.0,
            step: step.0,
            stage,
            text,
            number: *number,
            total: *total,
            emulated: *emulated,
        },
        Event::StepFinished { node: NodeId(node), step: StepId(step), outcome: end, elapsed } => {
            let (outcome, elapsed) = (outcome(*end), milliseconds(*elapsed));
            Kind::StepFinished { node: *node, step: *step, outcome, elapsed }
        }
        Event::Log { node, step, stream, line } => {
            let stream = match stream {
                Stream::Stdout => "stdout",
                Stream::Stderr => "stderr",
            };
            Kind::Log { node: node.0, step: step.0, stream, line }
        }
        Event::Transfer { node, what, item, done, total } => {
            Kind::Transfer { node: node.0, what: direction(*what), item, done: *done, total: *total }
        }
        Event::Blobs { node, done, total } => Kind::Blobs { node: node.0, done: *done, total: *total },
        Event::Notice { node, problem } => {
            Kind::Notice { node: node.map(|node| node.0), problem: to_json(problem) }
        }
        Event::Explained { node, explanation } => {
            Kind::Explained { node: node.0, explanation: explanation.to_json() }
        }
        Event::Image { node, summary } => Kind::Image {
            node: node.0,
            platform: &summary.platform,
            manifest: &summary.manifest,
            size: summary.size,
            layers: summary.layers,
        },
        Event::Merged { node, target, digest, platforms, names } => {
            Kind::Merged { node: node.0, target, digest, platforms, names }
        }
        Event::Tagged { node, target, reference, digest, unchanged } => {
            Kind::Tagged { node: node.0, target, reference, digest, unchanged: *unchanged }
        }
        Event::Written { node, kind, place } => Kind::Written { node: node.0, kind, place },
        Event::NodeFinished { node, end, elapsed } => node_finished(*node, end, *elapsed),
        Event::RunFinished { end, elapsed } => {
            let end = match end {
                RunEnd::Succeeded => "succeeded",
                RunEnd::Failed => "failed",
                RunEnd::Interrupted => "interrupted",
            };
            Kind::RunFinished { end, elapsed: milliseconds(*elapsed), steps: story.counts().into() }
        }
    }
}

fn node_finished<'a>(node: NodeId, end: &NodeEnd, elapsed: Duration) -> Kind<'a> {
    let (end, problem, because) = match end {
        NodeEnd::Done(done) => (outcome(*done), None, None),
        NodeEnd::Failed(problem) => ("failed", Some(to_json(problem)), None),
        NodeEnd::Skipped { because } => ("skipped", None, Some(because.0)),
        NodeEnd::Cancelled => ("cancelled", None, None),
    };
    Kind::NodeFinished { node: node.0, end, problem, because, elapsed: milliseconds(elapsed) }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Built => "built",
        Outcome::Reused => "reused",
        Outcome::Shared => "shared",
    }
}

fn direction(what: Transfer) -> &'static str {
    match what {
        Transfer::Pull => "pull",
        Transfer::Push => "push",
        Transfer::Export => "export",
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;

    fn check(at: usize, events: &[(u64, Event)], expected: &str) {
        let mut story = Story::default();
        for (millis, event) in &events[..=at] {
            story.tell(event, Duration::from_millis(*millis));
        }
        let (millis, event) = &events[at];
        assert_eq!(line(event, &story, Duration::from_millis(*millis)), format!("{expected}\n"));
    }

    #[test]
    fn events_are_one_object_a_line() {
        let events = recorded::first_build();
        check(1, &events, r#"{"version":1,"at":0,"event":"node-started","node":0}"#);
        check(
            6,
            &events,
            r#"{"version":1,"at":101,"event":"step-started","node":1,"step":1,"stage":"run","text":"FROM busybox","number":1,"total":3,"emulated":false}"#,
        );
        check(
            11,
            &events,
            r#"{"version":1,"at":120,"event":"log","node":2,"step":2,"stream":"stdout","line":"compiling"}"#,
        );
        check(
            29,
            &events,
            r#"{"version":1,"at":3450,"event":"run-finished","end":"succeeded","elapsed":3450,"steps":{"built":4,"reused":1,"elapsed":3170,"emulated":3000}}"#,
        );
    }

    #[test]
    fn failures_carry_their_problem() {
        let events = recorded::failed_build();
        let text = line(&events[7].1, &Story::default(), Duration::ZERO);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["end"], "failed");
        assert_eq!(value["problem"]["code"], "build::command");
        assert_eq!(value["problem"]["labels"][0]["line"], 2);
        check(
            9,
            &events,
            r#"{"version":1,"at":1500,"event":"node-finished","node":3,"end":"skipped","problem":null,"because":1,"elapsed":0}"#,
        );
    }

    #[test]
    fn every_line_is_json_and_only_one_line() {
        for (_, event) in recorded::first_build().iter().chain(&recorded::failed_build()) {
            let text = line(event, &Story::default(), Duration::ZERO);
            assert_eq!(text.matches('\n').count(), 1);
            assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
        }
    }
}
