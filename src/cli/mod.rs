//! Arguments in, exit code out: parses words, calls commands, renders what they say.

mod args;
mod bench;
mod build_file;
mod builder;
mod cache;
mod check;
mod ci;
mod container;
mod copy;
mod diff;
mod digest;
mod doctor;
mod exit;
mod explain;
mod image;
mod import;
mod index;
mod init;
mod inspect;
mod k8s;
mod lock;
mod login;
mod ls;
mod merge;
mod prune;
mod release;
mod run;
mod run_mounts;
mod signals;
mod tags;
mod terminal;
mod test;
mod verb;
mod verify;
mod watch;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;

use crate::base::processors;
use crate::command::bake::{BakeOptions, Baked};
use crate::command::plan::Document;
use crate::command::{self, Failure};
use crate::config;
use crate::config::user::{self, Color, UserConfig};
use crate::diag::{Kind, Problem, to_json};
use crate::event::RunEnd;
use crate::facts::Facts;
use crate::ui::{Progress, Surroundings, Ui, report};

use args::{Arguments, BakeArguments, PlanArguments};
use build_file::BuildFileArguments;
use verb::Verb;

/// How long blocking work may take to end once nobody waits for it.
const LAST_WORK: Duration = Duration::from_secs(2);

/// The program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, everything else is wrong use; clap knows which stream is right.
            let _ = error.print();
            return if error.use_stderr() { exit::of_kind(Kind::Input) } else { ExitCode::SUCCESS };
        }
    };
    let mut facts = match Facts::read() {
        Ok(facts) => facts,
        Err(error) => {
            let message = format!("the working directory cannot be read: {error}");
            return failed(&[Problem::new(Kind::Host, "facts::current", message)], Progress::Auto, None);
        }
    };
    let user = match command::user::config(&facts) {
        Ok(user) => user,
        Err(problems) => return failed(&problems, Progress::Auto, Some(&facts)),
    };
    if user.color == Some(Color::Never) {
        facts.environment.entry("NO_COLOR".to_string()).or_insert_with(|| "1".to_string());
    }
    match arguments.verb.file().map(BuildFileArguments::said) {
        None => {}
        Some(Ok(said)) => facts.take(&said),
        Some(Err(problem)) => return failed(&[problem], Progress::Auto, Some(&facts)),
    }
    match arguments.verb {
        Verb::Bake(arguments) => bake(&arguments, &user, &mut facts),
        Verb::Plan(arguments) => plan(&arguments, &mut facts),
        Verb::Check(arguments) => check::check(&arguments, &mut facts),
        Verb::Explain(arguments) => explain::explain(&arguments, &mut facts),
        Verb::Import(arguments) => import::import(&arguments, &facts),
        Verb::Init(arguments) => init::init(&arguments, &facts),
        Verb::Schema(arguments) => {
            let schema = if arguments.config { user::schema::json() } else { config::schema::json() };
            printed(Ok(schema), &facts, Progress::Auto)
        }
        Verb::Prune(arguments) => prune::prune(&arguments, &facts),
        Verb::Cache(arguments) => cache::cache(&arguments, &facts),
        Verb::Builder(arguments) => builder::builder(&arguments, &mut facts),
        Verb::Doctor(arguments) => doctor::doctor(&arguments, &mut facts),
        Verb::K8s(arguments) => k8s::k8s(&arguments, &facts),
        Verb::Lock(arguments) => lock::lock(&arguments, &mut facts),
        Verb::Tags(arguments) => tags::tags(&arguments, &mut facts),
        Verb::Verify(arguments) => verify::verify(&arguments, &facts),
        Verb::Ci(arguments) => ci::ci(&arguments, &mut facts),
        Verb::Merge(arguments) => merge::merge(&arguments, &user, &mut facts),
        Verb::Promote(arguments) => release::promote(&arguments, &facts),
        Verb::Rollback(arguments) => release::rollback(&arguments, &mut facts),
        Verb::Inspect(arguments) => inspect::inspect(&arguments, &facts),
        Verb::Digest(arguments) => digest::digest(&arguments, &facts),
        Verb::Copy(arguments) => copy::copy(&arguments, &user, &facts),
        Verb::Tag(arguments) => copy::tag(&arguments, &facts),
        Verb::Untag(arguments) => copy::untag(&arguments, &facts),
        Verb::Index(arguments) => index::index(&arguments, &user, &facts),
        Verb::Login(arguments) => login::login(&arguments, &facts),
        Verb::Logout(arguments) => login::logout(&arguments, &facts),
        Verb::Diff(arguments) => diff::diff(&arguments, &facts),
        Verb::Ls(arguments) => ls::ls(&arguments, &facts),
        Verb::Release(arguments) => release::release(&arguments, &mut facts),
        Verb::Bench(arguments) => bench::bench(&arguments, &user, &mut facts),
        Verb::Test(arguments) => test::test(&arguments, &user, &mut facts),
        Verb::Run(arguments) => run::run(&arguments, &user, &mut facts),
    }
}

