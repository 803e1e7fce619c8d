//! Truth and comparison: what the operators do, as functions.

use super::super::operators::{binary, equal};
use super::super::syntax::BinaryOperator as Operator;
use super::super::value::Value;
use super::Parameter::{Bool, Nullable, Number};
use super::{Function, Outcome, Surroundings, fixed, truth};

pub const FUNCTIONS: &[Function] = &[
    fixed("and", &[Bool, Bool], |values, _| Ok(Value::Bool(truth(values, 0) && truth(values, 1)))),
    fixed("equal", &[Nullable, Nullable], |values, _| Ok(Value::Bool(equal(&values[0], &values[1])))),
    fixed("greaterthan", &[Number, Number], |values, world| operation(Operator::Greater, values, world)),
    fixed("greaterthanorequalto", &[Number, Number], |values, world| {
        operation(Operator::GreaterOrEqual, values, world)
    }),
    fixed("lessthan", &[Number, Number], |values, world| operation(Operator::Less, values, world)),
    fixed("lessthanorequalto", &[Number, Number], |values, world| {
        operation(Operator::LessOrEqual, values, world)
    }),
    fixed("not", &[Bool], |values, _| Ok(Value::Bool(!truth(values, 0)))),
    fixed("notequal", &[Nullable, Nullable], |values, _| Ok(Value::Bool(!equal(&values[0], &values[1])))),
    fixed("or", &[Bool, Bool], |values, _| Ok(Value::Bool(truth(values, 0) || truth(values, 1)))),
];

pub fn operation(operator: Operator, values: &[Value], _: &Surroundings) -> Outcome {
    Ok(binary(operator, &values[0], &values[1]).map_err(|wrong| wrong.message)?)
}
