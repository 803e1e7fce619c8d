//! Lists, tuples, maps and objects.

use super::super::convert::{Safety, convert};
use super::super::index::index as element_at;
use super::super::number::Number as Decimal;
use super::super::operators::equal;
use super::super::types::Type;
use super::super::unify::unify;
use super::super::value::{Entries, Value};
use super::Parameter::{Any, List, Nullable, Number, Text, Texts};
use super::{Failure, Function, Outcome, Surroundings, blame, elements, fixed, integer, text, variadic};

pub const FUNCTIONS: &[Function] = &[
    fixed("chunklist", &[List, Number], chunks),
    variadic("coalesce", &[], Nullable, coalesce),
    variadic("coalescelist", &[], Nullable, coalesce_list),
    fixed("compact", &[Texts], |values, _| {
        let kept = elements(values, 0).iter().filter_map(Value::as_str).filter(|item| !item.is_empty());
        Ok(Value::strings(kept))
    }),
    variadic("concat", &[], Any, concat),
    fixed("contains", &[Any, Any], |values, _| {
        let items = values[0].elements().ok_or_else(|| blame(0, "a list, tuple or set is required"))?;
        Ok(Value::Bool(items.iter().any(|item| equal(item, &values[1]))))
    }),
    fixed("distinct", &[List], distinct),
    fixed("element", &[Any, Number], element),
    fixed("flatten", &[Any], |values, _| {
        let items = values[0].elements().ok_or_else(|| blame(0, "a list, set or tuple is required"))?;
        let mut flat = Vec::new();
        flatten(items, &mut flat);
        Ok(Value::tuple(flat))
    }),
    fixed("hasindex", &[Any, Any], |values, _| Ok(Value::Bool(has_index(&values[0], &values[1])?))),
    fixed("index", &[Any, Any], |values, _| {
        if !has_index(&values[0], &values[1])? {
            return Err(blame(1, "there is no such index"));
        }
        element_at(&values[0], &values[1]).map_err(|wrong| blame(1, wrong.message))
    }),
    fixed("indexof", &[Any, Any], index_of),
    fixed("keys", &[Any], keys),
    fixed("length", &[Any], |values, _| {
        let counted = !matches!(values[0], Value::Object(_));
        let length = values[0].length().filter(|_| counted);
        let length = length.ok_or_else(|| blame(0, "a list, a map or a tuple is required"))?;
        Ok(Value::Number(Decimal::from(length)))
    }),
    fixed("lookup", &[Any, Text, Any], lookup),
    variadic("merge", &[], Nullable, merge),
    fixed("reverselist", &[Any], |values, _| {
        let mut items = elements(values, 0).to_vec();
        items.reverse();
        match &values[0] {
            Value::Tuple(_) => Ok(Value::tuple(items)),
            Value::List(kind, _) | Value::Set(kind, _) => Ok(Value::list(kind.clone(), items)),
            other => Err(blame(0, format!("a list or tuple is required, not a {}", other.kind().name()))),
        }
    }),
    fixed("slice", &[Any, Number, Number], slice),
    fixed("values", &[Any], |values, _| {
        let entries = entries_of(&values[0])?;
        let found: Vec<Value> = entries.values().cloned().collect();
        Ok(match &values[0] {
            Value::Map(kind, _) => Value::list(kind.clone(), found),
            _ => Value::tuple(found),
        })
    }),
    fixed("zipmap", &[Texts, Any], zip),
];

fn entries_of(value: &Value) -> Result<&Entries, Failure> {
    value.entries().ok_or_else(|| blame(0, "a map or object is required"))
}

fn chunks(values: &[Value], _: &Surroundings) -> Outcome {
    let (items, kind) = (elements(values, 0), values[0].kind());
    let size = usize::try_from(integer(values, 1)?).map_err(|_| blame(1, "the size must not be negative"))?;
    if items.is_empty() {
        return Ok(Value::list(kind, Vec::new()));
    }
    let element = kind.element().cloned().unwrap_or(Type::Any);
    let chunks = items.chunks(if size == 0 { items.len() } else { size });
    Ok(Value::list(kind, chunks.map(|chunk| Value::list(element.clone(), chunk.to_vec())).collect()))
}

fn coalesce(values: &[Value], _: &Surroundings) -> Outcome {
    let kinds: Vec<Type> = values.iter().map(Value::kind).filter(|kind| *kind != Type::Any).collect();
    let kind = if kinds.is_empty() { Some(Type::Any) } else { unify(&kinds, Safety::Unsafe) };
    let kind = kind.ok_or("all arguments must have the same type")?;
    for (index, value) in values.iter().enumerate() {
        if !value.is_null() {
            return convert(value, &kind).map_err(|message| blame(index, message));
        }
    }
    Err("all arguments are null".into())
}

fn coalesce_list(values: &[Value], _: &Surroundings) -> Outcome {
    for (index, value) in values.iter().enumerate() {
        match value {
            Value::Null(Type::List(_) | Type::Tuple(_)) => {}
            Value::List(_, items) | Value::Tuple(items) if items.is_empty() => {}
            Value::List(..) | Value::Tuple(_) => return Ok(value.clone()),
            _ => return Err(blame(index, "a list or tuple is required")),
        }
    }
    Err("no argument has elements".into())
}

