//! `mab cache verify` on the command line.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::cli::{exit, failed, print_text, runtime};
use crate::command::SessionOptions;
use crate::command::cache::{self, VerifiedStore};
use crate::diag::Kind;
use crate::facts::Facts;
use crate::store::{Damage, Flaw, Progress, Verified};
use crate::ui;

/// Looks whether everything in the store is as it was written
///
/// Reads every blob and compares it with its digest, looks whether the blobs of all records are there, whether lists of
/// what is in layers are whole, whether unpacked trees and cache mounts are where they should be, and asks SQLite about
/// its database. Unpacked trees and cache mounts have no digests: what is in them is not looked at.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct VerifyArguments {
    /// Removes what is damaged, and forgets the results that need it: the next bake makes just these again
    #[arg(long)]
    heal: bool,
    /// Prints {version, blobs, bytes, records, healed, damages}; a damage has kind, name, flaw, text and needed-by
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Exit codes: 0 nothing is damaged, or all that was is removed; 3 something is damaged, or the machine or the store
cannot do it.

Examples:
  mab cache verify
  mab cache verify --heal
  mab cache verify --json | jq -r '.damages[].\"needed-by\"[]'";

pub fn verify(arguments: &VerifyArguments, session: &SessionOptions, facts: &Facts) -> ExitCode {
    let meter = Meter::new(std::io::stderr().is_terminal());
    let verified =
        runtime().block_on(cache::verify(session, arguments.heal, facts, &|progress| meter.show(progress)));
    meter.end();
    let VerifiedStore { verified, healed } = match verified {
        Ok(verified) => verified,
        Err(problems) => return failed(&problems, ui::Progress::Auto, Some(facts)),
    };
    let text = if arguments.json { object } else { lines };
    if let Some(code) = print_text(&text(&verified, healed), facts, ui::Progress::Auto) {
        return code;
    }
    match verified.damages.is_empty() || healed.is_some() {
        true => ExitCode::SUCCESS,
        false => exit::of_kind(Kind::Host),
    }
}

fn object(verified: &Verified, healed: Option<usize>) -> String {
    let damages = verified.damages.iter().map(|damage| {
        json!({
            "kind": damage.kind.name(),
            "name": damage.name,
            "flaw": word(&damage.flaw),
            "text": said(&damage.flaw),
            "needed-by": damage.needed_by,
        })
    });
    let document = json!({
        "version": 1,
        "blobs": verified.blobs,
        "bytes": verified.bytes,
        "records": verified.records,
        "healed": healed.is_some(),
        "damages": damages.collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

fn lines(verified: &Verified, healed: Option<usize>) -> String {
    let mut text: String = verified.damages.iter().map(line).collect();
    let Verified { blobs, bytes, records, damages } = verified;
    let seen = format!(
        "{} of {} and {}",
        ui::count(*blobs, "blob"),
        ui::bytes(*bytes),
        ui::count(*records, "record")
    );
    text += &match (damages.len(), healed) {
        (0, _) => format!("{seen}: nothing is damaged\n"),
        (count, None) => format!(
            "{seen}: {} damaged; `mab cache verify --heal` removes them, and the next bake makes them again\n",
            things(count)
        ),
        (count, Some(records)) => format!(
            "{seen}: {} damaged, now removed with {}; the next bake makes them again\n",
            things(count),
            ui::count(records, "record")
        ),
    };
    text
}

fn things(count: usize) -> String {
    if count == 1 { "1 thing is".to_string() } else { format!("{count} things are") }
}

fn line(damage: &Damage) -> String {
    let mut text = format!("{}: `{}` {}\n", damage.kind.name(), damage.name, said(&damage.flaw));
    for subject in &damage.needed_by {
        text += &format!("  needed by `{subject}`\n");
    }
    text
}

fn word(flaw: &Flaw) -> &'static str {
    match flaw {
        Flaw::Missing => "missing",
        Flaw::Altered => "altered",
        Flaw::Unreadable(_) => "unreadable",
        Flaw::Torn => "torn",
        Flaw::Database(_) => "database",
        Flaw::Repaired(_) => "repaired",
    }
}

fn said(flaw: &Flaw) -> String {
    match flaw {
        Flaw::Missing => "is missing".to_string(),
        Flaw::Altered => "has other bytes than were written".to_string(),
        Flaw::Unreadable(why) => format!("cannot be read: {why}"),
        Flaw::Torn => "is not whole".to_string(),
        Flaw::Database(why) => format!("is damaged: {why}"),
        Flaw::Repaired(what) => format!("is repaired already: {what}"),
    }
}

/// How far it is, on a terminal.
struct Meter {
    shown: Option<Mutex<Instant>>,
}

const REFRESH: Duration = Duration::from_millis(100);

impl Meter {
    fn new(is_terminal: bool) -> Self {
        Self { shown: is_terminal.then(|| Mutex::new(Instant::now())) }
    }

    fn show(&self, Progress { done, total }: Progress) {
        // Somebody else is about to show the same.
        let Some(mut shown) = self.shown.as_ref().and_then(|shown| shown.try_lock().ok()) else { return };
        if shown.elapsed() < REFRESH {
            return;
        }
        *shown = Instant::now();
        let _ = write!(std::io::stderr(), "\r\x1b[Kverifies {} of {}", ui::bytes(done), ui::bytes(total));
    }

    fn end(&self) {
        if self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
