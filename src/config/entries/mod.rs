//! Entries of lists that bake takes as text or as tables: `type=…,key=value`. What their keys mean is known
//! to `output`, `cache`, `attestation` and the others that take them out one by one.

pub mod attestation;
pub mod cache;
pub mod policy;
pub mod tag_rule;

use std::collections::BTreeMap;
use std::fmt::Display;

use toml::de::DeValue;

use super::conditional::Conditional;
use super::keys;
use super::table::{Reader, Role, Value};
use super::text::Text;
use crate::diag::{Located, Place, Problem};

#[derive(Debug)]
pub enum EntryDeclaration {
    /// `type=…,key=value`.
    Line(Text),
    Table {
        place: Place,
        entries: Vec<(Located<String>, Text)>,
    },
}

/// One `key=value`, rendered.
pub struct Field {
    pub key: String,
    pub value: String,
    pub key_place: Place,
    pub value_place: Place,
}

/// The fields of an entry while they are taken out one by one.
pub struct Fields<'a> {
    /// The code of what is wrong with them.
    pub code: &'static str,
    /// The kind of entry with its article, for messages.
    pub title: String,
    /// Whose file paths are relative to.
    pub text: &'a Text,
    pub place: Place,
    pub rest: Vec<Field>,
    pub problems: Vec<Problem>,
}

/// The members of the list `key`; tables may have a `when`.
pub fn read(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
    role: Role,
) -> Option<Vec<Conditional<EntryDeclaration>>> {
    let members = reader.list(key, value, "a list of strings and tables")?;
    let mut declared = Vec::new();
    for member in members {
        match member.get_ref() {
            DeValue::Table(_) => declared.extend(read_table(reader, key, member, role)),
            DeValue::String(_) => {
                let line = reader.text(key, member, role);
                declared.extend(line.map(EntryDeclaration::Line).map(Conditional::always));
            }
            _ => reader.mismatch(key, member, "a string or a table"),
        }
    }
    Some(declared)
}

/// A table of scalars by free names, and its `when`.
pub fn read_table(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
    role: Role,
) -> Option<Conditional<EntryDeclaration>> {
    let (mut entries, mut when) = (Vec::new(), None);
    for (key, value) in reader.table(key, value)? {
        if key.get_ref() == "when" {
            when = reader.text("when", value, Role::Condition);
        } else if let Some(text) = reader.scalar_text(key.get_ref(), value, role) {
            let name = Located::new(key.get_ref().to_string(), reader.place(key.span()));
            entries.push((name, text));
        }
    }
    let value = EntryDeclaration::Table { place: reader.place(value.span()), entries };
    Some(Conditional { value, when })
}

impl EntryDeclaration {
    /// All texts of it.
    pub fn texts(&self) -> impl Iterator<Item = &Text> {
        let (line, entries) = match self {
            Self::Line(text) => (Some(text), None),
            Self::Table { entries, .. } => (None, Some(entries)),
        };
        line.into_iter().chain(entries.into_iter().flatten().map(|(_, text)| text))
    }

    /// The fields with their templates rendered; `None` when the entry comes out empty. `bare` gives the
    /// fields of a line that has no `=`.
    pub fn fields(
        &self,
        code: &'static str,
        render: impl Fn(&Text) -> Result<String, Problem>,
        bare: impl Fn(&str) -> Option<Vec<(&'static str, String)>>,
    ) -> Result<Option<Fields<'_>>, Vec<Problem>> {
        let one = |problem| vec![problem];
        let (text, place, rest) = match self {
            Self::Line(text) => {
                let line = render(text).map_err(one)?;
                if line.trim().is_empty() {
                    return Ok(None);
                }
                (text, text.place(), line_fields(code, text, &line, bare).map_err(one)?)
            }
            Self::Table { place, entries } => {
                let Some((_, text)) = entries.first() else {
                    return Err(one(Problem::input(code, "the table is empty").at(place.clone(), "here")));
                };
                let mut rendered = Vec::new();
                for (key, text) in entries {
                    let value = render(text).map_err(one)?;
                    let key_place = key.place.clone().unwrap_or_else(|| text.place());
                    let key = key.value.clone();
                    rendered.push(Field { key, value, key_place, value_place: text.place() });
                }
                (text, place.clone(), rendered)
            }
        };
        Ok(Some(Fields { code, title: "an entry".to_string(), text, place, rest, problems: Vec::new() }))
    }
}

