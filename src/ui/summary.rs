//! What is printed when a run is over: the images and where they are, or what failed and what that stopped.

use std::time::Duration;

use super::problem;
use super::story::{Merged, Node, Story, Tagged};
use super::style::Style;
use super::text::{bytes, count, pad, span, width};
use crate::base::payload::Outcome;
use crate::diag::Problem;
use crate::event::{NodeEnd, NodeKind, RunEnd};

/// From here on there is room for whole digests.
const WIDE: usize = 150;

/// The summary of a run that is over; empty before.
pub fn summary(story: &Story, style: Style, columns: usize) -> String {
    let Some((end, elapsed)) = story.end else { return String::new() };
    let mut text = failures(story, style, columns);
    text.push_str(&table(story, style, columns));
    text.push_str(&not_run(story));
    text.push_str(&last_line(story, end, elapsed, style));
    text
}

/// The reports of everything that failed, equal ones once.
pub fn failures(story: &Story, style: Style, columns: usize) -> String {
    let failed: Vec<(&Node, &Problem)> =
        story.nodes().filter_map(|node| Some((node, node.failure()?.as_ref()))).collect();
    let mut text = String::new();
    for (at, (_, problem)) in failed.iter().enumerate() {
        if failed[..at].iter().any(|(_, earlier)| earlier == problem) {
            continue;
        }
        let same: Vec<&Node> =
            failed.iter().filter(|(_, other)| other == problem).map(|(node, _)| *node).collect();
        text.push_str(&failure(&same, problem, style, columns));
    }
    text
}

fn failure(nodes: &[&Node], problem: &Problem, style: Style, columns: usize) -> String {
    let places: Vec<String> = nodes.iter().map(|node| node.label() + &step_of(node)).collect();
    let tail: Vec<String> = nodes.first().map(|node| last_log(node)).unwrap_or_default();
    let heading = format!("{}: {}", style.bad("failed"), style.bold(&places.join(", ")));
    format!("\n{heading}\n{}\n", problem::report(problem, &tail, style, columns).trim_end())
}

/// The step a failed node was at, in words.
fn step_of(node: &Node) -> String {
    let step = node.steps.last().or(node.latest.as_ref());
    step.map(|step| format!(" at step {}/{}", step.number, step.total)).unwrap_or_default()
}

/// The end of the log of the step a failed node was at.
fn last_log(node: &Node) -> Vec<String> {
    let step = node.steps.last().or(node.latest.as_ref());
    let of_step = |(id, _): &&(crate::base::StepId, String)| step.is_some_and(|step| step.id == *id);
    node.tail.iter().filter(of_step).map(|(_, line)| line.clone()).collect()
}

/// One row per merged target, and below it where it has been put.
fn table(story: &Story, style: Style, columns: usize) -> String {
    if story.merged.is_empty() {
        return String::new();
    }
    let heading = ["image", "platforms", "digest", "size", "layers", "steps"].map(String::from);
    let rows: Vec<[String; 6]> =
        story.merged.iter().map(|merged| row(story, merged, columns >= WIDE)).collect();
    let mut widths = [0; 6];
    for cells in rows.iter().chain([&heading]) {
        for (wide, cell) in widths.iter_mut().zip(cells) {
            *wide = width(cell).max(*wide);
        }
    }
    let line = |cells: &[String; 6]| -> String {
        let padded: Vec<String> = cells.iter().zip(widths).map(|(cell, wide)| pad(cell, wide)).collect();
        padded.join("  ").trim_end().to_string()
    };
    let mut text = format!("\n{}\n", style.dim(&line(&heading)));
    for (merged, cells) in story.merged.iter().zip(&rows) {
        text.push_str(&line(cells));
        text.push('\n');
        for place in places(story, merged) {
            text.push_str(&format!("  {place}\n"));
        }
    }
    text
}

fn row(story: &Story, merged: &Merged, wide: bool) -> [String; 6] {
    let images: Vec<_> = story.builds(&merged.target).filter_map(|node| node.image.as_ref()).collect();
    let sizes: Vec<String> = images.iter().map(|image| bytes(image.size)).collect();
    let layers: Vec<String> = images.iter().map(|image| image.layers.to_string()).collect();
    let platforms: Vec<String> = merged.platforms.iter().map(ToString::to_string).collect();
    [
        merged.target.clone(),
        platforms.join(", "),
        if wide { merged.digest.to_string() } else { merged.digest.short() },
        one_or_each(sizes),
        one_or_each(layers),
        steps(story, &merged.target),
    ]
}

