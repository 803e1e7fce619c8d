//! The functions and filters of templates, each bounded.
//!
//! The environment starts empty: of minijinja's own, only those are taken over that cannot make a long
//! text out of short ones. What can is capped here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, filters, tests as conditions};

/// The longest rendered string, in bytes.
pub const LONGEST_TEXT: usize = 64 << 10;

/// The names of the filters.
pub const FILTERS: [&str; 16] = [
    "bool",
    "capitalize",
    "d",
    "default",
    "first",
    "int",
    "join",
    "last",
    "length",
    "lower",
    "replace",
    "slug",
    "split",
    "title",
    "trim",
    "upper",
];

/// The environment variables that templates asked for and got.
pub type Asked = Arc<Mutex<BTreeSet<String>>>;

/// The functions and filters of templates.
pub fn environment(variables: &BTreeMap<String, String>, asked: Asked) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_debug(true);
    environment.add_filter("bool", filters::bool);
    environment.add_filter("capitalize", filters::capitalize);
    environment.add_filter("d", filters::default);
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("int", filters::int);
    environment.add_filter("join", join);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", filters::length);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("replace", replace);
    environment.add_filter("slug", |text: String| slug(&text));
    environment.add_filter("split", filters::split);
    environment.add_filter("title", filters::title);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("upper", filters::upper);
    environment.add_test("defined", conditions::is_defined);
    environment.add_test("undefined", conditions::is_undefined);
    environment.add_test("startingwith", conditions::is_startingwith);
    environment.add_test("endingwith", conditions::is_endingwith);
    let variables = Arc::new(variables.clone());
    environment.add_function("env", move |name: String, default: Rest<Value>| {
        match (variables.get(&name), default.first()) {
            (Some(value), _) => {
                asked.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
                Ok(Value::from(value))
            }
            (None, Some(default)) => Ok(default.clone()),
            (None, None) => Err(Error::new(
                ErrorKind::UndefinedError,
                format!("{ENVIRONMENT_VARIABLE} `{name}` is not set"),
            )),
        }
    });
    environment
}

/// The start of the message of `env`.
const ENVIRONMENT_VARIABLE: &str = "environment variable";

/// Whether `env` found no variable.
pub fn is_of_environment(error: &Error) -> bool {
    error.detail().is_some_and(|detail| detail.starts_with(ENVIRONMENT_VARIABLE))
}

/// Booleans as TOML and bake write them; minijinja follows Python.
pub fn text_of(value: &Value) -> String {
    match value.kind() {
        ValueKind::Bool if value.is_true() => "true".to_string(),
        ValueKind::Bool => "false".to_string(),
        _ => value.to_string(),
    }
}

/// `text` as a tag: what a tag cannot have becomes `-`, as docker/metadata-action does it with branches.
fn slug(text: &str) -> String {
    let mut slug = String::with_capacity(text.len().min(128));
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
            slug.push(c);
        } else if !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_start_matches(['-', '.']);
    slug[..slug.len().min(128)].trim_end_matches('-').to_string()
}

fn too_long() -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("the result has more than {LONGEST_TEXT} bytes"))
}

fn replace(text: String, from: String, to: String) -> Result<String, Error> {
    let matches = text.matches(from.as_str()).count();
    let length = text.len().saturating_add(matches.saturating_mul(to.len()));
    if length > LONGEST_TEXT { Err(too_long()) } else { Ok(text.replace(&from, &to)) }
}

fn join(list: Value, separator: Option<String>) -> Result<String, Error> {
    let separator = separator.unwrap_or_default();
    let mut joined = String::new();
    for (index, member) in list.try_iter()?.enumerate() {
        if index > 0 {
            joined.push_str(&separator);
        }
        joined.push_str(&text_of(&member));
        if joined.len() > LONGEST_TEXT {
            return Err(too_long());
        }
    }
    Ok(joined)
}
