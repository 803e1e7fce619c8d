//! Texts. Length and parts of a text count characters as people see them.

use unicode_segmentation::UnicodeSegmentation as _;

use super::super::number::Number as Decimal;
use super::super::types::Type;
use super::super::value::Value;
use super::Parameter::{Number, Text, Texts};
use super::{Function, Outcome, Surroundings, blame, elements, fixed, integer, text, variadic};

pub const FUNCTIONS: &[Function] = &[
    fixed("basename", &[Text], |values, _| Ok(Value::from(base_name(text(values, 0))))),
    fixed("byteslen", &[Text], |values, _| Ok(Value::Number(Decimal::from(text(values, 0).len())))),
    fixed("bytesslice", &[Text, Number, Number], bytes_slice),
    fixed("chomp", &[Text], |values, _| Ok(Value::from(text(values, 0).trim_end_matches(['\r', '\n'])))),
    fixed("dirname", &[Text], |values, _| Ok(Value::from(directory_name(text(values, 0))))),
    fixed("indent", &[Number, Text], indent),
    variadic("join", &[Text], Texts, join),
    fixed("lower", &[Text], |values, _| {
        Ok(Value::from(text(values, 0).chars().map(lower).collect::<String>()))
    }),
    fixed("reverse", &[Text], |values, _| {
        Ok(Value::from(text(values, 0).graphemes(true).rev().collect::<String>()))
    }),
    fixed("sanitize", &[Text], |values, _| Ok(Value::from(sanitized(text(values, 0))))),
    fixed("sort", &[Texts], sort),
    fixed("split", &[Text, Text], split),
    fixed("strlen", &[Text], |values, _| {
        Ok(Value::Number(Decimal::from(text(values, 0).graphemes(true).count())))
    }),
    fixed("substr", &[Text, Number, Number], substring),
    fixed("title", &[Text], |values, _| Ok(Value::from(titled(text(values, 0))))),
    fixed("trim", &[Text, Text], |values, _| {
        let cut = text(values, 1);
        Ok(Value::from(text(values, 0).trim_matches(|c| cut.contains(c))))
    }),
    fixed("trimprefix", &[Text, Text], |values, _| {
        let whole = text(values, 0);
        Ok(Value::from(whole.strip_prefix(text(values, 1)).unwrap_or(whole)))
    }),
    fixed("trimspace", &[Text], |values, _| Ok(Value::from(text(values, 0).trim()))),
    fixed("trimsuffix", &[Text, Text], |values, _| {
        let whole = text(values, 0);
        Ok(Value::from(whole.strip_suffix(text(values, 1)).unwrap_or(whole)))
    }),
    fixed("upper", &[Text], |values, _| {
        Ok(Value::from(text(values, 0).chars().map(upper).collect::<String>()))
    }),
];

/// The widest indentation and the like that is written.
const WIDEST: i64 = 10_000;

/// The last part of a path with slashes; `.` when there is none.
fn base_name(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".",
        "" => "/",
        trimmed => trimmed.rsplit('/').next().unwrap_or(trimmed),
    }
}

/// A path without its last part, cleaned.
fn directory_name(path: &str) -> String {
    let directory = path.rfind('/').map_or("", |at| &path[..=at]);
    clean_path(directory)
}

/// The shortest way to write a path with slashes.
pub fn clean_path(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (is_absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_string(),
        (false, false) => joined,
    }
}

/// Only what may be in the name of a target; everything else is `_`.
fn sanitized(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect()
}

/// The small letter of `c`, one for one as in Go.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// The capital of `c`, one for one as in Go: `ß` has none.
fn upper(c: char) -> char {
    let mut capitals = c.to_uppercase();
    capitals.next().filter(|_| capitals.next().is_none()).unwrap_or(c)
}

fn titled(whole: &str) -> String {
    let mut before = ' ';
    let mut titled = String::with_capacity(whole.len());
    for c in whole.chars() {
        let is_inside = before.is_alphanumeric() || before == '_';
        titled.push(if is_inside { c } else { upper(c) });
        before = c;
    }
    titled
}

fn bytes_slice(values: &[Value], _: &Surroundings) -> Outcome {
    let whole = text(values, 0).as_bytes();
    let (start, length) = (integer(values, 1)?, integer(values, 2)?);
    let start = usize::try_from(start).map_err(|_| blame(1, "the offset must not be negative"))?;
    let length = usize::try_from(length).map_err(|_| blame(2, "the length must not be negative"))?;
    let end = start.checked_add(length).filter(|end| *end <= whole.len());
    let end = end.ok_or("the part goes beyond the end of the text")?;
    Ok(Value::from(String::from_utf8_lossy(&whole[start..end]).into_owned()))
}

fn indent(values: &[Value], _: &Surroundings) -> Outcome {
    let width = integer(values, 0)?;
    if !(0..=WIDEST).contains(&width) {
        return Err(blame(0, format!("the width must be from 0 to {WIDEST}")));
    }
    let pad = " ".repeat(usize::try_from(width).unwrap_or(0));
    Ok(Value::from(text(values, 1).replace('\n', &format!("\n{pad}"))))
}

fn join(values: &[Value], _: &Surroundings) -> Outcome {
    if values.len() < 2 {
        return Err("it takes at least one list".into());
    }
    let mut items = Vec::new();
    for list in 1..values.len() {
        for (index, element) in elements(values, list).iter().enumerate() {
            match element.as_str() {
                Some(item) => items.push(item),
                None => return Err(blame(list, format!("element {index} is null, which no text can hold"))),
            }
        }
    }
    Ok(Value::from(items.join(text(values, 0))))
}

fn sort(values: &[Value], _: &Surroundings) -> Outcome {
    let mut items: Vec<&str> = Vec::new();
    for (index, element) in elements(values, 0).iter().enumerate() {
        items.push(element.as_str().ok_or_else(|| blame(0, format!("element {index} is null")))?);
    }
    items.sort_unstable();
    Ok(Value::strings(items))
}

fn split(values: &[Value], _: &Surroundings) -> Outcome {
    let (separator, whole) = (text(values, 0), text(values, 1));
    if separator.is_empty() {
        return Ok(Value::strings(whole.chars().map(|c| c.to_string())));
    }
    let parts: Vec<Value> = whole.split(separator).map(Value::from).collect();
    Ok(Value::list(Type::String, parts))
}

fn substring(values: &[Value], _: &Surroundings) -> Outcome {
    let characters: Vec<&str> = text(values, 0).graphemes(true).collect();
    let (offset, length) = (integer(values, 1)?, integer(values, 2)?);
    let count = i64::try_from(characters.len()).unwrap_or(i64::MAX);
    let start = if offset < 0 { (offset + count).max(0) } else { offset };
    if length == 0 && offset >= 0 {
        return Ok(Value::from(""));
    }
    let end = if length <= 0 { count } else { start.saturating_add(length).min(count) };
    let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else {
        return Ok(Value::from(""));
    };
    Ok(Value::from(characters.get(start..end).unwrap_or_default().concat()))
}
