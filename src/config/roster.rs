//! Which targets a run has: the declared ones, those of each matrix, and not those whose `when` is false.

use std::collections::BTreeMap;

use minijinja::value::Value;

use super::declare::{TargetDeclaration, is_template};
use super::keys;
use super::layers::{self, Ancestry, Lineage, OfRun};
use super::matrix;
use super::target::World;
use super::text::Text;
use crate::diag::{Place, Problem};
use crate::model::TargetPattern;

/// A project of more targets is refused.
const MOST_TARGETS: usize = 20_000;

/// How many targets a pattern looks at in the time that one value takes.
const LOOKS: usize = 64;

/// The targets of a run, and what has become of the other names.
#[derive(Default)]
pub struct Roster<'a> {
    pub members: BTreeMap<String, Member<'a>>,
    /// The targets of each matrix, by its declared name: a group.
    pub matrices: BTreeMap<&'a str, Vec<String>>,
    /// Where the `when` of each target stands that is left out.
    pub left_out: BTreeMap<String, Place>,
    /// There were too many, so that names are missing.
    pub is_cut: bool,
}

/// One target to be resolved.
pub struct Member<'a> {
    pub name: String,
    pub declaration: &'a TargetDeclaration,
    pub lineage: Lineage<'a>,
    /// What templates know as `matrix`.
    pub matrix: Option<Value>,
}

/// Goes through all declared targets.
pub fn call<'a>(
    world: &World<'a, '_>,
    ancestry: &mut Ancestry<'a>,
    problems: &mut Vec<Problem>,
) -> Roster<'a> {
    let mut roster = Roster::default();
    for (name, declaration) in &world.declared.targets {
        if roster.members.len() > MOST_TARGETS {
            let message = format!("there are more than {MOST_TARGETS} targets");
            problems.push(
                Problem::input("config::too-many", message)
                    .at(declaration.place.clone(), "one of them")
                    .help("split the project; a matrix is as many targets as it has combinations"),
            );
            roster.is_cut = true;
            return roster;
        }
        let lineage = ancestry.lineage(name, problems);
        if is_template(name) {
            problems.extend(declaration.matrix.is_some().then(|| matrix_of_template(name, declaration)));
            continue;
        }
        let Some(lineage) = lineage else { continue };
        let Some(declared) = &declaration.matrix else {
            roster.enter(world, name.clone(), declaration, lineage, None, problems);
            continue;
        };
        let mut names = Vec::new();
        for expansion in declared.expand(name, world, problems) {
            let value = matrix::member(&expansion.combination);
            names.push(expansion.name.clone());
            roster.enter(world, expansion.name, declaration, lineage.clone(), Some(value), problems);
        }
        roster.matrices.insert(name, names);
    }
    roster.check_names(world, problems);
    roster
}

impl<'a> Roster<'a> {
    fn enter(
        &mut self,
        world: &World<'a, '_>,
        name: String,
        declaration: &'a TargetDeclaration,
        lineage: Lineage<'a>,
        matrix: Option<Value>,
        problems: &mut Vec<Problem>,
    ) {
        let when = layers::common(world.declared, &lineage, OfRun::default())
            .last("when", |layer| layer.when.as_ref());
        let holds = |when| world.templates.holds(when, &world.scope(Some(&name), None, matrix.clone()));
        match when.map(holds).transpose() {
            Ok(Some(false)) => {
                let place = when.map_or_else(|| declaration.place.clone(), Text::place);
                self.left_out.insert(name, place);
            }
            Ok(Some(true) | None) => {
                self.members.insert(name.clone(), Member { name, declaration, lineage, matrix });
            }
            Err(problem) => problems.push(problem),
        }
    }

    /// The targets of a matrix share one space of names with everything else.
    fn check_names(&self, world: &World<'a, '_>, problems: &mut Vec<Problem>) {
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        for (owner, names) in &self.matrices {
            for name in names {
                let declared = &world.declared;
                let other = declared.targets.get(name).map(|target| &target.place);
                let other = other.or_else(|| declared.groups.get(name).map(|group| &group.place));
                let other = other.or_else(|| {
                    let other = owners.insert(name, owner)?;
                    Some(&declared.targets[other].place)
                });
                if let Some(other) = other {
                    problems.push(
                        Problem::input("config::duplicate", format!("the matrix makes a second `{name}`"))
                            .at(declared.targets[*owner].place.clone(), "of this matrix")
                            .at(other.clone(), "has the name already")
                            .help("rename one of them"),
                    );
                }
            }
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The targets that a pattern in a group means. Labels that cannot be rendered are reported with their target.
    pub fn matching(&self, world: &World<'a, '_>, pattern: &TargetPattern) -> Vec<&str> {
        // Each pattern looks at every target; a look costs a fraction of a value.
        if !world.templates.budget().has_values(1 + self.members.len() / LOOKS) {
            return Vec::new();
        }
        let none = BTreeMap::new();
        let matches = |member: &&Member<'a>| match pattern.asks_for_labels() {
            true => pattern.matches(&member.name, &labels_of(world, member)),
            false => pattern.matches(&member.name, &none),
        };
        let found = self.members.values().filter(matches).map(|member| member.name.as_str());
        let found: Vec<&str> = found.collect();
        if world.templates.budget().has_values(found.len()) { found } else { Vec::new() }
    }

    /// Why `name`, which stands in `text`, is no target of this run.
    pub fn not_a_target(&self, world: &World<'_, '_>, name: &str, text: &Text) -> Problem {
        if let Some(when) = self.left_out.get(name) {
            return Problem::input("config::left-out", format!("target `{name}` is left out of this run"))
                .at(text.place(), "needed here")
                .at(when.clone(), "does not hold")
                .help("give what needs it the same `when`");
        }
        if world.declared.targets.contains_key(name) && is_template(name) {
            let message = format!("`{name}` is a template and is never built");
            return Problem::input("config::template-target", message).at(text.place(), "a template");
        }
        if self.matrices.contains_key(name) {
            let message = format!("`{name}` is a matrix of several targets, not a target");
            return Problem::input("config::unknown-name", message).at(text.place(), "a matrix").help(
                format!(
                    "its targets are {}",
                    keys::quoted_list(self.matrices[name].iter().map(String::as_str))
                ),
            );
        }
        if world.declared.groups.contains_key(name) {
            return Problem::input("config::unknown-name", format!("`{name}` is a group, not a target"))
                .at(text.place(), "a group")
                .help("name its targets one by one");
        }
        super::groups::unknown("target", name, text, self.names().collect())
    }
}

/// What the file says; neither groups nor `--set` are known yet.
fn labels_of(world: &World<'_, '_>, member: &Member<'_>) -> BTreeMap<String, String> {
    let layers = layers::common(world.declared, &member.lineage, OfRun::default());
    let scope = world.scope(Some(&member.name), None, member.matrix.clone());
    let labels = layers.merged("labels", |layer| &layer.labels).into_iter();
    let render = |text| world.templates.render(text, &scope).ok();
    labels.filter_map(|(key, text)| Some((key.to_string(), render(text)?.into_owned()))).collect()
}

fn matrix_of_template(name: &str, declaration: &TargetDeclaration) -> Problem {
    Problem::input(
        "config::template-matrix",
        format!("`{name}` is a template, and a matrix is not inherited"),
    )
    .at(declaration.place.clone(), "has a matrix")
    .help("give the matrix to the targets that inherit from it")
}
