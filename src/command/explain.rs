//! `mab explain`: what a value is, and which layers say so.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Failure;
use super::build_files::{self, BuildFiles};
use super::grants;
use super::project::{self, ProjectOptions};
use crate::base::Platform;
use crate::config::import::Imported;
use crate::config::path::{self, Segment};
use crate::config::{self, Disk, How, PlatformName, Step};
use crate::diag::{Problem, nearest};
use crate::facts::Facts;
use crate::model::{Project, Target};
use crate::report::bake_json;
use crate::report::explain::{Explained, Explanation, Held, Holds};

const OF_FOREIGN: &str =
    "of bake and Compose files only the last place that gives a value is known, not what it overrides";

/// What is asked: `TARGET[.on."PLATFORM"][.KEY[.ENTRY]]`, or `vars.NAME`.
struct Question {
    target: String,
    platform: Option<Platform>,
    key: Option<String>,
    entry: Option<String>,
}

/// The explanation with the warnings about the file. `options` names the groups that are baked.
pub fn explain(
    options: &ProjectOptions,
    path: &str,
    facts: &mut Facts,
) -> Result<(Explanation, Vec<Problem>), Failure> {
    match build_files::find(options, facts)? {
        BuildFiles::Own(file) => {
            let (loaded, overrides) = project::read_own(&file, options, facts, &Disk)?;
            let (project, warnings) = config::resolve(&loaded, facts, &overrides)?;
            let check = |targets: &[&Target]| {
                grants::check(&project, targets, options, facts).map_err(|problem| vec![*problem])
            };
            if let Some(name) = path.strip_prefix("vars.")
                && let Some(steps) = config::explain_variable(&loaded, facts, &overrides, name)
            {
                check(&[])?;
                return Ok((variable(path, steps), warnings));
            }
            let question = Question::parse(path).map_err(|problem| vec![*problem])?;
            let target = target_of(&project, &question).map_err(|problem| vec![*problem])?;
            check(&[target])?;
            let platforms = platforms_of(target, &question).map_err(|problem| vec![*problem])?;
            let steps = config::explain(&loaded, facts, &overrides, &target.name, &platforms);
            Ok((answer(&project, target, &question, &platforms, steps.unwrap_or_default(), None), warnings))
        }
        BuildFiles::Foreign(files) => {
            let question = Question::parse(path).map_err(|problem| vec![*problem])?;
            let options = ProjectOptions { names: vec![question.target.clone()], ..options.clone() };
            let imported = build_files::import(files, &options, facts, &Disk)?;
            let platforms =
                PlatformName::without_sets(&options.platforms).map_err(|problem| vec![problem])?;
            let (project, warnings) = imported.project(facts, &platforms)?;
            project::check_imported(&imported, &options, facts)?;
            let target = target_of(&project, &question).map_err(|problem| vec![*problem])?;
            let platforms = platforms_of(target, &question).map_err(|problem| vec![*problem])?;
            let steps = foreign_steps(&imported, &project, target, &platforms);
            let explanation = answer(&project, target, &question, &platforms, steps, Some(OF_FOREIGN));
            Ok((explanation, imported.warnings.into_iter().chain(warnings).collect()))
        }
    }
}

impl Question {
    fn parse(text: &str) -> Result<Self, Box<Problem>> {
        let segments = path::segments(text);
        let is_on = segments.get(1).is_some_and(|segment| segment.name == "on");
        let platform = segments.get(2).filter(|_| is_on).map(platform).transpose()?;
        if is_on && platform.is_none() {
            let problem = Problem::input("config::explain", format!("`{text}` names no platform"));
            return Err(Box::new(problem.help("ask for `TARGET.on.\"linux/arm64\".KEY`")));
        }
        let at = if is_on { 3 } else { 1 };
        let key = segments.get(at).map(|segment| path::our_key(&segment.name).to_string());
        let entry = segments.get(at + 1).map(|segment| path::rest(text, segment).name);
        if let Some(problem) = key.as_ref().and_then(|key| config::key_problem(key, entry.is_some())) {
            return Err(Box::new(problem));
        }
        let key = key.map(|key| path::one_spelling(&key).to_string());
        Ok(Self { target: segments[0].name.clone(), platform, key, entry })
    }
}

