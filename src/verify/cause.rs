//! What made a layer, and why that may have brought a program for another processor.

use crate::base::Platform;
use crate::diag::Place;
use crate::steps::{CopyFrom, Lowered, Op, Step};

use super::names;

/// What made a layer, as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Maker<'a> {
    /// The instruction, for people.
    text: Option<String>,
    step: Option<&'a Step>,
    /// The steps of the stages that its files come from, where it copies them from there.
    source: Vec<&'a Step>,
    wanted: Option<&'a Platform>,
}

/// Longer instructions are cut for people.
const LONGEST_TEXT: usize = 120;

impl<'a> Maker<'a> {
    /// What an image's history says.
    pub fn of_history(created_by: Option<&str>) -> Self {
        let text = created_by.map(|text| {
            let text = text.trim_end_matches("# buildkit").trim();
            let words: Vec<&str> = text.split_ascii_whitespace().collect();
            cut(&words.join(" "))
        });
        Self { text: text.filter(|text| !text.is_empty()), ..Self::default() }
    }

    pub fn of_step(lowered: &'a Lowered, step: &'a Step, wanted: &'a Platform) -> Self {
        let source = match &step.op {
            Op::Copy(copy) => match copy.from {
                CopyFrom::Step(from) => chain(lowered, lowered.step(from)),
                CopyFrom::MainContext | CopyFrom::Context(_) | CopyFrom::Remote(_) => Vec::new(),
            },
            _ => Vec::new(),
        };
        Self { text: Some(cut(&step.text)), step: Some(step), source, wanted: Some(wanted) }
    }

    /// What made each of the layers above a base, bottom first; nothing where steps and layers do not agree.
    pub fn of_layers(lowered: &'a Lowered, new_layers: usize) -> Option<Vec<&'a Step>> {
        let steps: Vec<&Step> = chain(lowered, lowered.step(lowered.result))
            .into_iter()
            .filter(|step| !matches!(step.op, Op::Base(_) | Op::Scratch))
            .collect();
        (steps.len() == new_layers).then_some(steps)
    }

    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The lines to point at; `found` is the architecture of the files.
    pub(super) fn labels(&self, found: Option<&str>) -> Vec<(Place, String)> {
        let Some(step) = self.step else { return Vec::new() };
        let named = found.and_then(|found| names::mentioned(&step.text, found));
        let text = match named {
            Some(word) => format!("brought by this line, which names `{word}`"),
            None => "brought by this line".to_string(),
        };
        let mut labels: Vec<(Place, String)> =
            step.place.clone().map(|place| (place, text)).into_iter().collect();
        if let Some((made, word)) = found.and_then(|found| self.naming_source(found)) {
            labels.extend(made.place.clone().map(|place| (place, format!("`{word}` is named here"))));
        }
        labels
    }

    /// The likely cause, and what to do about it.
    pub(super) fn advice(&self, found: &str) -> String {
        let named = self.text.as_deref().and_then(|text| names::mentioned(text, found));
        if let Some(word) = named.or(self.naming_source(found).map(|(_, word)| word)) {
            return format!(
                "`{word}` is written into the line: declare `ARG TARGETARCH` in the stage and take the download or package \
                 for `$TARGETARCH`"
            );
        }
        let copied_from = self.step.and_then(|step| match &step.op {
            Op::Copy(copy) => Some(&copy.from),
            _ => None,
        });
        match copied_from {
            Some(CopyFrom::MainContext | CopyFrom::Context(_)) => format!(
                "the file in the build context was built for {found}: build it in a stage of the Dockerfile, keep one for \
                 each platform and copy `…-$TARGETARCH`, or list it in `verify.allow`"
            ),
            Some(CopyFrom::Step(_)) if self.is_of_build_platform(found) => format!(
                "stage `{}` runs on {found} and built for itself: declare `ARG TARGETARCH` there and cross-compile \
                 (`GOARCH=$TARGETARCH`, `cargo build --target …`), or take `--platform=$BUILDPLATFORM` out",
                self.source.last().map_or("", |step| &step.stage)
            ),
            Some(CopyFrom::Remote(_)) => format!(
                "what is downloaded is for {found}: `ARG TARGETARCH` and `$TARGETARCH` in the URL choose the right one"
            ),
            _ => format!(
                "find out where it comes from for {found}: a download, a package or a stage that does not look at \
                 `$TARGETARCH`; list it in `verify.allow` if it belongs there"
            ),
        }
    }

    /// The step of the copied stage that names the architecture.
    fn naming_source(&self, found: &str) -> Option<(&'a Step, &'static str)> {
        self.source.iter().rev().find_map(|step| Some((*step, names::mentioned(&step.text, found)?)))
    }

    fn is_of_build_platform(&self, found: &str) -> bool {
        let is_foreign = |step: &&Step| {
            step.platform.architecture == found && self.wanted.is_some_and(|wanted| step.platform != *wanted)
        };
        self.source.last().is_some_and(is_foreign)
    }
}

/// The steps on top of each other that end with `top`, bottom first.
fn chain<'a>(lowered: &'a Lowered, top: &'a Step) -> Vec<&'a Step> {
    let mut steps = vec![top];
    let mut at = top;
    while let Some(input) = below(&at.op) {
        at = lowered.step(input);
        steps.push(at);
    }
    steps.reverse();
    steps
}

fn below(op: &Op) -> Option<crate::base::StepId> {
    match op {
        Op::Scratch | Op::Base(_) => None,
        Op::Run(run) => Some(run.input),
        Op::Copy(copy) => Some(copy.input),
        Op::MakeDirectory(make) => Some(make.input),
        Op::Merge(merge) => Some(merge.input),
    }
}

fn cut(text: &str) -> String {
    let line: String =
        text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    match line.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
