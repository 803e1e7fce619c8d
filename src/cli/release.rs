//! `mab promote`, `mab rollback` and `mab release` on the command line.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::args::ProjectArguments;
use super::{document, runtime};
use crate::command;
use crate::command::bake::Publishing;
use crate::facts::Facts;
use crate::ui::Progress;

#[derive(Debug, Args)]
#[command(after_long_help = PROMOTE_EXAMPLES)]
pub struct PromoteArguments {
    /// The image, by tag or digest
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Tags of the same repository, or whole names
    #[arg(value_name = "TAG", required = true)]
    tags: Vec<String>,
    /// Lets a tag that is there come to have fewer platforms than it has
    #[arg(long)]
    allow_fewer_platforms: bool,
    /// Lets floating tags go back to an older version than they lead to
    #[arg(long)]
    allow_older_release: bool,
    /// Says what each tag leads to and would lead to, and changes nothing
    #[arg(long)]
    dry_run: bool,
}

const PROMOTE_EXAMPLES: &str = "\
Prints one line for each name: what it led to, and what it leads to now.

Examples:
  mab promote ghcr.io/shop/api:1.4.0-rc.1 1.4.0 latest
  mab promote registry.example.com/staging/api@sha256:… registry.example.com/live/api:1.4.0";

#[derive(Debug, Args)]
#[command(after_long_help = ROLLBACK_EXAMPLES)]
pub struct RollbackArguments {
    #[command(flatten)]
    pub project: ProjectArguments,
    /// Says what each tag leads to and would lead to, and changes nothing
    #[arg(long)]
    dry_run: bool,
}

const ROLLBACK_EXAMPLES: &str = "\
TARGET may be a name in a registry with a `/` in it: a repository, or one of its tags. Tags that somebody has moved
since are left. What they led to is read from the journals that publications leave in the registry.

Examples:
  mab rollback api                             every floating tag of its repositories
  mab rollback ghcr.io/shop/api:latest         this one, from anywhere";

#[derive(Debug, Args)]
pub struct ReleaseArguments {
    #[command(subcommand)]
    pub verb: ReleaseVerb,
}

#[derive(Debug, Subcommand)]
pub enum ReleaseVerb {
    Log(LogArguments),
}

/// Tells of the publications to a repository, the newest first, from their journals in the registry
#[derive(Debug, Args)]
#[command(after_long_help = LOG_EXAMPLES)]
pub struct LogArguments {
    #[command(flatten)]
    pub project: ProjectArguments,
    /// How many of each repository
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

const LOG_EXAMPLES: &str = "\
TARGET may be a name in a registry with a `/` in it: a repository, or one of its tags. A publication that is `open` is
under way, or was cut; the next bake that pushes there ends it.

Examples:
  mab release log api
  mab release log ghcr.io/shop/api:latest --limit 3
  mab release log ghcr.io/shop/api --json | jq -r '.[0].tags[].new'";

pub fn promote(arguments: &PromoteArguments, facts: &Facts) -> ExitCode {
    let publishing = Publishing {
        allows_fewer_platforms: arguments.allow_fewer_platforms,
        allows_older: arguments.allow_older_release,
        is_rehearsal: arguments.dry_run,
    };
    let promoted = command::release::promote(&arguments.source, &arguments.tags, publishing, facts);
    document(runtime().block_on(promoted), facts, Progress::Auto)
}

pub fn rollback(arguments: &RollbackArguments, facts: &mut Facts) -> ExitCode {
    let publishing = Publishing { is_rehearsal: arguments.dry_run, ..Publishing::default() };
    let options = arguments.project.options();
    let rolled = runtime().block_on(command::release::rollback(&options, publishing, facts));
    document(rolled, facts, Progress::Auto)
}

pub fn release(arguments: &ReleaseArguments, facts: &mut Facts) -> ExitCode {
    let ReleaseVerb::Log(arguments) = &arguments.verb;
    let options = arguments.project.options();
    let told = command::release::log(&options, arguments.limit, arguments.json, facts);
    document(runtime().block_on(told), facts, Progress::Auto)
}
