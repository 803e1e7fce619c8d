//! Groups: members that exist, no circles.

use std::collections::BTreeMap;

use super::budget::MOST_VALUES;
use super::declare::{Declarations, GroupDeclaration, is_template};
use super::delivery::Said;
use super::keys;
use super::roster::Roster;
use super::table::MOST_PROBLEMS;
use super::target::World;
use super::text::Text;
use crate::diag::{Located, Problem};
use crate::model::{Group, TargetPattern};
use crate::pattern::PatternError;

const DEEPEST: usize = 64;

/// The declared groups, and one for each matrix.
pub fn resolve<'a>(
    world: &World<'a, '_>,
    roster: &Roster<'a>,
    of_run: &[Said<'_>],
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Group> {
    let mut groups = BTreeMap::new();
    for (name, group) in &world.declared.groups {
        groups.insert(
            name.clone(),
            Group {
                name: name.clone(),
                description: group.description.as_ref().map(|text| text.value.clone()),
                targets: members(world, roster, group, problems),
                place: Some(group.place.clone()),
                require: group.require.iter().map(|(requirement, _)| requirement.name()).collect(),
                is_withheld: group.says_something() && !of_run.iter().any(|said| said.name == name),
            },
        );
    }
    groups.extend(roster.matrices.iter().map(|(name, names)| {
        let declaration = &world.declared.targets[*name];
        let targets = names.iter().filter(|name| roster.has(name));
        let group = Group {
            name: name.to_string(),
            description: declaration.layer.description.as_ref().map(|text| text.value.clone()),
            targets: targets.map(|target| Located::unplaced(target.clone())).collect(),
            place: Some(declaration.place.clone()),
            require: Vec::new(),
            is_withheld: false,
        };
        (name.to_string(), group)
    }));
    if world.templates.budget().is_out_of_values() {
        problems.push(too_many_members(world.declared));
    }
    check_circles(world.declared, problems);
    groups
}

/// What groups say about their members is more than targets may have.
pub fn too_many_members(declared: &Declarations) -> Problem {
    let message = format!("the groups say more than {MOST_VALUES} things about their members");
    let problem = Problem::input("config::too-many", message)
        .help("a group counts once for each of its targets, and a pattern for what it looks at; name fewer");
    match declared.groups.values().max_by_key(|group| group.targets.len()) {
        Some(group) => problem.at(group.place.clone(), "the longest of them"),
        None => problem,
    }
}

/// The members that this run has; what is left out by its own `when` is no problem of the group.
fn members<'a>(
    world: &World<'a, '_>,
    roster: &Roster<'a>,
    group: &GroupDeclaration,
    problems: &mut Vec<Problem>,
) -> Vec<Located<String>> {
    let declared = world.declared;
    let mut members = Vec::new();
    for member in &group.targets {
        // What is meant takes a while to find.
        if problems.len() >= MOST_PROBLEMS || world.templates.budget().is_out_of_values() {
            break;
        }
        let name = member.value.as_str();
        let is_group = declared.groups.contains_key(name) || roster.matrices.contains_key(name);
        if is_group || roster.has(name) {
            members.push(Located::new(name.to_string(), member.place()));
        } else if let Some(pattern) = TargetPattern::parse(name) {
            match matching(world, roster, member, pattern) {
                Ok(names) => members.extend(names),
                Err(problem) => problems.push(*problem),
            }
        } else if declared.targets.contains_key(name) && is_template(name) {
            problems.push(
                roster
                    .not_a_target(world, name, member)
                    .help("take it out; names with a leading underscore are for `inherits`"),
            );
        } else if !roster.left_out.contains_key(name) && !declared.targets.contains_key(name) {
            let known: Vec<&str> = roster.names().chain(declared.groups.keys().map(String::as_str)).collect();
            problems.push(unknown("target or group", name, member, known));
        }
    }
    members
}

/// The targets that `text` means, each once in the group.
fn matching<'a>(
    world: &World<'a, '_>,
    roster: &Roster<'a>,
    text: &Text,
    pattern: Result<TargetPattern, PatternError>,
) -> Result<Vec<Located<String>>, Box<Problem>> {
    let wrong = |message: String| Problem::input("config::unknown-name", message);
    let Ok(pattern) = pattern else {
        let message = format!("`{}` is not a pattern: a bracket is not closed", text.value);
        return Err(Box::new(wrong(message).at(text.place(), "not a pattern")));
    };
    let found = roster.matching(world, &pattern);
    // What a `when` leaves out may be all there is.
    let is_left_out = !pattern.asks_for_labels()
        && roster.left_out.keys().any(|name| pattern.matches(name, &BTreeMap::new()));
    if found.is_empty() && !is_left_out && !world.templates.budget().is_out_of_values() {
        let names: Vec<&str> = roster.names().collect();
        let help = match pattern.asks_for_labels() {
            true => "labels are in `labels` of targets".to_string(),
            false => format!("the targets are {}", keys::quoted_list(names)),
        };
        let problem = wrong(format!("no target matches `{}`", text.value));
        return Err(Box::new(problem.at(text.place(), "matches nothing").help(help)));
    }
    Ok(found.into_iter().map(|name| Located::new(name.to_string(), text.place())).collect())
}

/// The names of targets that can be built.
pub fn buildable(declared: &Declarations) -> impl Iterator<Item = &str> {
    declared.targets.keys().map(String::as_str).filter(|name| !is_template(name))
}

/// The problem of `name` in `text`, which is none of `known`.
pub fn unknown(kind: &str, name: &str, text: &Text, known: Vec<&str>) -> Problem {
    let help = match keys::suggestion(name, known.clone()) {
        Some(suggestion) => suggestion,
        None if known.is_empty() => "no target is declared".to_string(),
        None => format!("there are {}", keys::quoted_list(known)),
    };
    Problem::input("config::unknown-name", format!("there is no {kind} `{name}`"))
        .at(text.place(), "not declared")
        .help(help)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Done,
}

fn check_circles(declared: &Declarations, problems: &mut Vec<Problem>) {
    let mut states = BTreeMap::new();
    for name in declared.groups.keys() {
        visit(declared, name, &mut Vec::new(), &mut states, problems);
    }
}

fn visit<'a>(
    declared: &'a Declarations,
    name: &'a str,
    path: &mut Vec<&'a str>,
    states: &mut BTreeMap<&'a str, State>,
    problems: &mut Vec<Problem>,
) {
    let Some(group) = declared.groups.get(name).filter(|_| !states.contains_key(name)) else { return };
    states.insert(name, State::Open);
    path.push(name);
    for member in &group.targets {
        if problems.len() >= MOST_PROBLEMS {
            break;
        }
        let name = member.value.as_str();
        if states.get(name) == Some(&State::Open) {
            let start = path.iter().position(|step| *step == name).unwrap_or(0);
            let chain: Vec<&str> = path[start..].iter().copied().chain([name]).collect();
            problems.push(
                Problem::input("config::cycle", format!("groups run in a circle: {}", chain.join(" → ")))
                    .at(member.place(), "closes the circle"),
            );
        } else if path.len() >= DEEPEST {
            problems.push(
                Problem::input("config::too-deep", format!("groups go deeper than {DEEPEST}"))
                    .at(member.place(), "here"),
            );
        } else {
            visit(declared, name, path, states, problems);
        }
    }
    path.pop();
    states.insert(name, State::Done);
}
