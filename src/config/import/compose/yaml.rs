//! YAML documents to a tree whose every node knows its place: anchors and aliases resolved, merge keys
//! merged, Compose's `!reset` and `!override` kept. How large a tree may become is bounded.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span as Marks, StrInput, Tag as YamlTag};

use super::scalar::scalar;
use crate::diag::{Place, Problem, Source, Span};

/// The most nodes of a document, with all aliases written out; Compose has the same bound.
const MOST_NODES: usize = 100_000;
/// Deeper nesting is refused.
const DEEPEST: usize = 100;

pub type Table = BTreeMap<String, Node>;

#[derive(Clone, Debug)]
pub struct Node {
    pub kind: Kind,
    pub place: Place,
    pub tag: Option<Tag>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Null,
    Bool(bool),
    /// A whole number as text.
    Integer(String),
    /// A number with a fraction, as Go writes it.
    Float(String),
    Text(String),
    List(Vec<Node>),
    Table(Table),
}

/// What a later file does to what earlier ones say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Takes it away.
    Reset,
    /// Replaces it instead of merging.
    Override,
}

impl PartialEq for Node {
    /// Where a node stands does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Node {
    pub fn table(&self) -> Option<&Table> {
        match &self.kind {
            Kind::Table(table) => Some(table),
            _ => None,
        }
    }

    pub fn table_mut(&mut self) -> Option<&mut Table> {
        match &mut self.kind {
            Kind::Table(table) => Some(table),
            _ => None,
        }
    }

    pub fn get(&self, key: &str) -> Option<&Self> {
        self.table()?.get(key)
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    /// A scalar as text; `None` for null, lists and tables.
    pub fn printed(&self) -> Option<String> {
        match &self.kind {
            Kind::Bool(value) => Some(value.to_string()),
            Kind::Integer(text) | Kind::Float(text) | Kind::Text(text) => Some(text.clone()),
            Kind::Null | Kind::List(_) | Kind::Table(_) => None,
        }
    }

    /// The same place with something else there.
    pub fn with(&self, kind: Kind) -> Self {
        Self { kind, place: self.place.clone(), tag: self.tag }
    }

    pub fn wrong(&self, message: impl Into<String>, label: &str) -> Problem {
        Problem::input("compose::bad-value", message).at(self.place.clone(), label)
    }

    /// Where the key stands that this is the value of, as far as the text shows it.
    pub fn key_place(&self, key: &str) -> Option<Place> {
        let before = self.place.source.text.get(..self.place.span.start)?;
        let is_key = |at: &usize| {
            let begins = before[..*at].chars().next_back().is_none_or(|c| " \t\n\"'{,?".contains(c));
            let rest = before[at + key.len()..].trim_start_matches(['"', '\'']).trim_start_matches(' ');
            let between = rest.strip_prefix(':').unwrap_or("x");
            begins
                && between
                    .lines()
                    .all(|line| line.trim().is_empty() || line.trim().starts_with(['#', '!', '&', '"', '\'']))
        };
        let at = before.rmatch_indices(key).map(|(at, _)| at).find(is_key)?;
        Some(Place::new(&self.place.source, at..at + key.len()))
    }

    /// What people call it.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "a bool",
            Kind::Integer(_) | Kind::Float(_) => "a number",
            Kind::Text(_) => "a text",
            Kind::List(_) => "a list",
            Kind::Table(_) => "a table",
        }
    }

    /// Long texts count as several values.
    fn count(&self) -> usize {
        1 + match &self.kind {
            Kind::Text(text) => text.len() / 512,
            Kind::List(items) => items.iter().map(Self::count).sum(),
            Kind::Table(table) => table.values().map(Self::count).sum(),
            _ => 0,
        }
    }
}

/// All documents of a file.
pub fn parse(source: &Arc<Source>) -> Result<Vec<Node>, Box<Problem>> {
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let mut reader = Reader {
        source,
        offsets: Offsets::new(&source.text, text),
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        left: MOST_NODES,
    };
    let mut documents = Vec::new();
    loop {
        let (event, marks) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => documents.push(reader.node(event, marks, 0)?),
        }
    }
}

