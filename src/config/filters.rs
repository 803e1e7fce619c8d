//! The functions and filters of templates, each bounded.
//!
//! The environment starts empty: of minijinja's own, only those are taken over that cannot make a long
//! text out of short ones. What can is capped here, and the work of all is counted.

mod dates;
mod paths;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, filters, tests as conditions};
use sha2::{Digest as _, Sha256, Sha512};

use super::budget::Budget;
pub use versions::is_version;

/// The longest rendered string, in bytes.
pub const LONGEST_TEXT: usize = 64 << 10;

/// The names of the filters.
pub const FILTERS: [&str; 31] = [
    "basename",
    "bool",
    "capitalize",
    "d",
    "date",
    "default",
    "dirname",
    "extension",
    "first",
    "int",
    "join",
    "join_path",
    "last",
    "length",
    "lower",
    "md5",
    "relative_to",
    "replace",
    "semver",
    "sha1",
    "sha256",
    "sha512",
    "slug",
    "split",
    "stem",
    "strip_prefix",
    "strip_suffix",
    "title",
    "trim",
    "upper",
    "urlencode",
];

/// The environment variables that templates asked for and got.
pub type Asked = Arc<Mutex<BTreeSet<String>>>;

/// The names of the tests, after `is`.
pub const TESTS: [&str; 6] = ["defined", "endingwith", "matching", "semver", "startingwith", "undefined"];

