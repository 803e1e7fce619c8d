//! `mab import`: files of other tools as a multiarch.toml, which is read back and compared before anybody sees it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{Failure, build_files, new_file};
use crate::config::import::{self, Draft, Request};
use crate::config::{self, Disk, Entry, FILE_NAME, Files, Overrides};
use crate::diag::Problem;
use crate::facts::Facts;
use crate::model::{Context, Dockerfile, Project, Target};
use crate::report::bake_json::bake_json;

/// Every round makes one key plainer; a file that needs more is not understood.
const MOST_ROUNDS: usize = 2000;

#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Without any, what bake looks for.
    pub files: Vec<String>,
    /// Where the file is written, if not to standard output.
    pub output: Option<PathBuf>,
    /// A file that is there is replaced.
    pub force: bool,
}

/// The file that was made.
#[derive(Debug)]
pub struct Imported {
    pub text: String,
    /// About the files that were read, and what could not be made equal.
    pub warnings: Vec<Problem>,
    pub targets: usize,
    /// Keys that stand in comments.
    pub in_comments: usize,
}

/// Reads, writes, and if a file is asked for, puts it there.
pub fn import(options: &ImportOptions, facts: &Facts) -> Result<Imported, Failure> {
    if let Some(output) = &options.output {
        check_output(output, options.force, facts)?;
    }
    let current = &facts.directories.current;
    let names = match options.files.as_slice() {
        [] => build_files::foreign_names(facts),
        files => files.to_vec(),
    };
    if names.is_empty() {
        let message = format!("there is no bake or Compose file in `{}`", current.display());
        let help = "name one: `mab import docker-bake.hcl`";
        return Err(vec![Problem::input("config::missing-file", message).help(help)]);
    }
    if let Some(own) = names.iter().find(|name| !import::is_foreign(name)) {
        let message = format!("`{own}` is no file of another tool");
        return Err(vec![Problem::input("import::own-file", message).help("it can be used as it is")]);
    }
    let imported = convert(build_files::read_all(&names, current)?, facts)?;
    if let Some(output) = &options.output {
        new_file::write(&current.join(output), &imported.text, options.force)?;
    }
    Ok(imported)
}

/// Paths of the file are relative to it, and those that were read to the working directory.
fn check_output(output: &Path, force: bool, facts: &Facts) -> Result<(), Failure> {
    let path = facts.directories.current.join(output);
    let is_elsewhere = path.parent() != Some(&facts.directories.current);
    if is_elsewhere {
        let message = format!("`{}` is not in the working directory", output.display());
        let help = "bake's paths are relative to where it runs: go there, and let the file be written there";
        return Err(vec![Problem::input("import::elsewhere", message).help(help)]);
    }
    new_file::check(&path, force)
}

/// The files as one multiarch.toml of the working directory.
pub fn convert(files: Vec<import::ImportFile>, facts: &Facts) -> Result<Imported, Failure> {
    let mut seed = [0; 16];
    getrandom::fill(&mut seed).map_err(|error| {
        let message = format!("the system gives no random bytes: {error}");
        vec![Problem::new(crate::diag::Kind::Host, "facts::random", message)]
    })?;
    let request = Request { files, seed, ..Request::default() };
    let mut draft = import::rewrite(&request, facts, &Disk)?;
    let differences = prove(&mut draft)?;
    let (targets, in_comments) = draft.counts();
    let mut warnings = std::mem::take(&mut draft.imported.warnings);
    warnings.extend(differences);
    Ok(Imported { text: draft.write().text, warnings, targets, in_comments })
}

/// Reads the draft back until nothing is wrong with it and it says the same; gives what stays different.
fn prove(draft: &mut Draft) -> Result<Vec<Problem>, Failure> {
    let mut hopeless = BTreeSet::new();
    for _ in 0..MOST_ROUNDS {
        let text = draft.write().text;
        let project = match read_back(&text, &draft.facts) {
            Ok(project) => project,
            Err(problems) => {
                if !refuse_first(draft, &problems) {
                    return Err(problems);
                }
                continue;
            }
        };
        let Some((target, key, entry)) = first_difference(draft, &project, &hopeless)? else { break };
        let name = draft.renamed.get(&target).cloned().unwrap_or_else(|| target.clone());
        let is_settled = entry.as_ref().is_some_and(|entry| draft.settle(&name, &key, Some(entry)))
            || draft.settle(&name, &key, None);
        if !is_settled {
            hopeless.insert((target, key));
        }
    }
    Ok(hopeless
        .into_iter()
        .map(|(target, key)| {
            let message = format!("`{key}` of target `{target}` comes out different from bake's");
            Problem::warning("import::differs", message).help("compare `mab bake --print` of both files")
        })
        .collect())
}

