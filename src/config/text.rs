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
    /// Where the value begins in the source, if it stands there letter by letter.
    verbatim: Option<usize>,
}

impl Text {
    pub fn new(value: &str, file: &Arc<File>, span: Span) -> Self {
        let verbatim = verbatim_start(&file.source.text, &span, value);
        Self { value: value.to_string(), file: file.clone(), span, verbatim }
    }

    /// Another value for what stands here.
    pub fn with_value(&self, value: String) -> Self {
        Self { value, verbatim: None, ..self.clone() }
    }

    pub fn place(&self) -> Place {
        self.file.place(self.span.clone())
    }

    /// The place of a part of the value; the whole string where escapes moved the letters.
    pub fn place_of(&self, part: &Span) -> Place {
        match self.verbatim {
            Some(start) => self.file.place(start + part.start..start + part.end),
            None => self.place(),
        }
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
        check("\"a\\tc\"", "a\tc", 1..2, "\"a\\tc\"");
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
