//! Strings of a build file as they were written, before templates are rendered.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diag::{Place, Source, Span};

/// One build file.
#[derive(Debug)]
pub struct File {
    pub source: Arc<Source>,
    /// What relative paths in the file are relative to; absolute.
    pub directory: PathBuf,
    /// Nothing in it is a template.
    pub is_literal: bool,
}

impl File {
    pub fn place(&self, span: Span) -> Place {
        Place::new(&self.source, span)
    }
}

/// A string with the file it stands in.
#[derive(Clone, Debug)]
pub struct Text {
    pub value: String,
    pub file: Arc<File>,
    span: Span,
    written: Written,
}

/// How the value stands in the source.
#[derive(Clone, Copy, Debug)]
enum Written {
    /// Letter by letter, from here.
    Verbatim(usize),
    /// With escapes, in a string of TOML.
    Escaped,
    /// Not at all: it was changed since.
    Otherwise,
}

impl Text {
    pub fn new(value: &str, file: &Arc<File>, span: Span) -> Self {
        let written =
            verbatim_start(&file.source.text, &span, value).map_or(Written::Escaped, Written::Verbatim);
        Self { value: value.to_string(), file: file.clone(), span, written }
    }

    /// Another value for what stands here.
    pub fn with_value(&self, value: String) -> Self {
        Self { value, written: Written::Otherwise, ..self.clone() }
    }

    pub fn place(&self) -> Place {
        self.file.place(self.span.clone())
    }

    /// The place of a part of the value; the whole string where the value does not stand in the file.
    pub fn place_of(&self, part: &Span) -> Place {
        let found = match self.written {
            Written::Verbatim(start) => Some(start + part.start..start + part.end),
            Written::Escaped => escaped_part(&self.file.source.text, &self.span, &self.value, part),
            Written::Otherwise => None,
        };
        found.map_or_else(|| self.place(), |span| self.file.place(span))
    }

    /// `path` as seen from the directory of the file; absolute and without `.` and `..`.
    pub fn resolve_path(&self, path: &str) -> PathBuf {
        clean(&self.file.directory.join(path))
    }
}

fn verbatim_start(source: &str, span: &Span, value: &str) -> Option<usize> {
    let raw = source.get(span.clone())?;
    // An argument of the command line has no quotes.
    if raw == value {
        return Some(span.start);
    }
    // TOML drops a newline right after the opening quotes of a multi-line string.
    ["\"\"\"\r\n", "\"\"\"\n", "'''\r\n", "'''\n", "\"\"\"", "'''", "\"", "'"].into_iter().find_map(
        |opening| {
            let quotes = opening.trim_end();
            let inner = raw.strip_prefix(opening)?.strip_suffix(quotes)?;
            (inner == value).then_some(span.start + opening.len())
        },
    )
}

/// Where a part of `value` stands in the basic string at `span`; `None` when that is another value.
fn escaped_part(source: &str, span: &Span, value: &str, part: &Span) -> Option<Span> {
    let raw = source.get(span.clone())?;
    let opening =
        ["\"\"\"\r\n", "\"\"\"\n", "\"\"\"", "\""].into_iter().find(|opening| raw.starts_with(opening))?;
    let inner = raw.strip_prefix(opening)?.strip_suffix(opening.trim_end())?;
    let first = span.start + opening.len();
    let (mut at, mut decoded) = (0, 0);
    let (mut start, mut end) = (None, None);
    while at < inner.len() {
        let (length, letter) = next_letter(&inner[at..])?;
        if let Some(letter) = letter {
            // A part begins with a letter, and ends with one: what is dropped between lines belongs to neither.
            let after = decoded + letter.len_utf8();
            if !value.get(decoded..).is_some_and(|rest| rest.starts_with(letter)) {
                return None;
            }
            if (decoded..after).contains(&part.start) {
                start = Some(first + at);
            }
            if after <= part.end {
                end = Some(first + at + length);
            }
            decoded = after;
        }
        at += length;
    }
    let start = start.unwrap_or(first + inner.len());
    (decoded == value.len()).then(|| start..end.unwrap_or(start).max(start))
}

/// How long the next letter of a basic string is in the source, and what it is; a `\` at the end of a line is none.
fn next_letter(text: &str) -> Option<(usize, Option<char>)> {
    let Some(escape) = text.strip_prefix('\\') else {
        return text.chars().next().map(|letter| (letter.len_utf8(), Some(letter)));
    };
    let kind = escape.chars().next()?;
    let letter = match kind {
        'b' => '\u{8}',
        't' => '\t',
        'n' => '\n',
        'f' => '\u{c}',
        'r' => '\r',
        'e' => '\u{1b}',
        '"' | '\\' => kind,
        'x' | 'u' | 'U' => {
            let digits = match kind {
                'x' => 2,
                'u' => 4,
                _ => 8,
            };
            let code = u32::from_str_radix(escape.get(1..1 + digits)?, 16).ok()?;
            return Some((2 + digits, Some(char::from_u32(code)?)));
        }
        _ => {
            // Up to the next letter, however many lines there are between.
            let rest = escape.trim_start_matches([' ', '\t', '\r', '\n']);
            return (rest.len() < escape.len()).then_some((text.len() - rest.len(), None));
        }
    };
    Some((2, Some(letter)))
}

/// Removes `.` and `..` without asking the disk.
pub fn clean(path: &Path) -> PathBuf {
    use std::path::Component;
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                cleaned.pop();
            }
            other => cleaned.push(other),
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_placed_where_letters_are_unchanged() {
        let check = |source: &str, value: &str, part: Span, expected: &str| {
            let file = Arc::new(File {
                source: Source::new("f", source),
                directory: PathBuf::from("/"),
                is_literal: false,
            });
            let text = Text::new(value, &file, 0..source.len());
            assert_eq!(&source[text.place_of(&part).span], expected, "{source}");
        };
        check("'abc'", "abc", 1..2, "b");
        check("\"abc\"", "abc", 1..2, "b");
        check("\"a\\tc\"", "a\tc", 1..2, "\\t");
        check("\"a\\tc\"", "a\tc", 2..3, "c");
        check("\"\\u00e9\\U0001F600\\x41b\"", "é\u{1f600}Ab", 2..6, "\\U0001F600");
        check("\"\\u00e9\\U0001F600\\x41b\"", "é\u{1f600}Ab", 7..8, "b");
        check("\"\"\"\na\\\n   \n  b\\\"c\"\"\"", "ab\"c", 1..4, "b\\\"c");
        check("\"\"\"\na\\\n   \n  b\\\"c\"\"\"", "ab\"c", 0..1, "a");
        check("\"\"\"a\\\r\n  b\"\"\"", "ab", 1..2, "b");
        check("\"a\\tc\"", "another", 1..2, "\"a\\tc\"");
        check("'''\nabc'''", "abc", 0..1, "a");
        check("\"\"\"abc\"\"\"", "abc", 2..3, "c");
    }

    #[test]
    fn paths_are_cleaned_and_stay_below_the_root_directory() {
        for (path, expected) in [("/a/./b/../c", "/a/c"), ("/../../a", "/a"), ("/a/..", "/")] {
            assert_eq!(clean(Path::new(path)), PathBuf::from(expected));
        }
    }
}
