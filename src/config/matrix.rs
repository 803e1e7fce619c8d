//! `matrix`: one declaration, several targets. Axes, `include` and `exclude` to combinations, each with a name.
//!
//! `include` works as in GitHub's workflows: an entry extends the combinations it agrees with on every axis it
//! names, and where there is none it is a combination of its own.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::value::Value as Member;
use toml::de::DeValue;

use super::keys::{self, Section};
use super::table::{Reader, Role, Value};
use super::target::World;
use super::text::Text;
use super::value::VarValue;
use super::var::read_value;
use crate::diag::{Located, Place, Problem};

/// More targets of one declaration are refused.
const MOST_COMBINATIONS: usize = 1024;
/// Entries of `include` and `exclude`, each of which is held against every combination.
const MOST_ENTRIES: usize = 1024;
/// Values of all combinations together, with their members.
const MOST_VALUES: usize = 100_000;

#[derive(Debug)]
pub struct MatrixDeclaration {
    place: Place,
    axes: Vec<Axis>,
    include: Vec<Located<Combination>>,
    exclude: Vec<Located<Combination>>,
    /// The name of each target; without it the declared name and the values.
    name: Option<Text>,
}

#[derive(Debug)]
struct Axis {
    name: Located<String>,
    values: AxisValues,
}

#[derive(Debug)]
enum AxisValues {
    Listed(Vec<VarValue>),
    /// `{{ … }}` that gives a list.
    Expression(Text),
}

/// A value for each axis, and what `include` adds.
pub type Combination = BTreeMap<String, VarValue>;

/// One target of a matrix.
pub struct Expansion {
    pub name: String,
    pub combination: Combination,
}

