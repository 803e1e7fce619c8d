//! The values of variables: `--var`, then `MAB_VAR_NAME`, then the variable's own `env`, then the default.
//! What a declaration says of the value (type, `one-of`, `pattern`) is checked here; `validate` needs all
//! variables and is `resolve`'s.

use std::collections::BTreeMap;

use super::declare::VarDeclaration;
use super::filters::LONGEST_TEXT;
use super::keys;
use super::template::Unset;
use super::value::{Scalar, VarType, VarValue};
use super::var::too_long;
use crate::base::Secret;
use crate::diag::Problem;

/// Before the name of a variable in the environment.
pub const PREFIX: &str = "MAB_VAR_";

/// Variables with their values, and those that have none.
#[derive(Default)]
pub struct Vars {
    pub values: BTreeMap<String, VarValue>,
    /// Those that must not be seen; not among `values`.
    pub secrets: BTreeMap<String, Secret>,
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
    let mut vars = Vars::default();
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
        check_pattern(name, var, &value, problems);
        if var.is_secret {
            let help = format!(
                "everybody can see what stands here; write `secret = [{{ id = \"{name}\", var = \"{name}\" }}]`"
            );
            vars.unset.insert(name.clone(), help);
            vars.secrets
                .extend(scalars(&value).map(|value| (name.clone(), Secret::new(value.to_text().as_bytes()))));
        } else {
            vars.values.insert(name.clone(), value);
        }
    }
    vars
}

fn given<'a>(
    name: &str,
    var: &VarDeclaration,
    overrides: &'a BTreeMap<String, String>,
    environment: &'a BTreeMap<String, String>,
) -> Option<Given<'a>> {
    let (origin, text) = all_given(name, var, overrides, environment).into_iter().next()?;
    Some(Given { origin, text })
}

/// Everything from outside that gives the variable a value, strongest first, with its name.
pub fn all_given<'a>(
    name: &str,
    var: &VarDeclaration,
    overrides: &'a BTreeMap<String, String>,
    environment: &'a BTreeMap<String, String>,
) -> Vec<(String, &'a str)> {
    let argument = overrides.get(name).map(|text| (format!("--var {name}"), text.as_str()));
    let own = var.env.as_ref().map(|env| env.value.clone());
    let variables = [Some(format!("{PREFIX}{name}")), own].into_iter().flatten();
    let variables = variables.filter_map(|origin| Some((origin.clone(), environment.get(&origin)?.as_str())));
    argument.into_iter().chain(variables).collect()
}

/// A text from outside as the variable's type has it.
fn convert(
    name: &str,
    var: &VarDeclaration,
    given: &Given<'_>,
    problems: &mut Vec<Problem>,
) -> Option<VarValue> {
    if given.text.len() > LONGEST_TEXT {
        let message = format!("`{}`: {}", given.origin, too_long(given.text.len()));
        problems.push(Problem::input("config::too-long", message).at(var.place.clone(), "for this variable"));
        return None;
    }
    let wanted = var.value_type();
    let converted = wanted.parse(given.text);
    if converted.is_none() {
        let shown = if var.is_secret { "***" } else { given.text };
        let message = format!("`{}={shown}` does not fit variable `{name}`", given.origin);
        let label = match var.declared_type {
            Some(_) => format!("its type is {}", wanted.describe()),
            None => format!("its default is {}", wanted.describe()),
        };
        let mut problem = Problem::input("config::var-value", message).at(var.place.clone(), label);
        if let Some(help) = how_to_write(wanted) {
            problem = problem.help(help);
        }
        problems.push(problem);
    }
    converted
}

fn how_to_write(wanted: VarType) -> Option<&'static str> {
    match wanted {
        VarType::List => Some("write `a,b`, or JSON: `[\"a\", \"b\"]`"),
        VarType::Map => Some("write `key=value,key=value`, or JSON: `{\"key\": \"value\"}`"),
        VarType::String | VarType::Int | VarType::Number | VarType::Bool => None,
    }
}

/// The value, or the members of a list: what `one-of` and `pattern` speak about.
fn scalars(value: &VarValue) -> impl Iterator<Item = &Scalar> {
    let members = match value {
        VarValue::Scalar(_) => std::slice::from_ref(value),
        VarValue::List(members) => members,
        VarValue::Map(_) => &[],
    };
    members.iter().filter_map(VarValue::as_scalar)
}

fn check_choice(name: &str, var: &VarDeclaration, value: &VarValue, problems: &mut Vec<Problem>) {
    let Some(choices) = &var.one_of else { return };
    let texts: Vec<String> = choices.value.iter().map(Scalar::to_text).collect();
    for text in scalars(value).map(Scalar::to_text).filter(|text| !texts.contains(text)) {
        let shown = if var.is_secret { "this" } else { &format!("`{text}`") };
        let mut problem = Problem::input("config::var-value", format!("variable `{name}` cannot be {shown}"))
            .help(format!("the values are {}", keys::quoted_list(texts.iter().map(String::as_str))));
        if let Some(place) = &choices.place {
            problem = problem.at(place.clone(), "not one of these");
        }
        problems.push(problem);
    }
}

fn check_pattern(name: &str, var: &VarDeclaration, value: &VarValue, problems: &mut Vec<Problem>) {
    let Some(pattern) = &var.pattern else { return };
    for text in scalars(value).map(Scalar::to_text).filter(|text| !pattern.value.is_match(text)) {
        let shown = if var.is_secret { "this" } else { &format!("`{text}`") };
        let mut problem = Problem::input("config::var-value", format!("variable `{name}` cannot be {shown}"));
        if let Some(place) = &pattern.place {
            problem = problem.at(place.clone(), "does not match");
        }
        problems.push(match &var.help {
            Some(help) => problem.help(help.value.clone()),
            None => problem,
        });
    }
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
