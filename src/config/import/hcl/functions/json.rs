//! JSON texts and values.

use super::super::number::Number as Decimal;
use super::super::value::{Entries, Value};
use super::Parameter::{Nullable, Text};
use super::{Function, Outcome, Surroundings, blame, fixed, text};

pub const FUNCTIONS: &[Function] = &[
    fixed("jsondecode", &[Text], decode),
    fixed("jsonencode", &[Nullable], |values, _| {
        let mut written = String::new();
        write(&values[0], &mut written);
        Ok(Value::from(written))
    }),
];

fn decode(values: &[Value], _: &Surroundings) -> Outcome {
    from_json(text(values, 0)).map_err(|message| blame(0, message))
}

/// The value of a JSON text: arrays are tuples, objects are objects.
pub fn from_json(json: &str) -> Result<Value, String> {
    let parsed: serde_json::Value =
        serde_json::from_str(json).map_err(|error| format!("it is not JSON: {error}"))?;
    value_of(&parsed).ok_or_else(|| "a number is too large".to_string())
}

fn value_of(parsed: &serde_json::Value) -> Option<Value> {
    Some(match parsed {
        serde_json::Value::Null => Value::null(),
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => Value::Number(Decimal::parse(&number.to_string())?),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => {
            let items: Option<Vec<Value>> = items.iter().map(value_of).collect();
            Value::tuple(items?)
        }
        serde_json::Value::Object(entries) => {
            let entries = entries.iter().map(|(name, value)| Some((name.as_str().into(), value_of(value)?)));
            Value::object(entries.collect::<Option<Entries>>()?)
        }
    })
}

/// The value as compact JSON, keys in order.
pub fn to_json(value: &Value) -> String {
    let mut written = String::new();
    write(value, &mut written);
    written
}

fn write(value: &Value, written: &mut String) {
    match value {
        Value::Null(_) => written.push_str("null"),
        Value::Bool(value) => written.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => written.push_str(&number.to_string()),
        Value::String(text) => write_text(text, written),
        Value::List(_, items) | Value::Set(_, items) | Value::Tuple(items) => {
            written.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    written.push(',');
                }
                write(item, written);
            }
            written.push(']');
        }
        Value::Map(_, entries) | Value::Object(entries) => {
            written.push('{');
            for (index, (name, value)) in entries.iter().enumerate() {
                if index > 0 {
                    written.push(',');
                }
                write_text(name, written);
                written.push(':');
                write(value, written);
            }
            written.push('}');
        }
    }
}

/// As Go writes JSON: what means something in HTML is escaped.
fn write_text(text: &str, written: &mut String) {
    written.push('"');
    for c in text.chars() {
        match c {
            '"' => written.push_str("\\\""),
            '\\' => written.push_str("\\\\"),
            '\n' => written.push_str("\\n"),
            '\r' => written.push_str("\\r"),
            '\t' => written.push_str("\\t"),
            '\u{8}' => written.push_str("\\b"),
            '\u{c}' => written.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                written.push_str(&format!("\\u{:04x}", u32::from(c)))
            }
            c if c < ' ' => written.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => written.push(c),
        }
    }
    written.push('"');
}
