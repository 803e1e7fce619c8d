//! `mab cache` on the command line: its arguments, and its answers about cache mounts for people and machines.

mod du;
mod verify;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;

use super::args::platform;
use super::prune::{CachePruneArguments, prune_cache};
use super::signals::cancel_on_signals;
use super::{LAST_WORK, failed, print_text, printed, runtime};
use crate::base::Platform;
use crate::command::cache::{
    self, CacheSelection, ExportOptions, ExportOutcome, ExportedCache, ImportOptions, ImportedCache,
    ListedCache, Occupancy, Placement,
};
use crate::command::{Failure, SessionOptions};
use crate::diag::{Kind, Problem};
use crate::facts::Facts;
use crate::ui::Progress;

use du::DuArguments;
use verify::VerifyArguments;

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct CacheArguments {
    /// The folder of the local store [default: $XDG_DATA_HOME/mab]
    #[arg(long, value_name = "PATH", env = "MAB_STORE", global = true)]
    store: Option<PathBuf>,
    #[command(subcommand)]
    verb: CacheVerb,
}

#[derive(Debug, Subcommand)]
enum CacheVerb {
    Ls(LsArguments),
    Du(DuArguments),
    Prune(CachePruneArguments),
    Verify(VerifyArguments),
    Export(ExportArguments),
    Import(ImportArguments),
}

const EXAMPLES: &str = "\
Examples:
  mab cache ls                                 id, platform, use, size and last use of every cache mount
  mab cache du                                 what the store holds, by kind, and what could go
  mab cache verify --heal                      removes what is damaged
  mab cache export caches --id go-build        one cache, for all of its platforms, into the folder `caches`
  mab cache import caches                      what the store does not have yet
  mab cache prune                              removes what no build used for two weeks";

/// Lists the cache mounts of the store
///
/// A cache is `free`, `shared` by steps that run, or `locked` by one. Its size is that of its files.
#[derive(Debug, Args)]
#[command(after_long_help = LS_EXAMPLES)]
struct LsArguments {
    /// Prints {version, caches}; a cache has id, platform, beginning, number, use, bytes and last-used
    #[arg(long)]
    json: bool,
}

const LS_EXAMPLES: &str = "\
Exit codes: 0 done, 3 the machine or the store cannot do it.

Examples:
  mab cache ls
  mab cache ls --json | jq '.caches | map(.bytes) | add'";

/// Which caches are meant.
#[derive(Debug, Args)]
struct SelectionArguments {
    /// Only the caches with this id: what `--mount` gives as `id`, or else as `target`
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
    /// Only the caches of these platforms
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', value_parser = platform)]
    platform: Vec<Platform>,
}

/// Writes cache mounts into the folder of an OCI layout
///
/// Each id and platform becomes an OCI artifact with a tag of its own, which any OCI tool copies to a registry. A layout that
/// is there is added to; a cache that it has already is named anew when it has changed. Equal content has an equal digest.
/// A step that wants a cache while it is read waits or gets another one, as for any other user of it. Files travel with
/// owners, modes, times in whole seconds, links and file capabilities; sockets and other extended attributes stay behind.
#[derive(Debug, Args)]
#[command(after_long_help = EXPORT_EXAMPLES)]
struct ExportArguments {
    /// The folder of the layout; made when it is missing
    #[arg(value_name = "DEST")]
    destination: PathBuf,
    #[command(flatten)]
    selection: SelectionArguments,
    /// Leaves out caches that a step uses, instead of waiting for it
    #[arg(long)]
    skip_busy: bool,
}

const EXPORT_EXAMPLES: &str = "\
Exit codes: 0 done, 2 no such cache, or DEST cannot be a layout, 3 a cache has what no layer can hold, or
the machine or the store cannot do it.

Examples:
  mab cache export caches
  mab cache export caches --id go-build --platform linux/arm64 --skip-busy
  skopeo copy oci:caches:go-build-linux-arm64-0123456789ab docker://registry.example.com/caches:go-arm64";

