//! The variables of a build file as lists show them, our own and those of bake files.

use std::collections::BTreeMap;

use super::declare::VarDeclaration;
use super::load::Loaded;
use super::value::{Scalar, VAR_TYPES, VarValue};
use super::vars;
use crate::diag::Problem;
use crate::facts::Facts;

/// One variable and what it comes to in this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    pub description: Option<String>,
    /// The name of its type.
    pub kind: Option<String>,
    /// As text; lists and maps as JSON. `None` when it has no value.
    pub value: Option<String>,
    /// Its value is not shown.
    pub is_secret: bool,
}

/// The variables of multiarch.toml, by name. `overrides` are those of `--var`.
pub fn variables(
    loaded: &Loaded,
    facts: &Facts,
    overrides: &BTreeMap<String, String>,
) -> Result<Vec<Variable>, Vec<Problem>> {
    let mut problems = loaded.problems.clone();
    let vars = vars::resolve(&loaded.declared.vars, overrides, &facts.environment, &mut problems);
    if problems.iter().any(Problem::is_error) {
        return Err(problems);
    }
    let listed = loaded.declared.vars.iter().map(|(name, declared)| Variable {
        name: name.clone(),
        description: declared.help.as_ref().map(|help| help.value.clone()),
        kind: type_name(declared),
        is_secret: vars.secrets.contains_key(name),
        value: match vars.secrets.contains_key(name) {
            true => Some("***".to_string()),
            false => vars.values.get(name).map(shown),
        },
    });
    Ok(listed.collect())
}

fn type_name(declared: &VarDeclaration) -> Option<String> {
    let wanted = declared.value_type();
    VAR_TYPES.iter().find(|(_, kind)| *kind == wanted).map(|(name, _)| name.to_string())
}

fn shown(value: &VarValue) -> String {
    match value {
        VarValue::Scalar(scalar) => scalar.to_text(),
        VarValue::List(_) | VarValue::Map(_) => json(value).to_string(),
    }
}

fn json(value: &VarValue) -> serde_json::Value {
    match value {
        VarValue::Scalar(Scalar::Text(text)) => text.as_str().into(),
        VarValue::Scalar(Scalar::Integer(number)) => (*number).into(),
        VarValue::Scalar(Scalar::Boolean(boolean)) => (*boolean).into(),
        VarValue::List(members) => members.iter().map(json).collect(),
        VarValue::Map(members) => members.iter().map(|(name, member)| (name.clone(), json(member))).collect(),
    }
}
