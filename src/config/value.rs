//! The values that variables have and their types: what a text from outside means for each.
//!
//! A list comes from outside as JSON or with commas between its members, a map as JSON or as `key=value`
//! with commas between. Numbers with a fraction stay texts, so that `1.20` does not become `1.2`.

use std::collections::BTreeMap;

use minijinja::value::{Value, ValueKind};

/// One value without parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    Text(String),
    Integer(i64),
    Boolean(bool),
}

/// The value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VarValue {
    Scalar(Scalar),
    List(Vec<VarValue>),
    Map(BTreeMap<String, VarValue>),
}

/// The type of a variable: the one it declares, or that of its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VarType {
    String,
    Int,
    /// A number as it is written, whole or not.
    Number,
    Bool,
    List,
    Map,
}

/// The names of the types in the file.
pub const VAR_TYPES: &[(&str, VarType)] = &[
    ("string", VarType::String),
    ("int", VarType::Int),
    ("number", VarType::Number),
    ("bool", VarType::Bool),
    ("list", VarType::List),
    ("map", VarType::Map),
];

/// Values may hold values this deep.
pub const DEEPEST_VALUE: usize = 16;

impl Scalar {
    /// The value as a template renders it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Boolean(boolean) => boolean.to_string(),
        }
    }
}

impl VarValue {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Scalar(Scalar::Text(text.into()))
    }

    /// How many values it is, with all its members; long texts count as several.
    pub fn size(&self) -> usize {
        1 + match self {
            Self::Scalar(Scalar::Text(text)) => text.len() / 256,
            Self::Scalar(Scalar::Integer(_) | Scalar::Boolean(_)) => 0,
            Self::List(members) => members.iter().map(Self::size).sum(),
            Self::Map(members) => members.values().map(Self::size).sum(),
        }
    }

    pub fn as_scalar(&self) -> Option<&Scalar> {
        match self {
            Self::Scalar(scalar) => Some(scalar),
            Self::List(_) | Self::Map(_) => None,
        }
    }
}

impl VarType {
    /// The type of a variable that declares none.
    pub fn of(value: &VarValue) -> Self {
        match value {
            VarValue::Scalar(Scalar::Text(_)) => Self::String,
            VarValue::Scalar(Scalar::Integer(_)) => Self::Int,
            VarValue::Scalar(Scalar::Boolean(_)) => Self::Bool,
            VarValue::List(_) => Self::List,
            VarValue::Map(_) => Self::Map,
        }
    }

    /// What a value of the type is, for messages.
    pub fn describe(self) -> &'static str {
        match self {
            Self::String => "a text",
            Self::Int => "a whole number",
            Self::Number => "a number",
            Self::Bool => "`true` or `false`",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }

    /// A value written in the file, if it is of this type.
    pub fn accept(self, value: VarValue) -> Option<VarValue> {
        let fits = match (&value, self) {
            (VarValue::Scalar(Scalar::Text(_)), Self::String) => true,
            (VarValue::Scalar(Scalar::Text(text)), Self::Number) => is_number(text),
            (VarValue::Scalar(Scalar::Integer(number)), Self::Number) => {
                return Some(VarValue::text(number.to_string()));
            }
            (VarValue::Scalar(Scalar::Integer(_)), Self::Int)
            | (VarValue::Scalar(Scalar::Boolean(_)), Self::Bool)
            | (VarValue::List(_), Self::List)
            | (VarValue::Map(_), Self::Map) => true,
            (VarValue::Scalar(_) | VarValue::List(_) | VarValue::Map(_), _) => false,
        };
        fits.then_some(value)
    }

    /// What `text` from the command line or the environment means; `None` when it is not of the type.
    pub fn parse(self, text: &str) -> Option<VarValue> {
        match self {
            Self::String => Some(VarValue::text(text)),
            Self::Int => text.trim().parse().ok().map(|number| VarValue::Scalar(Scalar::Integer(number))),
            Self::Number => is_number(text.trim()).then(|| VarValue::text(text.trim())),
            Self::Bool => match text.trim() {
                // As environments have it.
                "true" | "1" => Some(VarValue::Scalar(Scalar::Boolean(true))),
                "false" | "0" => Some(VarValue::Scalar(Scalar::Boolean(false))),
                _ => None,
            },
            Self::List if text.trim_start().starts_with('[') => from_json(text),
            Self::List => Some(VarValue::List(fields(text).map(VarValue::text).collect())),
            Self::Map if text.trim_start().starts_with('{') => from_json(text),
            Self::Map => fields(text)
                .map(|field| {
                    let (key, value) = field.split_once('=')?;
                    Some((key.trim().to_string(), VarValue::text(value.trim())))
                })
                .collect::<Option<BTreeMap<_, _>>>()
                .map(VarValue::Map),
        }
    }
}