/// The functions and filters of templates.
pub fn environment(
    variables: &BTreeMap<String, String>,
    budget: &Budget,
    asked: Asked,
) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_debug(true);
    add_plain(&mut environment);
    add_texts(&mut environment, budget);
    add_tests(&mut environment, budget);
    let variables = Arc::new(variables.clone());
    let budget = budget.clone();
    environment.add_function("env", move |name: String, default: Rest<Value>| {
        match (variables.get(&name), default.first()) {
            (Some(value), _) if value.len() > LONGEST_TEXT => Err(too_long()),
            // An expression may join many long ones.
            (Some(value), _) => {
                asked.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
                budget.work(value.len() * (1 + value.len() / 32)).map(|()| Value::from(value))
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

/// What looks at values and copies none.
fn add_plain(environment: &mut Environment<'static>) {
    environment.add_filter("bool", filters::bool);
    environment.add_filter("d", filters::default);
    environment.add_filter("default", filters::default);
    environment.add_filter("first", filters::first);
    environment.add_filter("int", filters::int);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", filters::length);
    environment.add_filter("semver", versions::filter);
    environment.add_filter("date", |value: Value, format: Option<String>| dates::date(&value, format));
}

/// A text made of a text.
type OfText = fn(&str) -> String;

/// What makes texts of texts.
fn add_texts(environment: &mut Environment<'static>, budget: &Budget) {
    let plain: [(&str, OfText); 15] = [
        ("basename", paths::basename),
        ("capitalize", capitalize),
        ("dirname", paths::dirname),
        ("extension", paths::extension),
        ("lower", |text| text.to_lowercase()),
        ("md5", |text| hex(&md5::Md5::digest(text))),
        ("sha1", |text| hex(&sha1::Sha1::digest(text))),
        ("sha256", |text| hex(&Sha256::digest(text))),
        ("sha512", |text| hex(&Sha512::digest(text))),
        ("slug", slug),
        ("stem", paths::stem),
        ("title", |text| filters::title(text.into())),
        ("trim", |text| text.trim().to_string()),
        ("upper", |text| text.to_uppercase()),
        ("urlencode", |text| url::form_urlencoded::byte_serialize(text.as_bytes()).collect()),
    ];
    for (name, filter) in plain {
        let budget = budget.clone();
        environment.add_filter(name, move |text: String| bounded(&budget, &text, filter));
    }
    let worked = |budget: &Budget| {
        let budget = budget.clone();
        move |text: &str| budget.work(text.len())
    };
    let work = worked(budget);
    environment.add_filter("strip_prefix", move |text: String, prefix: String| {
        work(&text).map(|()| text.strip_prefix(&prefix).unwrap_or(&text).to_string())
    });
    let work = worked(budget);
    environment.add_filter("strip_suffix", move |text: String, suffix: String| {
        work(&text).map(|()| text.strip_suffix(&suffix).unwrap_or(&text).to_string())
    });
    let work = worked(budget);
    environment.add_filter("relative_to", move |path: String, base: String| {
        work(&path).map(|()| paths::relative_to(&path, &base))
    });
    let work = worked(budget);
    environment.add_filter("join_path", move |path: String, more: Rest<String>| {
        work(&path).and_then(|()| short(paths::join_path(&path, &more)))
    });
    let work = worked(budget);
    environment.add_filter("replace", move |text: String, from: String, to: String| {
        work(&text).and_then(|()| replace(&text, &from, &to))
    });
    let work = worked(budget);
    environment.add_filter("join", move |list: Value, separator: Option<String>| {
        let joined = join(&list, &separator.unwrap_or_default())?;
        work(&joined).map(|()| joined)
    });
    let budget = budget.clone();
    environment.add_filter("split", move |text: Value, separator: Option<Arc<str>>, most: Option<i64>| {
        // A value for each letter.
        budget.work(text.as_str().unwrap_or_default().len().saturating_mul(256))?;
        filters::split(&text, separator, most)
    });
}

fn add_tests(environment: &mut Environment<'static>, budget: &Budget) {
    environment.add_test("defined", conditions::is_defined);
    environment.add_test("undefined", conditions::is_undefined);
    environment.add_test("startingwith", conditions::is_startingwith);
    environment.add_test("endingwith", conditions::is_endingwith);
    let budget = budget.clone();
    environment.add_test("matching", move |text: String, pattern: String| {
        // Compiling takes far longer than looking.
        // The automaton may step through several states for each byte.
        budget.work(text.len().saturating_mul(8) + 3 * LARGEST_PATTERN)?;
        is_matching(&text, &pattern)
    });
    environment
        .add_test("semver", |value: Value, requirement: Option<String>| versions::test(&value, requirement));
}

/// Work on a text, which may be no longer than a rendered one; hashing takes the most.
fn bounded(budget: &Budget, text: &str, filter: OfText) -> Result<String, Error> {
    budget.work(text.len().saturating_mul(4))?;
    short(text).map(filter).and_then(short)
}

fn short<T: AsRef<str>>(text: T) -> Result<T, Error> {
    if text.as_ref().len() > LONGEST_TEXT { Err(too_long()) } else { Ok(text) }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(digest.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn capitalize(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters.flat_map(char::to_lowercase)).collect(),
        None => String::new(),
    }
}

/// How large a compiled regular expression may be, in bytes.
const LARGEST_PATTERN: usize = 16 << 10;

/// Whether a regular expression finds something in a text.
fn is_matching(text: &str, pattern: &str) -> Result<bool, Error> {
    let built = regex::RegexBuilder::new(pattern).size_limit(LARGEST_PATTERN).build();
    built.map(|pattern| pattern.is_match(text)).map_err(|_| {
        let message = format!("`{pattern}` is not a regular expression, or too large");
        Error::new(ErrorKind::InvalidOperation, message)
    })
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

fn replace(text: &str, from: &str, to: &str) -> Result<String, Error> {
    let matches = text.matches(from).count();
    let length = text.len().saturating_add(matches.saturating_mul(to.len()));
    if length > LONGEST_TEXT { Err(too_long()) } else { Ok(text.replace(from, to)) }
}

fn join(list: &Value, separator: &str) -> Result<String, Error> {
    let mut joined = String::new();
    for (index, member) in list.try_iter()?.enumerate() {
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(&text_of(&member));
        if joined.len() > LONGEST_TEXT {
            return Err(too_long());
        }
    }
    Ok(joined)
}
