//! Problems for people, through miette: message, source excerpt with labels, help.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

use super::excerpt::{Excerpt, harmless};
use super::{Label, Problem, Severity, Source};

/// Renders `problem` for a terminal `width` columns wide; without colour the text is plain Unicode.
pub fn render(problem: &Problem, colour: bool, width: usize) -> String {
    let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(width);
    let mut text = String::new();
    // Writing to a String cannot fail, and a broken rendering must not hide the problem itself.
    if handler.render_report(&mut text, &Report::new(problem)).is_err() {
        text = format!("{}: {}\n", problem.code, problem.message);
    }
    text
}

/// One source of a problem with its labels; further sources hang below the first as related reports.
#[derive(Debug)]
struct Report {
    message: String,
    code: Option<&'static str>,
    severity: Severity,
    help: Option<String>,
    source: Option<NamedSource<Excerpt>>,
    labels: Vec<LabeledSpan>,
    related: Vec<Report>,
}

impl Report {
    fn new(problem: &Problem) -> Self {
        let mut groups = group_by_source(&problem.labels).into_iter();
        let (source, labels) = groups.next().map(|group| excerpt_of(&group)).unzip();
        let message = shortened(&problem.message);
        let message = match &problem.details {
            Some(details) => format!("{message}\n{}", details.trim_end()),
            None => message.into_owned(),
        };
        Self {
            message,
            code: Some(problem.code),
            severity: problem.severity,
            help: problem.help.as_deref().map(|help| shortened(help).into_owned()),
            related: groups.map(|group| Self::elsewhere(problem.severity, &group)).collect(),
            source,
            labels: labels.unwrap_or_default(),
        }
    }

    fn elsewhere(severity: Severity, group: &SourceLabels<'_>) -> Self {
        let (source, labels) = excerpt_of(group);
        Self {
            message: format!("see also `{}`", group.0.name),
            code: None,
            severity,
            help: None,
            source: Some(source),
            labels,
            related: Vec::new(),
        }
    }
}

/// A message may name what is as long as the file.
fn shortened(text: &str) -> Cow<'_, str> {
    const LONGEST: usize = 8 << 10;
    match text.len() > LONGEST {
        true => format!("{}…", &text[..text.floor_char_boundary(LONGEST)]).into(),
        false => text.into(),
    }
}

type SourceLabels<'a> = (&'a Arc<Source>, Vec<&'a Label>);

fn group_by_source(labels: &[Label]) -> Vec<SourceLabels<'_>> {
    let mut groups: Vec<SourceLabels<'_>> = Vec::new();
    for label in labels {
        match groups.iter_mut().find(|(source, _)| Arc::ptr_eq(source, &label.place.source)) {
            Some((_, members)) => members.push(label),
            None => groups.push((&label.place.source, vec![label])),
        }
    }
    groups
}

fn excerpt_of((source, labels): &SourceLabels<'_>) -> (NamedSource<Excerpt>, Vec<LabeledSpan>) {
    let end = source.text.len();
    let within = |span: &super::Span| span.start.min(end)..span.end.clamp(span.start.min(end), end);
    let spans: Vec<super::Span> = labels.iter().map(|label| within(&label.place.span)).collect();
    let (text, spans) = Excerpt::new(source, &spans);
    let labels = labels.iter().zip(spans).map(|(label, span)| LabeledSpan::at(span, label.text.clone()));
    (NamedSource::new(harmless(&source.name), text), labels.collect())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.map(|code| Box::new(code) as Box<dyn fmt::Display>)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.related.iter().map(|report| report as &dyn Diagnostic)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    #[test]
    fn both_places_of_a_conflict_are_shown() {
        let (one, two) =
            (Source::new("a.toml", "[target.api]\n"), Source::new("b.toml", "x = 1\n[target.api]\n"));
        let problem = Problem::input("config::duplicate-target", "target `api` is declared twice")
            .at(Place::new(&two, 6..18), "declared again here")
            .at(Place::new(&one, 0..12), "first declared here")
            .help("rename one of them");
        let text = render(&problem, false, 80);
        for expected in
            ["target `api` is declared twice", "b.toml:2:1", "a.toml:1:1", "declared again here", "rename"]
        {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    #[test]
    fn places_far_apart_are_shown_without_what_is_between() {
        let text: String = (1..=2_000).map(|n| format!("line {n}\n")).collect();
        let source = Source::new("a.toml", text.as_str());
        let place = |line: &str| {
            let at = text.find(line).unwrap();
            Place::new(&source, at..at + line.len() - 1)
        };
        let problem = Problem::input("config::duplicate", "twice")
            .at(place("line 1900\n"), "again here")
            .at(place("line 1000\n"), "first here");
        let text = render(&problem, false, 80);
        assert!(text.lines().count() < 20, "{text}");
        for expected in
            ["a.toml:1000:1", "a.toml:1900:1", "1899 │ line 1899", "1001 │ line 1001", "again here"]
        {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    #[test]
    fn spans_past_the_end_do_not_hide_the_problem() {
        let source = Source::new("a.toml", "x");
        let problem = Problem::input("config::x", "wrong").at(Place::new(&source, 7..9), "here");
        assert!(render(&problem, false, 80).contains("wrong"));
    }
}
