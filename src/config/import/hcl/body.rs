//! A file of HCL: attributes and blocks, line by line. After an error reading goes on with the next item
//! that starts a line, so that one run shows every error of the file.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::expression::expression;
use super::scan::{Cursor, Parsed};
use super::syntax::{Attribute, Block, Body};
use super::template::quoted_literal;
use crate::diag::{Problem, Source, Span};

/// Errors of one file beyond this many help nobody.
const MOST_PROBLEMS: usize = 20;

/// Reads a file.
pub fn parse(source: &Arc<Source>) -> Result<Body, Vec<Problem>> {
    let mut cursor = Cursor::file(source);
    cursor.take("\u{feff}");
    let mut body = Body::default();
    let mut problems = Vec::new();
    loop {
        cursor.skip_lines();
        if cursor.is_at_end() || problems.len() >= MOST_PROBLEMS {
            break;
        }
        let start = cursor.at;
        let read = item(&mut cursor, &mut body).and_then(|()| end_of_line(&mut cursor));
        if let Err(problem) = read {
            problems.push(*problem);
            skip_item(&mut cursor, start);
        }
    }
    if let Err(duplicates) = check_duplicates(&cursor, &body) {
        problems.extend(duplicates);
    }
    if problems.is_empty() { Ok(body) } else { Err(problems) }
}

/// Goes to the next line that begins with a word, which is where items of a file begin.
fn skip_item(cursor: &mut Cursor<'_>, start: usize) {
    cursor.at = cursor.at.max(start);
    while let Some(end) = cursor.rest().find('\n') {
        cursor.at += end + 1;
        if cursor.peek().is_some_and(super::syntax::starts_identifier) {
            return;
        }
    }
    cursor.at = cursor.text.len();
}

/// One attribute or block.
fn item(cursor: &mut Cursor<'_>, body: &mut Body) -> Parsed<()> {
    let start = cursor.at;
    let Some(name) = cursor.identifier() else {
        return Err(cursor.unexpected("the name of an attribute or block"));
    };
    let name_span = cursor.span_from(start);
    cursor.skip_space();
    if cursor.starts_with("=") && !cursor.starts_with("==") {
        cursor.at += 1;
        cursor.skip_space();
        let value = cursor.with_lines(true, expression)?;
        body.attributes.push(Attribute { name, name_span, value: Rc::new(value) });
        return Ok(());
    }
    let block = block(cursor, name, name_span)?;
    body.blocks.push(block);
    Ok(())
}

fn block(cursor: &mut Cursor<'_>, kind: Rc<str>, kind_span: Span) -> Parsed<Block> {
    let mut labels = Vec::new();
    loop {
        cursor.skip_space();
        let start = cursor.at;
        if cursor.starts_with("\"") {
            let text = quoted_literal(cursor)?;
            labels.push((text, cursor.span_from(start)));
        } else if let Some(word) = cursor.identifier() {
            labels.push((word, cursor.span_from(start)));
        } else {
            break;
        }
    }
    if !cursor.starts_with("{") {
        let wanted = if labels.is_empty() { "`=`, a label or `{`" } else { "a label or `{`" };
        return Err(cursor.unexpected(wanted));
    }
    let open = cursor.at;
    cursor.at += 1;
    let body = cursor.nested(|cursor| block_body(cursor, open))?;
    Ok(Block { kind, kind_span, labels, body: Rc::new(body) })
}

/// The items up to the closing brace, which has a line of its own; or one attribute in the line of both braces.
fn block_body(cursor: &mut Cursor<'_>, open: usize) -> Parsed<Body> {
    let mut body = Body::default();
    cursor.skip_space();
    let is_one_line = !(cursor.starts_with("\n") || cursor.starts_with("\r\n") || cursor.is_at_end());
    loop {
        cursor.skip_lines();
        if cursor.take("}") {
            break;
        }
        if cursor.is_at_end() {
            return Err(cursor.wrong(open..open + 1, "a block is not closed", "opened here"));
        }
        let start = cursor.at;
        item(cursor, &mut body)?;
        if !is_one_line {
            end_of_line(cursor)?;
            continue;
        }
        if !body.blocks.is_empty() {
            let message = "a block begins in the line of the block around it";
            let problem = cursor.wrong(start..start + 1, message, "put it on a line of its own");
            return Err(problem);
        }
        cursor.skip_space();
        if cursor.take("}") {
            break;
        }
        let mut problem = cursor.unexpected("`}`");
        problem.help = Some("a block that begins in the line of its brace ends there".to_string());
        return Err(problem);
    }
    check_duplicates(cursor, &body).map_err(|mut problems| Box::new(problems.remove(0)))?;
    Ok(body)
}

fn end_of_line(cursor: &mut Cursor<'_>) -> Parsed<()> {
    cursor.skip_space();
    if cursor.is_at_end() || cursor.starts_with("\n") || cursor.starts_with("\r\n") {
        return Ok(());
    }
    let mut problem = cursor.unexpected("the end of the line");
    problem.help = Some("each attribute and each block has a line of its own".to_string());
    Err(problem)
}

fn check_duplicates(cursor: &Cursor<'_>, body: &Body) -> Result<(), Vec<Problem>> {
    let mut seen: HashMap<&str, &Attribute> = HashMap::new();
    let mut problems = Vec::new();
    for attribute in &body.attributes {
        if let Some(first) = seen.insert(&attribute.name, attribute) {
            let message = format!("`{}` is set twice", attribute.name);
            problems.push(
                cursor
                    .problem("bake::duplicate", message)
                    .at(crate::diag::Place::new(cursor.source, attribute.name_span.clone()), "set again here")
                    .at(crate::diag::Place::new(cursor.source, first.name_span.clone()), "first set here"),
            );
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}
