//! What the groups of a run say about their members: a layer between a target and `--set`, and what the groups
//! require of the work tree.

use std::collections::{BTreeMap, HashSet};

use super::budget::Budget;
use super::conditional::Conditional;
use super::declare::{AnnotationsDeclaration, Declarations, GroupDeclaration, Layer};
use super::entries::EntryDeclaration;
use super::roster::Roster;
use super::table::MOST_PROBLEMS;
use super::target::World;
use super::text::Text;
use crate::diag::{Located, Place, Problem};
use crate::facts::Checkout;
use crate::model::{AnnotationLevel, Requirement, TargetPattern};

/// Groups within groups go no deeper; `groups` reports those that do.
const DEEPEST: usize = 64;

/// A group of this run.
#[derive(Clone, Copy)]
pub struct Said<'a> {
    pub name: &'a str,
    pub group: &'a GroupDeclaration,
}

/// The groups that this run bakes, outer ones first.
pub fn groups_of_run<'a>(declared: &'a Declarations, names: &[String]) -> Vec<Said<'a>> {
    let default = ["default".to_string()];
    let names = if names.is_empty() { &default[..] } else { names };
    let (mut found, mut known) = (Vec::new(), HashSet::new());
    for name in names {
        // Patterns are for targets alone.
        collect(declared, name, &mut found, &mut known, 0);
    }
    found
}

fn collect<'a>(
    declared: &'a Declarations,
    name: &str,
    found: &mut Vec<Said<'a>>,
    known: &mut HashSet<&'a str>,
    depth: usize,
) {
    let Some((name, group)) = declared.groups.get_key_value(name) else { return };
    if depth > DEEPEST || !known.insert(name) {
        return;
    }
    found.push(Said { name, group });
    for member in &group.targets {
        collect(declared, &member.value, found, known, depth + 1);
    }
}

/// The groups of this run that say something about each target.
pub fn by_target<'a>(
    world: &World<'a, '_>,
    roster: &Roster<'a>,
    groups: &[Said<'a>],
) -> BTreeMap<String, Vec<Said<'a>>> {
    let mut by_target: BTreeMap<String, Vec<Said<'a>>> = BTreeMap::new();
    for said in groups.iter().filter(|said| said.group.says_something()) {
        let mut members = Members::default();
        members.add(world, roster, said.group);
        // What a group says is there once for each of its members.
        if !world.templates.budget().has_values(members.targets.len()) {
            break;
        }
        for target in members.targets {
            by_target.entry(target.to_string()).or_default().push(*said);
        }
    }
    by_target
}

/// The targets of a group, also through inner groups, each once.
#[derive(Default)]
struct Members<'r> {
    targets: Vec<&'r str>,
    known: HashSet<&'r str>,
    /// Inner groups that were looked into.
    groups: HashSet<&'r str>,
}

impl<'r> Members<'r> {
    fn add<'a: 'r>(&mut self, world: &World<'a, '_>, roster: &'r Roster<'a>, group: &'a GroupDeclaration) {
        for member in &group.targets {
            let name = member.value.as_str();
            if let Some(inner) = world.declared.groups.get(name) {
                if !self.groups.contains(name) && self.groups.len() < DEEPEST * DEEPEST {
                    self.groups.insert(name);
                    self.add(world, roster, inner);
                }
                continue;
            }
            let matrix = roster.matrices.get(name).into_iter().flatten().map(String::as_str);
            let own = roster.members.get_key_value(name).map(|(name, _)| name.as_str());
            let pattern = TargetPattern::parse(name).and_then(Result::ok);
            let matching = pattern.map(|pattern| roster.matching(world, &pattern)).unwrap_or_default();
            for target in matrix.chain(own).chain(matching) {
                if self.known.insert(target) {
                    self.targets.push(target);
                }
            }
        }
    }
}

/// Two groups that give a target different values of one key cannot be baked in one run.
pub fn check_agreement(
    by_target: &BTreeMap<String, Vec<Said<'_>>>,
    budget: &Budget,
    problems: &mut Vec<Problem>,
) {
    for (target, groups) in by_target {
        for (at, one) in groups.iter().enumerate() {
            let others = &groups[at + 1..];
            if problems.len() >= MOST_PROBLEMS || !budget.has_values(others.len()) {
                return;
            }
            for other in others {
                for key in disagreements(&one.group.layer, &other.group.layer) {
                    problems.push(disagreement(target, key, one, other));
                }
            }
        }
    }
}

