//! A Dockerfile walked for one platform: what every word comes to, and which stage is for which platform.
//!
//! The scoping is that of `steps`, but for all stages, for bases nobody knows, and with the names that had no
//! value. Nothing stops the walk: what does not expand is left as written, for others to complain about.

use std::collections::{BTreeMap, BTreeSet};

use super::arguments::is_platform_argument;
use super::bases::KnownBases;
use crate::base::{Platform, Reference};
use crate::diag::{Located, Place, Problem};
use crate::dockerfile::{
    Dockerfile, Expansion, Heredoc, Instruction, InstructionKind, KeyValue, Stage, StageGraph, StageSource,
    expand_heredoc, expand_word, expand_words,
};
use crate::model;
use crate::steps::Globals;

/// One platform's reading of a Dockerfile.
pub struct Trace<'a> {
    /// The expanded FROM lines, by stage.
    pub froms: Vec<FromTrace>,
    /// `None` when stages need each other, or one that is not there.
    pub graph: Option<StageGraph>,
    /// The stages that the platform's image needs.
    pub needed: BTreeSet<usize>,
    /// The stage that is the image.
    pub result: Option<usize>,
    /// The stages that are looked at, in the order of the file.
    pub stages: Vec<StageTrace<'a>>,
    /// Why there is no graph.
    pub problems: Vec<Problem>,
}

/// A FROM line with global arguments put in.
#[derive(Clone, Debug)]
pub struct FromTrace {
    pub image: Expansion,
    pub platform: Option<Expansion>,
    /// What `--platform` names, if that is a platform.
    pub parsed: Option<Platform>,
    /// Every name that FROM lines may use.
    pub known_names: BTreeSet<String>,
}

/// Which machine a stage's commands run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runs {
    /// `--platform=$BUILDPLATFORM`.
    OnBuildMachine,
    /// On the platform of the image.
    OnTarget,
    /// `--platform=linux/amd64`.
    On(Platform),
    /// By an argument of the user's own.
    Somewhere,
}

pub struct StageTrace<'a> {
    pub stage: &'a Stage,
    pub runs: Runs,
    /// The platform of its files.
    pub platform: Platform,
    /// The name of the image below it; `None` for `scratch`.
    pub image: Option<String>,
    /// It begins with an image itself, not with another stage.
    pub is_root: bool,
    /// The variables of its base are not known.
    pub is_open: bool,
    /// A shell was chosen in it or below, as far as that is known.
    pub has_shell: bool,
    pub uses: Vec<Use<'a>>,
}

/// One instruction with its words expanded.
pub struct Use<'a> {
    pub instruction: &'a Instruction,
    /// Where people see it: the FROM, for a trigger of the stage below.
    pub place: &'a Place,
    pub words: Vec<Word>,
    /// The platform arguments that have a value here.
    pub platform_arguments: BTreeSet<String>,
    /// Names close to the undefined ones.
    pub meant: BTreeMap<String, String>,
    /// What SHELL, WORKDIR said above, here or in the stages below.
    pub has_shell: bool,
    pub has_workdir: bool,
}

/// A word of an instruction.
#[derive(Clone, Debug)]
pub struct Word {
    /// As written.
    pub text: String,
    pub value: String,
    /// Names without a value.
    pub undefined: Vec<String>,
    pub used: BTreeSet<String>,
}

impl Use<'_> {
    /// What a word of the instruction comes to.
    pub fn value_of<'t>(&'t self, text: &'t str) -> &'t str {
        self.words.iter().find(|word| word.text == text).map_or(text, |word| &word.value)
    }
}

