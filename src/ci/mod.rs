//! A plan as the pipeline of a CI system: machines for platforms, parts between them, and what builds need there.
//!
//! Pure: [`Pipeline`] is what every system is told, and each has a file that writes it in its own words. Not known here:
//! where the text goes.

mod circleci;
mod generated;
mod github;
mod gitlab;
mod lines;
mod pipeline;
mod runner;
mod setup;
mod tekton;

pub use generated::{Standing, stamped, standing};
pub use pipeline::{Level, Options, Pipeline};

/// A CI system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Github,
    Gitlab,
    Tekton,
    Circleci,
}

impl System {
    pub const ALL: [Self; 4] = [Self::Github, Self::Gitlab, Self::Tekton, Self::Circleci];

    pub fn name(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Tekton => "tekton",
            Self::Circleci => "circleci",
        }
    }

    /// Where the system looks for its file.
    pub fn path(self) -> &'static str {
        match self {
            Self::Github => ".github/workflows/mab.yml",
            Self::Gitlab => ".gitlab-ci.yml",
            Self::Tekton => ".tekton/mab.yaml",
            Self::Circleci => ".circleci/config.yml",
        }
    }
}

/// The pipeline as the system's file, without its first line.
pub fn written(system: System, pipeline: &Pipeline) -> String {
    match system {
        System::Github => github::workflow(pipeline),
        System::Gitlab => gitlab::pipeline(pipeline),
        System::Tekton => tekton::pipeline(pipeline),
        System::Circleci => circleci::config(pipeline),
    }
}
