//! `mab diff` on the command line.

use std::process::ExitCode;

use clap::Args;

use super::args::platform;
use super::image::PlaceArguments;
use super::{exit, failed, print_text, runtime};
use crate::base::Platform;
use crate::command;
use crate::command::diff::DiffOptions;
use crate::facts::Facts;
use crate::ui::Progress;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DiffArguments {
    /// An image, wherever it lies: `mab inspect --help` lists the places
    #[arg(value_name = "OLD")]
    old: String,
    /// Another one
    #[arg(value_name = "NEW")]
    new: String,
    /// Only the images for this platform
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,
    /// Compares no files, so that no layer is fetched
    #[arg(long)]
    no_files: bool,
    /// Tells of every file, and not of the first forty for each platform
    #[arg(long)]
    all_files: bool,
    /// Prints JSON, with every file
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

const EXAMPLES: &str = "\
Layers are read one after the other and kept nowhere; where both images have the same layers, none is fetched.

Examples:
  mab diff ghcr.io/shop/api:1.3 ghcr.io/shop/api:1.4 --platform linux/arm64
  mab diff ghcr.io/shop/api:1.4 ./api.tar      is it what I have built?
  mab diff --no-files alpine:3.19 alpine:3.20
  mab diff a.example/x:1 b.example/x:1 --json | jq '.platforms[].files[].path'";

pub fn diff(arguments: &DiffArguments, facts: &Facts) -> ExitCode {
    let options = DiffOptions {
        old: arguments.old.clone(),
        new: arguments.new.clone(),
        platform: arguments.platform.clone(),
        without_files: arguments.no_files,
        is_json: arguments.json,
        all_files: arguments.all_files,
    };
    let session = arguments.place.session();
    match runtime().block_on(command::diff::diff(&options, &session, facts)) {
        Err(problems) => failed(&problems, Progress::Auto, Some(facts)),
        Ok(told) => {
            let code = if told.differs { exit::DIFFERENT } else { 0 };
            print_text(&told.text, facts, Progress::Auto).unwrap_or(ExitCode::from(code))
        }
    }
}
