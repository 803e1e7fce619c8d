//! Instructions of one stage to steps and config.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::history::{Makes, plain_list, quoted_list, record};
use super::lower::{Lowerer, StageState};
use super::op::{MakeDirectoryOp, Op};
use super::run;
use super::setting::Setting;
use crate::base::percent::redacted;
use crate::diag::{Place, Problem};
use crate::dockerfile::{
    Arg, ExpandError, ExpandReason, Expansion, Healthcheck, Instruction, InstructionKind, KeyValue, Probe,
    ShellOrExec, expand_word, expand_words, parse_ports, signal_number,
};

/// One stage on its way from FROM to its last instruction.
pub(super) struct StageLowerer<'l, 'a> {
    pub lowerer: &'l mut Lowerer<'a>,
    pub state: StageState,
    /// CMD was given in this stage, so ENTRYPOINT keeps it.
    has_cmd: bool,
    /// Where the instruction stands that is being lowered.
    place: Option<Place>,
}

pub(super) type Lowering<T> = Result<T, Box<Problem>>;

impl<'l, 'a> StageLowerer<'l, 'a> {
    pub fn new(lowerer: &'l mut Lowerer<'a>, state: StageState) -> Self {
        Self { lowerer, state, has_cmd: false, place: None }
    }

    pub fn instruction(&mut self, instruction: &Instruction) {
        self.place = Some(instruction.place.clone());
        if let Err(problem) = self.lower(instruction) {
            self.lowerer.problem_of(instruction, *problem);
        }
    }

    fn lower(&mut self, instruction: &Instruction) -> Lowering<()> {
        supported(instruction, self.lowerer.setting)?;
        match &instruction.kind {
            InstructionKind::Run(run) => self.run(instruction, run),
            InstructionKind::Copy(copy) => self.copy(instruction, copy),
            InstructionKind::Add(add) => self.add(instruction, add),
            InstructionKind::Workdir(workdir) => self.workdir(instruction, &workdir.path),
            InstructionKind::Env(env) => self.env(&env.pairs),
            InstructionKind::Arg(arg) => self.arg(arg),
            InstructionKind::Label(label) => self.label(&label.pairs),
            InstructionKind::Expose(expose) => self.expose(&expose.ports),
            InstructionKind::User(user) => self.user(&user.user),
            InstructionKind::Cmd(cmd) => self.cmd(&cmd.command),
            InstructionKind::Entrypoint(entrypoint) => self.entrypoint(&entrypoint.command),
            InstructionKind::Shell(shell) => self.shell(&shell.command),
            InstructionKind::StopSignal(signal) => self.stop_signal(&signal.signal),
            InstructionKind::Healthcheck(healthcheck) => self.healthcheck(healthcheck),
            InstructionKind::Volume(volume) => self.volume(&volume.paths),
            InstructionKind::OnBuild(trigger) => {
                self.state.config.config.on_build.get_or_insert_default().push(trigger.text.clone());
                Ok(())
            }
            InstructionKind::Maintainer(maintainer) => {
                self.state.config.author = Some(maintainer.name.clone());
                self.record(format!("MAINTAINER {}", maintainer.name));
                Ok(())
            }
        }
    }

    fn record(&mut self, created_by: String) {
        record(&mut self.state.config, created_by, Makes::Nothing);
    }

    pub(super) fn expand(&self, word: &str) -> Lowering<String> {
        let escape = self.lowerer.setting.dockerfile.directives.escape;
        let expansion = expand_word(word, escape, &|name| self.state.scope.get(name));
        expansion.map(|expansion| expansion.value).map_err(|error| self.unexpanded(word, &error))
    }

    /// The problem of a word that stands in the instruction as written.
    pub(super) fn unexpanded(&self, word: &str, error: &ExpandError) -> Box<Problem> {
        let problem = expand_problem(error);
        Box::new(match &self.place {
            Some(place) => problem.at(place.of_part(word, &error.at), "here"),
            None => problem,
        })
    }

