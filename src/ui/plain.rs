//! The line-oriented log for pipes and CI: every line names its node, and no line is ever taken back.
//!
//! A step's line is held until it says something: how the step ended, or that it takes longer than an eye
//! blink. So a step found by its key costs one line, and a long one shows before it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use super::problem;
use super::story::{Node, Step, Story};
use super::style::Style;
use super::text::{Colours, bytes, clean, count, span};
use crate::base::payload::Outcome;
use crate::base::{NodeId, StepId};
use crate::diag::Problem;
use crate::event::{Event, NodeEnd, NodeKind, Transfer};

/// How long a step may stay unsaid.
const HOLD: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub struct Plain {
    style: Style,
    /// Steps whose line is held, with the time they began.
    held: BTreeMap<(NodeId, StepId), Duration>,
}

impl Plain {
    pub fn new(style: Style) -> Self {
        Self { style, held: BTreeMap::new() }
    }

    /// The lines for `event`, each with its line end. `story` has been told the event already; `ended` is
    /// the step it ends.
    pub fn lines(&mut self, event: &Event, story: &Story, ended: Option<&Step>, now: Duration) -> String {
        match event {
            Event::RunStarted { .. } => started(story),
            // What is an end, the summary tells; an unchanged tag is no news.
            Event::NodeStarted { .. }
            | Event::Image { .. }
            | Event::Merged { .. }
            | Event::Tagged { unchanged: true, .. }
            | Event::RunFinished { .. } => String::new(),
            Event::Assigned { node, worker } => {
                self.node_line(story, *node, &format!("on {}", clean(&worker.to_string(), Colours::Drop)))
            }
            Event::StepStarted { node, step, .. } => {
                self.held.insert((*node, *step), now);
                String::new()
            }
            Event::StepFinished { node, step, outcome, elapsed } => {
                self.step_finished(story, (*node, *step), ended, *outcome, *elapsed)
            }
            Event::Log { node, step, line, stream: _ } => self.log(story, *node, *step, line),
            Event::Transfer { node, what, item, done, total } if *total == Some(*done) => {
                let item = clean(item, Colours::Drop);
                self.node_line(story, *node, &format!("{} {item} ({})", transfer_verb(*what), bytes(*done)))
            }
            // Each blob that was sent has its line.
            Event::Transfer { .. } | Event::Blobs { .. } => String::new(),
            Event::Notice { node, problem } => self.notice(story, *node, problem),
            Event::Explained { node, explanation } => {
                self.node_line(story, *node, &clean(&explanation.to_string(), Colours::Drop))
            }
            Event::Tagged { node, reference, digest, target: _, unchanged: false } => {
                let reference = clean(reference, Colours::Drop);
                self.node_line(story, *node, &format!("{reference} is {}", digest.short()))
            }
            Event::Written { node, kind, place } => {
                let (kind, place) = (clean(kind, Colours::Drop), clean(place, Colours::Drop));
                self.node_line(story, *node, &format!("wrote {kind} {place}"))
            }
            Event::NodeFinished { node, end, elapsed } => self.node_finished(story, *node, end, *elapsed),
        }
    }

    /// The lines of steps that have been held long enough.
    pub fn overdue(&mut self, story: &Story, now: Duration) -> String {
        let due: Vec<_> = self
            .held
            .iter()
            .filter(|(_, since)| now.saturating_sub(**since) >= HOLD)
            .map(|(key, _)| *key)
            .collect();
        due.into_iter().map(|(node, step)| self.release(story, node, step)).collect()
    }

    /// The held line of a step, if it is still held.
    fn release(&mut self, story: &Story, node: NodeId, step: StepId) -> String {
        if self.held.remove(&(node, step)).is_none() {
            return String::new();
        }
        let Some((node, step)) = story.node(node).and_then(|node| Some((node, node.step(step)?))) else {
            return String::new();
        };
        format!("{} {}{}\n", self.prefix(node, Some(step)), step.text, emulated(step))
    }

