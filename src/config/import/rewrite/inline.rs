//! Calls of the functions that a file defines, as the expression that they stand for.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::config::import::bake::Definitions;
use crate::config::import::hcl::{
    Body, Call, Expression, ExpressionKind as Kind, ObjectItem, Part, Template,
};

/// Calls within calls are followed this deep.
const DEEPEST: usize = 16;

/// The result of the function with the arguments in the places of its parameters; nothing for a call of
/// anything else.
pub fn call(definitions: &Definitions, expression: &Expression) -> Option<Expression> {
    let mut found = step(definitions, expression)?;
    for _ in 0..DEEPEST {
        match step(definitions, &found) {
            Some(next) => found = next,
            None => return Some(found),
        }
    }
    None
}

fn step(definitions: &Definitions, expression: &Expression) -> Option<Expression> {
    let Kind::Call(call @ Call { is_expanded: false, .. }) = &expression.kind else { return None };
    let body: &Body = &definitions.functions.get(&call.name)?.body;
    if body.attribute("variadic_params").is_some() {
        return None;
    }
    let Kind::Tuple(parameters) = &body.attribute("params")?.value.kind else { return None };
    if parameters.len() != call.arguments.len() {
        return None;
    }
    let names: Option<Vec<Rc<str>>> =
        parameters.iter().map(|parameter| parameter.keyword().map(Rc::from)).collect();
    let bound: BTreeMap<Rc<str>, &Expression> = names?.into_iter().zip(&call.arguments).collect();
    substitute(&body.attribute("result")?.value, &bound)
}

/// `expression` with other expressions for some variables; nothing where names are bound within it.
fn substitute(expression: &Expression, bound: &BTreeMap<Rc<str>, &Expression>) -> Option<Expression> {
    let one = |expression: &Expression| substitute(expression, bound);
    let boxed = |expression: &Expression| one(expression).map(Box::new);
    let all = |all: &[Expression]| all.iter().map(one).collect::<Option<Vec<_>>>();
    let kind = match &expression.kind {
        Kind::Variable(name) => match bound.get(name) {
            Some(argument) => return Some((*argument).clone()),
            None => expression.kind.clone(),
        },
        Kind::Literal(_) => expression.kind.clone(),
        Kind::Template(template) => {
            let parts =
                template.parts.iter().map(|part| substitute_part(part, bound)).collect::<Option<_>>()?;
            Kind::Template(Template { parts, json: None })
        }
        Kind::Attribute(source, name) => Kind::Attribute(boxed(source)?, name.clone()),
        Kind::Index(source, index) => Kind::Index(boxed(source)?, boxed(index)?),
        Kind::Tuple(elements) => Kind::Tuple(all(elements)?),
        Kind::Object(items) => Kind::Object(
            items
                .iter()
                .map(|item| Some(ObjectItem { key: one(&item.key)?, value: one(&item.value)? }))
                .collect::<Option<_>>()?,
        ),
        Kind::Call(call) => Kind::Call(Call { arguments: all(&call.arguments)?, ..call.clone() }),
        Kind::Conditional(parts) => {
            Kind::Conditional(Box::new([one(&parts[0])?, one(&parts[1])?, one(&parts[2])?]))
        }
        Kind::Unary(operator, operand) => Kind::Unary(*operator, boxed(operand)?),
        Kind::Binary(operator, operands) => {
            Kind::Binary(*operator, Box::new([one(&operands[0])?, one(&operands[1])?]))
        }
        Kind::Parentheses(inner) => Kind::Parentheses(boxed(inner)?),
        Kind::Splat { .. } | Kind::Item | Kind::For(_) | Kind::Broken(_) => return None,
    };
    Some(Expression::new(kind, expression.span.clone()))
}

fn substitute_part(part: &Part, bound: &BTreeMap<Rc<str>, &Expression>) -> Option<Part> {
    let all =
        |parts: &[Part]| parts.iter().map(|part| substitute_part(part, bound)).collect::<Option<Vec<_>>>();
    Some(match part {
        Part::Literal(_) => part.clone(),
        Part::Interpolation(expression) => Part::Interpolation(substitute(expression, bound)?),
        Part::If { condition, then, otherwise } => Part::If {
            condition: substitute(condition, bound)?,
            then: all(then)?,
            otherwise: all(otherwise)?,
        },
        Part::For { .. } => return None,
    })
}