/// What the parser says, in words for whoever wrote it.
fn syntax_problem(info: &str, place: Place) -> Problem {
    let problem = |message: &str, label: &str| {
        Problem::input("compose::syntax", message).at(place.clone(), label.to_string())
    };
    if info.starts_with("tabs disallowed") {
        return problem("a tab cannot indent a line of YAML", "a tab").help("indent with spaces");
    }
    if info.contains("quoted scalar") && info.contains("end of stream") {
        return problem("a text in quotes is not closed", "opened here").help("write the quote at its end");
    }
    if info.contains("unknown anchor") {
        let text = place.source.text.get(place.span.start..).unwrap_or_default();
        let is_end = |c: char| c.is_whitespace() || ",]}".contains(c);
        let name = text.trim_start_matches('*').split(is_end).next().unwrap_or_default();
        let message = format!("`*{name}` is the value of no `&{name}` above it");
        return problem(&message, "not known")
            .help(format!("write `&{name}` before the value that is meant, above this line"));
    }
    if info.contains("did not find expected key") {
        return problem(info, "not YAML")
            .help("the keys of one table are indented alike, and each has a `:`");
    }
    problem(info, "not YAML")
}

/// Byte offsets of characters.
enum Offsets {
    /// All characters are ASCII, so that they are the same.
    Same(usize),
    Table(Vec<usize>),
}

impl Offsets {
    fn new(whole: &str, text: &str) -> Self {
        let skipped = whole.len() - text.len();
        if text.is_ascii() {
            return Self::Same(skipped);
        }
        let starts = text.char_indices().map(|(at, _)| at + skipped);
        Self::Table(starts.chain([whole.len()]).collect())
    }

    fn byte(&self, character: usize, end: usize) -> usize {
        match self {
            Self::Same(skipped) => (character + skipped).min(end),
            Self::Table(table) => table.get(character).copied().unwrap_or(end),
        }
    }
}

struct Reader<'s> {
    source: &'s Arc<Source>,
    offsets: Offsets,
    parser: Parser<'s, StrInput<'s>>,
    anchors: HashMap<usize, Node>,
    left: usize,
}

