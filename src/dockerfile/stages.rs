//! The graph of stages: which stage needs which, and which are needed for one.
//!
//! Follows BuildKit: a `FROM` sees the stages before it, the last one of a name, in lower case; `COPY --from` and
//! `RUN --mount=from=` see all stages, later ones too, and only `COPY` knows numbers. A named context that is
//! called like a stage replaces it. What is neither stage nor number is the name of an image or a named
//! context, which this module cannot tell apart.

use std::collections::{BTreeMap, BTreeSet};

use super::instruction::{Instruction, InstructionKind};
use super::{Dockerfile, Stage};
use crate::diag::{Place, Problem, nearest};

/// Where files come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StageSource {
    Stage(usize),
    /// An image, a named context, or `scratch`.
    External(String),
}

/// One stage and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphStage {
    pub index: usize,
    /// A named context of this name stands in for the stage; its instructions do not count.
    pub replaced: bool,
    pub base: StageSource,
    /// What its instructions read, and the triggers of a base that is a stage; sorted, each once.
    pub sources: BTreeSet<StageSource>,
}

/// All stages of a Dockerfile with their edges, which form no cycle.
#[derive(Clone, Debug)]
pub struct StageGraph {
    stages: Vec<GraphStage>,
    names: StageNames,
    /// All stages, each behind what it needs.
    order: Vec<usize>,
}

/// There is no such stage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no stage `{name}`")]
pub struct UnknownStage {
    pub name: String,
    /// The name that was probably meant.
    pub meant: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct StageNames {
    count: usize,
    /// The last stage of each name.
    by_name: BTreeMap<String, usize>,
    /// Names that a named context replaces, for every stage that has one.
    replaced: BTreeMap<usize, String>,
}

/// A stage named by an instruction.
struct Reference<'a> {
    name: &'a str,
    may_be_number: bool,
    place: Place,
}

