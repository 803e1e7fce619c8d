//! What a Dockerfile lets the builder of one stage decide: arguments with their values, secrets, SSH agents and
//! caches, as far as the stage needs them.
//!
//! As in BuildKit's frontend: an argument from before the first FROM counts when a FROM or a stage asks for it, with
//! the place where its default stands; arguments of the platform do not count.

use std::collections::{BTreeMap, BTreeSet};

use super::instructions::clean;
use super::lower::{BaseImages, Lowerer};
use super::scope::Scope;
use super::setting::Setting;
use crate::diag::{Place, Problem};
use crate::dockerfile::{ArgDeclaration, InstructionKind, MountSpec, Run, Stage, StageSource, expand_word};

/// What is asked of whoever builds a stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outline {
    pub stage: Option<String>,
    pub description: Option<String>,
    pub args: Vec<OutlineArg>,
    pub secrets: Vec<OutlineMount>,
    pub ssh: Vec<OutlineMount>,
    pub caches: Vec<OutlineMount>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OutlineArg {
    pub name: String,
    /// The given one, or the default.
    pub value: Option<String>,
    pub description: Option<String>,
    pub place: Place,
}

/// A secret, an agent or a cache by its id.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlineMount {
    pub id: String,
    pub is_required: bool,
    pub place: Place,
}

/// The outline of the stage that `setting` is about.
pub fn outline(setting: &Setting<'_>) -> Result<Outline, Vec<Problem>> {
    let none = BaseImages::new();
    let lowerer = Lowerer::new(setting, &none)?;
    let wanted = lowerer.wanted_stage().map_err(|problem| vec![*problem])?;
    let globals = global_args(setting, &lowerer);
    let mut found: BTreeMap<usize, Found> = BTreeMap::new();
    for index in lowerer.graph.reachable(wanted) {
        let one = Found::of(setting, &lowerer, index, &globals, &found);
        found.insert(index, one);
    }
    let stage = &setting.dockerfile.stages[wanted];
    let mut outline =
        Outline { stage: stage.name.clone(), description: stage.description.clone(), ..Outline::default() };
    gather(&lowerer, wanted, &found, &mut BTreeSet::new(), &mut outline);
    outline.args.sort_by_key(|arg| arg.place.span.start);
    for mounts in [&mut outline.secrets, &mut outline.ssh, &mut outline.caches] {
        mounts.sort_by_key(|mount| mount.place.span.start);
    }
    Ok(outline)
}

/// An argument from before the first FROM, and the others that its default asks for.
struct Global {
    arg: OutlineArg,
    asks: BTreeSet<String>,
}

fn global_args(setting: &Setting<'_>, lowerer: &Lowerer<'_>) -> BTreeMap<String, Global> {
    let mut globals = BTreeMap::new();
    for instruction in &setting.dockerfile.global_args {
        let InstructionKind::Arg(arg) = &instruction.kind else { continue };
        for declared in &arg.declarations {
            let default = declared.default.as_ref().filter(|_| !setting.args.contains_key(&declared.name));
            let asks = default.map(|word| asked(setting, word)).unwrap_or_default();
            let arg = OutlineArg {
                name: declared.name.clone(),
                value: lowerer.globals.get(&declared.name),
                description: declared.description.clone(),
                place: instruction.place.clone(),
            };
            globals.insert(declared.name.clone(), Global { arg, asks });
        }
    }
    globals
}

/// The names of variables that a word asks for.
fn asked(setting: &Setting<'_>, word: &str) -> BTreeSet<String> {
    let expansion = expand_word(word, setting.dockerfile.directives.escape, &|_| None);
    expansion
        .map(|expansion| expansion.used.into_iter().chain(expansion.undefined).collect())
        .unwrap_or_default()
}

/// What one stage asks for by itself.
#[derive(Default)]
struct Found {
    args: BTreeMap<String, OutlineArg>,
    secrets: Vec<OutlineMount>,
    ssh: Vec<OutlineMount>,
    caches: Vec<OutlineMount>,
    scope: Scope,
}

