//! The live view: a few lines at the bottom of the terminal, redrawn in place; news scrolls away above them.
//!
//! A frame is made as plain lines first ([`frame`]), so that a test can read it. [`Tty`] draws frames as one
//! write each, inside a synchronised update, and remembers how much of the screen the last one took.

use std::time::Duration;

use crossterm::Command;
use crossterm::cursor::{MoveToColumn, MoveUp};
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};

use super::plain::ending;
use super::problem;
use super::story::{Node, Story};
use super::style::Style;
use super::text::{Colours, bytes, clean, clock, count, fit, pad, span, width};
use crate::base::payload::Outcome;
use crate::event::{Event, NodeEnd, NodeKind, Transfer};

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// How long one picture of the spinner stays.
const SPIN: u128 = 80;

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    pub columns: usize,
    pub rows: usize,
}

#[derive(Debug)]
pub struct Tty {
    style: Style,
    /// How wide each line of the drawn frame is.
    drawn: Vec<usize>,
}

impl Tty {
    pub fn new(style: Style) -> Self {
        Self { style, drawn: Vec::new() }
    }

    /// What `event` says above the live lines; most events say nothing there.
    pub fn news(&self, event: &Event, story: &Story) -> String {
        match event {
            Event::Notice { node, problem } => {
                let prefix = node.map(|node| format!("{} ", self.style.name(&story.label(node))));
                problem::notice(problem, &prefix.unwrap_or_default(), self.style)
            }
            Event::Explained { node, explanation } => {
                let text = clean(&explanation.to_string(), Colours::Drop);
                format!("{} {text}\n", self.style.name(&story.label(*node)))
            }
            Event::NodeFinished { node, end, elapsed } => {
                let Some(text) = ending(story, *node, end, *elapsed, self.style) else {
                    return String::new();
                };
                let sign = match end {
                    NodeEnd::Done(Outcome::Built | Outcome::Reused | Outcome::Shared) => self.style.good("✓"),
                    NodeEnd::Failed(_) => self.style.bad("✗"),
                    NodeEnd::Skipped { .. } | NodeEnd::Cancelled => self.style.dim("-"),
                };
                format!("{sign} {} {text}\n", self.style.name(&story.label(*node)))
            }
            Event::RunStarted { .. }
            | Event::NodeStarted { .. }
            | Event::Assigned { .. }
            | Event::StepStarted { .. }
            | Event::StepFinished { .. }
            | Event::Log { .. }
            | Event::Transfer { .. }
            | Event::Blobs { .. }
            | Event::Image { .. }
            | Event::Merged { .. }
            | Event::Tagged { .. }
            | Event::Written { .. }
            | Event::RunFinished { .. } => String::new(),
        }
    }

    /// The bytes that put `news` above a new frame, in the place of the old one.
    pub fn draw(&mut self, news: &str, story: &Story, now: Duration, screen: Screen) -> String {
        let lines = frame(story, now, screen, self.style);
        self.replace(news, lines, screen)
    }

    /// The bytes that put `text` in the place of the last frame, for good.
    pub fn end(&mut self, text: &str, screen: Screen) -> String {
        self.replace(text, Vec::new(), screen)
    }

    fn replace(&mut self, news: &str, lines: Vec<Line>, screen: Screen) -> String {
        let mut bytes = String::new();
        queue(&mut bytes, BeginSynchronizedUpdate);
        self.erase(&mut bytes, screen);
        bytes.push_str(&news.replace('\n', "\r\n"));
        let texts: Vec<&str> = lines.iter().map(|line| line.styled.as_str()).collect();
        bytes.push_str(&texts.join("\r\n"));
        queue(&mut bytes, EndSynchronizedUpdate);
        self.drawn = lines.iter().map(|line| line.columns).collect();
        bytes
    }

    /// Takes the last frame off. A terminal made narrower since has wrapped its lines into several rows.
    fn erase(&self, bytes: &mut String, screen: Screen) {
        let rows: usize =
            self.drawn.iter().map(|columns| columns.div_ceil(screen.columns.max(1)).max(1)).sum();
        queue(bytes, MoveToColumn(0));
        if rows > 1 {
            queue(bytes, MoveUp(u16::try_from(rows - 1).unwrap_or(u16::MAX)));
        }
        queue(bytes, Clear(ClearType::FromCursorDown));
    }
}