impl StageGraph {
    /// The graph of `dockerfile`. `base_of` gives the expanded image of a `FROM`; `is_context` tells the
    /// names of named contexts.
    pub fn new(
        dockerfile: &Dockerfile,
        base_of: &dyn Fn(&Stage) -> String,
        is_context: &dyn Fn(&str) -> bool,
    ) -> Result<Self, Vec<Problem>> {
        let names = StageNames::of(dockerfile, is_context);
        let mut earlier =
            StageNames { count: names.count, replaced: names.replaced.clone(), ..Default::default() };
        let mut stages = Vec::new();
        let mut problems = Vec::new();
        for stage in &dockerfile.stages {
            let base = earlier.base(&base_of(stage));
            stages.push(names.graph_stage(dockerfile, stage, base, &mut problems));
            if let Some(name) = &stage.name {
                earlier.by_name.insert(name.clone(), stage.index);
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let order = order(&stages).map_err(|cycle| vec![cycle_problem(dockerfile, &cycle)])?;
        Ok(Self { stages, names, order })
    }

    pub fn stages(&self) -> &[GraphStage] {
        &self.stages
    }

    /// The stage called `wanted`, by name in any case or by number; the last one if nothing is wanted.
    pub fn find(&self, wanted: Option<&str>) -> Result<usize, UnknownStage> {
        let Some(wanted) = wanted else { return Ok(self.stages.len().saturating_sub(1)) };
        if let Some(index) = self.names.by_name.get(&wanted.to_lowercase()) {
            return Ok(*index);
        }
        wanted
            .parse()
            .ok()
            .filter(|index| *index < self.stages.len())
            .ok_or_else(|| self.names.unknown(wanted))
    }

    /// The stages needed for stage `target`, each behind what it needs; `target` is the last.
    pub fn reachable(&self, target: usize) -> Vec<usize> {
        let mut needed = BTreeSet::new();
        let mut open = vec![target];
        while let Some(index) = open.pop() {
            if index < self.stages.len() && needed.insert(index) {
                open.extend(self.stages[index].needs());
            }
        }
        self.order.iter().copied().filter(|index| needed.contains(index)).collect()
    }

    /// What `COPY --from=name` reads, for triggers that come with a base image.
    pub fn copy_source(&self, name: &str) -> Result<StageSource, UnknownStage> {
        self.names.copy_source(name)
    }

    /// What `RUN --mount=from=name` reads.
    pub fn mount_source(&self, name: &str) -> StageSource {
        self.names.source_of(name)
    }

    /// A stage whose name is close to `name`, in case an image of that name does not exist.
    pub fn nearest_stage(&self, name: &str) -> Option<&str> {
        self.names.nearest(name)
    }
}

impl GraphStage {
    /// The stages this one needs directly.
    pub fn needs(&self) -> impl Iterator<Item = usize> {
        std::iter::once(&self.base).chain(&self.sources).filter_map(|source| match source {
            StageSource::Stage(index) => Some(*index),
            StageSource::External(_) => None,
        })
    }
}

impl StageNames {
    fn of(dockerfile: &Dockerfile, is_context: &dyn Fn(&str) -> bool) -> Self {
        let named = || dockerfile.stages.iter().filter_map(|stage| Some((stage.name.clone()?, stage.index)));
        Self {
            count: dockerfile.stages.len(),
            by_name: named().collect(),
            replaced: named()
                .filter(|(name, _)| is_context(name))
                .map(|(name, index)| (index, name))
                .collect(),
        }
    }

    /// What `FROM name` begins with.
    fn base(&self, name: &str) -> StageSource {
        match self.by_name.get(name) {
            Some(index) => self.source_at(*index),
            None => StageSource::External(name.to_string()),
        }
    }

    fn source_of(&self, name: &str) -> StageSource {
        match self.by_name.get(&name.to_lowercase()) {
            Some(index) => self.source_at(*index),
            None => StageSource::External(name.to_string()),
        }
    }

    fn source_at(&self, index: usize) -> StageSource {
        match self.replaced.get(&index) {
            Some(name) => StageSource::External(name.clone()),
            None => StageSource::Stage(index),
        }
    }

    fn copy_source(&self, name: &str) -> Result<StageSource, UnknownStage> {
        match name.parse::<i64>() {
            Ok(number) => usize::try_from(number)
                .ok()
                .filter(|index| *index < self.count)
                .map(|index| self.source_at(index))
                .ok_or_else(|| self.unknown(name)),
            Err(_) => Ok(self.source_of(name)),
        }
    }

    fn unknown(&self, name: &str) -> UnknownStage {
        UnknownStage { name: name.to_string(), meant: self.nearest(name).map(str::to_string) }
    }

    fn nearest(&self, name: &str) -> Option<&str> {
        nearest(&name.to_lowercase(), self.by_name.keys().map(String::as_str))
    }

    fn graph_stage(
        &self,
        dockerfile: &Dockerfile,
        stage: &Stage,
        base: StageSource,
        problems: &mut Vec<Problem>,
    ) -> GraphStage {
        if let Some(name) = self.replaced.get(&stage.index) {
            let base = StageSource::External(name.clone());
            return GraphStage { index: stage.index, replaced: true, base, sources: BTreeSet::new() };
        }
        let triggers = match base {
            StageSource::Stage(index) => &dockerfile.stages[index].instructions[..],
            StageSource::External(_) => &[],
        };
        let triggers = triggers.iter().filter_map(trigger_of);
        let mut sources = BTreeSet::new();
        for reference in stage.instructions.iter().chain(triggers).flat_map(references) {
            match self.resolve(&reference) {
                Ok(source) => {
                    sources.insert(source);
                }
                Err(unknown) => problems.push(self.number_problem(&unknown, reference.place)),
            }
        }
        GraphStage { index: stage.index, replaced: false, base, sources }
    }

    fn resolve(&self, reference: &Reference<'_>) -> Result<StageSource, UnknownStage> {
        match reference.may_be_number {
            true => self.copy_source(reference.name),
            false => Ok(self.source_of(reference.name)),
        }
    }

    fn number_problem(&self, unknown: &UnknownStage, place: Place) -> Problem {
        let last = self.count.saturating_sub(1);
        Problem::input("dockerfile::unknown-stage", unknown.to_string())
            .at(place, "named here")
            .help(format!("stages are numbered from 0 to {last}; a name survives better than a number"))
    }
}

fn trigger_of(instruction: &Instruction) -> Option<&Instruction> {
    match &instruction.kind {
        InstructionKind::OnBuild(onbuild) => onbuild.trigger.as_deref(),
        _ => None,
    }
}

/// The stages, images and contexts that an instruction names.
fn references(instruction: &Instruction) -> Vec<Reference<'_>> {
    match &instruction.kind {
        InstructionKind::Copy(copy) => copy
            .from
            .iter()
            .map(|from| Reference {
                name: &from.value,
                may_be_number: true,
                place: from.place.clone().unwrap_or_else(|| instruction.place.clone()),
            })
            .collect(),
        InstructionKind::Run(run) => run
            .mounts
            .iter()
            .filter_map(|mount| {
                Some(Reference { name: mount.from()?, may_be_number: false, place: mount.place.clone() })
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// All stages, each behind what it needs, in the order of the file where that leaves a choice; or a cycle.
fn order(stages: &[GraphStage]) -> Result<Vec<usize>, Vec<usize>> {
    let needs: Vec<BTreeSet<usize>> = stages.iter().map(|stage| stage.needs().collect()).collect();
    let mut needed_by = vec![Vec::new(); stages.len()];
    let mut open: Vec<usize> = Vec::new();
    for (index, needs) in needs.iter().enumerate() {
        open.push(needs.len());
        needs.iter().for_each(|needed| needed_by[*needed].push(index));
    }
    let mut ready: BTreeSet<usize> = (0..stages.len()).filter(|index| open[*index] == 0).collect();
    let mut order = Vec::new();
    while let Some(index) = ready.pop_first() {
        order.push(index);
        for &waiting in &needed_by[index] {
            open[waiting] -= 1;
            if open[waiting] == 0 {
                ready.insert(waiting);
            }
        }
    }
    if order.len() == stages.len() { Ok(order) } else { Err(cycle(&needs, &open)) }
}

/// A cycle among the stages that wait for something: going from one to what it waits for must repeat.
fn cycle(needs: &[BTreeSet<usize>], open: &[usize]) -> Vec<usize> {
    let waits = |index: &usize| open[*index] > 0;
    let mut path: Vec<usize> = Vec::new();
    let mut next = (0..open.len()).find(waits);
    while let Some(index) = next {
        if let Some(start) = path.iter().position(|seen| *seen == index) {
            return path.split_off(start);
        }
        path.push(index);
        next = needs[index].iter().copied().find(waits);
    }
    path
}

fn cycle_problem(dockerfile: &Dockerfile, cycle: &[usize]) -> Problem {
    let titles: Vec<String> =
        cycle.iter().map(|index| format!("`{}`", dockerfile.stages[*index].title())).collect();
    let message = match &titles[..] {
        [only] => format!("stage {only} needs itself"),
        [first, others @ ..] => format!("stage {first} needs itself, by way of {}", others.join(", ")),
        [] => "stages need each other".to_string(),
    };
    let problem = Problem::input("dockerfile::stage-cycle", message)
        .help("move what both need to a stage of its own, and copy from there");
    cycle.iter().fold(problem, |problem, index| {
        let from = &dockerfile.stages[*index].from;
        problem.at(from.place.clone(), "this stage")
    })
}
