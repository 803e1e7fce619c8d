//! Sets, and products of lists.

use super::super::convert::{Safety, convert};
use super::super::operators::equal;
use super::super::types::Type;
use super::super::unify::unify;
use super::super::value::Value;
use super::Parameter::{Any, Set};
use super::{Failure, Function, Outcome, Surroundings, blame, elements, fixed, variadic};

pub const FUNCTIONS: &[Function] = &[
    fixed("sethaselement", &[Set, Any], |values, _| {
        Ok(Value::Bool(elements(values, 0).iter().any(|item| equal(item, &values[1]))))
    }),
    variadic("setintersection", &[Set], Set, |values, _| {
        combined(values, |first, rest| {
            first.retain(|item| rest.iter().all(|other| other.contains(item)));
        })
    }),
    variadic("setproduct", &[], Any, product),
    fixed("setsubtract", &[Set, Set], |values, _| {
        combined(values, |first, rest| {
            first.retain(|item| !rest.iter().any(|other| other.contains(item)));
        })
    }),
    variadic("setsymmetricdifference", &[Set], Set, |values, _| {
        combined(values, |first, rest| {
            for other in rest {
                let (old, new) = (first.clone(), other.clone());
                first.retain(|item| !new.contains(item));
                first.extend(new.into_iter().filter(|item| !old.contains(item)));
            }
        })
    }),
    variadic("setunion", &[Set], Set, |values, _| {
        combined(values, |first, rest| first.extend(rest.iter().flatten().cloned()))
    }),
];

/// The most elements that a product may have.
const LARGEST_PRODUCT: usize = 100_000;

/// What `combine` makes of all sets, brought to one type.
fn combined(values: &[Value], combine: fn(&mut Vec<Value>, &[Vec<Value>])) -> Outcome {
    let kinds: Vec<Type> = values.iter().map(Value::kind).collect();
    let is_empty = |value: &Value| value.length() == Some(0);
    let settled: Vec<Type> = values.iter().filter(|value| !is_empty(value)).map(Value::kind).collect();
    let kind = unify(if settled.is_empty() { &kinds } else { &settled }, Safety::Unsafe);
    let kind = kind.ok_or("all sets must have elements of one type")?;
    let element = kind.element().cloned().unwrap_or(Type::Any);
    let mut sets: Vec<Vec<Value>> = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let items = elements(values, index).iter().map(|item| convert(item, &element));
        let items: Result<Vec<Value>, _> = items.collect();
        sets.push(items.map_err(|message| blame(index, message))?);
        debug_assert!(value.length().is_some());
    }
    let mut first = sets.remove(0);
    combine(&mut first, &sets);
    Ok(Value::set(element, first))
}

fn product(values: &[Value], _: &Surroundings) -> Outcome {
    if values.len() < 2 {
        return Err("it takes at least two sets or lists".into());
    }
    let mut columns: Vec<Vec<Value>> = Vec::new();
    let mut total = 1usize;
    for (index, value) in values.iter().enumerate() {
        let items = value.elements().ok_or_else(|| blame(index, "a set or a list is required"))?;
        let kinds: Vec<Type> = items.iter().map(Value::kind).collect();
        let kind = if kinds.is_empty() { Some(Type::Any) } else { unify(&kinds, Safety::Unsafe) };
        let kind = kind.ok_or_else(|| blame(index, "all elements must have one type"))?;
        let column: Result<Vec<Value>, _> = items.iter().map(|item| convert(item, &kind)).collect();
        columns.push(column.map_err(Failure::from)?);
        total = total.saturating_mul(items.len());
    }
    if total > LARGEST_PRODUCT {
        return Err(format!("the product has more than {LARGEST_PRODUCT} elements").into());
    }
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for column in &columns {
        rows = rows
            .iter()
            .flat_map(|row| column.iter().map(|item| row.iter().cloned().chain([item.clone()]).collect()))
            .collect();
    }
    let kinds = columns.iter().map(|column| column.first().map_or(Type::Any, Value::kind)).collect();
    let kind = Type::tuple(kinds);
    let rows = rows.into_iter().map(Value::tuple).collect();
    let are_lists = values.iter().all(|value| !matches!(value, Value::Set(..)));
    Ok(if are_lists { Value::list(kind, rows) } else { Value::set(kind, rows) })
}
