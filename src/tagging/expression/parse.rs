//! Tokens put together into pieces, and the words of one tag.

use super::tokens::{Token, tokens};
use super::{Argument, Asked, Block, From, Operand, Path, Piece};

/// Blocks within blocks, and parentheses within parentheses, go no deeper.
const DEEPEST: usize = 16;

pub fn parsed(text: &str) -> Result<Vec<Piece>, String> {
    let mut parser = Parser { tokens: tokens(text)?.into_iter() };
    let (pieces, end) = parser.pieces(0)?;
    match end {
        End::OfText => Ok(pieces),
        End::Else(_) => Err("`{{else}}` stands outside of a block".to_string()),
        End::Close(name) => Err(format!("`{{{{/{name}}}}}` closes a block that is not open")),
    }
}

enum End {
    OfText,
    /// With what stands behind it: `else if name`.
    Else(String),
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
                pieces.push(self.block(opening, false, depth)?);
            } else if let Some(name) = inside.strip_prefix('/') {
                return Ok((pieces, End::Close(name.trim().to_string())));
            } else if inside == "else" || inside == "^" {
                return Ok((pieces, End::Else(String::new())));
            } else if let Some(chained) = inside.strip_prefix("else ") {
                return Ok((pieces, End::Else(chained.trim().to_string())));
            } else if let Some(opening) = inside.strip_prefix('^') {
                pieces.push(self.block(opening, true, depth)?);
            } else if inside.starts_with('{') {
                return Err("raw blocks (`{{{{…}}}}`) are not part of the language of tag rules".to_string());
            } else if inside.starts_with(['>', '*']) {
                return Err(format!("`{{{{{inside}}}}}` is not part of the language of tag rules"));
            } else {
                let (inside, is_plain) = match inside.strip_prefix('&') {
                    Some(rest) => (rest.trim(), true),
                    None => (inside.as_str(), is_raw),
                };
                let (asked, params) = asked(inside)?;
                if !params.is_empty() {
                    return Err(format!("`{{{{{inside}}}}}` is no block, and names nothing with `as`"));
                }
                pieces.push(Piece::Value { asked, is_escaped: !is_plain });
            }
        }
        Ok((pieces, End::OfText))
    }

    /// A block after its opening tag, to its closing one. `{{^name}}` begins with what else there is.
    fn block(&mut self, opening: &str, is_inverted: bool, depth: usize) -> Result<Piece, String> {
        let name = opening.split_whitespace().next().unwrap_or_default().to_string();
        let (block, end) = self.chain(opening, is_inverted, depth)?;
        match end {
            End::Close(closed) if closed == name => Ok(block),
            _ => Err(format!("`{{{{#{name}}}}}` is not closed")),
        }
    }

    /// A block up to the tag that closes it, which closes those of its `{{else if …}}` as well.
    fn chain(&mut self, opening: &str, is_inverted: bool, depth: usize) -> Result<(Piece, End), String> {
        let (asked, params) = asked(opening)?;
        if depth >= DEEPEST {
            return Err(format!("blocks are more than {DEEPEST} deep"));
        }
        let name = asked.path.parts.join(".");
        if matches!(name.as_str(), "if" | "unless" | "each" | "with") && asked.arguments.len() != 1 {
            return Err(format!("`{{{{#{name}}}}}` takes one name"));
        }
        let (then, end) = self.pieces(depth + 1)?;
        let (otherwise, end) = match end {
            End::Else(chained) if chained.is_empty() => self.pieces(depth + 1)?,
            End::Else(chained) => {
                let (inner, end) = self.chain(&chained, false, depth + 1)?;
                (vec![inner], end)
            }
            end => (Vec::new(), end),
        };
        let (then, otherwise) = if is_inverted { (otherwise, then) } else { (then, otherwise) };
        Ok((Piece::Block(Block { asked, params, then, otherwise }), end))
    }
}

/// `name argument… key=argument… as |name name|`
fn asked(inside: &str) -> Result<(Asked, Vec<String>), String> {
    let mut words = Words { inside, rest: inside };
    let asked = words.asked(0)?;
    let rest = words.rest.trim();
    let Some(params) = rest.strip_prefix("as").and_then(|rest| rest.trim().strip_prefix('|')) else {
        return if rest.is_empty() { Ok((asked, Vec::new())) } else { Err(unreadable(rest)) };
    };
    let params = params.strip_suffix('|').ok_or_else(|| unreadable(rest))?;
    let params: Vec<String> = params.split_whitespace().map(String::from).collect();
    match params.iter().all(|param| param.chars().all(is_of_name)) {
        true => Ok((asked, params)),
        false => Err(unreadable(rest)),
    }
}

fn unreadable(text: &str) -> String {
    let shown: String = text.chars().take(32).collect();
    format!("`{shown}` is not a name, a number or a quoted text")
}

struct Words<'t> {
    inside: &'t str,
    rest: &'t str,
}

