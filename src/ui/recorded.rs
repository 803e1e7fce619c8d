//! Recorded stories for the printers' tests: events with the millisecond they came at.

use std::sync::Arc;
use std::time::Duration;

use crate::base::payload::{ImageSummary, Outcome, Stream};
use crate::base::{Digest, NodeId, Platform, StepId};
use crate::diag::{Kind, Place, Problem, Source};
use crate::event::{Event, NodeEnd, NodeInfo, NodeKind, RunEnd, Transfer};

const BASE: NodeId = NodeId(0);
const AMD64: NodeId = NodeId(1);
const ARM64: NodeId = NodeId(2);
const MERGE: NodeId = NodeId(3);
const PUBLISH: NodeId = NodeId(4);

fn run_started() -> Event {
    let node = |id, kind, name: &str, platform: Option<&str>| NodeInfo {
        id,
        kind,
        name: name.to_string(),
        platform: platform.map(|platform| platform.parse().unwrap()),
    };
    Event::RunStarted {
        nodes: vec![
            node(BASE, NodeKind::Resolve, "busybox", None),
            node(AMD64, NodeKind::Build, "api", Some("linux/amd64")),
            node(ARM64, NodeKind::Build, "api", Some("linux/arm64")),
            node(MERGE, NodeKind::Merge, "api", None),
            node(PUBLISH, NodeKind::Publish, "publish", None),
        ],
    }
}

fn step(node: NodeId, number: usize, text: &str, emulated: bool) -> Event {
    let step = StepId(u32::try_from(number).unwrap());
    Event::StepStarted { node, step, stage: "run".into(), text: text.into(), number, total: 3, emulated }
}

fn step_done(node: NodeId, number: u32, outcome: Outcome, millis: u64) -> Event {
    Event::StepFinished { node, step: StepId(number), outcome, elapsed: Duration::from_millis(millis) }
}

fn log(node: NodeId, number: u32, line: &str) -> Event {
    Event::Log { node, step: StepId(number), stream: Stream::Stdout, line: line.into() }
}

fn ended(node: NodeId, end: NodeEnd, millis: u64) -> Event {
    Event::NodeFinished { node, end, elapsed: Duration::from_millis(millis) }
}

fn done(node: NodeId, outcome: Outcome, millis: u64) -> Event {
    ended(node, NodeEnd::Done(outcome), millis)
}

fn image(node: NodeId, architecture: &str) -> Event {
    let summary = ImageSummary {
        platform: Platform::linux(architecture),
        manifest: Digest::of(architecture),
        size: 1_234_567,
        layers: 3,
    };
    Event::Image { node, summary }
}

fn merged() -> Event {
    let platforms = vec![Platform::linux("amd64"), Platform::linux("arm64")];
    let names = vec!["localhost:5000/shop/api:main".to_string()];
    Event::Merged { node: MERGE, target: "api".into(), digest: Digest::of("index"), platforms, names }
}

fn tagged(unchanged: bool) -> Event {
    let reference = "localhost:5000/shop/api:main".to_string();
    Event::Tagged { node: PUBLISH, target: "api".into(), reference, digest: Digest::of("index"), unchanged }
}

fn run_ended(end: RunEnd, millis: u64) -> Event {
    Event::RunFinished { end, elapsed: Duration::from_millis(millis) }
}

/// One image for two platforms, one of them emulated, built for the first time.
pub fn first_build() -> Vec<(u64, Event)> {
    let warning = Problem::warning("plan::emulated", "commands for `linux/arm64` run under emulation")
        .help("add an arm64 worker");
    let pulled = Event::Transfer {
        node: BASE,
        what: Transfer::Pull,
        item: "sha256:layer".into(),
        done: 1_234_567,
        total: Some(1_234_567),
    };
    vec![
        (0, run_started()),
        (0, Event::NodeStarted { node: BASE }),
        (90, pulled),
        (90, done(BASE, Outcome::Built, 90)),
        (100, Event::NodeStarted { node: AMD64 }),
        (100, Event::NodeStarted { node: ARM64 }),
        (101, step(AMD64, 1, "FROM busybox", false)),
        (102, step_done(AMD64, 1, Outcome::Reused, 0)),
        (103, Event::Notice { node: Some(ARM64), problem: Arc::new(warning) }),
        (110, step(AMD64, 2, "RUN make assets", false)),
        (110, step(ARM64, 2, "RUN make assets", true)),
        (120, log(ARM64, 2, "compiling")),
        (260, step_done(AMD64, 2, Outcome::Built, 150)),
        (270, step(AMD64, 3, "COPY . .", false)),
        (280, step_done(AMD64, 3, Outcome::Built, 10)),
        (400, image(AMD64, "amd64")),
        (400, done(AMD64, Outcome::Built, 300)),
        (3_000, log(ARM64, 2, "50%\r100%\rdone")),
        (3_110, step_done(ARM64, 2, Outcome::Built, 3_000)),
        (3_120, step(ARM64, 3, "COPY . .", false)),
        (3_130, step_done(ARM64, 3, Outcome::Built, 10)),
        (3_400, image(ARM64, "arm64")),
        (3_400, done(ARM64, Outcome::Built, 3_300)),
        (3_401, Event::NodeStarted { node: MERGE }),
        (3_402, merged()),
        (3_402, done(MERGE, Outcome::Built, 1)),
        (3_410, Event::NodeStarted { node: PUBLISH }),
        (3_440, tagged(false)),
        (3_450, done(PUBLISH, Outcome::Built, 40)),
        (3_450, run_ended(RunEnd::Succeeded, 3_450)),
    ]
}

/// A command that fails, and what that means for the others.
pub fn failed_build() -> Vec<(u64, Event)> {
    let dockerfile = Source::new("services/api/Dockerfile", "FROM busybox\nRUN make assets\n");
    let problem =
        Problem::new(Kind::Build, "build::command", "the command of `RUN make assets` ended with 2")
            .at(Place::new(&dockerfile, 13..28), "exit code 2");
    vec![
        (0, run_started()),
        (0, done(BASE, Outcome::Reused, 0)),
        (0, Event::NodeStarted { node: AMD64 }),
        (0, Event::NodeStarted { node: ARM64 }),
        (1, step(AMD64, 2, "RUN make assets", false)),
        (900, log(AMD64, 2, "cc -c main.c")),
        (901, log(AMD64, 2, "main.c:1: \u{1b}[31mno such thing")),
        (1_500, ended(AMD64, NodeEnd::Failed(Arc::new(problem)), 1_500)),
        (1_500, ended(ARM64, NodeEnd::Cancelled, 1_500)),
        (1_500, ended(MERGE, NodeEnd::Skipped { because: AMD64 }, 0)),
        (1_500, ended(PUBLISH, NodeEnd::Skipped { because: AMD64 }, 0)),
        (1_500, run_ended(RunEnd::Failed, 1_500)),
    ]
}

/// Nothing has changed since the last run.
pub fn unchanged_build() -> Vec<(u64, Event)> {
    let mut events = vec![(0, run_started()), (5, image(AMD64, "amd64")), (5, image(ARM64, "arm64"))];
    events.extend([BASE, AMD64, ARM64, MERGE].map(|node| (5, done(node, Outcome::Reused, 0))));
    events.push((10, merged()));
    events.push((15, tagged(true)));
    events.push((16, done(PUBLISH, Outcome::Reused, 6)));
    events.push((18, run_ended(RunEnd::Succeeded, 18)));
    events
}