    fn step_finished(
        &mut self,
        story: &Story,
        key: (NodeId, StepId),
        ended: Option<&Step>,
        outcome: Outcome,
        elapsed: Duration,
    ) -> String {
        let (Some(node), Some(step)) = (story.node(key.0), ended) else { return String::new() };
        let was_held = self.held.remove(&key).is_some();
        let ending = match outcome {
            Outcome::Built => span(elapsed),
            Outcome::Reused => "reused".to_string(),
            Outcome::Shared => "shared".to_string(),
        };
        let prefix = self.prefix(node, Some(step));
        if was_held {
            let ending = self.style.dim(&format!("· {ending}"));
            format!("{prefix} {}{} {ending}\n", step.text, emulated(step))
        } else {
            let done = if outcome == Outcome::Built { "done in " } else { "" };
            format!("{prefix} {}\n", self.style.dim(&format!("{done}{ending}")))
        }
    }

    fn log(&mut self, story: &Story, node: NodeId, step: StepId, line: &str) -> String {
        let mut text = self.release(story, node, step);
        let colours = if self.style.colour { Colours::Keep } else { Colours::Drop };
        let prefix = match story.node(node) {
            Some(found) => self.prefix(found, found.step(step)),
            None => format!("[{node}]"),
        };
        text.push_str(format!("{prefix} | {}", clean(line, colours)).trim_end());
        text.push('\n');
        text
    }

    fn notice(&self, story: &Story, node: Option<NodeId>, problem: &Problem) -> String {
        let prefix = node.map(|node| format!("{} ", self.style.name(&format!("[{}]", story.label(node)))));
        problem::notice(problem, &prefix.unwrap_or_default(), self.style)
    }

    fn node_finished(&mut self, story: &Story, node: NodeId, end: &NodeEnd, elapsed: Duration) -> String {
        let cut: Vec<StepId> =
            self.held.keys().filter(|(held, _)| *held == node).map(|(_, step)| *step).collect();
        let held: String = cut.into_iter().map(|step| self.release(story, node, step)).collect();
        match ending(story, node, end, elapsed, self.style) {
            Some(line) => held + &self.node_line(story, node, &line),
            None => held,
        }
    }

    fn node_line(&self, story: &Story, node: NodeId, text: &str) -> String {
        format!("{} {text}\n", self.style.name(&format!("[{}]", story.label(node))))
    }

    fn prefix(&self, node: &Node, step: Option<&Step>) -> String {
        let label = match step {
            Some(step) => format!("[{} {}/{}]", node.label(), step.number, step.total),
            None => format!("[{}]", node.label()),
        };
        self.style.name(&label)
    }
}

/// What the run is about, in one line.
fn started(story: &Story) -> String {
    let mut targets: Vec<&str> = Vec::new();
    let mut platforms: Vec<String> = Vec::new();
    for node in story.nodes().filter(|node| node.info.kind == NodeKind::Build) {
        if !targets.contains(&node.info.name.as_str()) {
            targets.push(&node.info.name);
        }
        let platform = node.info.platform.as_ref().map(ToString::to_string);
        platforms.extend(platform.filter(|platform| !platforms.contains(platform)));
    }
    if story.is_transfer() {
        return String::new();
    }
    let nodes = count(story.nodes().count(), "node");
    if targets.is_empty() {
        return format!("{nodes}\n");
    }
    format!("{} for {}: {nodes}\n", targets.join(", "), platforms.join(", "))
}

/// How a node ended, where that is news: an earlier result, a verified image, an index or a known base image is none.
pub fn ending(story: &Story, node: NodeId, end: &NodeEnd, elapsed: Duration, style: Style) -> Option<String> {
    let kind = story.node(node).map(|node| node.info.kind);
    Some(match end {
        NodeEnd::Done(Outcome::Built) if matches!(kind, Some(NodeKind::Verify | NodeKind::Merge)) => {
            return None;
        }
        NodeEnd::Done(Outcome::Built | Outcome::Shared) => {
            format!("{} in {}", style.good("done"), span(elapsed))
        }
        NodeEnd::Done(Outcome::Reused) => return None,
        NodeEnd::Failed(problem) => {
            let message = clean(problem.message.lines().next().unwrap_or_default(), Colours::Drop);
            format!("{} after {}: {message}", style.bad("failed"), span(elapsed))
        }
        NodeEnd::Skipped { because } => format!("not run, because `{}` failed", story.label(*because)),
        NodeEnd::Cancelled => format!("stopped after {}", span(elapsed)),
    })
}

