//! The language of patterns: `{{name}}`, `{{date 'YYYYMMDD' tz='UTC'}}`, `{{#if name}}…{{else}}…{{/if}}`.
//!
//! It is the part of Handlebars that docker/metadata-action's rules are written in: names without a value are empty,
//! `{{{name}}}` and `{{&name}}` are never escaped, `~` takes white space away, `{{!…}}` is a comment. Blocks are `if`
//! and `unless`. Does not know which names there are.

use std::borrow::Cow;

/// A pattern that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Letters(String),
    Value { call: Call, is_escaped: bool },
    Block { is_negated: bool, condition: Operand, then: Vec<Piece>, otherwise: Vec<Piece> },
}

/// A name, and what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    pub arguments: Vec<Operand>,
    pub named: Vec<(String, Operand)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    Text(String),
    Number(String),
    Boolean(bool),
    Name(String),
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum {
    Text(String),
    Number(u64),
    /// Shown with commas between.
    List(Vec<String>),
}

/// What names stand for.
pub trait Names {
    /// `None` for a name that there is not; an error where there is one and it cannot be had like this.
    fn value(&self, call: &Call) -> Result<Option<Datum>, String>;

    /// Whether letters that HTML has another meaning for are written as it wants them.
    fn escapes(&self) -> bool;
}

/// Blocks within blocks go no deeper.
const DEEPEST: usize = 16;
/// No pattern of a tag is as long.
const LONGEST: usize = 64 << 10;

impl Expression {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("the pattern is longer than {LONGEST} bytes"));
        }
        let mut parser = Parser { tokens: tokens(text)?.into_iter() };
        let (pieces, end) = parser.pieces(0)?;
        match end {
            End::OfText => Ok(Self(pieces)),
            End::Else => Err("`{{else}}` stands outside of a block".to_string()),
            End::Close(name) => Err(format!("`{{{{/{name}}}}}` closes a block that is not open")),
        }
    }

    pub fn render(&self, names: &dyn Names) -> Result<String, String> {
        let mut text = String::new();
        render(&self.0, names, &mut text)?;
        Ok(text)
    }

    /// Whether it is `{{name}}` and nothing else.
    pub fn is_only(&self, name: &str) -> bool {
        matches!(&self.0[..], [Piece::Value { call, .. }] if call.name == name)
    }
}

/// The text that a pattern comes to.
pub fn render_text(text: &str, names: &dyn Names) -> Result<String, String> {
    match text.contains("{{") {
        true => Expression::parse(text)?.render(names),
        false => Ok(text.to_string()),
    }
}

fn render(pieces: &[Piece], names: &dyn Names, text: &mut String) -> Result<(), String> {
    for piece in pieces {
        match piece {
            Piece::Letters(letters) => text.push_str(letters),
            Piece::Value { call, is_escaped } => {
                let Some(value) = names.value(call)? else {
                    if call.arguments.is_empty() && call.named.is_empty() {
                        continue;
                    }
                    return Err(format!("there is no function `{}`", call.name));
                };
                let value = value.text();
                text.push_str(&if *is_escaped && names.escapes() {
                    escaped(&value)
                } else {
                    Cow::from(value)
                });
            }
            Piece::Block { is_negated, condition, then, otherwise } => {
                let chosen = if is_true(condition, names)? != *is_negated { then } else { otherwise };
                render(chosen, names, text)?;
            }
        }
    }
    Ok(())
}

fn is_true(condition: &Operand, names: &dyn Names) -> Result<bool, String> {
    Ok(match condition {
        Operand::Text(text) => !text.is_empty(),
        Operand::Number(number) => number.parse::<f64>().is_ok_and(|number| number != 0.0),
        Operand::Boolean(truth) => *truth,
        Operand::Name(name) => {
            let call = Call { name: name.clone(), arguments: Vec::new(), named: Vec::new() };
            match names.value(&call)? {
                None => false,
                Some(Datum::Text(text)) => !text.is_empty(),
                Some(Datum::Number(number)) => number != 0,
                Some(Datum::List(members)) => !members.is_empty(),
            }
        }
    })
}

