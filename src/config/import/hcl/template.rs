//! Templates: quoted strings, heredocs, and the strings of JSON files.
//!
//! First pieces as they stand, with their marks for trimming; then a tree of parts, in which `if` and `for`
//! hold theirs.

use std::rc::Rc;

use super::expression::{expression, for_names};
use super::scan::{Cursor, Parsed};
use super::syntax::{Expression, Part, Template};
use crate::diag::Span;

/// One piece of a template in the order of the text.
enum Piece {
    Literal(String),
    Interpolation(Expression),
    If(Expression),
    Else,
    EndIf,
    For(Option<Rc<str>>, Rc<str>, Expression),
    EndFor,
}

struct Marked {
    piece: Piece,
    /// `~` at its beginning or end: space of the neighbour goes.
    trims: (bool, bool),
    span: Span,
}

/// Where a template ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Quote,
    /// The end of the text, as in JSON, or of one line of a heredoc.
    Text,
}

/// `"…"`
pub fn quoted(cursor: &mut Cursor<'_>) -> Parsed<Template> {
    let open = cursor.at;
    cursor.at += 1;
    let pieces = pieces(cursor, End::Quote, open)?;
    Ok(Template { parts: tree(cursor, pieces)?, json: None })
}

/// `"…"` where only text may stand, such as a label.
pub fn quoted_literal(cursor: &mut Cursor<'_>) -> Parsed<Rc<str>> {
    let start = cursor.at;
    let template = quoted(cursor)?;
    match template.parts.as_slice() {
        [] => Ok(Rc::from("")),
        [Part::Literal(text)] => Ok(text.clone()),
        _ => Err(cursor.wrong(start..cursor.at, "a label cannot be a template", "a template")),
    }
}

/// The whole text of the cursor, as the content of a JSON string.
pub fn whole(cursor: &mut Cursor<'_>) -> Parsed<Vec<Part>> {
    let pieces = pieces(cursor, End::Text, 0)?;
    tree(cursor, pieces)
}

fn pieces(cursor: &mut Cursor<'_>, end: End, open: usize) -> Parsed<Vec<Marked>> {
    let mut pieces: Vec<Marked> = Vec::new();
    let mut literal = String::new();
    let mut literal_start = cursor.at;
    loop {
        let start = cursor.at;
        let is_mark = cursor.starts_with("${") || cursor.starts_with("%{");
        let is_end = match end {
            End::Quote => cursor.starts_with("\""),
            End::Text => cursor.is_at_end(),
        };
        if (is_mark || is_end) && !literal.is_empty() {
            let piece = Piece::Literal(std::mem::take(&mut literal));
            pieces.push(Marked { piece, trims: (false, false), span: literal_start..start });
        }
        if is_end {
            cursor.at += usize::from(end == End::Quote);
            return Ok(pieces);
        }
        if is_mark {
            pieces.push(marked(cursor)?);
            literal_start = cursor.at;
            continue;
        }
        let ends_line = cursor.is_at_end() || (end == End::Quote && cursor.starts_with("\n"));
        if ends_line && end == End::Quote {
            let mut problem = cursor.wrong(open..open + 1, "a string is not closed", "opened here");
            problem.help = Some("write `\\n` for a line break, or use a heredoc".to_string());
            return Err(problem);
        }
        literal_text(cursor, end, &mut literal)?;
        // Trimming stops at the end of a line, so that lines are pieces of their own.
        if end == End::Text && literal.ends_with('\n') {
            let piece = Piece::Literal(std::mem::take(&mut literal));
            pieces.push(Marked { piece, trims: (false, false), span: literal_start..cursor.at });
            literal_start = cursor.at;
        }
    }
}

/// One character, escape or run of text.
fn literal_text(cursor: &mut Cursor<'_>, end: End, literal: &mut String) -> Parsed<()> {
    for (escaped, text) in [("$${", "${"), ("%%{", "%{")] {
        if cursor.take(escaped) {
            literal.push_str(text);
            return Ok(());
        }
    }
    match cursor.bump() {
        Some('\\') if end == End::Quote => literal.push(escape(cursor)?),
        Some(c) => literal.push(c),
        None => {}
    }
    Ok(())
}

