//! Arithmetic.

use super::super::number::Number as Decimal;
use super::super::syntax::BinaryOperator as Operator;
use super::super::types::Type;
use super::super::value::Value;
use super::Parameter::{Any, Number};
use super::compare::operation;
use super::{Failure, Function, Outcome, Surroundings, blame, fixed, integer, number, text, variadic};

pub const FUNCTIONS: &[Function] = &[
    fixed("absolute", &[Number], |values, _| Ok(Value::Number(number(values, 0).absolute()))),
    fixed("add", &[Number, Number], |values, world| operation(Operator::Add, values, world)),
    fixed("ceil", &[Number], |values, _| Ok(Value::Number(number(values, 0).ceil()))),
    fixed("divide", &[Number, Number], |values, world| operation(Operator::Divide, values, world)),
    fixed("floor", &[Number], |values, _| Ok(Value::Number(number(values, 0).floor()))),
    fixed("int", &[Number], |values, _| Ok(Value::Number(number(values, 0).truncate()))),
    fixed("log", &[Number, Number], |values, _| {
        float(number(values, 0).to_f64().ln() / number(values, 1).to_f64().ln())
    }),
    variadic("max", &[], Number, |values, _| extreme(values, |best, other| other > best)),
    variadic("min", &[], Number, |values, _| extreme(values, |best, other| other < best)),
    fixed("modulo", &[Number, Number], |values, world| operation(Operator::Modulo, values, world)),
    fixed("multiply", &[Number, Number], |values, world| operation(Operator::Multiply, values, world)),
    fixed("negate", &[Number], |values, _| Ok(Value::Number(number(values, 0).negate()))),
    fixed("parseint", &[Any, Number], parse_integer),
    fixed("pow", &[Number, Number], |values, _| {
        float(number(values, 0).to_f64().powf(number(values, 1).to_f64()))
    }),
    variadic("range", &[], Number, range),
    fixed("signum", &[Number], |values, _| {
        let number = number(values, 0);
        let sign: i64 = if number.is_zero() {
            0
        } else if number.is_negative() {
            -1
        } else {
            1
        };
        Ok(Value::Number(Decimal::from(sign)))
    }),
    fixed("subtract", &[Number, Number], |values, world| operation(Operator::Subtract, values, world)),
];

/// The longest list that `range` makes.
const LONGEST_RANGE: usize = 1024;

fn float(value: f64) -> Outcome {
    Decimal::from_f64(value).map(Value::Number).ok_or_else(|| "the result is not a number".into())
}

fn extreme(values: &[Value], is_better: fn(&Decimal, &Decimal) -> bool) -> Outcome {
    let mut best: Option<Decimal> = None;
    for index in 0..values.len() {
        let other = number(values, index);
        if best.as_ref().is_none_or(|best| is_better(best, &other)) {
            best = Some(other);
        }
    }
    best.map(Value::Number).ok_or_else(|| "it takes at least one number".into())
}

fn parse_integer(values: &[Value], _: &Surroundings) -> Outcome {
    let Value::String(digits) = &values[0] else {
        return Err(blame(0, "a text is required"));
    };
    let base = integer(values, 1)?;
    if !(2..=62).contains(&base) {
        return Err(blame(1, "the base must be from 2 to 62"));
    }
    let parsed = u32::try_from(base).ok().filter(|base| *base <= 36);
    let parsed = parsed.and_then(|base| Decimal::parse_integer(digits, base));
    parsed
        .map(Value::Number)
        .ok_or_else(|| blame(0, format!("`{}` is not a whole number of base {base}", text(values, 0))))
}

fn range(values: &[Value], _: &Surroundings) -> Outcome {
    let zero = Decimal::from(0usize);
    let one = |is_down: bool| Decimal::from(if is_down { -1i64 } else { 1 });
    let (start, end, step) = match values.len() {
        1 => (zero.clone(), number(values, 0), one(number(values, 0) < zero)),
        2 => (number(values, 0), number(values, 1), one(number(values, 1) < number(values, 0))),
        3 => (number(values, 0), number(values, 1), number(values, 2)),
        _ => return Err("it takes one, two or three numbers".into()),
    };
    if step.is_zero() {
        return Err(blame(2, "the step must not be zero"));
    }
    let is_down = step.is_negative();
    if is_down && end > start {
        return Err(blame(1, "with a negative step the end must be less than the start"));
    }
    if !is_down && end < start {
        return Err(blame(1, "with a positive step the end must be greater than the start"));
    }
    let mut found = Vec::new();
    let mut next = start;
    while if is_down { next > end } else { next < end } {
        if found.len() >= LONGEST_RANGE {
            return Err(format!("it makes more than {LONGEST_RANGE} numbers").into());
        }
        found.push(Value::Number(next.clone()));
        next = next.add(&step).ok_or_else(|| Failure::from("a number is too large"))?;
    }
    Ok(Value::list(Type::Number, found))
}
