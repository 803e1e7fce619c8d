//! Stages to steps: resolves what FROM and `--from` mean and walks the reachable stages in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::from::{ExpandedFrom, declare_globals, expand_from};
use super::instructions::{StageLowerer, clean, supported};
use super::op::{BaseImage, CopyFrom, CopyOp, Lowered, LoweredBase, Op, Step};
use super::scope::{Globals, Scope};
use super::setting::{BaseRequest, Setting};
use crate::base::{Platform, Reference, RemoteSource, StepId};
use crate::diag::{Located, Place, Problem, Source};
use crate::dockerfile::{
    Frontend, Instruction, InstructionKind, Stage, StageGraph, StageSource, UnknownStage,
    parse_instruction_line,
};
use crate::oci::{History, ImageConfig};

/// Base images that are known, by name (or key of a named context) and platform.
pub type BaseImages = BTreeMap<(String, Platform), BaseImage>;

/// What Docker gives an image that says nothing about it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The comment on a layer that no history tells of.
const UNTOLD: &str = "buildkit.exporter.image.v0";

/// Why a setting was not lowered.
#[derive(Clone, Debug)]
pub enum LowerError {
    /// These images must be known first. Asking again with them may ask for more, since triggers of a
    /// base can name others.
    Missing(Vec<BaseRequest>),
    Problems(Vec<Problem>),
}

/// Lowers `setting` with what is known of base images.
pub fn lower(setting: &Setting<'_>, bases: &BaseImages) -> Result<Lowered, LowerError> {
    let mut lowerer = Lowerer::new(setting, bases).map_err(LowerError::Problems)?;
    let wanted = lowerer.wanted_stage().map_err(|problem| LowerError::Problems(vec![*problem]))?;
    for index in lowerer.graph.reachable(wanted) {
        lowerer.stage(index);
    }
    lowerer.finish(wanted)
}

/// Lowers `setting` with bases that are as `assume` says; nothing when it has no meaning.
pub fn lower_assuming(setting: &Setting<'_>, assume: impl Fn(&BaseRequest) -> BaseImage) -> Option<Lowered> {
    let mut bases = BaseImages::new();
    loop {
        match lower(setting, &bases) {
            Ok(lowered) => return Some(lowered),
            Err(LowerError::Problems(_)) => return None,
            Err(LowerError::Missing(requests)) => {
                let known = bases.len();
                for request in requests {
                    let image = assume(&request);
                    bases.insert((request.name, request.platform), image);
                }
                if bases.len() == known {
                    return None;
                }
            }
        }
    }
}

/// The value that a global ARG has by what it stands on alone, if the Dockerfile declares it.
pub fn global_value(setting: &Setting<'_>, name: &str) -> Option<String> {
    if !setting.dockerfile.global_args.iter().any(|instruction| declares(instruction, name)) {
        return None;
    }
    Lowerer::new(setting, &BaseImages::new()).ok()?.globals.get(name)
}

fn declares(instruction: &Instruction, name: &str) -> bool {
    match &instruction.kind {
        InstructionKind::Arg(arg) => arg.declarations.iter().any(|declaration| declaration.name == name),
        _ => false,
    }
}

/// The images that the Dockerfile alone says are needed.
pub fn base_requests(setting: &Setting<'_>) -> Result<Vec<BaseRequest>, Vec<Problem>> {
    match lower(setting, &BaseImages::new()) {
        Ok(_) => Ok(Vec::new()),
        Err(LowerError::Missing(requests)) => Ok(requests),
        Err(LowerError::Problems(problems)) => Err(problems),
    }
}

/// The state of a build while stages are lowered.
pub(super) struct Lowerer<'a> {
    pub setting: &'a Setting<'a>,
    known: &'a BaseImages,
    pub globals: Globals,
    pub graph: StageGraph,
    froms: Vec<ExpandedFrom>,
    steps: Vec<Step>,
    bases: Vec<LoweredBase>,
    sources: Vec<RemoteSource>,
    /// Stages that were looked at, whether they could be lowered or not.
    begun: BTreeSet<usize>,
    /// Stages that are being lowered, outermost first.
    open: Vec<usize>,
    done: BTreeMap<usize, StageState>,
    missing: Vec<BaseRequest>,
    problems: Vec<Problem>,
    /// Steps made for mounts: what they take, and of which path.
    pub taken: Vec<(CopyFrom, String, StepId)>,
    nothing: Option<StepId>,
}

