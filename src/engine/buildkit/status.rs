//! What a worker tells of a build, as events of this side's steps.
//!
//! A worker speaks of vertices, whose names tell what they are for: `[builder 2/5] RUN make`. The numbers count the
//! instructions of a stage that change files, which is how a step is found.

use std::collections::HashMap;
use std::time::Duration;

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1 as proto;

use crate::base::payload::{Outcome, StepCounts, Stream};
use crate::base::{Platform, StepId};
use crate::diag::{Kind, Problem};
use crate::engine::BuildJob;
use crate::engine::embedded::mask::Mask;
use crate::event::{Event, Transfer};
use crate::steps::{Op, Step};

/// How much of a log stands under a failure.
const TAIL_LINES: usize = 20;
/// A line that does not end is shown in parts.
const LONGEST_LINE: usize = 64 << 10;
/// What the worker says of steps that others' failure ended.
const CANCELLED: &str = "context canceled";
/// How vertices begin that send steps to a cache.
const CACHE_EXPORT: &str = "exporting cache";

/// What has been heard of a build.
pub(super) struct Progress<'a> {
    job: &'a BuildJob,
    emulated: Vec<Platform>,
    mask: &'a Mask,
    /// Bases that are no named contexts have numbers among the instructions.
    numbers_bases: bool,
    vertices: HashMap<String, Vertex>,
    counts: StepCounts,
    /// The vertex that failed first, and what the worker says of it.
    failed: Option<(String, String)>,
}

#[derive(Default)]
struct Vertex {
    step: Option<StepId>,
    is_announced: bool,
    is_finished: bool,
    /// Of both streams what no line end has followed yet.
    unfinished: [Vec<u8>; 2],
    tail: Vec<String>,
}

impl<'a> Progress<'a> {
    /// `emulated` are the platforms whose commands the worker does not run natively.
    pub fn new(job: &'a BuildJob, emulated: Vec<Platform>, mask: &'a Mask) -> Self {
        let (vertices, counts) = Default::default();
        Self { job, emulated, mask, numbers_bases: false, vertices, counts, failed: None }
    }

    pub fn numbering_bases(self, numbers_bases: bool) -> Self {
        Self { numbers_bases, ..self }
    }

    pub fn counts(&self) -> StepCounts {
        self.counts
    }

    pub fn hear(&mut self, said: proto::StatusResponse) {
        for vertex in &said.vertexes {
            self.vertex(vertex);
        }
        for log in &said.logs {
            self.log(log);
        }
        for status in &said.statuses {
            if status.total > 0 && status.id.starts_with("sha256:") {
                let (done, total) = (status.current.max(0), status.total);
                let item = status.id.trim_start_matches("sha256:").chars().take(12).collect();
                let total = u64::try_from(total).ok();
                self.job.events.transfer(Transfer::Pull, item, done.unsigned_abs(), total);
            }
        }
        for warning in &said.warnings {
            self.warning(warning);
        }
    }

    fn vertex(&mut self, told: &proto::Vertex) {
        let job = self.job;
        let is_failed = !told.error.is_empty() && !told.error.contains(CANCELLED);
        if is_failed && of_cache(&told.name) {
            return self.cache_failed(&told.name, &told.error);
        }
        let seen = self.vertices.entry(told.digest.clone()).or_insert_with(|| Vertex {
            step: find(&job.steps.steps, &told.name, self.numbers_bases).map(|step| step.id),
            ..Vertex::default()
        });
        if is_failed && self.failed.is_none() {
            self.failed = Some((told.digest.clone(), told.error.clone()));
        }
        let Some(step) = seen.step else { return };
        let is_started = told.started.is_some() || told.completed.is_some();
        if is_started && !std::mem::replace(&mut seen.is_announced, true) {
            announce(job, job.steps.step(step), &self.emulated);
        }
        let Some(completed) = &told.completed else { return };
        if !told.error.is_empty() || std::mem::replace(&mut seen.is_finished, true) {
            return;
        }
        let elapsed = told.started.as_ref().map_or(Duration::ZERO, |started| between(started, completed));
        let outcome = if told.cached { Outcome::Reused } else { Outcome::Built };
        self.counts.count(outcome, elapsed, is_emulated(job.steps.step(step), &self.emulated));
        self.flush(&told.digest);
        job.events.step_finished(step, outcome, elapsed);
    }

