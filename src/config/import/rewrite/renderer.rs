//! Templates rendered with the values that variables have by default: the proof of a translation.

use std::path::PathBuf;
use std::sync::Arc;

use minijinja::Environment;
use minijinja::value::Value;

use crate::config::budget::Budget;
use crate::config::import::hcl;
use crate::config::template::{Scope, Templates, Unset};
use crate::config::text::{File, Text};
use crate::config::value::{Scalar, VarValue};
use crate::diag::Source;

pub struct Renderer<'e> {
    templates: Templates<'e>,
    vars: Value,
}

impl<'e> Renderer<'e> {
    pub fn new(environment: &'e Environment<'static>, vars: &[(String, VarValue)], budget: Budget) -> Self {
        let vars = Value::from_pairs(vars.iter().map(|(name, value)| (name.as_str(), Value::from(value))));
        Self { templates: Templates::new(environment, Unset::new(), budget), vars }
    }

    /// What a string comes to in a target.
    pub fn render(&self, text: &str, target: &str, matrix: Option<&Value>) -> Option<String> {
        let text = placeless(text);
        let rendered = self.templates.render(&text, &self.scope(target, matrix)).ok()?;
        Some(rendered.into_owned())
    }

    pub fn holds(&self, condition: &str) -> bool {
        self.templates.holds(&placeless(condition), &self.scope("", None)).unwrap_or(false)
    }

    fn scope(&self, target: &str, matrix: Option<&Value>) -> Scope {
        let target = Value::from_pairs([("name", Value::from(target))]);
        let matrix = matrix.map(|matrix| ("matrix", matrix.clone()));
        Scope::new([("vars", self.vars.clone()), ("target", target)].into_iter().chain(matrix))
    }
}

fn placeless(text: &str) -> Text {
    let file = File { source: Source::new("", text), directory: PathBuf::from("/"), is_literal: false };
    Text::new(text, &Arc::new(file), 0..text.len())
}

/// The value as a variable has it; nothing for what no variable can have.
pub fn var_value(value: &hcl::Value) -> Option<VarValue> {
    use hcl::Value as Hcl;
    Some(match value {
        Hcl::Null(_) => return None,
        Hcl::Bool(flag) => VarValue::Scalar(Scalar::Boolean(*flag)),
        Hcl::Number(number) => match number.to_i64() {
            Some(whole) => VarValue::Scalar(Scalar::Integer(whole)),
            None => VarValue::text(number.to_string()),
        },
        Hcl::String(text) => VarValue::text(&**text),
        Hcl::List(_, members) | Hcl::Set(_, members) | Hcl::Tuple(members) => {
            VarValue::List(members.iter().map(var_value).collect::<Option<_>>()?)
        }
        Hcl::Map(_, members) | Hcl::Object(members) => VarValue::Map(
            members
                .iter()
                .map(|(key, member)| Some((key.to_string(), var_value(member)?)))
                .collect::<Option<_>>()?,
        ),
    })
}
