//! What is wrong with an image, before it is known which line of which file is to blame.

use serde::{Deserialize, Serialize};

use super::cause::Maker;
use crate::diag::{Kind, Problem, Severity};

/// One thing that is wrong, with all files it is true of in one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub code: Code,
    pub is_error: bool,
    /// Without the image's name.
    pub message: String,
    /// The layer that brought it, counted from the bottom; nothing where it is the config.
    pub layer: Option<usize>,
    /// The files, with leading slashes; of many only the first.
    pub paths: Vec<String>,
    /// How many there are.
    pub count: usize,
    /// What else there is to say, line by line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// The architecture of the files, where that is what is wrong.
    pub found: Option<String>,
    /// The next step, where it does not depend on how the file came there.
    pub help: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    WrongPlatform,
    WrongFloat,
    WrongConfig,
    NotFound,
    NotExecutable,
    NotAProgram,
    NoInterpreter,
    NoLoader,
    NoLibrary,
    ForeignMember,
    Differs,
    TooMuch,
}

impl Code {
    pub const ALL: [Self; 12] = [
        Self::WrongPlatform,
        Self::WrongFloat,
        Self::WrongConfig,
        Self::NotFound,
        Self::NotExecutable,
        Self::NotAProgram,
        Self::NoInterpreter,
        Self::NoLoader,
        Self::NoLibrary,
        Self::ForeignMember,
        Self::Differs,
        Self::TooMuch,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::WrongPlatform => "verify::wrong-platform",
            Self::WrongFloat => "verify::wrong-float",
            Self::WrongConfig => "verify::wrong-config",
            Self::NotFound => "verify::not-found",
            Self::NotExecutable => "verify::not-executable",
            Self::NotAProgram => "verify::not-a-program",
            Self::NoInterpreter => "verify::no-interpreter",
            Self::NoLoader => "verify::no-loader",
            Self::NoLibrary => "verify::no-library",
            Self::ForeignMember => "verify::foreign-member",
            Self::Differs => "verify::platforms-differ",
            Self::TooMuch => "verify::too-much",
        }
    }
}

/// So many files of one finding are named.
pub(super) const MOST_PATHS: usize = 10;

impl Finding {
    pub(super) fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            is_error: true,
            message: message.into(),
            layer: None,
            paths: Vec::new(),
            count: 0,
            lines: Vec::new(),
            found: None,
            help: None,
        }
    }

    pub(super) fn warning(code: Code, message: impl Into<String>) -> Self {
        Self { is_error: false, ..Self::error(code, message) }
    }

    pub(super) fn in_layer(self, layer: Option<usize>) -> Self {
        Self { layer, ..self }
    }

    pub(super) fn of_file(mut self, path: String) -> Self {
        self.count += 1;
        if self.paths.len() < MOST_PATHS {
            self.paths.push(path);
        }
        self
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// For people: `maker` is what made the finding's layer, `layers` how many there are.
    pub fn problem(&self, maker: &Maker<'_>, layers: usize) -> Problem {
        let mut problem = Problem::new(Kind::Build, self.code.name(), self.message.clone());
        if !self.is_error {
            problem.severity = Severity::Warning;
        }
        for (place, text) in maker.labels(self.found.as_deref()) {
            problem = problem.at(place, text);
        }
        let help = self.help.clone().or_else(|| self.found.as_deref().map(|found| maker.advice(found)));
        if let Some(help) = help {
            problem = problem.help(help);
        }
        match self.details(maker, layers) {
            details if details.is_empty() => problem,
            details => problem.details(details),
        }
    }

    /// The layer, who made it, and the files where the message names but the first.
    fn details(&self, maker: &Maker<'_>, layers: usize) -> String {
        let mut lines = Vec::new();
        if let Some(layer) = self.layer {
            let made = maker.text().map(|text| format!(", made by `{text}`")).unwrap_or_default();
            lines.push(format!("layer {} of {layers}{made}", layer + 1));
        }
        lines.extend(self.lines.iter().take(MOST_PATHS).cloned());
        if self.lines.len() > MOST_PATHS {
            lines.push(format!("and {} more", self.lines.len() - MOST_PATHS));
        }
        if self.count > 1 {
            lines.extend(self.paths.iter().cloned());
            let left = self.count - self.paths.len();
            if left > 0 {
                lines.push(format!("and {left} more"));
            }
        }
        lines.join("\n")
    }
}

/// A path as people write it.
pub(super) fn shown(path: &[u8]) -> String {
    format!("/{}", path.escape_ascii())
}
