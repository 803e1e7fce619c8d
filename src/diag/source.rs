//! Texts that problems point into.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A byte range of a source text.
pub type Span = Range<usize>;

/// A text with the name that people know it by, usually a path.
#[derive(PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub text: String,
}

impl Source {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into() })
    }

    /// The line that holds byte `offset`, counted from one.
    pub fn line(&self, offset: usize) -> usize {
        let end = offset.min(self.text.len());
        self.text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count() + 1
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({}, {} bytes)", self.name, self.text.len())
    }
}

/// A span of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub source: Arc<Source>,
    pub span: Span,
}

impl Place {
    pub fn new(source: &Arc<Source>, span: Span) -> Self {
        Self { source: source.clone(), span }
    }

    /// Where `part` of `text` stands, if `text` is written as it is somewhere in this place; else all of it.
    pub fn of_part(&self, text: &str, part: &Span) -> Self {
        let found = self.source.text.get(self.span.clone()).and_then(|whole| whole.find(text));
        let Some(offset) = found.filter(|_| !text.is_empty()) else { return self.clone() };
        let start = self.span.start + offset;
        Self::new(&self.source, start + part.start.min(text.len())..start + part.end.min(text.len()))
    }

    /// The first line of the place, counted from one.
    pub fn line(&self) -> usize {
        self.source.line(self.span.start)
    }
}

impl fmt::Display for Place {
    /// `file:line`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source.name, self.line())
    }
}

/// A value with the place it was written at, if it was written at all.
#[derive(Clone, Debug)]
pub struct Located<T> {
    pub value: T,
    /// `None` for defaults and values from the command line.
    pub place: Option<Place>,
}

impl<T> Located<T> {
    pub fn new(value: T, place: Place) -> Self {
        Self { value, place: Some(place) }
    }

    pub fn unplaced(value: T) -> Self {
        Self { value, place: None }
    }
}

impl<T: PartialEq> PartialEq for Located<T> {
    /// Equal when the values are; where they were written does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}