fn queue(bytes: &mut String, command: impl Command) {
    command.write_ansi(bytes).expect("writing to a String cannot fail");
}

/// One line of a frame.
#[derive(Debug)]
pub struct Line {
    pub styled: String,
    /// How many columns it takes.
    pub columns: usize,
}

/// The live lines for `now`: one or two per running node, and the footer. Never wider or higher than `screen`.
pub fn frame(story: &Story, now: Duration, screen: Screen, style: Style) -> Vec<Line> {
    // The last column stays free: some terminals wrap as soon as it is filled.
    let columns = screen.columns.saturating_sub(1);
    let running = story.running();
    let room = screen.rows.saturating_sub(2);
    let logs = running.len() * 2 <= room;
    let shown = running.len().min(if running.len() > room { room.saturating_sub(1) } else { room });
    let labels: Vec<(String, String)> = running[..shown].iter().map(|node| names(node)).collect();
    let widest =
        |pick: fn(&(String, String)) -> &String| labels.iter().map(|l| width(pick(l))).max().unwrap_or(0);
    let widths = (widest(|label| &label.0), widest(|label| &label.1));
    let mut lines = Vec::new();
    for (node, label) in running[..shown].iter().zip(&labels) {
        lines.push(node_line(node, label, widths, now, columns, style));
        let log =
            node.tail.back().filter(|(step, line)| node.step(*step).is_some() && !line.trim().is_empty());
        if let Some((_, log)) = log.filter(|_| logs) {
            let text = fit(&format!("    {log}"), columns);
            lines.push(Line { columns: width(&text), styled: style.dim(&text) });
        }
    }
    if shown < running.len() && room > 0 {
        let text = fit(&format!("  … and {} more", running.len() - shown), columns);
        lines.push(Line { columns: width(&text), styled: style.dim(&text) });
    }
    let footer = fit(&footer(story, now), columns);
    lines.push(Line { columns: width(&footer), styled: style.bold(&footer) });
    lines
}

fn names(node: &Node) -> (String, String) {
    let platform = node.info.platform.as_ref().map(ToString::to_string).unwrap_or_default();
    (node.info.name.clone(), platform)
}

fn node_line(
    node: &Node,
    label: &(String, String),
    widths: (usize, usize),
    now: Duration,
    columns: usize,
    style: Style,
) -> Line {
    let since = node.running_since().unwrap_or(now);
    let elapsed = span(now.saturating_sub(since));
    let spinner = SPINNER[usize::try_from(now.as_millis() / SPIN).unwrap_or(0) % SPINNER.len()];
    let head = format!("{spinner} {}  {}  ", pad(&label.0, widths.0), pad(&label.1, widths.1));
    let room = columns.saturating_sub(width(&elapsed) + 1);
    let text = fit(&(head.clone() + &activity(node)), room);
    let line = fit(&format!("{} {elapsed}", pad(&text, room)), columns);
    let columns = width(&line);
    let styled = match line.strip_prefix(&head) {
        Some(rest) => style.name(&head) + rest,
        None => line,
    };
    Line { styled, columns }
}

/// What a running node is about.
fn activity(node: &Node) -> String {
    if let Some(step) = node.steps.last() {
        let emulated = if step.emulated { "(emulated) " } else { "" };
        return format!("{}/{} {emulated}{}", step.number, step.total, step.text);
    }
    if node.is_transfer() {
        return copying(node);
    }
    let under_way = node.transfers.iter().filter(|(_, (done, total))| *total != Some(*done));
    let mut sums: Option<(Transfer, u64, Option<u64>)> = None;
    for ((what, _), (done, total)) in under_way {
        let (_, sum, all) = sums.unwrap_or((*what, 0, Some(0)));
        sums = Some((*what, sum + done, all.zip(*total).map(|(all, total)| all + total)));
    }
    match sums {
        Some((what, done, Some(total))) => format!("{} {} of {}", doing(what), bytes(done), bytes(total)),
        Some((what, done, None)) => format!("{} {}", doing(what), bytes(done)),
        None => match node.info.kind {
            NodeKind::Resolve => "resolving",
            NodeKind::Build => "preparing",
            NodeKind::Verify => "verifying",
            NodeKind::Test => "testing",
            NodeKind::Merge => "merging",
            NodeKind::Publish => "publishing",
            NodeKind::Copy | NodeKind::Index => "copying",
        }
        .to_string(),
    }
}

