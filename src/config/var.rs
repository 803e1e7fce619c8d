//! `[vars]` and `[var.NAME]` as they are written: types, defaults, and what a value must be.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::declare::{Validation, VarDeclaration};
use super::filters::LONGEST_TEXT;
use super::keys::Section;
use super::read::read_word;
use super::table::{Reader, Role, Value};
use super::value::{DEEPEST_VALUE, VAR_TYPES, VarType, VarValue};
use crate::diag::{Located, Place, Problem};

/// A member of `[vars]`: its default alone.
pub fn read_short(reader: &mut Reader<'_>, place: Place, value: &Value<'_>) -> Option<VarDeclaration> {
    if value.get_ref().is_table() {
        let at = reader.place(value.span());
        reader.report(
            Problem::input("config::wrong-type", "a variable in `[vars]` is a plain value")
                .at(at, "a table")
                .help("the long form is `[var.NAME]`, without the `s`; a map is its `default`"),
        );
        return None;
    }
    let default = read_value(reader, "vars", value, 0)?;
    Some(VarDeclaration {
        default: Some(Located::new(default, reader.place(value.span()))),
        ..VarDeclaration::new(place)
    })
}

/// A table `[var.NAME]`.
pub fn read_long(reader: &mut Reader<'_>, place: Place, value: &Value<'_>) -> Option<VarDeclaration> {
    let mut var = VarDeclaration::new(place);
    for (key, value) in reader.table("var", value)? {
        match key.get_ref().as_ref() {
            "type" => var.declared_type = read_word(reader, "type", value, VAR_TYPES),
            "default" => {
                let default = read_value(reader, "default", value, 0);
                var.default = default.map(|default| Located::new(default, reader.place(value.span())));
            }
            "one-of" => {
                let values = reader.list("one-of", value, "a list of values").unwrap_or_default();
                let values = values.into_iter().filter_map(|value| reader.scalar("one-of", value)).collect();
                var.one_of = Some(Located::new(values, reader.place(value.span())));
            }
            "pattern" => var.pattern = read_pattern(reader, value),
            "validate" => var.validations = read_validations(reader, value),
            "env" => var.env = reader.text("env", value, Role::Plain),
            "secret" => var.is_secret = reader.boolean("secret", value).unwrap_or(false),
            "help" => var.help = reader.text("help", value, Role::Raw),
            _ => reader.unknown_key(Section::Var, key),
        }
    }
    check_default(reader, &mut var);
    Some(var)
}

/// The default is of the declared type, and a secret has none: it would stand in the file.
fn check_default(reader: &mut Reader<'_>, var: &mut VarDeclaration) {
    let Some(default) = var.default.take() else { return };
    let place = default.place.clone().unwrap_or_else(|| var.place.clone());
    if var.is_secret {
        reader.report(
            Problem::input("config::secret-default", "a secret variable has no default")
                .at(place, "everybody who reads the file reads this")
                .help("take it out, and give the value through `env` or `--var`"),
        );
        return;
    }
    let wanted = var.declared_type.unwrap_or_else(|| VarType::of(&default.value));
    match wanted.accept(default.value) {
        Some(value) => var.default = Some(Located { value, place: default.place }),
        None => reader.report(
            Problem::input("config::wrong-type", format!("the default is not {}", wanted.describe()))
                .at(place, format!("not {}", wanted.describe())),
        ),
    }
}

/// What is wrong with a value that templates would copy over and over.
pub fn too_long(length: usize) -> String {
    format!("a value has {length} bytes, and at most {LONGEST_TEXT} are taken")
}

/// A plain value, a list or a map, without templates.
pub fn read_value(reader: &mut Reader<'_>, key: &str, value: &Value<'_>, depth: usize) -> Option<VarValue> {
    if depth > DEEPEST_VALUE {
        let place = reader.place(value.span());
        reader.report(
            Problem::input("config::too-deep", format!("`{key}` goes deeper than {DEEPEST_VALUE} values"))
                .at(place, "here"),
        );
        return None;
    }
    match value.get_ref() {
        DeValue::String(_) => {
            let text = reader.text(key, value, Role::Plain)?;
            if text.value.len() > LONGEST_TEXT {
                let problem = Problem::input("config::too-long", too_long(text.value.len()));
                reader.report(problem.at(text.place(), "too long"));
                return None;
            }
            Some(VarValue::text(text.value))
        }
        DeValue::Array(members) => {
            let members = members.iter().filter_map(|member| read_value(reader, key, member, depth + 1));
            Some(VarValue::List(members.collect()))
        }
        DeValue::Table(members) => {
            let members = members.iter().filter_map(|(name, member)| {
                Some((name.get_ref().to_string(), read_value(reader, key, member, depth + 1)?))
            });
            Some(VarValue::Map(members.collect::<BTreeMap<_, _>>()))
        }
        _ => reader.scalar(key, value).map(VarValue::Scalar),
    }
}

/// A regular expression that the whole value must match.
fn read_pattern(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Located<regex::Regex>> {
    const LARGEST_PROGRAM: usize = 1 << 20;
    let text = reader.text("pattern", value, Role::Raw)?;
    let whole = |pattern: &str| {
        regex::RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(LARGEST_PROGRAM).build()
    };
    match whole(&text.value) {
        Ok(pattern) => Some(Located::new(pattern, text.place())),
        Err(error) => {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string();
            reader.report(
                Problem::input(
                    "config::bad-pattern",
                    format!("`pattern` is no regular expression: {reason}"),
                )
                .at(text.place(), "here"),
            );
            None
        }
    }
}

/// `validate`: one table, or a list of them.
fn read_validations(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Validation> {
    let tables: Vec<&Value<'_>> = match value.get_ref() {
        DeValue::Array(members) => members.iter().collect(),
        _ => vec![value],
    };
    tables.into_iter().filter_map(|table| read_validation(reader, table)).collect()
}

fn read_validation(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Validation> {
    let (mut condition, mut message) = (None, None);
    for (key, value) in reader.table("validate", value)? {
        match key.get_ref().as_ref() {
            "condition" => condition = reader.text("condition", value, Role::Condition),
            "message" => message = reader.text("message", value, Role::Raw),
            _ => reader.unknown_key(Section::Validate, key),
        }
    }
    if condition.is_none() {
        let place = reader.place(value.span());
        reader.report(
            Problem::input("config::missing-key", "a validation needs a `condition`")
                .at(place, "says nothing that must hold")
                .help("write an expression such as `condition = \"vars.jobs > 0\"`"),
        );
    }
    Some(Validation { condition: condition?, message: message.map(|text| text.value) })
}
