//! All groups and targets that files define, and how a request picks from them: groups unfolded, parents
//! inherited, overrides applied, linked targets brought along.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::entries::Export;
use super::names::matches;
use super::overrides::{Changes, apply};
use super::rebase::{context_or_default, rebase};
use super::target::{Group, Target};
use crate::config::keys;
use crate::diag::{Place, Problem, nearest};

/// Deeper chains of `inherits`, groups and links are refused.
const DEEPEST: usize = 300;
/// Steps of `inherits`, counted anew for each target.
const MOST_MERGES: usize = 50_000;

/// What the files define, in their order.
#[derive(Debug, Default)]
pub struct Definition {
    /// Of two groups with one name the first counts.
    pub groups: Vec<Group>,
    pub targets: Vec<Target>,
}

/// What a request means.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub groups: BTreeMap<String, Group>,
    pub targets: BTreeMap<String, Target>,
    /// Of `targets`, those that only others need.
    pub linked: BTreeSet<String>,
    pub warnings: Vec<Problem>,
}

type Selected<T> = Result<T, Box<Problem>>;

fn wrong<T>(message: impl Into<String>) -> Selected<T> {
    Err(Box::new(Problem::input("bake::target", message)))
}

impl Definition {
    pub fn target_names(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(|target| target.name.as_str())
    }

    /// Of two groups with one name the first counts.
    fn groups_by_name(&self) -> Groups<'_> {
        self.groups.iter().rev().map(|group| (group.name.as_str(), group)).collect()
    }

    /// The targets that `names` mean, with everything they need.
    pub fn select(&self, names: &[String], changes: &Changes) -> Selected<Selection> {
        let wanted = self.wanted(names)?;
        let groups = self.groups_by_name();
        let mut selector = Selector::new(self, changes);
        let mut selection = Selection::default();
        for name in &wanted {
            let mut unfolded = Unfolded::default();
            unfold(&groups, name, &mut unfolded, 0)?;
            for target in &unfolded.targets {
                if !selection.targets.contains_key(target) {
                    selection
                        .targets
                        .insert(target.clone(), selector.resolve(target, unfolded.asked.get(target))?);
                }
            }
            for group in unfolded.groups {
                if let Some(found) = groups.get(group.as_str()) {
                    selection.groups.insert(group, (*found).clone());
                }
            }
        }
        default_group(&wanted, &mut selection.groups);
        let requested: Vec<String> = selection.targets.keys().cloned().collect();
        for name in &requested {
            selector.link(name, &mut selection, &mut Vec::new())?;
        }
        selection.warnings = selector.warnings;
        Ok(selection)
    }

    /// Names as bake reads them: a dot is `_`, and patterns stand for all names they match.
    fn wanted(&self, names: &[String]) -> Selected<Vec<String>> {
        let default = ["default".to_string()];
        let names = if names.is_empty() { &default[..] } else { names };
        let (mut wanted, mut seen): (Vec<String>, HashSet<String>) = Default::default();
        for name in names {
            let name = name.replace('.', "_");
            let mut found = vec![name.clone()];
            if name.contains(['*', '?', '[', ']']) {
                let known = self.groups.iter().map(|group| group.name.as_str()).chain(self.target_names());
                found = known.filter(|known| matches(&name, known)).map(str::to_string).collect();
                if found.is_empty() {
                    return wrong(format!("no target or group matches `{name}`"));
                }
            }
            for name in found {
                if seen.insert(name.clone()) {
                    wanted.push(name);
                }
            }
        }
        Ok(wanted)
    }
}

type Groups<'d> = HashMap<&'d str, &'d Group>;

/// The targets of a group through inner groups; a target stands for itself.
fn unfold(groups: &Groups<'_>, name: &str, unfolded: &mut Unfolded, depth: usize) -> Selected<()> {
    if depth > DEEPEST {
        return wrong(format!("groups are nested deeper than {DEEPEST} levels"));
    }
    // A group inside of itself stands for the target of its name.
    if unfolded.open.iter().any(|open| open == name) {
        unfolded.targets.push(name.to_string());
        return Ok(());
    }
    if !unfolded.seen.insert(name.to_string()) {
        return Ok(());
    }
    let Some(group) = groups.get(name) else {
        unfolded.targets.push(name.to_string());
        return Ok(());
    };
    unfolded.groups.push(name.to_string());
    unfolded.open.push(name.to_string());
    for member in &group.targets {
        if let Some(place) = &group.members {
            unfolded.asked.entry(member.clone()).or_insert_with(|| place.clone());
        }
        unfold(groups, member, unfolded, depth + 1)?;
    }
    unfolded.open.pop();
    Ok(())
}

