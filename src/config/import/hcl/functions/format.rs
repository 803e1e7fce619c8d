//! `format` and `formatlist`: verbs of printf's kind.

use unicode_segmentation::UnicodeSegmentation as _;

use super::super::convert::convert;
use super::super::number::Number;
use super::super::types::Type;
use super::super::value::Value;
use super::Parameter::{Nullable, Text};
use super::json::to_json;
use super::{Failure, Function, Outcome, Surroundings, blame, text, variadic};

pub const FUNCTIONS: &[Function] = &[
    variadic("format", &[Text], Nullable, |values, _| {
        Ok(Value::from(formatted(text(values, 0), &values[1..])?))
    }),
    variadic("formatlist", &[Text], Nullable, format_list),
];

/// The largest width, precision and argument number.
const LARGEST: usize = 10_000;

#[derive(Default)]
struct Verb {
    raw: String,
    argument: usize,
    mode: char,
    zero: bool,
    sharp: bool,
    plus: bool,
    minus: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

fn format_list(values: &[Value], _: &Surroundings) -> Outcome {
    let (template, arguments) = (text(values, 0), &values[1..]);
    let mut length: Option<(usize, usize)> = None;
    for (index, argument) in arguments.iter().enumerate() {
        let Some(items) = argument.elements() else { continue };
        match length {
            None => length = Some((index, items.len())),
            Some((first, wanted)) if wanted != items.len() => {
                let message = format!(
                    "argument {} has {} elements, but argument {} has {wanted}",
                    index + 1,
                    items.len(),
                    first + 1
                );
                return Err(blame(index + 1, message));
            }
            Some(_) => {}
        }
    }
    let rounds = length.map_or(1, |(_, length)| length);
    let mut found = Vec::new();
    for round in 0..rounds {
        let row = arguments.iter().map(|argument| match argument.elements() {
            Some(items) => items[round].clone(),
            None => argument.clone(),
        });
        found.push(formatted(template, &row.collect::<Vec<_>>())?);
    }
    Ok(Value::strings(found))
}

fn formatted(template: &str, arguments: &[Value]) -> Result<String, Failure> {
    let mut written = String::new();
    let mut rest = template;
    let mut next = 0;
    let mut used = 0;
    while let Some(at) = rest.find('%') {
        written.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("%%") {
            written.push('%');
            rest = after;
            continue;
        }
        let (verb, after) = verb(rest, next)?;
        rest = after;
        next = verb.argument + 1;
        used = used.max(next);
        let argument = arguments.get(verb.argument).ok_or_else(|| {
            let count = arguments.len();
            format!("`{}` asks for argument {}, but there are {count}", verb.raw, verb.argument + 1)
        })?;
        written.push_str(&write(&verb, argument).map_err(|message| format!("`{}`: {message}", verb.raw))?);
        if written.len() > LARGEST * 1_000 {
            return Err("the result is too long".into());
        }
    }
    written.push_str(rest);
    if used < arguments.len() {
        let message = format!("there are {} arguments, but only {used} are used", arguments.len());
        return Err(message.into());
    }
    Ok(written)
}

/// `%[flags][width][.precision][[argument]]mode`
fn verb(text: &str, next: usize) -> Result<(Verb, &str), Failure> {
    let mut verb = Verb { argument: next, ..Verb::default() };
    let mut rest = &text[1..];
    while let Some(flag) = rest.chars().next() {
        match flag {
            '0' => verb.zero = true,
            '#' => verb.sharp = true,
            '+' => verb.plus = true,
            '-' => verb.minus = true,
            ' ' => verb.space = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    (verb.width, rest) = digits(rest)?;
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = digits(after)?;
        verb.precision = Some(precision.unwrap_or(0));
        rest = after;
    }
    if let Some(after) = rest.strip_prefix('[') {
        let (number, after) = digits(after)?;
        let number = number.filter(|number| *number > 0).ok_or("an argument's number begins with 1")?;
        verb.argument = number - 1;
        rest = after.strip_prefix(']').ok_or("`[` is not closed")?;
    }
    let mode = rest.chars().next().ok_or("the text ends in a verb that is not complete")?;
    verb.mode = mode;
    rest = &rest[mode.len_utf8()..];
    verb.raw = text[..text.len() - rest.len()].to_string();
    Ok((verb, rest))
}

fn digits(text: &str) -> Result<(Option<usize>, &str), Failure> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return Ok((None, text));
    }
    let number = text[..end].parse().ok().filter(|number| *number <= LARGEST);
    let number = number.ok_or_else(|| format!("`{}` is too large", &text[..end]))?;
    Ok((Some(number), &text[end..]))
}

fn write(verb: &Verb, value: &Value) -> Result<String, String> {
    if verb.mode != 'v' && value.is_null() {
        return Err("a null value cannot be written".to_string());
    }
    match verb.mode {
        'v' => Ok(fixed_width(verb.width, verb.zero, verb.minus, &plain(verb, value))),
        't' => match convert(value, &Type::Bool)? {
            Value::Bool(value) => Ok(value.to_string()),
            _ => Err("a bool is required".to_string()),
        },
        'b' | 'd' | 'o' | 'x' | 'X' => {
            let number = number(value)?;
            if !number.is_whole() {
                return Err("a whole number is required".to_string());
            }
            Ok(integer(verb, &number))
        }
        'e' | 'E' | 'f' | 'g' | 'G' => Ok(float(verb, &number(value)?)),
        's' | 'q' => string(verb, value),
        mode => Err(format!("there is no verb `{mode}`")),
    }
}