impl Datum {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::List(members) => members.join(","),
        }
    }
}

fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'', '`', '=']) {
        return Cow::Borrowed(text);
    }
    let mut written = String::new();
    for letter in text.chars() {
        match letter {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            '\'' => written.push_str("&#x27;"),
            '`' => written.push_str("&#x60;"),
            '=' => written.push_str("&#x3D;"),
            other => written.push(other),
        }
    }
    Cow::Owned(written)
}

enum Token {
    Letters(String),
    /// What stands between the braces, and whether there were three.
    Tag {
        inside: String,
        is_raw: bool,
    },
}

/// Letters and tags, with the white space gone that a `~` takes.
fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut letters = String::new();
    let mut rest = text;
    let mut trims_next = false;
    while let Some(at) = rest.find("{{") {
        let before = &rest[..at];
        // A backslash keeps the braces, two keep themselves.
        if before.ends_with('\\') && !before.ends_with("\\\\") {
            letters.push_str(trimmed_start(&before[..at - 1], &mut trims_next));
            let end = rest[at + 2..].find("{{").map_or(rest.len(), |next| at + 2 + next);
            letters.push_str(&rest[at..end]);
            rest = &rest[end..];
            continue;
        }
        let before = before.strip_suffix('\\').unwrap_or(before);
        letters.push_str(trimmed_start(before, &mut trims_next));
        let (inside, is_raw, after) = tag_at(&rest[at..])?;
        let inside = inside.strip_prefix('~').map_or(inside, |inside| {
            letters.truncate(letters.trim_end().len());
            inside
        });
        trims_next = inside.ends_with('~');
        let inside = inside.strip_suffix('~').unwrap_or(inside).trim().to_string();
        if !letters.is_empty() {
            tokens.push(Token::Letters(std::mem::take(&mut letters)));
        }
        if !inside.starts_with('!') {
            tokens.push(Token::Tag { inside, is_raw });
        }
        rest = after;
    }
    letters.push_str(trimmed_start(rest, &mut trims_next));
    if !letters.is_empty() {
        tokens.push(Token::Letters(letters));
    }
    Ok(tokens)
}

fn trimmed_start<'t>(text: &'t str, trims: &mut bool) -> &'t str {
    if std::mem::take(trims) { text.trim_start() } else { text }
}

/// The inside of the tag that `text` begins with, and what is after it. Braces may stand in quotes.
fn tag_at(text: &str) -> Result<(&str, bool, &str), String> {
    let is_raw = text.starts_with("{{{");
    let (opening, closing) = if is_raw { (3, "}}}") } else { (2, "}}") };
    if let Some(comment) = text[2..].trim_start_matches('~').strip_prefix("!--") {
        let end = comment.find("--").ok_or("a comment is not closed")?;
        let after = &comment[end..];
        let close = after.find("}}").ok_or("a comment is not closed")?;
        return Ok(("!", false, &after[close + 2..]));
    }
    let inside = &text[opening..];
    let mut quote = None;
    let is_comment = inside.starts_with('!');
    for (at, letter) in inside.char_indices() {
        match quote {
            Some(open) if open == letter => quote = None,
            Some(_) => {}
            None if matches!(letter, '"' | '\'') && !is_comment => quote = Some(letter),
            None if inside[at..].starts_with(closing) => {
                return Ok((&inside[..at], is_raw, &inside[at + closing.len()..]));
            }
            None => {}
        }
    }
    let shown: String = text.chars().take(32).collect();
    Err(format!("`{{{{` is not closed in `{shown}`"))
}

enum End {
    OfText,
    Else,
    Close(String),
}

struct Parser {
    tokens: std::vec::IntoIter<Token>,
}

