//! Texts as problems show them: what is pointed at with a few lines around it, and long lines cut. However long
//! a text is, what is shown of it is short.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use super::{Source, Span};

/// Nobody reads further, and the renderer cannot count further than 65535 columns.
const LONGEST_LINE: usize = 2000;
/// How much of a long line is shown on either side.
const AROUND: usize = 200;
/// How much of what is pointed at is shown, in bytes and in lines.
const LONGEST_SPAN: usize = 1000;
const MOST_LINES: usize = 20;
/// Lines that are kept before and after what is pointed at; the renderer shows one of them.
const CONTEXT: usize = 3;
/// Places that are closer are shown with all that stands between them.
const NEAR: usize = 30;

/// The parts of a text that are shown.
#[derive(Debug)]
pub struct Excerpt {
    text: String,
    blocks: Vec<Block>,
}

/// Lines that follow each other, in the text that is shown.
#[derive(Debug)]
struct Block {
    shown: Span,
    /// The number of its first line, from zero.
    first: usize,
    lines: usize,
}

/// A line, or what is shown of it, in the text and in what is shown.
struct Kept {
    start: usize,
    end: usize,
    shown: usize,
}

impl Excerpt {
    /// The excerpt for `spans`, which lie within the text, and where they are in it.
    pub fn new(source: &Source, spans: &[Span]) -> (Self, Vec<Span>) {
        let text = source.text.as_str();
        let spans: Vec<Span> = spans.iter().map(|span| shortened(text, span)).collect();
        let mut excerpt = Self { text: String::new(), blocks: Vec::new() };
        let mut kept = Vec::new();
        for part in parts(source, &spans) {
            let (shown, first) = (excerpt.text.len(), source.line(part.start) - 1);
            let mut start = part.start;
            let lines = text[part].split_inclusive('\n');
            let mut count = 0;
            for line in lines {
                excerpt.add_line(line, start, &spans, &mut kept);
                start += line.len();
                count += 1;
            }
            excerpt.blocks.push(Block { shown: shown..excerpt.text.len(), first, lines: count });
        }
        let place = |at: usize| {
            let index = kept.partition_point(|kept: &Kept| kept.start <= at).saturating_sub(1);
            kept.get(index).map_or(0, |kept| kept.shown + at.clamp(kept.start, kept.end) - kept.start)
        };
        let spans = spans.iter().map(|span| place(span.start)..place(span.end)).collect();
        (excerpt, spans)
    }

    fn add_line(&mut self, line: &str, start: usize, spans: &[Span], kept: &mut Vec<Kept>) {
        let window = window(line, start, spans);
        if window.start > 0 {
            self.text.push('…');
        }
        kept.push(Kept { start: start + window.start, end: start + window.end, shown: self.text.len() });
        self.text.push_str(&harmless(&line[window.clone()]));
        if window.end < line.len() {
            self.text.push_str(if line.ends_with('\n') { "…\n" } else { "…" });
        }
    }
}

impl SourceCode for Excerpt {
    /// Within one block: what stands between two blocks is not there to be shown.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let index = self.blocks.partition_point(|block| block.shown.start <= span.offset());
        let block = &self.blocks[index.checked_sub(1).ok_or(MietteError::OutOfBounds)?];
        let within = SourceSpan::from((span.offset() - block.shown.start, span.len()));
        let contents = self.text.as_bytes()[block.shown.clone()].read_span(&within, before, after)?;
        let line = block.first + contents.line();
        // The renderer takes it for the line at which the contents end, and joins what begins before it.
        let count = (block.first + contents.line_count()).min(block.first + block.lines - line);
        let place = SourceSpan::from((block.shown.start + contents.span().offset(), contents.span().len()));
        Ok(Box::new(MietteSpanContents::new(contents.data(), place, line, contents.column(), count)))
    }
}

/// The text with question marks for what might steer a terminal; every byte keeps its place.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    // An end of line may have two letters.
    let (line, end) = text.split_at(text.trim_end_matches(['\r', '\n']).len());
    match line.contains(steers) {
        true => {
            let shown = |c: char| if steers(c) { "?".repeat(c.len_utf8()) } else { c.to_string() };
            Cow::Owned(line.chars().map(shown).collect::<String>() + end)
        }
        false => Cow::Borrowed(text),
    }
}

/// What is shown of a span that is long.
fn shortened(text: &str, span: &Span) -> Span {
    let (start, end) = (text.floor_char_boundary(span.start), text.floor_char_boundary(span.end));
    let mut ends = text[start..end].match_indices('\n').map(|(at, _)| start + at).peekable();
    let longest = match ends.peek() {
        Some(_) => end,
        None => text.floor_char_boundary(end.min(start + LONGEST_SPAN)),
    };
    start..ends.nth(MOST_LINES).unwrap_or(longest)
}

