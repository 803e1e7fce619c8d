//! `$NAME`, `${NAME:-default}` and their like in the texts of a Compose file.

use super::variables::Variables;
use super::yaml::{Kind, Node};
use crate::diag::Problem;

/// Substitutions inside of substitutions deeper than this are refused.
const DEEPEST: usize = 32;
/// The longest text that substitution may make of one value.
const LONGEST: usize = 4 << 20;

/// Substitutes in all texts; keys stay as they are. What is not set is empty, and a warning.
pub fn interpolate(node: &mut Node, variables: &Variables, problems: &mut Vec<Problem>) {
    match &mut node.kind {
        Kind::Text(text) if text.contains('$') => {
            let mut unset = Vec::new();
            variables.asked_at(None);
            let substituted = substitute(text, variables, &mut unset, 0);
            variables.asked_at(Some(&node.place));
            match substituted {
                Ok(substituted) => {
                    *text = substituted;
                    for name in unset {
                        let message = format!("the variable `{name}` is not set, so it is empty");
                        let warning = Problem::warning("compose::unset", message)
                            .at(node.place.clone(), "used here")
                            .help(format!("`${{{name}:-default}}` gives a default, `$$` stands for `$`"));
                        if !problems.contains(&warning) {
                            problems.push(warning);
                        }
                    }
                }
                Err(message) => problems
                    .push(Problem::input("compose::interpolation", message).at(node.place.clone(), "here")),
            }
        }
        Kind::List(items) => items.iter_mut().for_each(|item| interpolate(item, variables, problems)),
        Kind::Table(table) => {
            table.values_mut().for_each(|value| interpolate(value, variables, problems));
        }
        Kind::Text(_) | Kind::Null | Kind::Bool(_) | Kind::Integer(_) | Kind::Float(_) => {}
    }
}

/// The text with everything substituted; names that are not set and have no default go to `unset`.
pub fn substitute(
    text: &str,
    variables: &Variables,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, String> {
    if depth > DEEPEST {
        return Err("substitutions are nested too deep".to_string());
    }
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        written.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            written.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = closing(inner).ok_or_else(|| format!("`${{` is not closed in `{text}`"))?;
            written.push_str(&braced(&inner[..end], variables, unset, depth)?);
            rest = &inner[end + 1..];
        } else {
            match name_length(rest) {
                // Before what is no name, it stands for itself.
                0 => written.push('$'),
                length => {
                    written.push_str(&value(&rest[..length], variables, unset));
                    rest = &rest[length..];
                }
            }
        }
        if written.len() > LONGEST {
            return Err("the text becomes too long".to_string());
        }
    }
    written.push_str(rest);
    Ok(written)
}

fn value(name: &str, variables: &Variables, unset: &mut Vec<String>) -> String {
    variables.get(name).cloned().unwrap_or_else(|| {
        unset.push(name.to_string());
        String::new()
    })
}

/// Letters of any case, digits behind the first, and `_`.
pub fn name_length(text: &str) -> usize {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    if !text.bytes().next().is_some_and(is_first) {
        return 0;
    }
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

/// Where the brace is closed that was opened before the text.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// What stands in braces: a name, and what to do when it is set or not.
fn braced(
    inner: &str,
    variables: &Variables,
    unset: &mut Vec<String>,
    depth: usize,
) -> Result<String, String> {
    let (name, rest) = inner.split_at(name_length(inner));
    if name.is_empty() {
        return Err(format!("`${{{inner}}}` has no name of a variable"));
    }
    let (ignores_empty, operation) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let found = variables.get(name);
    let counts = found.filter(|value| !ignores_empty || !value.is_empty());
    let mut operand = |text: &str| substitute(text, variables, unset, depth + 1);
    if let Some(default) = operation.strip_prefix('-') {
        return counts.map_or_else(|| operand(default), |value| Ok(value.clone()));
    }
    if let Some(alternative) = operation.strip_prefix('+') {
        return match counts {
            Some(_) => operand(alternative),
            None => Ok(found.cloned().unwrap_or_default()),
        };
    }
    if let Some(message) = operation.strip_prefix('?') {
        return match counts {
            Some(value) => Ok(value.clone()),
            None => {
                let message = operand(message)?;
                let colon = if message.is_empty() { "" } else { ": " };
                Err(format!("the variable `{name}` is required{colon}{message}"))
            }
        };
    }
    if rest.is_empty() {
        return Ok(value(name, variables, unset));
    }
    Err(format!("`${{{inner}}}` is not a substitution"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_substituted() {
        let variables = [("A", "a"), ("EMPTY", ""), ("b_1", "B")];
        let variables: Variables =
            variables.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let check = |text: &str, expected: Option<&str>| {
            let found = substitute(text, &variables, &mut Vec::new(), 0);
            assert_eq!(found.ok().as_deref(), expected, "{text}");
        };
        for (text, expected) in [
            ("$A-${A}-$$A", "a-a-$A"),
            ("$b_1.x", "B.x"),
            ("${NONE}", ""),
            ("${NONE-d}${NONE:-e}", "de"),
            ("${EMPTY-d}|${EMPTY:-e}", "|e"),
            ("${A:-d}", "a"),
            ("${NONE:-${A}}", "a"),
            ("${NONE:-x${EMPTY:-y}z}", "xyz"),
            ("${A+set}${EMPTY:+no}${NONE+no}", "set"),
            ("${A?needed}", "a"),
            ("${NONE:-http://x/y?z}", "http://x/y?z"),
            ("$1 a $ b$", "$1 a $ b$"),
        ] {
            check(text, Some(expected));
        }
        for text in ["${NONE?needed}", "${EMPTY:?}", "${1}", "${A", "${}", "${A!b}"] {
            check(text, None);
        }
    }
}