/// What a stage has come to.
#[derive(Clone, Debug)]
pub(super) struct StageState {
    pub title: String,
    pub platform: Platform,
    pub files: StepId,
    pub config: ImageConfig,
    pub base_history: usize,
    pub scope: Scope,
}

impl<'a> Lowerer<'a> {
    pub fn new(setting: &'a Setting<'a>, known: &'a BaseImages) -> Result<Self, Vec<Problem>> {
        check_frontend(setting).map_err(|problem| vec![*problem])?;
        let last = setting.dockerfile.stages.last().and_then(|stage| stage.name.as_deref());
        let stage = setting.stage.map_or(last.unwrap_or("default"), |stage| stage.value.as_str());
        let mut globals = Globals::new(setting.target, setting.build, stage, setting.args);
        let mut problems = Vec::new();
        for instruction in &setting.dockerfile.global_args {
            declare_globals(setting, instruction, &mut globals, &mut problems);
        }
        let mut froms = Vec::new();
        for stage in &setting.dockerfile.stages {
            match expand_from(setting, stage, &globals) {
                Ok(from) => froms.push(from),
                Err(problem) => problems.push(*problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let base_of = |stage: &Stage| froms[stage.index].image.clone();
        let is_context = |name: &str| setting.contexts.contains_key(name) && setting.context(name).is_some();
        let graph = StageGraph::new(setting.dockerfile, &base_of, &is_context)?;
        // Stages that nothing needs must make sense, too.
        let misnamed = graph.stages().iter().filter_map(|stage| {
            let StageSource::External(name) = &stage.base else { return None };
            let from = &setting.dockerfile.stages[stage.index].from;
            Some(check_name(setting, &graph, name)?.at(from.image.place.clone()?, "this base"))
        });
        let misnamed: Vec<Problem> = misnamed.collect();
        if !misnamed.is_empty() {
            return Err(misnamed);
        }
        Ok(Self {
            setting,
            known,
            globals,
            graph,
            froms,
            steps: Vec::new(),
            bases: Vec::new(),
            sources: Vec::new(),
            begun: BTreeSet::new(),
            open: Vec::new(),
            done: BTreeMap::new(),
            missing: Vec::new(),
            problems: Vec::new(),
            taken: Vec::new(),
            nothing: None,
        })
    }

    pub fn wanted_stage(&self) -> Result<usize, Box<Problem>> {
        let wanted = self.setting.stage;
        self.graph.find(wanted.map(|stage| stage.value.as_str())).map_err(|unknown| {
            let problem = unknown_stage("dockerfile::unknown-stage", &unknown);
            Box::new(match wanted.and_then(|stage| stage.place.clone()) {
                Some(place) => problem.at(place, "asked for here"),
                None => problem,
            })
        })
    }

    fn stage(&mut self, index: usize) {
        let dockerfile = self.setting.dockerfile;
        let stage = &dockerfile.stages[index];
        if !self.begun.insert(index) {
            return;
        }
        let Some((state, triggers)) = self.begin_stage(stage) else { return self.survey(stage) };
        self.open.push(index);
        let mut lowerer = StageLowerer::new(self, state);
        for trigger in &triggers {
            lowerer.instruction(trigger);
        }
        if !lowerer.lowerer.graph.stages()[index].replaced {
            for instruction in &stage.instructions {
                lowerer.instruction(instruction);
            }
        }
        let state = lowerer.state;
        self.open.pop();
        self.done.insert(index, state);
    }

    /// What can be said of a stage whose base is not known yet: the images it copies from, and what is wrong
    /// whatever the base is. Asked early, all of it comes before any network.
    fn survey(&mut self, stage: &Stage) {
        if self.graph.stages()[stage.index].replaced {
            return;
        }
        let platform = self.platform_of(stage.index);
        for instruction in &stage.instructions {
            if let Err(problem) = supported(instruction, self.setting) {
                self.problem_of(instruction, *problem);
                continue;
            }
            if let InstructionKind::Copy(copy) = &instruction.kind
                && let Some(from) = &copy.from
            {
                self.copy_from(from, &platform, &instruction.place);
            }
            if let InstructionKind::Run(run) = &instruction.kind {
                for mount in &run.mounts {
                    if let Some(from) = mount.from() {
                        let from = Located::new(from.to_string(), mount.place.clone());
                        self.mount_from(&from, &platform);
                    }
                }
            }
        }
    }

    /// The platform that a stage is for: its own FROM's, or that of the stage it begins with.
    fn platform_of(&self, index: usize) -> Platform {
        let mut first = index;
        while let StageSource::Stage(base) = self.graph.stages()[first].base {
            first = base;
        }
        self.froms[first].platform.clone().unwrap_or_else(|| self.setting.target.clone())
    }

    /// The state after FROM, and the base's triggers; `None` when the base is not known yet.
    fn begin_stage(&mut self, stage: &Stage) -> Option<(StageState, Vec<Instruction>)> {
        let graph_stage = self.graph.stages()[stage.index].clone();
        let place = stage.from.image.place.clone().unwrap_or_else(|| stage.place.clone());
        let platform = self.froms[stage.index].platform.clone();
        let mut state = match &graph_stage.base {
            StageSource::Stage(base) => self.done.get(base)?.clone(),
            StageSource::External(name) if graph_stage.replaced => {
                let name = stage.name.clone().unwrap_or_else(|| name.clone());
                self.external_stage(&name, platform, stage, &place)?
            }
            StageSource::External(name) => self.external_stage(name, platform, stage, &place)?,
        };
        state.title = stage.title();
        if !graph_stage.replaced {
            complete(&mut state.config);
        }
        for entry in state.config.config.env.clone() {
            let (name, value) = entry.split_once('=').unwrap_or((&entry, ""));
            state.scope.set(name, value);
        }
        let mut triggers = state.config.config.on_build.take().unwrap_or_default();
        if graph_stage.replaced || self.begins_with_replaced(stage, &graph_stage.base) {
            // The context is the stage, finished; its triggers are nobody's.
            triggers.clear();
        }
        Some((state, self.parse_triggers(&triggers, &self.froms[stage.index].image.clone())))
    }

    /// Whether a stage begins with an earlier one that a named context stands in for.
    fn begins_with_replaced(&self, stage: &Stage, base: &StageSource) -> bool {
        let StageSource::External(name) = base else { return false };
        let mut earlier = self.setting.dockerfile.stages[..stage.index].iter();
        earlier.any(|stage| stage.name.as_ref() == Some(name) && self.graph.stages()[stage.index].replaced)
    }

    fn external_stage(
        &mut self,
        name: &str,
        platform: Option<Platform>,
        stage: &Stage,
        place: &Place,
    ) -> Option<StageState> {
        let platform = platform.unwrap_or_else(|| self.setting.target.clone());
        let (files, mut config) = self.external(name, &platform, place, Some(&stage.from.text))?;
        config.extra.clear();
        config.config.extra.clear();
        fill_history(&mut config);
        // A layer of files is this build's own.
        let is_files = self.setting.context(name).is_some_and(|(_, context)| context.is_files());
        let base_history = if is_files { 0 } else { config.history.len() };
        let title = stage.title();
        Some(StageState { title, platform, files, config, base_history, scope: Scope::default() })
    }

    fn parse_triggers(&mut self, triggers: &[String], image: &str) -> Vec<Instruction> {
        let mut parsed = Vec::new();
        for text in triggers {
            match parse_instruction_line(&Source::new(format!("ONBUILD of {image}"), text.clone())) {
                Ok(instruction) => parsed.push(instruction),
                Err(problems) => self.problems.extend(problems),
            }
        }
        parsed
    }

    /// The file system and config of an image that is no stage; `None` when it is not known yet.
    fn external(
        &mut self,
        name: &str,
        platform: &Platform,
        place: &Place,
        text: Option<&str>,
    ) -> Option<(StepId, ImageConfig)> {
        let context = self.setting.context(name);
        if let Some((key, context)) = context
            && context.is_files()
        {
            return Some(self.files_as_base(key, platform, place, text));
        }
        if name == "scratch" && context.is_none() {
            let mut config = ImageConfig::empty(platform);
            config.config.working_dir = "/".to_string();
            let files = self.add_step("scratch", "FROM scratch", Some(place), platform, Op::Scratch);
            return Some((files, config));
        }
        if let Some(problem) = check_name(self.setting, &self.graph, name) {
            self.problem(problem.at(place.clone(), "this image"));
            return None;
        }
        let key = context.map_or(name, |(key, _)| key).to_string();
        let Some(image) = self.known.get(&(key.clone(), platform.clone())).cloned() else {
            let request = BaseRequest { name: key, platform: platform.clone(), place: place.clone() };
            if !self
                .missing
                .iter()
                .any(|known| known.name == request.name && known.platform == request.platform)
            {
                self.missing.push(request);
            }
            return None;
        };
        let config = ImageConfig::clone(&image.config);
        let known = self.bases.iter().position(|base| base.name == key && base.platform == *platform);
        let base = known.unwrap_or_else(|| {
            self.bases.push(LoweredBase { name: key, platform: platform.clone(), image });
            self.bases.len() - 1
        });
        let text = text.map_or_else(|| format!("FROM {name}"), str::to_string);
        Some((self.add_step(name, &text, Some(place), platform, Op::Base(base)), config))
    }

    /// A named context of files as a root file system: one layer that no instruction made.
    fn files_as_base(
        &mut self,
        key: &str,
        platform: &Platform,
        place: &Place,
        text: Option<&str>,
    ) -> (StepId, ImageConfig) {
        let input = self.add_step(key, "FROM scratch", Some(place), platform, Op::Scratch);
        let copy = CopyOp::everything(input, CopyFrom::Context(key.to_string()));
        let text = text.map_or_else(|| format!("FROM {key}"), str::to_string);
        let files = self.add_step(key, &text, Some(place), platform, Op::Copy(copy));
        let mut config = ImageConfig::empty(platform);
        config.config.working_dir = "/".to_string();
        let comment = Some(UNTOLD.to_string());
        config.history.push(History { comment, ..History::default() });
        (files, config)
    }

    /// Where a `COPY --from` reads: a step, or a named context.
    pub(super) fn copy_from(
        &mut self,
        from: &Located<String>,
        platform: &Platform,
        place: &Place,
    ) -> Option<Copied> {
        let place = from.place.as_ref().unwrap_or(place);
        let source = match self.graph.copy_source(&from.value) {
            Ok(source) => source,
            Err(unknown) => {
                self.problem(
                    unknown_stage("dockerfile::unknown-stage", &unknown)
                        .at(place.clone(), "copied from here"),
                );
                return None;
            }
        };
        self.copied(source, platform, place)
    }

    /// Where a mount reads that says `from`.
    pub(super) fn mount_from(&mut self, from: &Located<String>, platform: &Platform) -> Option<Copied> {
        let place = from.place.clone().expect("a mount stands somewhere");
        self.copied(self.graph.mount_source(&from.value), platform, &place)
    }

    fn copied(&mut self, source: StageSource, platform: &Platform, place: &Place) -> Option<Copied> {
        match source {
            StageSource::Stage(index) => {
                self.ensure_stage(index, place);
                self.done.get(&index).map(|state| Copied::Step(state.files))
            }
            StageSource::External(name) => match self.setting.context(&name) {
                Some((key, context)) if context.is_files() => Some(Copied::Context(key.to_string())),
                _ => self.external(&name, platform, place, None).map(|(files, _)| Copied::Step(files)),
            },
        }
    }

    /// Lowers a stage that only a trigger of a base image names: the graph does not know of that.
    fn ensure_stage(&mut self, index: usize, place: &Place) {
        if self.begun.contains(&index) && !self.open.contains(&index) {
            return;
        }
        let needed = self.graph.reachable(index);
        if let Some(open) = needed.iter().find(|needed| self.open.contains(needed)) {
            let title = self.setting.dockerfile.stages[*open].title();
            let message = format!("stage `{title}` needs itself, by way of a trigger of its base image");
            return self.problem(
                Problem::input("dockerfile::stage-cycle", message)
                    .at(place.clone(), "copied from here")
                    .help("copy from a stage that does not begin with this base"),
            );
        }
        for needed in needed {
            self.stage(needed);
        }
    }

    /// The step that is no file at all.
    pub(super) fn nothing(&mut self, platform: &Platform) -> StepId {
        if let Some(step) = self.nothing {
            return step;
        }
        let step = self.add_step("scratch", "nothing", None, platform, Op::Scratch);
        self.nothing = Some(step);
        step
    }

    /// The place of `source` among what comes from elsewhere.
    pub(super) fn add_source(&mut self, source: RemoteSource) -> usize {
        let known = self.sources.iter().position(|known| *known == source);
        known.unwrap_or_else(|| {
            self.sources.push(source);
            self.sources.len() - 1
        })
    }

    pub(super) fn add_step(
        &mut self,
        stage: &str,
        text: &str,
        place: Option<&Place>,
        platform: &Platform,
        op: Op,
    ) -> StepId {
        let id = StepId(u32::try_from(self.steps.len()).expect("a Dockerfile has fewer than 2^32 steps"));
        let (stage, text) = (stage.to_string(), text.to_string());
        self.steps.push(Step { id, stage, text, place: place.cloned(), platform: platform.clone(), op });
        id
    }

    pub(super) fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A problem of an instruction, which is where it is unless it says so itself.
    pub(super) fn problem_of(&mut self, instruction: &Instruction, problem: Problem) {
        let is_placed = !problem.labels.is_empty();
        self.problem(if is_placed { problem } else { problem.at(instruction.place.clone(), "here") });
    }

    fn finish(mut self, wanted: usize) -> Result<Lowered, LowerError> {
        // Problems first: what is wrong stays wrong, and asking for images takes time.
        if !self.problems.is_empty() {
            return Err(LowerError::Problems(self.problems));
        }
        if !self.missing.is_empty() {
            return Err(LowerError::Missing(self.missing));
        }
        let mut state = self.done.remove(&wanted).expect("every reachable stage was lowered");
        state.config.retarget(self.setting.target);
        for (key, value) in self.setting.labels {
            state.config.config.labels.insert(key.clone(), value.clone());
        }
        Ok(Lowered {
            steps: self.steps,
            result: state.files,
            config: state.config,
            bases: self.bases,
            sources: self.sources,
            base_history: state.base_history,
        })
    }
}

/// What a `--from` turned out to be.
pub(super) enum Copied {
    Step(StepId),
    Context(String),
}

/// What every stage has, whatever its base says: a search path, and a working directory from the root.
fn complete(config: &mut ImageConfig) {
    let has_path = config.config.env.iter().any(|entry| entry.split('=').next() == Some("PATH"));
    if !has_path && config.os != "windows" {
        config.config.set_env("PATH", DEFAULT_PATH);
    }
    let directory = &mut config.config.working_dir;
    if !directory.is_empty() && !directory.starts_with('/') && config.os != "windows" {
        // BuildKit enters a relative one twice.
        *directory = clean(&format!("/{directory}/{directory}"));
    }
}

/// An image with more layers than its history tells of gets entries for the rest, as BuildKit does it.
fn fill_history(config: &mut ImageConfig) {
    let told = config.history.iter().filter(|entry| !entry.empty_layer).count();
    for _ in told..config.rootfs.diff_ids.len() {
        let comment = Some(UNTOLD.to_string());
        config.history.push(History { comment, created: config.created.clone(), ..History::default() });
    }
}

fn check_frontend(setting: &Setting<'_>) -> Result<(), Box<Problem>> {
    let directive = setting.dockerfile.directives.syntax.as_ref();
    let (frontend, place) = match setting.args.get("BUILDKIT_SYNTAX") {
        Some(given) => (Frontend::of(&given.value), given.place.clone()),
        None => (setting.dockerfile.directives.frontend(), directive.and_then(|syntax| syntax.place.clone())),
    };
    match frontend {
        Frontend::Official { .. } => Ok(()),
        Frontend::Other(name) => {
            let problem = Problem::input("dockerfile::frontend", format!("the frontend `{name}` is not built in"))
                .help("mab reads `docker/dockerfile` itself; another frontend needs the buildkit engine, which this version of mab does not have yet");
            Err(Box::new(match place {
                Some(place) => problem.at(place, "asked for here"),
                None => problem,
            }))
        }
    }
}

/// What is wrong with a name that is no stage, if it cannot be an image's or a context's either.
fn check_name(setting: &Setting<'_>, graph: &StageGraph, name: &str) -> Option<Problem> {
    if name == "scratch" || setting.context(name).is_some() {
        return None;
    }
    let error = name.parse::<Reference>().err()?;
    let help = match graph.nearest_stage(name) {
        Some(stage) => format!("did you mean the stage `{stage}`?"),
        None => "a base is a stage, a named context or an image such as `alpine:3.20`".to_string(),
    };
    Some(Problem::input("dockerfile::base-name", error.to_string()).help(help))
}

fn unknown_stage(code: &'static str, unknown: &UnknownStage) -> Problem {
    let problem = Problem::input(code, unknown.to_string());
    problem.help(match &unknown.meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "name a stage of this Dockerfile, or its number from 0 on".to_string(),
    })
}

impl BaseImage {
    pub fn new(manifest: crate::base::Digest, config: Arc<ImageConfig>) -> Self {
        Self { manifest, config }
    }
}