fn bake(arguments: &BakeArguments, user: &UserConfig, facts: &mut Facts) -> ExitCode {
    let progress = arguments.progress(user);
    let mut project = arguments.project_options();
    if command::remote::is_wanted(&project) {
        let session = arguments.lock.of(arguments.session.options());
        if let Err(problems) = runtime().block_on(command::remote::settle(&mut project, &session, facts)) {
            return failed(&problems, progress, Some(facts));
        }
    }
    if arguments.print {
        return document(command::plan::print(&project, facts), facts, progress);
    }
    if let Some(list) = arguments.list {
        return document(command::list::list(list, &project, facts), facts, progress);
    }
    if let Some(call) = arguments.described() {
        let session = arguments.lock.of(arguments.session.options());
        let described = command::outline::describe(call.call, call.is_json, &project, &session, facts);
        return document(runtime().block_on(described), facts, progress);
    }
    let options = match arguments.options(facts) {
        Ok(options) => BakeOptions { project, ..options },
        Err(problems) => return failed(&problems, progress, Some(facts)),
    };
    if arguments.watch {
        return watch::bake(&options, facts, progress);
    }
    let runtime = runtime();
    let baked = runtime.block_on(async {
        let cancel = signals::cancel_on_signals();
        bake_once(&options, facts, progress, cancel).await
    });
    shut_down(runtime, &baked);
    end_of(baked, facts, progress)
}

/// After a failure or an interruption blocking work may go on, such as waiting for another process's step: its result is
/// not wanted any more, and the end of the program ends it, after a moment. After all is done there is none.
fn shut_down(runtime: tokio::runtime::Runtime, baked: &Result<Baked, Failure>) {
    match baked {
        Ok(Baked { end: Some(RunEnd::Succeeded), .. }) => runtime.shutdown_background(),
        _ => runtime.shutdown_timeout(LAST_WORK),
    }
}

async fn bake_once(
    options: &BakeOptions,
    facts: &mut Facts,
    progress: Progress,
    cancel: tokio::sync::watch::Receiver<bool>,
) -> Result<Baked, Failure> {
    let ui = Arc::new(Ui::new(progress, &surroundings(facts), Box::new(std::io::stderr())));
    command::bake::bake(options, facts, ui, cancel).await
}

/// Tells what is left to tell of a bake.
fn end_of(baked: Result<Baked, Failure>, facts: &Facts, progress: Progress) -> ExitCode {
    match baked {
        Ok(baked) => baked_code(&baked, facts, progress),
        Err(problems) => failed(&problems, progress, Some(facts)),
    }
}