/// The parts of the text to be shown, each of whole lines, in order.
fn parts(source: &Source, spans: &[Span]) -> Vec<Span> {
    let text = source.text.as_str();
    let mut around: Vec<(RangeInclusive<usize>, Span)> = spans
        .iter()
        .map(|span| {
            let part = start_of_lines(text, span.start)..end_of_lines(text, span.end);
            (source.line(part.start)..=source.line(part.end), part)
        })
        .collect();
    around.sort_by_key(|(_, part)| (part.start, part.end));
    let mut parts: Vec<(RangeInclusive<usize>, Span)> = Vec::new();
    for (lines, part) in around {
        match parts.last_mut() {
            Some((known, last)) if *lines.start() <= known.end() + NEAR => {
                last.end = last.end.max(part.end);
                *known = *known.start()..=*known.end().max(lines.end());
            }
            _ => parts.push((lines, part)),
        }
    }
    parts.into_iter().map(|(_, part)| part).collect()
}

/// Where the lines begin that are shown before `at`.
fn start_of_lines(text: &str, at: usize) -> usize {
    text[..at].rmatch_indices('\n').nth(CONTEXT).map_or(0, |(end, _)| end + 1)
}

/// Where the lines end that are shown after `at`.
fn end_of_lines(text: &str, at: usize) -> usize {
    text[at..].match_indices('\n').nth(CONTEXT).map_or(text.len(), |(end, _)| at + end + 1)
}

/// What is shown of a line that begins at `start`.
fn window(line: &str, start: usize, spans: &[Span]) -> Span {
    if line.len() <= LONGEST_LINE {
        return 0..line.len();
    }
    let begins = spans.iter().map(|span| span.start).filter(|at| (start..start + line.len()).contains(at));
    let first = begins.min().map_or(0, |at| at - start);
    let from = line.floor_char_boundary(first.saturating_sub(AROUND));
    from..line.floor_char_boundary((first + LONGEST_SPAN + AROUND).min(line.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, spans: &[Span]) -> (String, Vec<Span>) {
        let (excerpt, spans) = Excerpt::new(&Source::new("f", text), spans);
        (excerpt.text, spans)
    }

    #[test]
    fn long_lines_are_cut_around_what_is_meant() {
        let text = format!("first\n{}NEEDLE{}\nlast\n", "é".repeat(50_000), "b".repeat(100_000));
        let at = text.find("NEEDLE").unwrap();
        let (shown, spans) = shown(&text, &[at..at + 6, 0..5, text.len() - 5..text.len() - 1]);
        let words: Vec<&str> = spans.into_iter().map(|span| &shown[span]).collect();
        assert_eq!(words, ["NEEDLE", "first", "last"]);
        assert!(shown.len() < 3000 && shown.lines().count() == 3, "{} bytes", shown.len());
    }

    #[test]
    fn nothing_shown_steers_a_terminal() {
        let text = "a\u{1b}[2J\tb\rc\u{9b}1m\r\nNEEDLE\r\n";
        let at = text.find("NEEDLE").unwrap();
        let needle = at..at + 6;
        let (shown, spans) = shown(text, std::slice::from_ref(&needle));
        assert_eq!(shown, "a?[2J\tb?c??1m\r\nNEEDLE\r\n");
        assert_eq!(&shown[spans[0].clone()], "NEEDLE");
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        let spans = [2..4, 0..0];
        assert_eq!(shown("a\nbc\n", &spans), ("a\nbc\n".to_string(), spans.to_vec()));
    }

    #[test]
    fn of_long_texts_only_what_is_near_is_shown() {
        let text: String = (1..=10_000).map(|n| format!("line {n}\n")).collect();
        let at = |line: &str| text.find(line).unwrap();
        let (shown, spans) =
            shown(&text, &[at("line 9000\n")..at("line 9001\n"), at("line 50\n")..at("line 52\n")]);
        assert_eq!(&shown[spans[0].clone()], "line 9000\n");
        assert_eq!(&shown[spans[1].clone()], "line 50\nline 51\n");
        assert!(shown.lines().count() < 20, "{shown}");
    }

    #[test]
    fn of_long_places_the_beginning_is_shown() {
        let text = "a\n".repeat(50_000);
        let whole = 0..text.len();
        let (shown, spans) = shown(&text, std::slice::from_ref(&whole));
        assert_eq!(shown[spans[0].clone()].lines().count(), MOST_LINES + 1);
        assert!(shown.lines().count() < 30);
    }
}