/// Puts cache mounts of an OCI layout into the store
///
/// The layout is one that `mab cache export` wrote, or one that another tool fetched from a registry. Nothing is changed
/// before all of it is known to have the bytes its digests say, and to hold nothing outside of its caches.
#[derive(Debug, Args)]
#[command(after_long_help = IMPORT_EXAMPLES)]
struct ImportArguments {
    /// The folder of the layout
    #[arg(value_name = "SRC")]
    source: PathBuf,
    #[command(flatten)]
    selection: SelectionArguments,
    /// Puts a cache in the place of the one that the store has, unless a step uses it
    #[arg(long)]
    replace: bool,
}

const IMPORT_EXAMPLES: &str = "\
Exit codes: 0 done, with caches the store had already kept; 2 SRC is no layout, damaged or hostile, or has no such cache;
3 a cache to be replaced is in use, or the machine or the store cannot do it.

Examples:
  mab cache import caches
  skopeo copy docker://registry.example.com/caches:go-arm64 oci:caches:go-arm64 && mab cache import caches --replace";

pub fn cache(arguments: &CacheArguments, facts: &Facts) -> ExitCode {
    let session = SessionOptions { store: arguments.store.clone(), ..SessionOptions::default() };
    match &arguments.verb {
        CacheVerb::Ls(arguments) => {
            let listed = runtime().block_on(cache::list(&session, facts));
            let text = if arguments.json { listed_json } else { listed_text };
            printed(listed.map(|caches| text(&caches)), facts, Progress::Auto)
        }
        CacheVerb::Du(arguments) => du::du(arguments, &session, facts),
        CacheVerb::Prune(arguments) => prune_cache(arguments, &session, facts),
        CacheVerb::Verify(arguments) => verify::verify(arguments, &session, facts),
        CacheVerb::Export(arguments) => export(arguments, &session, facts),
        CacheVerb::Import(arguments) => {
            let imported = interruptible(cache::import(&session, &arguments.options(), facts));
            show_imported(imported, facts)
        }
    }
}

/// Does the work unless a signal cuts it, which takes away what was half written.
fn interruptible<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = runtime();
    let done = runtime.block_on(async {
        let mut cancelled = cancel_on_signals();
        let message = "interrupted; caches that were finished stay";
        tokio::select! {
            done = work => done,
            _ = cancelled.changed() => Err(vec![Problem::new(Kind::Interrupted, "cache::interrupted", message)]),
        }
    });
    // A wait for another process's step may go on, and nobody wants its result.
    runtime.shutdown_timeout(LAST_WORK);
    done
}

impl SelectionArguments {
    fn selection(&self) -> CacheSelection {
        CacheSelection { ids: self.ids.clone(), platforms: self.platform.clone() }
    }
}

impl ImportArguments {
    fn options(&self) -> ImportOptions {
        ImportOptions {
            source: self.source.clone(),
            selection: self.selection.selection(),
            replaces: self.replace,
        }
    }
}

fn listed_json(caches: &[ListedCache]) -> String {
    let caches: Vec<_> = caches.iter().map(listed_object).collect();
    format!("{:#}\n", json!({ "version": 1, "caches": caches }))
}

fn listed_object(ListedCache { cache, bytes }: &ListedCache) -> serde_json::Value {
    json!({
        "id": cache.identity.id,
        "platform": cache.identity.platform.to_string(),
        "beginning": cache.identity.beginning.to_string(),
        "number": cache.folder.number,
        "use": occupancy(cache.folder.occupancy),
        "bytes": bytes,
        "last-used": time(cache.folder.last_used),
    })
}