impl<'s> Reader<'s> {
    fn next(&mut self) -> Result<(Event<'s>, Marks), Box<Problem>> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let end = self.source.text.len();
                let at = self.offsets.byte(error.marker().index(), end);
                let place = Place::new(self.source, at..at);
                Err(Box::new(syntax_problem(error.info(), place)))
            }
            None => Ok((Event::StreamEnd, Marks::default())),
        }
    }

    fn span(&self, marks: Marks) -> Span {
        let end = self.source.text.len();
        let (start, stop) =
            (self.offsets.byte(marks.start.index(), end), self.offsets.byte(marks.end.index(), end));
        start..stop.max(start)
    }

    fn problem(&self, code: &'static str, span: Span, message: String, label: &str) -> Box<Problem> {
        Box::new(Problem::input(code, message).at(Place::new(self.source, span), label))
    }

    fn node(&mut self, event: Event<'s>, marks: Marks, depth: usize) -> Result<Node, Box<Problem>> {
        let span = self.span(marks);
        if depth > DEEPEST {
            let message = format!("nested deeper than {DEEPEST} levels");
            return Err(self.problem("compose::too-deep", span, message, "here"));
        }
        self.pay(1, &span)?;
        let (kind, anchor, tag) = match event {
            Event::Alias(id) => return self.alias(id, &span),
            Event::Scalar(text, style, anchor, tag) => {
                let core = tag.as_ref().filter(|tag| tag.is_yaml_core_schema());
                let core = core.map(|tag| tag.suffix.as_str());
                (scalar(&text, style != ScalarStyle::Plain, core), anchor, compose_tag(tag.as_deref()))
            }
            Event::SequenceStart(anchor, tag) => {
                let tag = compose_tag(tag.as_deref());
                (self.list(depth)?, anchor, tag)
            }
            Event::MappingStart(anchor, tag) => {
                let tag = compose_tag(tag.as_deref());
                (self.mapping(depth)?, anchor, tag)
            }
            _ => (Kind::Null, 0, None),
        };
        let span = match kind {
            // A collection is marked by its first line, since it may be long.
            Kind::List(_) | Kind::Table(_) => first_line(&self.source.text, span),
            _ => span,
        };
        let node = Node { kind, place: Place::new(self.source, span), tag };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn pay(&mut self, nodes: usize, span: &Span) -> Result<(), Box<Problem>> {
        match self.left.checked_sub(nodes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                let message = format!("the file has more than {MOST_NODES} values, aliases written out");
                Err(self.problem("compose::too-much", span.clone(), message, "one too many"))
            }
        }
    }

    fn alias(&mut self, id: usize, span: &Span) -> Result<Node, Box<Problem>> {
        let Some(node) = self.anchors.get(&id) else {
            let message = "the alias stands inside of what it is an alias for".to_string();
            return Err(self.problem("compose::circle", span.clone(), message, "a circle"));
        };
        let node = node.clone();
        self.pay(node.count(), span)?;
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Box<Problem>> {
        let mut items = Vec::new();
        loop {
            let (event, marks) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Kind::List(items));
            }
            items.push(self.node(event, marks, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Kind, Box<Problem>> {
        let mut table = Table::new();
        let mut merged: Vec<Node> = Vec::new();
        loop {
            let (event, marks) = self.next()?;
            if event == Event::MappingEnd {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.node(event, marks, depth + 1)?;
            let (event, marks) = self.next()?;
            let value = self.node(event, marks, depth + 1)?;
            if is_merge {
                merged.push(value);
                continue;
            }
            let Some(name) = key.printed() else {
                let span = key.place.span.clone();
                let message = "a key must be text".to_string();
                let mut problem = self.problem("compose::bad-key", span, message, "not text");
                problem.help = Some("a text that begins with a brace is in quotes".to_string());
                return Err(problem);
            };
            if let Some(first) = table.insert(name.clone(), value) {
                let mut problem = self.problem(
                    "compose::duplicate",
                    key.place.span,
                    format!("`{name}` is set twice"),
                    "again here",
                );
                problem.labels.push(crate::diag::Label {
                    place: first.place,
                    text: "first here".to_string(),
                    replacement: None,
                });
                return Err(problem);
            }
        }
        for source in merged {
            merge_keys(&mut table, source).map_err(Box::new)?;
        }
        Ok(Kind::Table(table))
    }
}

/// `<<`: what the table does not say itself comes from there; of several tables the first counts.
fn merge_keys(table: &mut Table, source: Node) -> Result<(), Problem> {
    match source.kind {
        Kind::Table(entries) => {
            for (name, value) in entries {
                table.entry(name).or_insert(value);
            }
            Ok(())
        }
        Kind::List(sources) => sources.into_iter().try_for_each(|source| merge_keys(table, source)),
        _ => Err(source.wrong("`<<` needs a table, or a list of tables", "not a table")),
    }
}

fn compose_tag(tag: Option<&YamlTag>) -> Option<Tag> {
    match tag.map(|tag| (tag.handle.as_str(), tag.suffix.as_str())) {
        Some(("!", "reset")) => Some(Tag::Reset),
        Some(("!", "override")) => Some(Tag::Override),
        _ => None,
    }
}

fn first_line(text: &str, span: Span) -> Span {
    let line = text.get(span.clone()).and_then(|part| part.find('\n'));
    match line {
        Some(end) => span.start..span.start + end,
        None if span.is_empty() => {
            let rest = text.get(span.start..).unwrap_or_default();
            span.start..span.start + rest.find('\n').unwrap_or(rest.len())
        }
        None => span,
    }
}
