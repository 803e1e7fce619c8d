//! Instructions of one stage to steps and config.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::history::{Makes, plain_list, quoted, quoted_list, record};
use super::lower::{Copied, Lowerer, StageState};
use super::op::{Chmod, CopyFrom, CopyOp, InlineFile, MakeDirectoryOp, Op, RunOp, Script};
use crate::diag::Problem;
use crate::dockerfile::{
    self, AddFiles, Arg, CopyFiles, ExpandError, Expansion, Healthcheck, Heredoc, Instruction,
    InstructionKind, KeyValue, Run, Security, ShellOrExec, expand_heredoc, expand_word, expand_words,
    parse_ports, signal_number,
};
use crate::model::Network;

const SHM_SIZE: u64 = 64 << 20;
const HOSTNAME: &str = "buildkitsandbox";

/// One stage on its way from FROM to its last instruction.
pub(super) struct StageLowerer<'l, 'a> {
    pub lowerer: &'l mut Lowerer<'a>,
    pub state: StageState,
    /// CMD was given in this stage, so ENTRYPOINT keeps it.
    has_cmd: bool,
}

/// Files to be copied, whichever instruction asks.
struct Files<'i> {
    keyword: &'static str,
    sources: &'i [String],
    heredocs: &'i [Heredoc],
    destination: &'i str,
    chown: Option<&'i String>,
    chmod: Option<&'i String>,
    link: bool,
    exclude: &'i [String],
    unpack: bool,
}

type Lowering<T> = Result<T, Box<Problem>>;

impl<'l, 'a> StageLowerer<'l, 'a> {
    pub fn new(lowerer: &'l mut Lowerer<'a>, state: StageState) -> Self {
        Self { lowerer, state, has_cmd: false }
    }

    pub fn instruction(&mut self, instruction: &Instruction) {
        if let Err(problem) = self.lower(instruction) {
            self.lowerer.problem_of(instruction, *problem);
        }
    }

