//! Flags of one instruction: which there are, what they hold.

use super::command::FlagWord;
use super::parse::Reader;
use crate::diag::{Problem, Span, nearest};

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlagKind {
    /// `--x`, `--x=true`, `--x=false`
    Switch,
    /// `--x=text`, once
    Text,
    /// `--x=text`, any number of times
    List,
}

pub(super) type FlagSpec = (&'static str, FlagKind);

/// The flags given to an instruction.
#[derive(Debug, Default)]
pub(super) struct Flags {
    given: Vec<Flag>,
}

#[derive(Debug)]
struct Flag {
    name: &'static str,
    value: String,
    range: Span,
}

impl Flags {
    /// Reads the flags of `reader`'s instruction; all problems at once.
    pub(super) fn read(reader: &Reader<'_>, known: &[FlagSpec]) -> Result<Self, Vec<Problem>> {
        let mut flags = Self::default();
        let mut problems = Vec::new();
        for word in &reader.command.flags {
            match flags.read_one(reader, word, known) {
                Ok(flag) => flags.given.push(flag),
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(flags) } else { Err(problems) }
    }

    fn read_one(&self, reader: &Reader<'_>, word: &FlagWord, known: &[FlagSpec]) -> Result<Flag, Problem> {
        let text = &word.text[2..];
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        let instruction = &reader.command.name;
        let Some((name, kind)) = known.iter().copied().find(|(known, _)| *known == name) else {
            let message = format!("{instruction} has no flag `--{name}`");
            let problem = reader.problem_at(&word.range, "dockerfile::unknown-flag", message);
            return Err(with_hint(problem, instruction, name, known));
        };
        if kind != FlagKind::List && self.given.iter().any(|flag| flag.name == name) {
            let message = format!("flag `--{name}` of {instruction} is given twice");
            return Err(reader.problem_at(&word.range, "dockerfile::duplicate-flag", message));
        }
        let value = match (kind, value) {
            (FlagKind::Switch, None) => "true".to_string(),
            (FlagKind::Switch, Some(value)) => match value.to_ascii_lowercase() {
                value if matches!(value.as_str(), "true" | "false") => value,
                _ => {
                    let message = format!("flag `--{name}` of {instruction} is true or false, not `{value}`");
                    return Err(reader.problem_at(&word.range, "dockerfile::flag-value", message));
                }
            },
            (_, Some(value)) => value.to_string(),
            (_, None) => {
                let message = format!("flag `--{name}` of {instruction} has no value");
                return Err(reader
                    .problem_at(&word.range, "dockerfile::flag-value", message)
                    .help(format!("write `--{name}=VALUE`, without blanks")));
            }
        };
        Ok(Flag { name, value, range: word.range.clone() })
    }

    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value == "true")
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.text_at(name).map(|(value, _)| value)
    }

    /// The text of a flag and where it stands.
    pub(super) fn text_at(&self, name: &str) -> Option<(&str, &Span)> {
        self.list(name).next()
    }

    pub(super) fn list(&self, name: &str) -> impl Iterator<Item = (&str, &Span)> {
        self.given.iter().filter(move |flag| flag.name == name).map(|flag| (flag.value.as_str(), &flag.range))
    }
}

fn with_hint(problem: Problem, instruction: &str, name: &str, known: &[FlagSpec]) -> Problem {
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    match nearest(name, names.iter().copied()) {
        Some(meant) => problem.help(format!("did you mean `--{meant}`?")),
        None if names.is_empty() => problem.help(format!(
            "{instruction} takes no flags; write `--` before arguments that begin with two dashes"
        )),
        None => problem.help(format!("the flags of {instruction} are --{}", names.join(", --"))),
    }
}
