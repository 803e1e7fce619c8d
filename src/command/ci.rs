//! `mab ci`: the plan as the pipeline of a CI system, and whether a file still says it.

use std::path::PathBuf;

use similar::TextDiff;

use super::Failure;
use super::new_file;
use super::project::{self, ProjectOptions};
use super::session::{Session, SessionOptions};
use crate::ci::{self, Options, Pipeline, Standing, System};
use crate::diag::{Kind, Problem};
use crate::facts::Facts;
use crate::plan::Request;

#[derive(Clone, Debug)]
pub struct CiOptions {
    pub system: System,
    pub project: ProjectOptions,
    pub session: SessionOptions,
    pub request: Request,
    pub pipeline: Options,
    /// The file, where it is not the system's usual one.
    pub output: Option<PathBuf>,
    /// The command that makes the same again, for the first line.
    pub command: String,
    pub force: bool,
}

/// A file, and what it should say.
struct Wanted {
    path: PathBuf,
    /// The path as it is told.
    shown: String,
    text: String,
}

/// The text of the file.
pub async fn text(options: &CiOptions, facts: &mut Facts) -> Result<String, Failure> {
    Ok(wanted(options, facts).await?.text)
}

/// Writes the file, if nobody has changed it by hand; whether it was not up to date, and its path.
pub async fn write(options: &CiOptions, facts: &mut Facts) -> Result<(String, bool), Failure> {
    let wanted = wanted(options, facts).await?;
    let found = read(&wanted)?;
    match found.as_deref().map(|found| ci::standing(found, &wanted.text)) {
        Some(Standing::Fresh) => return Ok((wanted.shown, false)),
        Some(Standing::Edited | Standing::Foreign) if !options.force => {
            let found = found.unwrap_or_default();
            return Err(vec![changed_by_hand(&wanted, &found)]);
        }
        None | Some(Standing::Stale | Standing::Edited | Standing::Foreign) => {}
    }
    if let Some(folder) = wanted.path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| {
            let message = format!("cannot make the folder `{}`: {error}", folder.display());
            vec![Problem::new(Kind::Host, "output::file", message)]
        })?;
    }
    new_file::write(&wanted.path, &wanted.text, true)?;
    Ok((wanted.shown, true))
}

/// Refuses a file that says something else.
pub async fn check(options: &CiOptions, facts: &mut Facts) -> Result<(), Failure> {
    let wanted = wanted(options, facts).await?;
    let found = read(&wanted)?.unwrap_or_default();
    if found == wanted.text {
        return Ok(());
    }
    let problem = match (found.is_empty(), ci::standing(&found, &wanted.text)) {
        (true, _) => Problem::input("ci::none", format!("there is no `{}`", wanted.shown)),
        (_, Standing::Edited | Standing::Foreign) => changed_by_hand(&wanted, &found),
        _ => {
            let message = format!("`{}` does not say what the build file says", wanted.shown);
            Problem::input("ci::stale", message).details(diff(&wanted, &found))
        }
    };
    let help = format!("`{}` writes it anew", options.command);
    Err(vec![if problem.help.is_some() { problem } else { problem.help(help) }])
}

fn changed_by_hand(wanted: &Wanted, found: &str) -> Problem {
    let message = format!("`{}` was written or changed by hand", wanted.shown);
    Problem::input("ci::edited", message)
        .details(diff(wanted, found))
        .help("say it in the build file or by arguments, write another file (`--output`), or replace it with `--force`")
}

fn diff(wanted: &Wanted, found: &str) -> String {
    let diff = TextDiff::from_lines(found, &wanted.text);
    diff.unified_diff().header(&wanted.shown, "what it should be").to_string()
}

async fn wanted(options: &CiOptions, facts: &mut Facts) -> Result<Wanted, Failure> {
    let session = Session::new(&options.session);
    let planned = project::plan(&options.project, &options.request, None, facts, &session).await?;
    let pipeline =
        Pipeline::new(&planned.plan, &planned.project, &planned.requested, options.pipeline.clone());
    let text = ci::stamped(&options.command, &ci::written(options.system, &pipeline));
    let shown = match &options.output {
        Some(path) => path.display().to_string(),
        None => options.system.path().to_string(),
    };
    let folder = match &options.output {
        Some(_) => &facts.directories.current,
        // Systems look at the top of the work tree.
        None => facts.git.as_ref().map_or(&planned.project.root, |git| &git.root),
    };
    Ok(Wanted { path: folder.join(&shown), shown, text })
}

fn read(wanted: &Wanted) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(&wanted.path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let message = format!("cannot read `{}`: {error}", wanted.shown);
            Err(vec![Problem::input("ci::unreadable", message)])
        }
    }
}