    fn lower(&mut self, instruction: &Instruction) -> Lowering<()> {
        supported(instruction)?;
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

    fn expand(&self, word: &str) -> Lowering<String> {
        let escape = self.lowerer.setting.dockerfile.directives.escape;
        expanded(expand_word(word, escape, &|name| self.state.scope.get(name)))
    }

    /// A file-system step on top of the stage's.
    fn step(&mut self, instruction: &Instruction, op: Op) {
        let text = one_line(instruction);
        let state = &self.state;
        let platform = state.platform.clone();
        let id = self.lowerer.add_step(&state.title, &text, Some(&instruction.place), &platform, op);
        self.state.files = id;
    }

    fn run(&mut self, instruction: &Instruction, run: &Run) -> Lowering<()> {
        let (argv, script) = match run.script() {
            dockerfile::Script::Shell(text) => (self.with_shell(text), None),
            dockerfile::Script::Exec(words) => (words, None),
            dockerfile::Script::File { name, content } => {
                (self.with_shell(format!("/dev/pipes/{name}")), Some(Script { name, content }))
            }
        };
        let setting = self.lowerer.setting;
        let network = match run.network {
            dockerfile::Network::Default => setting.network,
            dockerfile::Network::None => Network::None,
            dockerfile::Network::Host => Network::Host,
        };
        let declared = self.state.scope.declared();
        let count = if declared.is_empty() { Vec::new() } else { vec![format!("|{}", declared.len())] };
        let command: Vec<String> = count.into_iter().chain(declared).chain(argv.iter().cloned()).collect();
        let op = RunOp {
            input: self.state.files,
            argv,
            env: self.state.scope.environment(),
            proxy_env: self.state.scope.proxies(setting.args),
            cwd: self.working_directory().to_string(),
            user: self.state.config.config.user.clone(),
            network,
            shm_size: setting.shm_size.unwrap_or(SHM_SIZE),
            extra_hosts: setting.extra_hosts.clone(),
            hostname: HOSTNAME.to_string(),
            script,
        };
        self.step(instruction, Op::Run(op));
        record(&mut self.state.config, format!("RUN {} # buildkit", command.join(" ")), Makes::Layer);
        Ok(())
    }

    fn with_shell(&self, text: String) -> Vec<String> {
        let shell = self.state.config.config.shell.clone();
        let mut argv = shell.unwrap_or_else(|| vec!["/bin/sh".to_string(), "-c".to_string()]);
        argv.push(text);
        argv
    }

    fn working_directory(&self) -> &str {
        match self.state.config.config.working_dir.as_str() {
            "" => "/",
            directory => directory,
        }
    }

    fn copy(&mut self, instruction: &Instruction, copy: &CopyFiles) -> Lowering<()> {
        let from = match &copy.from {
            None => CopyFrom::MainContext,
            Some(from) => {
                let platform = self.state.platform.clone();
                match self.lowerer.copy_from(from, &platform, &instruction.place) {
                    Some(Copied::Step(step)) => CopyFrom::Step(step),
                    Some(Copied::Context(name)) => CopyFrom::Context(name),
                    // Said already, or asked for.
                    None => return Ok(()),
                }
            }
        };
        let files = Files {
            keyword: "COPY",
            sources: &copy.sources,
            heredocs: &copy.heredocs,
            destination: &copy.destination,
            chown: copy.chown.as_ref(),
            chmod: copy.chmod.as_ref(),
            link: copy.link,
            exclude: &copy.exclude,
            unpack: false,
        };
        self.files(instruction, from, &files)
    }

    fn add(&mut self, instruction: &Instruction, add: &AddFiles) -> Lowering<()> {
        for source in &add.sources {
            if is_remote(&self.expand(source)?) {
                return Err(not_yet("`ADD` of a remote source"));
            }
        }
        if add.checksum.is_some() || add.keep_git_dir == Some(true) {
            let message = "`--checksum` and `--keep-git-dir` are for remote sources".to_string();
            return Err(Box::new(Problem::input("dockerfile::flag", message)));
        }
        let files = Files {
            keyword: "ADD",
            sources: &add.sources,
            heredocs: &add.heredocs,
            destination: &add.destination,
            chown: add.chown.as_ref(),
            chmod: add.chmod.as_ref(),
            link: add.link,
            exclude: &add.exclude,
            unpack: add.unpack.unwrap_or(true),
        };
        self.files(instruction, CopyFrom::MainContext, &files)
    }

    fn files(&mut self, instruction: &Instruction, from: CopyFrom, files: &Files<'_>) -> Lowering<()> {
        let sources =
            files.sources.iter().map(|source| self.expand(source)).collect::<Lowering<Vec<String>>>()?;
        let destination = self.expand(files.destination)?;
        let chown = files.chown.map(|chown| self.expand(chown)).transpose()?;
        let chmod_text = files.chmod.map(|chmod| self.expand(chmod)).transpose()?;
        let chmod = chmod_text.as_deref().map(Chmod::parse).transpose();
        let chmod =
            chmod.map_err(|error| Box::new(Problem::input("dockerfile::chmod", error.to_string())))?;
        let inline = files
            .heredocs
            .iter()
            .map(|heredoc| self.inline(heredoc))
            .collect::<Lowering<Vec<InlineFile>>>()?;
        let mut created_by = files.keyword.to_string();
        for (flag, value) in [("chown", &chown), ("chmod", &chmod_text)] {
            if let Some(value) = value {
                created_by.push_str(&format!(" --{flag}={value}"));
            }
        }
        let names = sources.iter().cloned().chain(inline.iter().map(|file| format!("<<{}", file.name)));
        for word in names.chain([destination.clone()]) {
            created_by.push_str(&format!(" {word}"));
        }
        let op = CopyOp {
            input: self.state.files,
            from,
            sources,
            inline,
            destination: self.absolute(&destination),
            chown,
            chmod,
            // BuildKit's linked copies know no modes: with `--chmod` it copies as without `--link`.
            link: files.link && files.chmod.is_none(),
            exclude: files.exclude.to_vec(),
            unpack: files.unpack,
        };
        self.step(instruction, Op::Copy(op));
        record(&mut self.state.config, format!("{created_by} # buildkit"), Makes::Layer);
        Ok(())
    }

    fn inline(&self, heredoc: &Heredoc) -> Lowering<InlineFile> {
        let body = heredoc.body();
        let content = if heredoc.expand {
            expanded(expand_heredoc(&body, &|name| self.state.scope.get(name)))?
        } else {
            body
        };
        Ok(InlineFile { name: heredoc.name.clone(), content })
    }

    /// A destination from the root; what its end says, a directory or not, is kept.
    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') {
            return path.to_string();
        }
        let joined = format!("{}/{path}", self.working_directory().trim_end_matches('/'));
        if path == "." || path.is_empty() { format!("{joined}/") } else { joined }
    }

    fn workdir(&mut self, instruction: &Instruction, path: &str) -> Lowering<()> {
        let path = self.expand(path)?;
        if path.is_empty() {
            return Err(Box::new(Problem::input("dockerfile::workdir", "WORKDIR is empty after expansion")));
        }
        let absolute = clean(&self.absolute(&path));
        self.state.config.config.working_dir.clone_from(&absolute);
        let created_by = format!("WORKDIR {absolute}");
        if absolute == "/" {
            self.record(created_by);
            return Ok(());
        }
        let user = self.state.config.config.user.clone();
        let op = MakeDirectoryOp { input: self.state.files, path: absolute, user };
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
            let default = declaration.default.as_ref().map(|word| self.expand(word)).transpose()?;
            let (args, globals) = (self.lowerer.setting.args, &self.lowerer.globals);
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
            let words =
                expand_words(word, escape, &|name| self.state.scope.get(name)).map_err(expand_problem)?.words;
            for word in words {
                let exposed = parse_ports(&word)
                    .map_err(|error| Box::new(Problem::input("dockerfile::expose", error.to_string())))?;
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
        let (value, text) = match healthcheck {
            Healthcheck::None => {
                (json!({"Test": ["NONE"]}), healthcheck_history(&["NONE".to_string()], [0; 4], 0))
            }
            Healthcheck::Probe(probe) => {
                let test: Vec<String> = match &probe.command {
                    ShellOrExec::Shell(text) => vec!["CMD-SHELL".to_string(), text.clone()],
                    ShellOrExec::Exec(words) => {
                        std::iter::once("CMD".to_string()).chain(words.clone()).collect()
                    }
                };
                let durations = [probe.interval, probe.timeout, probe.start_period, probe.start_interval];
                let mut value = json!({ "Test": test });
                for (name, duration) in
                    ["Interval", "Timeout", "StartPeriod", "StartInterval"].into_iter().zip(durations)
                {
                    if duration != 0 {
                        value[name] = json!(duration);
                    }
                }
                if probe.retries != 0 {
                    value["Retries"] = json!(probe.retries);
                }
                (value, healthcheck_history(&test, durations, probe.retries))
            }
        };
        self.state.config.config.healthcheck = Some(value);
        self.record(text);
        Ok(())
    }

    fn volume(&mut self, paths: &[String]) -> Lowering<()> {
        let paths = paths.iter().map(|path| self.expand(path)).collect::<Lowering<Vec<String>>>()?;
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

/// The history of HEALTHCHECK as Go prints the config's struct with `%q`.
fn healthcheck_history(test: &[String], durations: [i64; 4], retries: u32) -> String {
    let durations: Vec<String> =
        durations.iter().map(|nanoseconds| quoted(&go_duration(*nanoseconds))).collect();
    let retries = char::from_u32(retries)
        .map_or_else(|| retries.to_string(), |character| character.escape_default().to_string());
    format!("HEALTHCHECK &{{{} {} '{retries}'}}", quoted_list(test), durations.join(" "))
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

fn expanded(result: Result<Expansion, ExpandError>) -> Lowering<String> {
    result.map(|expansion| expansion.value).map_err(expand_problem)
}

fn expand_problem(error: ExpandError) -> Box<Problem> {
    Box::new(Problem::input("dockerfile::expand", error.to_string()))
}

/// Whether this version can do what `instruction` asks, as far as its flags tell.
pub(super) fn supported(instruction: &Instruction) -> Lowering<()> {
    let not_supported = match &instruction.kind {
        InstructionKind::Run(run) if !run.mounts.is_empty() => "`RUN --mount`",
        InstructionKind::Run(run) if run.security == Security::Insecure => "`RUN --security=insecure`",
        InstructionKind::Run(run) if !run.devices.is_empty() => "`RUN --device`",
        InstructionKind::Copy(copy) if copy.parents => "`COPY --parents`",
        _ => return Ok(()),
    };
    Err(not_yet(not_supported))
}

fn not_yet(what: &str) -> Box<Problem> {
    Box::new(
        Problem::input("dockerfile::not-yet", format!("{what} is not supported by this version of mab"))
            .help("leave it out for now; nothing was built"),
    )
}

fn is_remote(source: &str) -> bool {
    let lower = source.to_ascii_lowercase();
    ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|prefix| lower.starts_with(prefix))
}

/// A path without `.`, `..` and doubled slashes.
fn clean(path: &str) -> String {
    let components = super::reach::clean(path);
    let text: Vec<String> =
        components.iter().map(|component| String::from_utf8_lossy(component).into_owned()).collect();
    format!("/{}", text.join("/"))
}

/// The instruction for people: one line, whatever the Dockerfile spread it over.
fn one_line(instruction: &Instruction) -> String {
    instruction.text.split_whitespace().collect::<Vec<_>>().join(" ")
}