impl Parser {
    fn pieces(&mut self, depth: usize) -> Result<(Vec<Piece>, End), String> {
        let mut pieces = Vec::new();
        while let Some(token) = self.tokens.next() {
            let (inside, is_raw) = match token {
                Token::Letters(letters) => {
                    pieces.push(Piece::Letters(letters));
                    continue;
                }
                Token::Tag { inside, is_raw } => (inside, is_raw),
            };
            if let Some(opening) = inside.strip_prefix('#') {
                pieces.push(self.block(opening, depth)?);
            } else if let Some(name) = inside.strip_prefix('/') {
                return Ok((pieces, End::Close(name.trim().to_string())));
            } else if inside == "else" || inside == "^" {
                return Ok((pieces, End::Else));
            } else if inside.starts_with(['>', '^', '*']) || inside.starts_with("else ") {
                return Err(format!("`{{{{{inside}}}}}` is not part of the language of tag rules"));
            } else {
                let (inside, is_plain) = match inside.strip_prefix('&') {
                    Some(rest) => (rest.trim(), true),
                    None => (inside.as_str(), is_raw),
                };
                pieces.push(Piece::Value { call: call(inside)?, is_escaped: !is_plain });
            }
        }
        Ok((pieces, End::OfText))
    }

    fn block(&mut self, opening: &str, depth: usize) -> Result<Piece, String> {
        let Call { name, arguments, named } = call(opening)?;
        let is_negated = match name.as_str() {
            "if" => false,
            "unless" => true,
            _ => return Err(format!("there is no block `{name}`; there are `if` and `unless`")),
        };
        let [condition] = &arguments[..] else {
            return Err(format!("`{{{{#{name}}}}}` takes one name"));
        };
        if depth >= DEEPEST {
            return Err(format!("blocks are more than {DEEPEST} deep"));
        }
        // Zero is false unless asked otherwise.
        let counts_zero =
            named.iter().any(|(key, value)| key == "includeZero" && *value == Operand::Boolean(true));
        let condition = if counts_zero { Operand::Boolean(true) } else { condition.clone() };
        let (then, end) = self.pieces(depth + 1)?;
        let (otherwise, end) = match end {
            End::Else => self.pieces(depth + 1)?,
            end => (Vec::new(), end),
        };
        match end {
            End::Close(closed) if closed == name => {
                Ok(Piece::Block { is_negated, condition, then, otherwise })
            }
            _ => Err(format!("`{{{{#{name}}}}}` is not closed")),
        }
    }
}

/// `name argument… key=argument…`
fn call(inside: &str) -> Result<Call, String> {
    let mut words = words(inside)?.into_iter();
    let name = match words.next() {
        Some(word) if word.key.is_none() => match word.operand {
            Operand::Name(name) => name,
            _ => return Err(format!("`{{{{{inside}}}}}` does not begin with a name")),
        },
        _ => return Err(format!("`{{{{{inside}}}}}` does not begin with a name")),
    };
    let (mut arguments, mut named) = (Vec::new(), Vec::new());
    for word in words {
        match word.key {
            Some(key) => named.push((key, word.operand)),
            None => arguments.push(word.operand),
        }
    }
    Ok(Call { name, arguments, named })
}

struct Word {
    key: Option<String>,
    operand: Operand,
}

fn words(inside: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = inside.trim_start();
    while !rest.is_empty() {
        let (key, after) = match rest.split_once('=') {
            Some((key, after)) if !key.is_empty() && key.chars().all(is_of_name) => {
                (Some(key.to_string()), after)
            }
            _ => (None, rest),
        };
        let (operand, after) = operand(after)?;
        words.push(Word { key, operand });
        rest = after.trim_start();
    }
    Ok(words)
}

fn operand(text: &str) -> Result<(Operand, &str), String> {
    let unreadable = || {
        let shown: String = text.chars().take(32).collect();
        format!("`{shown}` is not a name, a number or a quoted text")
    };
    if let Some(quote) = text.chars().next().filter(|letter| matches!(letter, '"' | '\'')) {
        let end = text[1..].find(quote).ok_or_else(unreadable)?;
        return Ok((Operand::Text(text[1..=end].to_string()), &text[end + 2..]));
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, after) = text.split_at(end);
    let operand = match word {
        "true" => Operand::Boolean(true),
        "false" => Operand::Boolean(false),
        _ if word.parse::<f64>().is_ok() => Operand::Number(word.to_string()),
        _ => Operand::Name(path(word).ok_or_else(unreadable)?),
    };
    Ok((operand, after))
}

