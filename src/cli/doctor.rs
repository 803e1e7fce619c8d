//! `mab doctor` on the command line, and its report for people and machines.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::args::platform;
use super::{exit, print_text, printed, runtime, surroundings};
use crate::base::Platform;
use crate::command::SessionOptions;
use crate::command::doctor::{self, Diagnosis, DoctorOptions};
use crate::diag::{Kind, Problem};
use crate::doctor::{Check, Finding, Level, Trouble, explaining};
use crate::facts::Facts;
use crate::ui::{Progress, Style, count, pad, width};

#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct DoctorArguments {
    /// Only these: kernel, userns, ids, overlay, mounts, network, cgroups, binfmt, platform, store, disk, clock, registry,
    /// builder; notes are told in full, too
    #[arg(value_name = "CHECK", value_parser = check)]
    checks: Vec<Check>,
    /// Platforms that must be built for here, besides those of the build file
    #[arg(long = "platform", value_name = "PLATFORM", value_delimiter = ',', value_parser = platform)]
    platforms: Vec<Platform>,
    /// Puts right what is safe to: installs the profile of AppArmor for this program (as root), and removes from a store
    /// that lacks space what no build used for two weeks
    #[arg(long)]
    fix: bool,
    /// Asks no registry and no builder
    #[arg(long)]
    offline: bool,
    /// Prints {version, findings, fixed}; a finding has check, subject, level (good, note, warning, error), result, and
    /// where something is wrong symptom, test, remedy and fixable
    #[arg(long)]
    json: bool,
    /// The folder of the local store [default: $XDG_DATA_HOME/mab]
    #[arg(long, value_name = "PATH", env = "MAB_STORE")]
    store: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Exit codes: 0 nothing keeps builds from working (there may be warnings), 2 wrong input, 3 something on this machine does,
4 only a registry or a builder does.

Examples:
  mab doctor                                   everything
  mab doctor userns ids                        why does RUN fail for me?
  mab doctor --platform linux/arm64            can I build for that here?
  mab doctor --json | jq '.findings[] | select(.level == \"error\")'
  sudo mab doctor --fix";

fn check(name: &str) -> Result<Check, String> {
    Check::named(name).ok_or_else(|| {
        let names: Vec<&str> = Check::ALL.iter().map(|check| check.name()).collect();
        format!("the checks are {}", names.join(", "))
    })
}

pub fn doctor(arguments: &DoctorArguments, facts: &mut Facts) -> ExitCode {
    let options = DoctorOptions {
        checks: arguments.checks.iter().copied().collect(),
        platforms: arguments.platforms.clone(),
        session: SessionOptions {
            store: arguments.store.clone(),
            is_offline: arguments.offline,
            ..SessionOptions::default()
        },
        is_fixing: arguments.fix,
    };
    let diagnosis = match runtime().block_on(doctor::doctor(&options, facts)) {
        Ok(diagnosis) => diagnosis,
        Err(problems) => return printed(Err(problems), facts, Progress::Auto),
    };
    let text = match arguments.json {
        true => format!("{:#}\n", diagnosis_json(&diagnosis)),
        false => {
            let is_terminal = std::io::stdout().is_terminal();
            let out = crate::ui::Surroundings { is_terminal, ..surroundings(facts) };
            diagnosis_text(&diagnosis, !options.checks.is_empty(), Style { colour: out.wants_colour() })
        }
    };
    print_text(&text, facts, Progress::Auto).unwrap_or_else(|| code(&diagnosis))
}

/// Which checks tell more about these failures; empty if none does.
pub fn advice<'a>(problems: impl Iterator<Item = &'a Problem>) -> String {
    let errors = problems.filter(|problem| problem.is_error());
    let checks: BTreeSet<Check> = errors.filter_map(|problem| explaining(problem.code)).collect();
    let names: Vec<&str> = checks.iter().map(|check| check.name()).collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!("`mab doctor {}` tries this, and says what to do\n", names.join(" ")),
    }
}

fn code(diagnosis: &Diagnosis) -> ExitCode {
    let errors = || diagnosis.findings.iter().filter(|finding| finding.level == Level::Error);
    match errors().all(|finding| finding.check.is_remote()) {
        true if errors().next().is_none() => ExitCode::SUCCESS,
        true => exit::of_kind(Kind::Remote),
        false => exit::of_kind(Kind::Host),
    }
}