impl<'a> Trace<'a> {
    pub fn new(
        dockerfile: &'a Dockerfile,
        variant: &'a model::Variant,
        build: &Platform,
        bases: &KnownBases,
    ) -> Self {
        let target = &variant.platform.value;
        let stage = variant.stage.as_ref().map_or("default", |stage| stage.value.as_str());
        let mut globals = Globals::new(target, build, stage, &variant.args);
        let mut names: BTreeSet<String> = ["TARGETSTAGE".to_string()].into();
        names.extend(super::arguments::PLATFORM_ARGUMENTS.map(String::from));
        declare_globals(dockerfile, variant, &mut globals, &mut names);
        let froms: Vec<FromTrace> = dockerfile
            .stages
            .iter()
            .map(|stage| FromTrace::new(dockerfile, stage, &globals, &names))
            .collect();
        let (graph, problems) = graph(dockerfile, variant, &froms);
        let result = graph
            .as_ref()
            .and_then(|graph| graph.find(variant.stage.as_ref().map(|stage| stage.value.as_str())).ok());
        let needed: BTreeSet<usize> = match (&graph, result) {
            (Some(graph), Some(result)) => graph.reachable(result).into_iter().collect(),
            _ => BTreeSet::new(),
        };
        let mut walker = Walker {
            dockerfile,
            variant,
            globals: &globals,
            bases,
            froms: &froms,
            graph: graph.as_ref(),
            done: BTreeMap::new(),
        };
        let is_wanted = |index: usize| variant.stage.is_none() || needed.contains(&index);
        let mut stages = Vec::new();
        for stage in dockerfile.stages.iter().filter(|stage| is_wanted(stage.index)) {
            stages.push(walker.stage(stage));
        }
        Self { froms, graph, needed, result, stages, problems }
    }

    pub fn stage(&self, index: usize) -> Option<&StageTrace<'a>> {
        self.stages.iter().find(|trace| trace.stage.index == index)
    }

    /// What stage `from` of a COPY is, if it is a stage.
    pub fn copied_stage(&self, from: &Located<String>) -> Option<&StageTrace<'a>> {
        match self.graph.as_ref()?.copy_source(&from.value).ok()? {
            StageSource::Stage(index) => self.stage(index),
            StageSource::External(_) => None,
        }
    }

    /// The stage and those it begins with, itself first.
    pub fn chain(&self, index: usize) -> Vec<&StageTrace<'a>> {
        let mut chain = Vec::new();
        let mut next = Some(index);
        while let Some(index) = next {
            chain.extend(self.stage(index));
            next = match self.graph.as_ref().map(|graph| &graph.stages()[index].base) {
                Some(StageSource::Stage(base)) if chain.len() <= self.froms.len() => Some(*base),
                _ => None,
            };
        }
        chain
    }
}

impl FromTrace {
    fn new(dockerfile: &Dockerfile, stage: &Stage, globals: &Globals, names: &BTreeSet<String>) -> Self {
        let expand = |word: &Located<String>| {
            expand_word(&word.value, dockerfile.directives.escape, &|name| globals.get(name))
                .unwrap_or_else(|_| Expansion { value: word.value.clone(), ..Expansion::default() })
        };
        let platform = stage.from.platform.as_ref().map(expand);
        let parsed = platform.as_ref().and_then(|platform| platform.value.parse().ok());
        Self { image: expand(&stage.from.image), platform, parsed, known_names: names.clone() }
    }

    fn runs(&self) -> Runs {
        let Some(platform) = &self.platform else { return Runs::OnTarget };
        let uses = |prefix: &str| {
            let of_prefix = |name: &&String| is_platform_argument(name) && name.starts_with(prefix);
            platform.used.iter().filter(of_prefix).count()
        };
        match (uses("BUILD"), uses("TARGET"), platform.used.len()) {
            (0, 0, 0) => self.parsed.clone().map_or(Runs::Somewhere, Runs::On),
            (builds, 0, all) if builds == all => Runs::OnBuildMachine,
            (0, targets, all) if targets == all => Runs::OnTarget,
            _ => Runs::Somewhere,
        }
    }
}

