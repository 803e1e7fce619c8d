//! Word expansion: variables, quotes and escapes, as BuildKit's `shell.Lex` has them.
//!
//! Pure: values come from a lookup and are not expanded again, so one pass over the word does everything.
//! Nesting and the length of results are bounded.

use std::collections::BTreeSet;
use std::ops::Range;

use super::pattern::{Extent, Pattern, Steps};

/// How deep `${a:-${b:-…}}` may nest.
const DEPTH_LIMIT: usize = 128;
/// The longest result, in bytes.
const LENGTH_LIMIT: usize = 16 << 20;

/// The value of a variable, or `None` when it is unset.
pub type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// A word that cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ExpandError {
    pub reason: ExpandReason,
    /// The part of the word that is wrong, in bytes.
    pub at: Range<usize>,
}

/// Why a word cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandReason {
    #[error("a quote `{0}` is not closed")]
    Quote(char),
    #[error("`${{` is not closed by `}}`")]
    Brace,
    #[error("`${{{0}/` needs a second `/` before the replacement")]
    Replacement(String),
    #[error("`${{}}` names no variable")]
    NoName,
    #[error("`{modifier}` is not a modifier of `${{{name}}}`")]
    Modifier { name: String, modifier: String },
    #[error("{name}: {message}")]
    Required { name: String, message: String },
    #[error("`{0}` is not a pattern: a backslash may escape `*`, `?`, `/`, `}}` and itself only")]
    Pattern(String),
    #[error("matching the pattern `{0}` takes too long")]
    PatternCost(String),
    #[error("variables nest more than {DEPTH_LIMIT} deep")]
    TooDeep,
    #[error("the expanded text is longer than {} MiB", LENGTH_LIMIT >> 20)]
    TooLong,
}

/// A word with its variables replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    pub value: String,
    /// Names that were asked for and are unset, in order, each once.
    pub undefined: Vec<String>,
    /// Names that were asked for and are set.
    pub used: BTreeSet<String>,
}

/// A word that became any number of words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordsExpansion {
    pub words: Vec<String>,
    pub undefined: Vec<String>,
    pub used: BTreeSet<String>,
}

/// Replaces variables in `word` and removes quotes and escapes.
pub fn expand_word(word: &str, escape: char, lookup: &Lookup<'_>) -> Result<Expansion, ExpandError> {
    let mut lexer = Lexer::new(word, escape, lookup, Mode::default());
    let value = lexer.run(None)?;
    Ok(Expansion { value, undefined: lexer.undefined, used: lexer.used })
}

/// The same, then split at blanks that are neither quoted nor escaped; empty words vanish.
pub fn expand_words(word: &str, escape: char, lookup: &Lookup<'_>) -> Result<WordsExpansion, ExpandError> {
    let mut lexer = Lexer::new(word, escape, lookup, Mode::default());
    let mut words = Words::default();
    lexer.run(Some(&mut words))?;
    Ok(WordsExpansion { words: words.finish(), undefined: lexer.undefined, used: lexer.used })
}

/// Replaces variables in the body of a heredoc that `COPY` or `ADD` writes to a file. Quotes are text, and
/// the escape is a backslash whatever the `escape` directive says.
pub fn expand_heredoc(body: &str, lookup: &Lookup<'_>) -> Result<Expansion, ExpandError> {
    let mode = Mode { quotes_are_text: true, ..Mode::default() };
    let mut lexer = Lexer::new(body, '\\', lookup, mode);
    let value = lexer.run(None)?;
    Ok(Expansion { value, undefined: lexer.undefined, used: lexer.used })
}

/// The words of `line` with quotes, escapes and variables left in place, to look for heredocs.
pub(super) fn raw_words(line: &str) -> Result<Vec<String>, ExpandError> {
    words_without_values(line, Mode { keep_quotes: true, keep_escapes: true, ..Mode::default() })
}

/// The words of a heredoc's delimiter with variables left in place.
pub(super) fn delimiter_words(text: &str, keep_quotes: bool) -> Result<Vec<String>, ExpandError> {
    words_without_values(text, Mode { keep_quotes, ..Mode::default() })
}

fn words_without_values(text: &str, mode: Mode) -> Result<Vec<String>, ExpandError> {
    let mut lexer = Lexer::new(text, '\\', &|_| None, Mode { keep_unset: true, ..mode });
    let mut words = Words::default();
    lexer.run(Some(&mut words))?;
    Ok(words.finish())
}

#[derive(Clone, Copy, Default)]
struct Mode {
    keep_quotes: bool,
    keep_escapes: bool,
    /// Leave `$x` as written when `x` is unset.
    keep_unset: bool,
    quotes_are_text: bool,
}

struct Lexer<'a> {
    text: &'a str,
    rest: &'a str,
    /// Where the outermost piece that is being read begins.
    piece_at: usize,
    escape: char,
    lookup: &'a Lookup<'a>,
    mode: Mode,
    depth: usize,
    /// A `${…}` with a modifier was read, which costs the word that it stands in what was read before it.
    forgets: bool,
    steps: Steps,
    undefined: Vec<String>,
    used: BTreeSet<String>,
}

