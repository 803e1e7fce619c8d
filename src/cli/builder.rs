//! `mab builder` on the command line, and its answers for people and machines.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::args::platform;
use super::{document, print_text, printed, runtime};
use crate::base::Platform;
use crate::command::Failure;
use crate::command::builder::{self, Answer, Listed, Told};
use crate::command::plan::Document;
use crate::engine::buildkit::{KeepRules, Kept, WorkerReport};
use crate::facts::Facts;
use crate::model::{Results, Tls, Worker};
use crate::ui::{Progress, bytes as size};

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct BuilderArguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Ls(LsArguments),
    Inspect(InspectArguments),
    Add(AddArguments),
    Rm(NameArguments),
    Use(UseArguments),
    Du(DuArguments),
    Prune(PruneArguments),
}

const EXAMPLES: &str = "\
Exit codes: 0 done, 2 wrong input, 3 the machine cannot do it, 4 no worker answers.

Examples:
  mab builder ls                               what there is, and which one is used
  mab builder inspect farm                     whether its workers answer, and what they build for
  mab builder add farm ssh://me@arm.example.com --platform linux/arm64
  mab builder use farm                         for bakes without `--builder`
  mab builder prune farm --unused-for 7";

/// Lists builders and their workers; asks none of them
#[derive(Debug, Args)]
struct LsArguments {
    /// Prints {version, builders}; a builder has name, origin, used, workers, results and perhaps error
    #[arg(long)]
    json: bool,
}

/// Asks the workers of a builder what they are, and how many images each could be given now
#[derive(Debug, Args)]
struct InspectArguments {
    /// The builder [default: the one in use: MAB_BUILDER, or what `mab builder use` chose]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Starts workers that are containers which stand still, and waits until they answer, for half a minute at most
    #[arg(long)]
    bootstrap: bool,
    /// Prints {version, name, workers}; a worker has endpoint, labels, buildkit, native, emulated, slots and free (null of
    /// an Engine that does not tell), or error
    #[arg(long)]
    json: bool,
}

/// Asks the workers of a builder how much they keep
#[derive(Debug, Args)]
struct DuArguments {
    /// The builder [default: the one in use: MAB_BUILDER, or what `mab builder use` chose]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Prints {version, name, workers}; a worker has endpoint, what it answers, and perhaps error
    #[arg(long)]
    json: bool,
}

/// Adds a worker to a builder, which is made if there is none
#[derive(Debug, Args)]
struct AddArguments {
    #[arg(value_name = "NAME")]
    name: String,
    /// Where the worker is: `unix:///PATH`, `tcp://HOST:PORT`, `ssh://USER@HOST`, `docker-container://NAME`,
    /// `kube-pod://POD?namespace=NAME`, `docker://`
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
    /// What it builds natively [default: what it says itself]
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', value_parser = platform)]
    platform: Vec<Platform>,
    /// What targets choose it by, with `worker-labels`
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// How many images it builds at once [default: 4]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1024))]
    max_parallelism: Option<u32>,
    /// Where the images of all its workers go first: into the `store` of this machine, or into the `registry` that they
    /// are pushed to, by digest [default: store]
    #[arg(long, value_name = "PLACE", value_parser = results)]
    results: Option<Results>,
    /// The authority that signed the worker's certificate, as a file in PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The certificate of this client
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The key of `--cert`
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

/// Removes a builder that `mab builder add` made
#[derive(Debug, Args)]
struct NameArguments {
    #[arg(value_name = "NAME")]
    name: String,
}

/// Makes a builder the one of bakes without `--builder`; `default` is this machine again
#[derive(Debug, Args)]
struct UseArguments {
    #[arg(value_name = "NAME")]
    name: String,
}

/// Removes from the workers of a builder what no build uses
#[derive(Debug, Args)]
struct PruneArguments {
    /// The builder [default: the one in use: MAB_BUILDER, or what `mab builder use` chose]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Keeps what was used in the last so many days
    #[arg(long, value_name = "DAYS")]
    unused_for: Option<u64>,
    /// Keeps at most this many bytes
    #[arg(long, value_name = "BYTES")]
    keep_bytes: Option<u64>,
    /// Prints {version, name, workers}; a worker has endpoint, records and bytes that were removed, or error
    #[arg(long)]
    json: bool,
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| "a label is KEY=VALUE".to_string())?;
    Ok((key.to_string(), value.to_string()))
}

