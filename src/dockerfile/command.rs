//! An instruction taken apart: keyword, flag words, arguments. Does not know what any of them mean.

use super::lines::BLANKS;
use crate::diag::Span;

/// The parts of one joined line. Ranges count bytes of that line.
#[derive(Debug)]
pub(super) struct Command<'a> {
    /// As written.
    pub keyword: &'a str,
    pub keyword_range: Span,
    /// In upper case.
    pub name: String,
    pub flags: Vec<FlagWord>,
    /// What follows the flags, trimmed.
    pub arguments: &'a str,
    pub arguments_at: usize,
}

/// A `--name[=value]` word, quotes and escapes removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FlagWord {
    pub text: String,
    pub range: Span,
}

impl<'a> Command<'a> {
    pub(super) fn split(line: &'a str, escape: char) -> Self {
        let start = line.len() - line.trim_start().len();
        let end = line.trim_end().len().max(start);
        let keyword_end = line[start..end].find(BLANKS).map_or(end, |length| start + length);
        let (flags, flags_end) = take_flags(&line[..end], keyword_end, escape);
        let rest = &line[flags_end..end];
        let arguments_at = flags_end + (rest.len() - rest.trim_start().len());
        let keyword = &line[start..keyword_end];
        Self {
            keyword,
            keyword_range: start..keyword_end,
            name: keyword.to_ascii_uppercase(),
            flags,
            arguments: &line[arguments_at..end],
            arguments_at,
        }
    }
}

/// The flag words from `position` on, and where they end; `--` alone ends them.
fn take_flags(line: &str, mut position: usize, escape: char) -> (Vec<FlagWord>, usize) {
    let mut flags = Vec::new();
    loop {
        let rest = &line[position..];
        let start = position + (rest.len() - rest.trim_start().len());
        if !line[start..].starts_with("--") {
            return (flags, start);
        }
        let (text, end) = flag_word(line, start, escape);
        if text == "--" {
            return (flags, end);
        }
        flags.push(FlagWord { text, range: start..end });
        position = end;
    }
}

/// The word at `start` and its end. Unlike elsewhere the escape works in single quotes too.
fn flag_word(line: &str, start: usize, escape: char) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = line[start..].char_indices();
    while let Some((offset, char)) = chars.next() {
        match char {
            _ if char == escape => word.extend(chars.next().map(|(_, escaped)| escaped)),
            _ if quote == Some(char) => quote = None,
            '\'' | '"' if quote.is_none() => quote = Some(char),
            _ if quote.is_none() && char.is_whitespace() => return (word, start + offset),
            _ => word.push(char),
        }
    }
    (word, line.len())
}