impl<'t> Words<'t> {
    /// Up to the end, a closing parenthesis, or the names that a block gives.
    fn asked(&mut self, depth: usize) -> Result<Asked, String> {
        if depth > DEEPEST {
            return Err(format!("parentheses are more than {DEEPEST} deep"));
        }
        let path = match self.argument(depth) {
            Ok(Argument::Path(path)) => path,
            // What is quoted is a name all the same, and so is a number.
            Ok(Argument::Literal(literal)) => Path { from: From::Here, parts: vec![literal.into_name()] },
            _ => return Err(format!("`{{{{{}}}}}` does not begin with a name", self.inside)),
        };
        let (mut arguments, mut named) = (Vec::new(), Vec::new());
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.is_empty() || self.rest.starts_with(')') || self.begins_params() {
                return Ok(Asked { path, arguments, named });
            }
            match self.key() {
                Some(key) => named.push((key, self.argument(depth)?)),
                None => arguments.push(self.argument(depth)?),
            }
        }
    }

    fn begins_params(&self) -> bool {
        self.rest
            .strip_prefix("as")
            .is_some_and(|rest| rest.starts_with([' ', '|']) && rest.trim_start().starts_with('|'))
    }

    fn key(&mut self) -> Option<String> {
        let (key, after) = self.rest.split_once('=')?;
        let is_key = !key.is_empty() && key.chars().all(is_of_name);
        is_key.then(|| {
            self.rest = after;
            key.to_string()
        })
    }

    fn argument(&mut self, depth: usize) -> Result<Argument, String> {
        let text = self.rest.trim_start();
        if let Some(inner) = text.strip_prefix('(') {
            self.rest = inner;
            let inner = self.asked(depth + 1)?;
            self.rest = self.rest.strip_prefix(')').ok_or_else(|| unreadable(text))?;
            return Ok(Argument::Inner(inner));
        }
        if let Some(quote) = text.chars().next().filter(|letter| matches!(letter, '"' | '\'')) {
            let (quoted, after) = quoted(&text[1..], quote).ok_or_else(|| unreadable(text))?;
            self.rest = after;
            return Ok(Argument::Literal(Operand::Text(quoted)));
        }
        let ends = |letter: char| letter.is_whitespace() || matches!(letter, '(' | ')');
        let (word, after) = text.split_at(text.find(ends).unwrap_or(text.len()));
        self.rest = after;
        Ok(match word {
            "true" => Argument::Literal(Operand::Boolean(true)),
            "false" => Argument::Literal(Operand::Boolean(false)),
            "null" | "undefined" => Argument::Literal(Operand::Name(word.to_string())),
            _ if is_number(word) => Argument::Literal(Operand::Number(word.to_string())),
            _ => Argument::Path(path(word).ok_or_else(|| unreadable(text))?),
        })
    }
}

/// What stands before the closing `quote`, and what after it. A backslash keeps a quote.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let kept = format!("\\{quote}");
    let ends = |(at, _): &(usize, &str)| !text[..*at].ends_with('\\');
    let (end, _) = text.match_indices(quote).find(ends)?;
    Some((text[..end].replace(&kept, &quote.to_string()), &text[end + 1..]))
}

fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    digits.starts_with(|first: char| first.is_ascii_digit())
        && digits.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
        && word.parse::<f64>().is_ok()
}

/// A name with its members: `this.a/[b]` is that of `a.b`, from here.
fn path(word: &str) -> Option<Path> {
    let (is_data, mut rest) = word.strip_prefix('@').map_or((false, word), |rest| (true, rest));
    let (mut out, mut is_scoped) = (0, false);
    loop {
        rest = if let Some(after) = rest.strip_prefix("..") {
            out += 1;
            after
        } else if let Some(after) =
            rest.strip_prefix("this").filter(|after| after.is_empty() || after.starts_with(['.', '/']))
        {
            after
        } else if rest == "." || rest.starts_with("./") {
            &rest[1..]
        } else {
            break;
        };
        is_scoped = true;
        rest = match rest.strip_prefix(['.', '/']) {
            Some(after) if !after.is_empty() => after,
            Some(_) => return None,
            None if rest.is_empty() => break,
            None => return None,
        };
    }
    let mut parts = Vec::new();
    for part in rest.split(['.', '/']).filter(|_| !rest.is_empty()) {
        let part = part.strip_prefix('[').and_then(|part| part.strip_suffix(']')).unwrap_or(part);
        if part.is_empty() || !part.chars().all(is_of_name) {
            return None;
        }
        parts.push(part.to_string());
    }
    if parts.is_empty() && !is_scoped {
        return None;
    }
    let from = match (is_data, is_scoped) {
        (true, false) if parts.first().is_some_and(|part| part == "root") => {
            parts.remove(0);
            From::Root
        }
        (true, _) => From::Data(out),
        (false, true) => From::Out(out),
        (false, false) => From::Here,
    };
    Some(Path { from, parts })
}

fn is_of_name(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '-' | '$')
}
