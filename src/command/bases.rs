//! Base images for `mab check`: which there are, and what can be learnt of them in a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::session::{self, SessionOptions};
use crate::base::Platform;
use crate::diag::{Kind, Problem};
use crate::facts::Facts;
use crate::lint::{KnownBase, KnownBases, Offer};
use crate::model::Variant;
use crate::plan::{BaseSource, base_source};
use crate::run::Survey;
use crate::steps::{Setting, base_requests};

/// How long registries are waited for, all together. A check is worth little when it takes long.
const PATIENCE: Duration = Duration::from_secs(5);

/// The names of images by the source they lead to, and for which platforms they are wanted.
pub(super) type Wanted = BTreeMap<BaseSource, (BTreeSet<String>, BTreeSet<Platform>)>;

/// The images that `settings` begin with; what keeps them from being built goes to `problems`.
pub(super) fn wanted(settings: &[(Setting<'_>, &Variant)], problems: &mut Vec<Problem>) -> Wanted {
    let mut wanted = Wanted::new();
    for (setting, variant) in settings {
        let requests = base_requests(setting).unwrap_or_else(|found| {
            problems.extend(found);
            Vec::new()
        });
        for request in requests {
            match base_source(&request, variant) {
                Ok(Some(source)) => {
                    let (names, platforms) = wanted.entry(source).or_default();
                    names.insert(request.name);
                    platforms.insert(request.platform);
                }
                Ok(None) => {}
                Err(problem) => problems.push(*problem),
            }
        }
    }
    wanted
}

/// Looks at the images that are at hand, and says which are not.
pub(super) async fn look_at(
    mut wanted: Wanted,
    session: &SessionOptions,
    is_offline: bool,
    facts: &Facts,
    warnings: &mut Vec<Problem>,
) -> KnownBases {
    wanted.retain(|source, _| !is_offline || matches!(source, BaseSource::OciLayout { .. }));
    let mut known = KnownBases::default();
    if wanted.is_empty() {
        return known;
    }
    let bases = match session::bases(session, facts) {
        Ok(bases) => Arc::new(bases),
        Err(problem) => {
            warnings.push(unknown(&wanted, &problem.message));
            return known;
        }
    };
    let mut surveys = JoinSet::new();
    for (source, (_, platforms)) in &wanted {
        let (bases, source) = (bases.clone(), source.clone());
        let platforms: Vec<Platform> = platforms.iter().cloned().collect();
        surveys.spawn(async move {
            let survey = bases.survey(&source, &platforms).await;
            (source, survey)
        });
    }
    let mut reason = format!("no answer within {} seconds", PATIENCE.as_secs());
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while let Ok(Some(Ok((source, survey)))) = tokio::time::timeout_at(deadline, surveys.join_next()).await {
        match survey {
            Ok(survey) => {
                let names = wanted.remove(&source).map(|(names, _)| names).unwrap_or_default();
                names.into_iter().for_each(|name| known.insert(name, base(&survey)));
            }
            Err(problem) => reason = problem.message,
        }
    }
    if !wanted.is_empty() {
        warnings.push(unknown(&wanted, &reason));
    }
    known
}

fn base(survey: &Survey) -> KnownBase {
    let offer = match (&survey.index, survey.configs.keys().next()) {
        (None, Some(platform)) => Offer::Image(platform.clone()),
        (index, _) => Offer::Index(index.clone().unwrap_or_default()),
    };
    KnownBase { offer, configs: survey.configs.clone() }
}

fn unknown(wanted: &Wanted, reason: &str) -> Problem {
    let names: Vec<String> =
        wanted.values().flat_map(|(names, _)| names).map(|name| format!("`{name}`")).collect();
    let message = format!("nothing is known of {}: {reason}", names.join(", "));
    let warning = Problem { kind: Kind::Remote, ..Problem::warning("check::unknown-base", message) };
    warning.help("rules that must know the base image said nothing; `--offline` does not ask")
}
