//! From text to joined lines: comments dropped, continuation lines joined, heredoc bodies collected.
//!
//! Keeps for every byte of a joined line where it came from, so that problems can point into the file.
//! Does not know instructions beyond what [`super::heredoc`] needs.

use std::ops::Range;
use std::sync::Arc;

use super::heredoc::Heredoc;
use crate::diag::{Place, Problem, Source, Span};

/// What separates words of an instruction.
pub(super) const BLANKS: [char; 5] = [' ', '\t', '\u{b}', '\u{c}', '\r'];

/// The longest physical line in bytes, line end not counted.
const LINE_LIMIT: usize = 65_535;

/// An instruction's text with its continuation lines joined.
#[derive(Debug)]
pub(super) struct LogicalLine {
    pub text: String,
    /// Where pieces of the text begin, here and in the source.
    pieces: Vec<(usize, usize)>,
    /// From the first char to the end of the last line, heredoc bodies included.
    pub span: Span,
    pub heredocs: Vec<Heredoc>,
    /// The comment lines above, without `#`; an empty comment line separates.
    pub comments: Vec<String>,
}

impl LogicalLine {
    /// Where `range` of the joined text stands in the source.
    pub(super) fn source_span(&self, range: Range<usize>) -> Span {
        let start = self.source_offset(range.start);
        let end = match range.end > range.start {
            true => self.source_offset(range.end - 1) + 1,
            false => start,
        };
        start..end
    }

    /// The same line without the text before `start`.
    pub(super) fn from(&self, start: usize) -> Self {
        let later = self.pieces.iter().filter(|(joined, _)| *joined > start);
        let pieces = later.map(|(joined, source)| (joined - start, *source));
        Self {
            text: self.text[start..].to_string(),
            pieces: std::iter::once((0, self.source_offset(start))).chain(pieces).collect(),
            span: self.source_offset(start)..self.span.end,
            heredocs: self.heredocs.clone(),
            comments: Vec::new(),
        }
    }

    fn source_offset(&self, offset: usize) -> usize {
        let piece = self.pieces.iter().rev().find(|(joined, _)| *joined <= offset);
        piece.map_or(self.span.start, |(joined, source)| source + (offset - joined))
    }
}

/// Everything a text consists of.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub lines: Vec<LogicalLine>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

/// Reads `source`, whose first `directive_lines` lines are directives and no comments.
pub(super) fn scan(source: &Arc<Source>, escape: char, directive_lines: usize) -> Scanned {
    let mut scanner =
        Scanner { source, escape, physical: physical_lines(source), next: 0, scanned: Scanned::default() };
    scanner.refuse_long_lines();
    if scanner.scanned.problems.is_empty() {
        scanner.run(directive_lines);
    }
    scanner.scanned
}

/// The lines of `source` without a byte order mark, line ends included.
pub(super) fn physical_lines(source: &Source) -> Vec<Range<usize>> {
    let text = source.text.as_str();
    let mut start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    text[start..]
        .split_inclusive('\n')
        .map(|line| {
            let range = start..start + line.len();
            start = range.end;
            range
        })
        .collect()
}

struct Scanner<'a> {
    source: &'a Arc<Source>,
    escape: char,
    physical: Vec<Range<usize>>,
    next: usize,
    scanned: Scanned,
}

/// A physical line without its end.
struct Line<'a> {
    text: &'a str,
    start: usize,
}

impl Line<'_> {
    fn end(&self) -> usize {
        self.start + self.text.len()
    }

    fn is_comment(&self) -> bool {
        self.text.trim_start().starts_with('#')
    }
}

impl<'a> Scanner<'a> {
    fn refuse_long_lines(&mut self) {
        for range in &self.physical {
            let length = self.source.text[range.clone()].trim_end_matches('\n').len();
            if length > LINE_LIMIT {
                let message = format!("the line has {length} bytes; a Dockerfile line may have {LINE_LIMIT}");
                let place = Place::new(self.source, range.start..range.start + 1);
                self.scanned.problems.push(
                    Problem::input("dockerfile::line-too-long", message)
                        .at(place, "this line")
                        .help("break the line with the escape character, or copy the text from a file"),
                );
            }
        }
    }