fn results(text: &str) -> Result<Results, String> {
    let found = Results::ALL.into_iter().find(|(name, _)| *name == text);
    found.map(|(_, results)| results).ok_or_else(|| "the values are `store` and `registry`".to_string())
}

pub fn builder(arguments: &BuilderArguments, facts: &mut Facts) -> ExitCode {
    match &arguments.verb {
        Verb::Ls(arguments) => {
            let text = if arguments.json { listed_json } else { listed_text };
            let listed = builder::list(facts)
                .map(|listing| Document { text: text(&listing.builders), warnings: listing.warnings });
            document(listed, facts, Progress::Auto)
        }
        Verb::Inspect(arguments) => {
            let answer =
                runtime().block_on(builder::inspect(arguments.name.as_deref(), arguments.bootstrap, facts));
            answered(answer, arguments.json, facts, report_json, report_text)
        }
        Verb::Du(arguments) => {
            let answer = runtime().block_on(builder::disk_usage(arguments.name.as_deref(), facts));
            answered(answer, arguments.json, facts, kept_json, kept_text)
        }
        Verb::Prune(arguments) => {
            const DAY: Duration = Duration::from_secs(24 * 60 * 60);
            let days = |count: u64| DAY.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
            let rules =
                KeepRules { unused_for: arguments.unused_for.map(days), keep_bytes: arguments.keep_bytes };
            let answer = runtime().block_on(builder::prune(arguments.name.as_deref(), rules, facts));
            answered(answer, arguments.json, facts, removed_json, removed_text)
        }
        Verb::Add(arguments) => {
            let done = builder::add(&arguments.name, arguments.worker(facts), arguments.results, facts);
            printed(done.map(|()| String::new()), facts, Progress::Auto)
        }
        Verb::Rm(arguments) => {
            let done = builder::remove(&arguments.name, facts);
            printed(done.map(|()| String::new()), facts, Progress::Auto)
        }
        Verb::Use(arguments) => {
            let done = builder::choose(&arguments.name, facts);
            printed(done.map(|()| String::new()), facts, Progress::Auto)
        }
    }
}

impl AddArguments {
    fn worker(&self, facts: &Facts) -> Worker {
        let file = |path: &Option<PathBuf>| path.as_ref().map(|path| facts.directories.current.join(path));
        let tls = Tls { ca: file(&self.ca), cert: file(&self.cert), key: file(&self.key) };
        Worker {
            endpoint: self.endpoint.clone(),
            platforms: self.platform.clone(),
            labels: self.labels.iter().cloned().collect(),
            max_parallelism: self.max_parallelism,
            tls: Some(tls).filter(|tls| *tls != Tls::default()),
        }
    }
}

fn listed_json(listed: &[Listed]) -> String {
    let builder = |listed: &Listed| {
        let (workers, error) = match &listed.workers {
            Ok(workers) => (workers.iter().map(worker_json).collect(), None),
            Err(problem) => (Vec::new(), Some(problem.message.clone())),
        };
        let mut object = json!({
            "name": listed.name, "origin": listed.origin.text(), "used": listed.is_used, "workers": workers,
            "results": listed.results.name(),
        });
        object
            .as_object_mut()
            .expect("an object")
            .extend(error.map(|error| ("error".to_string(), error.into())));
        object
    };
    let builders: Vec<Value> = listed.iter().map(builder).collect();
    format!("{:#}\n", json!({ "version": 1, "builders": builders }))
}

fn worker_json(worker: &Worker) -> Value {
    json!({
        "endpoint": worker.endpoint, "platforms": names(&worker.platforms), "labels": worker.labels,
    })
}

fn names(platforms: &[Platform]) -> Vec<String> {
    platforms.iter().map(ToString::to_string).collect()
}

fn labels(worker: &Worker) -> String {
    let labels = worker.labels.iter().map(|(key, value)| format!("{key}={value}"));
    labels.collect::<Vec<_>>().join(", ")
}