#[derive(Default)]
struct Unfolded {
    seen: BTreeSet<String>,
    /// Groups that are being unfolded.
    open: Vec<String>,
    targets: Vec<String>,
    groups: Vec<String>,
    /// Where groups name their members.
    asked: BTreeMap<String, Place>,
}

/// What was asked for is a group of its own.
fn default_group(wanted: &[String], groups: &mut BTreeMap<String, Group>) {
    for name in wanted {
        if name == "default" && groups.contains_key("default") {
            continue;
        }
        let group = groups
            .entry("default".to_string())
            .or_insert_with(|| Group { name: "default".to_string(), ..Group::default() });
        group.targets.push(name.clone());
    }
    if let Some(group) = groups.get_mut("default") {
        group.targets.sort();
        group.targets.dedup();
    }
}

/// Resolves targets of one request.
struct Selector<'d> {
    definition: &'d Definition,
    changes: &'d Changes,
    by_name: HashMap<&'d str, &'d Target>,
    /// Targets whose links were followed to their ends.
    linked: HashSet<String>,
    /// How often a target was laid over what it inherits.
    merges: usize,
    warnings: Vec<Problem>,
}

impl<'d> Selector<'d> {
    fn new(definition: &'d Definition, changes: &'d Changes) -> Self {
        let by_name = definition.targets.iter().map(|target| (target.name.as_str(), target)).collect();
        let linked = HashSet::new();
        Self { definition, changes, by_name, linked, merges: 0, warnings: Vec::new() }
    }

    /// A target with everything it inherits and everything a default says.
    /// `asked` is where its name stands.
    fn resolve(&mut self, name: &str, asked: Option<&Place>) -> Selected<Target> {
        let mut seen = HashMap::new();
        let inherited = self.inherit(name, asked, &mut seen, 0)?;
        let mut target = inherited.expect("the first target of a chain is not part of a circle yet");
        target.name = name.to_string();
        target.inherits.clear();
        target.context = Some(context_or_default(&target));
        if target.dockerfile.as_ref().is_none_or(String::is_empty) {
            target.dockerfile = Some("Dockerfile".to_string());
        }
        Ok(target)
    }

    /// `None` for a target that is being resolved already: bake passes over circles.
    fn inherit(
        &mut self,
        name: &str,
        asked: Option<&Place>,
        seen: &mut HashMap<String, Option<Target>>,
        depth: usize,
    ) -> Selected<Option<Target>> {
        if let Some(known) = seen.get(name) {
            return Ok(known.clone());
        }
        if depth > DEEPEST {
            return wrong(format!("`inherits` goes deeper than {DEEPEST} targets"));
        }
        seen.insert(name.to_string(), None);
        let Some(own) = self.by_name.get(name).copied() else { return self.unknown(name, asked) };
        let mut target = Target::default();
        for parent in &own.inherits {
            self.merges += 1;
            if self.merges > MOST_MERGES {
                let message = format!("the targets inherit from more than {MOST_MERGES} others in all");
                let problem = Problem::input("bake::too-much", message);
                return Err(Box::new(problem.help("put together what they say that belongs together")));
            }
            match self.inherit(parent, own.places.get("inherits"), seen, depth + 1)? {
                Some(parent) => target.merge(&parent),
                None => self.warn_of_circle(own, parent),
            }
        }
        target.merge(own);
        target.place.clone_from(&own.place);
        apply(&mut target, self.changes.of(name)).map_err(|message| {
            Box::new(Problem::input("bake::override", format!("target `{name}`: {message}")))
        })?;
        target.normalise();
        seen.insert(name.to_string(), Some(target.clone()));
        Ok(Some(target))
    }

