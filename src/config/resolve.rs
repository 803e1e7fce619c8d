//! Declarations, facts and overrides to the model; every problem of the run in one list.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::PoisonError;

use minijinja::value::Value;
use rayon::prelude::*;

use super::budget::Budget;
use super::declare::Declarations;
use super::delivery::{self, Said};
use super::entries;
use super::filters::{self, Asked};
use super::groups;
use super::layers::{Ancestry, OfRun};
use super::load::Loaded;
use super::platforms::{PlatformName, PlatformSets};
use super::roster::{self, Member, Roster};
use super::set::{self, Sets};
use super::table::MOST_PROBLEMS;
use super::target::{self, KnownRules, Occasions, World};
use super::template::Templates;
use super::text::Text;
use super::vars;
use crate::diag::{Place, Problem, Severity};
use crate::facts::{Checkout, CiFacts, Facts, GitFacts};
use crate::model::{Cache, Project, Target};

/// What the command line says about this run.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--var NAME=VALUE`
    pub vars: BTreeMap<String, String>,
    /// `--set PATTERN.KEY=VALUE`
    pub sets: Vec<String>,
    /// The targets and groups that are asked for: groups say something about their members.
    pub names: Vec<String>,
    /// `--platform`: of its platforms, every target keeps these; empty means all.
    pub platforms: Vec<PlatformName>,
}

/// The model and the warnings; or every problem, warnings among them.
pub fn resolve(
    loaded: &Loaded,
    facts: &Facts,
    overrides: &Overrides,
) -> Result<(Project, Vec<Problem>), Vec<Problem>> {
    let mut problems = loaded.problems.clone();
    if problems.len() >= MOST_PROBLEMS {
        problems.push(too_many_problems());
        return Err(in_order(problems));
    }
    // With a file missing every name in it would be reported as unknown.
    let is_cut = |problem: &Problem| problem.code == "config::too-many";
    if loaded.incomplete || problems.iter().any(is_cut) {
        return Err(in_order(problems));
    }
    let project = prepare(loaded, facts, overrides, &mut problems, |run, problems| {
        project(loaded, facts, run, problems)
    });
    let problems = at_most(in_order(problems));
    if problems.iter().any(Problem::is_error) { Err(problems) } else { Ok((project, problems)) }
}

fn too_many_problems() -> Problem {
    Problem::input("config::too-many", format!("there are more than {MOST_PROBLEMS} problems"))
        .help("put these right first; the others are told then")
}

/// No more problems than anybody reads.
fn at_most(mut problems: Vec<Problem>) -> Vec<Problem> {
    if problems.len() >= MOST_PROBLEMS {
        problems.truncate(MOST_PROBLEMS);
        problems.push(too_many_problems());
    }
    problems
}

/// A run in which everything is looked up that targets are made of.
pub struct Run<'w, 'e> {
    pub world: &'w World<'w, 'e>,
    pub roster: &'w Roster<'w>,
    pub sets: &'w Sets,
    /// The groups that are baked.
    pub of_run: &'w [Said<'w>],
    pub by_target: &'w BTreeMap<String, Vec<Said<'w>>>,
    overrides: &'w Overrides,
    /// What templates have taken from the environment so far.
    asked: &'w Asked,
}

