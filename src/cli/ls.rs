//! `mab ls` on the command line.

use std::process::ExitCode;

use clap::Args;

use super::image::PlaceArguments;
use super::{document, runtime};
use crate::command;
use crate::command::ls::LsOptions;
use crate::facts::Facts;
use crate::ui::Progress;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct LsArguments {
    /// The repository: a name in a registry without a tag, or a layout or an archive as `mab inspect --help` lists them
    #[arg(value_name = "REPOSITORY")]
    repository: String,
    /// Also the digest, the size of the content and the platforms of each tag, with a request or two for each
    #[arg(short, long)]
    long: bool,
    /// Also tags that tools keep: journals of publications, signatures
    #[arg(short, long)]
    all: bool,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

const EXAMPLES: &str = "\
Tags stand in the order of versions, the newest last; others come before them.

Examples:
  mab ls ghcr.io/shop/api
  mab ls ghcr.io/shop/api --long               which tags are the same image, for which platforms
  mab ls ghcr.io/shop/api --json | jq -r '.[].tag'
  mab ls ./out                                 what a layout holds";

pub fn ls(arguments: &LsArguments, facts: &Facts) -> ExitCode {
    let options = LsOptions {
        repository: arguments.repository.clone(),
        is_long: arguments.long,
        is_all: arguments.all,
        is_json: arguments.json,
    };
    let session = arguments.place.session();
    let listed = command::ls::ls(&options, &session, facts);
    document(runtime().block_on(listed), facts, Progress::Auto)
}