/// A value once where all are equal.
fn one_or_each(mut values: Vec<String>) -> String {
    if values.windows(2).all(|pair| pair[0] == pair[1]) {
        values.truncate(1);
    }
    values.join(", ")
}

fn steps(story: &Story, target: &str) -> String {
    if story.builds(target).all(Node::is_reused) {
        return "up to date".to_string();
    }
    let (built, reused) = step_counts(story.builds(target));
    let emulated = match emulation(story.builds(target)) {
        Some((_, share)) => format!(", {share} % of time emulated"),
        None => String::new(),
    };
    format!("{built} built, {reused} reused{emulated}")
}

/// The time that went to steps under emulation, and how much that is of all time in steps, in percent.
/// Steps run side by side, so that the time of the whole run says nothing about it.
fn emulation<'a>(nodes: impl Iterator<Item = &'a Node>) -> Option<(Duration, u32)> {
    let (emulated, spent) = nodes.fold((Duration::ZERO, Duration::ZERO), |(emulated, spent), node| {
        (emulated + node.counts.emulated, spent + node.counts.spent)
    });
    let share = 100.0 * emulated.as_secs_f64() / spent.as_secs_f64();
    // A share below one is not none.
    (!emulated.is_zero()).then_some((emulated, (share.round() as u32).max(1)))
}

fn step_counts<'a>(nodes: impl Iterator<Item = &'a Node>) -> (usize, usize) {
    nodes.fold((0, 0), |(built, reused), node| (built + node.counts.built, reused + node.counts.reused))
}

/// The tags and outputs of a target, those with an arrow that stand somewhere.
fn places(story: &Story, merged: &Merged) -> Vec<String> {
    let target = merged.target.as_str();
    let of_target = |id| story.node(id).is_some_and(|node| node.info.name == target);
    let tagged: Vec<&Tagged> = story.tagged.iter().filter(|tagged| tagged.target == target).collect();
    let pushed = tagged.iter().map(|tagged| {
        let unchanged = if tagged.unchanged { " (unchanged)" } else { "" };
        format!("→ {}{unchanged}", tagged.reference)
    });
    let is_pushed = |name: &String| tagged.iter().any(|tagged| tagged.reference == *name);
    let waiting =
        merged.names.iter().filter(|name| !is_pushed(name)).map(|name| format!("· {name} (not pushed)"));
    let written = story.written.iter().filter(|written| of_target(written.node));
    let outputs = written.map(|written| format!("→ {} {}", written.kind, written.place));
    pushed.chain(waiting).chain(outputs).collect()
}

/// Which nodes never ran, by what stopped them.
fn not_run(story: &Story) -> String {
    let mut causes: Vec<(String, Vec<String>)> = Vec::new();
    for node in story.nodes() {
        let Some((NodeEnd::Skipped { because }, _)) = node.end() else { continue };
        let cause = story.label(*because);
        match causes.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, stopped)) => stopped.push(node.label()),
            None => causes.push((cause, vec![node.label()])),
        }
    }
    causes
        .into_iter()
        .map(|(cause, stopped)| format!("\nnot run, because `{cause}` failed: {}\n", stopped.join(", ")))
        .collect()
}

