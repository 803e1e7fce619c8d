//! `mab index` on the command line.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::args::{ProgressArgument, platform, progress_of, variable};
use super::image::{PlaceArguments, listener, transferred};
use super::runtime;
use crate::base::Platform;
use crate::command;
use crate::command::index::{Change, IndexOptions};
use crate::config::user::UserConfig;
use crate::facts::Facts;

#[derive(Debug, Args)]
pub struct IndexArguments {
    #[command(subcommand)]
    verb: IndexVerb,
}

#[derive(Debug, Subcommand)]
enum IndexVerb {
    Create(CreateArguments),
    Append(AppendArguments),
    Remove(RemoveArguments),
    Annotate(AnnotateArguments),
}

/// What all of them take.
#[derive(Debug, Args)]
struct ToArguments {
    /// A further tag of the index
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Makes it an OCI index even where everything in it is Docker's
    #[arg(long)]
    oci: bool,
    /// Prints the index, and writes nothing
    #[arg(long)]
    dry_run: bool,
    /// How progress is shown
    #[arg(long, value_name = "HOW", env = "MAB_PROGRESS")]
    progress: Option<ProgressArgument>,
    #[command(flatten)]
    place: PlaceArguments,
}

/// Makes an index of images and of what other indexes hold
///
/// Digests are kept. Layers are not fetched within a registry: they are mounted where they are not there. The tags move
/// when everything is there. Attestations come along with their images.
#[derive(Debug, Args)]
#[command(after_long_help = CREATE_EXAMPLES)]
struct CreateArguments {
    /// The name of the index
    #[arg(value_name = "INDEX")]
    index: String,
    /// Images and indexes, wherever they lie: `mab inspect --help` lists the places
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<String>,
    /// Lets a later source stand in the place of an earlier one for the same platform
    #[arg(long)]
    replace: bool,
    /// An annotation of the index
    #[arg(long, value_name = "KEY=VALUE", value_parser = variable)]
    annotation: Vec<(String, String)>,
    #[command(flatten)]
    to: ToArguments,
}

const CREATE_EXAMPLES: &str = "\
Platforms are those that the configs of images name. It is a Docker manifest list where all images are Docker's, and an
OCI index otherwise.

Examples:
  mab index create ghcr.io/shop/api:1.4 ghcr.io/shop/api:1.4-amd64 ghcr.io/shop/api:1.4-arm64 --tag latest
  mab index create ghcr.io/shop/api:1.4 ./amd64.tar ./arm64.tar
  mab index create oci-layout://out:1.4 ./amd64.tar ghcr.io/shop/api:1.4-arm64";

/// Adds images to an index, or makes an index of a single image
#[derive(Debug, Args)]
#[command(after_long_help = APPEND_EXAMPLES)]
struct AppendArguments {
    /// The index
    #[arg(value_name = "INDEX")]
    index: String,
    /// Images and indexes, wherever they lie
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<String>,
    /// Lets a source stand in the place of what the index has for the same platform
    #[arg(long)]
    replace: bool,
    /// Where the result goes instead of the place of the old
    #[arg(long, value_name = "INDEX")]
    to_index: Option<String>,
    #[command(flatten)]
    to: ToArguments,
}

const APPEND_EXAMPLES: &str = "\
Examples:
  mab index append ghcr.io/shop/api:1.4 ghcr.io/shop/api:1.4-riscv64
  mab index append ghcr.io/shop/api:1.4 ./arm64.tar --replace";

/// Takes the images of platforms out of an index, with what is attested about them
#[derive(Debug, Args)]
#[command(after_long_help = REMOVE_EXAMPLES)]
struct RemoveArguments {
    /// The index
    #[arg(value_name = "INDEX")]
    index: String,
    /// What is taken out
    #[arg(long, value_name = "PLATFORM", value_parser = platform, value_delimiter = ',', required = true)]
    platform: Vec<Platform>,
    /// Where the result goes instead of the place of the old
    #[arg(long, value_name = "INDEX")]
    to_index: Option<String>,
    #[command(flatten)]
    to: ToArguments,
}

const REMOVE_EXAMPLES: &str = "\
Examples:
  mab index remove ghcr.io/shop/api:1.4 --platform linux/arm/v6";

/// Changes the annotations of an index, or of its entries for a platform
#[derive(Debug, Args)]
#[command(after_long_help = ANNOTATE_EXAMPLES)]
struct AnnotateArguments {
    /// The index
    #[arg(value_name = "INDEX")]
    index: String,
    /// What is said; `KEY=` takes it away
    #[arg(value_name = "KEY=VALUE", value_parser = variable, required = true)]
    annotations: Vec<(String, String)>,
    /// Of the entry for this platform
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,
    /// Where the result goes instead of the place of the old
    #[arg(long, value_name = "INDEX")]
    to_index: Option<String>,
    #[command(flatten)]
    to: ToArguments,
}

const ANNOTATE_EXAMPLES: &str = "\
Examples:
  mab index annotate ghcr.io/shop/api:1.4 org.opencontainers.image.description='The API'
  mab index annotate ghcr.io/shop/api:1.4 --platform linux/arm64 com.example.tested=yes";

pub fn index(arguments: &IndexArguments, user: &UserConfig, facts: &Facts) -> ExitCode {
    let (index, to_index, to, change) = match &arguments.verb {
        IndexVerb::Create(create) => (
            &create.index,
            None,
            &create.to,
            Change::Create {
                sources: create.sources.clone(),
                replaces: create.replace,
                annotations: create.annotation.iter().cloned().collect(),
            },
        ),
        IndexVerb::Append(append) => (
            &append.index,
            append.to_index.clone(),
            &append.to,
            Change::Append { sources: append.sources.clone(), replaces: append.replace },
        ),
        IndexVerb::Remove(remove) => (
            &remove.index,
            remove.to_index.clone(),
            &remove.to,
            Change::Remove { platforms: remove.platform.clone() },
        ),
        IndexVerb::Annotate(annotate) => (
            &annotate.index,
            annotate.to_index.clone(),
            &annotate.to,
            Change::Annotate {
                platform: annotate.platform.clone(),
                annotations: annotate.annotations.iter().cloned().collect(),
            },
        ),
    };
    let options = IndexOptions {
        index: index.clone(),
        to: to_index,
        tags: to.tag.clone(),
        is_oci: to.oci,
        dry_run: to.dry_run,
    };
    let session = to.place.session();
    let progress = progress_of(to.progress, user);
    let changed = command::index::index(&options, &change, &session, facts, listener(progress, facts));
    transferred(runtime().block_on(changed), facts, progress)
}