    fn take_line(&mut self) -> Option<Line<'a>> {
        let range = self.physical.get(self.next)?.clone();
        self.next += 1;
        let text = self.source.text[range.clone()].trim_end_matches(['\r', '\n']);
        Some(Line { text, start: range.start })
    }

    fn run(&mut self, directive_lines: usize) {
        let mut comments: Vec<String> = Vec::new();
        while let Some(line) = self.take_line() {
            if line.is_comment() {
                let comment = line.text.trim_start()[1..].trim();
                if comment.is_empty() {
                    comments.clear();
                } else if self.next > directive_lines {
                    comments.push(comment.to_string());
                }
            } else if !line.text.trim_start().is_empty() {
                self.instruction(line, std::mem::take(&mut comments));
            }
        }
    }

    fn instruction(&mut self, first: Line<'a>, comments: Vec<String>) {
        let indent = first.text.len() - first.text.trim_start().len();
        let start = first.start + indent;
        let mut line = LogicalLine {
            text: String::new(),
            pieces: Vec::new(),
            span: start..first.end(),
            heredocs: Vec::new(),
            comments,
        };
        let mut open = self.append(&mut line, Line { text: &first.text[indent..], start });
        let mut empty = None;
        while open {
            let Some(next) = self.take_line() else { break };
            line.span.end = next.end();
            if next.is_comment() {
                continue;
            }
            if next.text.trim_start().is_empty() {
                empty.get_or_insert(next.start);
                continue;
            }
            open = self.append(&mut line, next);
        }
        if let Some(offset) = empty {
            self.warn_about_empty_continuation(offset);
        }
        self.heredocs(&mut line);
        self.scanned.lines.push(line);
    }

    /// Adds `part` to `line`; true if it is continued.
    fn append(&self, line: &mut LogicalLine, part: Line<'_>) -> bool {
        let continued = before_continuation(part.text, self.escape);
        line.pieces.push((line.text.len(), part.start));
        line.text.push_str(continued.unwrap_or(part.text));
        continued.is_some()
    }

    fn warn_about_empty_continuation(&mut self, offset: usize) {
        self.scanned.warnings.push(
            Problem::warning(
                "dockerfile::no-empty-continuation",
                "a continued instruction has an empty line",
            )
            .at(Place::new(self.source, offset..offset), "this line is empty")
            .help("remove the line, or make it a comment"),
        );
    }

    fn heredocs(&mut self, line: &mut LogicalLine) {
        let announced = match Heredoc::all_announced_by(&line.text, self.escape) {
            Ok(announced) => announced,
            Err(error) => {
                self.scanned.problems.push(
                    Problem::input(
                        "dockerfile::heredoc",
                        format!("the heredoc's delimiter is malformed: {error}"),
                    )
                    .at(Place::new(self.source, line.span.clone()), "announced here")
                    .help("write `<<NAME`, or `<<'NAME'` with both quotes"),
                );
                return;
            }
        };
        for mut heredoc in announced {
            let terminated = self.heredoc_body(&mut heredoc, &mut line.span);
            if !terminated {
                let message = format!("the heredoc `{}` is not terminated", heredoc.name);
                let announcement = line.source_span(0..line.text.len());
                self.scanned.problems.push(
                    Problem::input("dockerfile::unterminated-heredoc", message)
                        .at(Place::new(self.source, announcement), "announced here")
                        .help(format!("end it with a line that holds `{}` and nothing else", heredoc.name)),
                );
            }
            line.heredocs.push(heredoc);
        }
    }

    /// Reads up to the delimiter; false if the file ends first. Line ends are part of the body.
    fn heredoc_body(&mut self, heredoc: &mut Heredoc, span: &mut Span) -> bool {
        while let Some(line) = self.take_line() {
            span.end = line.end();
            let tabs_removed = line.text.trim_start_matches('\t');
            let candidate = if heredoc.chomp { tabs_removed } else { line.text };
            if candidate == heredoc.name {
                return true;
            }
            heredoc.content.push_str(&self.source.text[self.physical[self.next - 1].clone()]);
        }
        false
    }
}

/// The text before the escape that continues `line`, if one does. Two escapes do not.
fn before_continuation(line: &str, escape: char) -> Option<&str> {
    let before = line.trim_end_matches([' ', '\t']).strip_suffix(escape)?;
    (!before.ends_with(escape)).then_some(before)
}
