//! `mab copy`, `mab tag` and `mab untag` on the command line.

use std::process::ExitCode;

use clap::Args;

use super::args::{ProgressArgument, platform, progress_of};
use super::image::{PlaceArguments, listener, places, transferred};
use super::{document, runtime};
use crate::base::Platform;
use crate::command;
use crate::command::copy::CopyOptions;
use crate::config::user::UserConfig;
use crate::facts::Facts;
use crate::ui::Progress;

#[derive(Debug, Args)]
#[command(after_long_help = COPY_EXAMPLES)]
pub struct CopyArguments {
    /// The image
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Where it goes, with its tag there
    #[arg(value_name = "DESTINATION")]
    destination: String,
    /// Only this platform, as a single image; of several, which make an index of their own
    #[arg(long, value_name = "PLATFORM", value_parser = platform, value_delimiter = ',')]
    platform: Vec<Platform>,
    /// Leaves signatures, SBOMs and other artifacts that refer to the image where they are
    #[arg(long)]
    no_referrers: bool,
    /// A further tag at the destination
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// How progress is shown
    #[arg(long, value_name = "HOW", env = "MAB_PROGRESS")]
    progress: Option<ProgressArgument>,
    #[command(flatten)]
    place: PlaceArguments,
}

const COPY_EXAMPLES: &str = concat!(
    places!(),
    "

Images go to registries, layouts, archives and the Docker Engine. A path that ends in `.tar` becomes an OCI archive,
another one a layout. A `docker-archive` holds one platform; an Engine keeps its own one only, unless it has containerd's
image store.

Examples:
  mab copy ghcr.io/shop/api:1.4 registry.example.com/live/api:1.4 --tag latest
  mab copy ghcr.io/shop/api:1.4 ./api.tar      to carry it over an air gap
  mab copy ./api.tar registry.internal/shop/api:1.4
  mab copy ghcr.io/shop/api:1.4 docker-archive://api.tar --platform linux/arm64
  mab copy engine://api:dev ghcr.io/shop/api:dev
  mab copy ghcr.io/shop/api:1.4 engine://shop/api:1.4"
);

#[derive(Debug, Args)]
#[command(after_long_help = TAG_EXAMPLES)]
pub struct TagArguments {
    /// The image, in a registry or a layout
    #[arg(value_name = "IMAGE")]
    image: String,
    #[arg(value_name = "TAG", required = true)]
    tags: Vec<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

const TAG_EXAMPLES: &str = "\
Examples:
  mab tag ghcr.io/shop/api:1.4.0 1.4 1 latest
  mab tag ghcr.io/shop/api@sha256:… stable
  mab tag oci-layout://out:1.4.0 latest";

#[derive(Debug, Args)]
#[command(after_long_help = UNTAG_EXAMPLES)]
pub struct UntagArguments {
    /// Tags of registries
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    #[command(flatten)]
    place: PlaceArguments,
}

const UNTAG_EXAMPLES: &str = "\
Not every registry can: some only remove a manifest with all its tags, which is never done here.

Examples:
  mab untag ghcr.io/shop/api:pr-17";

pub fn copy(arguments: &CopyArguments, user: &UserConfig, facts: &Facts) -> ExitCode {
    let progress = progress_of(arguments.progress, user);
    let options = CopyOptions {
        source: arguments.source.clone(),
        destination: arguments.destination.clone(),
        platforms: arguments.platform.clone(),
        referrers: !arguments.no_referrers,
        tags: arguments.tag.clone(),
    };
    let session = arguments.place.session();
    let copied = command::copy::copy(&options, &session, facts, listener(progress, facts));
    transferred(runtime().block_on(copied), facts, progress)
}

pub fn tag(arguments: &TagArguments, facts: &Facts) -> ExitCode {
    let session = arguments.place.session();
    let tagged = command::copy::tag(&arguments.image, &arguments.tags, &session, facts);
    document(runtime().block_on(tagged), facts, Progress::Auto)
}

pub fn untag(arguments: &UntagArguments, facts: &Facts) -> ExitCode {
    let session = arguments.place.session();
    let untagged = command::untag::untag(&arguments.images, &session, facts);
    document(runtime().block_on(untagged), facts, Progress::Auto)
}
