//! Conversion of values to wanted types, after the rules of HCL's type system.
//!
//! Whether a conversion is possible is a question of types (`can_convert`); whether it succeeds, of the
//! value. A safe conversion always succeeds: those alone decide which type several values have in common.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::number::Number;
use super::types::{Attribute, Type};
use super::unify::unify;
use super::value::{Entries, Value};

/// What is wrong with a value, as the end of a sentence.
pub type Mismatch = String;

/// `value` as a value of `wanted`.
pub fn convert(value: &Value, wanted: &Type) -> Result<Value, Mismatch> {
    let kind = value.kind();
    if kind == *wanted || *wanted == Type::Any {
        return Ok(value.clone());
    }
    if !can_convert(&kind, wanted, Safety::Unsafe) {
        return Err(mismatch(&kind, wanted));
    }
    converted(value, wanted)
}

/// Which conversions count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// Those that cannot fail.
    Safe,
    /// Also those that depend on the value.
    Unsafe,
}

pub fn can_convert(from: &Type, to: &Type, safety: Safety) -> bool {
    let element = |from: &Type, to: &Type| from == to || can_convert(from, to, safety);
    let is_unsafe = safety == Safety::Unsafe;
    match (from, to) {
        (_, Type::Any) => true,
        (Type::Any, _) => is_unsafe,
        (Type::Number | Type::Bool, Type::String) => true,
        (Type::String, Type::Number | Type::Bool) => is_unsafe,
        (Type::Object(from), Type::Object(to)) => to.iter().all(|(name, wanted)| match from.get(name) {
            Some(attribute) => element(&attribute.kind, &wanted.kind),
            None => wanted.is_optional,
        }),
        (Type::Tuple(from), Type::Tuple(to)) => {
            from.len() == to.len() && from.iter().zip(to.iter()).all(|(from, to)| element(from, to))
        }
        (Type::List(from) | Type::Set(from), Type::List(to)) => element(from, to),
        (Type::Set(from), Type::Set(to)) => element(from, to),
        (Type::List(from), Type::Set(to)) => is_unsafe && element(from, to),
        (Type::Map(from), Type::Map(to)) => element(from, to),
        (Type::Tuple(from), Type::List(to) | Type::Set(to)) => {
            can_share(&from.iter().cloned().collect::<Vec<_>>(), to, safety)
        }
        (Type::Object(from), Type::Map(to)) => {
            let kinds: Vec<Type> = from.values().map(|attribute| attribute.kind.clone()).collect();
            can_share(&kinds, to, safety)
        }
        (Type::Map(from), Type::Object(to)) => {
            is_unsafe && to.values().all(|wanted| wanted.is_optional || element(from, &wanted.kind))
        }
        _ => false,
    }
}

/// Whether values of all these types can be elements of one type.
fn can_share(kinds: &[Type], element: &Type, safety: Safety) -> bool {
    if *element == Type::Any && !kinds.is_empty() {
        return unify(kinds, safety).is_some();
    }
    kinds.iter().all(|kind| kind == element || can_convert(kind, element, safety))
}

/// The conversion proper, of types that can be converted.
fn converted(value: &Value, wanted: &Type) -> Result<Value, Mismatch> {
    let kind = value.kind();
    if *wanted == Type::Any || kind == *wanted {
        return Ok(value.clone());
    }
    if value.is_null() {
        return Ok(Value::Null(filled(&kind, &wanted.without_optional())));
    }
    match (value, wanted) {
        (Value::Number(number), Type::String) => Ok(Value::from(number.to_string())),
        (Value::Bool(value), Type::String) => Ok(Value::from(if *value { "true" } else { "false" })),
        (Value::String(text), Type::Number) => {
            Number::parse(text).map(Value::Number).ok_or_else(|| "a number is required".to_string())
        }
        (Value::String(text), Type::Bool) => bool_of(text).map(Value::Bool),
        (_, Type::List(element)) => {
            let (element, elements) = shared_elements(value, element)?;
            Ok(Value::list(element, elements))
        }
        (_, Type::Set(element)) => {
            let (element, elements) = shared_elements(value, element)?;
            Ok(Value::set(element, elements))
        }
        (_, Type::Map(element)) => shared_entries(value, element),
        (Value::Tuple(elements), Type::Tuple(kinds)) => {
            let pairs = elements.iter().zip(kinds.iter());
            let elements: Result<_, _> = pairs.map(|(value, kind)| convert(value, kind)).collect();
            Ok(Value::tuple(elements?))
        }
        (Value::Object(entries) | Value::Map(_, entries), Type::Object(attributes)) => {
            object_of(entries, attributes)
        }
        _ => Err(mismatch(&kind, wanted)),
    }
}

fn bool_of(text: &str) -> Result<bool, Mismatch> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => match text.to_ascii_lowercase().as_str() {
            word @ ("true" | "false") => {
                Err(format!("a bool is required; to convert from string, use lowercase \"{word}\""))
            }
            _ => Err("a bool is required".to_string()),
        },
    }
}