/// Looks everything up and hands it to `work`.
pub fn prepare<R>(
    loaded: &Loaded,
    facts: &Facts,
    overrides: &Overrides,
    problems: &mut Vec<Problem>,
    work: impl FnOnce(&Run<'_, '_>, &mut Vec<Problem>) -> R,
) -> R {
    let declared = &loaded.declared;
    let vars = vars::resolve(&declared.vars, &overrides.vars, &facts.environment, problems);
    let asked = Asked::default();
    let budget = Budget::default();
    let environment = filters::environment(&facts.environment, &budget, asked.clone());
    let name = project_name(loaded);
    let mut shared = vec![
        ("vars", Value::from_pairs(vars.values.iter().map(|(name, value)| (name.as_str(), value)))),
        ("project", project_member(&name, declared, facts)),
    ];
    shared.push(("ci", ci_member(facts.ci.as_ref())));
    shared.extend(facts.git.as_ref().map(|git| ("git", git_member(git))));
    let templates = Templates::new(&environment, vars.unset, budget);
    let platform_sets = PlatformSets::resolve(&declared.platform_sets, problems);
    let wanted = platform_sets.wanted(&overrides.platforms, problems);
    let world = World {
        declared,
        templates,
        shared: shared.into(),
        host: &facts.host,
        platform_sets,
        occasions: Occasions::new(
            facts,
            declared.project.default_branch.as_ref().map(|text| text.value.as_str()),
        ),
        rules: KnownRules::default(),
        secrets: vars.secrets,
        wanted,
        platforms: Default::default(),
    };

    check_names(declared, problems);
    check_validations(&world, problems);
    let mut ancestry = Ancestry::new(declared);
    let mut roster = roster::call(&world, &mut ancestry, problems);
    let directory = &facts.directories.current;
    let sets = set::read(&overrides.sets, &world, &roster, &facts.environment, directory, problems);
    let of_run = delivery::groups_of_run(declared, &overrides.names);
    let by_target = delivery::by_target(&world, &roster, &of_run);
    delivery::check_agreement(&by_target, world.templates.budget(), problems);
    check_other_groups(&world, &roster, &of_run, problems);
    check_wanted(&world, &mut ancestry, &sets, problems);
    if world.templates.budget().is_out_of_values() {
        roster.is_cut = true;
        problems.push(groups::too_many_members(declared));
    }
    let run = Run {
        world: &world,
        roster: &roster,
        sets: &sets,
        of_run: &of_run,
        by_target: &by_target,
        overrides,
        asked: &asked,
    };
    work(&run, problems)
}

fn project(loaded: &Loaded, facts: &Facts, run: &Run<'_, '_>, problems: &mut Vec<Problem>) -> Project {
    let declared = &loaded.declared;
    let targets = if run.roster.is_cut { BTreeMap::new() } else { targets(run, problems) };
    let default_branch = declared.project.default_branch.as_ref().map(|text| text.value.as_str());
    let groups = match run.roster.is_cut {
        true => BTreeMap::new(),
        false => groups::resolve(run.world, run.roster, run.of_run, problems),
    };
    Project {
        name: project_name(loaded),
        root: loaded.root.clone(),
        default_branch: default_branch.map(str::to_string),
        targets,
        groups,
        caches: resolve_caches(run.world, problems),
        builders: declared.builders.clone(),
        left_out: run.roster.left_out.clone(),
        environment: asked_environment(declared, run.overrides, facts, run.asked),
        refusals: Vec::new(),
        unmet: delivery::refusals(run.of_run, &Checkout::new(facts, default_branch)),
        lint: declared.lint.clone(),
    }
}

/// How many targets are resolved at a time, on all cores.
const AT_A_TIME: usize = 128;

/// All targets, with their problems in the order of the targets.
fn targets(run: &Run<'_, '_>, problems: &mut Vec<Problem>) -> BTreeMap<String, Target> {
    let budget = run.world.templates.budget();
    let members: Vec<&Member<'_>> = run.roster.members.values().collect();
    let mut targets = BTreeMap::new();
    for some in members.chunks(AT_A_TIME) {
        let before = budget.mark();
        let mut resolved: Vec<Resolved> = match budget.is_spent() {
            false => some.par_iter().map(|member| target(run, member)).collect(),
            true => Vec::new(),
        };
        // Who is refused what is left depends on the order: the order is that of the targets.
        if budget.is_spent() {
            resolved.clear();
            budget.return_to(before);
            resolved = some.iter().map(|member| target(run, member)).collect();
        }
        for (target, found) in resolved {
            if problems.len() >= MOST_PROBLEMS {
                return targets;
            }
            problems.extend(found);
            targets.insert(target.name.clone(), target);
        }
        if budget.is_out_of_values() {
            break;
        }
    }
    targets
}

type Resolved = (Target, Vec<Problem>);

fn target(run: &Run<'_, '_>, member: &Member<'_>) -> Resolved {
    let groups = run.by_target.get(&member.name).map(Vec::as_slice).unwrap_or_default();
    let of_run = OfRun { groups, set: run.sets.of(&member.name) };
    let mut problems = Vec::new();
    (target::resolve(run.world, run.roster, member, of_run, &mut problems), problems)
}