fn concat(values: &[Value], _: &Surroundings) -> Outcome {
    if values.is_empty() {
        return Err("it takes at least one argument".into());
    }
    let mut all = Vec::new();
    for (index, value) in values.iter().enumerate() {
        match value {
            Value::List(_, items) | Value::Tuple(items) => all.extend(items.iter().cloned()),
            other => {
                return Err(blame(
                    index,
                    format!("a list or tuple is required, not a {}", other.kind().name()),
                ));
            }
        }
    }
    let kinds: Vec<Type> = values.iter().map(Value::kind).collect();
    if kinds.iter().all(|kind| matches!(kind, Type::List(_)))
        && let Some(common) = unify(&kinds, Safety::Unsafe)
    {
        return convert(&Value::tuple(all), &common).map_err(Failure::from);
    }
    Ok(Value::tuple(all))
}

fn distinct(values: &[Value], _: &Surroundings) -> Outcome {
    let mut kept: Vec<Value> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for item in elements(values, 0) {
        let is_new = match item.as_str() {
            Some(text) => seen.insert(text),
            None => !kept.iter().any(|known| equal(known, item)),
        };
        if is_new {
            kept.push(item.clone());
        }
    }
    let kind = values[0].kind().element().cloned().unwrap_or(Type::Any);
    Ok(Value::list(kind, kept))
}

fn element(values: &[Value], _: &Surroundings) -> Outcome {
    let (Value::List(_, items) | Value::Tuple(items)) = &values[0] else {
        return Err(blame(0, format!("a {} has no elements to read", values[0].kind().name())));
    };
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    if length == 0 {
        return Err(blame(0, "the list is empty"));
    }
    let at = integer(values, 1)?.rem_euclid(length);
    Ok(items[usize::try_from(at).unwrap_or(0)].clone())
}

fn flatten(items: &[Value], flat: &mut Vec<Value>) {
    for item in items {
        match item.elements() {
            Some(inner) => flatten(inner, flat),
            None => flat.push(item.clone()),
        }
    }
}

fn has_index(collection: &Value, key: &Value) -> Result<bool, Failure> {
    match (collection, key) {
        (Value::List(..) | Value::Tuple(_), Value::Number(_)) | (Value::Map(..), Value::String(_)) => {
            Ok(element_at(collection, key).is_ok())
        }
        (Value::List(..) | Value::Tuple(_) | Value::Map(..), _) => Ok(false),
        _ => Err(blame(0, "a list, a map or a tuple is required")),
    }
}

fn index_of(values: &[Value], _: &Surroundings) -> Outcome {
    let (Value::List(_, items) | Value::Tuple(items)) = &values[0] else {
        return Err(blame(0, "a list or tuple is required"));
    };
    let found = items.iter().position(|item| equal(item, &values[1]));
    found.map(|at| Value::Number(Decimal::from(at))).ok_or_else(|| "the list has no such element".into())
}

fn keys(values: &[Value], _: &Surroundings) -> Outcome {
    let names = entries_of(&values[0])?.keys().map(|name| Value::String(name.clone()));
    Ok(match &values[0] {
        Value::Map(..) => Value::strings(names),
        _ => Value::tuple(names.collect()),
    })
}

fn lookup(values: &[Value], _: &Surroundings) -> Outcome {
    let found = entries_of(&values[0])?.get(text(values, 1));
    match (&values[0], found) {
        (_, Some(value)) => Ok(value.clone()),
        (Value::Map(kind, _), None) => convert(&values[2], kind)
            .map_err(|_| blame(2, "the default must have the type of the map's elements")),
        _ => Ok(values[2].clone()),
    }
}

fn merge(values: &[Value], _: &Surroundings) -> Outcome {
    let mut merged = Entries::new();
    for (index, value) in values.iter().enumerate() {
        match value {
            Value::Map(_, entries) | Value::Object(entries) => {
                merged.extend(entries.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
            Value::Null(Type::Map(_) | Type::Object(_) | Type::Any) => {}
            other => {
                return Err(blame(
                    index,
                    format!("a map or object is required, not a {}", other.kind().name()),
                ));
            }
        }
    }
    let first = values.first().map(Value::kind);
    match first {
        Some(Type::Map(kind)) if values.iter().all(|value| value.kind() == Type::Map(kind.clone())) => {
            Ok(Value::map(kind.as_ref().clone(), merged))
        }
        _ => Ok(Value::object(merged)),
    }
}

fn slice(values: &[Value], _: &Surroundings) -> Outcome {
    let (Value::List(_, items) | Value::Tuple(items)) = &values[0] else {
        return Err(blame(0, "a list or tuple is required"));
    };
    let bound = |argument: usize| {
        let bound = usize::try_from(integer(values, argument)?);
        let bound = bound.map_err(|_| blame(argument, "the index must not be negative"))?;
        if bound > items.len() {
            return Err(blame(argument, "the index must not be greater than the length of the list"));
        }
        Ok(bound)
    };
    let (start, end) = (bound(1)?, bound(2)?);
    if start > end {
        return Err(blame(1, "the start must not be greater than the end"));
    }
    let part = items[start..end].to_vec();
    Ok(match &values[0] {
        Value::List(kind, _) => Value::list(kind.clone(), part),
        _ => Value::tuple(part),
    })
}

fn zip(values: &[Value], _: &Surroundings) -> Outcome {
    let names = elements(values, 0);
    let (Value::List(_, items) | Value::Tuple(items)) = &values[1] else {
        return Err(blame(1, "a list or tuple is required"));
    };
    if names.len() != items.len() {
        return Err(format!("there are {} keys and {} values", names.len(), items.len()).into());
    }
    let mut zipped = Entries::new();
    for (name, item) in names.iter().zip(items.iter()) {
        match name {
            Value::String(name) => zipped.insert(name.clone(), item.clone()),
            _ => return Err(blame(0, "a key is null")),
        };
    }
    Ok(match &values[1] {
        Value::List(kind, _) => Value::map(kind.clone(), zipped),
        _ => Value::object(zipped),
    })
}
