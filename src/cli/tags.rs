//! `mab tags` on the command line.

use std::process::ExitCode;

use clap::Args;

use super::args::ProjectArguments;
use super::document;
use crate::command;
use crate::facts::Facts;
use crate::ui::Progress;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct TagsArguments {
    #[command(flatten)]
    pub project: ProjectArguments,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
`--json` prints {targets: {NAME: {version, tags, tag-names, labels, annotations}}}; where there is one target, its
members stand at the top as well.

Examples:
  mab tags                                     of everything that a bake would build
  mab tags release --fact tag=v1.2.3           what a group would be called for that tag
  mab tags api --json | jq -r .version         for scripts
  mab tags api --json | jq -r '.tags[]'        every name of the image
  mab tags --now 2026-03-01 --fact event=schedule
                                               what a nightly build of that day would be";

pub fn tags(arguments: &TagsArguments, facts: &mut Facts) -> ExitCode {
    let told = command::tags::tags(&arguments.project.options(), arguments.json, facts);
    document(told, facts, Progress::Auto)
}
