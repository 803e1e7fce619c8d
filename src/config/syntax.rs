//! What is not TOML, in words for whoever wrote it: one problem for each slip, at its beginning. The parser goes on
//! after an error, and much of what it finds then is the same slip again.

use toml::Spanned;
use toml::de::{DeTable, Error};

use super::table::MOST_PROBLEMS;
use super::text::File;
use crate::base::toml_size;
use crate::diag::{Problem, Span};

/// How much of a broken text is looked at first, in bytes.
const BEGINNING: usize = 64 << 10;

/// The file as TOML, or all that keeps it from being that.
pub fn parse(file: &File) -> Result<Spanned<DeTable<'_>>, Vec<Problem>> {
    let text = &file.source.text;
    if let Some(excess) = toml_size::excess(text) {
        let message = format!("`{}` has {excess}", file.source.name);
        let help = "nobody writes that much by hand: look at what made the file";
        return Err(vec![
            Problem::input("config::too-many", message).at(file.place(0..0), "this file").help(help),
        ]);
    }
    DeTable::parse(text).map_err(|_| problems(file, &errors(text)))
}

/// What the parser finds wrong. It keeps every error, thousands of times the size of what is wrong, so a long text is
/// looked at from its beginning, and no further than to where there is more than is told.
fn errors(text: &str) -> Vec<Error> {
    let mut length = BEGINNING;
    loop {
        let beginning = whole_lines(text, length);
        let (_, errors) = DeTable::parse_recoverable(beginning);
        if beginning.len() == text.len() || errors.len() > MOST_PROBLEMS {
            return errors;
        }
        length *= 2;
    }
}

/// The lines of which something is in the first `length` bytes.
fn whole_lines(text: &str, length: usize) -> &str {
    let rest = text.as_bytes().get(length..).unwrap_or_default();
    match rest.iter().position(|&byte| byte == b'\n') {
        Some(end) => &text[..=length + end],
        None => text,
    }
}

fn problems(file: &File, errors: &[Error]) -> Vec<Problem> {
    let text = &file.source.text;
    if let Some(problem) = unclosed(file, errors) {
        return vec![problem];
    }
    let mut found = Vec::new();
    let mut last_line = None;
    for error in errors.iter().take(MOST_PROBLEMS) {
        let span = error.span().unwrap_or_default();
        let line = line_at(text, span.start);
        if last_line != Some(line.start) {
            last_line = Some(line.start);
            found.push(problem(file, error, span, &line));
        }
    }
    found
}

/// A list or table that nobody closes: all that follows is read as part of it.
fn unclosed(file: &File, errors: &[Error]) -> Option<Problem> {
    let error = errors.iter().find(|error| error.message().starts_with("unclosed array"))?;
    let text = &file.source.text;
    let opened = open_brackets(text.get(..error.span()?.start)?).pop()?;
    let is_first = errors.iter().all(|error| error.span().is_none_or(|span| span.start >= opened));
    // Where the parser saw a beginning alone, the rest may close it.
    let is_open = is_first && open_brackets(text).contains(&opened);
    is_open.then(|| {
        let place = file.place(opened..opened + 1);
        Problem::input("config::syntax", "a list is not closed")
            .at(place, "opened here")
            .help("write `]` behind its last entry")
    })
}

/// Where the brackets stand that are open at the end of the text.
fn open_brackets(text: &str) -> Vec<usize> {
    let mut open = Vec::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '[' => open.push(at),
            ']' => {
                open.pop();
            }
            '#' => while letters.next().is_some_and(|(_, letter)| letter != '\n') {},
            '"' | '\'' => {
                let mut is_escaped = false;
                for (_, other) in letters.by_ref() {
                    if !is_escaped && (other == letter || other == '\n') {
                        break;
                    }
                    is_escaped = letter == '"' && other == '\\' && !is_escaped;
                }
            }
            _ => {}
        }
    }
    open
}

fn problem(file: &File, error: &Error, span: Span, line: &Span) -> Problem {
    let text = &file.source.text[line.clone()];
    if error.message().starts_with("duplicate key") {
        return duplicate(file, span, line);
    }
    let is_string = ["invalid basic string", "invalid literal string"];
    if is_string.iter().any(|start| error.message().starts_with(start))
        && let Some(problem) = open_string(file, &span, line)
    {
        return problem;
    }
    let equals = text.find('=').map(|at| line.start + at);
    let instead = match equals {
        Some(at) if span.start > at => bare_value(file, at + 1..line.end),
        Some(_) => None,
        None => colon(file, text, line),
    };
    if let Some(problem) = instead {
        return problem;
    }
    let message = error.message().replace('\n', ", ");
    Problem::input("config::syntax", message).at(file.place(span), "not TOML")
}