fn line_fields(
    code: &'static str,
    text: &Text,
    line: &str,
    bare: impl Fn(&str) -> Option<Vec<(&'static str, String)>>,
) -> Result<Vec<Field>, Problem> {
    let field = |key: &str, value: &str| Field {
        key: key.to_string(),
        value: value.to_string(),
        key_place: text.place(),
        value_place: text.place(),
    };
    if !line.contains('=')
        && let Some(meant) = bare(line)
    {
        return Ok(meant.iter().map(|(key, value)| field(key, value)).collect());
    }
    let bad = |message: String| Problem::input(code, message).at(text.place(), "here");
    let fields = split_csv(line).ok_or_else(|| bad(format!("a quote is not closed in `{line}`")))?;
    fields
        .iter()
        .map(|part| match part.split_once('=') {
            Some((key, value)) => Ok(field(&key.trim().to_ascii_lowercase(), value)),
            None => Err(bad(format!("`{part}` is not of the form `key=value`"))),
        })
        .collect()
}

/// The fields of one CSV record; quotes protect commas and are doubled to stand for themselves.
pub fn split_csv(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(c) = characters.next() {
        let field = fields.last_mut()?;
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                field.push('"');
                characters.next();
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    (!quoted).then_some(fields)
}

impl Fields<'_> {
    pub fn take(&mut self, key: &str) -> Option<Field> {
        let index = self.rest.iter().position(|field| field.key == key)?;
        Some(self.rest.remove(index))
    }

    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        let field = self.take(key)?;
        let parsed = match field.value.as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        };
        if parsed.is_none() {
            self.report(format!("`{key}` must be `true` or `false`"), field.value_place, "neither of them");
        }
        parsed
    }

    pub fn number(&mut self, key: &str, least: i64, most: i64) -> Option<i64> {
        let field = self.take(key)?;
        let parsed = field.value.parse().ok().filter(|number| (least..=most).contains(number));
        if parsed.is_none() {
            let range = if most == i64::MAX { format!("from {least}") } else { format!("{least} to {most}") };
            self.report(format!("`{key}` must be a number, {range}"), field.value_place, "not such a number");
        }
        parsed
    }

    /// What the word in a field means.
    pub fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.check_word(key, &names);
        let field = self.take(key)?;
        words.iter().find(|(word, _)| *word == field.value).map(|(_, value)| *value)
    }

    /// Whether the field that every such entry must have is there; it stays.
    pub fn needs(&mut self, key: &str) -> bool {
        let is_there = self.find(key).is_some_and(|field| !field.value.is_empty());
        if !is_there {
            self.report(format!("{} needs `{key}`", self.title), self.place.clone(), format!("no `{key}`"));
        }
        is_there
    }

    /// Reports a field that is none of `words`; it stays.
    pub fn check_word(&mut self, key: &str, words: &[&str]) {
        let Some(field) = self.find(key).filter(|field| !words.contains(&field.value.as_str())) else {
            return;
        };
        let message = format!("`{key}` cannot be `{}`", field.value);
        let problem = Problem::input(self.code, message).at(field.value_place.clone(), "not a known word");
        let help = keys::suggestion(&field.value, words.to_vec())
            .unwrap_or_else(|| format!("the values are {}", keys::quoted_list(words.to_vec())));
        self.problems.push(problem.help(help));
    }

    pub fn find(&self, key: &str) -> Option<&Field> {
        self.rest.iter().find(|field| field.key == key)
    }

    pub fn report(&mut self, message: String, place: Place, label: impl Display) {
        self.problems.push(Problem::input(self.code, message).at(place, label.to_string()));
    }

    /// Everything that is left and known, by its key; what is not known stays.
    pub fn take_known(&mut self, known: &[&str]) -> BTreeMap<String, String> {
        let is_known = |field: &Field| known.contains(&field.key.as_str());
        let (found, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.rest).into_iter().partition(is_known);
        self.rest = rest;
        found.into_iter().map(|field| (field.key, field.value)).collect()
    }

    /// The word in the field `type`, which every entry has.
    pub fn kind<T: Copy>(&mut self, words: &[(&str, T)]) -> Option<T> {
        if self.find("type").is_some() {
            return self.word("type", words);
        }
        let known = keys::quoted_list(words.iter().map(|(word, _)| *word));
        let problem = Problem::input(self.code, format!("{} needs `type`", self.title));
        self.problems
            .push(problem.at(self.place.clone(), "no `type`").help(format!("the types are {known}")));
        None
    }

    /// What `value` means unless a field is left over that is none of `known` and `later` ones.
    pub fn finish<T>(
        mut self,
        value: Option<T>,
        known: &[&str],
        later: &[&str],
    ) -> Result<Located<T>, Vec<Problem>> {
        for field in std::mem::take(&mut self.rest) {
            let root = field.key.split('.').next().unwrap_or_default();
            let key = field.key.as_str();
            self.problems.push(if later.contains(&key) || later.contains(&root) {
                let kind = self.title.split(' ').nth(1).unwrap_or_default();
                keys::not_yet(&format!("the {kind} key `{key}`")).at(field.key_place, "not supported yet")
            } else {
                let message = format!("{} has no key `{key}`", self.title);
                let mut problem =
                    Problem::input("config::unknown-key", message).at(field.key_place, "unknown key");
                let candidates: Vec<&str> = known.to_vec();
                problem.help = keys::suggestion(key, candidates).filter(|_| !known.contains(&key));
                problem
            });
        }
        match value {
            Some(value) if self.problems.is_empty() => Ok(Located::new(value, self.place)),
            _ => Err(self.problems),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::split_csv;

    #[test]
    fn csv_has_quotes() {
        for (line, expected) in [
            ("a=1,b=2", Some(vec!["a=1", "b=2"])),
            ("a=1,\"b=2,3\"", Some(vec!["a=1", "b=2,3"])),
            ("\"a=\"\"x\"\"\"", Some(vec!["a=\"x\""])),
            ("a=\"x\"", Some(vec!["a=\"x\""])),
            ("\"a", None),
        ] {
            let fields = split_csv(line);
            assert_eq!(fields, expected.map(|all| all.into_iter().map(str::to_string).collect()), "{line}");
        }
    }
}