fn listed_text(caches: &[ListedCache]) -> String {
    let heading = ["CACHE", "USE", "BYTES", "LAST USED"].map(String::from);
    let row = |ListedCache { cache, bytes }: &ListedCache| {
        let folder = &cache.folder;
        let used = occupancy(folder.occupancy).to_string();
        [cache.identity.to_string(), used, bytes.to_string(), time(folder.last_used)]
    };
    let rows: Vec<[String; 4]> = std::iter::once(heading).chain(caches.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = |[name, used, bytes, time]: &[String; 4]| {
        format!("{name:0$}  {used:1$}  {bytes:>2$}  {time}\n", widths[0], widths[1], widths[2])
    };
    rows.iter().map(line).collect()
}

fn occupancy(occupancy: Occupancy) -> &'static str {
    match occupancy {
        Occupancy::Free => "free",
        Occupancy::Shared => "shared",
        Occupancy::Locked => "locked",
    }
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

fn export(arguments: &ExportArguments, session: &SessionOptions, facts: &Facts) -> ExitCode {
    let options = ExportOptions {
        destination: arguments.destination.clone(),
        selection: arguments.selection.selection(),
        skips_busy: arguments.skip_busy,
    };
    let exported = interruptible(cache::export(session, &options, facts, |identity| {
        // Nothing is left to do when standard error is closed.
        let _ = writeln!(std::io::stderr(), "waits for `{identity}`, which a step uses");
    }));
    let caches = match exported {
        Ok(caches) => caches,
        Err(problems) => return failed(&problems, Progress::Auto, Some(facts)),
    };
    let text: String = caches.iter().map(exported_line).collect();
    if let Some(code) = print_text(&text, facts, Progress::Auto) {
        return code;
    }
    let refused = caches.into_iter().filter_map(|cache| match cache.outcome {
        ExportOutcome::Refused(problem) => Some(*problem),
        ExportOutcome::Written(..) | ExportOutcome::Busy | ExportOutcome::Gone => None,
    });
    let problems: Vec<Problem> = refused.collect();
    if problems.is_empty() { ExitCode::SUCCESS } else { failed(&problems, Progress::Auto, Some(facts)) }
}

fn exported_line(ExportedCache { identity, folders, outcome }: &ExportedCache) -> String {
    match outcome {
        ExportOutcome::Written(digest, bytes) => {
            let which = match folders {
                1 => String::new(),
                _ => format!("; the first of its {folders} folders, which the next step is given"),
            };
            format!("exported `{identity}` as {digest}, {bytes} bytes{which}\n")
        }
        ExportOutcome::Refused(_) => String::new(),
        ExportOutcome::Busy => format!("left out `{identity}`: a step uses it\n"),
        ExportOutcome::Gone => format!("left out `{identity}`: it was pruned meanwhile\n"),
    }
}

fn show_imported(imported: Result<Vec<ImportedCache>, Failure>, facts: &Facts) -> ExitCode {
    let caches = match imported {
        Ok(caches) => caches,
        Err(problems) => return failed(&problems, Progress::Auto, Some(facts)),
    };
    let text: String = caches.iter().filter_map(imported_line).collect();
    if let Some(code) = print_text(&text, facts, Progress::Auto) {
        return code;
    }
    let busy = caches.iter().filter(|cache| cache.placement == Placement::Busy).map(busy);
    let problems: Vec<Problem> =
        caches.iter().filter_map(|cache| cache.warning.clone()).chain(busy).collect();
    let is_done = !problems.iter().any(Problem::is_error);
    let code = failed(&problems, Progress::Auto, Some(facts));
    if is_done { ExitCode::SUCCESS } else { code }
}

fn imported_line(ImportedCache { identity, placement, .. }: &ImportedCache) -> Option<String> {
    match placement {
        Placement::New => Some(format!("imported `{identity}`\n")),
        Placement::Replaced => Some(format!("replaced `{identity}`\n")),
        Placement::Kept => {
            Some(format!("kept `{identity}`, which the store has already; `--replace` replaces it\n"))
        }
        Placement::Busy => None,
    }
}

fn busy(cache: &ImportedCache) -> Problem {
    let message = format!("the cache mount `{}` was not replaced: a step uses it", cache.identity);
    Problem::new(Kind::Host, "cache::busy", message).help("import again when that build is done")
}
