//! Reading single values out of TOML: the right type, or a problem at the value; never a stop.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeInteger, DeString, DeTable, DeValue};

use super::keys::{self, Section};
use super::template::GitUse;
use super::text::{File, Text};
use super::value::Scalar;
use crate::diag::{Located, Place, Problem, Span};

pub type Value<'i> = Spanned<DeValue<'i>>;
pub type Key<'i> = Spanned<DeString<'i>>;

/// What may stand in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `{{ … }}` is rendered.
    Template,
    /// `{{` is an error, as nobody would render it.
    Plain,
    /// An expression that is true or false.
    Condition,
    /// Anything, taken as it is.
    Raw,
}

/// More problems than anybody reads: when there are so many, what is wrong besides is not told.
pub const MOST_PROBLEMS: usize = 500;

/// One file while it is read.
pub struct Reader<'p> {
    pub file: Arc<File>,
    pub problems: &'p mut Vec<Problem>,
    /// What the templates of the file ask git for.
    pub uses_git: GitUse,
}

impl Reader<'_> {
    pub fn place(&self, span: Span) -> Place {
        self.file.place(span)
    }

    pub fn report(&mut self, problem: Problem) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        }
    }

    pub fn mismatch(&mut self, key: &str, value: &Value<'_>, wanted: &str) {
        let message = format!("`{key}` must be {wanted}, not {}", describe(value.get_ref()));
        let place = self.place(value.span());
        self.report(Problem::input("config::wrong-type", message).at(place, format!("not {wanted}")));
    }

    /// A text where a list of them is wanted.
    fn lone_text(&mut self, key: &str, text: &str, value: &Value<'_>, wanted: &str) {
        let written = self.file.source.text.get(value.span()).unwrap_or_default();
        // Several may be meant where entries have no commas themselves.
        let list = match key {
            "platforms" if text.contains(',') => {
                let entries: Vec<String> =
                    text.split(',').map(|entry| format!("\"{}\"", entry.trim())).collect();
                format!("[{}]", entries.join(", "))
            }
            _ => format!("[{written}]"),
        };
        let message = format!("`{key}` must be {wanted}, not a string");
        let place = self.place(value.span());
        let problem = Problem::input("config::wrong-type", message).at(place, format!("not {wanted}"));
        self.report(match written.contains('\n') {
            true => problem,
            false => problem.replaced_by(&list).help(format!("write `{list}`")),
        });
    }

    pub fn unknown_key(&mut self, section: Section, key: &Key<'_>) {
        // What is meant takes a while to find.
        if self.problems.len() >= MOST_PROBLEMS {
            return;
        }
        let problem = keys::problem_of(section, key.get_ref());
        let label = if problem.code == "config::not-yet" { "not supported yet" } else { "unknown key" };
        let place = self.place(key.span());
        let problem = problem.at(place, label);
        self.report(match keys::sure(section, key.get_ref()) {
            Some(meant) => problem.replaced_by(meant),
            None => problem,
        });
    }

    /// A name of a variable, group or target as it is declared.
    pub fn name(&mut self, kind: &str, key: &Key<'_>) -> Option<String> {
        let name = key.get_ref();
        let fits = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || (b == b'-' && kind != "variable"));
        let starts = kind != "variable" || !name.starts_with(|c: char| c.is_ascii_digit());
        if fits && starts {
            return Some(name.to_string());
        }
        let help = match kind {
            "variable" => "letters, digits and `_`, not a digit first",
            _ => "letters, digits, `_` and `-`",
        };
        let place = self.place(key.span());
        self.report(
            Problem::input("config::bad-name", format!("`{name}` cannot be the name of a {kind}"))
                .at(place, "not a name")
                .help(format!("names are made of {help}")),
        );
        None
    }

    pub fn table<'v, 'i>(&mut self, key: &str, value: &'v Value<'i>) -> Option<&'v DeTable<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.mismatch(key, value, "a table");
        }
        table
    }

    pub fn boolean(&mut self, key: &str, value: &Value<'_>) -> Option<bool> {
        let boolean = value.get_ref().as_bool();
        if boolean.is_none() {
            self.mismatch(key, value, "`true` or `false`");
        }
        boolean
    }

    pub fn string<'v>(&mut self, key: &str, value: &'v Value<'_>) -> Option<&'v str> {
        let string = value.get_ref().as_str();
        if string.is_none() {
            self.mismatch(key, value, "a string");
        }
        string
    }

    pub fn text(&mut self, key: &str, value: &Value<'_>, role: Role) -> Option<Text> {
        let string = self.string(key, value)?;
        self.checked_text(key, string, value.span(), role)
    }

    /// A string, or another scalar as the text a file would show for it.
    pub fn scalar_text(&mut self, key: &str, value: &Value<'_>, role: Role) -> Option<Text> {
        match self.scalar(key, value)? {
            Scalar::Text(text) => self.checked_text(key, &text, value.span(), role),
            other => Some(Text::new(&other.to_text(), &self.file, value.span())),
        }
    }

    pub fn scalar(&mut self, key: &str, value: &Value<'_>) -> Option<Scalar> {
        let scalar = match value.get_ref() {
            DeValue::String(text) => Some(Scalar::Text(text.to_string())),
            DeValue::Integer(number) => integer(number).map(Scalar::Integer),
            DeValue::Float(number) => Some(Scalar::Text(number.as_str().to_string())),
            DeValue::Boolean(boolean) => Some(Scalar::Boolean(*boolean)),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
        };
        if scalar.is_none() {
            self.mismatch(key, value, "a string, a number or a boolean");
        }
        scalar
    }

    /// A list of strings; members of another type are reported and left out.
    pub fn texts(&mut self, key: &str, value: &Value<'_>, role: Role) -> Option<Vec<Text>> {
        let members = self.list(key, value, "a list of strings")?;
        Some(members.into_iter().filter_map(|member| self.text(key, member, role)).collect())
    }

    pub fn list<'v, 'i>(
        &mut self,
        key: &str,
        value: &'v Value<'i>,
        wanted: &str,
    ) -> Option<Vec<&'v Value<'i>>> {
        let array = value.get_ref().as_array();
        match value.get_ref() {
            _ if array.is_some() => {}
            DeValue::String(text) => self.lone_text(key, text, value, wanted),
            _ => self.mismatch(key, value, wanted),
        }
        Some(array?.iter().collect())
    }

    /// A table of scalars by free names.
    pub fn text_table(&mut self, key: &str, value: &Value<'_>, role: Role) -> BTreeMap<String, Text> {
        let mut texts = BTreeMap::new();
        for (name, value) in self.table(key, value).into_iter().flatten() {
            if let Some(text) = self.scalar_text(&format!("{key}.{}", name.get_ref()), value, role) {
                texts.insert(name.get_ref().to_string(), text);
            }
        }
        texts
    }

    /// A string that is parsed while it is read, so that it cannot be a template.
    pub fn parsed<T, E: std::fmt::Display>(
        &mut self,
        code: &'static str,
        text: &Text,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        match parse(&text.value) {
            Ok(value) => Some(Located::new(value, text.place())),
            Err(error) => {
                self.report(Problem::input(code, error.to_string()).at(text.place(), "here"));
                None
            }
        }
    }

    fn checked_text(&mut self, key: &str, value: &str, span: Span, role: Role) -> Option<Text> {
        let text = Text::new(value, &self.file, span);
        match role {
            _ if self.file.is_literal => {}
            Role::Plain if value.contains("{{") => {
                self.report(
                    Problem::input("config::no-template", format!("`{key}` is not a template"))
                        .at(text.place(), "nothing is rendered here")
                        .help(
                            "templates work in args, contexts, tags, images, labels, annotations and output",
                        ),
                );
                return None;
            }
            Role::Template => self.uses_git.add(GitUse::of_template(value)),
            Role::Condition => self.uses_git.add(GitUse::of_condition(value)),
            Role::Plain | Role::Raw => {}
        }
        Some(text)
    }
}

pub fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(number) if integer(number).is_none() => "a number of more than 64 bits",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
