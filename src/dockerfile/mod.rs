//! Dockerfiles as data: lines, instructions, heredocs, expansion, the graph of stages. Parses, never runs.
//!
//! The language is that of `docker/dockerfile` 1.26. Reading goes in three steps: `lines` joins what is
//! continued and collects heredoc bodies, `instruction` gives each line its type, `stages` says which
//! stage needs which. Words are kept as written, with quotes and `$names`; `expand` replaces them once
//! the caller knows the values. Nothing here knows build arguments, base images or files.

mod arguments;
mod command;
mod copy;
mod directive;
mod expand;
mod expose;
mod flags;
mod healthcheck;
mod heredoc;
mod instruction;
mod lines;
mod mount;
mod parse;
mod pattern;
mod run;
mod signal;
mod stages;
mod usage;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::diag::{Located, Place, Problem, Source};

pub use arguments::KeyValue;
pub use copy::{AddFiles, CopyFiles};
pub use directive::{CheckOptions, CheckRules, Directives, Frontend, LANGUAGE_VERSION};
pub use expand::{
    ExpandError, ExpandReason, Expansion, Lookup, WordsExpansion, expand_heredoc, expand_word, expand_words,
};
pub use expose::{ExposedPort, ExposedPorts, ParsePortError, parse_ports};
pub use healthcheck::{Healthcheck, ParseDurationError, Probe, parse_duration};
pub use heredoc::Heredoc;
pub use instruction::{
    Arg, ArgDeclaration, Cmd, Entrypoint, Env, Expose, Instruction, InstructionKind, Label, Maintainer,
    OnBuild, Shell, ShellOrExec, StopSignal, User, Volume, Workdir,
};
pub use mount::{Mount, MountError, MountOption, MountSpec, Sharing};
pub use parse::parse_instruction_line;
pub use run::{Device, Network, Run, Script, Security};
pub use signal::signal_number;
pub use stages::{GraphStage, StageGraph, StageSource, UnknownStage};

/// A Dockerfile, read and checked line by line; words are not expanded yet.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    pub source: Arc<Source>,
    pub directives: Directives,
    /// The `ARG` instructions before the first `FROM`.
    pub global_args: Vec<Instruction>,
    pub stages: Vec<Stage>,
    pub warnings: Vec<Problem>,
}

/// A `FROM` and the instructions up to the next one.
#[derive(Clone, Debug)]
pub struct Stage {
    /// In lower case, as stages are looked up.
    pub name: Option<String>,
    /// The name as it was written, for rules about casing.
    pub written_name: Option<Located<String>>,
    pub index: usize,
    pub from: From,
    pub instructions: Vec<Instruction>,
    /// The text after the stage's name in a comment directly above the `FROM`.
    pub description: Option<String>,
    /// What a `# check=` comment directly above the `FROM` asks for.
    pub check: Option<CheckOptions>,
    /// From the `FROM` to the end of the last instruction.
    pub place: Place,
}

/// The `FROM` line of a stage. Both words may hold variables, which see global arguments only.
#[derive(Clone, Debug)]
pub struct From {
    pub platform: Option<Located<String>>,
    pub image: Located<String>,
    /// `FROM` as written.
    pub keyword: String,
    /// `AS` as written.
    pub as_keyword: Option<String>,
    /// The instruction as written, continuation lines joined.
    pub text: String,
    pub place: Place,
}

impl Stage {
    /// What people call the stage: its name, or its number.
    pub fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("stage-{}", self.index))
    }
}