fn declare_globals(
    dockerfile: &Dockerfile,
    variant: &model::Variant,
    globals: &mut Globals,
    names: &mut BTreeSet<String>,
) {
    for instruction in &dockerfile.global_args {
        let InstructionKind::Arg(arg) = &instruction.kind else { continue };
        for declaration in &arg.declarations {
            let default = declaration.default.as_ref().map(|word| {
                expand_word(word, dockerfile.directives.escape, &|name| globals.get(name))
                    .map_or_else(|_| word.clone(), |expansion| expansion.value)
            });
            globals.declare(&declaration.name, default, &variant.args);
            names.insert(declaration.name.clone());
        }
    }
}

fn graph(
    dockerfile: &Dockerfile,
    variant: &model::Variant,
    froms: &[FromTrace],
) -> (Option<StageGraph>, Vec<Problem>) {
    let base_of = |stage: &Stage| froms[stage.index].image.value.clone();
    let is_context = |name: &str| variant.contexts.contains_key(name);
    match StageGraph::new(dockerfile, &base_of, &is_context) {
        Ok(graph) => (Some(graph), Vec::new()),
        Err(problems) => (None, problems),
    }
}

/// The key of the named context that stands in for `name`, or `name`.
pub(super) fn context_key(contexts: &BTreeMap<String, Located<model::Context>>, name: &str) -> String {
    let wanted = name.parse::<Reference>().ok();
    let is_meant = |key: &&String| {
        key.as_str() == name || key.parse::<Reference>().ok().is_some_and(|key| Some(&key) == wanted.as_ref())
    };
    contexts.keys().find(is_meant).cloned().unwrap_or_else(|| name.to_string())
}

struct Walker<'w, 'a> {
    dockerfile: &'a Dockerfile,
    variant: &'a model::Variant,
    globals: &'w Globals,
    bases: &'w KnownBases,
    froms: &'w [FromTrace],
    graph: Option<&'w StageGraph>,
    done: BTreeMap<usize, State<'a>>,
}

/// What a stage hands on to those that begin with it.
#[derive(Clone)]
struct State<'a> {
    runs: Runs,
    platform: Platform,
    image: Option<String>,
    is_open: bool,
    has_shell: bool,
    has_workdir: bool,
    /// Variables of the image and of arguments, as RUN sees them.
    environment: BTreeMap<String, String>,
    /// The image's own, applied again on top in a stage that begins with this one.
    image_environment: BTreeMap<String, String>,
    declared: BTreeSet<String>,
    triggers: Vec<&'a Instruction>,
}