    /// A file-system step on top of the stage's.
    pub(super) fn step(&mut self, instruction: &Instruction, op: Op) {
        let text = one_line(instruction);
        let state = &self.state;
        let platform = state.platform.clone();
        let id = self.lowerer.add_step(&state.title, &text, Some(&instruction.place), &platform, op);
        self.state.files = id;
    }

    pub(super) fn with_shell(&self, text: String) -> Vec<String> {
        let default: &[&str] = match self.state.config.os.as_str() {
            "windows" => &["cmd", "/S", "/C"],
            _ => &["/bin/sh", "-c"],
        };
        let given = self.state.config.config.shell.clone().filter(|shell| !shell.is_empty());
        let mut argv = given.unwrap_or_else(|| default.iter().map(ToString::to_string).collect());
        argv.push(text);
        argv
    }

    pub(super) fn working_directory(&self) -> &str {
        match self.state.config.config.working_dir.as_str() {
            "" => "/",
            directory => directory,
        }
    }

    /// A destination from the root; what its end says, a directory or not, is kept.
    pub(super) fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_string();
        }
        let joined = format!("{}/{path}", self.working_directory().trim_end_matches('/'));
        if path == "." || path.is_empty() { format!("{joined}/") } else { joined }
    }

    /// BuildKit cleans a relative path as it joins it, and leaves any other as written.
    fn workdir(&mut self, instruction: &Instruction, path: &str) -> Lowering<()> {
        let path = self.expand(path)?;
        let current = self.working_directory();
        let directory = match path.as_str() {
            "" => current.to_string(),
            absolute if absolute.starts_with('/') => absolute.to_string(),
            relative => clean(&format!("{current}/{relative}")),
        };
        self.state.config.config.working_dir.clone_from(&directory);
        let created_by = format!("WORKDIR {directory}");
        if directory == "/" {
            self.record(created_by);
            return Ok(());
        }
        let user = self.state.config.config.user.clone();
        let op = MakeDirectoryOp { input: self.state.files, path: clean(&directory), user };
        self.step(instruction, Op::MakeDirectory(op));
        record(&mut self.state.config, created_by, Makes::Layer);
        Ok(())
    }

    /// Every pair sees the values from before the instruction.
    fn pairs(&self, pairs: &[KeyValue]) -> Lowering<Vec<(String, String)>> {
        pairs.iter().map(|pair| Ok((self.expand(&pair.key)?, self.expand(&pair.value)?))).collect()
    }

    fn env(&mut self, pairs: &[KeyValue]) -> Lowering<()> {
        let pairs = self.pairs(pairs)?;
        for (name, value) in &pairs {
            self.state.config.config.set_env(name, value);
            self.state.scope.set(name, value);
        }
        self.record(format!("ENV {}", joined(&pairs)));
        Ok(())
    }

    fn label(&mut self, pairs: &[KeyValue]) -> Lowering<()> {
        let pairs = self.pairs(pairs)?;
        self.state.config.config.labels.extend(pairs.iter().cloned());
        self.record(format!("LABEL {}", joined(&pairs)));
        Ok(())
    }

    fn arg(&mut self, arg: &Arg) -> Lowering<()> {
        let mut texts = Vec::new();
        for declaration in &arg.declarations {
            let (args, globals) = (self.lowerer.setting.args, &self.lowerer.globals);
            // A default that a given value replaces is not even looked at.
            let default = declaration.default.as_ref().filter(|_| !args.contains_key(&declaration.name));
            let default = default.map(|word| self.expand(word)).transpose()?;
            let value = self.state.scope.declare(&declaration.name, default, args, globals);
            texts.push(match value {
                Some(value) => format!("{}={value}", declaration.name),
                None => declaration.name.clone(),
            });
        }
        self.record(format!("ARG {}", texts.join(" ")));
        Ok(())
    }

    fn expose(&mut self, words: &[String]) -> Lowering<()> {
        let escape = self.lowerer.setting.dockerfile.directives.escape;
        let mut ports = Vec::new();
        for word in words {
            let expansion = expand_words(word, escape, &|name| self.state.scope.get(name));
            for word in expansion.map_err(|error| self.unexpanded(word, &error))?.words {
                let exposed = parse_ports(&word).map_err(|error| {
                    let problem = Problem::input("dockerfile::expose", error.to_string());
                    Box::new(problem.help("a port is a number or a range, with `/tcp`, `/udp` or `/sctp`"))
                })?;
                ports.extend(exposed.ports.iter().map(ToString::to_string));
            }
        }
        for port in &ports {
            self.state
                .config
                .config
                .exposed_ports
                .insert(port.clone(), Value::Object(serde_json::Map::new()));
        }
        self.record(format!("EXPOSE {}", plain_list(&ports)));
        Ok(())
    }

    fn user(&mut self, user: &str) -> Lowering<()> {
        let user = self.expand(user)?;
        self.record(format!("USER {user}"));
        self.state.config.config.user = user;
        Ok(())
    }

    fn command(&self, command: &ShellOrExec) -> Vec<String> {
        match command {
            ShellOrExec::Shell(text) => self.with_shell(text.clone()),
            ShellOrExec::Exec(words) => words.clone(),
        }
    }

    fn cmd(&mut self, command: &ShellOrExec) -> Lowering<()> {
        let argv = self.command(command);
        self.record(format!("CMD {}", quoted_list(&argv)));
        self.state.config.config.cmd = given(argv);
        self.state.config.config.args_escaped = Some(true);
        self.has_cmd = true;
        Ok(())
    }

    fn entrypoint(&mut self, command: &ShellOrExec) -> Lowering<()> {
        let argv = self.command(command);
        self.record(format!("ENTRYPOINT {}", quoted_list(&argv)));
        self.state.config.config.entrypoint = given(argv);
        if !self.has_cmd {
            self.state.config.config.cmd = None;
        }
        Ok(())
    }

    fn shell(&mut self, command: &[String]) -> Lowering<()> {
        self.record(format!("SHELL {}", plain_list(command)));
        self.state.config.config.shell = Some(command.to_vec());
        Ok(())
    }

    fn stop_signal(&mut self, signal: &str) -> Lowering<()> {
        let signal = self.expand(signal)?;
        if signal_number(&signal).is_none() {
            let message = format!("`{signal}` is not a signal");
            let help = "a signal is a name such as SIGTERM or a number";
            return Err(Box::new(Problem::input("dockerfile::signal", message).help(help)));
        }
        self.record(format!("STOPSIGNAL {signal}"));
        self.state.config.config.stop_signal = Some(signal);
        Ok(())
    }

    fn healthcheck(&mut self, healthcheck: &Healthcheck) -> Lowering<()> {
        let none = Probe::default();
        let (test, probe) = match healthcheck {
            Healthcheck::None => (vec!["NONE".to_string()], &none),
            Healthcheck::Probe(probe) => {
                let test = match &probe.command {
                    ShellOrExec::Shell(text) => vec!["CMD-SHELL".to_string(), text.clone()],
                    ShellOrExec::Exec(words) => {
                        std::iter::once("CMD".to_string()).chain(words.clone()).collect()
                    }
                };
                (test, probe)
            }
        };
        let durations = [
            ("Interval", probe.interval),
            ("Timeout", probe.timeout),
            ("StartPeriod", probe.start_period),
            ("StartInterval", probe.start_interval),
        ];
        let mut text = format!("HEALTHCHECK {{Test:{}", plain_list(&test));
        let mut value = json!({ "Test": test });
        for (name, duration) in durations {
            text.push_str(&format!(" {name}:{}", go_duration(duration)));
            if duration != 0 {
                value[name] = json!(duration);
            }
        }
        if probe.retries != 0 {
            value["Retries"] = json!(probe.retries);
        }
        self.state.config.config.healthcheck = Some(value);
        self.record(format!("{text} Retries:{}}}", probe.retries));
        Ok(())
    }

    fn volume(&mut self, written: &[String]) -> Lowering<()> {
        let paths = written.iter().map(|path| self.expand(path)).collect::<Lowering<Vec<String>>>()?;
        if let Some(empty) = paths.iter().position(String::is_empty) {
            let message = format!("the path `{}` of VOLUME is empty after expansion", written[empty]);
            let help = "give the variable a value with ARG or ENV before this line";
            return Err(Box::new(Problem::input("dockerfile::volume", message).help(help)));
        }
        let empty = || Value::Object(serde_json::Map::new());
        let volumes: BTreeMap<String, Value> = paths.iter().map(|path| (path.clone(), empty())).collect();
        self.state.config.config.volumes.extend(volumes);
        self.record(format!("VOLUME {}", plain_list(&paths)));
        Ok(())
    }
}

