//! `mab init` on the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{failed, print_text};
use crate::command::init::{self, InitOptions};
use crate::facts::Facts;
use crate::ui::Progress;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct InitArguments {
    /// The folder [default: the working directory]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Shows the file on standard output, and writes nothing
    #[arg(long)]
    print: bool,
    /// Replaces a multiarch.toml that is there
    #[arg(long)]
    force: bool,
}

const EXAMPLES: &str = "\
Folders that begin with a dot, node_modules, vendor and their like are not looked at.

Examples:
  mab init && mab plan                         from Dockerfiles to a graph of builds
  mab init services/shop --print               what would be written there";

pub fn init(arguments: &InitArguments, facts: &Facts) -> ExitCode {
    let InitArguments { directory, print, force } = arguments;
    let options = InitOptions { directory: directory.clone(), print: *print, force: *force };
    match init::init(&options, facts) {
        Ok(made) => {
            failed(&made.warnings, Progress::Auto, Some(facts));
            if *print {
                return print_text(&made.text, facts, Progress::Auto).unwrap_or(ExitCode::SUCCESS);
            }
            let path = made.path.strip_prefix(&facts.directories.current).unwrap_or(&made.path);
            let plural = if made.targets == 1 { "" } else { "s" };
            let origins = match made.origins.as_slice() {
                [] => String::new(),
                origins => format!(", taken over from {}", origins.join(" and ")),
            };
            eprintln!(
                "wrote {} with {} target{plural}{origins}; next: mab plan",
                path.display(),
                made.targets
            );
            ExitCode::SUCCESS
        }
        Err(problems) => failed(&problems, Progress::Auto, Some(facts)),
    }
}
