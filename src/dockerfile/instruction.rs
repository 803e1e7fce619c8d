//! The closed list of instructions, and how the plain ones are read. `COPY`, `ADD`, `RUN` and
//! `HEALTHCHECK` have files of their own; `FROM` begins a stage and is no instruction of one.

use super::arguments::{self, JsonForm, KeyValue, PairsError, json_form};
use super::copy::{self, AddFiles, CopyFiles};
use super::directive::CheckOptions;
use super::expose;
use super::flags::Flags;
use super::healthcheck::{self, Healthcheck};
use super::parse::{Reader, parse_trigger};
use super::run::{self, Run};
use super::signal::signal_number;
use crate::diag::{Place, Problem, nearest};

/// One instruction of a stage, or a global `ARG`.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// The whole instruction, heredoc bodies included.
    pub place: Place,
    /// The keyword as written.
    pub keyword: String,
    /// As written, continuation lines joined, without heredoc bodies.
    pub text: String,
    /// What a `# check=` comment directly above asks for.
    pub check: Option<CheckOptions>,
    pub kind: InstructionKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum InstructionKind {
    Add(AddFiles),
    Copy(CopyFiles),
    Run(Run),
    Env(Env),
    Arg(Arg),
    Label(Label),
    Expose(Expose),
    User(User),
    Workdir(Workdir),
    Cmd(Cmd),
    Entrypoint(Entrypoint),
    Shell(Shell),
    StopSignal(StopSignal),
    Healthcheck(Healthcheck),
    Volume(Volume),
    OnBuild(OnBuild),
    Maintainer(Maintainer),
}

impl PartialEq for Instruction {
    /// Equal when both do the same; where and how they were written does not matter.
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// A command line in one of its two forms. Variables in it are the shell's affair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShellOrExec {
    Shell(String),
    Exec(Vec<String>),
}

