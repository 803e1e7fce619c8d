//! The layers of a target's values, weakest first, and how one value comes out of them.
//!
//! Built-in defaults are where values are used; then `[project]`, inherited targets in order, the target,
//! and for one platform the `on` tables in the same order. Lists and single values replace, tables merge
//! per key; `append` adds to a list, `remove` takes away what weaker layers say.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::declare::{Declarations, Layer, TargetDeclaration};
use super::delivery::Said;
use super::keys;
use super::removal::Entry;
use super::set::SetLayer;
use super::table::MOST_PROBLEMS;
use super::text::Text;
use crate::base::Platform;
use crate::diag::{Located, Problem};

/// Deeper chains of `inherits` are refused, so that hostile files cannot exhaust the stack.
const DEEPEST: usize = 64;
/// All that one target inherits from, over whatever others.
const MOST_ANCESTORS: usize = 256;

/// Layers, weakest first.
pub struct Layers<'a>(Vec<&'a Layer>);

impl<'a> Layers<'a> {
    /// What the strongest layer says about `key`.
    pub fn last<T>(&self, key: &str, field: impl Fn(&'a Layer) -> Option<T>) -> Option<T> {
        for layer in self.0.iter().rev() {
            if let Some(value) = field(layer) {
                return Some(value);
            }
            if layer.removes_all_of(key) {
                return None;
            }
        }
        None
    }

    /// The entries of the table `key` in all layers, the strongest of each name.
    pub fn merged<T>(
        &self,
        key: &str,
        field: impl Fn(&'a Layer) -> &'a BTreeMap<String, T>,
    ) -> BTreeMap<&'a str, &'a T> {
        let mut entries = BTreeMap::new();
        for layer in &self.0 {
            if layer.removes_all_of(key) {
                entries.clear();
            }
            for name in layer.removed_entries(key) {
                entries.remove(name);
            }
            entries.extend(field(layer).iter().map(|(name, value)| (name.as_str(), value)));
        }
        entries
    }

    /// The list `key`: what the strongest layer says that replaces it, and what stronger ones add. `None` when
    /// no layer says anything.
    pub fn list<T: Entry>(
        &self,
        key: &str,
        field: impl Fn(&'a Layer) -> Option<&'a Vec<T>>,
    ) -> Option<Vec<&'a T>> {
        let mut list: Option<Vec<&'a T>> = None;
        for layer in &self.0 {
            if layer.removes_all_of(key) {
                list = None;
            }
            if let Some(list) = &mut list {
                drop_named(list, layer.removed_entries(key).map(Cow::Borrowed).collect());
            }
            if let Some(entries) = field(layer) {
                list = Some(entries.iter().collect());
            }
            if let Some(added) = layer.append.as_deref().and_then(&field) {
                let list = list.get_or_insert_default();
                if T::REPLACES {
                    drop_named(list, added.iter().map(Entry::name).collect());
                }
                list.extend(added);
            }
        }
        list
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a Layer> {
        self.0.iter().copied()
    }

    /// The layers that are weaker than `layer`.
    pub fn below(&self, layer: &Layer) -> Self {
        let below = self.0.iter().copied().take_while(|known| !std::ptr::eq(*known, layer));
        Self(below.collect())
    }
}

fn drop_named<T: Entry>(list: &mut Vec<&T>, names: HashSet<Cow<'_, str>>) {
    if !names.is_empty() {
        list.retain(|entry| !names.contains(&entry.name()));
    }
}

/// A target with everything it inherits, weakest first, itself last.
pub type Lineage<'a> = Arc<Vec<&'a TargetDeclaration>>;

/// What a run says about a target, stronger than the file's own layers.
#[derive(Clone, Copy, Default)]
pub struct OfRun<'a> {
    /// The groups that are baked.
    pub groups: &'a [Said<'a>],
    pub set: Option<&'a SetLayer>,
}

impl<'a> OfRun<'a> {
    fn layers(self) -> impl Iterator<Item = &'a Layer> {
        let groups = self.groups.iter().map(|said| &said.group.layer);
        groups.chain(self.set.map(|set| &set.layer))
    }
}

/// The layers of all platforms.
pub fn common<'a>(declared: &'a Declarations, lineage: &Lineage<'a>, run: OfRun<'a>) -> Layers<'a> {
    Layers(of_file(declared, lineage).chain(run.layers()).collect())
}

/// The layers of one platform: those of the target, then every `on` table for the platform, then the run's. An
/// inherited `on` table is stronger than the target's own plain keys, as it says more about the platform.
pub fn of_platform<'a>(
    declared: &'a Declarations,
    lineage: &Lineage<'a>,
    run: OfRun<'a>,
    platform: &Platform,
) -> Layers<'a> {
    let on = lineage.iter().flat_map(|target| &target.on);
    let set = run.set.into_iter().flat_map(|set| &set.on);
    let of = |tables: &mut dyn Iterator<Item = &'a (Located<Platform>, Layer)>| -> Vec<&'a Layer> {
        tables.filter(|(name, _)| name.value == *platform).map(|(_, layer)| layer).collect()
    };
    let (mut on, mut set) = (on, set);
    let (on, set) = (of(&mut on), of(&mut set));
    Layers(of_file(declared, lineage).chain(on).chain(run.layers()).chain(set).collect())
}