    /// What cannot be imported is built; what cannot be exported is missing for others.
    fn cache_failed(&self, name: &str, error: &str) {
        if name.starts_with(CACHE_EXPORT) {
            let error = String::from_utf8_lossy(&self.mask.hide(error.as_bytes())).into_owned();
            let message =
                format!("steps of `{}` for {} are not cached: {error}", self.job.target, self.job.platform);
            self.job.events.notice(Problem::warning("cache::steps", message));
        }
    }

    fn log(&mut self, log: &proto::VertexLog) {
        let Some(seen) = self.vertices.get_mut(&log.vertex) else { return };
        let (place, stream) = if log.stream == 2 { (1, Stream::Stderr) } else { (0, Stream::Stdout) };
        let mut text = std::mem::take(&mut seen.unfinished[place]);
        text.extend_from_slice(&log.msg);
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let end = if text.len() - end > LONGEST_LINE { text.len() } else { end };
        let rest = text.split_off(end);
        seen.unfinished[place] = rest;
        if !text.is_empty() {
            self.lines(&log.vertex, stream, &text);
        }
    }

    fn lines(&mut self, vertex: &str, stream: Stream, text: &[u8]) {
        let Some(seen) = self.vertices.get_mut(vertex) else { return };
        let shown = self.mask.hide(text);
        for line in String::from_utf8_lossy(&shown).lines() {
            if seen.tail.len() == TAIL_LINES {
                seen.tail.remove(0);
            }
            seen.tail.push(line.to_string());
            if let Some(step) = seen.step {
                self.job.events.log(step, stream, line.to_string());
            }
        }
    }

    /// Shows lines that ended without a line end.
    fn flush(&mut self, vertex: &str) {
        for (place, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            let unfinished =
                self.vertices.get_mut(vertex).map(|seen| std::mem::take(&mut seen.unfinished[place]));
            if let Some(text) = unfinished.filter(|text| !text.is_empty()) {
                self.lines(vertex, stream, &text);
            }
        }
    }

    fn warning(&self, warning: &proto::VertexWarning) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(&self.mask.hide(bytes)).trim().to_string();
        let mut problem = Problem::warning("buildkit::warning", text(&warning.short));
        let details: Vec<String> = warning.detail.iter().map(|line| text(line)).collect();
        if !details.is_empty() {
            problem = problem.details(details.join("\n"));
        }
        let line = warning.ranges.first().and_then(|range| range.start).map(|start| start.line);
        let step = self.job.steps.steps.iter().find(|step| {
            let place = step.place.as_ref().map(|place| place.line());
            place.is_some() && place == line.and_then(|line| usize::try_from(line).ok())
        });
        let of_vertex = self.vertices.get(&warning.vertex).and_then(|seen| seen.step);
        let step = step.or(of_vertex.map(|step| self.job.steps.step(step)));
        if let Some(place) = step.and_then(|step| step.place.clone()) {
            problem = problem.at(place, format!("for {}", self.job.platform));
        }
        self.job.events.notice(problem);
    }

    /// The problem that a worker's refusal is, with the step that it is about where one failed.
    pub fn problem(&mut self, endpoint: &str, refusal: &str) -> Problem {
        let failed = self.failed.take();
        if let Some((vertex, _)) = &failed {
            self.flush(vertex);
        }
        let seen = failed.as_ref().and_then(|(vertex, _)| self.vertices.get(vertex));
        let text = failed.as_ref().map_or(refusal, |(_, text)| text);
        let text = String::from_utf8_lossy(&self.mask.hide(text.as_bytes())).into_owned();
        let platform = &self.job.platform;
        let step = seen.and_then(|seen| seen.step).map(|step| self.job.steps.step(step));
        let exit = text.rsplit_once("exit code: ").map(|(_, code)| code.trim().to_string());
        let mut problem = match (step, exit) {
            (Some(step), Some(code)) => {
                let message = format!("`{}` for {} failed with exit code {code}", step.text, step.platform);
                Problem::new(Kind::Build, "build::run", message)
            }
            (Some(step), None) => {
                let message = format!("`{}` for {} failed on `{endpoint}`: {text}", step.text, step.platform);
                Problem::new(Kind::Build, "buildkit::step", message)
            }
            (None, _) => {
                let message =
                    format!("`{endpoint}` cannot build `{}` for {platform}: {text}", self.job.target);
                Problem::new(Kind::Build, "buildkit::refused", message)
            }
        };
        if let Some(tail) = seen.map(|seen| seen.tail.join("\n")).filter(|tail| !tail.is_empty()) {
            problem = problem.details(tail);
        }
        match step.and_then(|step| step.place.clone()) {
            Some(place) => problem.at(place, format!("for {platform}")),
            None => problem,
        }
    }
}

