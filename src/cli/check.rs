//! `mab check` on the command line: its arguments, and its answers for people and machines.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::args::{ProjectArguments, variable};
use super::{exit, failed, print_text, printed, runtime, surroundings};
use crate::command::check::{CheckOptions, Checked, dockerfiles_among};
use crate::command::fix::Fixed;
use crate::command::{self, Overlay, SessionOptions};
use crate::diag::{Kind, Problem};
use crate::facts::Facts;
use crate::lint;
use crate::ui::{Progress, report};

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct CheckArguments {
    #[command(flatten)]
    pub project: ProjectArguments,
    /// Checks this Dockerfile, without a build file
    #[arg(long, value_name = "PATH")]
    dockerfile: Vec<PathBuf>,
    /// Gives every Dockerfile a build argument
    #[arg(long = "build-arg", value_name = "NAME=VALUE", value_parser = variable)]
    args: Vec<(String, String)>,
    /// How findings are written
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    format: FormatArgument,
    /// Fails when anything is found
    #[arg(long)]
    deny_warnings: bool,
    /// Asks no registry about base images
    #[arg(long)]
    offline: bool,
    /// Makes the edits that findings carry, in Dockerfiles and the build file, and tells what is left
    #[arg(long)]
    fix: bool,
    /// Shows the edits that `--fix` would make, and writes nothing
    #[arg(long)]
    diff: bool,
    /// The folder of the local store [default: $XDG_DATA_HOME/mab]
    #[arg(long, value_name = "PATH", env = "MAB_STORE")]
    store: Option<PathBuf>,
    /// Explains a rule, and checks nothing
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,
    /// Lists the rules, and checks nothing
    #[arg(long)]
    list: bool,
}

const EXAMPLES: &str = "\
Rules are skipped by `# check=skip=RULE` at the top of a Dockerfile or above an instruction, and by
`[lint] skip = [\"RULE\"]` in multiarch.toml. `error=true` in either makes warnings fail.

`--format json` prints {version, findings, problems}. A finding has rule, level, message, help, url, file,
start and end (line, column, offset), targets, platforms (empty: all), and edit (start, end, replacement)
where the remedy is mechanical. Problems are those of the build file, and of Dockerfiles that cannot be built. `--format sarif` prints SARIF 2.1.0.

Exit codes: 0 nothing worse than warnings, 2 errors.

Examples:
  mab check                                    the default group, or every target
  mab check Dockerfile --platform linux/amd64,linux/arm/v7
  mab check --format sarif > check.sarif
  mab check --fix                              what needs no thought is put right
  mab check --diff                             what that would change
  mab check --explain arg-not-in-stage";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArgument {
    Human,
    Json,
    Sarif,
}

impl CheckArguments {
    fn options(&self, facts: &Facts) -> CheckOptions {
        let project = self.project.options();
        let mut dockerfiles = self.dockerfile.clone();
        let found = dockerfiles_among(&project.names, project.files.first().map(PathBuf::as_path), facts);
        if dockerfiles.is_empty() || !found.is_empty() && !project.names.is_empty() {
            dockerfiles.extend(found);
        }
        CheckOptions {
            project,
            dockerfiles,
            args: self.args.iter().cloned().collect(),
            deny_warnings: self.deny_warnings,
            offline: self.offline,
            session: SessionOptions { store: self.store.clone(), ..SessionOptions::default() },
            overlay: Overlay::default(),
        }
    }
}

pub fn check(arguments: &CheckArguments, facts: &mut Facts) -> ExitCode {
    if arguments.list {
        return printed(Ok(lint::list()), facts, Progress::Auto);
    }
    if let Some(name) = &arguments.explain {
        return printed(explain(name).map_err(|problem| vec![*problem]), facts, Progress::Auto);
    }
    let options = arguments.options(facts);
    let runtime = runtime();
    let checked = match arguments.fix || arguments.diff {
        false => runtime.block_on(command::check::check(&options, facts)),
        true => runtime
            .block_on(command::fix::fix(&options, arguments.diff, facts))
            .map(|fixed| tell_fixes(fixed, arguments.diff, arguments.format)),
    };
    // A registry that does not answer is not waited for.
    runtime.shutdown_background();
    match checked {
        Ok(checked) => answer(checked, arguments.format, facts),
        Err(problems) => failed(&problems, Progress::Auto, Some(facts)),
    }
}

/// Diffs are an answer; that files were written is said beside it.
fn tell_fixes(fixed: Fixed, is_diff: bool, format: FormatArgument) -> Checked {
    for file in &fixed.files {
        let plural = if file.edits == 1 { "" } else { "s" };
        // Nothing is left to do when the streams are closed.
        let _ = match (is_diff, format) {
            (true, FormatArgument::Human) => std::io::stdout().write_all(file.diff().as_bytes()),
            (true, _) => std::io::stderr().write_all(file.diff().as_bytes()),
            (false, _) => writeln!(std::io::stderr(), "{}: {} edit{plural}", file.name, file.edits),
        };
    }
    fixed.checked
}

fn explain(name: &str) -> Result<String, Box<Problem>> {
    if let Some(rule) = lint::rule(name) {
        return Ok(lint::explanation(rule));
    }
    let problem = Problem::input("check::unknown-rule", format!("there is no rule `{name}`"));
    Err(Box::new(match lint::nearest_rule(name) {
        Some(meant) => problem.help(format!("did you mean `{meant}`?")),
        None => problem.help("`mab check --list` names them all"),
    }))
}

fn answer(mut checked: Checked, format: FormatArgument, facts: &Facts) -> ExitCode {
    match format {
        FormatArgument::Human if !checked.warnings.is_empty() => {
            failed(&checked.warnings, Progress::Auto, Some(facts));
        }
        FormatArgument::Human => {}
        FormatArgument::Json | FormatArgument::Sarif => checked.report.problems.append(&mut checked.warnings),
    }
    let checked = &checked;
    let text = match format {
        FormatArgument::Human => human(checked, facts),
        FormatArgument::Json => format!("{:#}\n", lint::to_json(&checked.report)),
        FormatArgument::Sarif => format!("{:#}\n", lint::sarif(&checked.report, env!("CARGO_PKG_VERSION"))),
    };
    print_text(&text, facts, Progress::Auto).unwrap_or_else(|| code(checked))
}

/// The exit code of what was found.
pub fn code(checked: &Checked) -> ExitCode {
    if checked.report.fails() { exit::of_kind(Kind::Input) } else { ExitCode::SUCCESS }
}

/// Findings as they are read, with a line that counts them.
pub fn human(checked: &Checked, facts: &Facts) -> String {
    let surroundings = surroundings(facts);
    let mut text = String::new();
    let findings = checked.report.findings.iter().map(lint::Reported::problem);
    for problem in checked.report.problems.iter().cloned().chain(findings) {
        text.push_str(&report(&problem, &surroundings));
        text.push('\n');
    }
    let (warnings, errors) = checked.report.counts();
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let files = match checked.files {
        0 if !checked.report.problems.is_empty() => "the build file".to_string(),
        files => count(files, "Dockerfile"),
    };
    text.push_str(&match (errors, warnings) {
        (0, 0) => format!("nothing found in {files}\n"),
        (0, _) => {
            format!("{} in {files}; `mab check --explain RULE` tells more\n", count(warnings, "warning"))
        }
        (_, 0) => format!("{} in {files}\n", count(errors, "error")),
        _ => format!("{} and {} in {files}\n", count(errors, "error"), count(warnings, "warning")),
    });
    text
}