    fn warn_of_circle(&mut self, target: &Target, parent: &str) {
        let message = format!("`{}` inherits from `{parent}`, which inherits from it", target.name);
        let mut warning =
            Problem::warning("bake::circle", message).help("bake passes over it, and so does mab");
        if let Some(place) = target.places.get("inherits") {
            warning = warning.at(place.clone(), "closes the circle");
        }
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn unknown<T>(&self, name: &str, asked: Option<&Place>) -> Selected<T> {
        let mut problem = Problem::input("bake::unknown-target", format!("there is no target `{name}`"));
        let groups = self.definition.groups.iter().map(|group| group.name.as_str());
        let known = self.definition.target_names().chain(groups);
        problem.help = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
        if problem.help.is_none() && name == "default" {
            let names = keys::quoted_list(self.definition.target_names());
            problem.help =
                Some(format!("name what to bake, or declare a group `default`; there are {names}"));
        }
        Err(Box::new(match asked {
            Some(place) => {
                let quoted = format!("\"{name}\"");
                problem.at(place.of_part(&quoted, &(0..quoted.len())), "not declared")
            }
            None => problem,
        }))
    }

    /// Brings along what a target's contexts link to, once for each target.
    fn link(&mut self, name: &str, selection: &mut Selection, path: &mut Vec<String>) -> Selected<()> {
        if self.linked.contains(name) {
            return Ok(());
        }
        path.push(name.to_string());
        if path.len() > DEEPEST {
            return wrong(format!("links go deeper than {DEEPEST} targets"));
        }
        let links: Vec<String> = selection.targets[name].links().map(str::to_string).collect();
        for link in links {
            if link == *name {
                return self.bad_link(name, selection, format!("target `{name}` links to itself"));
            }
            if path.contains(&link) {
                let message = format!("the links of `{name}` and `{link}` run in a circle");
                return self.bad_link(name, selection, message);
            }
            if !selection.targets.contains_key(&link) {
                let asked = selection.targets[name].places.get("contexts").cloned();
                let mut target = self.resolve(&link, asked.as_ref())?;
                target.outputs = Some(vec![Export::plain("cacheonly")]);
                selection.targets.insert(link.clone(), target);
                selection.linked.insert(link.clone());
            }
            self.link(&link, selection, path)?;
            self.inherit_entitlements(name, &link, selection)?;
        }
        path.pop();
        self.linked.insert(name.to_string());
        Ok(())
    }

    fn bad_link(&self, name: &str, selection: &Selection, message: String) -> Selected<()> {
        let problem = Problem::input("bake::circle", message);
        Err(Box::new(match selection.targets[name].places.get("contexts") {
            Some(place) => problem.at(place.clone(), "linked here"),
            None => problem,
        }))
    }

    fn inherit_entitlements(&self, name: &str, link: &str, selection: &mut Selection) -> Selected<()> {
        let linked = &selection.targets[link];
        let (entitlements, platforms) =
            (linked.entitlements.clone().unwrap_or_default(), linked.platforms.clone().unwrap_or_default());
        let Some(target) = selection.targets.get_mut(name) else { return Ok(()) };
        for entitlement in entitlements {
            let own = target.entitlements.get_or_insert_default();
            if !own.contains(&entitlement) {
                own.push(entitlement);
            }
        }
        let own = target.platforms.clone().unwrap_or_default();
        let is_subset = own.iter().all(|platform| platforms.contains(platform));
        if own.len() > 1 && platforms.len() > 1 && !is_subset {
            let message = format!(
                "target `{link}` is built for {}, so `{name}` cannot use it for {}",
                platforms.join(", "),
                own.join(", ")
            );
            return self.bad_link(name, selection, message);
        }
        Ok(())
    }
}

/// Targets of one name become one, the later winning; a group's members are there once.
pub fn combine(definition: Definition) -> Definition {
    let mut combined = Definition::default();
    let mut known: HashMap<String, usize> = HashMap::new();
    for target in definition.targets {
        match known.get(&target.name) {
            Some(at) => combined.targets[*at].merge(&target),
            None => {
                known.insert(target.name.clone(), combined.targets.len());
                combined.targets.push(target);
            }
        }
    }
    for mut group in definition.groups {
        let mut seen = BTreeSet::new();
        group.targets.retain(|name| seen.insert(name.clone()));
        combined.groups.push(group);
    }
    combined
}

/// Combines, and makes contexts relative to their files where that is wanted.
pub fn finish(definition: Definition, is_file_relative: bool) -> Definition {
    let mut combined = combine(definition);
    if is_file_relative {
        rebase(&mut combined);
    }
    combined
}