fn baked_code(baked: &Baked, facts: &Facts, progress: Progress) -> ExitCode {
    if let Some(text) = &baked.described {
        if baked.end.is_some() {
            let _ = std::io::stderr().write_all(text.as_bytes());
        } else if let Some(code) = print_text(text, facts, progress) {
            return code;
        }
    }
    if let Some(checked) = &baked.checked {
        let text = check::human(checked, facts);
        if baked.end.is_some() {
            // Standard output may be that of an image.
            let _ = std::io::stderr().write_all(text.as_bytes());
        } else if let Some(code) = print_text(&text, facts, progress) {
            return code;
        }
    }
    if let Some(changed) = &baked.changed
        && !matches!(progress, Progress::Json | Progress::Quiet)
    {
        let _ = std::io::stderr().write_all(changed.text().as_bytes());
    }
    if baked.advice > 0 && !matches!(progress, Progress::Json | Progress::Quiet) {
        let plural = if baked.advice == 1 { "" } else { "s" };
        // Nothing is left to do when standard error is closed.
        let _ = writeln!(
            std::io::stderr(),
            "{} warning{plural} about Dockerfiles: `mab check` explains",
            baked.advice
        );
    }
    if let Some(text) = &baked.rehearsed
        && let Some(code) = print_text(text, facts, progress)
    {
        return code;
    }
    if let Some(part) = &baked.part
        && let Some(code) = merge::tell_part(part, facts, progress)
    {
        return code;
    }
    failed(&baked.afterwards, progress, Some(facts));
    if !matches!(progress, Progress::Json | Progress::Quiet) {
        let advice = doctor::advice(baked.failures.iter().map(AsRef::as_ref));
        let _ = std::io::stderr().write_all(advice.as_bytes());
    }
    if let Some(pruned) = &baked.pruned
        && !matches!(progress, Progress::Json | Progress::Quiet)
    {
        let _ = writeln!(std::io::stderr(), "store: {}", prune::sentence(pruned, false));
    }
    match (baked.end, &baked.checked) {
        (None, Some(checked)) => check::code(checked),
        (None | Some(RunEnd::Succeeded), _) => ExitCode::SUCCESS,
        (Some(RunEnd::Interrupted), _) => exit::of_kind(Kind::Interrupted),
        (Some(RunEnd::Failed), _) => {
            exit::of_kind(exit::worst(baked.failures.iter().map(|problem| problem.kind)))
        }
    }
}

fn plan(arguments: &PlanArguments, facts: &mut Facts) -> ExitCode {
    let mut options = arguments.options(facts);
    let runtime = runtime();
    if let Err(problems) =
        runtime.block_on(command::remote::settle(&mut options.project, &options.session, facts))
    {
        return failed(&problems, Progress::Auto, Some(facts));
    }
    let planned = match arguments.explain {
        true => runtime.block_on(command::plan::explain(&options, facts)),
        false => runtime.block_on(command::plan::plan(&options, facts)),
    };
    document(planned, facts, Progress::Auto)
}

/// The document on standard output, after what is said about it on standard error.
fn document(result: Result<Document, Failure>, facts: &Facts, progress: Progress) -> ExitCode {
    let text = result.map(|Document { text, warnings }| {
        failed(&warnings, progress, Some(facts));
        text
    });
    printed(text, facts, progress)
}

fn printed(result: Result<String, Failure>, facts: &Facts, progress: Progress) -> ExitCode {
    match result {
        Ok(text) => print_text(&text, facts, progress).unwrap_or(ExitCode::SUCCESS),
        Err(problems) => failed(&problems, progress, Some(facts)),
    }
}

/// Writes an answer; the exit code is that of a failure to do so.
fn print_text(text: &str, facts: &Facts, progress: Progress) -> Option<ExitCode> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => None,
        // Whoever reads has enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => None,
        Err(error) => {
            let message = format!("cannot write to standard output: {error}");
            Some(failed(&[Problem::new(Kind::Host, "output::stdout", message)], progress, Some(facts)))
        }
    }
}

/// Shows problems on standard error and gives the exit code of the worst.
fn failed(problems: &[Problem], progress: Progress, facts: Option<&Facts>) -> ExitCode {
    let surroundings = facts.map(surroundings).unwrap_or_default();
    let mut text = String::new();
    for problem in problems {
        match progress {
            Progress::Json => text.push_str(&format!("{}\n", to_json(problem))),
            _ => text.push_str(&report(problem, &surroundings)),
        }
    }
    if !matches!(progress, Progress::Json | Progress::Quiet) {
        text.push_str(&doctor::advice(problems.iter()));
    }
    let errors = problems.iter().filter(|problem| problem.is_error());
    // Nothing is left to do when standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
    exit::of_kind(exit::worst(errors.map(|problem| problem.kind)))
}

fn surroundings(facts: &Facts) -> Surroundings {
    let variable = |name: &str| facts.environment.get(name).cloned();
    Surroundings {
        is_terminal: std::io::stderr().is_terminal(),
        term: variable("TERM"),
        no_color: variable("NO_COLOR"),
        columns: variable("COLUMNS").and_then(|columns| columns.parse().ok()),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(processors())
        .enable_all()
        .build()
        .expect("the system gives a program its first threads and an event queue")
}
