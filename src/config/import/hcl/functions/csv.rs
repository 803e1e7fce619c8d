//! Tables of comma-separated values.

use super::super::types::Type;
use super::super::value::{Entries, Value};
use super::Parameter::Text;
use super::{Failure, Function, Outcome, Surroundings, blame, fixed, text};

pub const FUNCTIONS: &[Function] = &[fixed("csvdecode", &[Text], decode)];

fn decode(values: &[Value], _: &Surroundings) -> Outcome {
    let mut records = records(text(values, 0))?.into_iter();
    let header = records.next().ok_or_else(|| blame(0, "there is no line with names"))?;
    for (index, name) in header.iter().enumerate() {
        if header[..index].contains(name) {
            return Err(blame(0, format!("the column `{name}` is there twice")));
        }
    }
    let mut rows = Vec::new();
    for (index, record) in records.enumerate() {
        if record.len() != header.len() {
            let message = format!("record {} has {} fields, not {}", index + 1, record.len(), header.len());
            return Err(blame(0, message));
        }
        let entries = header.iter().zip(record);
        let entries = entries.map(|(name, field)| (name.as_str().into(), Value::from(field)));
        rows.push(Value::object(entries.collect::<Entries>()));
    }
    let kind = Type::object(header.iter().map(|name| (name.as_str().into(), Type::String)));
    Ok(Value::list(kind, rows))
}

/// Records after RFC 4180; empty lines are none.
fn records(text: &str) -> Result<Vec<Vec<String>>, Failure> {
    let mut records = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('\n').or_else(|| rest.strip_prefix("\r\n")) {
            rest = after;
            continue;
        }
        let mut record = Vec::new();
        loop {
            let (field, after) = field(rest)?;
            record.push(field);
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None => {
                    rest = after.strip_prefix('\r').unwrap_or(after);
                    rest = rest.strip_prefix('\n').unwrap_or(rest);
                    break;
                }
            }
        }
        records.push(record);
    }
    Ok(records)
}

fn field(text: &str) -> Result<(String, &str), Failure> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([',', '\n']).unwrap_or(text.len());
        let plain = text[..end].strip_suffix('\r').unwrap_or(&text[..end]);
        if plain.contains('"') {
            return Err(blame(0, "a field with quotes must be quoted as a whole"));
        }
        return Ok((plain.to_string(), &text[plain.len()..]));
    };
    let mut field = String::new();
    loop {
        let end = rest.find('"').ok_or_else(|| blame(0, "a quote is not closed"))?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Ok((field, rest)),
        }
    }
}