/// `key: value`, as in YAML.
fn colon(file: &File, text: &str, line: &Span) -> Option<Problem> {
    let (key, _) = text.split_once(':').filter(|(key, _)| is_bare(key.trim()))?;
    let at = line.start + key.len();
    Some(
        Problem::input("config::syntax", "`:` gives a key no value")
            .at(file.place(at..at + 1), "not TOML")
            .help(format!("write `{} = …`; texts are in quotes", key.trim())),
    )
}

/// The string that begins before the end of a line and goes on behind it.
fn open_string(file: &File, span: &Span, line: &Span) -> Option<Problem> {
    if span.start < line.end {
        return None;
    }
    let text = &file.source.text[line.clone()];
    let mut open = None;
    let mut is_escaped = false;
    for (at, letter) in text.char_indices() {
        match (open, letter) {
            (None, '"' | '\'') => open = Some((at, letter)),
            (Some((_, quote)), letter) if letter == quote && !is_escaped => open = None,
            _ => {}
        }
        is_escaped = letter == '\\' && !is_escaped;
    }
    let (at, quote) = open?;
    let place = file.place(line.start + at..line.end);
    Some(
        Problem::input("config::syntax", "a string is not closed")
            .at(place, "opened here")
            .help(format!("write `{quote}` at its end; texts of several lines are between `\"\"\"`")),
    )
}

/// A value without quotes that is none of TOML's.
fn bare_value(file: &File, value: Span) -> Option<Problem> {
    let text = file.source.text.get(value.clone())?;
    let text = text.split(" #").next().unwrap_or(text);
    let start = value.start + (text.len() - text.trim_start().len());
    let text = text.trim();
    if text.is_empty() || text.contains(['"', '\'', '[', ']', '{', '}', ',', '=']) {
        return None;
    }
    let place = file.place(start..start + text.len());
    let meant = match text.to_lowercase().as_str() {
        word @ ("true" | "false") => word.to_string(),
        "yes" | "on" => "true".to_string(),
        "no" | "off" => "false".to_string(),
        _ => format!("\"{}\"", text.replace('\\', "\\\\")),
    };
    Some(
        Problem::input("config::syntax", format!("`{text}` is not a value: texts are in quotes"))
            .at(place, "not TOML")
            .help(format!("write `{meant}`")),
    )
}

/// How far up the first of two is looked for.
const SEARCHED: usize = 64 << 10;

fn duplicate(file: &File, span: Span, line: &Span) -> Problem {
    let text = &file.source.text;
    let written = text[line.clone()].trim();
    let from = line.start.saturating_sub(SEARCHED);
    let (what, first, help) = match written.strip_prefix('[') {
        Some(_) => {
            let header = format!("{}]", written.split(']').next().unwrap_or(written));
            let first = find_line(text, from..line.start, &header);
            (format!("`{header}`"), first, "put both into one table")
        }
        None => {
            let key = written.split('=').next().unwrap_or(written).trim();
            let table = text.get(from..line.start).and_then(|above| above.rfind("\n["));
            let first = find_line(text, table.map_or(from, |at| from + at + 1)..line.start, key);
            (format!("`{key}`"), first, "keep one of them")
        }
    };
    let problem =
        Problem::input("config::syntax", format!("{what} is there twice")).at(file.place(span), "again here");
    let problem = match first {
        Some(first) => problem.at(file.place(first), "first here"),
        None => problem,
    };
    problem.help(help)
}

/// Where a line of `part` begins with this.
fn find_line(text: &str, part: Span, start: &str) -> Option<Span> {
    let mut at = part.start;
    for line in text.get(part)?.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        let is_it = line
            .trim_start()
            .strip_prefix(start)
            .is_some_and(|rest| start.ends_with(']') || rest.trim_start().starts_with('='));
        if is_it {
            return Some(at + indent..at + indent + start.len());
        }
        at += line.len();
    }
    None
}

/// The line that `at` stands in, or at whose end it does.
fn line_at(text: &str, at: usize) -> Span {
    let at = at.min(text.len());
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
    let end = text.get(start..).and_then(|rest| rest.find('\n')).map_or(text.len(), |length| start + length);
    start..end
}

fn is_bare(key: &str) -> bool {
    !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}