/// `pushing 12.1 MB of 48.0 MB · 3 of 9 blobs`: of blobs that are fetched to be sent, the bytes that are sent count.
fn copying(node: &Node) -> String {
    let latest = node.transfers.keys().map(|(what, _)| *what).max();
    let moved = latest.map(|what| {
        let of_way = node.transfers.iter().filter(|((way, _), _)| *way == what);
        let (done, total) =
            of_way.fold((0, 0), |(done, all), (_, (sent, total))| (done + sent, all + total.unwrap_or(0)));
        format!("{} {} of {}", doing(what), bytes(done), bytes(total))
    });
    let blobs = node.blobs.map(|(done, total)| format!("{done} of {}", count(total, "blob")));
    let parts: Vec<String> = moved.into_iter().chain(blobs).collect();
    if parts.is_empty() { "copying".to_string() } else { parts.join(" · ") }
}

fn doing(what: Transfer) -> &'static str {
    match what {
        Transfer::Pull => "pulling",
        Transfer::Push => "pushing",
        Transfer::Export => "exporting",
    }
}

/// `5/12 nodes · 00:12 · emulated 1`
fn footer(story: &Story, now: Duration) -> String {
    let total = story.nodes().count();
    let ended = story.nodes().filter(|node| node.end().is_some()).count();
    let number_of = |predicate: fn(&Node) -> bool| story.nodes().filter(|node| predicate(node)).count();
    if story.is_transfer() {
        return clock(now);
    }
    if total == 0 {
        return format!("preparing · {}", clock(now));
    }
    let mut text = format!("{ended}/{total} nodes · {}", clock(now));
    for (number, what) in
        [(number_of(Node::is_emulating), "emulated"), (number_of(|node| node.failure().is_some()), "failed")]
    {
        if number > 0 {
            text.push_str(&format!(" · {what} {number}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;
    use crate::base::NodeId;
    use crate::event::NodeInfo;

    const STYLE: Style = Style { colour: false };

    fn told(events: &[(u64, Event)], until: u64) -> Story {
        let mut story = Story::default();
        for (millis, event) in events.iter().filter(|(millis, _)| *millis <= until) {
            story.tell(event, Duration::from_millis(*millis));
        }
        story
    }

    fn check(until: u64, columns: usize, rows: usize, expected: &[&str]) {
        let story = told(&recorded::first_build(), until);
        let lines = frame(&story, Duration::from_millis(until), Screen { columns, rows }, STYLE);
        let texts: Vec<&str> = lines.iter().map(|line| line.styled.as_str()).collect();
        assert_eq!(texts, expected);
        for line in &lines {
            assert_eq!(line.columns, width(&line.styled));
            assert!(line.columns < columns.max(1) || columns == 0, "{line:?}");
        }
        assert!(lines.len() <= rows.max(1));
    }

    #[test]
    fn running_nodes_stand_in_line() {
        check(
            120,
            60,
            24,
            &[
                "⠙ api  linux/amd64  2/3 RUN make assets               20 ms",
                "⠙ api  linux/arm64  2/3 (emulated) RUN make assets    20 ms",
                "    compiling",
                "1/5 nodes · 00:00 · emulated 1",
            ],
        );
        check(
            3_000,
            60,
            24,
            &[
                "⠧ api  linux/arm64  2/3 (emulated) RUN make assets    2.9 s",
                "    done",
                "2/5 nodes · 00:03 · emulated 1",
            ],
        );
    }

    #[test]
    fn a_copy_counts_bytes_and_blobs() {
        let (node, mut story) = (NodeId(0), Story::default());
        let info = NodeInfo { id: node, kind: NodeKind::Copy, name: "live/api:1".into(), platform: None };
        let bytes = |what, item: &str, done| Event::Transfer {
            node,
            what,
            item: item.into(),
            done,
            total: Some(40_000_000),
        };
        let mut check = |events: Vec<Event>, expected: &str| {
            events.iter().for_each(|event| story.tell(event, Duration::ZERO));
            let lines = frame(&story, Duration::ZERO, Screen { columns: 70, rows: 24 }, STYLE);
            let texts: Vec<&str> = lines.iter().map(|line| line.styled.trim_end()).collect();
            assert_eq!(texts, [&format!("⠋ live/api:1    {expected:<48} 0 ms"), "00:00"]);
        };
        check(vec![Event::RunStarted { nodes: vec![info] }, Event::NodeStarted { node }], "copying");
        check(vec![Event::Blobs { node, done: 1, total: 3 }], "1 of 3 blobs");
        check(vec![bytes(Transfer::Pull, "a", 40_000_000)], "pulling 40.0 MB of 40.0 MB · 1 of 3 blobs");
        // What is fetched is then sent, and counts once.
        check(
            vec![bytes(Transfer::Push, "a", 10_000_000), bytes(Transfer::Push, "b", 40_000_000)],
            "pushing 50.0 MB of 80.0 MB · 1 of 3 blobs",
        );
    }

    #[test]
    fn small_terminals_get_what_fits() {
        check(
            120,
            30,
            24,
            &[
                "⠙ api  linux/amd64  2/… 20 ms",
                "⠙ api  linux/arm64  2/… 20 ms",
                "    compiling",
                "1/5 nodes · 00:00 · emulated…",
            ],
        );
        check(120, 60, 3, &["  … and 2 more", "1/5 nodes · 00:00 · emulated 1"]);
        check(120, 10, 1, &["1/5 node…"]);
        check(120, 0, 0, &[""]);
    }

    #[test]
    fn a_new_frame_takes_the_place_of_the_old_one() {
        let events = recorded::first_build();
        let mut tty = Tty::new(STYLE);
        let wide = Screen { columns: 60, rows: 24 };
        let draw = |tty: &mut Tty, until: u64, screen: Screen, news: &str| {
            tty.draw(news, &told(&events, until), Duration::from_millis(until), screen)
        };
        let first = draw(&mut tty, 0, wide, "");
        assert_eq!(
            first,
            "\u{1b}[?2026h\u{1b}[1G\u{1b}[J⠋ busybox    resolving                                 0 ms\r\n\
             0/5 nodes · 00:00\u{1b}[?2026l"
        );
        let second = draw(&mut tty, 120, wide, "news\n");
        assert!(second.starts_with("\u{1b}[?2026h\u{1b}[1G\u{1b}[1A\u{1b}[Jnews\r\n⠙ api"), "{second:?}");
        // Four lines, of which two wrap and one fills its row on half the width.
        let narrow = draw(&mut tty, 120, Screen { columns: 30, rows: 24 }, "");
        assert!(narrow.starts_with("\u{1b}[?2026h\u{1b}[1G\u{1b}[5A\u{1b}[J"), "{narrow:?}");
        let last = tty.end("done\n", wide);
        assert!(last.ends_with("\u{1b}[Jdone\r\n\u{1b}[?2026l"), "{last:?}");
    }

    #[test]
    fn before_the_plan_there_is_a_clock() {
        let lines = frame(&Story::default(), Duration::from_secs(2), Screen { columns: 60, rows: 24 }, STYLE);
        assert_eq!(lines[0].styled, "preparing · 00:02");
    }

    #[test]
    fn news_are_endings_and_notices() {
        let events = recorded::first_build();
        let (mut story, tty, mut text) = (Story::default(), Tty::new(STYLE), String::new());
        for (millis, event) in &events {
            story.tell(event, Duration::from_millis(*millis));
            text.push_str(&tty.news(event, &story));
        }
        assert_eq!(
            text,
            "✓ resolve busybox done in 90 ms\n\
             api linux/arm64 warning: commands for `linux/arm64` run under emulation\n\
             \x20 help: add an arm64 worker\n\
             ✓ api linux/amd64 done in 300 ms\n\
             ✓ api linux/arm64 done in 3.3 s\n\
             ✓ publish done in 40 ms\n"
        );
    }
}
