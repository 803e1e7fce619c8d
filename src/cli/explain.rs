//! `mab explain` on the command line.

use std::process::ExitCode;

use clap::Args;

use super::build_file::BuildFileArguments;
use super::{document, failed};
use crate::command::explain::explain as answer;
use crate::command::plan::Document;
use crate::facts::Facts;
use crate::report::explain as report;
use crate::ui::Progress;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ExplainArguments {
    /// `TARGET`, `TARGET.KEY`, `TARGET.KEY.ENTRY`, `TARGET.on."PLATFORM".KEY`, or `vars.NAME`
    #[arg(value_name = "PATH")]
    path: String,
    /// Explains what is baked with this group, whose delivery keys count
    #[arg(long = "group", value_name = "NAME")]
    groups: Vec<String>,
    #[command(flatten)]
    pub file: BuildFileArguments,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
`--json` prints {version, target, explained}: for each path its values by platform and its layers, weakest first, with
layer, platform, entry, says (gives, adds, removes), text, rendered, file, line, and holds.

Examples:
  mab explain api                              every value of a target, with its source
  mab explain api.args.GO                      the layers of one build argument
  mab explain 'api.on.\"linux/arm64\".args.GO'   for one platform
  mab explain api.tags --group release         as the group delivers it
  mab explain vars.version --var version=2";

pub fn explain(arguments: &ExplainArguments, facts: &mut Facts) -> ExitCode {
    let options = arguments.file.options(&arguments.groups);
    match answer(&options, &arguments.path, facts) {
        Ok((explanation, warnings)) => {
            let text = match arguments.json {
                true => format!("{:#}\n", report::json(&explanation)),
                false => report::text(&explanation),
            };
            document(Ok(Document { text, warnings }), facts, Progress::Auto)
        }
        Err(problems) => failed(&problems, Progress::Auto, Some(facts)),
    }
}
