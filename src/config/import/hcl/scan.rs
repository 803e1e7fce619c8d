//! A position in a text of HCL: white space, comments, words, and where in the file they stand.
//!
//! The text may be a whole file or the content of a JSON string; only the second needs a mapping of places.

use std::rc::Rc;
use std::sync::Arc;

use super::syntax::{continues_identifier, starts_identifier};
use crate::diag::{Place, Problem, Source, Span};

/// Expressions, templates and blocks nested deeper than this are refused.
const DEEPEST: usize = 100;

/// The result of everything that reads text.
pub type Parsed<T> = Result<T, Box<Problem>>;

/// Where in the file a text stands.
#[derive(Clone, Debug)]
pub enum Origin {
    /// At this offset, letter by letter.
    At(usize),
    /// Somewhere in this span, with escapes that moved the letters.
    Within(Span),
}

pub struct Cursor<'s> {
    pub source: &'s Arc<Source>,
    pub text: &'s str,
    pub at: usize,
    /// Whether a line break ends what is read, rather than being space.
    pub lines_count: bool,
    origin: Origin,
    depth: usize,
}

impl<'s> Cursor<'s> {
    pub fn file(source: &'s Arc<Source>) -> Self {
        Self::of(source, &source.text, Origin::At(0))
    }

    pub fn of(source: &'s Arc<Source>, text: &'s str, origin: Origin) -> Self {
        Self { source, text, at: 0, lines_count: true, origin, depth: 0 }
    }

    /// Another cursor, for a text that begins like this one's.
    pub fn within(&self, text: &'s str, at: usize) -> Self {
        Self { text, at, origin: self.origin.clone(), ..*self }
    }

    pub fn rest(&self) -> &'s str {
        &self.text[self.at..]
    }

    pub fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub fn starts_with(&self, text: &str) -> bool {
        self.rest().starts_with(text)
    }

    /// Takes `text` if it is next.
    pub fn take(&mut self, text: &str) -> bool {
        let is_next = self.starts_with(text);
        if is_next {
            self.at += text.len();
        }
        is_next
    }

    pub fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    pub fn is_at_end(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Skips spaces and comments, and line breaks where those do not count.
    pub fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let skipped = match rest.as_bytes() {
                [b' ' | b'\t', ..] => 1,
                [b'\r', b'\n', ..] if !self.lines_count => 2,
                [b'\n', ..] if !self.lines_count => 1,
                [b'#', ..] | [b'/', b'/', ..] => rest.find('\n').unwrap_or(rest.len()),
                [b'/', b'*', ..] => rest.find("*/").map_or(rest.len(), |end| end + 2),
                _ => return,
            };
            self.at += skipped;
        }
    }

    /// Skips spaces, comments and line breaks.
    pub fn skip_lines(&mut self) {
        let lines_count = std::mem::replace(&mut self.lines_count, false);
        self.skip_space();
        self.lines_count = lines_count;
    }

    /// Runs `read` where line breaks count or do not count.
    pub fn with_lines<T>(&mut self, count: bool, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        let before = std::mem::replace(&mut self.lines_count, count);
        let result = read(self);
        self.lines_count = before;
        result
    }

    /// Runs `read` one level deeper, if there are levels left.
    pub fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= DEEPEST {
            let problem = self.problem("bake::too-deep", format!("nested deeper than {DEEPEST} levels"));
            return Err(Box::new(problem.at(self.place(self.at..self.at), "here")));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    pub fn identifier(&mut self) -> Option<Rc<str>> {
        let rest = self.rest();
        let mut characters = rest.char_indices();
        if !characters.next().is_some_and(|(_, c)| starts_identifier(c)) {
            return None;
        }
        let end = characters.find(|(_, c)| !continues_identifier(*c)).map_or(rest.len(), |(end, _)| end);
        self.at += end;
        Some(Rc::from(&rest[..end]))
    }

    /// The span in the file of a span in the text.
    pub fn span(&self, span: Span) -> Span {
        match &self.origin {
            Origin::At(start) => start + span.start..start + span.end,
            Origin::Within(whole) => whole.clone(),
        }
    }

    pub fn span_from(&self, start: usize) -> Span {
        self.span(start..self.at)
    }

    /// The place of a span of the text.
    pub fn place(&self, span: Span) -> Place {
        Place::new(self.source, self.span(span))
    }

    pub fn problem(&self, code: &'static str, message: impl Into<String>) -> Problem {
        Problem::input(code, message)
    }

    /// A syntax error at what is next.
    pub fn unexpected(&self, wanted: &str) -> Box<Problem> {
        let end = self.at + self.peek().map_or(0, char::len_utf8);
        let found = match self.peek() {
            Some('\n' | '\r') => "the end of the line".to_string(),
            Some(c) => format!("`{c}`"),
            None => "the end of the file".to_string(),
        };
        let problem = self.problem("bake::syntax", format!("expected {wanted}, found {found}"));
        Box::new(problem.at(self.place(self.at..end), format!("expected {wanted}")))
    }

    /// A syntax error about a span of the text.
    pub fn wrong(&self, span: Span, message: impl Into<String>, label: &str) -> Box<Problem> {
        Box::new(self.problem("bake::syntax", message).at(self.place(span), label))
    }
}
