//! `mab cache du` on the command line.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::time;
use crate::cli::{printed, runtime};
use crate::command::SessionOptions;
use crate::command::cache::{self, Usage};
use crate::facts::Facts;
use crate::ui::{self, Progress};

/// Says how much the store holds, and how much of it `mab cache prune` would remove now
///
/// Counted are the sizes of files, by kind: `images` are blobs (layers, configs, manifests), of which those that several
/// records need are `shared`; `trees` are layers unpacked for commands, `mounts` the caches of `RUN --mount=type=cache`,
/// `sources` repositories, archives and files that were fetched, `indexes` lists of what is in layers, `logs` the output
/// of steps, `keys` the database, `remains` what interrupted builds left. Files that share blocks, as reflinks and hard
/// links do, count as often as they are there.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DuArguments {
    /// Prints {version, kinds}; a kind has kind, count, bytes, shared, reclaimable and last-used
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Exit codes: 0 done, 3 the machine or the store cannot do it.

Examples:
  mab cache du
  mab cache du --json | jq '.kinds | map(.bytes) | add'";

pub fn du(arguments: &DuArguments, session: &SessionOptions, facts: &Facts) -> ExitCode {
    let usages = runtime().block_on(cache::du(session, facts));
    let text = if arguments.json { object } else { table };
    printed(usages.map(|usages| text(&usages)), facts, Progress::Auto)
}

fn object(usages: &[Usage]) -> String {
    let kinds = usages.iter().map(|usage| {
        json!({
            "kind": usage.kind.name(),
            "count": usage.count,
            "bytes": usage.bytes,
            "shared": usage.shared,
            "reclaimable": usage.reclaimable,
            "last-used": usage.last_used.map(time),
        })
    });
    format!("{:#}\n", json!({ "version": 1, "kinds": kinds.collect::<Vec<_>>() }))
}

fn table(usages: &[Usage]) -> String {
    let heading = ["KIND", "COUNT", "SIZE", "SHARED", "RECLAIMABLE", "LAST USED"].map(String::from);
    let row = |usage: &Usage| {
        let shared = if usage.shared > 0 { ui::bytes(usage.shared) } else { "-".to_string() };
        let last_used = usage.last_used.map_or("-".to_string(), time);
        let sizes = [usage.bytes, usage.reclaimable].map(ui::bytes);
        let [bytes, reclaimable] = sizes;
        [usage.kind.name().to_string(), usage.count.to_string(), bytes, shared, reclaimable, last_used]
    };
    let sum = |part: fn(&Usage) -> u64| ui::bytes(usages.iter().map(part).sum());
    let total = [
        "total".to_string(),
        usages.iter().map(|usage| usage.count).sum::<usize>().to_string(),
        sum(|usage| usage.bytes),
        sum(|usage| usage.shared),
        sum(|usage| usage.reclaimable),
        String::new(),
    ];
    let rows: Vec<[String; 6]> =
        std::iter::once(heading).chain(usages.iter().map(row)).chain([total]).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let [kind, numbers @ .., last_used] = row;
        let numbers: Vec<String> =
            numbers.iter().zip(&widths[1..]).map(|(number, width)| format!("{number:>width$}")).collect();
        format!("{kind:0$}  {1}  {last_used}", widths[0], numbers.join("  ")).trim_end().to_string() + "\n"
    };
    rows.iter().map(line).collect()
}