/// An empty list clears what the base says, and is left out of the config.
fn given(argv: Vec<String>) -> Option<Vec<String>> {
    (!argv.is_empty()).then_some(argv)
}

/// A duration as Go's `time.Duration` prints: `1m30s`, `1.5s`, `300ms`.
fn go_duration(nanoseconds: i64) -> String {
    let fraction = |unit: i64, name: &str| {
        let text =
            format!("{}.{:0width$}", nanoseconds / unit, nanoseconds % unit, width = unit.ilog10() as usize);
        format!("{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match nanoseconds {
        0 => "0s".to_string(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => fraction(1_000, "µs"),
        1_000_000..1_000_000_000 => fraction(1_000_000, "ms"),
        _ => {
            let seconds = nanoseconds / 1_000_000_000;
            let rest = format!("{}.{:09}", seconds % 60, nanoseconds % 1_000_000_000);
            let rest = rest.trim_end_matches('0').trim_end_matches('.');
            match (seconds / 3600, seconds / 60 % 60) {
                (0, 0) => format!("{rest}s"),
                (0, minutes) => format!("{minutes}m{rest}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
            }
        }
    }
}

fn joined(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

pub(super) fn expanded(result: Result<Expansion, ExpandError>) -> Lowering<String> {
    result.map(|expansion| expansion.value).map_err(|error| Box::new(expand_problem(&error)))
}

/// Without a place, which depends on where the word stands.
pub(super) fn expand_problem(error: &ExpandError) -> Problem {
    let problem = Problem::input("dockerfile::expand", error.to_string());
    problem.help(match &error.reason {
        ExpandReason::Required { name, .. } => {
            format!("give `{name}` a value, for example with a build argument")
        }
        ExpandReason::Quote(_) => "close it, or put the escape character before it".to_string(),
        ExpandReason::Brace
        | ExpandReason::Replacement(_)
        | ExpandReason::NoName
        | ExpandReason::Modifier { .. } => {
            "put the escape character before the `$` if it stands for itself".to_string()
        }
        ExpandReason::Pattern(_) | ExpandReason::PatternCost(_) => {
            "`*` and `?` are the only wildcards".to_string()
        }
        ExpandReason::TooDeep | ExpandReason::TooLong => {
            "give the parts names of their own with ARG".to_string()
        }
    })
}

/// Whether this version can do what `instruction` asks, as far as its flags tell.
pub(super) fn supported(instruction: &Instruction, setting: &Setting<'_>) -> Lowering<()> {
    match &instruction.kind {
        InstructionKind::Run(run) => run::supported(run, setting),
        _ => Ok(()),
    }
}

/// A path without `.`, `..` and doubled slashes.
pub(super) fn clean(path: &str) -> String {
    let components = super::reach::clean(path);
    let text: Vec<String> =
        components.iter().map(|component| String::from_utf8_lossy(component).into_owned()).collect();
    format!("/{}", text.join("/"))
}

/// The instruction for people: one line, whatever the Dockerfile spread it over, without credentials of URLs.
fn one_line(instruction: &Instruction) -> String {
    redacted(&instruction.text.split_whitespace().collect::<Vec<_>>().join(" "))
}
