//! `mab lock`: looks at everything that targets need from elsewhere, and writes it down or compares.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::Failure;
use super::build_files::{self, BuildFiles};
use super::lock_file;
use super::plan::{Silence, plain_request};
use super::project::{self, Planned, ProjectOptions};
use super::session::{Session, SessionOptions};
use crate::diag::{Problem, nearest};
use crate::facts::Facts;
use crate::lock::{FILE_NAME, Lock, Pins, Rule, Section, changes, names_like};
use crate::model::Call;
use crate::run::PlanWorker;

#[derive(Clone, Debug)]
pub struct LockOptions {
    pub project: ProjectOptions,
    pub session: SessionOptions,
    pub update: Update,
    /// `--upstream`: whether names mean something else by now.
    pub asks_upstream: bool,
}

/// What is looked at again although it is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    All,
    Names(Vec<String>),
}

/// A plan of everything that is to be locked.
struct Wanted {
    planned: Planned,
    folder: PathBuf,
}

/// Writes the lock; says what changed, and what is odd.
pub async fn lock(options: &LockOptions, facts: &mut Facts) -> Result<(String, Vec<Problem>), Failure> {
    let mut old = Lock::default();
    let session = Session::new(&options.session);
    let (Wanted { planned, folder }, mut again) = wanted(options, facts, &session, |folder, facts| {
        // A lock that cannot be read is written anew when all of it is.
        old = match (lock_file::read(folder, facts), &options.update) {
            (Err(_), Update::All) => Lock::default(),
            (found, _) => found?.unwrap_or_default(),
        };
        let (kept, again) = split(&old, &options.update)?;
        Ok((Pins::new(kept, Rule::Open), again))
    })
    .await?;
    let tools = session.open(facts, Arc::new(Silence)).map_err(|problem| vec![*problem])?;
    let worker = PlanWorker::new(planned.plan.clone(), tools);
    let mut problems = worker.foresee().await;
    // What other targets or platforms took from an image that was looked at again, they take from the new one.
    if is_narrowed(options) {
        let asked = session.pins().learnt();
        again.retain(|section, name| asked.names().any(|known| known == (section, name)));
        problems.extend(worker.look_at(&again).await);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let learnt = session.pins().learnt();
    let new = match is_narrowed(options) {
        true => {
            let mut all = old.clone();
            all.absorb(learnt);
            all
        }
        false => learnt,
    };
    let is_written = lock_file::write(&folder, &new, facts)?;
    Ok((told(&old, &new, is_written), planned.warnings))
}

/// Whether the lock fits; one problem for everything that does not.
pub async fn check(options: &LockOptions, facts: &mut Facts) -> Result<String, Failure> {
    let session = Session::new(&options.session);
    let (Wanted { planned, .. }, ()) = wanted(options, facts, &session, |folder, facts| {
        let strict = SessionOptions { is_locked: true, ..options.session.clone() };
        Ok((lock_file::pins(folder, &strict, facts)?, ()))
    })
    .await?;
    let tools = session.open(facts, Arc::new(Silence)).map_err(|problem| vec![*problem])?;
    let worker = PlanWorker::new(planned.plan.clone(), tools);
    let mut problems = worker.foresee().await;
    let is_complete = problems.is_empty();
    let pins = session.pins();
    if !is_narrowed(options) {
        // What nobody could look into may need sources that seem to be unused.
        let unused =
            pins.unused().into_iter().filter(|(section, _)| is_complete || *section == Section::Image);
        problems.extend(unused.map(|(section, name)| unasked(pins.lock(), section, &name)));
    }
    if options.asks_upstream {
        problems.extend(moved(&planned, &session, facts).await?);
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(format!("`{FILE_NAME}` fits: {}\n", counted(&pins.learnt())))
}

/// Reads the build file, chooses the pins with `choose`, and plans.
async fn wanted<T>(
    options: &LockOptions,
    facts: &mut Facts,
    session: &Session<'_>,
    choose: impl FnOnce(&std::path::Path, &Facts) -> Result<(Pins, T), Failure>,
) -> Result<(Wanted, T), Failure> {
    let mut project = options.project.clone();
    let files = build_files::find(&project, facts)?;
    if matches!(files, BuildFiles::Foreign(_)) && project.names.is_empty() {
        project.names = vec!["*".to_string()];
    }
    let mut loaded = project::load_files(files, &project, facts)?;
    if loaded.names.is_empty() {
        loaded.names = loaded.project.targets.keys().cloned().collect();
    }
    let folder = loaded.folder.clone();
    let (pins, chosen) = choose(&folder, facts)?;
    session.set_pins(pins);
    let request = plain_request(facts);
    let planned = project::plan_loaded(loaded, &request, Some(Call::Build), facts, session).await?;
    Ok((Wanted { planned, folder }, chosen))
}

fn is_narrowed(options: &LockOptions) -> bool {
    !options.project.names.is_empty() || !options.project.platforms.is_empty()
}

/// What of the lock stays, and what is looked at again.
fn split(old: &Lock, update: &Update) -> Result<(Lock, Lock), Failure> {
    let again: Vec<(Section, &str)> = match update {
        Update::All => old.names().collect(),
        Update::Names(names) => {
            let mut again = Vec::new();
            let mut unknown = Vec::new();
            for name in names {
                let meant = names_like(old, name);
                if meant.is_empty() {
                    unknown.push(not_locked(old, name));
                }
                again.extend(meant);
            }
            if !unknown.is_empty() {
                return Err(unknown);
            }
            again
        }
    };
    let (mut kept, mut renewed) = (old.clone(), old.clone());
    kept.retain(|section, name| !again.contains(&(section, name)));
    renewed.retain(|section, name| again.contains(&(section, name)));
    Ok((kept, renewed))
}

fn not_locked(lock: &Lock, name: &str) -> Problem {
    let problem = Problem::input("lock::no-entry", format!("`{FILE_NAME}` pins nothing that `{name}` means"));
    match nearest(name, lock.names().map(|(_, known)| known)) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help("`mab lock` without `--update` pins what is not pinned yet"),
    }
}

fn unasked(lock: &Lock, section: Section, name: &str) -> Problem {
    let problem =
        Problem::input("lock::extra", format!("nothing asks for `{name}`, which `{FILE_NAME}` pins"))
            .help("`mab lock` removes it");
    match lock.place(section, name) {
        Some(place) => problem.at(place.clone(), "pinned here"),
        None => problem,
    }
}

/// What names have come to mean something else.
async fn moved(planned: &Planned, session: &Session<'_>, facts: &Facts) -> Result<Vec<Problem>, Failure> {
    // As if there were no lock.
    let fresh = Session::new(session.options());
    let tools = fresh.open(facts, Arc::new(Silence)).map_err(|problem| vec![*problem])?;
    let problems = PlanWorker::new(planned.plan.clone(), tools).foresee().await;
    if !problems.is_empty() {
        return Err(problems);
    }
    let (locked, now) = (session.pins().learnt(), fresh.pins().learnt());
    let meanings = |lock: &Lock| -> BTreeMap<(Section, String), String> {
        let entries = lock.meanings().map(|(section, name, meaning)| ((section, name.to_string()), meaning));
        entries.collect()
    };
    let now = meanings(&now);
    let moved = meanings(&locked).into_iter().filter_map(|((section, name), old)| {
        let new = now.get(&(section, name.clone())).filter(|new| **new != old)?;
        Some(another(session.pins().lock(), section, &name, &old, new))
    });
    Ok(moved.collect())
}

fn another(lock: &Lock, section: Section, name: &str, old: &str, new: &str) -> Problem {
    let problem = Problem::input("lock::moved", format!("`{name}` is {new} by now, and locked to {old}"))
        .help(format!("`mab lock --update '{name}'` takes what is there now"));
    match lock.place(section, name) {
        Some(place) => problem.at(place.clone(), "pinned here"),
        None => problem,
    }
}

fn told(old: &Lock, new: &Lock, is_written: bool) -> String {
    let mut text: String = changes(old, new).iter().map(|change| format!("{change}\n")).collect();
    let end = if is_written { "written" } else { "unchanged" };
    text.push_str(&format!("{FILE_NAME} {end}: {}\n", counted(new)));
    text
}

fn counted(lock: &Lock) -> String {
    let counts = [
        (lock.images.len(), "image", "images"),
        (lock.commits.len(), "repository", "repositories"),
        (lock.files.len(), "file", "files"),
    ];
    let told = counts.into_iter().filter(|(count, ..)| *count > 0);
    let told: Vec<String> =
        told.map(|(count, one, many)| format!("{count} {}", if count == 1 { one } else { many })).collect();
    if told.is_empty() { "nothing to pin".to_string() } else { told.join(", ") }
}
