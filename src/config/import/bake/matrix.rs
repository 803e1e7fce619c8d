//! How many targets a block is: one for each combination of the values of its `matrix`.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::definitions::{BlockDefinition, BlockKind};
use super::resolver::{Locals, Resolver};
use crate::config::import::hcl::{Evaluated, Type, convert};
use crate::config::import::names::is_name;
use crate::config::import::target::{Group, Target};
use crate::diag::{Place, Problem, Span};

/// The most targets that one block may be.
const MOST_TARGETS: usize = 10_000;

/// One target of a block, or the group that a block is.
pub struct Expansion {
    pub name: Rc<str>,
    /// The values of the matrix.
    pub locals: Locals,
    pub target: Target,
    pub group: Group,
}

pub fn expand(resolver: &mut Resolver<'_>, block: &BlockDefinition) -> Evaluated<Vec<Expansion>> {
    if block.kind == BlockKind::Group {
        for word in ["matrix", "name"] {
            if let Some(attribute) = block.body.attribute(word) {
                let message = format!("a group has no `{word}`");
                return Err(wrong(block, &attribute.name_span, message, "only for targets"));
            }
        }
    }
    let combinations = combinations(resolver, block)?;
    let mut expansions = Vec::with_capacity(combinations.len());
    let mut seen = BTreeSet::new();
    for locals in combinations {
        let name = name(resolver, block, &locals)?;
        if !seen.insert(name.clone()) {
            let span = block.body.attribute("name").map_or(&block.label_span, |name| &name.value.span);
            let message = format!("two targets of the matrix have the name `{name}`");
            let problem = wrong(block, span, message, "not different for all");
            return Err(Box::new(problem.help("`name` must use every value that tells targets apart")));
        }
        let target = Target { name: name.to_string(), ..Target::default() };
        let group = Group { name: name.to_string(), ..Group::default() };
        expansions.push(Expansion { name, locals, target, group });
    }
    Ok(expansions)
}

fn wrong(block: &BlockDefinition, span: &Span, message: String, label: &str) -> Box<Problem> {
    let place = Place::new(&block.source, span.clone());
    Box::new(Problem::input("bake::bad-matrix", message).at(place, label))
}

fn combinations(resolver: &mut Resolver<'_>, block: &BlockDefinition) -> Evaluated<Vec<Locals>> {
    let Some(attribute) = block.body.attribute("matrix") else { return Ok(vec![Locals::new()]) };
    let span = &attribute.value.span;
    let value = resolver.evaluate(&block.source, &attribute.value, &Locals::new())?;
    let Some(axes) = value.entries() else {
        return Err(wrong(block, span, "a matrix is a table of lists".to_string(), "not a table"));
    };
    let mut combinations = vec![Locals::new()];
    for (axis, values) in axes {
        let Some(values) = values.iterate() else {
            let message = format!("the axis `{axis}` of the matrix must be a list");
            return Err(wrong(block, span, message, "not a list"));
        };
        if combinations.len().saturating_mul(values.len()) > MOST_TARGETS {
            let message = format!("the matrix has more than {MOST_TARGETS} combinations");
            return Err(wrong(block, span, message, "too many"));
        }
        combinations = values
            .iter()
            .flat_map(|(_, value)| {
                combinations.iter().map(|locals| {
                    locals.iter().cloned().chain([(axis.clone(), value.clone())]).collect::<Locals>()
                })
            })
            .collect();
    }
    Ok(combinations)
}

fn name(resolver: &mut Resolver<'_>, block: &BlockDefinition, locals: &Locals) -> Evaluated<Rc<str>> {
    let Some(attribute) = block.body.attribute("name") else { return Ok(block.label.clone()) };
    let span = &attribute.value.span;
    if block.body.attribute("matrix").is_none() {
        let message = "`name` needs a `matrix`".to_string();
        return Err(wrong(block, &attribute.name_span, message, "no matrix"));
    }
    let value = resolver.evaluate(&block.source, &attribute.value, locals)?;
    let converted = convert(&value, &Type::String).map_err(|message| {
        wrong(block, span, format!("`name` has a wrong value: {message}"), "this value")
    })?;
    let Some(name) = converted.as_str() else {
        return Err(wrong(block, span, "`name` is null".to_string(), "null"));
    };
    if !is_name(name) {
        let problem = wrong(block, span, format!("`{name}` cannot be the name of a target"), "not a name");
        let help = "names are made of letters, digits, `_` and `-`; `sanitize` makes one of any text";
        return Err(Box::new(problem.help(help)));
    }
    Ok(Rc::from(name))
}
