//! `mab ci`: the plan as the pipeline of a CI system, and whether a file still says it.

use std::path::PathBuf;

use similar::TextDiff;

use super::Failure;
use super::new_file;
use super::plan::Document;
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
    /// What is odd about the file, or about the pipeline.
    warnings: Vec<Problem>,
}

/// The text of the file.
pub async fn text(options: &CiOptions, facts: &mut Facts) -> Result<Document, Failure> {
    let Wanted { text, warnings, .. } = wanted(options, facts).await?;
    Ok(Document { text, warnings })
}

/// Writes the file, if nobody has changed it by hand, and says what it did.
pub async fn write(options: &CiOptions, facts: &mut Facts) -> Result<Document, Failure> {
    let wanted = wanted(options, facts).await?;
    let found = read(&wanted)?;
    match found.as_deref().map(|found| ci::standing(found, &wanted.text)) {
        Some(Standing::Fresh) => {
            let text = format!("is up to date: {}\n", wanted.shown);
            return Ok(Document { text, warnings: wanted.warnings });
        }
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
    Ok(Document { text: format!("wrote {}\n", wanted.shown), warnings: wanted.warnings })
}

/// Refuses a file that says something else.
pub async fn check(options: &CiOptions, facts: &mut Facts) -> Result<Document, Failure> {
    let wanted = wanted(options, facts).await?;
    let found = read(&wanted)?.unwrap_or_default();
    if found == wanted.text {
        return Ok(Document { text: String::new(), warnings: wanted.warnings });
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
    let mut warnings = planned.warnings;
    warnings.extend((!pipeline.delivers()).then(|| publishes_nothing(&pipeline)));
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
    Ok(Wanted { path: folder.join(&shown), shown, text, warnings })
}

fn publishes_nothing(pipeline: &Pipeline) -> Problem {
    let targets: Vec<String> =
        pipeline.levels.iter().flat_map(|level| &level.targets).map(|name| format!("`{name}`")).collect();
    let message = format!(
        "the pipeline builds {} and publishes nothing: none is pushed, and none writes a file",
        targets.join(", ")
    );
    Problem::warning("ci::publishes-nothing", message).help(
        "name a group that says `push = true`, or give a target an `output`; its `image` says where it goes",
    )
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
