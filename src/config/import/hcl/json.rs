//! HCL's JSON form: objects are blocks or attributes, strings are templates.
//!
//! Which names are blocks, and how many labels they have, is for the caller to say, since JSON doesn't.

use std::rc::Rc;
use std::sync::Arc;

use super::number::Number;
use super::scan::{Cursor, Origin, Parsed};
use super::syntax::{Attribute, Block, Body, Expression, ExpressionKind as Kind, ObjectItem, Template};
use super::template::whole;
use super::value::Value;
use crate::diag::{Problem, Source, Span};

/// Blocks of the root with their number of labels, and blocks inside those.
pub struct Blocks {
    pub root: &'static [&'static str],
    /// Blocks without labels inside of other blocks: their parent and their name.
    pub inner: &'static [(&'static str, &'static str)],
}

/// A JSON value with its place.
pub struct Node {
    pub kind: NodeKind,
    pub span: Span,
}

pub enum NodeKind {
    Null,
    Bool(bool),
    Number(Number),
    Text(Text),
    Array(Vec<Node>),
    Object(Vec<(Text, Span, Node)>),
}

pub struct Text {
    pub value: Rc<str>,
    /// Where the letters begin, if there are no escapes.
    verbatim: Option<usize>,
}

/// Reads a document as plain JSON.
pub fn read(source: &Arc<Source>) -> Result<Node, Box<Problem>> {
    document(&mut Cursor::file(source))
}

/// Reads a file.
pub fn parse(source: &Arc<Source>, blocks: &Blocks) -> Result<Body, Vec<Problem>> {
    let mut cursor = Cursor::file(source);
    cursor.take("\u{feff}");
    let root = document(&mut cursor).map_err(|problem| vec![*problem])?;
    let mut reader = Reader { source, blocks, problems: Vec::new() };
    let mut body = Body::default();
    for (name, name_span, node) in reader.members(root) {
        if blocks.root.contains(&&*name) {
            reader.labelled(&name, &name_span, node, &mut body.blocks);
        } else {
            reader.attribute(name, name_span, node, &mut body);
        }
    }
    if reader.problems.is_empty() { Ok(body) } else { Err(reader.problems) }
}

fn document(cursor: &mut Cursor<'_>) -> Parsed<Node> {
    let root = node(cursor)?;
    skip_space(cursor);
    if cursor.is_at_end() { Ok(root) } else { Err(cursor.unexpected("the end of the file")) }
}

fn skip_space(cursor: &mut Cursor<'_>) {
    cursor.at += cursor.rest().len() - cursor.rest().trim_start_matches([' ', '\t', '\r', '\n']).len();
}

fn node(cursor: &mut Cursor<'_>) -> Parsed<Node> {
    cursor.nested(|cursor| {
        skip_space(cursor);
        let start = cursor.at;
        let kind = match cursor.peek() {
            Some('{') => object(cursor)?,
            Some('[') => array(cursor)?,
            Some('"') => NodeKind::Text(string(cursor)?),
            Some('-' | '0'..='9') => number(cursor)?,
            _ => word(cursor)?,
        };
        Ok(Node { kind, span: start..cursor.at })
    })
}

fn word(cursor: &mut Cursor<'_>) -> Parsed<NodeKind> {
    for (word, kind) in
        [("null", NodeKind::Null), ("true", NodeKind::Bool(true)), ("false", NodeKind::Bool(false))]
    {
        if cursor.take(word) {
            return Ok(kind);
        }
    }
    Err(cursor.unexpected("a JSON value"))
}

fn number(cursor: &mut Cursor<'_>) -> Parsed<NodeKind> {
    let start = cursor.at;
    let length = cursor.rest().bytes().take_while(|byte| b"+-.eE0123456789".contains(byte)).count();
    cursor.at += length;
    match Number::parse(&cursor.text[start..cursor.at]) {
        Some(number) => Ok(NodeKind::Number(number)),
        None => Err(cursor.wrong(start..cursor.at, "this is not a number", "here")),
    }
}

fn array(cursor: &mut Cursor<'_>) -> Parsed<NodeKind> {
    cursor.at += 1;
    let mut items = Vec::new();
    loop {
        skip_space(cursor);
        if items.is_empty() && cursor.take("]") {
            return Ok(NodeKind::Array(items));
        }
        items.push(node(cursor)?);
        skip_space(cursor);
        if cursor.take("]") {
            return Ok(NodeKind::Array(items));
        }
        if !cursor.take(",") {
            return Err(cursor.unexpected("`,` or `]`"));
        }
    }
}

fn object(cursor: &mut Cursor<'_>) -> Parsed<NodeKind> {
    cursor.at += 1;
    let mut members = Vec::new();
    loop {
        skip_space(cursor);
        if members.is_empty() && cursor.take("}") {
            return Ok(NodeKind::Object(members));
        }
        let start = cursor.at;
        if !cursor.starts_with("\"") {
            let mut problem = cursor.unexpected("a name in quotes");
            let help = match cursor.peek() {
                Some('}') => "no comma stands before the end of an object",
                Some('/' | '#') => "JSON has no comments; a file of HCL has",
                _ => "JSON has double quotes around every name",
            };
            problem.help = Some(help.to_string());
            return Err(problem);
        }
        let name = string(cursor)?;
        let name_span = start..cursor.at;
        skip_space(cursor);
        if !cursor.take(":") {
            return Err(cursor.unexpected("`:`"));
        }
        members.push((name, name_span, node(cursor)?));
        skip_space(cursor);
        if cursor.take("}") {
            return Ok(NodeKind::Object(members));
        }
        if !cursor.take(",") {
            return Err(cursor.unexpected("`,` or `}`"));
        }
    }
}