/// The elements of `value` as elements of one type: the wanted one, or the one they have in common.
fn shared_elements(value: &Value, wanted: &Type) -> Result<(Type, Vec<Value>), Mismatch> {
    let kind = value.kind();
    let elements = value.elements().ok_or_else(|| mismatch(&kind, &Type::list(wanted.clone())))?;
    let element = common_element(elements, kind.element(), wanted)?;
    let converted: Result<Vec<Value>, _> = elements.iter().map(|value| convert(value, &element)).collect();
    let converted = converted?;
    Ok((settled(&converted, &element), converted))
}

fn shared_entries(value: &Value, wanted: &Type) -> Result<Value, Mismatch> {
    let kind = value.kind();
    let entries = value.entries().ok_or_else(|| mismatch(&kind, &Type::map(wanted.clone())))?;
    let values: Vec<Value> = entries.values().cloned().collect();
    let element = common_element(&values, kind.element(), wanted)?;
    let mut converted = Entries::new();
    for (name, value) in entries {
        converted
            .insert(name.clone(), convert(value, &element).map_err(|e| format!("element \"{name}\": {e}"))?);
    }
    let values: Vec<Value> = converted.values().cloned().collect();
    Ok(Value::map(settled(&values, &element), converted))
}

fn common_element(elements: &[Value], own: Option<&Type>, wanted: &Type) -> Result<Type, Mismatch> {
    if *wanted != Type::Any {
        return Ok(wanted.clone());
    }
    if let Some(own) = own {
        return Ok(own.clone());
    }
    let kinds: Vec<Type> = elements.iter().map(Value::kind).collect();
    if kinds.is_empty() {
        return Ok(Type::Any);
    }
    unify(&kinds, Safety::Unsafe).ok_or_else(|| "all elements must have the same type".to_string())
}

/// The element type of what a conversion gave: constraints such as `list(any)` leave it to the values.
fn settled(elements: &[Value], element: &Type) -> Type {
    elements.first().map_or_else(|| element.without_optional(), Value::kind)
}

fn object_of(entries: &Entries, attributes: &BTreeMap<Rc<str>, Attribute>) -> Result<Value, Mismatch> {
    let mut converted = Entries::new();
    for (name, attribute) in attributes {
        let value = match entries.get(name) {
            Some(value) => {
                convert(value, &attribute.kind).map_err(|error| format!("attribute \"{name}\": {error}"))?
            }
            None if attribute.is_optional => Value::Null(attribute.kind.without_optional()),
            None => return Err(format!("attribute \"{name}\" is required")),
        };
        converted.insert(name.clone(), value);
    }
    Ok(Value::object(converted))
}

/// `wanted` with what it leaves open taken from `own`.
fn filled(own: &Type, wanted: &Type) -> Type {
    if *wanted == Type::Any { own.clone() } else { wanted.clone() }
}

/// Why no value of `from` is one of `to`, in words.
pub fn mismatch(from: &Type, to: &Type) -> Mismatch {
    match (from, to) {
        (Type::Object(from), Type::Object(to)) => {
            let missing: Vec<String> = to
                .iter()
                .filter(|(name, attribute)| !attribute.is_optional && !from.contains_key(*name))
                .map(|(name, _)| format!("\"{name}\""))
                .collect();
            match missing.as_slice() {
                [] => wrong_attribute(from, to).unwrap_or_else(|| "object required".to_string()),
                [one] => format!("attribute {one} is required"),
                more => format!("attributes {} are required", more.join(", ")),
            }
        }
        (Type::Tuple(_), Type::Tuple(to)) => format!("tuple of {} elements required", to.len()),
        (Type::Tuple(kinds), Type::List(element) | Type::Set(element)) => {
            let wrong =
                kinds.iter().enumerate().find(|(_, kind)| !can_convert(kind, element, Safety::Unsafe));
            match wrong {
                Some((index, kind)) if **element != Type::Any => {
                    format!("element {index}: {}", mismatch(kind, element))
                }
                _ => "all elements must have the same type".to_string(),
            }
        }
        (Type::Object(kinds), Type::Map(element)) => {
            let wrong = kinds.iter().find(|(_, kind)| !can_convert(&kind.kind, element, Safety::Unsafe));
            match wrong {
                Some((name, kind)) if **element != Type::Any => {
                    format!("element \"{name}\": {}", mismatch(&kind.kind, element))
                }
                _ => "all map elements must have the same type".to_string(),
            }
        }
        (from, to) => format!("{} required, but this is {}", to.name(), with_article(&from.name())),
    }
}

fn wrong_attribute(
    from: &BTreeMap<Rc<str>, Attribute>,
    to: &BTreeMap<Rc<str>, Attribute>,
) -> Option<Mismatch> {
    to.iter().find_map(|(name, wanted)| {
        let own = from.get(name)?;
        let fits = own.kind == wanted.kind || can_convert(&own.kind, &wanted.kind, Safety::Unsafe);
        (!fits).then(|| format!("attribute \"{name}\": {}", mismatch(&own.kind, &wanted.kind)))
    })
}

fn with_article(name: &str) -> String {
    let article = if name.starts_with(['a', 'e', 'i', 'o']) { "an" } else { "a" };
    format!("{article} {name}")
}
