//! One pattern of an ignore file: wildcards with `**`, as moby's patternmatcher understands them.
//!
//! Beyond [`Glob`]: `**/` is any number of leading directories and none, `**` elsewhere likewise (so `a**b` is
//! `ab` or `a`, anything, `/b`), and `**` at the end is anything. A pattern of plain characters and one `**`
//! at an end compares text, so `a**` matches `ab/c` and `**a` matches `b/ca`.
//! Accidents of moby's translation to regular expressions are not kept: there `|` and `^` have a meaning, so has
//! a backslash before a letter, and a class that is left open is noticed only once the pattern is tried.

use super::glob::{Class, Glob, PatternError, character};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    /// What follows a leading `**`.
    Suffix(Vec<u8>),
    Wild(Vec<Token>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Text(Vec<u8>),
    AnyCharacter,
    Star,
    Class(Class),
    /// Nothing, or anything up to and with a `/`.
    AnyDirectories,
    Anything,
}

/// How moby decides between comparing text and a regular expression, piece by piece.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Exact,
    Prefix,
    Suffix,
    Wild,
}

impl Pattern {
    /// `pattern` is clean.
    pub(super) fn parse(pattern: &[u8]) -> Result<Self, PatternError> {
        Glob::parse(pattern)?;
        let mut shape = Shape::Exact;
        let mut tokens = Vec::new();
        let mut rest = pattern;
        while let Some((&byte, after)) = rest.split_first() {
            let is_first = rest.len() == pattern.len();
            rest = after;
            match byte {
                b'*' if rest.first() == Some(&b'*') => {
                    rest = &rest[1..];
                    rest = rest.strip_prefix(b"/").unwrap_or(rest);
                    (shape, rest) = double_star(shape, is_first, rest, &mut tokens);
                    continue;
                }
                b'*' => tokens.push(Token::Star),
                b'?' => tokens.push(Token::AnyCharacter),
                b'[' => {
                    let (class, after) = Class::parse(rest)?;
                    tokens.push(Token::Class(class));
                    rest = after;
                }
                b'\\' => {
                    let (&escaped, after) = rest.split_first().ok_or(PatternError)?;
                    push_text(&mut tokens, escaped);
                    rest = after;
                }
                _ => push_text(&mut tokens, byte),
            }
            if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
                shape = Shape::Wild;
            }
        }
        Ok(match shape {
            Shape::Exact => Self::Exact(pattern.to_vec()),
            Shape::Prefix => Self::Prefix(pattern[..pattern.len() - 2].to_vec()),
            Shape::Suffix => Self::Suffix(pattern[2..].to_vec()),
            Shape::Wild => Self::Wild(tokens),
        })
    }

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(text) => path.starts_with(text),
            Self::Suffix(text) => path.ends_with(text) || text.strip_prefix(b"/") == Some(path),
            Self::Wild(tokens) => matches_tokens(tokens, path),
        }
    }

    /// Whether a path below `directory` might match. `true` when in doubt.
    pub(super) fn may_match_below(&self, directory: &[u8]) -> bool {
        match self {
            Self::Exact(text) => is_below(text, directory),
            Self::Prefix(text) => meets(text, directory),
            Self::Suffix(_) => true,
            Self::Wild(tokens) => {
                let text = match tokens.first() {
                    Some(Token::Text(text)) => text.as_slice(),
                    _ => b"",
                };
                let depth = slashes(directory) + 1;
                meets(text, directory) && most_slashes(tokens).is_none_or(|most| most >= depth)
            }
        }
    }
}

fn double_star<'a>(
    shape: Shape,
    is_first: bool,
    rest: &'a [u8],
    tokens: &mut Vec<Token>,
) -> (Shape, &'a [u8]) {
    let shape = match (rest.is_empty(), shape) {
        (true, Shape::Exact) => Shape::Prefix,
        (true, _) => {
            tokens.push(Token::Anything);
            Shape::Wild
        }
        (false, _) => {
            tokens.push(Token::AnyDirectories);
            Shape::Wild
        }
    };
    (if is_first { Shape::Suffix } else { shape }, rest)
}

