//! `mab prune`, `mab cache prune` on the command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{printed, runtime};
use crate::command::SessionOptions;
use crate::command::prune::{self, PruneRules, PrunedStore};
use crate::facts::Facts;
use crate::store::Kind;
use crate::ui::{self, Progress};

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct PruneArguments {
    /// The folder of the local store [default: $XDG_DATA_HOME/mab]
    #[arg(long, value_name = "PATH", env = "MAB_STORE")]
    store: Option<PathBuf>,
    #[command(flatten)]
    rules: RuleArguments,
}

/// Removes from the store what was not used for a while
///
/// What running builds use stays, whatever is asked for. A bake does the same at its end, once an hour at most, where
/// `[store]` of the user's configuration has `budget` or `keep`; `auto-prune = false` there, or MAB_AUTO_PRUNE=off,
/// leaves it to this command.
#[derive(Debug, Args)]
#[command(after_long_help = CACHE_EXAMPLES)]
pub struct CachePruneArguments {
    #[command(flatten)]
    rules: RuleArguments,
}

#[derive(Debug, Args)]
struct RuleArguments {
    /// Keeps what was used in the last so many days [default: `[store] keep` of the user's configuration, or 14]
    #[arg(long, value_name = "DAYS")]
    unused_for: Option<u64>,
    /// Removes the least recently used until all that is left has no more than this many bytes
    /// [default: `[store] budget`]
    #[arg(long, value_name = "BYTES")]
    keep_bytes: Option<u64>,
    /// Removes only these, in the words of `mab cache du` [default: all]
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<KindArgument>,
    /// Says what would be removed, and removes nothing
    #[arg(long)]
    dry_run: bool,
    /// Prints {version, dry-run, records, bytes, kinds}; a kind has kind, count and bytes
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Exit codes: 0 done, 3 the machine or the store cannot do it.

Examples:
  mab prune                                    what no build used for two weeks
  mab prune --unused-for 0                     everything no running build uses
  mab prune --kind mounts,logs --unused-for 2
  mab prune --keep-bytes 20000000000 --dry-run";

const CACHE_EXAMPLES: &str = "\
Exit codes: 0 done, 3 the machine or the store cannot do it.

Examples:
  mab cache prune                              what no build used for two weeks
  mab cache prune --unused-for 0               everything no running build uses
  mab cache prune --kind mounts,logs --unused-for 2
  mab cache prune --keep-bytes 20000000000 --dry-run";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum KindArgument {
    /// Layers, configs and manifests, with the keys that find them
    Images,
    /// Layers unpacked for commands
    Trees,
    /// Cache mounts
    Mounts,
    /// Repositories, archives and files that were fetched
    Sources,
    /// What is in which layer
    Indexes,
    /// Output of steps
    Logs,
}

impl From<KindArgument> for Kind {
    fn from(argument: KindArgument) -> Self {
        match argument {
            KindArgument::Images => Self::Images,
            KindArgument::Trees => Self::Trees,
            KindArgument::Mounts => Self::Mounts,
            KindArgument::Sources => Self::Sources,
            KindArgument::Indexes => Self::Indexes,
            KindArgument::Logs => Self::Logs,
        }
    }
}

impl RuleArguments {
    fn rules(&self) -> PruneRules {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let days = |count: u64| DAY.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        PruneRules {
            unused_for: self.unused_for.map(days),
            keep_bytes: self.keep_bytes,
            kinds: self.kinds.iter().copied().map(Kind::from).collect(),
            is_dry_run: self.dry_run,
        }
    }
}

pub fn prune(arguments: &PruneArguments, facts: &Facts) -> ExitCode {
    let session = SessionOptions { store: arguments.store.clone(), ..SessionOptions::default() };
    by_rules(&arguments.rules, &session, facts)
}

pub(super) fn prune_cache(
    arguments: &CachePruneArguments,
    session: &SessionOptions,
    facts: &Facts,
) -> ExitCode {
    by_rules(&arguments.rules, session, facts)
}

fn by_rules(arguments: &RuleArguments, session: &SessionOptions, facts: &Facts) -> ExitCode {
    let rules = arguments.rules();
    let pruned = runtime().block_on(prune::prune(session, &rules, facts));
    let text = pruned.map(|pruned| match arguments.json {
        true => object(&pruned, rules.is_dry_run),
        false => format!("{}\n", sentence(&pruned, rules.is_dry_run)),
    });
    printed(text, facts, Progress::Auto)
}

fn object(pruned: &PrunedStore, is_dry_run: bool) -> String {
    let kinds = pruned
        .kinds
        .iter()
        .map(|(kind, gone)| json!({ "kind": kind.name(), "count": gone.count, "bytes": gone.bytes }));
    let document = json!({
        "version": 1,
        "dry-run": is_dry_run,
        "records": pruned.records,
        "bytes": pruned.bytes(),
        "kinds": kinds.collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

/// `removed 3 blobs, 2 trees and 1 record: 1.2 MB`
pub(super) fn sentence(pruned: &PrunedStore, is_dry_run: bool) -> String {
    let what = if is_dry_run { "would remove" } else { "removed" };
    let kinds = pruned.kinds.iter().map(|(kind, gone)| (noun(*kind), gone.count));
    let counted = kinds.chain([("record", pruned.records)]).filter(|(_, count)| *count > 0);
    let parts: Vec<String> = counted.map(|(noun, count)| ui::count(count, noun)).collect();
    match parts.split_last() {
        None => format!("{what} nothing"),
        Some((last, [])) => format!("{what} {last}: {}", ui::bytes(pruned.bytes())),
        Some((last, rest)) => {
            format!("{what} {} and {last}: {}", rest.join(", "), ui::bytes(pruned.bytes()))
        }
    }
}

/// One of a kind.
fn noun(kind: Kind) -> &'static str {
    match kind {
        Kind::Images => "blob",
        Kind::Trees => "tree",
        Kind::Mounts => "mount",
        Kind::Sources => "source",
        Kind::Indexes => "index file",
        Kind::Logs => "log",
        Kind::Keys => "damaged database",
        Kind::Remains => "abandoned file",
    }
}