/// Collects words beside the joined result.
#[derive(Default)]
struct Words {
    finished: Vec<String>,
    current: String,
}

impl Words {
    fn add_splitting(&mut self, char: char) {
        if !char.is_whitespace() {
            self.current.push(char);
        } else if !self.current.is_empty() {
            self.finished.push(std::mem::take(&mut self.current));
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.add_splitting(' ');
        self.finished
    }
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str, escape: char, lookup: &'a Lookup<'a>, mode: Mode) -> Self {
        let (undefined, used) = Default::default();
        Self {
            text,
            rest: text,
            piece_at: 0,
            escape,
            lookup,
            mode,
            depth: 0,
            forgets: false,
            steps: Steps::default(),
            undefined,
            used,
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let char = chars.next();
        self.rest = chars.as_str();
        char
    }

    fn run(&mut self, words: Option<&mut Words>) -> Result<String, ExpandError> {
        self.until(None, self.mode.keep_escapes, words).map_err(|reason| {
            let read = self.text.len() - self.rest.len();
            ExpandError { reason, at: self.piece_at..read.max(self.piece_at) }
        })
    }

    /// Expands up to and over `stop`, or to the end when there is none.
    fn until(
        &mut self,
        stop: Option<char>,
        keep_escapes: bool,
        mut words: Option<&mut Words>,
    ) -> Result<String, ExpandReason> {
        let outer = std::mem::replace(&mut self.mode.keep_escapes, keep_escapes);
        let mut result = String::new();
        let mut stopped = stop.is_none();
        while let Some(char) = self.peek() {
            if stop == Some(char) {
                self.next();
                stopped = true;
                break;
            }
            if stop.is_none() {
                self.piece_at = self.text.len() - self.rest.len();
            }
            self.piece(char, &mut result, words.as_deref_mut())?;
            if result.len() > LENGTH_LIMIT {
                return Err(ExpandReason::TooLong);
            }
        }
        self.mode.keep_escapes = outer;
        self.forgets = stop.is_some();
        if stopped { Ok(result) } else { Err(ExpandReason::Brace) }
    }

    fn piece(
        &mut self,
        char: char,
        result: &mut String,
        words: Option<&mut Words>,
    ) -> Result<(), ExpandReason> {
        match char {
            '$' => {
                let value = self.dollar()?;
                if let Some(words) = words {
                    self.forget(words);
                    value.chars().for_each(|char| words.add_splitting(char));
                }
                result.push_str(&value);
            }
            '\'' | '"' if !self.mode.quotes_are_text => {
                let text = if char == '"' { self.double_quoted()? } else { self.single_quoted()? };
                if let Some(words) = words {
                    self.forget(words);
                    words.current.push_str(&text);
                }
                result.push_str(&text);
            }
            '<' => {
                let text = self.angle();
                result.push_str(text);
                if let Some(words) = words {
                    words.current.push_str(text);
                }
            }
            _ if char == self.escape => self.escaped(result, words),
            _ => {
                self.next();
                result.push(char);
                if let Some(words) = words {
                    words.add_splitting(char);
                }
            }
        }
        Ok(())
    }

    /// BuildKit reads a `${…}` with a modifier into the buffer of the word around it and so loses what that
    /// holds: `EXPOSE 80${X:-81}` exposes 81. The text as a whole is not touched by it.
    fn forget(&mut self, words: &mut Words) {
        if std::mem::take(&mut self.forgets) {
            words.current.clear();
        }
    }

    /// `<`, or `<<` with the blanks behind it, which may part a heredoc from its delimiter.
    fn angle(&mut self) -> &'a str {
        let length = match self.rest.strip_prefix("<<") {
            Some(behind) => self.rest.len() - behind.trim_start_matches(['\t', '\r', ' ']).len(),
            None => 1,
        };
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        text
    }

