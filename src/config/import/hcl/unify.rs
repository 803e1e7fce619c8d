//! The type that values of several types have in common.

use super::convert::{Safety, can_convert};
use super::types::Type;

/// A type that all of `types` convert to, the least general one; `None` when there is none.
pub fn unify(types: &[Type], safety: Safety) -> Option<Type> {
    let (first, rest) = types.split_first()?;
    if rest.iter().all(|kind| kind == first) {
        return Some(first.clone());
    }
    if let Some(unified) = unify_structures(types, safety) {
        return unified;
    }
    by_preference(types)
        .into_iter()
        .find(|wanted| types.iter().all(|kind| kind == wanted || can_convert(kind, wanted, safety)))
}

/// What types of one kind make; the inner `None` says that they have nothing in common, the outer one that
/// this is not for structures to decide.
fn unify_structures(types: &[Type], safety: Safety) -> Option<Option<Type>> {
    let count = |is: fn(&Type) -> bool| types.iter().filter(|kind| is(kind)).count();
    let maps = count(|kind| matches!(kind, Type::Map(_)));
    let lists = count(|kind| matches!(kind, Type::List(_)));
    let sets = count(|kind| matches!(kind, Type::Set(_)));
    let objects = count(|kind| matches!(kind, Type::Object(_)));
    let tuples = count(|kind| matches!(kind, Type::Tuple(_)));
    let open = count(|kind| *kind == Type::Any);
    let all = types.len();
    let or_any = |unified: Option<Type>| Some(if open > 0 { Some(Type::Any) } else { unified });
    if maps > 0 && maps + open == all {
        return or_any(elements_in_common(types, safety).map(Type::map));
    }
    if maps > 0 && maps + objects + open == all {
        return as_maps(types, safety).map(Some);
    }
    if lists > 0 && lists + open == all {
        return or_any(elements_in_common(types, safety).map(Type::list));
    }
    if lists > 0 && lists + tuples + open == all {
        return as_lists(types, safety).map(Some);
    }
    if sets > 0 && sets + open == all {
        return or_any(elements_in_common(types, safety).map(Type::set));
    }
    if objects > 0 && objects + open == all {
        return or_any(unify_objects(types, safety));
    }
    if tuples > 0 && tuples + open == all {
        return or_any(unify_tuples(types, safety));
    }
    (objects > 0 && tuples > 0).then_some(None)
}

fn elements_in_common(types: &[Type], safety: Safety) -> Option<Type> {
    let elements: Vec<Type> = types.iter().filter_map(Type::element).cloned().collect();
    unify(&elements, safety)
}

/// Objects among maps are maps that were written out.
fn as_maps(types: &[Type], safety: Safety) -> Option<Type> {
    let objects: Vec<Type> = types.iter().filter(|kind| matches!(kind, Type::Object(_))).cloned().collect();
    let map = objects_as_map(&objects, safety)?;
    let mapped: Vec<Type> = types
        .iter()
        .map(|kind| if matches!(kind, Type::Object(_)) { map.clone() } else { kind.clone() })
        .collect();
    unify(&mapped, safety).filter(|kind| matches!(kind, Type::Map(_)))
}

fn as_lists(types: &[Type], safety: Safety) -> Option<Type> {
    let tuples: Vec<Type> = types.iter().filter(|kind| matches!(kind, Type::Tuple(_))).cloned().collect();
    let list = tuples_as_list(&tuples, safety)?;
    let listed: Vec<Type> = types
        .iter()
        .map(|kind| if matches!(kind, Type::Tuple(_)) { list.clone() } else { kind.clone() })
        .collect();
    unify(&listed, safety).filter(|kind| matches!(kind, Type::List(_)))
}

/// Objects with the same attributes stay one; others become a map.
fn unify_objects(types: &[Type], safety: Safety) -> Option<Type> {
    let attributes: Vec<_> = types
        .iter()
        .filter_map(|kind| match kind {
            Type::Object(attributes) => Some(attributes),
            _ => None,
        })
        .collect();
    let first = attributes.first()?;
    if attributes.iter().any(|other| !other.keys().eq(first.keys())) {
        return objects_as_map(types, safety);
    }
    let mut unified = Vec::new();
    for name in first.keys() {
        let kinds: Vec<Type> = attributes.iter().map(|object| object[name].kind.clone()).collect();
        unified.push((name.clone(), unify(&kinds, safety)?));
    }
    Some(Type::object(unified))
}

fn objects_as_map(types: &[Type], safety: Safety) -> Option<Type> {
    let kinds: Vec<Type> = types
        .iter()
        .filter_map(|kind| match kind {
            Type::Object(attributes) => Some(attributes),
            _ => None,
        })
        .flat_map(|attributes| attributes.values().map(|attribute| attribute.kind.clone()))
        .collect();
    unify(&kinds, safety).map(Type::map)
}

/// Tuples of the same length stay one; others become a list.
fn unify_tuples(types: &[Type], safety: Safety) -> Option<Type> {
    let tuples: Vec<_> = types
        .iter()
        .filter_map(|kind| match kind {
            Type::Tuple(elements) => Some(elements),
            _ => None,
        })
        .collect();
    let first = tuples.first()?;
    if tuples.iter().any(|other| other.len() != first.len()) {
        return tuples_as_list(types, safety);
    }
    let mut unified = Vec::new();
    for index in 0..first.len() {
        let kinds: Vec<Type> = tuples.iter().map(|tuple| tuple[index].clone()).collect();
        unified.push(unify(&kinds, safety)?);
    }
    Some(Type::tuple(unified))
}

fn tuples_as_list(types: &[Type], safety: Safety) -> Option<Type> {
    let kinds: Vec<Type> = types
        .iter()
        .filter_map(|kind| match kind {
            Type::Tuple(elements) => Some(elements),
            _ => None,
        })
        .flat_map(|elements| elements.iter().cloned())
        .collect();
    unify(&kinds, safety).map(Type::list)
}

/// More general types first: what others convert to safely comes before them.
fn by_preference(types: &[Type]) -> Vec<Type> {
    let mut ordered: Vec<Type> = Vec::new();
    for kind in types {
        if ordered.contains(kind) {
            continue;
        }
        let at = ordered.iter().position(|known| can_convert(known, kind, Safety::Safe));
        ordered.insert(at.unwrap_or(ordered.len()), kind.clone());
    }
    ordered
}
