//! Type expressions: `string`, `list(number)`, `object({a = bool, b = optional(string)})`.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::convert::convert;
use super::super::evaluate::{Evaluated, Evaluator};
use super::super::scan::{Cursor, Origin};
use super::super::syntax::{Call, Expression, ExpressionKind as Kind, Template};
use super::super::types::{Attribute, Type};
use super::super::value::Value;
use crate::diag::Span;

/// `convert(value, type)`
pub fn convert_call(evaluator: &mut Evaluator<'_>, call: &Call, span: &Span) -> Evaluated<Value> {
    let [value, kind] = call.arguments.as_slice() else {
        let message = "`convert` takes a value and a type";
        return Err(evaluator.wrong("bake::bad-call", span, message, "called here"));
    };
    let kind = type_of(evaluator, kind)?;
    let given = evaluator.value(value)?;
    let converted = convert(&given, &kind)
        .map_err(|message| evaluator.wrong("bake::bad-type", &value.span, message, "this value"))?;
    evaluator.charged(converted, span)
}

/// The type that an expression names.
pub fn type_of(evaluator: &Evaluator<'_>, expression: &Expression) -> Evaluated<Type> {
    if let Some(word) = expression.keyword() {
        return match word {
            "string" => Ok(Type::String),
            "number" => Ok(Type::Number),
            "bool" => Ok(Type::Bool),
            "any" => Ok(Type::Any),
            "list" | "set" | "map" | "object" | "tuple" => {
                let what = match word {
                    "object" => "its attributes, as in `object({name = string})`",
                    "tuple" => "its elements, as in `tuple([string, number])`",
                    _ => "the type of its elements, as in `list(string)`",
                };
                Err(wrong(evaluator, expression, format!("`{word}` needs {what}")))
            }
            _ => Err(wrong(evaluator, expression, format!("there is no type `{word}`"))),
        };
    }
    match &expression.kind {
        Kind::Call(call) => constructed(evaluator, expression, call),
        Kind::Template(Template { json: Some(text), .. }) => {
            let mut cursor = Cursor::of(evaluator.source, text, Origin::Within(expression.span.clone()));
            let inner = super::super::expression::expression(&mut cursor)?;
            if cursor.is_at_end() && !matches!(inner.kind, Kind::Template(_)) {
                type_of(evaluator, &inner)
            } else {
                Err(wrong(evaluator, expression, "this is not a type".to_string()))
            }
        }
        _ => Err(wrong(evaluator, expression, "this is not a type".to_string())),
    }
}

fn wrong(evaluator: &Evaluator<'_>, expression: &Expression, message: String) -> Box<crate::diag::Problem> {
    let mut problem = evaluator.wrong("bake::bad-type", &expression.span, message, "not a type");
    problem.help = Some(
        "the types are `string number bool any list(T) set(T) map(T) tuple([…]) object({…})`".to_string(),
    );
    problem
}

fn constructed(evaluator: &Evaluator<'_>, expression: &Expression, call: &Call) -> Evaluated<Type> {
    let [argument] = call.arguments.as_slice() else {
        return Err(wrong(evaluator, expression, format!("`{}` takes one argument", call.name)));
    };
    match &*call.name {
        "list" => Ok(Type::list(type_of(evaluator, argument)?)),
        "set" => Ok(Type::set(type_of(evaluator, argument)?)),
        "map" => Ok(Type::map(type_of(evaluator, argument)?)),
        "tuple" => match &argument.kind {
            Kind::Tuple(elements) => {
                let elements: Evaluated<Vec<Type>> =
                    elements.iter().map(|element| type_of(evaluator, element)).collect();
                Ok(Type::tuple(elements?))
            }
            _ => Err(wrong(evaluator, argument, "`tuple` needs a list of types".to_string())),
        },
        "object" => match &argument.kind {
            Kind::Object(items) => {
                let mut attributes = BTreeMap::new();
                for item in items {
                    let name = match &item.key.kind {
                        Kind::Literal(Value::String(name)) => name.clone(),
                        _ => match item.key.literal_text() {
                            Some(name) => Rc::from(name),
                            None => {
                                let message = "the name of an attribute must be a word".to_string();
                                return Err(wrong(evaluator, &item.key, message));
                            }
                        },
                    };
                    attributes.insert(name, attribute(evaluator, &item.value)?);
                }
                Ok(Type::Object(Rc::new(attributes)))
            }
            _ => Err(wrong(evaluator, argument, "`object` needs a table of types".to_string())),
        },
        other => Err(wrong(evaluator, expression, format!("there is no type `{other}`"))),
    }
}

fn attribute(evaluator: &Evaluator<'_>, expression: &Expression) -> Evaluated<Attribute> {
    match &expression.kind {
        Kind::Call(Call { name, arguments, .. }) if &**name == "optional" => match arguments.as_slice() {
            [kind] => Ok(Attribute { kind: type_of(evaluator, kind)?, is_optional: true }),
            _ => Err(wrong(evaluator, expression, "`optional` takes one type".to_string())),
        },
        _ => Ok(Attribute { kind: type_of(evaluator, expression)?, is_optional: false }),
    }
}
