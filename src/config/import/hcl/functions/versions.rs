//! Versions and what they must satisfy: `^1.2`, `~1.2.3`, `>= 1, < 2`, `1.x || 3`.

use std::cmp::Ordering;

use super::super::value::Value;
use super::Parameter::Text;
use super::{Function, Outcome, Surroundings, blame, fixed, text};

pub const FUNCTIONS: &[Function] = &[fixed("semvercmp", &[Text, Text], compare)];

#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    numbers: [u64; 3],
    /// How many of the numbers were written.
    written: usize,
    pre: Vec<String>,
}

/// One comparison; all of a list must hold.
struct Condition {
    operator: String,
    version: Version,
}

fn compare(values: &[Value], _: &Surroundings) -> Outcome {
    let version = parse(text(values, 0), false)
        .ok_or_else(|| blame(0, format!("`{}` is not a version", text(values, 0))))?;
    let alternatives = text(values, 1).split("||").map(conditions);
    let alternatives: Option<Vec<Vec<Condition>>> = alternatives.collect();
    let alternatives = alternatives
        .ok_or_else(|| blame(1, format!("`{}` is not a constraint of versions", text(values, 1))))?;
    let is_met = alternatives.iter().any(|all| all.iter().all(|condition| condition.holds(&version)));
    Ok(Value::Bool(is_met))
}

/// `v1.2.3-pre+build`; parts may be missing, in constraints also wildcards.
fn parse(text: &str, with_wildcards: bool) -> Option<Version> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let text = text.split_once('+').map_or(text, |(version, _)| version);
    let (core, pre) = match text.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (text, None),
    };
    let mut version = Version { numbers: [0; 3], written: 0, pre: Vec::new() };
    let parts: Vec<&str> = core.split('.').collect();
    if parts.len() > 3 {
        return None;
    }
    for (index, part) in parts.iter().enumerate() {
        if with_wildcards && matches!(*part, "x" | "X" | "*") {
            return Some(version);
        }
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        version.numbers[index] = part.parse().ok()?;
        version.written = index + 1;
    }
    if let Some(pre) = pre {
        version.pre = pre.split('.').map(str::to_string).collect();
        let is_word = |word: &String| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if !version.pre.iter().all(is_word) {
            return None;
        }
    }
    Some(version)
}

const OPERATORS: [&str; 11] = ["!=", ">=", "=>", "<=", "=<", "~>", ">", "<", "=", "~", "^"];

/// Comparisons with commas or spaces between them, and ranges `a - b`.
fn conditions(text: &str) -> Option<Vec<Condition>> {
    let mut found = Vec::new();
    let mut words = text.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty()).peekable();
    while let Some(word) = words.next() {
        if words.peek() == Some(&"-") {
            words.next();
            found.push(Condition { operator: ">=".to_string(), version: parse(word, true)? });
            found.push(Condition { operator: "<=".to_string(), version: parse(words.next()?, true)? });
            continue;
        }
        let operator = OPERATORS.into_iter().find(|operator| word.starts_with(operator)).unwrap_or("");
        let rest = &word[operator.len()..];
        let version = if rest.is_empty() { words.next()? } else { rest };
        found.push(Condition { operator: operator.to_string(), version: parse(version, true)? });
    }
    (!found.is_empty()).then_some(found)
}

impl Condition {
    fn holds(&self, version: &Version) -> bool {
        let wanted = &self.version;
        // A version before a release counts only where the constraint speaks of such versions.
        if !version.pre.is_empty() && wanted.pre.is_empty() && self.operator != "!=" {
            return false;
        }
        let order = order(version, wanted);
        let same = |count: usize| version.numbers[..count] == wanted.numbers[..count];
        match self.operator.as_str() {
            "!=" if wanted.written < 3 => !same(wanted.written),
            "!=" => order != Ordering::Equal,
            ">" if wanted.written < 3 => order == Ordering::Greater && !same(wanted.written),
            ">" => order == Ordering::Greater,
            ">=" | "=>" => order != Ordering::Less,
            "<" => order == Ordering::Less,
            "<=" | "=<" if wanted.written < 3 => order == Ordering::Less || same(wanted.written),
            "<=" | "=<" => order != Ordering::Greater,
            "~" | "~>" => order != Ordering::Less && same(wanted.written.min(2)),
            "^" => order != Ordering::Less && same(self.caret()),
            _ if wanted.written < 3 => order != Ordering::Less && same(wanted.written),
            _ => order == Ordering::Equal,
        }
    }

    /// How many numbers `^` holds fast: up to the first that is not zero.
    fn caret(&self) -> usize {
        let first = self.version.numbers.iter().position(|number| *number > 0);
        first.map_or(self.version.written, |first| first + 1).min(self.version.written.max(1))
    }
}

fn order(left: &Version, right: &Version) -> Ordering {
    left.numbers.cmp(&right.numbers).then_with(|| match (left.pre.is_empty(), right.pre.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => pre_order(&left.pre, &right.pre),
    })
}

/// Numbers come before words and compare as numbers.
fn pre_order(left: &[String], right: &[String]) -> Ordering {
    for (left, right) in left.iter().zip(right) {
        let order = match (left.parse::<u64>(), right.parse::<u64>()) {
            (Ok(left), Ok(right)) => left.cmp(&right),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            (Err(_), Err(_)) => left.cmp(right),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    left.len().cmp(&right.len())
}