/// `validate` of every variable that has a value: other variables may be part of the condition.
fn check_validations(world: &World<'_, '_>, problems: &mut Vec<Problem>) {
    let scope = world.scope(None, None, None);
    for (name, var) in &world.declared.vars {
        if world.templates.is_unset(name) {
            continue;
        }
        for validation in &var.validations {
            match world.templates.holds(&validation.condition, &scope) {
                Ok(true) => {}
                Ok(false) => {
                    let message = validation.message.clone();
                    let message =
                        message.unwrap_or_else(|| format!("variable `{name}` has a value it must not have"));
                    problems.push(
                        Problem::input("config::var-value", message)
                            .at(validation.condition.place(), format!("does not hold for `{name}`")),
                    );
                }
                Err(problem) => problems.push(problem),
            }
        }
    }
}

/// What groups say that are not baked in this run, tried with one of their members: their problems are there
/// all the same.
fn check_other_groups<'a>(
    world: &World<'a, '_>,
    roster: &Roster<'a>,
    of_run: &[Said<'a>],
    problems: &mut Vec<Problem>,
) {
    let baked: HashSet<&str> = of_run.iter().map(|said| said.name).collect();
    for (name, group) in &world.declared.groups {
        if baked.contains(name.as_str()) {
            continue;
        }
        if problems.len() >= MOST_PROBLEMS || world.templates.budget().is_spent() {
            return;
        }
        let groups = [Said { name, group }];
        let members = delivery::by_target(world, roster, &groups);
        let first = members.keys().find_map(|target| roster.members.get(target));
        if let Some(member) = first {
            target::resolve(world, roster, member, OfRun { groups: &groups, set: None }, problems);
        }
    }
}

/// What the file has taken from the environment: by `env()`, and for variables that name one of their own.
fn asked_environment(
    declared: &Declarations,
    overrides: &Overrides,
    facts: &Facts,
    asked: &Asked,
) -> BTreeMap<String, Option<Place>> {
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found: BTreeMap<String, Option<Place>> =
        asked.iter().map(|name| (name.clone(), place_of_call(declared, name))).collect();
    for (name, var) in &declared.vars {
        let is_given = overrides.vars.contains_key(name)
            || facts.environment.contains_key(&format!("{}{name}", vars::PREFIX));
        let own = var.env.as_ref().filter(|env| !is_given && facts.environment.contains_key(&env.value));
        found.extend(own.map(|env| (env.value.clone(), Some(env.place()))));
    }
    found
}

/// Where `env("NAME")` stands in the files of the targets.
fn place_of_call(declared: &Declarations, name: &str) -> Option<Place> {
    let calls = [format!("env(\"{name}\""), format!("env('{name}'"), format!("env(\\\"{name}\\\"")];
    let mut sources = declared.targets.values().map(|target| &target.file.source);
    sources.find_map(|source| {
        let call = calls.iter().find_map(|call| Some((source.text.find(call)?, call.len())));
        call.map(|(at, length)| Place::new(source, at..at + length))
    })
}

fn project_name(loaded: &Loaded) -> String {
    match &loaded.declared.project.name {
        Some(name) => name.value.clone(),
        None => loaded.root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
    }
}

