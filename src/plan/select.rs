//! Which targets a request means: names, groups, and what those need.

use std::collections::{BTreeSet, HashSet};

use crate::diag::{Problem, nearest};
use crate::model::{Call, Context, Group, Project, Target, TargetPattern};
use crate::pattern::PatternError;

/// The targets of one run.
#[derive(Clone, Debug, Default)]
pub struct Selection<'a> {
    /// What was asked for, in order: these have outputs.
    pub requested: Vec<&'a Target>,
    /// What only others need.
    pub needed: Vec<&'a Target>,
}

impl<'a> Selection<'a> {
    pub fn all(&self) -> impl Iterator<Item = &'a Target> {
        self.requested.iter().chain(&self.needed).copied()
    }

    /// The selection of those requested targets that `keep` takes, with what they need.
    pub fn only(self, project: &'a Project, keep: impl Fn(&Target) -> bool) -> Self {
        let requested = self.requested.into_iter().filter(|target| keep(target)).collect();
        let selection = Selection { requested, needed: Vec::new() };
        let mut selector = Selector { project, selection, known: HashSet::new(), problems: Vec::new() };
        selector.add_needed();
        selector.selection
    }

    /// The selection without the requested targets of which something else is wanted than to be built: these
    /// come second. What others build on is built all the same.
    pub fn without_calls(self, project: &'a Project) -> (Self, Vec<&'a Target>) {
        let is_built = |target: &Target| target.call == Call::Build;
        let called = self.requested.iter().copied().filter(|target| !is_built(target)).collect();
        (self.only(project, is_built), called)
    }
}

/// The targets that `names` (targets or groups) mean; without names, the group or target `default`.
pub fn select<'a>(project: &'a Project, names: &[String]) -> Result<Selection<'a>, Vec<Problem>> {
    let default = ["default".to_string()];
    let wanted = if names.is_empty() { &default[..] } else { names };
    let mut selector =
        Selector { project, selection: Selection::default(), known: HashSet::new(), problems: Vec::new() };
    for name in wanted {
        selector.request(name);
    }
    selector.add_needed();
    if selector.problems.is_empty() { Ok(selector.selection) } else { Err(selector.problems) }
}