fn refuse_first(draft: &mut Draft, problems: &[Problem]) -> bool {
    problems.iter().filter(|problem| problem.is_error()).any(|problem| {
        let is_about_key = matches!(problem.code, "config::not-yet" | "config::unknown-key");
        let mut lines = problem.labels.iter().map(|label| label.place.line());
        lines.any(|line| draft.refuse(line, &problem.message, is_about_key))
    })
}

fn read_back(text: &str, facts: &Facts) -> Result<Project, Vec<Problem>> {
    let path = facts.directories.current.join(FILE_NAME);
    let loaded = config::load(&path, &Beside { path: &path, text });
    config::resolve(&loaded, facts, &Overrides::default()).map(|(project, _)| project)
}

/// The disk, with one file that is not there yet.
pub(super) struct Beside<'a> {
    pub path: &'a Path,
    pub text: &'a str,
}

impl Files for Beside<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        if path == self.path { Ok(self.text.to_string()) } else { Disk.read(path) }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        Disk.list(directory)
    }
}

type Difference = (String, String, Option<String>);

/// The first key of a target that comes out different and is not known to stay so.
fn first_difference(
    draft: &Draft,
    ours: &Project,
    hopeless: &BTreeSet<(String, String)>,
) -> Result<Option<Difference>, Failure> {
    let theirs = draft.project()?;
    let (our_json, their_json) = (bake_json(ours), bake_json(&theirs));
    let incomparable = draft.incomparable();
    for (name, theirs) in &theirs.targets {
        let our_name = draft.renamed.get(name).unwrap_or(name);
        let Some(ours) = ours.targets.get(our_name) else { continue };
        let their_keys = object(&their_json["target"][name]);
        let our_keys = object(&our_json["target"][our_name]);
        for key in their_keys.keys().chain(our_keys.keys()) {
            let word = if key == "target" { "stage" } else { key };
            let is_said = key != "platforms" || draft.says_platforms(name);
            if matches!(&**key, "images" | "dockerfile" | "on") || incomparable.contains(word) || !is_said {
                continue;
            }
            let (mine, other) = (our_keys.get(key), their_keys.get(key));
            if mine != other && !hopeless.contains(&(name.clone(), word.to_string())) {
                return Ok(Some((name.clone(), word.to_string(), differing_entry(mine, other))));
            }
        }
        let word = "dockerfile".to_string();
        if dockerfile(ours) != dockerfile(theirs)
            && !incomparable.contains(&word)
            && !hopeless.contains(&(name.clone(), word.clone()))
        {
            return Ok(Some((name.clone(), word, None)));
        }
    }
    Ok(None)
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// The first entry of a table that differs, if both have it.
fn differing_entry(ours: Option<&Value>, theirs: Option<&Value>) -> Option<String> {
    let (Some(Value::Object(ours)), Some(Value::Object(theirs))) = (ours, theirs) else { return None };
    if ours.len() != theirs.len() {
        return None;
    }
    theirs.iter().find(|(key, value)| ours.get(*key) != Some(*value)).map(|(key, _)| key.clone())
}

/// The path of the Dockerfile, whatever it is relative to.
fn dockerfile(target: &Target) -> Option<PathBuf> {
    let variant = target.variants.first()?;
    let Dockerfile::File(path) = &variant.dockerfile else { return None };
    match &variant.context.value {
        Context::Directory(directory) => Some(cleaned(&directory.join(&path.value))),
        _ => Some(path.value.clone()),
    }
}

fn cleaned(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => drop(cleaned.pop()),
            std::path::Component::CurDir => {}
            other => cleaned.push(other),
        }
    }
    cleaned
}