fn listed_text(listed: &[Listed]) -> String {
    let mut text = String::new();
    for one in listed {
        let used = if one.is_used { "*" } else { "" };
        let results = match one.results {
            Results::Store => "",
            Results::Registry => " · results in the registry",
        };
        text.push_str(&format!("{}{used} · {}{results}\n", one.name, one.origin.text()));
        match &one.workers {
            Ok(workers) => workers.iter().for_each(|worker| {
                let platforms = names(&worker.platforms).join(", ");
                let told = [worker.endpoint.clone(), platforms, labels(worker)];
                let told: Vec<String> = told.into_iter().filter(|part| !part.is_empty()).collect();
                text.push_str(&format!("  {}\n", told.join("  ")));
            }),
            Err(problem) => text.push_str(&format!("  {}\n", problem.message)),
        }
    }
    text
}

/// Prints what workers answer. That one does not is part of the answer; that none does is a failure.
fn answered<T>(
    answer: Result<Answer<T>, Failure>,
    is_json: bool,
    facts: &Facts,
    json: fn(&T) -> Value,
    text: fn(&Worker, &T) -> String,
) -> ExitCode {
    let answer = match answer {
        Ok(answer) => answer,
        Err(problems) => return printed(Err(problems), facts, Progress::Auto),
    };
    let printed_text = if is_json { answer_json(&answer, json) } else { answer_text(&answer, text) };
    if let Some(failure) = print_text(&printed_text, facts, Progress::Auto) {
        return failure;
    }
    let problems: Option<Vec<_>> = answer
        .workers
        .iter()
        .map(|told| told.told.as_ref().err().map(|problem| (**problem).clone()))
        .collect();
    match problems {
        Some(problems) => printed(Err(problems), facts, Progress::Auto),
        None => ExitCode::SUCCESS,
    }
}

fn answer_json<T>(answer: &Answer<T>, json: fn(&T) -> Value) -> String {
    let worker = |told: &Told<T>| {
        let mut object = match &told.told {
            Ok(told) => json(told),
            Err(problem) => json!({ "error": problem.message }),
        };
        let own = [("endpoint", told.worker.endpoint.clone().into()), ("labels", json!(told.worker.labels))];
        let own = own.map(|(key, value)| (key.to_string(), value));
        object.as_object_mut().expect("an object").extend(own);
        object
    };
    let workers: Vec<Value> = answer.workers.iter().map(worker).collect();
    format!("{:#}\n", json!({ "version": 1, "name": answer.name, "workers": workers }))
}

fn answer_text<T>(answer: &Answer<T>, text: fn(&Worker, &T) -> String) -> String {
    let worker = |told: &Told<T>| match &told.told {
        Ok(answered) => format!("{}  {}\n", told.worker.endpoint, text(&told.worker, answered)),
        Err(problem) => format!("{}  {}\n", told.worker.endpoint, problem.message),
    };
    let workers: String = answer.workers.iter().map(worker).collect();
    format!("{}\n{workers}", answer.name)
}

fn report_json(report: &WorkerReport) -> Value {
    json!({
        "buildkit": report.version, "native": names(&report.native), "emulated": names(&report.emulated),
        "slots": report.slots, "free": report.free,
    })
}

fn report_text(worker: &Worker, report: &WorkerReport) -> String {
    let mut text = format!("{}  {}", report.product(), names(&report.native).join(", "));
    if !report.emulated.is_empty() {
        text.push_str(&format!("; emulated: {}", names(&report.emulated).join(", ")));
    }
    let labels = labels(worker);
    if !labels.is_empty() {
        text.push_str(&format!("  {labels}"));
    }
    text.push_str(&match report.free {
        Some(free) => format!("  {free} of {} slots free", report.slots),
        None => format!("  {} slots", report.slots),
    });
    text
}

fn kept_json(kept: &Kept) -> Value {
    json!({ "records": kept.records, "bytes": kept.bytes, "reclaimable": kept.reclaimable })
}

fn kept_text(_: &Worker, kept: &Kept) -> String {
    let (bytes, reclaimable) = (size(kept.bytes), size(kept.reclaimable));
    format!("{bytes} in {} records, {reclaimable} of it in no use", kept.records)
}

fn removed_json(kept: &Kept) -> Value {
    json!({ "records": kept.records, "bytes": kept.bytes })
}

fn removed_text(_: &Worker, kept: &Kept) -> String {
    format!("removed {} in {} records", size(kept.bytes), kept.records)
}