fn platform(segment: &Segment) -> Result<Platform, Box<Problem>> {
    segment.name.parse().map_err(|error: crate::base::platform::ParsePlatformError| {
        Box::new(Problem::input("config::bad-platform", error.to_string()))
    })
}

fn target_of<'p>(project: &'p Project, question: &Question) -> Result<&'p Target, Box<Problem>> {
    let name = question.target.as_str();
    if let Some(target) = project.targets.get(name) {
        return Ok(target);
    }
    let problem = Problem::input("config::unknown-name", format!("there is no target `{name}`"));
    if let Some(when) = project.left_out.get(name) {
        let message = format!("target `{name}` is left out of this run");
        return Err(Box::new(Problem::input("config::left-out", message).at(when.clone(), "does not hold")));
    }
    Err(Box::new(match project.groups.get(name) {
        Some(group) => {
            let members: Vec<String> =
                group.targets.iter().map(|member| format!("`{}`", member.value)).collect();
            problem.help(format!("it is a group; ask for one of {}", members.join(", ")))
        }
        None if name.starts_with('_') => problem.help("a template is explained by who inherits from it"),
        None if name == "vars" => problem.help("ask for a variable that is declared: `vars.NAME`"),
        None => match nearest(name, project.targets.keys().map(String::as_str)) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem,
        },
    }))
}

fn platforms_of(target: &Target, question: &Question) -> Result<Vec<Platform>, Box<Problem>> {
    let all: Vec<Platform> = target.variants.iter().map(|variant| variant.platform.value.clone()).collect();
    match &question.platform {
        None => Ok(all),
        Some(platform) if all.contains(platform) => Ok(vec![platform.clone()]),
        Some(platform) => {
            let message = format!("target `{}` is not built for `{platform}`", target.name);
            let names: Vec<String> = all.iter().map(ToString::to_string).collect();
            let problem = Problem::input("config::unknown-platform", message);
            Err(Box::new(problem.help(format!("its platforms are {}", names.join(", ")))))
        }
    }
}

fn variable(path: &str, steps: Vec<Step>) -> Explanation {
    let value = steps.last().map(|step| match serde_json::from_str(&step.text) {
        Ok(value) => value,
        Err(_) => json!(step.text),
    });
    let last = steps.len().saturating_sub(1);
    let steps = steps.into_iter().enumerate().map(|(at, step)| {
        let holds = if at == last { Holds::Everywhere } else { Holds::Nowhere };
        Held { step, holds }
    });
    let one = Explained {
        path: path.to_string(),
        values: vec![(Vec::new(), value)],
        default: None,
        steps: steps.collect(),
    };
    Explanation { target: None, values: vec![one], is_summary: false, note: None }
}

fn answer(
    project: &Project,
    target: &Target,
    question: &Question,
    platforms: &[Platform],
    steps: Vec<Step>,
    note: Option<&'static str>,
) -> Explanation {
    let values: Vec<(Platform, Map<String, Value>)> = bake_json::values(project, target)
        .into_iter()
        .filter(|(platform, _)| platforms.contains(platform))
        .collect();
    let mut paths = paths(&values, &steps);
    if let Some(key) = &question.key {
        paths.retain(|(known, entry)| known == key && (question.entry.is_none() || *entry == question.entry));
        if paths.is_empty() {
            paths.push((key.clone(), question.entry.clone()));
        }
    }
    let on = question.platform.as_ref().map(|platform| format!(".on.\"{platform}\"")).unwrap_or_default();
    let explained = paths.into_iter().map(|(key, entry)| {
        let shown = match &entry {
            Some(entry) if entry.contains('.') => format!("{key}.\"{entry}\""),
            Some(entry) => format!("{key}.{entry}"),
            None => key.clone(),
        };
        let default = entry.is_none().then(|| default_of(&key)).flatten();
        let found = values.iter().map(|(platform, object)| {
            let value = value_of(object, &key, entry.as_deref());
            (platform.clone(), value.or_else(|| default.map(|default| json!(default))))
        });
        let of_key = steps.iter().filter(|step| {
            step.key == key && (entry.is_none() || step.entry.is_none() || step.entry == entry)
        });
        Explained {
            path: format!("{}{on}.{shown}", target.name),
            values: together(found),
            default: default.map(|default| json!(default).to_string()),
            steps: of_key.filter_map(|step| held(step, platforms)).collect(),
        }
    });
    Explanation {
        target: Some(target.name.clone()),
        values: explained.collect(),
        is_summary: question.key.is_none(),
        note,
    }
}

