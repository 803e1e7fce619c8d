//! All rules over all views: what is skipped, what several targets and platforms share, what fails.

use std::collections::{BTreeMap, BTreeSet};

use super::bases::KnownBases;
use super::choice::Choice;
use super::finding::Finding;
use super::rule::{Level, Rule};
use super::rules::RULES;
use super::trace::Trace;
use super::view::{VariantView, View};
use crate::base::Platform;
use crate::context::IgnoreFile;
use crate::diag::{Place, Problem, Severity};
use crate::dockerfile::{CheckOptions, Dockerfile};
use crate::lock::Lock;
use crate::model;

/// One Dockerfile as one target uses it.
pub struct Unit<'a> {
    pub target: &'a str,
    pub dockerfile: &'a Dockerfile,
    /// The platforms that use this Dockerfile; at least one.
    pub variants: Vec<&'a model::Variant>,
    pub ignore: Option<&'a IgnoreFile>,
    pub lock: Option<&'a Lock>,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of files and lines.
    pub findings: Vec<Reported>,
    /// What keeps a Dockerfile from being built at all, and what there is to say of the build file.
    pub problems: Vec<Problem>,
}

/// A finding, told once.
#[derive(Debug)]
pub struct Reported {
    pub rule: &'static Rule,
    pub finding: Finding,
    pub severity: Severity,
    /// The targets it is found in.
    pub targets: BTreeSet<String>,
    /// The platforms it is found for, when that is not all of them.
    pub platforms: BTreeSet<Platform>,
}

/// Runs the rules that `choice` takes over every unit.
pub fn check(units: &[Unit<'_>], build: &Platform, bases: &KnownBases, choice: &Choice) -> Report {
    let mut gathered = Gathered::default();
    for unit in units {
        let variants = unit.variants.iter().map(|variant| VariantView {
            model: variant,
            trace: Trace::new(unit.dockerfile, variant, build, bases),
        });
        let view = View {
            dockerfile: unit.dockerfile,
            build,
            variants: variants.collect(),
            ignore: unit.ignore,
            lock: unit.lock,
            bases,
        };
        gathered.view(unit, &view, choice);
    }
    gathered.finish()
}

type Key = (String, usize, usize, usize, String);

#[derive(Default)]
struct Gathered {
    found: BTreeMap<Key, Reported>,
    /// How many platforms the targets of a finding have.
    possible: BTreeMap<Key, BTreeSet<Platform>>,
    problems: Vec<Problem>,
}

impl Gathered {
    fn view(&mut self, unit: &Unit<'_>, view: &View<'_>, choice: &Choice) {
        let file = file_options(unit);
        for problem in view.variants.iter().flat_map(|variant| &variant.trace.problems) {
            if !self.problems.contains(problem) {
                self.problems.push(problem.clone());
            }
        }
        for (order, rule) in RULES.iter().copied().enumerate().filter(|(_, rule)| choice.looks_at(rule)) {
            if rule.level != Level::Experimental && !choice.takes(rule, &[&file]) {
                continue;
            }
            for finding in (rule.check)(view) {
                let mut options = vec![&file];
                options.extend(comments(unit.dockerfile, &finding));
                if choice.takes(rule, &options) {
                    let severity = match choice.fails(rule, Some(&file)) {
                        true => Severity::Error,
                        false => Severity::Warning,
                    };
                    self.add(order, rule, severity, finding, unit);
                }
            }
        }
    }

    fn add(
        &mut self,
        order: usize,
        rule: &'static Rule,
        severity: Severity,
        finding: Finding,
        unit: &Unit<'_>,
    ) {
        let place = finding.labels.first().map(|label| &label.place);
        let key = (
            place.map(|place| place.source.name.clone()).unwrap_or_default(),
            place.map_or(0, |place| place.span.start),
            order,
            place.map_or(0, |place| place.span.end),
            finding.message.clone(),
        );
        let all = || unit.variants.iter().map(|variant| variant.platform.value.clone());
        let platforms: BTreeSet<Platform> = match &finding.platform {
            Some(platform) => [platform.clone()].into(),
            None => all().collect(),
        };
        self.possible.entry(key.clone()).or_default().extend(all());
        let reported = self.found.entry(key).or_insert_with(|| Reported {
            rule,
            finding,
            severity,
            targets: BTreeSet::new(),
            platforms: BTreeSet::new(),
        });
        reported.severity = reported.severity.max(severity);
        reported.targets.insert(unit.target.to_string());
        reported.platforms.extend(platforms);
    }

    fn finish(mut self) -> Report {
        let possible = std::mem::take(&mut self.possible);
        let findings = self.found.into_iter().map(|(key, mut reported)| {
            if possible.get(&key) == Some(&reported.platforms) {
                reported.platforms.clear();
            }
            reported
        });
        Report { findings: findings.collect(), problems: self.problems }
    }
}

/// The argument `BUILDKIT_DOCKERFILE_CHECK` stands in for the directive.
fn file_options(unit: &Unit<'_>) -> CheckOptions {
    let given = unit.variants.iter().find_map(|variant| variant.args.get("BUILDKIT_DOCKERFILE_CHECK"));
    match given.and_then(|given| CheckOptions::parse(&given.value).ok()) {
        Some(options) => options,
        None => unit.dockerfile.directives.check.clone().map(|check| check.value).unwrap_or_default(),
    }
}

/// The options in comments above the instructions that a finding points at.
fn comments<'a>(dockerfile: &'a Dockerfile, finding: &Finding) -> Vec<&'a CheckOptions> {
    let holds = |place: &Place| {
        finding.labels.iter().any(|label| {
            std::sync::Arc::ptr_eq(&label.place.source, &place.source)
                && place.span.start <= label.place.span.start
                && label.place.span.start <= place.span.end
        })
    };
    let stages = dockerfile.stages.iter();
    let of_stages =
        stages.clone().filter(|stage| holds(&stage.from.place)).filter_map(|stage| stage.check.as_ref());
    let instructions = stages.flat_map(|stage| &stage.instructions).chain(&dockerfile.global_args);
    let of_instructions =
        instructions.filter(|instruction| holds(&instruction.place)).filter_map(|at| at.check.as_ref());
    of_stages.chain(of_instructions).collect()
}

impl Report {
    /// How many findings warn, and how many fail.
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.findings.iter().filter(|found| found.severity == Severity::Error).count();
        let wrong = self.problems.iter().filter(|problem| problem.is_error()).count();
        (self.findings.len() - errors + self.problems.len() - wrong, errors + wrong)
    }

    pub fn fails(&self) -> bool {
        self.counts().1 > 0
    }

    /// Every warning counts as an error.
    pub fn deny_warnings(&mut self) {
        for found in &mut self.findings {
            found.severity = Severity::Error;
        }
        for problem in &mut self.problems {
            problem.severity = Severity::Error;
        }
    }
}

impl Reported {
    /// As problems are shown to people.
    pub fn problem(&self) -> Problem {
        let mut message = self.finding.message.clone();
        if !self.platforms.is_empty() {
            let platforms: Vec<String> = self.platforms.iter().map(ToString::to_string).collect();
            message = format!("{message} (for {})", platforms.join(", "));
        }
        let problem = match self.severity {
            Severity::Error => Problem::input(self.rule.name, message),
            Severity::Warning => Problem::warning(self.rule.name, message),
        };
        Problem { labels: self.finding.labels.clone(), help: self.finding.help.clone(), ..problem }
    }
}
