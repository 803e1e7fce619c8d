//! What is wrong with a template, before it is placed in a file.

use minijinja::{Error, ErrorKind};

use super::filters::{FILTERS, TESTS, is_of_environment};
use super::keys;
use super::text::Text;
use crate::diag::{Problem, Span};

/// A problem before it is placed in a file.
#[derive(Clone, Debug)]
pub struct Fault {
    pub code: &'static str,
    pub message: String,
    pub part: Span,
    pub help: Option<String>,
}

impl Fault {
    /// Placed in the file that `text` stands in.
    pub fn problem(self, text: &Text) -> Problem {
        let problem = Problem::input(self.code, self.message).at(text.place_of(&self.part), "here");
        match self.help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }

    pub fn new(code: &'static str, message: impl Into<String>, part: Span) -> Self {
        Self { code, message: message.into(), part, help: None }
    }

    pub fn help(self, help: String) -> Self {
        Self { help: Some(help), ..self }
    }
}

/// An error of minijinja about the expression at `span`.
pub fn fault_of(error: &Error, span: &Span) -> Fault {
    let part = match error.range() {
        Some(range) if !range.is_empty() && span.start + range.end <= span.end => {
            span.start + range.start..span.start + range.end
        }
        _ => span.clone(),
    };
    let message = match error.detail() {
        Some(detail) => detail.to_string(),
        None => error.kind().to_string(),
    };
    match error.kind() {
        ErrorKind::UnknownFilter => Fault::new("config::template", unknown_word("filter", &message), part)
            .help(format!("the filters are {}", keys::quoted_list(FILTERS))),
        ErrorKind::UnknownTest => Fault::new("config::template", unknown_word("test", &message), part)
            .help(format!("the tests are {}", keys::quoted_list(TESTS))),
        ErrorKind::UnknownFunction => {
            Fault::new("config::template", unknown_word("function", &message), part)
                .help("the only function is `env(\"NAME\"[, default])`".to_string())
        }
        ErrorKind::UndefinedError if is_of_environment(error) => {
            Fault::new("config::undefined", message, part)
                .help("give a default as second argument: `env(\"NAME\", \"\")`".to_string())
        }
        _ => Fault::new("config::template", message, part),
    }
}

/// minijinja says `filter x is unknown`, `test x is unknown` and `x is unknown`.
fn unknown_word(kind: &str, message: &str) -> String {
    let name = message.trim_end_matches(" is unknown");
    let name = name.strip_prefix("filter ").or_else(|| name.strip_prefix("test ")).unwrap_or(name);
    format!("there is no {kind} `{name}`")
}