pub fn transfer_verb(what: Transfer) -> &'static str {
    match what {
        Transfer::Pull => "pulled",
        Transfer::Push => "pushed",
        Transfer::Export => "exported",
    }
}

fn emulated(step: &Step) -> &'static str {
    if step.emulated { " (emulated)" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;

    fn transcript(events: Vec<(u64, Event)>) -> String {
        let style = Style { colour: false };
        let (mut story, mut plain, mut text) = (Story::default(), Plain::new(style), String::new());
        for (millis, event) in events {
            let now = Duration::from_millis(millis);
            text.push_str(&plain.overdue(&story, now));
            let ended = story.ending_step(&event);
            story.tell(&event, now);
            text.push_str(&plain.lines(&event, &story, ended.as_ref(), now));
        }
        text
    }

    #[test]
    fn a_build_reads_as_a_log() {
        assert_eq!(
            transcript(recorded::first_build()),
            "api for linux/amd64, linux/arm64: 5 nodes\n\
             [resolve busybox] pulled sha256:layer (1.2 MB)\n\
             [resolve busybox] done in 90 ms\n\
             [api linux/amd64 1/3] FROM busybox · reused\n\
             [api linux/arm64] warning: commands for `linux/arm64` run under emulation\n\
             \x20 help: add an arm64 worker\n\
             [api linux/arm64 2/3] RUN make assets (emulated)\n\
             [api linux/arm64 2/3] | compiling\n\
             [api linux/amd64 2/3] RUN make assets · 150 ms\n\
             [api linux/amd64 3/3] COPY . . · 10 ms\n\
             [api linux/amd64] done in 300 ms\n\
             [api linux/arm64 2/3] | done\n\
             [api linux/arm64 2/3] done in 3.0 s\n\
             [api linux/arm64 3/3] COPY . . · 10 ms\n\
             [api linux/arm64] done in 3.3 s\n\
             [publish] localhost:5000/shop/api:main is 1bc04b5291c2\n\
             [publish] done in 40 ms\n"
        );
    }

    #[test]
    fn a_step_that_waited_for_another_one_took_no_time_of_its_own() {
        let mut events = recorded::first_build();
        for (_, event) in &mut events {
            if let Event::StepFinished { node, step: StepId(2), outcome, .. } = event {
                // The one whose line was told while it was under way.
                *outcome = if node.0 == 2 { Outcome::Shared } else { Outcome::Built };
            }
        }
        let text = transcript(events);
        assert!(text.contains("[api linux/arm64 2/3] | done\n[api linux/arm64 2/3] shared\n"), "{text}");
    }

    #[test]
    fn a_failure_is_named_where_it_happens() {
        assert_eq!(
            transcript(recorded::failed_build()),
            "api for linux/amd64, linux/arm64: 5 nodes\n\
             [api linux/amd64 2/3] RUN make assets\n\
             [api linux/amd64 2/3] | cc -c main.c\n\
             [api linux/amd64 2/3] | main.c:1: no such thing\n\
             [api linux/amd64] failed after 1.5 s: the command of `RUN make assets` ended with 2\n\
             [api linux/arm64] stopped after 1.5 s\n\
             [merge api] not run, because `api linux/amd64` failed\n\
             [publish] not run, because `api linux/amd64` failed\n"
        );
    }

    #[test]
    fn an_unchanged_run_says_next_to_nothing() {
        assert_eq!(transcript(recorded::unchanged_build()), "api for linux/amd64, linux/arm64: 5 nodes\n");
    }
}
