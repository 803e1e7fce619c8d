//! `mab init`: a first multiarch.toml for what is in a folder.
//!
//! `survey` looks around, `sketch` makes the file of what was seen; where there are bake or Compose files it is
//! theirs instead. What is written has been read back without a problem.

mod image;
mod sketch;
mod survey;

use std::path::{Path, PathBuf};

use super::{Failure, build_files, import, new_file};
use crate::config::{self, FILE_NAME, Overrides};
use crate::diag::{Problem, Severity};
use crate::facts::Facts;

#[derive(Clone, Debug, Default)]
pub struct InitOptions {
    /// The folder; the working directory when it is not given.
    pub directory: Option<PathBuf>,
    /// Shows the file instead of writing it.
    pub print: bool,
    /// A file that is there is replaced.
    pub force: bool,
}

/// The file that was made.
#[derive(Debug)]
pub struct Initialised {
    pub text: String,
    pub path: PathBuf,
    pub targets: usize,
    /// Files of other tools that it is made of.
    pub origins: Vec<String>,
    pub warnings: Vec<Problem>,
}

pub fn init(options: &InitOptions, facts: &Facts) -> Result<Initialised, Failure> {
    let current = &facts.directories.current;
    let directory = options.directory.as_ref().map_or_else(|| current.clone(), |given| current.join(given));
    if !directory.is_dir() {
        let message = format!("there is no folder `{}`", directory.display());
        return Err(vec![Problem::input("init::missing-folder", message)]);
    }
    let path = directory.join(FILE_NAME);
    if !options.print {
        new_file::check(&path, options.force)?;
    }
    let mut there = facts.clone();
    there.directories.current = directory.canonicalize().unwrap_or_else(|_| directory.clone());
    let made = make(&there)?;
    if !options.print {
        new_file::write(&path, &made.text, options.force)?;
    }
    Ok(Initialised { path, ..made })
}

fn make(facts: &Facts) -> Result<Initialised, Failure> {
    let directory = &facts.directories.current;
    let mut warnings = Vec::new();
    if let Some(made) = of_other_tools(facts, &mut warnings) {
        return Ok(made);
    }
    let survey = survey::survey(directory);
    if survey.dockerfiles.is_empty() {
        let message = format!("there is nothing to build in `{}`", directory.display());
        let help = "a Dockerfile is looked for here and in all folders below; write one first";
        warnings.push(Problem::input("init::nothing", message).help(help));
        return Err(warnings);
    }
    let document = sketch::sketch(&survey);
    let targets = document.targets().filter(|section| !section.name.starts_with('_')).count();
    let text = document.write().text;
    check(directory, &text, facts)?;
    Ok(Initialised { text, path: PathBuf::new(), targets, origins: Vec::new(), warnings })
}

/// The bake and Compose files of the folder as ours, if they build anything.
fn of_other_tools(facts: &Facts, warnings: &mut Vec<Problem>) -> Option<Initialised> {
    let origins = build_files::foreign_names(facts);
    if origins.is_empty() {
        return None;
    }
    let imported = build_files::read_all(&origins, &facts.directories.current)
        .and_then(|files| import::convert(files, facts));
    match imported {
        Ok(imported) if imported.targets > 0 => Some(Initialised {
            text: with_release(&imported.text),
            path: PathBuf::new(),
            targets: imported.targets,
            origins,
            warnings: imported.warnings,
        }),
        Ok(_) => None,
        Err(problems) => {
            // Dockerfiles are there in any case; what is wrong with the file is still said.
            let as_warning = |problem| Problem { severity: Severity::Warning, ..problem };
            warnings.extend(problems.into_iter().map(as_warning));
            None
        }
    }
}

/// Adds a group that pushes what `default` builds.
fn with_release(text: &str) -> String {
    let has = |header: &str| text.lines().any(|line| line == header);
    let at = text.find("\n[group.default]\n").map(|at| at + 1);
    let (Some(at), false) = (at, has("[group.release]") || has("[target.release]")) else {
        return text.to_string();
    };
    let end = text[at..].find("\n\n").map_or(text.len(), |end| at + end + 2);
    let gap = if end == text.len() { "\n" } else { "" };
    let after = if end == text.len() { "" } else { "\n" };
    format!("{}{gap}{}{after}{}", &text[..end], sketch::RELEASE, &text[end..])
}

fn check(directory: &Path, text: &str, facts: &Facts) -> Result<(), Failure> {
    let path = directory.join(FILE_NAME);
    let loaded = config::load(&path, &import::Beside { path: &path, text });
    let (mut facts, overrides) = (facts.clone(), Overrides::default());
    if let Some(need) = config::needs_git(&loaded, &overrides, facts.ci.as_ref()) {
        facts.git = crate::facts::GitFacts::read(directory, need.questions).unwrap_or_default();
    }
    config::resolve(&loaded, &facts, &overrides).map(drop)
}

#[cfg(test)]
mod tests;