fn diagnosis_json(diagnosis: &Diagnosis) -> Value {
    let finding = |finding: &Finding| {
        let mut object = json!({
            "check": format!("doctor::{}", finding.check.name()), "subject": finding.subject,
            "level": finding.level.name(), "result": finding.said,
        });
        if let (Some(trouble), Some(fields)) = (&finding.trouble, object.as_object_mut()) {
            fields.insert("symptom".into(), trouble.symptom.clone().into());
            fields.insert("test".into(), trouble.test.clone().into());
            fields.insert("remedy".into(), trouble.remedy.clone().into());
            fields.insert("fixable".into(), trouble.fix.is_some().into());
        }
        object
    };
    let fixed = diagnosis.fixed.iter().map(|fixed| {
        let (is_done, said) = match &fixed.result {
            Ok(said) => (true, said),
            Err(said) => (false, said),
        };
        json!({ "check": format!("doctor::{}", fixed.check.name()), "done": is_done, "result": said })
    });
    let findings: Vec<Value> = diagnosis.findings.iter().map(finding).collect();
    json!({ "version": 1, "findings": findings, "fixed": fixed.collect::<Vec<_>>() })
}

fn diagnosis_text(diagnosis: &Diagnosis, explains_notes: bool, style: Style) -> String {
    let findings = &diagnosis.findings;
    let widest =
        |text: &dyn Fn(&Finding) -> String| findings.iter().map(|f| width(&text(f))).max().unwrap_or(0);
    let name = |finding: &Finding| finding.check.name().to_string();
    let subject = |finding: &Finding| finding.subject.clone().unwrap_or_default();
    let names = widest(&name);
    let mut text = String::new();
    for finding in findings {
        // Subjects of one check stand in a column of their own.
        let alike = findings.iter().filter(|other| other.check == finding.check);
        let subjects = alike.map(|other| width(&subject(other))).max().unwrap_or(0);
        let subject = match subjects {
            0 => String::new(),
            subjects => format!("{}  ", pad(&subject(finding), subjects)),
        };
        let check = style.name(&pad(&name(finding), names));
        text.push_str(&format!("{} {check}  {subject}{}\n", mark(finding.level, style), finding.said));
        let is_told = finding.level > Level::Note || explains_notes;
        if let Some(trouble) = finding.trouble.as_ref().filter(|_| is_told) {
            text.push_str(&trouble_text(trouble, style));
        }
    }
    for fixed in &diagnosis.fixed {
        text.push_str(&match &fixed.result {
            Ok(said) => format!("{} {said}\n", style.good("fixed:")),
            Err(said) => format!("{} {said}\n", style.bad("not fixed:")),
        });
    }
    text.push_str(&verdict(diagnosis, style));
    text
}

fn mark(level: Level, style: Style) -> String {
    match level {
        Level::Good => style.good("✓"),
        Level::Note => style.dim("·"),
        Level::Warning => style.warn("⚠"),
        Level::Error => style.bad("✗"),
    }
}

fn trouble_text(trouble: &Trouble, style: Style) -> String {
    let lines = [("symptom", &trouble.symptom), ("test", &trouble.test), ("remedy", &trouble.remedy)];
    let part = |(name, said): (&str, &String)| {
        let mut lines = said.lines();
        let first = format!("    {}  {}\n", style.dim(&pad(name, 7)), lines.next().unwrap_or_default());
        lines.fold(first, |text, line| {
            format!("{text}    {}{line}\n", " ".repeat(if line.is_empty() { 0 } else { 9 }))
        })
    };
    lines.into_iter().map(part).collect()
}

fn verdict(diagnosis: &Diagnosis, style: Style) -> String {
    let (errors, warnings) = (diagnosis.count(Level::Error), diagnosis.count(Level::Warning));
    let fixable = match diagnosis.fixable() {
        0 => String::new(),
        number => format!("; `mab doctor --fix` puts {number} of them right"),
    };
    match (errors, warnings) {
        (0, 0) => format!("{}\n", style.good("nothing is wrong")),
        (0, _) => format!("{}{fixable}\n", style.warn(&count(warnings, "warning"))),
        (_, 0) => format!("{}{fixable}\n", style.bad(&count(errors, "error"))),
        _ => {
            let both = format!("{}, {}", count(errors, "error"), count(warnings, "warning"));
            format!("{}{fixable}\n", style.bad(&both))
        }
    }
}