fn escape(cursor: &mut Cursor<'_>) -> Parsed<char> {
    let start = cursor.at - 1;
    let digits = match cursor.bump() {
        Some('n') => return Ok('\n'),
        Some('r') => return Ok('\r'),
        Some('t') => return Ok('\t'),
        Some('"') => return Ok('"'),
        Some('\\') => return Ok('\\'),
        Some('u') => 4,
        Some('U') => 8,
        _ => {
            let mut problem = cursor.wrong(start..cursor.at, "the escape is not known", "here");
            problem.help = Some("the escapes are `\\n \\r \\t \\\" \\\\ \\uNNNN \\UNNNNNNNN`".to_string());
            return Err(problem);
        }
    };
    let code = cursor.rest().get(..digits).and_then(|text| u32::from_str_radix(text, 16).ok());
    match code.and_then(char::from_u32) {
        Some(c) => {
            cursor.at += digits;
            Ok(c)
        }
        None => {
            Err(cursor.wrong(start..cursor.at, format!("`\\u` needs {digits} hexadecimal digits"), "here"))
        }
    }
}

/// `${…}` or `%{…}`.
fn marked(cursor: &mut Cursor<'_>) -> Parsed<Marked> {
    let start = cursor.at;
    let is_directive = cursor.starts_with("%");
    cursor.at += 2;
    let trims_before = cursor.take("~");
    let piece = cursor.with_lines(false, |cursor| {
        cursor.nested(|cursor| {
            if is_directive { directive(cursor) } else { Ok(Piece::Interpolation(expression(cursor)?)) }
        })
    })?;
    cursor.skip_lines();
    let trims_after = cursor.take("~");
    if !cursor.take("}") {
        if cursor.is_at_end() {
            let what = if is_directive { "a directive" } else { "an interpolation" };
            return Err(cursor.wrong(start..start + 2, format!("{what} is not closed"), "opened here"));
        }
        return Err(cursor.unexpected("`}`"));
    }
    Ok(Marked { piece, trims: (trims_before, trims_after), span: start..cursor.at })
}

fn directive(cursor: &mut Cursor<'_>) -> Parsed<Piece> {
    cursor.skip_space();
    let start = cursor.at;
    let word = cursor.identifier();
    match word.as_deref() {
        Some("if") => Ok(Piece::If(expression(cursor)?)),
        Some("else") => Ok(Piece::Else),
        Some("endif") => Ok(Piece::EndIf),
        Some("for") => {
            let (key, value) = for_names(cursor)?;
            Ok(Piece::For(key, value, expression(cursor)?))
        }
        Some("endfor") => Ok(Piece::EndFor),
        _ => {
            let mut problem = cursor.wrong(start..cursor.at, "the directive is not known", "here");
            problem.help = Some("the directives are `if`, `else`, `endif`, `for` and `endfor`".to_string());
            Err(problem)
        }
    }
}

/// Trims, then nests.
fn tree(cursor: &Cursor<'_>, mut pieces: Vec<Marked>) -> Parsed<Vec<Part>> {
    trim(&mut pieces);
    let mut pieces = pieces.into_iter();
    let (parts, end) = parts(cursor, &mut pieces, 0)?;
    match end {
        Some(stray) => {
            Err(cursor.wrong(stray.span, "the directive closes nothing", "no `if` or `for` before it"))
        }
        None => Ok(parts),
    }
}

fn trim(pieces: &mut [Marked]) {
    for at in 0..pieces.len() {
        let (before, after) = pieces[at].trims;
        if before
            && at > 0
            && let Piece::Literal(text) = &mut pieces[at - 1].piece
        {
            text.truncate(text.trim_end().len());
        }
        if after && let Some(Marked { piece: Piece::Literal(text), .. }) = pieces.get_mut(at + 1) {
            *text = text.trim_start().to_string();
        }
    }
}