fn string(cursor: &mut Cursor<'_>) -> Parsed<Text> {
    let start = cursor.at;
    let bytes = cursor.text.as_bytes();
    let mut end = start + 1;
    loop {
        match bytes.get(end) {
            None | Some(b'\n') => {
                return Err(cursor.wrong(start..start + 1, "a string is not closed", "opened here"));
            }
            Some(b'"') => break,
            Some(b'\\') => end += 2,
            Some(_) => end += 1,
        }
    }
    let quoted = cursor.text.get(start..=end);
    cursor.at = end + 1;
    let value: Option<String> = quoted.and_then(|quoted| serde_json::from_str(quoted).ok());
    let Some(value) = value else {
        return Err(cursor.wrong(
            start..cursor.at.min(cursor.text.len()),
            "the string has a wrong escape",
            "here",
        ));
    };
    let verbatim = (cursor.text[start + 1..end] == *value).then_some(start + 1);
    Ok(Text { value: Rc::from(value), verbatim })
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    blocks: &'a Blocks,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn wrong(&mut self, span: &Span, message: String, label: &str) {
        let place = crate::diag::Place::new(self.source, span.clone());
        self.problems.push(Problem::input("bake::syntax", message).at(place, label));
    }

    /// The members of an object, or of all objects of an array.
    fn members(&mut self, node: Node) -> Vec<(Rc<str>, Span, Node)> {
        let objects = match node.kind {
            NodeKind::Object(_) => vec![node],
            NodeKind::Array(items) => items,
            NodeKind::Null => Vec::new(),
            _ => {
                self.wrong(&node.span, "an object is required here".to_string(), "not an object");
                return Vec::new();
            }
        };
        let mut members = Vec::new();
        for object in objects {
            match object.kind {
                NodeKind::Object(entries) => {
                    members.extend(entries.into_iter().map(|(name, span, node)| (name.value, span, node)));
                }
                _ => self.wrong(&object.span, "an object is required here".to_string(), "not an object"),
            }
        }
        members
    }

    /// Blocks with one label each: `{"target": {"app": {…}, "db": [{…}, {…}]}}`.
    fn labelled(&mut self, kind: &Rc<str>, kind_span: &Span, node: Node, blocks: &mut Vec<Block>) {
        for (label, label_span, content) in self.members(node) {
            let bodies = match content.kind {
                NodeKind::Array(items) => items,
                NodeKind::Null => Vec::new(),
                _ => vec![content],
            };
            for content in bodies {
                let body = self.block_body(kind, content);
                blocks.push(Block {
                    kind: kind.clone(),
                    kind_span: kind_span.clone(),
                    labels: vec![(label.clone(), label_span.clone())],
                    body: Rc::new(body),
                });
            }
        }
    }

    fn block_body(&mut self, kind: &str, content: Node) -> Body {
        let mut body = Body::default();
        for (name, name_span, node) in self.members(content) {
            if self.blocks.inner.contains(&(kind, &*name)) {
                let contents = match node.kind {
                    NodeKind::Array(items) => items,
                    _ => vec![node],
                };
                for content in contents {
                    let inner = self.block_body(&name, content);
                    let (kind, kind_span) = (name.clone(), name_span.clone());
                    body.blocks.push(Block { kind, kind_span, labels: Vec::new(), body: Rc::new(inner) });
                }
            } else {
                self.attribute(name, name_span, node, &mut body);
            }
        }
        body
    }

    fn attribute(&mut self, name: Rc<str>, name_span: Span, node: Node, body: &mut Body) {
        // By convention a comment.
        if &*name == "//" {
            return;
        }
        if body.attribute(&name).is_some() {
            self.wrong(&name_span, format!("`{name}` is set twice"), "set again here");
            return;
        }
        let value = Rc::new(self.expression(node));
        body.attributes.push(Attribute { name, name_span, value });
    }

    fn expression(&self, node: Node) -> Expression {
        let kind = match node.kind {
            NodeKind::Null => Kind::Literal(Value::null()),
            NodeKind::Bool(value) => Kind::Literal(Value::Bool(value)),
            NodeKind::Number(number) => Kind::Literal(Value::Number(number)),
            NodeKind::Text(text) => self.template(&text, &node.span),
            NodeKind::Array(items) => {
                Kind::Tuple(items.into_iter().map(|item| self.expression(item)).collect())
            }
            NodeKind::Object(members) => {
                let items = members.into_iter().map(|(name, span, value)| ObjectItem {
                    key: Expression::new(self.template(&name, &span), span),
                    value: self.expression(value),
                });
                Kind::Object(items.collect())
            }
        };
        Expression::new(kind, node.span)
    }

    fn template(&self, text: &Text, span: &Span) -> Kind {
        let origin = match text.verbatim {
            Some(start) => Origin::At(start),
            None => Origin::Within(span.clone()),
        };
        let mut cursor = Cursor::of(self.source, &text.value, origin);
        match whole(&mut cursor) {
            Ok(parts) => Kind::Template(Template { parts, json: Some(text.value.clone()) }),
            Err(problem) => Kind::Broken(problem),
        }
    }
}