fn last_line(story: &Story, end: RunEnd, elapsed: Duration, style: Style) -> String {
    let elapsed = span(elapsed);
    let images = || count(targets(story).max(story.merged.len()), "image");
    match end {
        RunEnd::Succeeded if story.did_nothing() => {
            format!("{}: {} up to date in {elapsed}\n", style.good("nothing had to be done"), images())
        }
        // What came of it is the command's answer.
        RunEnd::Succeeded if story.is_transfer() => String::new(),
        RunEnd::Succeeded => {
            let (tests, others): (Vec<&Node>, Vec<&Node>) =
                story.nodes().partition(|node| node.info.kind == NodeKind::Test);
            let (built, reused) = step_counts(others.into_iter());
            let tests = match step_counts(tests.into_iter()).0 {
                0 => String::new(),
                run => format!(", {}", count(run, "test")),
            };
            let emulated = match emulation(story.nodes()) {
                Some((time, share)) => {
                    format!("; {} emulated, {share} % of all time in steps", span(time))
                }
                None => String::new(),
            };
            let steps = format!("{} built, {reused} reused{tests}{emulated}", count(built, "step"));
            format!("{} in {elapsed}: {}, {steps}\n", style.good("done"), images())
        }
        RunEnd::Failed => format!("{} after {elapsed}: {}\n", style.bad("failed"), tally(story)),
        RunEnd::Interrupted => format!("{} after {elapsed}: {}\n", style.warn("stopped"), tally(story)),
    }
}

fn targets(story: &Story) -> usize {
    let mut names: Vec<&str> = story
        .nodes()
        .filter(|node| node.info.kind == NodeKind::Build)
        .map(|node| node.info.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// `1 node failed, 2 not run, 3 done`
fn tally(story: &Story) -> String {
    let (mut failed, mut not_run, mut done, mut stopped) = (0, 0, 0, 0);
    for node in story.nodes() {
        match node.end().map(|(end, _)| end) {
            Some(NodeEnd::Done(Outcome::Built | Outcome::Reused | Outcome::Shared)) => done += 1,
            Some(NodeEnd::Failed(_)) => failed += 1,
            Some(NodeEnd::Cancelled) => stopped += 1,
            Some(NodeEnd::Skipped { .. }) | None => not_run += 1,
        }
    }
    let parts = [(stopped, "stopped"), (not_run, "not run"), (done, "done")];
    let others =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}"));
    let failed = (failed > 0).then(|| format!("{} failed", count(failed, "node")));
    failed.into_iter().chain(others).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;
    use crate::event::Event;

    fn check(events: Vec<(u64, Event)>, columns: usize, expected: &str) {
        let mut story = Story::default();
        for (millis, event) in &events {
            story.tell(event, Duration::from_millis(*millis));
        }
        assert_eq!(summary(&story, Style { colour: false }, columns), expected);
    }

    #[test]
    fn success_shows_the_images_and_their_places() {
        check(
            recorded::first_build(),
            80,
            "\nimage  platforms                 digest        size    layers  steps\n\
             api    linux/amd64, linux/arm64  1bc04b5291c2  1.2 MB  3       4 built, 1 reused, 95 % of time emulated\n\
             \x20 → localhost:5000/shop/api:main\n\
             done in 3.4 s: 1 image, 4 steps built, 1 reused; 3.0 s emulated, 95 % of all time in steps\n",
        );
    }

    #[test]
    fn nothing_to_do_is_said_so() {
        check(
            recorded::unchanged_build(),
            80,
            "\nimage  platforms                 digest        size    layers  steps\n\
             api    linux/amd64, linux/arm64  1bc04b5291c2  1.2 MB  3       up to date\n\
             \x20 → localhost:5000/shop/api:main (unchanged)\n\
             nothing had to be done: 1 image up to date in 18 ms\n",
        );
    }

    #[test]
    fn failure_shows_where_why_and_what_it_stopped() {
        check(
            recorded::failed_build(),
            80,
            "\nfailed: api linux/amd64 at step 2/3\n\
             build::command\n\n\
             \x20 × the command of `RUN make assets` ended with 2\n\
             \x20 │ cc -c main.c\n\
             \x20 │ main.c:1: no such thing\n\
             \x20  ╭─[services/api/Dockerfile:2:1]\n\
             \x201 │ FROM busybox\n\
             \x202 │ RUN make assets\n\
             \x20  · ───────┬───────\n\
             \x20  ·        ╰── exit code 2\n\
             \x20  ╰────\n\n\
             not run, because `api linux/amd64` failed: merge api, publish\n\
             failed after 1.5 s: 1 node failed, 1 stopped, 2 not run, 1 done\n",
        );
    }

    #[test]
    fn there_is_no_summary_before_the_end() {
        check(recorded::first_build()[..9].to_vec(), 80, "");
    }
}
