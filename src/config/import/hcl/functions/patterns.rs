//! Regular expressions of RE2's syntax, and plain replacement.

use regex::{Captures, Regex, RegexBuilder};

use super::super::types::Type;
use super::super::value::{Entries, Value};
use super::Parameter::Text;
use super::{Failure, Function, Outcome, Surroundings, blame, fixed, text};

pub const FUNCTIONS: &[Function] = &[
    fixed("regex", &[Text, Text], first_match),
    fixed("regex_replace", &[Text, Text, Text], replace_matches),
    fixed("regexall", &[Text, Text], all_matches),
    fixed("replace", &[Text, Text, Text], |values, _| {
        Ok(Value::from(text(values, 0).replace(text(values, 1), text(values, 2))))
    }),
];

/// How large a compiled pattern may be.
const LARGEST_PATTERN: usize = 1 << 20;

/// What a match is: the text, or the groups by position or by name.
enum Shape {
    Whole,
    Positions,
    Names,
}

fn pattern(text: &str, argument: usize) -> Result<Regex, Failure> {
    let built = RegexBuilder::new(text).size_limit(LARGEST_PATTERN).build();
    built.map_err(|error| {
        let last = error.to_string();
        let last =
            last.lines().last().unwrap_or("it cannot be read").trim_start_matches("error: ").to_string();
        blame(argument, format!("the pattern is wrong: {last}"))
    })
}

fn shape(pattern: &Regex) -> Result<Shape, Failure> {
    let named = pattern.capture_names().skip(1).flatten().count();
    match (named, pattern.captures_len() - 1 - named) {
        (0, 0) => Ok(Shape::Whole),
        (0, _) => Ok(Shape::Positions),
        (_, 0) => Ok(Shape::Names),
        _ => Err(blame(0, "the pattern has groups with names and groups without")),
    }
}

fn matched(pattern: &Regex, shape: &Shape, captures: &Captures<'_>) -> Value {
    let group = |index: usize| match captures.get(index) {
        Some(found) => Value::from(found.as_str()),
        None => Value::Null(Type::String),
    };
    match shape {
        Shape::Whole => group(0),
        Shape::Positions => Value::tuple((1..pattern.captures_len()).map(group).collect()),
        Shape::Names => {
            let names = pattern.capture_names().enumerate();
            let named = names.filter_map(|(index, name)| Some((name?.into(), group(index))));
            Value::object(named.collect::<Entries>())
        }
    }
}

fn first_match(values: &[Value], _: &Surroundings) -> Outcome {
    let pattern = pattern(text(values, 0), 0)?;
    let shape = shape(&pattern)?;
    match pattern.captures(text(values, 1)) {
        Some(captures) => Ok(matched(&pattern, &shape, &captures)),
        None => Err("the pattern matches no part of the text".into()),
    }
}

fn all_matches(values: &[Value], _: &Surroundings) -> Outcome {
    let pattern = pattern(text(values, 0), 0)?;
    let shape = shape(&pattern)?;
    let found = pattern.captures_iter(text(values, 1));
    let found: Vec<Value> = found.map(|captures| matched(&pattern, &shape, &captures)).collect();
    let kind = found.first().map_or(Type::String, Value::kind);
    Ok(Value::list(kind, found))
}

fn replace_matches(values: &[Value], _: &Surroundings) -> Outcome {
    let pattern = pattern(text(values, 1), 1)?;
    Ok(Value::from(pattern.replace_all(text(values, 0), text(values, 2)).into_owned()))
}
