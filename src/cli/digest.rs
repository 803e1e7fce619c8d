//! `mab digest` on the command line.

use std::process::ExitCode;

use clap::Args;

use super::args::platform;
use super::image::PlaceArguments;
use super::{document, runtime};
use crate::base::Platform;
use crate::command;
use crate::facts::Facts;
use crate::ui::Progress;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DigestArguments {
    /// The image, wherever it lies: `mab inspect --help` lists the places
    #[arg(value_name = "IMAGE")]
    image: String,
    /// That of the image for this platform
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,
    /// Prints the whole name, pinned: `ghcr.io/shop/api@sha256:…`
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

const EXAMPLES: &str = "\
Registries are asked with one request of no content, which Docker Hub does not count as a pull; `--platform` reads the
index.

Examples:
  mab digest alpine:3.20
  mab digest alpine:3.20 --platform linux/arm64
  kubectl set image deploy/api api=$(mab digest --full ghcr.io/shop/api:1.4)";

pub fn digest(arguments: &DigestArguments, facts: &Facts) -> ExitCode {
    let (image, platform) = (&arguments.image, arguments.platform.as_ref());
    let session = arguments.place.session();
    let told = command::digest::digest(image, platform, arguments.full, &session, facts);
    document(runtime().block_on(told), facts, Progress::Auto)
}
