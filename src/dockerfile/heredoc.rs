//! Heredocs: `[fd]<<[-]["']NAME` on a line, bodies on the lines after it. Blanks may stand before the name.
//!
//! Knows which instructions may have them; reading the bodies is the work of [`super::lines`].

use super::arguments::{JsonForm, json_form};
use super::command::Command;
use super::expand::{self, ExpandError};

/// A heredoc with its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter without quotes.
    pub name: String,
    /// The lines up to the delimiter as written, line ends included.
    pub content: String,
    /// Whether the delimiter was written without quotes, so that variables are replaced.
    pub expand: bool,
    /// The file descriptor written before `<<`; 0 if none was.
    pub fd: u32,
    /// `<<-`: leading tabs do not count.
    pub chomp: bool,
}

impl Heredoc {
    /// The content, without leading tabs where `<<-` asked for that.
    pub fn body(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }

    /// The heredoc that `word` announces, without its content.
    pub(super) fn announced_by(word: &str) -> Result<Option<Self>, ExpandError> {
        let rest = word.trim_start_matches(|char: char| char.is_ascii_digit());
        let fd = &word[..word.len() - rest.len()];
        let Some(rest) = rest.strip_prefix("<<") else { return Ok(None) };
        let (chomp, delimiter) = match rest.strip_prefix('-') {
            Some(delimiter) => (true, delimiter),
            None => (false, rest),
        };
        let delimiter = delimiter.trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
        if delimiter.is_empty() || delimiter.contains('<') {
            return Ok(None);
        }
        let plain = expand::delimiter_words(delimiter, false)?;
        let quoted = expand::delimiter_words(delimiter, true)?;
        let ([name], [quoted]) = (&plain[..], &quoted[..]) else { return Ok(None) };
        let quotes = |text: &str| text.matches(['\'', '"']).count();
        Ok(Some(Self {
            name: name.clone(),
            content: String::new(),
            expand: quotes(name) == quotes(quoted),
            fd: fd.parse().unwrap_or(0),
            chomp,
        }))
    }

    /// The heredocs that an instruction announces, in order. A line that the shell would not understand,
    /// such as one with an open quote, announces none.
    pub(super) fn all_announced_by(line: &str, escape: char) -> Result<Vec<Self>, ExpandError> {
        if !line.contains("<<") || !may_have_heredocs(line, escape) {
            return Ok(Vec::new());
        }
        let words = expand::raw_words(line).unwrap_or_default();
        words.iter().filter_map(|word| Self::announced_by(word).transpose()).collect()
    }
}

fn may_have_heredocs(line: &str, escape: char) -> bool {
    let command = Command::split(line, escape);
    let command = match command.name.as_str() {
        "ONBUILD" => Command::split(command.arguments, escape),
        _ => command,
    };
    matches!(command.name.as_str(), "ADD" | "COPY" | "RUN")
        && !matches!(json_form(command.arguments), JsonForm::Strings(_))
}
