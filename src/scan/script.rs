//! The first line of a script, as the kernel reads it.

use serde::{Deserialize, Serialize};

/// `#!INTERPRETER [ARGUMENT]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Script {
    pub interpreter: String,
    /// All that follows, spaces included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argument: Option<String>,
}

/// As much of the first line as Linux looks at.
pub(super) const LONGEST_LINE: usize = 256;

pub(super) fn parse(head: &[u8]) -> Option<Script> {
    let rest = head.strip_prefix(b"#!")?;
    let rest = &rest[..rest.len().min(LONGEST_LINE - 2)];
    let line = rest.split(|byte| *byte == b'\n' || *byte == 0).next()?;
    // A carriage return is part of the name, which is what goes wrong with files from Windows.
    let line = line.trim_ascii_start();
    let line = match line.strip_suffix(b"\r") {
        Some(_) => line,
        None => line.trim_ascii_end(),
    };
    let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
    let (interpreter, argument) = line.split_at(end);
    if interpreter.is_empty() {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let argument = argument.trim_ascii_start();
    Some(Script { interpreter: text(interpreter), argument: (!argument.is_empty()).then(|| text(argument)) })
}

impl Script {
    /// The command that `env` is to find, if the interpreter is `env`.
    pub fn searched(&self) -> Option<&str> {
        if !self.interpreter.ends_with("/env") {
            return None;
        }
        let words = self.argument.as_deref()?.split_ascii_whitespace();
        words.into_iter().find(|word| !word.starts_with('-') && !word.contains('='))
    }
}
