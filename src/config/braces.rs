//! Strings cut at their `{{ … }}`, and the bounds of what stands between. No statement of the template
//! language gets past here.

use super::fault::Fault;
use crate::diag::Span;

/// The longest expression, in bytes.
const LONGEST_EXPRESSION: usize = 4 << 10;

#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    Letters(Span),
    /// What stands between the braces.
    Expression(Span),
}

/// Cuts a string at its `{{ … }}`.
pub fn scan(text: &str) -> Result<Vec<Chunk>, Fault> {
    let bytes = text.as_bytes();
    let (mut chunks, mut letters, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"{{") => {
                let span = expression_span(text, at)?;
                if letters < at {
                    chunks.push(Chunk::Letters(letters..at));
                }
                at = span.end + 2;
                letters = at;
                chunks.push(Chunk::Expression(span));
            }
            Some(opening @ (b"{%" | b"{#")) => {
                let what = if opening == b"{%" { "statements" } else { "comments" };
                return Err(Fault::new("config::template", format!("templates have no {what}"), at..at + 2)
                    .help("only expressions: `{{ … }}`".to_string()));
            }
            _ => at += 1,
        }
    }
    if letters < text.len() {
        chunks.push(Chunk::Letters(letters..text.len()));
    }
    Ok(chunks)
}

/// The inside of the expression whose braces open at `open`.
fn expression_span(text: &str, open: usize) -> Result<Span, Fault> {
    let bytes = text.as_bytes();
    let refused = |message: &str, part: Span| Err(Fault::new("config::template", message, part));
    let (mut at, mut depth, mut quote) = (open + 2, 0_usize, None);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open_quote), byte) if byte == open_quote => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, b'{' | b'(' | b'[') => depth += 1,
            (None, b'}') if depth == 0 && bytes.get(at + 1) == Some(&b'}') => {
                return checked_expression(text, open + 2..at);
            }
            (None, b'}' | b')' | b']') => depth = depth.saturating_sub(1),
            (None, b'*') => return refused("templates do not multiply", at..at + 1),
            (None, _) => {}
        }
        at += 1;
    }
    refused("`{{` is not closed", open..open + 2)
}

/// A condition is bounded as the inside of braces is.
pub fn checked_condition(text: &str) -> Result<Span, Fault> {
    let whole = 0..text.len();
    let refused = |message: &str, part: Span| Err(Fault::new("config::condition", message, part));
    if let Some(at) = text.find("{{") {
        return refused("a condition is an expression without braces", at..at + 2);
    }
    if text.trim().is_empty() {
        return refused("the condition is empty", whole);
    }
    if text.len() > LONGEST_EXPRESSION {
        return refused("the condition is too long", whole);
    }
    match multiplication(text) {
        Some(at) => refused("conditions do not multiply", at..at + 1),
        None => Ok(whole),
    }
}

/// A `*` outside of strings.
fn multiplication(text: &str) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'*') => return Some(at),
            (None, _) => {}
        }
    }
    None
}

fn checked_expression(text: &str, span: Span) -> Result<Span, Fault> {
    let source = &text[span.clone()];
    let refused = |message: &str, part: Span| Err(Fault::new("config::template", message, part));
    if source.starts_with(['-', '+']) || source.ends_with(['-', '+']) {
        return refused("templates have no whitespace control", span).map_err(|fault: Fault| {
            fault.help("write a blank between the braces and the expression".to_string())
        });
    }
    if source.trim().is_empty() {
        return refused("the expression is empty", span.start - 2..span.end + 2);
    }
    if source.len() > LONGEST_EXPRESSION {
        return refused("the expression is too long", span);
    }
    Ok(span)
}
