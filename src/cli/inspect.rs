//! `mab inspect` on the command line.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Args;

use super::args::platform;
use super::image::{PlaceArguments, places};
use super::{document, runtime};
use crate::base::Platform;
use crate::command;
use crate::command::inspect::{Form, InspectOptions};
use crate::facts::Facts;
use crate::ui::Progress;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct InspectArguments {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Only the image for this platform
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,
    /// Prints JSON, with every platform's config
    #[arg(long, group = "form")]
    json: bool,
    /// Prints a template over what `--json` has: `{{ digest }}`
    #[arg(long, value_name = "TEMPLATE", group = "form")]
    format: Option<String>,
    /// Prints the manifest or index as it is, byte for byte
    #[arg(long, group = "form")]
    raw: bool,
    /// Prints the config of the image as it is, byte for byte
    #[arg(long, group = "form")]
    config: bool,
    /// Also what refers to the image: signatures, SBOMs and other artifacts
    #[arg(long)]
    referrers: bool,
    #[command(flatten)]
    place: PlaceArguments,
}

const EXAMPLES: &str = concat!(
    places!(),
    "

Examples:
  mab inspect ghcr.io/shop/api:1.4             which platforms, how large, attested by what
  mab inspect ghcr.io/shop/api:1.4 --platform linux/arm64
                                               config, layers, and what made them
  mab inspect ./api.tar --json | jq -r '.images[].digest'
  mab inspect alpine --format '{% for image in images %}{{ image.platform }} {{ image.digest }}
{% endfor %}'
  mab inspect alpine --raw | sha256sum         its digest
  mab inspect alpine --platform linux/arm64 --config | jq .config.Env"
);

pub fn inspect(arguments: &InspectArguments, facts: &Facts) -> ExitCode {
    let form = match arguments {
        InspectArguments { json: true, .. } => Form::Json,
        InspectArguments { format: Some(format), .. } => Form::Format(format.clone()),
        InspectArguments { raw: true, .. } => Form::Raw,
        InspectArguments { config: true, .. } => Form::Config,
        _ => Form::Text,
    };
    let options = InspectOptions {
        image: arguments.image.clone(),
        platform: arguments.platform.clone(),
        form,
        referrers: arguments.referrers,
        columns: columns(facts),
    };
    let session = arguments.place.session();
    let inspected = command::inspect::inspect(&options, &session, facts);
    document(runtime().block_on(inspected), facts, Progress::Auto)
}

/// The width of what standard output is, if that is a terminal.
fn columns(facts: &Facts) -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let stated = facts.environment.get("COLUMNS").and_then(|columns| columns.parse().ok());
    stated.or_else(|| crossterm::terminal::size().ok().map(|(columns, _)| usize::from(columns)))
}
