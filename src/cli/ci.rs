//! `mab ci` on the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::args::ProjectArguments;
use super::{document, failed, runtime};
use crate::ci::{Options, System};
use crate::command::SessionOptions;
use crate::command::ci::{self, CiOptions};
use crate::command::plan::plain_request;
use crate::diag::Problem;
use crate::facts::Facts;
use crate::ui::Progress;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct CiArguments {
    /// The system
    #[arg(value_name = "SYSTEM")]
    system: SystemArgument,
    #[command(flatten)]
    pub project: ProjectArguments,
    /// One machine for each platform, and one that joins their parts; with a cache that machines share, one after the
    /// other for what targets stand on
    #[arg(long)]
    split: bool,
    /// Where releases of mab are, and its action: OWNER/REPO on GitHub, `./` for the action of the repository itself
    #[arg(long, value_name = "REPO")]
    source: Option<String>,
    /// A command that installs mab, in place of a release
    #[arg(long, value_name = "COMMAND")]
    install: Option<String>,
    /// Where the pipeline builds, in place of its own machines
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,
    /// The file; `-` for standard output [default: where the system looks for it]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Writes nothing, and fails with the difference where the file does not say what the build file does
    #[arg(long)]
    check: bool,
    /// Replaces a file that somebody wrote or changed
    #[arg(long, conflicts_with = "check")]
    force: bool,
}

const EXAMPLES: &str = "\
GitHub runs the file's steps by the action of mab's repository, since its cache talks to actions alone. Passwords of
registries are GITHUB_TOKEN for ghcr.io, GitLab's own for its registry, else REGISTRY_USER and REGISTRY_PASSWORD.

Examples:
  mab ci github release --split                .github/workflows/mab.yml: one machine for each platform
  mab ci gitlab release --split --check        is .gitlab-ci.yml what it would be now?
  mab ci tekton release --split                .tekton/mab.yaml, which Pipelines-as-Code runs
  mab ci circleci release --builder farm       a builder works, whose name the user's config.toml knows";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SystemArgument {
    Github,
    Gitlab,
    Tekton,
    Circleci,
}

impl From<SystemArgument> for System {
    fn from(argument: SystemArgument) -> Self {
        match argument {
            SystemArgument::Github => Self::Github,
            SystemArgument::Gitlab => Self::Gitlab,
            SystemArgument::Tekton => Self::Tekton,
            SystemArgument::Circleci => Self::Circleci,
        }
    }
}

pub fn ci(arguments: &CiArguments, facts: &mut Facts) -> ExitCode {
    let progress = Progress::Auto;
    let options = match arguments.options(facts) {
        Ok(options) => options,
        Err(problem) => return failed(&[*problem], progress, Some(facts)),
    };
    let runtime = runtime();
    let is_printed = arguments.output.as_ref().is_some_and(|path| path.as_os_str() == "-");
    let said = match (arguments.check, is_printed) {
        (true, _) => runtime.block_on(ci::check(&options, facts)),
        (false, true) => runtime.block_on(ci::text(&options, facts)),
        (false, false) => runtime.block_on(ci::write(&options, facts)),
    };
    document(said, facts, progress)
}

impl CiArguments {
    fn options(&self, facts: &Facts) -> Result<CiOptions, Box<Problem>> {
        let system = System::from(self.system);
        let source = self.source.clone().or_else(|| {
            let known = env!("CARGO_PKG_REPOSITORY").strip_prefix("https://github.com/")?;
            Some(known.trim_end_matches('/').to_string())
        });
        let needs_release = self.install.is_none() || matches!(system, System::Github);
        let source = match source {
            Some(source) => source,
            None if needs_release => {
                let message = "this build of mab does not know where its releases are";
                let help =
                    "say it with `--source OWNER/REPO`, or how mab is installed with `--install COMMAND`";
                return Err(Box::new(Problem::input("ci::no-source", message).help(help)));
            }
            None => String::new(),
        };
        if !is_source(&source) {
            let message = format!("`{source}` is no repository: `OWNER/REPO`, or `./`");
            return Err(Box::new(Problem::input("ci::source", message)));
        }
        let project = self.project.options();
        let pipeline = Options {
            is_split: self.split,
            file: project.files.first().map(|path| path.display().to_string()),
            names: project.names.clone(),
            source,
            install: self.install.clone(),
            builder: self.builder.clone(),
            version: env!("CARGO_PKG_VERSION").to_string(),
        };
        Ok(CiOptions {
            system,
            session: SessionOptions::default(),
            request: plain_request(facts),
            pipeline,
            output: self.output.clone(),
            command: self.command(system, &project.names, &project.files),
            force: self.force,
            project,
        })
    }

    /// What makes the same file again.
    fn command(&self, system: System, names: &[String], files: &[PathBuf]) -> String {
        let mut words = vec!["mab".to_string(), "ci".to_string(), system.name().to_string()];
        words.extend(names.iter().cloned());
        words.extend(files.iter().map(|path| format!("-f {}", path.display())));
        words.extend(self.split.then(|| "--split".to_string()));
        let given = [("source", &self.source), ("install", &self.install), ("builder", &self.builder)];
        for (flag, value) in given {
            words.extend(value.as_ref().map(|value| format!("--{flag} {}", quoted(value))));
        }
        let output = self.output.as_ref().filter(|path| path.as_os_str() != "-");
        words.extend(output.map(|path| format!("--output {}", path.display())));
        words.join(" ")
    }
}

fn quoted(text: &str) -> String {
    if text.contains(' ') { format!("'{text}'") } else { text.to_string() }
}

fn is_source(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty() && name.chars().all(|one| one.is_ascii_alphanumeric() || "-_.".contains(one))
    };
    text.is_empty()
        || text == "./"
        || text.split_once('/').is_some_and(|(owner, repository)| is_name(owner) && is_name(repository))
}