/// Every value there is, by key and entry.
fn paths(values: &[(Platform, Map<String, Value>)], steps: &[Step]) -> Vec<(String, Option<String>)> {
    let mut paths: Vec<(String, Option<String>)> = Vec::new();
    for (key, value) in values.iter().flat_map(|(_, object)| object) {
        let key = path::one_spelling(path::our_key(key)).to_string();
        match value {
            Value::Object(entries) => {
                paths.extend(entries.keys().map(|entry| (key.clone(), Some(entry.clone()))));
            }
            _ => paths.push((key, None)),
        }
    }
    for step in steps {
        match &step.entry {
            Some(entry) if config::has_entries(&step.key) => {
                paths.push((step.key.clone(), Some(entry.clone())));
            }
            _ if config::has_entries(&step.key) => {}
            _ => paths.push((step.key.clone(), None)),
        }
    }
    let mut seen = BTreeSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    paths
}

fn value_of(object: &Map<String, Value>, key: &str, entry: Option<&str>) -> Option<Value> {
    let value = match key {
        "stage" => object.get("target"),
        "dockerfile" => object.get("dockerfile").or_else(|| object.get("dockerfile-inline")),
        key => object.get(key),
    };
    match entry {
        Some(entry) => value?.get(entry).cloned(),
        None => value.cloned(),
    }
}

/// What a value is when no layer says anything, as far as it does not depend on the machine.
fn default_of(key: &str) -> Option<&'static str> {
    match key {
        "dockerfile" => Some("Dockerfile"),
        "network" => Some("default"),
        "emulate" => Some("warn"),
        "call" => Some("build"),
        "no-cache" | "pull" => Some("false"),
        "shm-size" => Some("64m"),
        _ => None,
    }
}

/// Platforms with equal values together.
fn together(found: impl Iterator<Item = (Platform, Option<Value>)>) -> Vec<(Vec<Platform>, Option<Value>)> {
    let mut grouped: Vec<(Vec<Platform>, Option<Value>)> = Vec::new();
    for (platform, value) in found {
        match grouped.iter_mut().find(|(_, known)| *known == value) {
            Some((platforms, _)) => platforms.push(platform),
            None => grouped.push((vec![platform], value)),
        }
    }
    grouped
}

/// The step and for whom it holds; `None` when it is for another platform.
fn held(step: &Step, platforms: &[Platform]) -> Option<Held> {
    let said_for: Vec<&Platform> = match &step.platform {
        Some(only) => platforms.iter().filter(|platform| *platform == only).collect(),
        None => platforms.iter().collect(),
    };
    if said_for.is_empty() {
        return None;
    }
    let holds = match step.holds_for.len() {
        0 => Holds::Nowhere,
        some if some == said_for.len() => Holds::Everywhere,
        _ => Holds::For(step.holds_for.clone()),
    };
    Some(Held { step: step.clone(), holds })
}

/// What is known of the places in files of other tools.
fn foreign_steps(
    imported: &Imported,
    project: &Project,
    target: &Target,
    platforms: &[Platform],
) -> Vec<Step> {
    let Some((_, values)) = bake_json::values(project, target).into_iter().next() else { return Vec::new() };
    let keys = values.keys().filter_map(|key| Some((key, imported.place(&target.name, key)?)));
    let steps = keys.map(|(key, place)| Step {
        layer: format!("`{}`", place.source.name),
        platform: None,
        key: path::one_spelling(path::our_key(key)).to_string(),
        entry: None,
        how: How::Gives,
        text: first_line(&place.source.text[place.span.clone()]),
        rendered: None,
        place: Some(place.clone()),
        holds_for: platforms.to_vec(),
    });
    steps.collect()
}

fn first_line(text: &str) -> String {
    match text.split_once('\n') {
        Some((first, _)) => format!("{} …", first.trim_end()),
        None => text.to_string(),
    }
}