fn push_text(tokens: &mut Vec<Token>, byte: u8) {
    match tokens.last_mut() {
        Some(Token::Text(text)) => text.push(byte),
        _ => tokens.push(Token::Text(vec![byte])),
    }
}

fn slashes(path: &[u8]) -> usize {
    path.iter().filter(|byte| **byte == b'/').count()
}

/// How many `/` a match can have, when that is known.
fn most_slashes(tokens: &[Token]) -> Option<usize> {
    tokens.iter().try_fold(0, |sum, token| match token {
        Token::Text(text) => Some(sum + slashes(text)),
        Token::AnyCharacter | Token::Star => Some(sum),
        // A negated class matches a slash.
        Token::Class(_) => Some(sum + 1),
        Token::AnyDirectories | Token::Anything => None,
    })
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.len() > 1 && rest[0] == b'/')
}

/// Whether a path can start with `text` and be below `directory`.
fn meets(text: &[u8], directory: &[u8]) -> bool {
    let common = text.len().min(directory.len());
    text[..common] == directory[..common] && text.get(directory.len()).is_none_or(|byte| *byte == b'/')
}

/// Follows all ways to match at once: the places in the path the tokens so far can end at, ascending. This
/// takes at most the product of both lengths, however many stars there are.
fn matches_tokens(tokens: &[Token], path: &[u8]) -> bool {
    // Most patterns end in plain text, and most paths do not.
    if let Some(Token::Text(text)) = tokens.last()
        && !path.ends_with(text)
    {
        return false;
    }
    let mut places = vec![0];
    for token in tokens {
        places = match token {
            Token::Text(text) => {
                let starts = places.iter().filter(|place| path[**place..].starts_with(text));
                starts.map(|place| place + text.len()).collect()
            }
            Token::AnyCharacter => after_character(&places, path, |found| found != '/'),
            Token::Class(class) => after_character(&places, path, |found| class.contains(found)),
            Token::Star => after_star(&places, path),
            Token::AnyDirectories => after_directories(&places, path),
            Token::Anything => {
                places.first().map(|first| (*first..=path.len()).collect()).unwrap_or_default()
            }
        };
        if places.is_empty() {
            return false;
        }
    }
    places.last() == Some(&path.len())
}

fn after_character(places: &[usize], path: &[u8], is_wanted: impl Fn(char) -> bool) -> Vec<usize> {
    let mut after: Vec<usize> = places
        .iter()
        .filter(|place| **place < path.len())
        .map(|place| (place, character(&path[*place..])))
        .filter(|(_, (found, _))| is_wanted(*found))
        .map(|(place, (_, length))| place + length)
        .collect();
    // Inside a character that is not whole, a longer step can overtake a shorter one.
    after.sort_unstable();
    after.dedup();
    after
}

fn after_star(places: &[usize], path: &[u8]) -> Vec<usize> {
    let mut after = Vec::new();
    let mut next = 0;
    for place in places {
        next = next.max(*place);
        // The places up to `next` are listed already; when this place is among them, so is what it reaches.
        if after.last().is_some_and(|last| last >= place) {
            continue;
        }
        after.push(next);
        while path.get(next).is_some_and(|byte| *byte != b'/') {
            next += 1;
            after.push(next);
        }
    }
    after
}

fn after_directories(places: &[usize], path: &[u8]) -> Vec<usize> {
    let Some(first) = places.first() else { return Vec::new() };
    let behind_slash = (*first..path.len()).filter(|place| path[*place] == b'/').map(|place| place + 1);
    let mut after: Vec<usize> = places.iter().copied().chain(behind_slash).collect();
    after.sort_unstable();
    after.dedup();
    after
}