/// The default branch is what the file says, else CI, else git.
fn project_member(name: &str, declared: &Declarations, facts: &Facts) -> Value {
    let of_file = declared.project.default_branch.as_ref().map(|text| text.value.as_str());
    let default_branch = Checkout::new(facts, of_file).default_branch;
    let members = [("name", Some(name)), ("default_branch", default_branch)];
    Value::from_pairs(members.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

/// `ci.running` is there everywhere, the rest as far as the CI system says it.
fn ci_member(ci: Option<&CiFacts>) -> Value {
    let Some(ci) = ci else { return Value::from_pairs([("running", Value::from(false))]) };
    let text = |text: &Option<String>| text.as_deref().map(Value::from);
    let members = [
        ("running", Some(Value::from(true))),
        ("system", Some(Value::from(ci.system))),
        ("event", Some(Value::from(ci.event.name()))),
        ("event_name", text(&ci.event_name)),
        ("ref", text(&ci.reference)),
        ("branch", text(&ci.branch)),
        ("tag", text(&ci.tag)),
        ("sha", text(&ci.sha)),
        ("pull_request", text(&ci.pull_request)),
        ("base_branch", text(&ci.base_branch)),
        ("default_branch", text(&ci.default_branch)),
        ("repository", text(&ci.repository)),
        ("repository_url", text(&ci.repository_url)),
        ("run_url", text(&ci.run_url)),
    ];
    Value::from_pairs(members.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

fn git_member(git: &GitFacts) -> Value {
    let text = |text: &str| Some(Value::from(text));
    let members = [
        ("sha", text(&git.sha)),
        ("short_sha", text(&git.sha[..git.sha.len().min(7)])),
        ("branch", git.branch.as_deref().and_then(text)),
        ("tag", git.tags.last().map(String::as_str).and_then(text)),
        ("tags", Some(git.tags.iter().map(String::as_str).collect())),
        ("describe", git.describe.as_deref().and_then(text)),
        ("remote", git.remote.as_deref().and_then(text)),
        ("default_branch", git.default_branch.as_deref().and_then(text)),
        ("dirty", Some(Value::from(git.dirty))),
        ("commit_date", text(&git.commit_date.to_string())),
        ("commit_time", Some(Value::from(git.commit_date.as_second()))),
    ];
    Value::from_pairs(members.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

fn check_names(declared: &Declarations, problems: &mut Vec<Problem>) {
    for (name, group) in &declared.groups {
        if let Some(target) = declared.targets.get(name) {
            problems.push(
                Problem::input("config::duplicate", format!("`{name}` is a target and a group"))
                    .at(group.place.clone(), "a group here")
                    .at(target.place.clone(), "a target here")
                    .help("rename one of them"),
            );
        }
    }
}

/// `[cache.NAME]`
fn resolve_caches(world: &World<'_, '_>, problems: &mut Vec<Problem>) -> BTreeMap<String, Cache> {
    let scope = world.scope(None, None, None);
    let render = |text: &Text| world.templates.render(text, &scope).map(Cow::into_owned);
    let mut caches = BTreeMap::new();
    for (name, declared) in &world.declared.caches {
        match entries::cache::named(name, &declared.place, &declared.entry, declared.trust, render) {
            Ok(cache) => caches.extend(cache.map(|cache| (name.clone(), cache))),
            Err(found) => problems.extend(found),
        }
    }
    caches
}

/// A platform that no target has is a slip; one that only some have narrows those.
fn check_wanted<'a>(
    world: &World<'a, '_>,
    ancestry: &mut Ancestry<'a>,
    sets: &Sets,
    problems: &mut Vec<Problem>,
) {
    if world.wanted.is_empty() {
        return;
    }
    let mut known = BTreeSet::new();
    for layer in sets.layers().flat_map(|layer| [Some(layer), layer.append.as_deref()]).flatten() {
        known.extend(layer.platforms.iter().flatten().flat_map(|entry| world.platforms_of(entry)));
    }
    for name in groups::buildable(world.declared) {
        let Some(lineage) = ancestry.lineage(name, &mut Vec::new()) else { continue };
        let layers = super::layers::common(world.declared, &lineage, OfRun::default());
        match layers.list("platforms", |layer| layer.platforms.as_ref()) {
            Some(entries) => known.extend(entries.into_iter().flat_map(|entry| world.platforms_of(entry))),
            None => {
                known.insert(world.host.clone());
            }
        }
    }
    for platform in world.wanted.iter().filter(|platform| !known.contains(platform)) {
        let names: Vec<String> = known.iter().map(|platform| platform.to_string()).collect();
        problems.push(
            Problem::input("config::unknown-platform", format!("no target is built for `{platform}`"))
                .help(format!("`--platform` chooses from {}", names.join(", "))),
        );
    }
}

/// Sorted by place, each once: a template that many targets inherit is wrong only once.
fn in_order(problems: Vec<Problem>) -> Vec<Problem> {
    let mut seen = BTreeSet::new();
    let mut kept: Vec<(Key, Problem)> = Vec::new();
    for problem in problems {
        let key = key(&problem);
        if seen.insert(key.clone()) {
            kept.push((key, problem));
        }
    }
    kept.sort_by(|(a, _), (b, _)| a.cmp(b));
    kept.into_iter().map(|(_, problem)| problem).collect()
}

type Key = (String, usize, &'static str, String, Severity);

fn key(problem: &Problem) -> Key {
    let place = problem.labels.first().map(|label| &label.place);
    let name = place.map(|place| place.source.name.clone()).unwrap_or_default();
    let start = place.map(|place| place.span.start).unwrap_or_default();
    (name, start, problem.code, problem.message.clone(), problem.severity)
}
