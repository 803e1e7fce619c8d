//! `mab bake --list`: the targets or the variables of the file, for people as a table and for programs as JSON in
//! the shape of `docker buildx bake --list`.

use serde_json::{Value, json};

use super::Failure;
use super::build_files::{self, BuildFiles};
use super::grants;
use super::plan::Document;
use super::project::{self, Loaded, ProjectOptions};
use super::remote;
use crate::config::{self, Variable};
use crate::diag::Problem;
use crate::facts::Facts;
use crate::model::Project;

/// What is listed, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOptions {
    pub what: Listed,
    pub is_json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    Targets,
    Variables,
}

pub fn list(list: ListOptions, options: &ProjectOptions, facts: &mut Facts) -> Result<Document, Failure> {
    match list.what {
        Listed::Targets => targets(list.is_json, options, facts),
        Listed::Variables => variables(list.is_json, options, facts),
    }
}

fn targets(is_json: bool, options: &ProjectOptions, facts: &mut Facts) -> Result<Document, Failure> {
    let (project, groups, warnings) = match build_files::find(options, facts)? {
        BuildFiles::Own(_) => {
            let Loaded { project, warnings, .. } = project::load(options, facts)?;
            let groups = project.groups.values().map(|group| {
                let members = group.targets.iter().map(|member| member.value.clone()).collect();
                Group { name: group.name.clone(), description: group.description.clone(), members }
            });
            let groups: Vec<Group> = groups.collect();
            (project, groups, warnings)
        }
        BuildFiles::Foreign(files) => {
            let disk = remote::disk(options);
            let imported = build_files::import(files, &everything(options), facts, &*disk)?;
            project::check_imported(&imported, options, facts)?;
            let (project, _) = imported.project(facts, &[])?;
            let groups = imported.groups.into_iter();
            let groups = groups.map(|(name, members)| Group { name, description: None, members });
            let groups: Vec<Group> = groups.collect();
            (project, groups, imported.warnings)
        }
    };
    let entries = entries(&project, &groups);
    let text = match is_json {
        true => format!("{:#}\n", entries.iter().map(Entry::json).collect::<Value>()),
        false => {
            table(["TARGET", "DESCRIPTION"], entries.iter().map(|entry| [entry.name, &entry.description]))
        }
    };
    Ok(Document { text, warnings })
}

/// Imports have what is asked for.
fn everything(options: &ProjectOptions) -> ProjectOptions {
    ProjectOptions { names: vec!["*".to_string()], ..options.clone() }
}

struct Group {
    name: String,
    description: Option<String>,
    members: Vec<String>,
}

fn variables(is_json: bool, options: &ProjectOptions, facts: &mut Facts) -> Result<Document, Failure> {
    let (variables, warnings) = resolved(options, facts)?;
    let text = match is_json {
        true => format!("{:#}\n", variables.iter().map(variable_json).collect::<Value>()),
        false => {
            let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
            let rows: Vec<[String; 4]> = variables
                .iter()
                .map(|one| {
                    let value = one.value.clone().unwrap_or_else(|| "<null>".to_string());
                    [one.name.clone(), or_empty(&one.kind), value, or_empty(&one.description)]
                })
                .collect();
            let rows = rows.iter().map(|row| row.each_ref().map(String::as_str));
            table(["VARIABLE", "TYPE", "VALUE", "DESCRIPTION"], rows)
        }
    };
    Ok(Document { text, warnings })
}

/// The variables of the build file with their values, and what is odd about it.
pub(super) fn resolved(
    options: &ProjectOptions,
    facts: &mut Facts,
) -> Result<(Vec<Variable>, Vec<Problem>), Failure> {
    match build_files::find(options, facts)? {
        BuildFiles::Own(file) => {
            if grants::bounds(options, facts) {
                project::load(options, facts)?;
            }
            let loaded = file.load(&*remote::disk(options), facts);
            Ok((config::variables(&loaded, facts, &options.vars)?, Vec::new()))
        }
        BuildFiles::Foreign(files) => {
            let disk = remote::disk(options);
            let imported = build_files::import(files, &everything(options), facts, &*disk)?;
            project::check_imported(&imported, options, facts)?;
            Ok((imported.variables, imported.warnings))
        }
    }
}

struct Entry<'a> {
    name: &'a str,
    description: String,
    is_group: bool,
}

impl Entry<'_> {
    fn json(&self) -> Value {
        let mut object = json!({ "name": self.name });
        if !self.description.is_empty() {
            object["description"] = json!(self.description);
        }
        if self.is_group {
            object["group"] = json!(true);
        }
        object
    }
}

/// `default` first, then by name. What begins with `_` is not for the command line.
fn entries<'a>(project: &'a Project, groups: &'a [Group]) -> Vec<Entry<'a>> {
    let targets = project.targets.iter().map(|(name, target)| Entry {
        name,
        description: target.description.clone().unwrap_or_default(),
        is_group: false,
    });
    let groups = groups.iter().map(|group| Entry {
        name: &group.name,
        description: group.description.clone().unwrap_or_else(|| group.members.join(", ")),
        is_group: true,
    });
    let mut entries: Vec<Entry<'_>> =
        targets.chain(groups).filter(|entry| !entry.name.starts_with('_')).collect();
    entries.sort_by_key(|entry| (entry.name != "default", entry.name));
    entries
}

fn variable_json(variable: &Variable) -> Value {
    let mut object = json!({ "name": variable.name });
    let members =
        [("description", &variable.description), ("type", &variable.kind), ("value", &variable.value)];
    for (key, value) in members {
        if let Some(value) = value {
            object[key] = json!(value);
        }
    }
    object
}

/// Columns as wide as their widest entry.
fn table<'a, const N: usize>(head: [&'a str; N], rows: impl Iterator<Item = [&'a str; N]>) -> String {
    let rows: Vec<[&str; N]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
