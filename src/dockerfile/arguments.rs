//! The shapes that arguments come in: JSON arrays, blank-separated words, quoted words, `key=value`.

use serde_json::Value;

use super::lines::BLANKS;

/// One `key=value`, both as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    pub key: String,
    pub value: String,
}

/// What an argument is when read as a JSON array.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JsonForm {
    Strings(Vec<String>),
    /// An array that holds something else, which is an error.
    NotOnlyStrings,
    /// No JSON array; the shell form.
    Other,
}

pub(super) fn json_form(arguments: &str) -> JsonForm {
    if !arguments.trim_start().starts_with('[') {
        return JsonForm::Other;
    }
    let Ok(values) = serde_json::from_str::<Vec<Value>>(arguments) else { return JsonForm::Other };
    let strings = values.into_iter().map(|value| match value {
        Value::String(text) => Some(text),
        _ => None,
    });
    match strings.collect() {
        Some(strings) => JsonForm::Strings(strings),
        None => JsonForm::NotOnlyStrings,
    }
}

/// Words between blanks; quotes mean nothing here.
pub(super) fn blank_separated(arguments: &str) -> impl Iterator<Item = &str> {
    blank_separated_at(arguments).map(|(_, word)| word)
}

/// The same with the offsets of the words. All blanks are one byte long.
pub(super) fn blank_separated_at(arguments: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut next = 0;
    let words = arguments.split(BLANKS).map(move |word| {
        let start = next;
        next += word.len() + 1;
        (start, word)
    });
    words.filter(|(_, word)| !word.is_empty())
}

/// Words between blanks that are neither quoted nor escaped. Quotes and escapes stay in the words.
pub(super) fn quoted_words(arguments: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = arguments.chars();
    while let Some(char) = chars.next() {
        if char == escape && quote != Some('\'') {
            // An escape at the very end has nothing to escape and vanishes.
            if let Some(escaped) = chars.next() {
                word.extend([char, escaped]);
            }
            continue;
        }
        if quote.is_none() && char.is_whitespace() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        match quote {
            Some(open) if open == char => quote = None,
            None if matches!(char, '\'' | '"') => quote = Some(char),
            _ => {}
        }
        word.push(char);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Why arguments are not pairs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PairsError {
    /// A lone name.
    OneArgument(String),
    NoEquals(String),
    BlankName,
}

/// `key=value …`, or the legacy `key value`, where the value is the rest of the line. The flag says which.
pub(super) fn pairs(arguments: &str, escape: char) -> Result<(Vec<KeyValue>, bool), PairsError> {
    let words = quoted_words(arguments, escape);
    if words.first().is_some_and(|first| !first.contains('=')) {
        let (key, value) =
            arguments.split_once(BLANKS).ok_or_else(|| PairsError::OneArgument(arguments.to_string()))?;
        let value = value.trim_start_matches(BLANKS);
        return Ok((vec![KeyValue { key: key.to_string(), value: value.to_string() }], true));
    }
    let split = |word: String| match word.split_once('=') {
        Some(("", _)) => Err(PairsError::BlankName),
        Some((key, value)) => Ok(KeyValue { key: key.to_string(), value: value.to_string() }),
        None => Err(PairsError::NoEquals(word)),
    };
    Ok((words.into_iter().map(split).collect::<Result<_, _>>()?, false))
}