/// What stands between commas, without blanks around it; nothing in an empty text.
fn fields(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|field| !field.is_empty())
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(f64::is_finite) && text.ends_with(|c: char| c.is_ascii_digit() || c == '.')
}

fn from_json(text: &str) -> Option<VarValue> {
    of_json(&serde_json::from_str(text).ok()?, 0)
}

fn of_json(value: &serde_json::Value, depth: usize) -> Option<VarValue> {
    use serde_json::Value as Json;
    if depth > DEEPEST_VALUE {
        return None;
    }
    Some(match value {
        Json::Null => return None,
        Json::Bool(boolean) => VarValue::Scalar(Scalar::Boolean(*boolean)),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => VarValue::Scalar(Scalar::Integer(whole)),
            None => VarValue::text(number.to_string()),
        },
        Json::String(text) => VarValue::text(text),
        Json::Array(members) => {
            VarValue::List(members.iter().map(|member| of_json(member, depth + 1)).collect::<Option<_>>()?)
        }
        Json::Object(members) => VarValue::Map(
            members
                .iter()
                .map(|(key, member)| Some((key.clone(), of_json(member, depth + 1)?)))
                .collect::<Option<_>>()?,
        ),
    })
}

impl VarValue {
    /// What an expression came to; `None` for what no variable can have, such as nothing or a function.
    pub fn of(value: &Value, depth: usize) -> Option<Self> {
        if depth > DEEPEST_VALUE {
            return None;
        }
        Some(match value.kind() {
            ValueKind::Bool => Self::Scalar(Scalar::Boolean(value.is_true())),
            ValueKind::Number => match i64::try_from(value.clone()) {
                Ok(whole) => Self::Scalar(Scalar::Integer(whole)),
                Err(_) => Self::text(value.to_string()),
            },
            ValueKind::String => Self::text(value.as_str()?),
            ValueKind::Seq | ValueKind::Iterable => {
                let members = value.try_iter().ok()?;
                Self::List(members.map(|member| Self::of(&member, depth + 1)).collect::<Option<_>>()?)
            }
            ValueKind::Map => {
                let keys = value.try_iter().ok()?;
                let member = |key: Value| {
                    let member = value.get_item(&key).ok()?;
                    Some((key.as_str()?.to_string(), Self::of(&member, depth + 1)?))
                };
                Self::Map(keys.map(member).collect::<Option<_>>()?)
            }
            _ => return None,
        })
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

impl From<&VarValue> for Value {
    fn from(value: &VarValue) -> Self {
        match value {
            VarValue::Scalar(scalar) => Value::from(scalar),
            VarValue::List(members) => members.iter().map(Value::from).collect(),
            VarValue::Map(members) => {
                Value::from_pairs(members.iter().map(|(key, member)| (key.as_str(), Value::from(member))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_from_outside_become_values() {
        let integer = |number| VarValue::Scalar(Scalar::Integer(number));
        let list =
            |members: &[&str]| VarValue::List(members.iter().map(|text| VarValue::text(*text)).collect());
        let map = |members: &[(&str, VarValue)]| {
            VarValue::Map(members.iter().map(|(key, value)| (key.to_string(), value.clone())).collect())
        };
        for (kind, text, expected) in [
            (VarType::String, " a ", Some(VarValue::text(" a "))),
            (VarType::Int, "12", Some(integer(12))),
            (VarType::Int, "1.5", None),
            (VarType::Number, "1.20", Some(VarValue::text("1.20"))),
            (VarType::Number, "NaN", None),
            (VarType::Number, "infinity", None),
            (VarType::Bool, "true", Some(VarValue::Scalar(Scalar::Boolean(true)))),
            (VarType::Bool, "1", Some(VarValue::Scalar(Scalar::Boolean(true)))),
            (VarType::Bool, "yes", None),
            (VarType::List, "", Some(list(&[]))),
            (VarType::List, "a, b", Some(list(&["a", "b"]))),
            (VarType::List, "[\"a,b\", 1]", Some(VarValue::List(vec![VarValue::text("a,b"), integer(1)]))),
            (VarType::List, "[1", None),
            (
                VarType::Map,
                "a=1, b=x=y",
                Some(map(&[("a", VarValue::text("1")), ("b", VarValue::text("x=y"))])),
            ),
            (VarType::Map, "{\"a\": 1}", Some(map(&[("a", integer(1))]))),
            (VarType::Map, "a", None),
            (VarType::List, &"[".repeat(200), None),
        ] {
            assert_eq!(kind.parse(text), expected, "{kind:?} {text}");
        }
    }
}