/// Names that are none of what was asked for.
pub fn check_only(selection: &Selection<'_>, only: &[String]) -> Result<(), Vec<Problem>> {
    let requested: BTreeSet<String> = selection.requested.iter().map(|target| target.name.clone()).collect();
    let problems: Vec<Problem> = only
        .iter()
        .filter(|name| !requested.contains(*name))
        .map(|name| {
            let problem = Problem::input(
                "plan::not-requested",
                format!("`--only {name}` is none of the targets that are baked"),
            );
            match nearest(name, requested.iter().map(String::as_str)) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help(format!("they are: {}", listed(requested.clone()))),
            }
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

struct Selector<'a> {
    project: &'a Project,
    selection: Selection<'a>,
    /// What was requested already.
    known: HashSet<&'a str>,
    problems: Vec<Problem>,
}

impl<'a> Selector<'a> {
    fn request(&mut self, name: &str) {
        let project = self.project;
        if let Some(group) = project.groups.get(name) {
            self.request_group(group, &mut BTreeSet::new());
        } else if let Some(target) = project.targets.get(name) {
            self.request_target(target);
        } else if let Some(pattern) = TargetPattern::parse(name) {
            self.request_matching(name, pattern);
        } else {
            self.problems.push(unknown(project, name));
        }
    }

    /// Patterns are for targets: a group may say that its members are pushed, and has to be named for it.
    fn request_matching(&mut self, text: &str, pattern: Result<TargetPattern, PatternError>) {
        let wrong = |message: String| Problem::input("plan::unknown-target", message);
        let Ok(pattern) = pattern else {
            self.problems.push(wrong(format!("`{text}` is not a pattern: a bracket is not closed")));
            return;
        };
        let project = self.project;
        let before = self.selection.requested.len();
        let matching =
            project.targets.values().filter(|target| pattern.matches(&target.name, &target.labels));
        let matching: Vec<&Target> = matching.collect();
        let is_none = matching.is_empty();
        matching.into_iter().for_each(|target| self.request_target(target));
        if is_none && self.selection.requested.len() == before {
            let problem = wrong(format!("no target matches `{text}`"));
            self.problems.push(problem.help(there_is(project, &pattern)));
        }
    }

    fn request_group(&mut self, group: &'a Group, seen: &mut BTreeSet<&'a str>) {
        if !seen.insert(&group.name) {
            return;
        }
        for member in &group.targets {
            if let Some(inner) = self.project.groups.get(&member.value) {
                self.request_group(inner, seen);
            } else if let Some(target) = self.project.targets.get(&member.value) {
                self.request_target(target);
            }
        }
    }

    fn request_target(&mut self, target: &'a Target) {
        if self.known.insert(&target.name) {
            self.selection.requested.push(target);
        }
    }

    fn add_needed(&mut self) {
        let mut seen: BTreeSet<&str> =
            self.selection.requested.iter().map(|target| target.name.as_str()).collect();
        let mut waiting: Vec<&'a Target> = self.selection.requested.iter().rev().copied().collect();
        while let Some(target) = waiting.pop() {
            for name in references(target) {
                if let Some(other) = self.project.targets.get(name)
                    && seen.insert(&other.name)
                {
                    self.selection.needed.push(other);
                    waiting.push(other);
                }
            }
        }
    }
}

/// The names of the targets that `target` builds on or waits for.
fn references(target: &Target) -> impl Iterator<Item = &str> {
    let contexts = target.variants.iter().flat_map(|variant| {
        std::iter::once(&variant.context).chain(variant.contexts.values()).filter_map(
            |context| match &context.value {
                Context::Target(name) => Some(name.as_str()),
                _ => None,
            },
        )
    });
    contexts.chain(target.needs.iter().map(|name| name.value.as_str()))
}

/// The names, or the labels, that a pattern may match.
fn there_is(project: &Project, pattern: &TargetPattern) -> String {
    let labels = project.targets.values().flat_map(|target| &target.labels);
    let known: BTreeSet<String> = match pattern.asks_for_labels() {
        true => labels.map(|(key, value)| format!("{key}={value}")).collect(),
        false => project.targets.keys().cloned().collect(),
    };
    match (known.is_empty(), pattern.asks_for_labels()) {
        (true, true) => "no target has `labels`".to_string(),
        (true, false) => "there are no targets".to_string(),
        (false, true) => format!("the labels are: {}", listed(known)),
        (false, false) => format!("there are: {}", listed(known)),
    }
}

/// Names with commas between them; long lists are cut.
fn listed(names: BTreeSet<String>) -> String {
    const MOST: usize = 100;
    let hidden = names.len().saturating_sub(MOST);
    let shown = names.into_iter().take(MOST).collect::<Vec<_>>().join(", ");
    if hidden == 0 { shown } else { format!("{shown} and {hidden} more") }
}

fn unknown(project: &Project, name: &str) -> Problem {
    let names = || project.targets.keys().chain(project.groups.keys()).map(String::as_str);
    let problem = Problem::input("plan::unknown-target", format!("no target or group is named `{name}`"));
    if let Some(when) = project.left_out.get(name) {
        return Problem::input("plan::left-out", format!("target `{name}` is left out of this run"))
            .at(when.clone(), "does not hold");
    }
    if name == "default" {
        let known = listed(names().map(str::to_string).collect());
        let there = if known.is_empty() { String::new() } else { format!("; there are: {known}") };
        return problem
            .help(format!("name what to bake (`mab bake TARGET…`), or declare `[group.default]`{there}"));
    }
    match nearest(name, names()) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help(format!("there are: {}", listed(names().map(str::to_string).collect()))),
    }
}
