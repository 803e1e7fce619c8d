//! One argument of `--set`: `PATTERN.KEY[.SUB][+]=VALUE`, where KEY may stand in `on."PLATFORM".`.

use std::sync::Arc;

use crate::base::Platform;
use crate::config::keys::{self, Section};
use crate::config::path;
use crate::config::shape::{self, Shape};
use crate::config::text::{File, Text};
use crate::diag::{Located, Problem, Span};

/// What an argument says, with its places in the source of all arguments.
pub struct Override {
    pub pattern: Text,
    pub platform: Option<Located<Platform>>,
    pub key: Text,
    pub shape: Shape,
    /// The entry of a table, or the id of a secret.
    pub sub: Option<Text>,
    /// `+=`
    pub appends: bool,
    /// `None` for an argument of the Dockerfile that is taken from the environment.
    pub value: Option<Text>,
}

/// What makes a target what it is; and what has another spelling here.
const FIXED: [&str; 5] = ["inherits", "matrix", "on", "when", "append"];

type Parsed<T> = Result<T, Box<Problem>>;

/// Reads the argument at `span` of the source.
pub fn parse(file: &Arc<File>, span: Span) -> Parsed<Override> {
    Parser { file, start: span.start, text: &file.source.text[span] }.parse()
}

struct Parser<'t> {
    file: &'t Arc<File>,
    /// Where the argument begins in the source.
    start: usize,
    text: &'t str,
}

impl Parser<'_> {
    fn parse(&self) -> Parsed<Override> {
        let equals = path::find(self.text, '=');
        let left = &self.text[..equals.unwrap_or(self.text.len())];
        let (left, appends) = match left.strip_suffix('+') {
            Some(left) => (left, true),
            None => (left, false),
        };
        let segments = path::segments(left);
        let is_on = segments.get(1).is_some_and(|segment| segment.name == "on");
        let at = if is_on { 3 } else { 1 };
        let Some(key) = segments.get(at).filter(|key| !key.name.is_empty()) else {
            let wanted = if is_on { "TARGET.on.\"PLATFORM\".KEY" } else { "TARGET.KEY" };
            return Err(self.wrong(0..left.len(), format!("an override begins with `{wanted}`")));
        };
        let platform = segments.get(2).filter(|_| is_on).map(|name| self.platform(name)).transpose()?;
        let sub = segments.get(at + 1).map(|segment| path::rest(left, segment));
        let (name, shape) = self.key(&key.name, key.span.clone(), is_on)?;
        let read = Override {
            pattern: self.text(&segments[0].name, segments[0].span.clone()),
            platform,
            key: self.text(&name, key.span.clone()),
            shape,
            sub: sub.map(|sub| self.text(&sub.name, sub.span)),
            appends,
            value: equals.map(|at| self.text(&self.text[at + 1..], at + 1..self.text.len())),
        };
        self.check(&read, left.len())?;
        Ok(read)
    }

    fn platform(&self, segment: &path::Segment) -> Parsed<Located<Platform>> {
        let text = self.text(&segment.name, segment.span.clone());
        match segment.name.parse() {
            Ok(platform) => Ok(Located::new(platform, text.place())),
            Err(error) => Err(self.wrong(segment.span.clone(), format!("{error}"))),
        }
    }

    /// Our spelling of a key, and what it takes.
    fn key(&self, name: &str, span: Span, is_on: bool) -> Parsed<(String, Shape)> {
        let name = path::our_key(name);
        if FIXED.contains(&name) {
            let problem = self.wrong(span, format!("`{name}` cannot be set"));
            return Err(Box::new(match name {
                "append" => problem.help("`TARGET.KEY+=VALUE` adds to a list"),
                _ => problem.help("it says which targets there are; edit the file"),
            }));
        }
        let section = if is_on { Section::On } else { Section::Target };
        let shape = match name {
            "push" | "load" if !is_on => Some(Shape::Boolean),
            _ => shape::of(section, name),
        };
        match shape {
            Some(shape) => Ok((name.to_string(), shape)),
            None => Err(Box::new(
                keys::problem_of(section, name).at(self.file.place(self.moved(span)), "this key"),
            )),
        }
    }

    /// Whether the form of the argument is that of its key.
    fn check(&self, read: &Override, left: usize) -> Parsed<()> {
        let key = read.key.value.as_str();
        let is_entry = key == "secret" && read.sub.is_some();
        match (&read.sub, read.shape) {
            (None, Shape::Table) => {
                let message = format!("`{key}` needs the name of what is set, as in `{key}.NAME`");
                return Err(self.wrong(0..left, message));
            }
            (Some(sub), Shape::List | Shape::Boolean | Shape::Single) if !is_entry => {
                let message = format!("`{key}` has no parts, so no `{}`", sub.value);
                return Err(self.wrong(0..left, message));
            }
            _ => {}
        }
        if read.appends && (read.shape != Shape::List || is_entry || key == "remove") {
            let message = format!("`{key}` is not a list, so nothing can be added to it");
            let problem = self.wrong(0..left, message);
            return Err(Box::new(problem.help("write `=`, which replaces")));
        }
        if read.value.is_none() && key != "args" {
            return Err(self.wrong(0..left, "an override has the form `TARGET.KEY=VALUE`".to_string()));
        }
        Ok(())
    }

    fn moved(&self, span: Span) -> Span {
        self.start + span.start..self.start + span.end
    }

    fn text(&self, value: &str, span: Span) -> Text {
        Text::new(value, self.file, self.moved(span))
    }

    fn wrong(&self, span: Span, message: String) -> Box<Problem> {
        let place = self.file.place(self.moved(span));
        Box::new(Problem::input("config::set", message).at(place, "here"))
    }
}
