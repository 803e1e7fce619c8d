//! Files of variables: `.env` and `env_file`.

use std::collections::BTreeMap;

use super::interpolate::{name_length, substitute};
use super::variables::Variables;

type Texts = BTreeMap<String, String>;

/// The variables of a file. What it uses of others comes from `known`, from itself, and from files before it.
pub fn parse(text: &str, known: &dyn Fn(&str) -> Option<String>) -> Result<Texts, String> {
    parse_over(Texts::new(), text, known)
}

/// The variables of files that were read before, and over them those of one more.
pub fn parse_over(
    before: Texts,
    text: &str,
    known: &dyn Fn(&str) -> Option<String>,
) -> Result<Texts, String> {
    let mut found = before;
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let total = text.matches('\n').count() + 1;
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(found);
        }
        if rest.starts_with('#') {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
            continue;
        }
        let line = total - rest.matches('\n').count();
        rest = statement(rest, &mut found, known).map_err(|message| format!("line {line}: {message}"))?;
    }
}

/// `[export] NAME=value`, `NAME: value`, or a name alone, whose value is inherited.
fn statement<'t>(
    text: &'t str,
    found: &mut Texts,
    known: &dyn Fn(&str) -> Option<String>,
) -> Result<&'t str, String> {
    let text = match text.strip_prefix("export") {
        Some(after) if after.starts_with([' ', '\t']) => after.trim_start_matches([' ', '\t']),
        _ => text,
    };
    let end = text.find(['=', ':', '\n']).unwrap_or(text.len());
    let name = text[..end].trim();
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
    if name.contains(char::is_whitespace) {
        return Err(format!("the name `{name}` has a space in it"));
    }
    if let Some(wrong) = name.chars().find(|c| !is_name(*c)) {
        return Err(format!("`{wrong}` cannot be in the name `{name}`"));
    }
    let after = text.get(end..).unwrap_or_default();
    if after.is_empty() || after.starts_with('\n') {
        if let Some(value) = known(name) {
            found.insert(name.to_string(), value);
        }
        return Ok(after);
    }
    let value_text = after[1..].trim_start_matches([' ', '\t', '\r', '\u{b}', '\u{c}']);
    let (value, after) = value(value_text, found, known)?;
    found.insert(name.to_string(), value);
    Ok(after)
}

fn value<'t>(
    text: &'t str,
    found: &Texts,
    known: &dyn Fn(&str) -> Option<String>,
) -> Result<(String, &'t str), String> {
    match text.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let (raw, after) = quoted(text, quote)?;
            let value = if quote == '"' { expanded(&unescaped(&raw), found, known)? } else { raw };
            Ok((value, after))
        }
        _ => {
            let (line, after) = text.split_once('\n').unwrap_or((text, ""));
            let line = line.split_once(" #").map_or(line, |(value, _)| value).trim_end();
            Ok((expanded(line, found, known)?, after))
        }
    }
}

/// What stands in quotes, with quotes unescaped and everything else as it is.
fn quoted(text: &str, quote: char) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        if c == quote {
            return Ok((value, &text[at + 1..]));
        }
        if c != '\\' {
            value.push(c);
            continue;
        }
        match characters.next() {
            Some((_, next)) if next == quote => value.push(quote),
            Some((_, next)) => value.extend(['\\', next]),
            None => break,
        }
    }
    Err("a quote is not closed".to_string())
}

fn unescaped(text: &str) -> String {
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            value.push(c);
            continue;
        }
        match characters.next() {
            Some('n') => value.push('\n'),
            Some('r') => value.push('\r'),
            Some('t') => value.push('\t'),
            Some('a') => value.push('\u{7}'),
            Some('b') => value.push('\u{8}'),
            Some('c') => value.push_str("\\c"),
            Some('f') => value.push('\u{c}'),
            Some('v') => value.push('\u{b}'),
            Some('\\') => value.push('\\'),
            Some('$') => value.push_str("$$"),
            Some(other) => value.extend(['\\', other]),
            None => value.push('\\'),
        }
    }
    value
}

/// Those around it win over variables of the file.
fn expanded(text: &str, found: &Texts, known: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    if !text.contains('$') {
        return Ok(text.to_string());
    }
    let mut variables: Variables = found.clone().into_iter().collect();
    let names = text.match_indices('$').map(|(at, _)| {
        let rest = &text[at + 1..];
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        &rest[..name_length(rest)]
    });
    for name in names.filter(|name| !name.is_empty()) {
        if let Some(value) = known(name) {
            variables.insert(name.to_string(), value);
        }
    }
    substitute(text, &variables, &mut Vec::new(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_variables_are_read() {
        let text = "# comment\nA=1\nexport B = two words # comment\nC: \"x\\n$A\"\nD='$A'\n\nE=${NONE:-d}#x\nOUT\nF=\"a\\$b\"\nG=\n";
        let known = |name: &str| (name == "OUT").then(|| "outside".to_string());
        let found = parse(text, &known).unwrap();
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "x\n1"),
            ("D", "$A"),
            ("E", "d#x"),
            ("F", "a$b"),
            ("G", ""),
            ("OUT", "outside"),
        ];
        let expected: Texts =
            expected.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(found, expected);
        for bad in ["A B=1", "A=\"x", "A%=1"] {
            assert!(parse(bad, &|_| None).is_err(), "{bad}");
        }
    }
}