fn number(value: &Value) -> Result<Number, String> {
    match convert(value, &Type::Number)? {
        Value::Number(number) => Ok(number),
        _ => Err("a number is required".to_string()),
    }
}

fn plain(verb: &Verb, value: &Value) -> String {
    match value {
        Value::String(text) if !verb.sharp => text.to_string(),
        Value::Number(number) if !verb.sharp => general(number, None, false),
        other => to_json(other),
    }
}

fn string(verb: &Verb, value: &Value) -> Result<String, String> {
    let text = match convert(value, &Type::String)? {
        Value::String(text) => text,
        _ => return Err("a text is required".to_string()),
    };
    let cut = match verb.precision {
        Some(precision) if precision > 0 => text.graphemes(true).take(precision).collect(),
        _ => text.to_string(),
    };
    let written = if verb.mode == 'q' { to_json(&Value::from(cut)) } else { cut };
    Ok(fixed_width(verb.width, verb.zero, verb.minus, &written))
}

fn integer(verb: &Verb, number: &Number) -> String {
    let integer = number.absolute().integer();
    let (radix, prefix) = match verb.mode {
        'b' => (2, "0b"),
        'o' => (8, "0"),
        'x' => (16, "0x"),
        'X' => (16, "0X"),
        _ => (10, ""),
    };
    let mut digits = integer.to_str_radix(radix);
    if verb.mode == 'X' {
        digits = digits.to_uppercase();
    }
    if let Some(precision) = verb.precision {
        digits = format!("{}{digits}", "0".repeat(precision.saturating_sub(digits.len())));
    }
    let prefix = if verb.sharp { prefix } else { "" };
    signed(verb, number.is_negative(), &format!("{prefix}{digits}"))
}

fn signed(verb: &Verb, is_negative: bool, digits: &str) -> String {
    let sign = match (is_negative, verb.plus, verb.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    };
    let width = verb.width.unwrap_or(0);
    let missing = width.saturating_sub(sign.len() + digits.len());
    if verb.zero && !verb.minus {
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    fixed_width(verb.width, false, verb.minus, &format!("{sign}{digits}"))
}

fn float(verb: &Verb, number: &Number) -> String {
    let magnitude = number.absolute();
    let is_upper = matches!(verb.mode, 'E' | 'G');
    let digits = match verb.mode {
        'f' => magnitude.fixed(verb.precision.unwrap_or(6)),
        'e' | 'E' => exponential(&magnitude, Some(verb.precision.unwrap_or(6)), is_upper),
        _ => general(&magnitude, verb.precision, is_upper),
    };
    signed(verb, number.is_negative(), &digits)
}

/// The significant digits and the power of ten of the first one.
fn scientific(number: &Number) -> (String, i64) {
    let plain = number.absolute().to_string();
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let all = format!("{whole}{fraction}");
    let first = all.find(|c| c != '0').unwrap_or(all.len());
    let digits = all[first..].trim_end_matches('0').to_string();
    if digits.is_empty() {
        return ("0".to_string(), 0);
    }
    let power = i64::try_from(whole.len()).unwrap_or(0) - 1 - i64::try_from(first).unwrap_or(0);
    (digits, power)
}

fn exponential(number: &Number, places: Option<usize>, is_upper: bool) -> String {
    let (mut digits, mut power) = scientific(number);
    if let Some(places) = places {
        let kept = places + 1;
        if digits.len() > kept {
            // The digits as a number with `places` behind the point, rounded there.
            let (first, rest) = digits.split_at(1);
            let rounded = Number::parse(&format!("{first}.{rest}")).map(|number| number.fixed(places));
            let rounded = rounded.unwrap_or_default();
            let (whole, fraction) = rounded.split_once('.').unwrap_or((&rounded, ""));
            power += i64::try_from(whole.len()).unwrap_or(1) - 1;
            digits = format!("{whole}{fraction}");
            digits.truncate(kept);
        }
        digits.push_str(&"0".repeat(kept.saturating_sub(digits.len())));
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if power < 0 { '-' } else { '+' };
    let mark = if is_upper { 'E' } else { 'e' };
    format!("{first}{point}{rest}{mark}{sign}{:02}", power.unsigned_abs())
}

/// The shorter of both ways: large and tiny numbers get an exponent.
fn general(number: &Number, precision: Option<usize>, is_upper: bool) -> String {
    let (_, power) = scientific(number);
    let sign = if number.is_negative() { "-" } else { "" };
    let precision = precision.map(|precision| precision.max(1));
    let limit = precision.map_or(6, |precision| i64::try_from(precision).unwrap_or(i64::MAX));
    if power < -4 || power >= limit {
        return format!("{sign}{}", exponential(number, precision.map(|precision| precision - 1), is_upper));
    }
    match precision {
        None => number.to_string(),
        Some(precision) => {
            let places = usize::try_from(i64::try_from(precision).unwrap_or(0) - 1 - power).unwrap_or(0);
            let fixed = number.absolute().fixed(places);
            let fixed =
                if fixed.contains('.') { fixed.trim_end_matches('0').trim_end_matches('.') } else { &fixed };
            format!("{sign}{fixed}")
        }
    }
}

/// Filled up to a width with spaces or zeros.
fn fixed_width(width: Option<usize>, with_zeros: bool, to_the_left: bool, text: &str) -> String {
    let missing = width.unwrap_or(0).saturating_sub(text.graphemes(true).count());
    let pad = if with_zeros { "0" } else { " " }.repeat(missing);
    if to_the_left { format!("{text}{pad}") } else { format!("{pad}{text}") }
}
