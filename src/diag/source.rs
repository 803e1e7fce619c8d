//! Texts that problems point into.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A byte range of a source text.
pub type Span = Range<usize>;

/// After how many bytes the lines so far are remembered: a file may have hundreds of problems.
const STRIDE: usize = 16 << 10;

/// A text with the name that people know it by, usually a path.
pub struct Source {
    pub name: String,
    pub text: String,
    /// How many lines end before each stride.
    lines: OnceLock<Vec<usize>>,
}

impl Source {
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into(), lines: OnceLock::new() })
    }

    /// The line that holds byte `offset`, counted from one.
    pub fn line(&self, offset: usize) -> usize {
        let end = offset.min(self.text.len());
        let bytes = self.text.as_bytes();
        if end < STRIDE {
            return ends(&bytes[..end]) + 1;
        }
        let counted = self.lines.get_or_init(|| {
            let mut total = 0;
            let count = |stride: &[u8]| {
                let before = total;
                total += ends(stride);
                before
            };
            bytes.chunks(STRIDE).map(count).collect()
        });
        let stride = (end / STRIDE).min(counted.len() - 1);
        counted[stride] + ends(&bytes[stride * STRIDE..end]) + 1
    }
}

/// How many lines end in `bytes`.
fn ends(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.text == other.text
    }
}

impl Eq for Source {}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_in_long_texts_as_in_short_ones() {
        let text = "a line\n\nand one more\r\n".repeat(3_000);
        let source = Source::new("f", text.as_str());
        for offset in (0..text.len() + 100).step_by(97).chain([STRIDE - 1, STRIDE, STRIDE * 2, text.len()]) {
            let before = &text.as_bytes()[..offset.min(text.len())];
            assert_eq!(source.line(offset), ends(before) + 1, "{offset}");
        }
        assert_eq!(Source::new("f", "").line(5), 1);
        assert_eq!(Source::new("f", "x".repeat(STRIDE)).line(STRIDE), 1);
    }
}