/// A name with its members, in one spelling: `this.a/[b]` is `a.b`.
fn path(word: &str) -> Option<String> {
    let word =
        ["this.", "this/", "./", "@root."].iter().find_map(|own| word.strip_prefix(own)).unwrap_or(word);
    let mut parts = Vec::new();
    for part in word.split(['.', '/']) {
        let part = part.strip_prefix('[').and_then(|part| part.strip_suffix(']')).unwrap_or(part);
        if part.is_empty() || !part.chars().all(is_of_name) {
            return None;
        }
        parts.push(part);
    }
    Some(parts.join("."))
}

fn is_of_name(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '-' | '$')
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table;

    impl Names for Table {
        fn value(&self, call: &Call) -> Result<Option<Datum>, String> {
            Ok(match (call.name.as_str(), &call.arguments[..]) {
                ("branch", _) => Some(Datum::Text("a&b".to_string())),
                ("zero", _) => Some(Datum::Number(0)),
                ("none", _) => Some(Datum::Text(String::new())),
                ("list", _) => Some(Datum::List(vec!["x".to_string(), "y".to_string()])),
                ("list.1", _) => Some(Datum::Text("y".to_string())),
                ("say", [Operand::Text(text)]) => Some(Datum::Text(format!("{text}{:?}", call.named.len()))),
                ("bad", _) => return Err("bad".to_string()),
                _ => None,
            })
        }

        fn escapes(&self) -> bool {
            true
        }
    }

    #[test]
    fn patterns_are_rendered() {
        for (pattern, expected) in [
            ("plain", Ok("plain")),
            ("{{branch}}-{{{branch}}}-{{& branch }}", Ok("a&amp;b-a&b-a&b")),
            ("v{{ zero }}.{{this.zero}}{{nothing}}", Ok("v0.0")),
            ("{{list}} {{list.[1]}} {{list/1}}", Ok("x,y y y")),
            ("{{say 'a }} b' tz=\"x\"}}", Ok("a }} b1")),
            ("a {{~ zero ~}} b", Ok("a0b")),
            ("a{{! comment }}b{{!-- }} --}}c", Ok("abc")),
            ("\\{{zero}} {{zero}}", Ok("{{zero}} 0")),
            ("{{#if branch}}yes{{else}}no{{/if}}", Ok("yes")),
            ("{{#if zero}}yes{{else}}no{{/if}}{{#if zero includeZero=true}}!{{/if}}", Ok("no!")),
            ("{{#unless none}}a{{#if list}}b{{/if}}{{/unless}}", Ok("ab")),
            ("{{bad}}", Err("bad")),
            ("{{nothing 'x'}}", Err("there is no function `nothing`")),
            ("{{zero", Err("`{{` is not closed in `{{zero`")),
            ("{{#if zero}}", Err("`{{#if}}` is not closed")),
            ("{{/if}}", Err("`{{/if}}` closes a block that is not open")),
            ("{{#each list}}{{/each}}", Err("there is no block `each`; there are `if` and `unless`")),
            ("{{> part}}", Err("`{{> part}}` is not part of the language of tag rules")),
            ("{{'x'}}", Err("`{{'x'}}` does not begin with a name")),
            ("{{a (b)}}", Err("`(b)` is not a name, a number or a quoted text")),
        ] {
            let rendered = render_text(pattern, &Table);
            assert_eq!(rendered.as_deref().map_err(String::as_str), expected, "{pattern}");
        }
    }

    #[test]
    fn one_name_alone_is_seen() {
        for (pattern, expected) in [
            ("{{raw}}", true),
            (" {{raw}}", false),
            ("{{{ raw }}}", true),
            ("{{version}}", false),
            ("raw", false),
        ] {
            assert_eq!(Expression::parse(pattern).unwrap().is_only("raw"), expected, "{pattern}");
        }
    }
}
