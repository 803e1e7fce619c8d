//! Asks all workers at once what they are, before a run begins, and tells which builds none of them does. Nobody is
//! asked for the sake of what is known already: the caller says what there is to build.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::error::WorkerError;
use super::needs::{Asks, Need};
use super::route::Offer;
use super::{Buildkit, Connected, Remote, told, unreachable};
use crate::base::Platform;
use crate::diag::{Kind, Problem, Severity};
use crate::model::{Emulate, Entitlement};

/// A build that some worker is to do.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub target: String,
    /// The platform that its commands run on, where it certainly has some.
    pub platform: Option<Platform>,
    pub emulate: Emulate,
    pub worker_labels: BTreeMap<String, String>,
    pub needs: Vec<Need>,
}

/// What a worker has said, or why it has not.
struct Asked<'a> {
    remote: &'a Remote,
    answer: Result<Connected, WorkerError>,
}

impl Asked<'_> {
    /// What counts of its offer for a build.
    fn offer(&self, wanted: &Wanted) -> Option<Offer> {
        let offer = self.answer.as_ref().ok()?.offer.clone();
        Some(match wanted.emulate {
            Emulate::Deny => Offer { emulated: Vec::new(), ..offer },
            Emulate::Allow | Emulate::Warn => offer,
        })
    }

    fn runs(&self, wanted: &Wanted) -> bool {
        let platform = wanted.platform.as_ref();
        self.offer(wanted).is_some_and(|offer| platform.is_none_or(|platform| offer.has(platform)))
    }

    /// What it does not do of what a build needs.
    fn lacks<'n>(&self, wanted: &'n Wanted) -> Vec<&'n Need> {
        let Ok(connected) = &self.answer else { return Vec::new() };
        wanted.needs.iter().filter(|need| connected.abilities.lacks(need)).collect()
    }

    /// Whether it might do the build, were it there.
    fn is_missed(&self, wanted: &Wanted) -> bool {
        let declared = self.remote.declared.as_ref().zip(wanted.platform.as_ref());
        self.answer.is_err() && declared.is_none_or(|(declared, platform)| declared.has(platform))
    }
}

impl Buildkit {
    /// Asks every worker; the errors are builds that nobody does, each once, and the warnings workers that are not there
    /// but that others stand in for.
    pub async fn survey(&self, wanted: &[Wanted]) -> Result<Vec<Problem>, Vec<Problem>> {
        let needs = wanted.iter().flat_map(|wanted| &wanted.needs);
        let entitlements: BTreeSet<Entitlement> = needs.filter_map(|need| need.asks.entitlement()).collect();
        let entitlements = &entitlements;
        let asking = self.workers.iter().map(|remote| async move {
            let answer = remote.probe(entitlements, &self.tools.surroundings).await;
            Asked { remote, answer }
        });
        let asked = join_all(asking).await;
        let mut problems: Vec<Problem> = Vec::new();
        for problem in wanted.iter().flat_map(|wanted| self.refusals(wanted, &asked)) {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let absent = asked.iter().filter_map(|asked| Some((asked.remote, asked.answer.as_ref().err()?)));
        Ok(absent
            .map(|(remote, error)| {
                let error = remote.absence.get_or_init(|| error.clone());
                let problem = Problem { severity: Severity::Warning, ..error.problem() };
                problem.help("the other workers of the builder do without it in this run")
            })
            .collect())
    }

    /// Why nobody does a build; nothing if somebody does.
    fn refusals(&self, wanted: &Wanted, asked: &[Asked<'_>]) -> Vec<Problem> {
        let labelled: Vec<&Asked<'_>> =
            asked.iter().filter(|asked| asked.remote.has(&wanted.worker_labels)).collect();
        let fitting: Vec<(&Asked<'_>, Vec<&Need>)> = labelled
            .iter()
            .filter(|asked| asked.runs(wanted))
            .map(|asked| (*asked, asked.lacks(wanted)))
            .collect();
        if fitting.iter().any(|(_, lacks)| lacks.is_empty()) {
            return Vec::new();
        }
        if let Some((nearest, lacks)) = fitting.iter().min_by_key(|(_, lacks)| lacks.len()) {
            let others = asked.iter().filter(|other| other.answer.is_ok() && other.lacks(wanted).is_empty());
            let others: Vec<&str> = others.map(|other| other.remote.worker.endpoint.as_str()).collect();
            return lacks.iter().map(|need| self.lack(wanted, nearest, need, &others)).collect();
        }
        let errors = labelled.iter().filter(|asked| asked.is_missed(wanted));
        let errors: Vec<WorkerError> = errors.filter_map(|asked| asked.answer.clone().err()).collect();
        if !errors.is_empty() {
            return vec![unreachable(errors)];
        }
        let denies = wanted.emulate == Emulate::Deny;
        let offers = asked.iter().map(|asked| match &asked.answer {
            Err(error) => error.to_string(),
            Ok(connected) => told(asked.remote, &connected.offer, denies),
        });
        let (platform, labels) = (wanted.platform.iter(), &wanted.worker_labels);
        vec![self.no_match(&wanted.target, platform, labels, offers.collect())]
    }

    fn lack(&self, wanted: &Wanted, nearest: &Asked<'_>, need: &Need, others: &[&str]) -> Problem {
        let worker = format!("worker `{}` of builder `{}`", nearest.remote.worker.endpoint, self.name);
        let asks = format!("`{}` asks for {}", wanted.target, need.what);
        let (code, message, remedy) = match (need.asks, &nearest.answer) {
            (Asks::Language(language), Ok(Connected { abilities, .. })) => {
                let reads = abilities.language.minor.unwrap_or_default();
                let message =
                    format!("{asks}, and that needs Dockerfile 1.{language}: {worker} reads 1.{reads}");
                ("builder::language", message, "upgrade that worker")
            }
            (Asks::Entitlement(_), _) => (
                "builder::entitlement",
                format!("{asks}, which {worker} does not grant"),
                "start its buildkitd with `--allow-insecure-entitlement`",
            ),
            (Asks::TimesOfFiles, _) => (
                "builder::git-times",
                format!("{asks}, which the frontend of {worker} cannot tell apart"),
                "take it with one of them",
            ),
            (Asks::ImageStore | Asks::Language(_), _) => (
                "builder::classic-store",
                format!("{asks}, which the classic image store of {worker} does not keep"),
                "take it out, switch that Engine to containerd's image store",
            ),
        };
        let help = match others {
            [] => format!("{remedy}, or leave `--builder` out: the embedded engine does it"),
            [other, ..] => {
                format!("worker `{other}` does it, but is not for what `{}` asks for", wanted.target)
            }
        };
        let problem = Problem::new(Kind::Input, code, message).help(help);
        match &need.place {
            Some(place) => problem.at(place.clone(), "asked for here"),
            None => problem.at(self.place.clone(), "this builder"),
        }
    }
}
