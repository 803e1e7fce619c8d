//! Problems as people read them: what happened, where, what to do next.
//!
//! A [`Problem`] is data; this module does not know what produced it. The terminal rendering is
//! miette's (`render`), the machine one is JSON (`json`). The kind of a problem decides the exit code,
//! in `cli::exit` alone.

mod excerpt;
mod json;
mod render;
mod source;
mod suggest;

pub use json::to_json;
pub use render::render;
pub use source::{Located, Place, Source, Span};
pub use suggest::nearest;

/// Whether a problem stops the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Warning,
    Error,
}

/// Which part of the world is at fault, which decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The build file, a Dockerfile, a context or an argument is wrong.
    Input,
    /// A build step ran and failed.
    Build,
    /// The machine cannot do what is asked: no user namespaces, no emulator, full disk.
    Host,
    /// A registry or another remote did not do its part.
    Remote,
    /// The run was stopped from outside.
    Interrupted,
    /// mab itself is wrong.
    Bug,
}

/// One place a problem points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub place: Place,
    pub text: String,
    /// What to write here instead, where that needs no thought.
    pub replacement: Option<String>,
}

/// What happened, where, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A stable name, `area::what`, such as `config::unknown-key`.
    pub code: &'static str,
    pub severity: Severity,
    pub kind: Kind,
    /// A lower-case fragment that names the thing in backticks.
    pub message: String,
    /// The places, the most telling one first.
    pub labels: Vec<Label>,
    /// Text that belongs to the problem but is not its cause, such as the end of a log.
    pub details: Option<String>,
    /// The next step.
    pub help: Option<String>,
}

/// Text to put in the place of other text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pub place: Place,
    pub replacement: String,
}

impl Problem {
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            kind,
            message: message.into(),
            labels: Vec::new(),
            details: None,
            help: None,
        }
    }

    /// A problem of what the user wrote.
    pub fn input(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Input, code, message)
    }

    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::new(Kind::Input, code, message) }
    }

    pub fn at(mut self, place: Place, text: impl Into<String>) -> Self {
        self.labels.push(Label { place, text: text.into(), replacement: None });
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What to write at the place that was added last.
    pub fn replaced_by(mut self, replacement: impl Into<String>) -> Self {
        if let Some(label) = self.labels.last_mut() {
            label.replacement = Some(replacement.into());
        }
        self
    }

    /// How to put it right, where that needs no thought.
    pub fn edit(&self) -> Option<Edit> {
        self.labels.iter().find_map(|label| {
            Some(Edit { place: label.place.clone(), replacement: label.replacement.clone()? })
        })
    }

    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}
