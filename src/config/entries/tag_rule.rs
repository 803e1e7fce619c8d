//! Tag rules: docker/metadata-action's `type=semver,pattern=…`, several of its lines in one string, a table of the same
//! keys, or the short table `{ semver = "…" }`. They are not templates; their patterns are metadata-action's.

use super::{EntryDeclaration, Field, Fields};
use crate::config::keys;
use crate::config::table::MOST_PROBLEMS;
use crate::config::text::Text;
use crate::diag::{Located, Problem};
use crate::tagging::{Flavor, Kind, Rule, fields, pair};

const CODE: &str = "config::bad-tag-rule";

/// The rules of an entry, none for an empty text. `has_room` says whether there may be one more, with or without an
/// expression. With `is_lenient`, lines may have attributes that nobody knows, as they may there.
pub fn resolve(
    declared: &EntryDeclaration,
    is_lenient: bool,
    has_room: &dyn Fn(bool) -> bool,
) -> Result<Vec<Located<Rule>>, Vec<Problem>> {
    match declared {
        EntryDeclaration::Line(text) => {
            let (mut rules, mut problems) = (Vec::new(), Vec::new());
            for line in lines(text) {
                if !has_room(line.contains("match")) || problems.len() >= MOST_PROBLEMS {
                    problems.push(too_much(text));
                    break;
                }
                match of_line(text, line).and_then(|fields| rule(fields, Some(is_lenient))) {
                    Ok(rule) => rules.push(rule),
                    Err(found) => problems.extend(found),
                }
            }
            if problems.is_empty() { Ok(rules) } else { Err(problems) }
        }
        EntryDeclaration::Table { entries, .. } => {
            let is_match =
                |(key, text): &(Located<String>, Text)| key.value == "match" || text.value == "match";
            let has_expression = entries.iter().any(is_match);
            if let Some((_, text)) = entries.first().filter(|_| !has_room(has_expression)) {
                return Err(vec![too_much(text)]);
            }
            let fields = declared.fields(CODE, |text| Ok(text.value.clone()), |_| None)?;
            fields.map(|fields| rule(fields, None)).transpose().map(|rule| rule.into_iter().collect())
        }
    }
}

fn too_much(text: &Text) -> Problem {
    Problem::input("config::template", "the templates of this run do too much")
        .at(text.place(), "with this rule")
}

/// What an entry of `flavor` adds.
pub fn add_flavor(flavor: &mut Flavor, declared: &EntryDeclaration) -> Result<(), Box<Problem>> {
    let wrong = |text: &Text, message| {
        Box::new(Problem::input("config::bad-flavor", message).at(text.place(), "here"))
    };
    match declared {
        EntryDeclaration::Line(text) => {
            lines(text).try_for_each(|line| flavor.add(line)).map_err(|message| wrong(text, message))
        }
        EntryDeclaration::Table { entries, .. } => {
            let Some((_, first)) = entries.first() else { return Ok(()) };
            let pairs: Vec<_> =
                entries.iter().map(|(key, text)| (key.value.to_lowercase(), text.value.clone())).collect();
            flavor.add_pairs(&pairs).map_err(|message| wrong(first, message))
        }
    }
}

/// The lines of a text but for empty ones and comments.
pub fn lines(text: &Text) -> impl Iterator<Item = &str> {
    let lines = text.value.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn of_line<'t>(text: &'t Text, line: &str) -> Result<Fields<'t>, Vec<Problem>> {
    let fields = fields(line).map_err(|message| {
        vec![
            Problem::input(CODE, message)
                .at(text.place(), "here")
                .help("a field with a comma is quoted as a whole: `\"pattern=\\d{1,3}\"`"),
        ]
    })?;
    let place = match text.value.find(line) {
        Some(start) => text.place_of(&(start..start + line.len())),
        None => text.place(),
    };
    let field = |written: &String| {
        let (key, value) = pair(written);
        let key = key.unwrap_or_else(|| "value".to_string());
        Field { key, value, key_place: place.clone(), value_place: place.clone() }
    };
    let mut rest: Vec<Field> = Vec::new();
    for field in fields.iter().map(field) {
        // The later of two wins there.
        rest.retain(|known| known.key != field.key);
        rest.push(field);
    }
    if rest.iter().all(|field| field.key != "type") {
        let key = "type".to_string();
        rest.push(Field {
            key,
            value: "raw".to_string(),
            key_place: place.clone(),
            value_place: place.clone(),
        });
    }
    Ok(Fields { code: CODE, title: String::new(), text, place, rest, problems: Vec::new() })
}

/// `line` is for those of metadata-action, which may have attributes of other types; and of none, if it says so.
fn rule(mut fields: Fields<'_>, line: Option<bool>) -> Result<Located<Rule>, Vec<Problem>> {
    fields.title = "a tag rule".to_string();
    let Some(kind) = kind(&mut fields) else { return Err(fields.problems) };
    fields.title = format!("a tag rule of type `{}`", kind.name());
    if kind.needs_its_attribute() && fields.find(kind.attributes()[0]).is_none() {
        fields.needs(kind.attributes()[0]);
        return Err(fields.problems);
    }
    let known: Vec<&str> = kind.attributes().iter().chain(&Kind::COMMON).copied().collect();
    let made = Rule::new(kind, |name| fields.find(name).map(|field| field.value.clone()));
    let made = match made {
        Ok(rule) => Some(rule),
        Err((attribute, message)) => {
            let place = fields.find(attribute).map_or(&fields.place, |field| &field.value_place).clone();
            let mut problem = Problem::input(CODE, message).at(place, "here");
            problem.help = help_of(attribute);
            fields.problems.push(problem);
            None
        }
    };
    fields.take_known(&known);
    if line == Some(true) {
        fields.rest.clear();
    } else if line.is_some() {
        let others = Kind::NAMES.iter().flat_map(|(_, kind)| kind.attributes()).copied();
        fields.take_known(&others.collect::<Vec<&str>>());
    }
    fields.finish(made, &known, &[])
}

fn help_of(attribute: &str) -> Option<String> {
    let words: &[&str] = match attribute {
        "event" => &["branch", "tag", "pr"],
        "format" => &["short", "long"],
        _ => return None,
    };
    Some(format!("the values are {}", keys::quoted_list(words.iter().copied())))
}

/// The type, or the key of the short form, which is a type with its main attribute as value.
fn kind(fields: &mut Fields<'_>) -> Option<Kind> {
    let short = |field: &Field| Kind::NAMES.iter().find(|(name, _)| *name == field.key);
    let is_short = fields.rest.iter().all(|field| field.key != "type");
    if is_short && let Some((name, kind)) = fields.rest.iter().find_map(short) {
        let field = fields.take(name)?;
        fields.rest.push(Field { key: kind.attributes()[0].to_string(), ..field });
        return Some(*kind);
    }
    fields.kind(&Kind::NAMES)
}
