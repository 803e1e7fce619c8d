//! `mab lock` on the command line, and the flags by which other commands use a lock.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::args::ProjectArguments;
use super::{document, printed, runtime};
use crate::command::lock::{LockOptions, Update};
use crate::command::plan::Document;
use crate::command::{self, SessionOptions};
use crate::facts::Facts;
use crate::ui::Progress;

// How a run treats what is elsewhere.
#[derive(Debug, Args)]
pub struct LockRules {
    /// Refuses what multiarch.lock does not pin, before anything is built
    #[arg(long)]
    locked: bool,
    /// Asks no registry and no server; commands of RUN have the network that the file gives them
    #[arg(long)]
    offline: bool,
}

impl LockRules {
    pub fn of(&self, session: SessionOptions) -> SessionOptions {
        SessionOptions { is_locked: self.locked, is_offline: self.offline, ..session }
    }
}

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct LockArguments {
    #[command(flatten)]
    pub project: ProjectArguments,
    /// Looks again: at everything, or at what NAME means (a whole name, one without its tag or ref, or a pattern with `*`)
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "*", conflicts_with = "check")]
    update: Vec<String>,
    /// Writes nothing, and says what is missing from the lock, does not fit, or is not asked for
    #[arg(long)]
    check: bool,
    /// With --check, also asks whether names have come to mean something else
    #[arg(long, requires = "check", conflicts_with = "offline")]
    upstream: bool,
    /// Asks no registry and no server
    #[arg(long)]
    offline: bool,
    /// The folder of the local store [default: $XDG_DATA_HOME/mab]
    #[arg(long, value_name = "PATH", env = "MAB_STORE")]
    store: Option<PathBuf>,
}

const EXAMPLES: &str = "\
The lock lies beside the build file and is to be committed. `mab bake` takes from it what it has and never writes it;
`--locked` refuses the rest, and `pull` and `--pull` do not look behind it. A base named by digest is in it, too: for
each platform the manifest and its config, so that an unchanged bake asks nobody. OCI layouts and archives are not in
it, since their content is looked at in every run.

Exit codes: 0 written, or fits; 2 does not fit, or a base has no image for a platform; 4 a registry cannot be asked.

Examples:
  mab lock                                     pins what is not pinned yet
  mab lock --update                            looks at everything again
  mab lock --update alpine --update 'ghcr.io/shop/*'
  mab lock api --update=node                   for what one target needs
  mab lock --check                             in CI, before `mab bake --locked`
  mab lock --check --upstream                  on a schedule: is there something new?";

pub fn lock(arguments: &LockArguments, facts: &mut Facts) -> ExitCode {
    let updates = arguments.update.iter().map(String::as_str);
    let update = match updates.clone().any(|name| name == "*") {
        true => Update::All,
        false => Update::Names(updates.map(str::to_string).collect()),
    };
    let options = LockOptions {
        project: arguments.project.options(),
        session: SessionOptions {
            store: arguments.store.clone(),
            is_offline: arguments.offline,
            ..SessionOptions::default()
        },
        update,
        asks_upstream: arguments.upstream,
    };
    let runtime = runtime();
    match arguments.check {
        true => printed(runtime.block_on(command::lock::check(&options, facts)), facts, Progress::Auto),
        false => {
            let written = runtime.block_on(command::lock::lock(&options, facts));
            let text = written.map(|(text, warnings)| Document { text, warnings });
            document(text, facts, Progress::Auto)
        }
    }
}