impl<'a> Walker<'_, 'a> {
    fn stage(&mut self, stage: &'a Stage) -> StageTrace<'a> {
        let mut state = self.begin(stage);
        let triggers = std::mem::take(&mut state.triggers);
        let triggers = triggers.into_iter().map(|trigger| (trigger, &stage.from.place));
        let own = stage.instructions.iter().map(|instruction| (instruction, &instruction.place));
        let mut uses = Vec::new();
        for (instruction, place) in triggers.chain(own) {
            uses.push(self.instruction(&mut state, instruction, place));
        }
        let trace = StageTrace {
            stage,
            runs: state.runs.clone(),
            platform: state.platform.clone(),
            image: state.image.clone(),
            is_root: !self.begins_with_stage(stage),
            is_open: state.is_open,
            has_shell: state.has_shell,
            uses,
        };
        self.done.insert(stage.index, state);
        trace
    }

    fn instruction(&self, state: &mut State<'a>, instruction: &'a Instruction, place: &'a Place) -> Use<'a> {
        let (has_shell, has_workdir) = (state.has_shell, state.has_workdir);
        let present = |name: &&&str| state.environment.contains_key(**name);
        let arguments = super::arguments::PLATFORM_ARGUMENTS;
        let platform_arguments = arguments.iter().filter(present).map(|name| (*name).to_string()).collect();
        let before: Vec<_> = state.environment.keys().cloned().collect();
        let words = self.apply(state, instruction);
        let undefined: BTreeSet<&String> = words.iter().flat_map(|word| &word.undefined).collect();
        let meant = undefined.into_iter().filter_map(|name| Some((name.clone(), meant(&before, name)?)));
        let meant = meant.collect();
        Use { instruction, place, words, platform_arguments, meant, has_shell, has_workdir }
    }

    fn begins_with_stage(&self, stage: &Stage) -> bool {
        let base = self.graph.map(|graph| &graph.stages()[stage.index].base);
        matches!(base, Some(StageSource::Stage(_)))
    }

    /// The state after FROM.
    fn begin(&self, stage: &Stage) -> State<'a> {
        let from = &self.froms[stage.index];
        let node = self.graph.map(|graph| &graph.stages()[stage.index]);
        if let Some(StageSource::Stage(base)) = node.map(|node| &node.base)
            && let Some(state) = self.done.get(base)
        {
            let mut state = state.clone();
            state.environment.extend(state.image_environment.clone());
            return state;
        }
        let platform = from.parsed.clone().unwrap_or_else(|| self.variant.platform.value.clone());
        let name = match node.map(|node| &node.base) {
            Some(StageSource::External(name)) => name.clone(),
            _ => from.image.value.clone(),
        };
        let mut state = State {
            runs: from.runs(),
            platform,
            image: None,
            is_open: false,
            has_shell: false,
            has_workdir: false,
            environment: BTreeMap::new(),
            image_environment: BTreeMap::new(),
            declared: BTreeSet::new(),
            triggers: Vec::new(),
        };
        if name != "scratch" {
            self.begin_with_image(&mut state, &context_key(&self.variant.contexts, &name));
            state.image = Some(name);
        }
        state.environment.entry("PATH".to_string()).or_default();
        state
    }

    fn begin_with_image(&self, state: &mut State<'_>, name: &str) {
        let Some(config) = self.bases.config(name, &state.platform) else {
            state.is_open = true;
            return;
        };
        state.has_shell = config.config.shell.as_ref().is_some_and(|shell| !shell.is_empty());
        for entry in &config.config.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            state.environment.insert(name.to_string(), value.to_string());
        }
        state.image_environment.clone_from(&state.environment);
    }

    fn apply(&self, state: &mut State<'a>, instruction: &'a Instruction) -> Vec<Word> {
        let words = self.words(state, instruction);
        match &instruction.kind {
            InstructionKind::Env(env) => {
                for (index, _) in env.pairs.iter().enumerate() {
                    let (name, value) = (words[2 * index].value.clone(), words[2 * index + 1].value.clone());
                    state.image_environment.insert(name.clone(), value.clone());
                    state.environment.insert(name, value);
                }
            }
            InstructionKind::Shell(_) => state.has_shell = true,
            InstructionKind::Workdir(_) => state.has_workdir = true,
            InstructionKind::OnBuild(onbuild) => {
                state.triggers.extend(onbuild.trigger.as_deref());
            }
            _ => {}
        }
        words
    }

    /// The words that BuildKit expands, in its order. ARG declares as it goes.
    fn words(&self, state: &mut State<'_>, instruction: &Instruction) -> Vec<Word> {
        let pairs = |pairs: &[KeyValue]| -> Vec<Word> {
            pairs
                .iter()
                .flat_map(|pair| [&pair.key, &pair.value])
                .map(|word| self.word(state, word))
                .collect()
        };
        match &instruction.kind {
            InstructionKind::Env(env) => pairs(&env.pairs),
            InstructionKind::Label(label) => pairs(&label.pairs),
            InstructionKind::Arg(arg) => arg
                .declarations
                .iter()
                .filter_map(|one| self.declare(state, &one.name, one.default.as_deref()))
                .collect(),
            InstructionKind::Copy(copy) => {
                let flags = [&copy.chown, &copy.chmod].into_iter().flatten();
                let words = flags.chain(&copy.sources).chain([&copy.destination]);
                let mut words: Vec<Word> = words.map(|word| self.word(state, word)).collect();
                words.extend(copy.heredocs.iter().filter_map(|heredoc| self.heredoc(state, heredoc)));
                words
            }
            InstructionKind::Add(add) => {
                let flags = [&add.chown, &add.chmod, &add.checksum].into_iter().flatten();
                let words = flags.chain(&add.sources).chain([&add.destination]);
                let mut words: Vec<Word> = words.map(|word| self.word(state, word)).collect();
                words.extend(add.heredocs.iter().filter_map(|heredoc| self.heredoc(state, heredoc)));
                words
            }
            InstructionKind::Run(run) => {
                let options = run.mounts.iter().flat_map(|mount| &mount.options);
                let values =
                    options.filter(|option| option.key != "from").filter_map(|option| option.value.as_ref());
                values.map(|word| self.word(state, word)).collect()
            }
            InstructionKind::Expose(expose) => {
                expose.ports.iter().flat_map(|port| self.split(state, port)).collect()
            }
            InstructionKind::User(user) => vec![self.word(state, &user.user)],
            InstructionKind::Workdir(workdir) => vec![self.word(state, &workdir.path)],
            InstructionKind::Volume(volume) => {
                volume.paths.iter().map(|path| self.word(state, path)).collect()
            }
            InstructionKind::StopSignal(signal) => vec![self.word(state, &signal.signal)],
            InstructionKind::Cmd(_)
            | InstructionKind::Entrypoint(_)
            | InstructionKind::Shell(_)
            | InstructionKind::Healthcheck(_)
            | InstructionKind::OnBuild(_)
            | InstructionKind::Maintainer(_) => Vec::new(),
        }
    }

    /// `ARG name[=default]`; the default's word, if it counts.
    fn declare(&self, state: &mut State<'_>, name: &str, default: Option<&str>) -> Option<Word> {
        let given = self.variant.args.get(name).map(|given| given.value.clone());
        let word = default.filter(|_| given.is_none()).map(|word| self.word(state, word));
        let default = word.as_ref().map(|word| word.value.clone());
        if let Some(value) = given.or(default).or_else(|| self.globals.get(name)) {
            state.environment.insert(name.to_string(), value);
        }
        state.declared.insert(name.to_string());
        word
    }

    fn word(&self, state: &State<'_>, text: &str) -> Word {
        let lookup = |name: &str| state.environment.get(name).cloned();
        let expansion = expand_word(text, self.dockerfile.directives.escape, &lookup)
            .unwrap_or_else(|_| Expansion { value: text.to_string(), ..Expansion::default() });
        self.of_expansion(state, text, expansion)
    }

    fn heredoc(&self, state: &State<'_>, heredoc: &Heredoc) -> Option<Word> {
        let lookup = |name: &str| state.environment.get(name).cloned();
        let body = heredoc.body();
        let expansion = expand_heredoc(&body, &lookup).ok().filter(|_| heredoc.expand)?;
        Some(self.of_expansion(state, &body, expansion))
    }

    fn split(&self, state: &State<'_>, text: &str) -> Vec<Word> {
        let lookup = |name: &str| state.environment.get(name).cloned();
        let words = expand_words(text, self.dockerfile.directives.escape, &lookup).unwrap_or_default();
        let word =
            |value| Word { text: text.to_string(), value, undefined: Vec::new(), used: words.used.clone() };
        words.words.iter().cloned().map(word).collect()
    }

    fn of_expansion(&self, state: &State<'_>, text: &str, expansion: Expansion) -> Word {
        let undefined =
            expansion.undefined.into_iter().filter(|name| !state.declared.contains(name)).collect();
        Word { text: text.to_string(), value: expansion.value, undefined, used: expansion.used }
    }
}

/// The name that `name` is probably a slip for, of those with a value before the instruction.
fn meant(before: &[String], name: &str) -> Option<String> {
    crate::diag::nearest(name, before.iter().map(String::as_str)).map(str::to_string)
}
