//! What an unquoted word of YAML is: null, a bool, a number, or text.

use super::yaml::Kind;

/// `core` is the word of a tag such as `!!str`.
pub fn scalar(text: &str, is_quoted: bool, core: Option<&str>) -> Kind {
    match core {
        Some("str") => return Kind::Text(text.to_string()),
        Some("int" | "float" | "bool" | "null") => {}
        _ if is_quoted => return Kind::Text(text.to_string()),
        _ => {}
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        "-0" => return Kind::Float(text.to_string()),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Kind::Float("+Inf".to_string()),
        "-.inf" | "-.Inf" | "-.INF" => return Kind::Float("-Inf".to_string()),
        ".nan" | ".NaN" | ".NAN" => return Kind::Float("NaN".to_string()),
        _ => {}
    }
    date(text)
        .map(Kind::Text)
        .or_else(|| integer(text).map(Kind::Integer))
        .or_else(|| float(text).map(Kind::Float))
        .unwrap_or_else(|| Kind::Text(text.to_string()))
}

/// A day is a point in time, as Go writes it.
fn date(text: &str) -> Option<String> {
    text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == 10)?;
    Some(format!("{text} 00:00:00 +0000 UTC"))
}

/// Decimal, or with a prefix for its base; underscores separate digits.
fn integer(text: &str) -> Option<String> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", plain.strip_prefix('+').unwrap_or(&plain)),
    };
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
        return None;
    }
    let (digits, base) = match digits.get(..2) {
        Some("0x" | "0X") => (&digits[2..], 16),
        Some("0o" | "0O") => (&digits[2..], 8),
        Some("0b" | "0B") => (&digits[2..], 2),
        _ if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        _ => (digits, 10),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let value = u64::from_str_radix(digits, base).ok()?;
    let sign = if value == 0 { "" } else { sign };
    Some(format!("{sign}{value}"))
}

fn float(text: &str) -> Option<String> {
    let plain = text.replace('_', "");
    let unsigned = plain.trim_start_matches(['-', '+']);
    let starts_well = unsigned.starts_with(|c: char| c.is_ascii_digit())
        || (unsigned.starts_with('.') && unsigned[1..].starts_with(|c: char| c.is_ascii_digit()));
    let is_number = unsigned.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    if !starts_well || !is_number {
        return None;
    }
    plain.parse::<f64>().ok().filter(|value| value.is_finite()).map(go_float)
}

/// As Go prints it: with an exponent when that is below -4 or above 20.
fn go_float(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..21).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_types() {
        let check = |text: &str, expected: Kind| assert_eq!(scalar(text, false, None), expected, "{text}");
        for text in ["", "~", "null"] {
            check(text, Kind::Null);
        }
        check("true", Kind::Bool(true));
        for (text, expected) in
            [("80", "80"), ("-7", "-7"), ("0755", "493"), ("0o17", "15"), ("0x1F", "31"), ("1_000", "1000")]
        {
            check(text, Kind::Integer(expected.to_string()));
        }
        for (text, expected) in
            [("1.10", "1.1"), ("1e3", "1000"), ("1e21", "1e+21"), (".5", "0.5"), ("3.", "3"), ("099", "99")]
        {
            check(text, Kind::Float(expected.to_string()));
        }
        for text in ["yes", "on", "1.2.3", "v1", "0x", "12:30", "-", "2024-01-01x"] {
            check(text, Kind::Text(text.to_string()));
        }
    }
}
