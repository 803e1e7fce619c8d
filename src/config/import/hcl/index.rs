//! Members of values: `value.name` and `value[key]`.

use super::convert::convert;
use super::types::Type;
use super::value::Value;
use crate::diag::nearest;

/// Why there is no such member.
#[derive(Debug)]
pub struct NoMember {
    pub message: String,
    pub label: String,
}

fn no_member(message: impl Into<String>, label: &str) -> NoMember {
    NoMember { message: message.into(), label: label.to_string() }
}

/// `value.name`
pub fn attribute(value: &Value, name: &str) -> Result<Value, NoMember> {
    if value.is_null() {
        return Err(no_member(format!("a null value has no attribute `{name}`"), "null"));
    }
    let Some(entries) = value.entries() else {
        let kind = value.kind();
        let message = format!("a {} has no attribute `{name}`", kind.name());
        return Err(no_member(message, "no attributes"));
    };
    entries.get(name).cloned().ok_or_else(|| {
        let near = nearest(name, entries.keys().map(|key| &**key));
        let near = near.map(|near| format!("did you mean `{near}`?"));
        no_member(format!("there is no attribute `{name}`"), near.as_deref().unwrap_or("not there"))
    })
}

/// `value[key]`
pub fn index(value: &Value, key: &Value) -> Result<Value, NoMember> {
    if value.is_null() {
        return Err(no_member("a null value has no elements", "null"));
    }
    if key.is_null() {
        return Err(no_member("the index is null", "null"));
    }
    match value {
        Value::List(_, elements) | Value::Tuple(elements) => {
            let Ok(Value::Number(number)) = convert(key, &Type::Number) else {
                return Err(no_member("the index of an element must be a number", "not a number"));
            };
            let element = number.to_usize().and_then(|at| elements.get(at)).cloned();
            element.ok_or_else(|| {
                let message = format!("there is no element {number}; there are {}", elements.len());
                no_member(message, "no such element")
            })
        }
        Value::Map(_, entries) | Value::Object(entries) => {
            let Ok(Value::String(name)) = convert(key, &Type::String) else {
                return Err(no_member("the key must be text", "not text"));
            };
            entries
                .get(&name)
                .cloned()
                .ok_or_else(|| no_member(format!("there is no entry with the key `{name}`"), "no such entry"))
        }
        Value::Set(..) => Err(no_member("the elements of a set have no index", "a set")),
        Value::Null(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(no_member(format!("a {} has no elements", value.kind().name()), "no elements"))
        }
    }
}
