//! Values of variables: types, and what the environment and `--var` make of them.

use std::collections::BTreeMap;

use super::definitions::Definitions;
use crate::config::import::entries::{fields, is_true};
use crate::config::import::hcl::{Entries, Environment, Number, Type, Value, convert, from_json, to_json};
use crate::config::variable::Variable;
use crate::diag::Place;

/// Where variables get their values besides their files.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// `--var NAME=VALUE`
    pub vars: BTreeMap<String, String>,
    /// Empty when `BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP` says so.
    pub environment: BTreeMap<String, String>,
    /// Variables that bake itself sets.
    pub builtins: BTreeMap<String, String>,
}

/// A value from outside.
pub struct Override<'g> {
    pub text: &'g str,
    /// It came by the name with `_JSON` behind it.
    pub is_json: bool,
}

impl Given {
    pub fn lookup(&self, name: &str) -> Option<&str> {
        self.vars.get(name).or_else(|| self.environment.get(name)).map(String::as_str)
    }

    /// The value that overrides a default. Typed variables prefer `NAME_JSON`, unless there is a variable
    /// of that name.
    pub fn value(
        &self,
        name: &str,
        is_typed: bool,
        is_variable: impl Fn(&str) -> bool,
    ) -> Option<Override<'_>> {
        let plain = self.lookup(name);
        if plain.is_none() || is_typed {
            let json_name = format!("{name}_JSON");
            let is_taken = is_variable(&json_name) || self.builtins.contains_key(&json_name);
            if let Some(text) = self.lookup(&json_name).filter(|_| !is_taken) {
                return Some(Override { text, is_json: true });
            }
        }
        plain.map(|text| Override { text, is_json: false })
    }
}

/// The value that a text gives a variable. `declared` is its type if it has one; otherwise the default
/// decides, and without default it is text.
pub fn read(given: &Override<'_>, declared: Option<&Type>, default: Option<&Value>) -> Result<Value, String> {
    match declared {
        Some(kind) if given.is_json => convert(&from_json(given.text)?, kind),
        Some(kind @ (Type::List(_) | Type::Set(_) | Type::Tuple(_) | Type::Map(_))) => {
            from_csv(given.text, kind)
        }
        Some(kind) if kind.is_primitive() => primitive(given.text, kind),
        Some(kind) => Err(format!("a {} can only be given as JSON, in `NAME_JSON`", kind.name())),
        None => match default.map(Value::kind) {
            None | Some(Type::Any) => Ok(Value::from(given.text)),
            Some(kind) if kind.is_primitive() => primitive(given.text, &kind),
            Some(kind) => {
                Err(format!("a {} can only be given from outside if the variable has a `type`", kind.name()))
            }
        },
    }
}

fn primitive(text: &str, kind: &Type) -> Result<Value, String> {
    match kind {
        Type::String => Ok(Value::from(text)),
        Type::Bool => {
            is_true(text).map(Value::Bool).ok_or_else(|| format!("`{text}` is neither true nor false"))
        }
        Type::Number => {
            let number = text.parse::<f64>().ok().and_then(Number::from_f64);
            number.map(Value::Number).ok_or_else(|| format!("`{text}` is not a number"))
        }
        other => Err(format!("a {} cannot be given as text", other.name())),
    }
}

fn from_csv(text: &str, kind: &Type) -> Result<Value, String> {
    let fields = fields(text)?;
    let element = |kind: &Type| {
        if kind.is_primitive() {
            Ok(kind.clone())
        } else {
            Err("only lists of texts, numbers and bools can be given as CSV".to_string())
        }
    };
    let all = |kind: &Type| -> Result<Vec<Value>, String> {
        fields.iter().map(|field| primitive(field, kind)).collect()
    };
    match kind {
        Type::List(kind) => Ok(Value::list(element(kind)?, all(kind)?)),
        Type::Set(kind) => Ok(Value::set(element(kind)?, all(kind)?)),
        Type::Tuple(kinds) => {
            if kinds.len() != fields.len() {
                return Err(format!("{} elements are required, not {}", kinds.len(), fields.len()));
            }
            let pairs = kinds.iter().zip(&fields);
            let values: Result<_, String> =
                pairs.map(|(kind, field)| primitive(field, &element(kind)?)).collect();
            Ok(Value::tuple(values?))
        }
        Type::Map(kind) => {
            let kind = element(kind)?;
            let mut entries = Entries::new();
            for field in &fields {
                let (key, value) = field
                    .split_once(':')
                    .ok_or_else(|| format!("`{field}` is not of the form `key:value`"))?;
                let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                entries.insert(key.into(), primitive(unquoted.unwrap_or(value), &kind)?);
            }
            Ok(Value::map(kind, entries))
        }
        other => Err(format!("a {} cannot be given as CSV", other.name())),
    }
}

/// The variables of the environment that give variables of the files their values, and whose.
pub fn asked(definitions: &Definitions, given: &Given) -> BTreeMap<String, Option<Place>> {
    let asked = definitions.variables.iter().filter_map(|(name, variable)| {
        let is_typed = variable.body.attribute("type").is_some();
        let found = given.value(name, is_typed, |name| definitions.variables.contains_key(name))?;
        let name = if found.is_json { format!("{name}_JSON") } else { name.to_string() };
        (!given.vars.contains_key(&name)).then(|| (name, Some(variable.place.clone())))
    });
    asked.collect()
}

/// The variables of the files as lists show them.
pub fn listed(definitions: &Definitions, environment: &Environment) -> Vec<Variable> {
    let listed = definitions.variables.iter().map(|(name, variable)| {
        let text = |attribute: &str| {
            let attribute = variable.body.attribute(attribute)?;
            variable.source.text.get(attribute.value.span.clone()).map(str::to_string)
        };
        let described = text("description").map(|quoted| quoted.trim_matches('"').to_string());
        let value = environment.variables.get(name).map(|value| match value {
            Value::String(text) => text.to_string(),
            other => to_json(other),
        });
        Variable {
            name: name.to_string(),
            description: described,
            kind: text("type"),
            value,
            is_secret: false,
        }
    });
    listed.collect()
}