pub fn read(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<MatrixDeclaration> {
    let place = reader.place(value.span());
    let mut matrix =
        MatrixDeclaration { place, axes: Vec::new(), include: Vec::new(), exclude: Vec::new(), name: None };
    for (key, value) in reader.table("matrix", value)? {
        match key.get_ref().as_ref() {
            "axes" => matrix.axes = read_axes(reader, value),
            "include" => matrix.include = read_combinations(reader, "include", value),
            "exclude" => matrix.exclude = read_combinations(reader, "exclude", value),
            "name" => matrix.name = reader.text("name", value, Role::Template),
            _ => reader.unknown_key(Section::Matrix, key),
        }
    }
    check_exclude(reader, &matrix);
    if matrix.axes.is_empty() && matrix.include.is_empty() {
        reader.report(
            Problem::input("config::missing-key", "a matrix needs `axes`")
                .at(matrix.place.clone(), "makes no target")
                .help("write `axes = { variant = [\"…\", \"…\"] }`"),
        );
        return None;
    }
    Some(matrix)
}

fn read_axes(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Axis> {
    let mut axes = Vec::new();
    for (key, value) in reader.table("axes", value).into_iter().flatten() {
        let values = match value.get_ref() {
            DeValue::String(_) => reader.text("axes", value, Role::Template).map(AxisValues::Expression),
            _ => read_listed(reader, key.get_ref(), value).map(AxisValues::Listed),
        };
        let place = reader.place(key.span());
        if let (Some(name), Some(values)) = (reader.name("variable", key), values) {
            axes.push(Axis { name: Located::new(name, place), values });
        }
    }
    axes
}

fn read_listed(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Option<Vec<VarValue>> {
    let members = reader.list(key, value, "a list of values, or an expression that gives one")?;
    if members.is_empty() {
        let place = reader.place(value.span());
        reader.report(empty_axis(key, place));
        return None;
    }
    Some(members.into_iter().filter_map(|member| read_value(reader, key, member, 0)).collect())
}

fn empty_axis(name: &str, place: Place) -> Problem {
    Problem::input("config::empty-axis", format!("the axis `{name}` has no values"))
        .at(place, "makes no target")
        .help("leave the target out with `when` instead")
}

fn read_combinations(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Vec<Located<Combination>> {
    let members = reader.list(key, value, "a list of tables").unwrap_or_default();
    if members.len() > MOST_ENTRIES {
        let place = reader.place(value.span());
        let message = format!("`{key}` of a matrix has more than {MOST_ENTRIES} entries");
        reader.report(Problem::input("config::too-many", message).at(place, "too many"));
        return Vec::new();
    }
    let mut combinations = Vec::new();
    for member in members {
        let Some(table) = reader.table(key, member) else { continue };
        let values = table.iter().filter_map(|(name, value)| {
            Some((name.get_ref().to_string(), read_value(reader, key, value, 0)?))
        });
        let combination = values.collect();
        combinations.push(Located::new(combination, reader.place(member.span())));
    }
    combinations
}

/// A slip in `exclude` would exclude nothing, and nobody would be told.
fn check_exclude(reader: &mut Reader<'_>, matrix: &MatrixDeclaration) {
    let axes: Vec<&str> = matrix.axes.iter().map(|axis| axis.name.value.as_str()).collect();
    for excluded in &matrix.exclude {
        for name in excluded.value.keys().filter(|name| !axes.contains(&name.as_str())) {
            let help = keys::suggestion(name, axes.clone())
                .unwrap_or_else(|| format!("the axes are {}", keys::quoted_list(axes.iter().copied())));
            let mut problem =
                Problem::input("config::unknown-name", format!("the matrix has no axis `{name}`")).help(help);
            if let Some(place) = &excluded.place {
                problem = problem.at(place.clone(), "excluded here");
            }
            reader.report(problem);
        }
    }
}

impl MatrixDeclaration {
    /// Names that are not made of the target's own get the prefix of their file.
    pub fn add_prefix(&mut self, prefix: &str) {
        if let Some(name) = self.name.as_mut().filter(|name| !name.value.contains("target.name")) {
            *name = name.with_value(format!("{prefix}{}", name.value));
        }
    }

    /// The targets of the matrix of `name`, in the order of its axes; every name once.
    pub fn expand(&self, name: &str, world: &World<'_, '_>, problems: &mut Vec<Problem>) -> Vec<Expansion> {
        let Some(combinations) = self.combinations(world, problems) else { return Vec::new() };
        let mut expansions: Vec<Expansion> = Vec::new();
        let mut names = BTreeSet::new();
        for combination in combinations {
            match self.name_of(name, &combination, world) {
                Ok(name) if names.insert(name.clone()) => expansions.push(Expansion { name, combination }),
                Ok(name) => {
                    let place = self.name.as_ref().map_or_else(|| self.place.clone(), Text::place);
                    problems.push(
                        Problem::input(
                            "config::duplicate",
                            format!("two targets of the matrix are named `{name}`"),
                        )
                        .at(place, "the same for several combinations")
                        .help("let the name tell every axis apart"),
                    );
                }
                Err(problem) => problems.push(problem),
            }
        }
        expansions
    }

    fn combinations(&self, world: &World<'_, '_>, problems: &mut Vec<Problem>) -> Option<Vec<Combination>> {
        let mut combinations = vec![Combination::new()];
        for axis in &self.axes {
            let values = match axis.values(world) {
                Ok(values) => values,
                Err(problem) => {
                    problems.push(problem);
                    return None;
                }
            };
            if combinations.len().saturating_mul(values.len()) > MOST_COMBINATIONS {
                let message = format!("the matrix has more than {MOST_COMBINATIONS} combinations");
                problems.push(Problem::input("config::too-many", message).at(self.place.clone(), "here"));
                return None;
            }
            let size: usize = values.iter().map(VarValue::size).sum();
            if combinations.len().saturating_mul(size + values.len() * self.axes.len()) > MOST_VALUES {
                let message = format!("the combinations of the matrix have more than {MOST_VALUES} values");
                let place = axis.name.place.clone().unwrap_or_else(|| self.place.clone());
                problems.push(
                    Problem::input("config::too-many", message)
                        .at(place, "with those of this axis")
                        .help("combine names, and look up in a map of `[vars]` what belongs to each"),
                );
                return None;
            }
            combinations = combinations
                .iter()
                .flat_map(|combination| values.iter().map(move |value| (combination, value)))
                .map(|(combination, value)| {
                    let mut combination = combination.clone();
                    combination.insert(axis.name.value.clone(), value.clone());
                    combination
                })
                .collect();
        }
        if self.axes.is_empty() {
            combinations.clear();
        }
        combinations.retain(|combination| {
            !self.exclude.iter().any(|excluded| {
                excluded
                    .value
                    .iter()
                    .all(|(axis, value)| combination.get(axis).is_some_and(|own| agrees(own, value)))
            })
        });
        self.add_included(&mut combinations);
        Some(combinations)
    }

    fn add_included(&self, combinations: &mut Vec<Combination>) {
        let is_axis = |name: &str| self.axes.iter().any(|axis| axis.name.value == name);
        let original = combinations.len();
        for included in &self.include {
            let mut extended = false;
            for combination in &mut combinations[..original] {
                let fits = included
                    .value
                    .iter()
                    .filter(|(name, _)| is_axis(name))
                    .all(|(name, value)| combination.get(name).is_some_and(|own| agrees(own, value)));
                if fits {
                    combination.extend(
                        included
                            .value
                            .iter()
                            .filter(|(name, _)| !is_axis(name))
                            .map(|(n, v)| (n.clone(), v.clone())),
                    );
                    extended = true;
                }
            }
            if !extended {
                combinations.push(included.value.clone());
            }
        }
    }

    fn name_of(
        &self,
        declared: &str,
        combination: &Combination,
        world: &World<'_, '_>,
    ) -> Result<String, Problem> {
        let Some(template) = &self.name else { return Ok(self.default_name(declared, combination)) };
        let scope = world.scope(Some(declared), None, Some(member(combination)));
        let name = world.templates.render(template, &scope)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if !name.is_empty() && name.chars().all(is_name) {
            return Ok(name.into_owned());
        }
        Err(Problem::input("config::bad-name", format!("`{name}` cannot be the name of a target"))
            .at(template.place(), "comes out so")
            .help("names are made of letters, digits, `_` and `-`; the filter `slug` and `replace` help"))
    }

    /// The declared name and the plain values in the order of the axes, as far as a name can have them.
    fn default_name(&self, declared: &str, combination: &Combination) -> String {
        let values = self.axes.iter().filter_map(|axis| combination.get(&axis.name.value)?.as_scalar());
        let fitting = |word: String| {
            word.replace(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')), "-")
        };
        let words = std::iter::once(declared.to_string()).chain(values.map(|scalar| scalar.to_text()));
        words.map(fitting).collect::<Vec<_>>().join("-")
    }
}

impl Axis {
    fn values(&self, world: &World<'_, '_>) -> Result<Vec<VarValue>, Problem> {
        match &self.values {
            AxisValues::Listed(values) => Ok(values.clone()),
            AxisValues::Expression(text) => {
                let values = world.templates.list(text, &world.scope(None, None, None))?;
                if values.is_empty() { Err(empty_axis(&self.name.value, text.place())) } else { Ok(values) }
            }
        }
    }
}

/// A map agrees with a map that has the same members or more.
fn agrees(own: &VarValue, wanted: &VarValue) -> bool {
    match (own, wanted) {
        (VarValue::Map(own), VarValue::Map(wanted)) => {
            wanted.iter().all(|(name, value)| own.get(name).is_some_and(|own| agrees(own, value)))
        }
        (own, wanted) => own == wanted,
    }
}

/// What templates know as `matrix`.
pub fn member(combination: &Combination) -> Member {
    Member::from_pairs(combination.iter().map(|(name, value)| (name.as_str(), Member::from(value))))
}