fn disagreements(one: &Layer, other: &Layer) -> Vec<&'static str> {
    fn differ<T, V: PartialEq>(one: &Option<T>, other: &Option<T>, value: impl Fn(&T) -> V) -> bool {
        matches!((one, other), (Some(one), Some(other)) if value(one) != value(other))
    }
    let keys = [
        ("push", differ(&one.push, &other.push, |push| *push)),
        ("load", differ(&one.load, &other.load, |load| *load)),
        ("tags", differ(&one.tags, &other.tags, |tags| values(tags))),
        ("output", differ(&one.outputs, &other.outputs, |all| entry_texts(all))),
        ("annotations", differ(&one.annotations, &other.annotations, annotation_texts)),
        ("attest", differ(&one.attestations, &other.attestations, |all| entry_texts(all))),
        ("cache", differ(&one.caches, &other.caches, |all| texts(all))),
        ("cache-to", differ(&one.cache_to, &other.cache_to, |all| entry_texts(all))),
        ("tag-rules", differ(&one.tag_rules, &other.tag_rules, |all| entry_texts(all))),
        ("flavor", differ(&one.flavor, &other.flavor, |all| entry_texts(all))),
        ("compat", differ(&one.compat, &other.compat, |compat| *compat)),
        ("floating", differ(&one.floating, &other.floating, |floating| *floating)),
        ("git-tag-prefix", differ(&one.git_tag_prefix, &other.git_tag_prefix, |text| text.value.clone())),
        ("oci-labels", differ(&one.has_oci_labels, &other.has_oci_labels, |is_on| *is_on)),
        ("oci-labels", differ(&one.oci_labels, &other.oci_labels, |all| texts(all))),
        ("oci-annotations", differ(&one.has_oci_annotations, &other.has_oci_annotations, |is_on| *is_on)),
        ("oci-annotations", differ(&one.oci_annotations, &other.oci_annotations, |all| texts(all))),
        ("oci-levels", differ(&one.oci_levels, &other.oci_levels, |all| levels(all))),
    ];
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

fn levels(levels: &[Located<AnnotationLevel>]) -> Vec<AnnotationLevel> {
    levels.iter().map(|level| level.value).collect()
}

fn texts(texts: &[Text]) -> Vec<String> {
    texts.iter().map(|text| text.value.clone()).collect()
}

fn values(entries: &[Conditional<Text>]) -> Vec<String> {
    entries.iter().map(|entry| with_condition(entry, entry.value.value.clone())).collect()
}

fn entry_texts(entries: &[Conditional<EntryDeclaration>]) -> Vec<String> {
    entries.iter().map(|entry| with_condition(entry, entry_text(&entry.value))).collect()
}

fn with_condition<T>(entry: &Conditional<T>, text: String) -> String {
    match &entry.when {
        Some(when) => format!("{text} when {}", when.value),
        None => text,
    }
}

fn entry_text(entry: &EntryDeclaration) -> String {
    match entry {
        EntryDeclaration::Line(text) => text.value.clone(),
        EntryDeclaration::Table { entries, .. } => {
            let entries = entries.iter().map(|(key, text)| format!("{}={}", key.value, text.value));
            entries.collect::<Vec<_>>().join(",")
        }
    }
}

fn annotation_texts(declared: &AnnotationsDeclaration) -> Vec<String> {
    match declared {
        AnnotationsDeclaration::List(texts) => values(texts),
        AnnotationsDeclaration::Table(table) => {
            table.iter().map(|(key, text)| format!("{key}={}", text.value)).collect()
        }
    }
}

fn disagreement(target: &str, key: &str, one: &Said<'_>, other: &Said<'_>) -> Problem {
    let place = |said: &Said<'_>| said.group.places.get(key).unwrap_or(&said.group.place).clone();
    let (one_name, other_name) = (one.name, other.name);
    let message = format!("the groups `{one_name}` and `{other_name}` disagree about `{key}` of `{target}`");
    Problem::input("config::delivery-conflict", message)
        .at(place(other), format!("`{other_name}` says so"))
        .at(place(one), format!("`{one_name}` says otherwise"))
        .help(format!("bake the groups in separate runs, or make their `{key}` equal"))
}

/// What groups of this run require and git does not give.
pub fn refusals(groups: &[Said<'_>], checkout: &Checkout<'_>) -> Vec<Problem> {
    let required = groups.iter().flat_map(|said| {
        said.group.require.iter().map(move |(requirement, place)| (said.name, *requirement, place))
    });
    required.filter_map(|(group, requirement, place)| refusal(group, requirement, place, checkout)).collect()
}

fn refusal(group: &str, requirement: Requirement, place: &Place, checkout: &Checkout<'_>) -> Option<Problem> {
    let (message, help) = unmet(requirement, checkout)?;
    let message = format!("group `{group}` requires `{}`, but {message}", requirement.name());
    Some(Problem::input("config::require", message).at(place.clone(), "required here").help(help))
}

fn unmet(requirement: Requirement, checkout: &Checkout<'_>) -> Option<(String, &'static str)> {
    let Some(git) = checkout.git else {
        let help = "build in a git checkout with at least one commit";
        return Some(("there is no git work tree".to_string(), help));
    };
    match requirement {
        Requirement::Clean if git.dirty => Some((
            "tracked files differ from the last commit".to_string(),
            "commit or stash what `git status` shows, or bake the targets without the group",
        )),
        Requirement::Tag if git.tags.is_empty() => Some((
            "no tag points at HEAD".to_string(),
            "tag the commit (`git tag v1.2.3`), or bake the targets without the group",
        )),
        Requirement::Clean | Requirement::Tag => None,
        Requirement::Branch => match (checkout.branch, checkout.default_branch) {
            (Some(branch), Some(default)) if branch == default => None,
            (_, None) => Some((
                "nothing says which branch releases come from".to_string(),
                "name it with `default-branch` in `[project]`",
            )),
            (branch, Some(default)) => {
                let branch = branch.map_or("no branch".to_string(), |branch| format!("`{branch}`"));
                let message = format!("HEAD is on {branch}, and releases come from `{default}`");
                Some((message, "bake on that branch, or bake the targets without the group"))
            }
        },
    }
}
