//! `mab import` on the command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{failed, print_text};
use crate::command::import::{self, ImportOptions};
use crate::facts::Facts;
use crate::ui::Progress;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ImportArguments {
    /// The files, which are merged as bake merges them, `-` for standard input [default: what bake looks for here]
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// Writes this file of the working directory instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replaces the file if it is there
    #[arg(long, requires = "output")]
    force: bool,
}

const EXAMPLES: &str = "\
What has no equal is written as it comes out, with a comment that names the expression and its line:
  for-expressions, splats, %{ for }, and the calls of functions that templates do not have (timestamps, hashes,
  regular expressions, arithmetic beyond + - %); expressions in keys that are plain values (platforms, network,
  pull, no-cache, members of groups, defaults of variables)
What this version cannot do stands in comments at its place, with the reason.
Not carried over: variables that are null by default, circles of `inherits` (bake passes over them), the name of
a target that is also a group's, `.env` (its values become defaults), environment files of services.

Examples:
  mab import > multiarch.toml                  what bake finds here
  mab import docker-bake.hcl docker-bake.ci.hcl -o multiarch.toml
  mab import compose.yaml | diff multiarch.toml -";

pub fn import(arguments: &ImportArguments, facts: &Facts) -> ExitCode {
    let ImportArguments { files, output, force } = arguments;
    let options = ImportOptions { files: files.clone(), output: output.clone(), force: *force };
    match import::import(&options, facts) {
        Ok(imported) => {
            failed(&imported.warnings, Progress::Auto, Some(facts));
            let Some(output) = output else {
                return print_text(&imported.text, facts, Progress::Auto).unwrap_or(ExitCode::SUCCESS);
            };
            let count =
                |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
            let comments = match imported.in_comments {
                0 => String::new(),
                number => format!(", {} in comments", count(number, "key")),
            };
            let targets = count(imported.targets, "target");
            eprintln!("wrote {} with {targets}{comments}; next: mab bake --print", output.display());
            ExitCode::SUCCESS
        }
        Err(problems) => failed(&problems, Progress::Auto, Some(facts)),
    }
}