impl Default for ShellOrExec {
    /// No command.
    fn default() -> Self {
        Self::Exec(Vec::new())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Env {
    pub pairs: Vec<KeyValue>,
    /// `ENV key value`
    pub legacy: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub pairs: Vec<KeyValue>,
    /// `LABEL key value`
    pub legacy: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// In order; each sees those before it.
    pub declarations: Vec<ArgDeclaration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgDeclaration {
    pub name: String,
    pub default: Option<String>,
    /// The text after the name in a comment directly above.
    pub description: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expose {
    /// To be expanded, split again, and read by [`super::parse_ports`].
    pub ports: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub user: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workdir {
    pub path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmd {
    pub command: ShellOrExec,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrypoint {
    pub command: ShellOrExec,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shell {
    pub command: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopSignal {
    pub signal: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub paths: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct OnBuild {
    /// What goes into the image's config: the trigger as written, heredocs included.
    pub text: String,
    /// The trigger, unless it will fail once a child image runs it.
    pub trigger: Option<Box<Instruction>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maintainer {
    pub name: String,
}

pub(super) type ReadResult<T> = Result<T, Vec<Problem>>;

const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Reads the instruction of `reader`; what is odd but allowed goes to `warnings`.
pub(super) fn read(reader: &Reader<'_>, warnings: &mut Vec<Problem>) -> ReadResult<InstructionKind> {
    Ok(match reader.command.name.as_str() {
        "ADD" => InstructionKind::Add(copy::read_add(reader)?),
        "ARG" => InstructionKind::Arg(read_arg(reader)?),
        "CMD" => InstructionKind::Cmd(Cmd { command: read_command(reader)? }),
        "COPY" => InstructionKind::Copy(copy::read_copy(reader)?),
        "ENTRYPOINT" => InstructionKind::Entrypoint(Entrypoint { command: read_command(reader)? }),
        "ENV" => {
            let (pairs, legacy) = read_pairs(reader)?;
            InstructionKind::Env(Env { pairs, legacy })
        }
        "EXPOSE" => InstructionKind::Expose(read_expose(reader)?),
        "HEALTHCHECK" => InstructionKind::Healthcheck(healthcheck::read(reader)?),
        "LABEL" => {
            let (pairs, legacy) = read_pairs(reader)?;
            InstructionKind::Label(Label { pairs, legacy })
        }
        "MAINTAINER" => InstructionKind::Maintainer(Maintainer { name: read_rest(reader)? }),
        "ONBUILD" => InstructionKind::OnBuild(read_onbuild(reader, warnings)?),
        "RUN" => InstructionKind::Run(run::read(reader)?),
        "SHELL" => InstructionKind::Shell(read_shell(reader)?),
        "STOPSIGNAL" => InstructionKind::StopSignal(read_stop_signal(reader)?),
        "USER" => InstructionKind::User(User { user: read_rest(reader)? }),
        "VOLUME" => InstructionKind::Volume(read_volume(reader)?),
        "WORKDIR" => InstructionKind::Workdir(Workdir { path: read_rest(reader)? }),
        _ => return Err(vec![unknown_instruction(reader)]),
    })
}

fn unknown_instruction(reader: &Reader<'_>) -> Problem {
    let command = &reader.command;
    let message = format!("`{}` is not an instruction", command.keyword);
    let problem = reader.problem_at(&command.keyword_range, "dockerfile::unknown-instruction", message);
    match nearest(&command.name, NAMES) {
        Some(meant) => problem.help(format!("did you mean {meant}?")),
        None => problem.help("continue the line above with the escape character if this belongs to it"),
    }
}

pub(super) fn one(problem: Problem) -> Vec<Problem> {
    vec![problem]
}

pub(super) fn missing_argument(reader: &Reader<'_>) -> Vec<Problem> {
    let message = format!("{} needs an argument", reader.command.name);
    one(reader.problem("dockerfile::missing-argument", message))
}

pub(super) fn not_only_strings(reader: &Reader<'_>) -> Vec<Problem> {
    let message = format!("the JSON array of {} holds something that is no string", reader.command.name);
    let problem = reader.problem_at(&reader.arguments_range(), "dockerfile::json-form", message);
    one(problem.help("put every element in double quotes"))
}

/// The shell or exec form; used where no flags exist.
fn read_command(reader: &Reader<'_>) -> ReadResult<ShellOrExec> {
    Flags::read(reader, &[])?;
    shell_or_exec(reader, reader.command.arguments)
}

pub(super) fn shell_or_exec(reader: &Reader<'_>, arguments: &str) -> ReadResult<ShellOrExec> {
    match json_form(arguments) {
        JsonForm::Strings(words) => Ok(ShellOrExec::Exec(words)),
        JsonForm::Other => Ok(ShellOrExec::Shell(arguments.to_string())),
        JsonForm::NotOnlyStrings => Err(not_only_strings(reader)),
    }
}

/// A JSON array, or words between blanks; at least one.
pub(super) fn word_list(reader: &Reader<'_>) -> ReadResult<Vec<String>> {
    match json_form(reader.command.arguments) {
        JsonForm::Strings(words) => Ok(words),
        JsonForm::Other => {
            Ok(arguments::blank_separated(reader.command.arguments).map(str::to_string).collect())
        }
        JsonForm::NotOnlyStrings => Err(not_only_strings(reader)),
    }
}

/// The rest of the line as one word.
fn read_rest(reader: &Reader<'_>) -> ReadResult<String> {
    Flags::read(reader, &[])?;
    match reader.command.arguments {
        "" => Err(missing_argument(reader)),
        rest => Ok(rest.to_string()),
    }
}

fn read_pairs(reader: &Reader<'_>) -> ReadResult<(Vec<KeyValue>, bool)> {
    Flags::read(reader, &[])?;
    let name = &reader.command.name;
    let help = format!("write `{name} key=value`");
    match arguments::pairs(reader.command.arguments, reader.escape) {
        Ok((pairs, _)) if pairs.is_empty() => Err(missing_argument(reader)),
        Ok(pairs) => Ok(pairs),
        Err(PairsError::OneArgument(key)) => {
            let message = format!("{name} gives `{key}` no value");
            Err(one(reader.problem("dockerfile::key-value", message).help(help)))
        }
        Err(PairsError::NoEquals(word)) => {
            let message = format!("`{word}` has no `=`, unlike the words before it");
            Err(one(reader
                .problem("dockerfile::key-value", message)
                .help(format!("{help}, or quote the value"))))
        }
        Err(PairsError::BlankName) => Err(one(blank_name(reader))),
    }
}

fn blank_name(reader: &Reader<'_>) -> Problem {
    reader
        .problem("dockerfile::blank-name", format!("a name is missing before `=` in {}", reader.command.name))
}

fn read_arg(reader: &Reader<'_>) -> ReadResult<Arg> {
    Flags::read(reader, &[])?;
    let words = arguments::quoted_words(reader.command.arguments, reader.escape);
    if words.is_empty() {
        return Err(missing_argument(reader));
    }
    let declaration = |word: String| {
        let (name, default) = match word.split_once('=') {
            Some(("", _)) => return Err(one(blank_name(reader))),
            Some((name, value)) => (name.to_string(), Some(value.to_string())),
            None => (word, None),
        };
        Ok(ArgDeclaration { description: reader.description_of(&name), name, default })
    };
    Ok(Arg { declarations: words.into_iter().map(declaration).collect::<Result<_, _>>()? })
}

fn read_expose(reader: &Reader<'_>) -> ReadResult<Expose> {
    Flags::read(reader, &[])?;
    let mut ports: Vec<String> =
        arguments::blank_separated(reader.command.arguments).map(str::to_string).collect();
    if ports.is_empty() {
        return Err(missing_argument(reader));
    }
    // The order of the history, as BuildKit has it.
    ports.sort();
    let problems: Vec<Problem> = ports
        .iter()
        .filter(|port| is_plain(port) && !port.contains(char::is_whitespace))
        .filter_map(|port| expose::parse_ports(port).err())
        .map(|error| reader.problem_at(&reader.arguments_range(), "dockerfile::port", error.to_string()))
        .collect();
    if problems.is_empty() { Ok(Expose { ports }) } else { Err(problems) }
}

/// Whether expansion would leave `word` alone, so that its value is known already.
pub(super) fn is_plain(word: &str) -> bool {
    !word.contains(['$', '\'', '"', '\\', '`'])
}

fn read_shell(reader: &Reader<'_>) -> ReadResult<Shell> {
    match read_command(reader)? {
        ShellOrExec::Exec(command) if !command.is_empty() => Ok(Shell { command }),
        ShellOrExec::Shell(text) if !text.is_empty() => {
            let message = "SHELL takes a JSON array of strings";
            let problem = reader.problem_at(&reader.arguments_range(), "dockerfile::shell-form", message);
            Err(one(problem.help("write `SHELL [\"/bin/sh\", \"-c\"]`, with double quotes")))
        }
        _ => Err(missing_argument(reader)),
    }
}

fn read_stop_signal(reader: &Reader<'_>) -> ReadResult<StopSignal> {
    let signal = read_rest(reader)?;
    if is_plain(&signal) && signal_number(&signal).is_none() {
        let message = format!("`{signal}` is not a signal");
        let problem = reader.problem_at(&reader.arguments_range(), "dockerfile::stop-signal", message);
        return Err(one(problem.help("use a number, or a name such as SIGTERM")));
    }
    Ok(StopSignal { signal })
}

fn read_volume(reader: &Reader<'_>) -> ReadResult<Volume> {
    Flags::read(reader, &[])?;
    let paths: Vec<String> = word_list(reader)?.iter().map(|path| path.trim().to_string()).collect();
    if paths.is_empty() {
        return Err(missing_argument(reader));
    }
    if paths.iter().any(String::is_empty) {
        return Err(one(reader.problem("dockerfile::missing-argument", "a path of VOLUME is empty")));
    }
    Ok(Volume { paths })
}

/// Whether BuildKit sees the problem before it knows what the words mean.
fn is_of_the_form(problem: &Problem) -> bool {
    matches!(problem.code, "dockerfile::key-value" | "dockerfile::json-form")
}

fn read_onbuild(reader: &Reader<'_>, warnings: &mut Vec<Problem>) -> ReadResult<OnBuild> {
    Flags::read(reader, &[])?;
    let trigger = reader.command.arguments;
    let keyword = trigger.split(super::lines::BLANKS).next().unwrap_or_default().to_ascii_uppercase();
    if keyword.is_empty() {
        return Err(missing_argument(reader));
    }
    if let "ONBUILD" | "FROM" | "MAINTAINER" = keyword.as_str() {
        let message = format!("{keyword} cannot be an ONBUILD trigger");
        return Err(one(reader.problem_at(&reader.arguments_range(), "dockerfile::trigger", message)));
    }
    let mut text = trigger.to_string();
    for heredoc in &reader.line.heredocs {
        text.push('\n');
        text.push_str(&heredoc.content);
        text.push_str(&heredoc.name);
    }
    // BuildKit looks at the form of a trigger only, so one that is broken otherwise fails in a child image.
    let trigger = match parse_trigger(reader, reader.command.arguments_at) {
        Ok(instruction) => Some(Box::new(instruction)),
        Err(problems) if problems.iter().any(is_of_the_form) => return Err(problems),
        Err(problems) => {
            let as_warning =
                |problem: Problem| Problem { severity: crate::diag::Severity::Warning, ..problem };
            warnings.extend(problems.into_iter().map(as_warning));
            None
        }
    };
    Ok(OnBuild { text, trigger })
}