impl Found {
    fn of(
        setting: &Setting<'_>,
        lowerer: &Lowerer<'_>,
        index: usize,
        globals: &BTreeMap<String, Global>,
        known: &BTreeMap<usize, Found>,
    ) -> Self {
        let graph = &lowerer.graph.stages()[index];
        let mut found = Self::default();
        if graph.replaced {
            return found;
        }
        if let StageSource::Stage(base) = graph.base {
            found.scope = known.get(&base).map(|base| base.scope.clone()).unwrap_or_default();
        }
        let stage: &Stage = &setting.dockerfile.stages[index];
        let words = std::iter::once(&stage.from.image).chain(&stage.from.platform);
        for name in words.flat_map(|word| asked(setting, &word.value)) {
            found.take_global(&name, globals);
        }
        for instruction in &stage.instructions {
            match &instruction.kind {
                InstructionKind::Arg(arg) => {
                    for declared in &arg.declarations {
                        found.declare(setting, lowerer, declared, &instruction.place, globals);
                    }
                }
                InstructionKind::Env(env) => {
                    let values: Vec<(String, String)> = env
                        .pairs
                        .iter()
                        .map(|pair| {
                            (found.expanded(setting, &pair.key), found.expanded(setting, &pair.value))
                        })
                        .collect();
                    values.iter().for_each(|(name, value)| found.scope.set(name, value));
                }
                InstructionKind::Run(run) => found.mounts(setting, run, &instruction.place),
                _ => {}
            }
        }
        found
    }

    /// A word with its variables; as it is written where it makes no sense.
    fn expanded(&self, setting: &Setting<'_>, word: &str) -> String {
        let expansion = expand_word(word, setting.dockerfile.directives.escape, &|name| self.scope.get(name));
        expansion.map_or_else(|_| word.to_string(), |expansion| expansion.value)
    }

    fn declare(
        &mut self,
        setting: &Setting<'_>,
        lowerer: &Lowerer<'_>,
        declared: &ArgDeclaration,
        place: &Place,
        globals: &BTreeMap<String, Global>,
    ) {
        let name = &declared.name;
        let is_given = setting.args.contains_key(name);
        let default = declared.default.as_ref().filter(|_| !is_given);
        let default = default.map(|word| self.expanded(setting, word));
        let is_inherited = declared.default.is_none() && !is_given && lowerer.globals.get(name).is_some();
        let value = self.scope.declare(name, default, setting.args, &lowerer.globals);
        if is_inherited {
            self.take_global(name, globals);
            return;
        }
        let description = declared.description.clone();
        let arg = OutlineArg { name: name.clone(), value, description, place: place.clone() };
        self.args.insert(name.clone(), arg);
    }

    /// With what its default asks for.
    fn take_global(&mut self, name: &str, globals: &BTreeMap<String, Global>) {
        let mut open = vec![name.to_string()];
        while let Some(name) = open.pop() {
            if let Some(global) = globals.get(&name).filter(|_| !self.args.contains_key(&name)) {
                self.args.insert(name, global.arg.clone());
                open.extend(global.asks.iter().cloned());
            }
        }
    }

    fn mounts(&mut self, setting: &Setting<'_>, run: &Run, place: &Place) {
        let escape = setting.dockerfile.directives.escape;
        for mount in &run.mounts {
            let scope = &self.scope;
            let mut expand = |word: &str| {
                expand_word(word, escape, &|name| scope.get(name)).map(|expansion| expansion.value)
            };
            // What makes no sense is for the build to say.
            let Ok(spec) = mount.resolve(&mut expand) else { continue };
            let (list, id, is_required) = match spec {
                MountSpec::Secret { id, required, .. } => (&mut self.secrets, id, required),
                MountSpec::Ssh { id, required, .. } => (&mut self.ssh, id, required),
                MountSpec::Cache { id, target, .. } => {
                    (&mut self.caches, id.unwrap_or_else(|| clean(&target)), false)
                }
                MountSpec::Bind { .. } | MountSpec::Tmpfs { .. } => continue,
            };
            if !list.iter().any(|known| known.id == id) {
                list.push(OutlineMount { id, is_required, place: place.clone() });
            }
        }
    }
}

/// The stage's own come first, then what its base asks for, then what else it takes from.
fn gather(
    lowerer: &Lowerer<'_>,
    index: usize,
    found: &BTreeMap<usize, Found>,
    seen: &mut BTreeSet<usize>,
    outline: &mut Outline,
) {
    let Some(own) = found.get(&index).filter(|_| seen.insert(index)) else { return };
    for arg in own.args.values() {
        if !outline.args.iter().any(|known| known.name == arg.name) {
            outline.args.push(arg.clone());
        }
    }
    let lists = [
        (&own.secrets, &mut outline.secrets),
        (&own.ssh, &mut outline.ssh),
        (&own.caches, &mut outline.caches),
    ];
    for (own, all) in lists {
        for mount in own {
            if !all.iter().any(|known| known.id == mount.id) {
                all.push(mount.clone());
            }
        }
    }
    for needed in lowerer.graph.stages()[index].needs() {
        gather(lowerer, needed, found, seen, outline);
    }
}