/// Whether a vertex is about caches, which are never why a build fails.
fn of_cache(name: &str) -> bool {
    name.starts_with(CACHE_EXPORT) || name.starts_with("importing cache manifest")
}

fn makes_layer(step: &&Step) -> bool {
    !matches!(step.op, Op::Scratch | Op::Base(_))
}

fn is_emulated(step: &Step, emulated: &[Platform]) -> bool {
    matches!(step.op, Op::Run(_)) && emulated.contains(&step.platform)
}

fn announce(job: &BuildJob, step: &Step, emulated: &[Platform]) {
    let steps = || job.steps.steps.iter().filter(makes_layer);
    job.events.sink.emit(Event::StepStarted {
        node: job.events.node,
        step: step.id,
        stage: step.stage.clone(),
        text: step.text.clone(),
        number: steps().position(|other| other.id == step.id).map_or(0, |place| place + 1),
        total: steps().count(),
        emulated: is_emulated(step, emulated),
    });
}

/// The step that a vertex's name is about.
fn find<'a>(steps: &'a [Step], name: &str, numbers_bases: bool) -> Option<&'a Step> {
    let (head, instruction) = name.strip_prefix('[')?.split_once("] ")?;
    let words: Vec<&str> = head.split_whitespace().collect();
    let (counted, before) = words.split_last()?;
    let (number, total) = counted.split_once('/')?;
    let (number, total): (usize, usize) = (number.parse().ok()?, total.parse().ok()?);
    // A platform may stand before the stage; one stage alone has no name.
    let stage = before.last().filter(|word| !word.contains('/'));
    let is_of_stage = |step: &&Step| {
        makes_layer(step)
            && !is_hidden(step)
            && stage.is_none_or(|stage| step.stage.eq_ignore_ascii_case(stage))
    };
    let of_stage: Vec<&Step> = steps.iter().filter(is_of_stage).collect();
    // A base that is an image is part of the total.
    let bases = total.checked_sub(of_stage.len()).filter(|bases| *bases <= 1)?;
    let before = if numbers_bases { bases + 1 } else { 1 };
    let found = of_stage.get(number.checked_sub(before)?).copied()?;
    let keyword = |text: &str| text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    (keyword(&found.text) == keyword(instruction)).then_some(found)
}

/// Steps that a worker does not number: parts of an instruction, and what is only mounted.
fn is_hidden(step: &Step) -> bool {
    match &step.op {
        Op::Copy(copy) => copy.is_mounted,
        Op::Scratch | Op::Base(_) | Op::Run(_) | Op::MakeDirectory(_) | Op::Merge(_) => false,
    }
}

fn between(start: &Timestamp, end: &Timestamp) -> Duration {
    let nanoseconds = |time: &Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    let elapsed = nanoseconds(end).saturating_sub(nanoseconds(start)).max(0);
    Duration::from_nanos(u64::try_from(elapsed).unwrap_or(u64::MAX))
}
