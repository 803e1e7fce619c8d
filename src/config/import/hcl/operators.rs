//! Operators on values, and equality.

use super::convert::convert;
use super::number::Number;
use super::syntax::{BinaryOperator, UnaryOperator};
use super::types::Type;
use super::value::Value;

/// What is wrong with an operation.
#[derive(Debug)]
pub struct BadOperation {
    /// The operand that is to blame, if one is.
    pub operand: Option<usize>,
    pub message: String,
}

pub fn unary(operator: UnaryOperator, value: &Value) -> Result<Value, String> {
    match operator {
        UnaryOperator::Not => truth(value).map(|truth| Value::Bool(!truth)),
        UnaryOperator::Negate => number(value).map(|number| Value::Number(number.negate())),
    }
}

pub fn binary(operator: BinaryOperator, left: &Value, right: &Value) -> Result<Value, BadOperation> {
    match operator {
        BinaryOperator::Equal => Ok(Value::Bool(equal(left, right))),
        BinaryOperator::NotEqual => Ok(Value::Bool(!equal(left, right))),
        BinaryOperator::And => {
            let (left, right) = both(left, right, truth_or_null)?;
            Ok(Value::Bool(left == Some(true) && right == Some(true)))
        }
        BinaryOperator::Or => match both(left, right, truth_or_null)? {
            (Some(true), _) | (_, Some(true)) => Ok(Value::Bool(true)),
            _ => both(left, right, truth).map(|_| Value::Bool(false)),
        },
        BinaryOperator::Greater => compared(left, right, |left, right| left > right),
        BinaryOperator::GreaterOrEqual => compared(left, right, |left, right| left >= right),
        BinaryOperator::Less => compared(left, right, |left, right| left < right),
        BinaryOperator::LessOrEqual => compared(left, right, |left, right| left <= right),
        BinaryOperator::Add => computed(left, right, Number::add),
        BinaryOperator::Subtract => computed(left, right, Number::subtract),
        BinaryOperator::Multiply => computed(left, right, Number::multiply),
        BinaryOperator::Divide => computed(left, right, Number::divide),
        BinaryOperator::Modulo => computed(left, right, Number::modulo),
    }
}

/// What `operator` gives whatever its other operand is, if this operand decides it.
pub fn decided(operator: BinaryOperator, operand: &Value) -> Option<bool> {
    let decisive = match operator {
        BinaryOperator::And => false,
        BinaryOperator::Or => true,
        _ => return None,
    };
    (truth(operand) == Ok(decisive)).then_some(decisive)
}

fn both<T>(
    left: &Value,
    right: &Value,
    read: impl Fn(&Value) -> Result<T, String>,
) -> Result<(T, T), BadOperation> {
    let blame = |operand: usize| move |message: String| BadOperation { operand: Some(operand), message };
    Ok((read(left).map_err(blame(0))?, read(right).map_err(blame(1))?))
}

fn compared(
    left: &Value,
    right: &Value,
    compare: impl Fn(&Number, &Number) -> bool,
) -> Result<Value, BadOperation> {
    let (left, right) = both(left, right, number)?;
    Ok(Value::Bool(compare(&left, &right)))
}

fn computed(
    left: &Value,
    right: &Value,
    compute: impl Fn(&Number, &Number) -> Option<Number>,
) -> Result<Value, BadOperation> {
    let (left, right) = both(left, right, number)?;
    compute(&left, &right).map(Value::Number).ok_or_else(|| {
        let message = if right.is_zero() { "a division by zero" } else { "the result is too large" };
        BadOperation { operand: None, message: message.to_string() }
    })
}

fn number(value: &Value) -> Result<Number, String> {
    match convert(value, &Type::Number) {
        Ok(Value::Number(number)) => Ok(number),
        Ok(_) => Err("a number is required, but this is null".to_string()),
        Err(message) => Err(message),
    }
}

fn truth(value: &Value) -> Result<bool, String> {
    truth_or_null(value)?.ok_or_else(|| "a bool is required, but this is null".to_string())
}

fn truth_or_null(value: &Value) -> Result<Option<bool>, String> {
    convert(value, &Type::Bool).map(|value| match value {
        Value::Bool(truth) => Some(truth),
        _ => None,
    })
}

/// Values of different types are different, except that nulls of all types are equal.
pub fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Null(_), Value::Null(_)) => true,
        (Value::Null(_), _) | (_, Value::Null(_)) => false,
        _ => left == right,
    }
}
