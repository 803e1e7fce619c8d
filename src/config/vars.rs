//! The values of variables: `--var`, then `MAB_VAR_NAME`, then the variable's own `env`, then the default.

use std::collections::BTreeMap;

use minijinja::value::Value;

use super::declare::{Scalar, VarDeclaration};
use super::keys;
use super::template::Unset;
use crate::diag::Problem;

/// Before the name of a variable in the environment.
const PREFIX: &str = "MAB_VAR_";

/// Variables with their values, and those that have none.
pub struct Vars {
    pub values: BTreeMap<String, Scalar>,
    pub unset: Unset,
}

/// A value from outside with the name of where it came from.
struct Given<'a> {
    origin: String,
    text: &'a str,
}

pub fn resolve(
    declared: &BTreeMap<String, VarDeclaration>,
    overrides: &BTreeMap<String, String>,
    environment: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) -> Vars {
    report_unknown(declared, overrides, environment, problems);
    let mut vars = Vars { values: BTreeMap::new(), unset: BTreeMap::new() };
    for (name, var) in declared {
        let value = match given(name, var, overrides, environment) {
            Some(given) => convert(name, var, &given, problems),
            None => var.default.as_ref().map(|default| default.value.clone()),
        };
        let Some(value) = value else {
            let own = var.env.as_ref().map(|env| format!(" or `{}`", env.value)).unwrap_or_default();
            let help = format!("pass `--var {name}=…`, or set `{PREFIX}{name}`{own}");
            vars.unset.insert(name.clone(), help);
            continue;
        };
        check_choice(name, var, &value, problems);
        vars.values.insert(name.clone(), value);
    }
    vars
}

fn given<'a>(
    name: &str,
    var: &VarDeclaration,
    overrides: &'a BTreeMap<String, String>,
    environment: &'a BTreeMap<String, String>,
) -> Option<Given<'a>> {
    if let Some(text) = overrides.get(name) {
        return Some(Given { origin: format!("--var {name}"), text });
    }
    let own = var.env.as_ref().map(|env| env.value.clone());
    [Some(format!("{PREFIX}{name}")), own].into_iter().flatten().find_map(|origin| {
        let text = environment.get(&origin)?;
        Some(Given { origin, text })
    })
}

/// A text from outside as the type that the default has.
fn convert(
    name: &str,
    var: &VarDeclaration,
    given: &Given<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Scalar> {
    let wrong = |wanted: &str| {
        let message = format!("`{}={}` does not fit variable `{name}`", given.origin, given.text);
        Problem::input("config::var-value", message).at(var.place.clone(), format!("its default is {wanted}"))
    };
    let converted = match var.default.as_ref().map(|default| &default.value) {
        Some(Scalar::Integer(_)) => {
            given.text.parse().map(Scalar::Integer).map_err(|_| wrong("a whole number"))
        }
        Some(Scalar::Boolean(_)) => {
            given.text.parse().map(Scalar::Boolean).map_err(|_| wrong("`true` or `false`"))
        }
        Some(Scalar::Text(_)) | None => Ok(Scalar::Text(given.text.to_string())),
    };
    converted.map_err(|problem| problems.push(problem)).ok()
}

fn check_choice(name: &str, var: &VarDeclaration, value: &Scalar, problems: &mut Vec<Problem>) {
    let Some(choices) = &var.one_of else { return };
    let text = value.to_text();
    let texts: Vec<String> = choices.value.iter().map(Scalar::to_text).collect();
    if texts.contains(&text) {
        return;
    }
    let mut problem = Problem::input("config::var-value", format!("variable `{name}` cannot be `{text}`"))
        .help(format!("the values are {}", keys::quoted_list(texts.iter().map(String::as_str))));
    if let Some(place) = &choices.place {
        problem = problem.at(place.clone(), "not one of these");
    }
    problems.push(problem);
}

/// A name on the command line must be declared; one in the environment may be another project's.
fn report_unknown(
    declared: &BTreeMap<String, VarDeclaration>,
    overrides: &BTreeMap<String, String>,
    environment: &BTreeMap<String, String>,
    problems: &mut Vec<Problem>,
) {
    let names = || declared.keys().map(String::as_str);
    for name in overrides.keys().filter(|name| !declared.contains_key(*name)) {
        let help = keys::suggestion(name, names().collect::<Vec<_>>()).unwrap_or_else(|| {
            match declared.is_empty() {
                true => "no variable is declared".to_string(),
                false => format!("the variables are {}", keys::quoted_list(names())),
            }
        });
        let message = format!("`--var {name}`: there is no such variable");
        problems.push(Problem::input("config::unknown-name", message).help(help));
    }
    let set = environment.keys().filter_map(|key| key.strip_prefix(PREFIX));
    for name in set.filter(|name| !declared.contains_key(*name)) {
        let message = format!("`{PREFIX}{name}` is set, and there is no variable `{name}`");
        let mut problem = Problem::warning("config::unknown-name", message);
        problem.help = keys::suggestion(name, names().collect::<Vec<_>>());
        problems.push(problem);
    }
}

impl From<&Scalar> for Value {
    fn from(scalar: &Scalar) -> Self {
        match scalar {
            Scalar::Text(text) => Value::from(text),
            Scalar::Integer(number) => Value::from(*number),
            Scalar::Boolean(boolean) => Value::from(*boolean),
        }
    }
}