    /// The escape makes any char plain; at the very end it vanishes.
    fn escaped(&mut self, result: &mut String, words: Option<&mut Words>) {
        self.next();
        let mut text = String::new();
        if self.mode.keep_escapes {
            text.push(self.escape);
        }
        text.extend(self.next());
        result.push_str(&text);
        if let Some(words) = words {
            words.current.push_str(&text);
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandReason> {
        self.next();
        let (text, rest) = self.rest.split_once('\'').ok_or(ExpandReason::Quote('\''))?;
        self.rest = rest;
        Ok(if self.mode.keep_quotes { format!("'{text}'") } else { text.to_string() })
    }

    fn double_quoted(&mut self) -> Result<String, ExpandReason> {
        self.next();
        let mut result = String::new();
        if self.mode.keep_quotes {
            result.push('"');
        }
        loop {
            match self.peek().ok_or(ExpandReason::Quote('"'))? {
                '"' => break,
                '$' => result.push_str(&self.dollar()?),
                char if char == self.escape => {
                    self.next();
                    let escapable =
                        self.peek().filter(|next| matches!(next, '"' | '$') || *next == self.escape);
                    if self.mode.keep_escapes || escapable.is_none() {
                        result.push(char);
                    }
                    if let Some(next) = escapable {
                        self.next();
                        result.push(next);
                    }
                }
                char => {
                    self.next();
                    result.push(char);
                }
            }
            if result.len() > LENGTH_LIMIT {
                return Err(ExpandReason::TooLong);
            }
        }
        self.next();
        if self.mode.keep_quotes {
            result.push('"');
        }
        Ok(result)
    }

    fn dollar(&mut self) -> Result<String, ExpandReason> {
        self.next();
        if self.peek() != Some('{') {
            let name = self.name();
            return Ok(match name.as_str() {
                "" => "$".to_string(),
                _ => match self.value_of(&name) {
                    Some(value) => value,
                    None if self.mode.keep_unset => format!("${name}"),
                    None => String::new(),
                },
            });
        }
        self.next();
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(ExpandReason::TooDeep);
        }
        let value = self.substitution()?;
        self.depth -= 1;
        Ok(value)
    }

    /// What stands between `${` and `}`, with the latter.
    fn substitution(&mut self) -> Result<String, ExpandReason> {
        if let Some('{' | '}' | ':') = self.peek() {
            return Err(ExpandReason::NoName);
        }
        let name = self.name();
        let modifier = self.next().ok_or(ExpandReason::Brace)?;
        match modifier {
            '}' => Ok(match self.value_of(&name) {
                Some(value) => value,
                None if self.mode.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            ':' => {
                let operator = self.next().ok_or(ExpandReason::Brace)?;
                match operator {
                    '-' | '+' | '?' => self.alternative(name, operator, true),
                    other => Err(ExpandReason::Modifier { name, modifier: format!(":{other}") }),
                }
            }
            '-' | '+' | '?' => self.alternative(name, modifier, false),
            '#' | '%' => self.trimmed(name, modifier),
            '/' => self.replaced(name),
            other => Err(ExpandReason::Modifier { name, modifier: other.to_string() }),
        }
    }

    /// `${x:-w}` and its relatives; with a colon an empty value counts as unset.
    fn alternative(
        &mut self,
        name: String,
        operator: char,
        empty_is_unset: bool,
    ) -> Result<String, ExpandReason> {
        let word = self.until(Some('}'), false, None)?;
        let value = self.value_of(&name);
        if value.is_none() && self.mode.keep_unset {
            let colon = if empty_is_unset { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{operator}{word}}}"));
        }
        let unset = value.is_none();
        let value = value.filter(|value| !(empty_is_unset && value.is_empty()));
        match (operator, value) {
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            ('-', None) => Ok(word),
            (_, None) => {
                let message = match (word.is_empty(), unset) {
                    (false, _) => word,
                    (true, true) => "is not allowed to be unset".to_string(),
                    (true, false) => "is not allowed to be empty".to_string(),
                };
                Err(ExpandReason::Required { name, message })
            }
        }
    }

    /// `${x#p}` `${x##p}` `${x%p}` `${x%%p}`
    fn trimmed(&mut self, name: String, operator: char) -> Result<String, ExpandReason> {
        let word = self.until(Some('}'), true, None)?;
        let value = match self.value_of(&name) {
            None if self.mode.keep_unset => return Ok(format!("${{{name}{operator}{word}}}")),
            value => value.unwrap_or_default(),
        };
        let (pattern, extent) = match word.strip_prefix(operator) {
            Some(pattern) => (pattern, Extent::Longest),
            None => (word.as_str(), Extent::Shortest),
        };
        let pattern = Pattern::parse(pattern)?;
        match operator {
            '#' => pattern.without_prefix(&value, extent, &mut self.steps),
            _ => pattern.without_suffix(&value, extent, &mut self.steps),
        }
    }

    /// `${x/p/r}` `${x//p/r}`
    fn replaced(&mut self, name: String) -> Result<String, ExpandReason> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.until(Some('/'), true, None).map_err(|error| match error {
            ExpandReason::Brace => ExpandReason::Replacement(name.clone()),
            other => other,
        })?;
        let replacement = self.until(Some('}'), true, None)?;
        let value = match self.value_of(&name) {
            None if self.mode.keep_unset => return Ok(format!("${{{name}/{pattern}/{replacement}}}")),
            value => value.unwrap_or_default(),
        };
        let pattern = Pattern::parse(&pattern)?;
        match all {
            true => pattern.replace_all(&value, &replacement, LENGTH_LIMIT, &mut self.steps),
            false => pattern.replace_first(&value, &replacement, &mut self.steps),
        }
    }

    /// A name: letters, digits and `_`; a number; or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let first = self.peek();
        if first.is_some_and(char::is_numeric) {
            return self.take_while(char::is_numeric);
        }
        if let Some('@' | '*' | '#' | '?' | '-' | '$' | '!') = first {
            return self.next().into_iter().collect();
        }
        self.take_while(|char| char.is_alphanumeric() || char == '_')
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let end = self.rest.find(|char| !wanted(char)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken.to_string()
    }

    fn value_of(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name);
        if value.is_some() {
            self.used.insert(name.to_string());
        } else if !self.undefined.iter().any(|known| known == name) {
            self.undefined.push(name.to_string());
        }
        value
    }
}