fn of_file<'a>(declared: &'a Declarations, lineage: &Lineage<'a>) -> impl Iterator<Item = &'a Layer> {
    let targets: Vec<&'a Layer> = lineage.iter().map(|target| &target.layer).collect();
    std::iter::once(&declared.project.layer).chain(targets)
}

/// Follows `inherits`, each target once per run.
pub struct Ancestry<'a> {
    declared: &'a Declarations,
    known: HashMap<&'a str, State<'a>>,
}

enum State<'a> {
    Open,
    /// `None` when the target takes part in a cycle or is too deep.
    Done(Option<Lineage<'a>>),
}

impl<'a> Ancestry<'a> {
    pub fn new(declared: &'a Declarations) -> Self {
        Self { declared, known: HashMap::new() }
    }

    /// The lineage of `name`, a declared target; what is wrong with it is reported once.
    pub fn lineage(&mut self, name: &'a str, problems: &mut Vec<Problem>) -> Option<Lineage<'a>> {
        self.visit(name, &mut Vec::new(), problems)
    }

    fn visit(
        &mut self,
        name: &'a str,
        path: &mut Vec<&'a str>,
        problems: &mut Vec<Problem>,
    ) -> Option<Lineage<'a>> {
        if let Some(State::Done(lineage)) = self.known.get(name) {
            return lineage.clone();
        }
        let target = self.declared.targets.get(name)?;
        self.known.insert(name, State::Open);
        path.push(name);
        let lineage = self.collect(target, path, problems);
        path.pop();
        self.known.insert(name, State::Done(lineage.clone()));
        lineage
    }

    fn collect(
        &mut self,
        target: &'a TargetDeclaration,
        path: &mut Vec<&'a str>,
        problems: &mut Vec<Problem>,
    ) -> Option<Lineage<'a>> {
        let mut sound = true;
        let mut collected: Vec<&'a TargetDeclaration> = Vec::new();
        for parent in &target.inherits {
            if problems.len() >= MOST_PROBLEMS {
                return None;
            }
            let name = parent.value.as_str();
            if matches!(self.known.get(name), Some(State::Open)) {
                let start = path.iter().position(|step| *step == name).unwrap_or(0);
                let chain: Vec<&str> = path[start..].iter().copied().chain([name]).collect();
                problems.push(self.circle(&chain));
                sound = false;
            } else if !self.declared.targets.contains_key(name) {
                let help = keys::suggestion(
                    name,
                    self.declared.targets.keys().map(String::as_str).collect::<Vec<_>>(),
                );
                let mut problem =
                    Problem::input("config::unknown-name", format!("there is no target `{name}`"))
                        .at(parent.place(), "not a target");
                problem.help = help;
                problems.push(problem);
            } else if path.len() >= DEEPEST {
                problems.push(
                    Problem::input(
                        "config::too-deep",
                        format!("`inherits` goes deeper than {DEEPEST} targets"),
                    )
                    .at(parent.place(), "here"),
                );
                sound = false;
            } else {
                match self.visit(name, path, problems) {
                    Some(lineage) => collected.extend(lineage.iter()),
                    None => sound = false,
                }
                if collected.len() > MOST_ANCESTORS {
                    collected = without_repeats(collected);
                }
                if collected.len() > MOST_ANCESTORS {
                    problems.push(too_many_ancestors(parent, path.last().copied().unwrap_or_default()));
                    return None;
                }
            }
        }
        collected.push(target);
        sound.then(|| Arc::new(without_repeats(collected)))
    }
}

impl Ancestry<'_> {
    /// `chain` ends where it begins.
    fn circle(&self, chain: &[&str]) -> Problem {
        let message = format!("`inherits` runs in a circle: {}", chain.join(" → "));
        let problem = Problem::input("config::cycle", message).help("remove one of these from `inherits`");
        chain.windows(2).fold(problem, |problem, pair| {
            let inherits = self.declared.targets[pair[0]].inherits.iter().find(|text| text.value == pair[1]);
            match inherits {
                Some(text) => problem.at(text.place(), format!("`{}` inherits from `{}`", pair[0], pair[1])),
                None => problem,
            }
        })
    }
}

fn too_many_ancestors(parent: &Text, name: &str) -> Problem {
    let message = format!("`{name}` inherits from more than {MOST_ANCESTORS} targets");
    Problem::input("config::too-many", message)
        .at(parent.place(), "with this one")
        .help("put together what they say that belongs together")
}

/// Keeps the last of each: an earlier one cannot win over it, so it changes nothing.
fn without_repeats(targets: Vec<&TargetDeclaration>) -> Vec<&TargetDeclaration> {
    let mut seen = HashSet::new();
    let mut kept: Vec<_> =
        targets.into_iter().rev().filter(|target| seen.insert(std::ptr::from_ref(*target))).collect();
    kept.reverse();
    kept
}