/// The parts up to a closing directive, and that one.
fn parts(
    cursor: &Cursor<'_>,
    pieces: &mut std::vec::IntoIter<Marked>,
    depth: usize,
) -> Parsed<(Vec<Part>, Option<Marked>)> {
    let mut found = Vec::new();
    while let Some(marked) = pieces.next() {
        let span = marked.span.clone();
        if depth > 50 {
            return Err(cursor.wrong(span, "the template is nested too deep", "here"));
        }
        match marked.piece {
            Piece::Literal(text) if text.is_empty() => {}
            Piece::Literal(text) => found.push(Part::Literal(Rc::from(text))),
            Piece::Interpolation(value) => found.push(Part::Interpolation(value)),
            Piece::If(condition) => found.push(if_part(cursor, pieces, condition, span, depth)?),
            Piece::For(key, value, collection) => {
                let (body, end) = parts(cursor, pieces, depth + 1)?;
                match end.map(|end| end.piece) {
                    Some(Piece::EndFor) => found.push(Part::For { key, value, collection, body }),
                    _ => return Err(cursor.wrong(span, "`for` is not closed with `endfor`", "opened here")),
                }
            }
            Piece::Else | Piece::EndIf | Piece::EndFor => return Ok((found, Some(marked))),
        }
    }
    Ok((found, None))
}

fn if_part(
    cursor: &Cursor<'_>,
    pieces: &mut std::vec::IntoIter<Marked>,
    condition: Expression,
    span: Span,
    depth: usize,
) -> Parsed<Part> {
    let unclosed = || cursor.wrong(span.clone(), "`if` is not closed with `endif`", "opened here");
    let (then, end) = parts(cursor, pieces, depth + 1)?;
    match end.map(|end| end.piece) {
        Some(Piece::EndIf) => Ok(Part::If { condition, then, otherwise: Vec::new() }),
        Some(Piece::Else) => {
            let (otherwise, end) = parts(cursor, pieces, depth + 1)?;
            match end.map(|end| end.piece) {
                Some(Piece::EndIf) => Ok(Part::If { condition, then, otherwise }),
                _ => Err(unclosed()),
            }
        }
        _ => Err(unclosed()),
    }
}

/// `<<WORD` or `<<-WORD` with its lines, up to the line that is the word.
pub fn heredoc(cursor: &mut Cursor<'_>) -> Parsed<Template> {
    let open = cursor.at;
    cursor.at += 2;
    let is_flush = cursor.take("-");
    let Some(word) = cursor.identifier() else { return Err(cursor.unexpected("the word of the heredoc")) };
    cursor.take("\r");
    if !cursor.take("\n") {
        return Err(cursor.unexpected("the end of the line"));
    }
    let start = cursor.at;
    let mut end = start;
    loop {
        let rest = &cursor.text[end..];
        let length = rest.find('\n').map_or(rest.len(), |at| at + 1);
        let line = &rest[..length];
        if line.trim() == &*word {
            // The line break after the word ends the attribute.
            cursor.at = end + line.trim_end_matches(['\n', '\r']).len();
            break;
        }
        if length == 0 || !line.ends_with('\n') {
            let message = format!("the heredoc has no line `{word}` that ends it");
            return Err(cursor.wrong(open..start, message, "opened here"));
        }
        end += length;
    }
    let after = cursor.at;
    let text = &cursor.text[..end];
    let mut inner = cursor.within(text, start);
    let mut pieces = pieces(&mut inner, End::Text, start)?;
    if is_flush {
        trim(&mut pieces);
        flush(&mut pieces);
    }
    let parts = tree(&inner, pieces)?;
    cursor.at = after;
    Ok(Template { parts, json: None })
}

/// Takes from all lines the indentation that the least indented one has. Each line is a piece of its own.
fn flush(pieces: &mut [Marked]) {
    let mut least: Option<usize> = None;
    let mut starts_line = true;
    let mut lines = Vec::new();
    for (at, marked) in pieces.iter().enumerate() {
        let Piece::Literal(text) = &marked.piece else {
            if starts_line {
                least = Some(0);
            }
            starts_line = false;
            continue;
        };
        if starts_line {
            let indent = text.chars().take_while(|c| c.is_whitespace()).count();
            let is_blank = text.trim_start().is_empty() && text.ends_with('\n');
            if !is_blank {
                least = Some(least.map_or(indent, |least| least.min(indent)));
                lines.push(at);
            }
        }
        starts_line = text.ends_with('\n');
    }
    let least = least.unwrap_or(0);
    for at in lines {
        if let Piece::Literal(text) = &mut pieces[at].piece {
            *text = text.chars().skip(least).collect();
        }
    }
}
