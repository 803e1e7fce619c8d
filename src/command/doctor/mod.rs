//! `mab doctor`: tries what builds need, of this machine and of others, and puts right what can be put right safely.

mod host;
mod remote;

use std::collections::BTreeSet;
use std::time::Duration;

use super::prune::{self, PruneRules};
use super::session::{self, SessionOptions};
use super::{Failure, ProjectOptions, project};
use crate::base::Platform;
use crate::doctor::{Check, Finding, Fix, Level, apparmor};
use crate::facts::Facts;
use crate::model::Project;
use crate::ui::bytes;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct DoctorOptions {
    /// Only these; all when there are none.
    pub checks: BTreeSet<Check>,
    /// Platforms that builds are meant to run on, besides those of the build file.
    pub platforms: Vec<Platform>,
    pub session: SessionOptions,
    pub is_fixing: bool,
}

/// What was found, after what was put right.
#[derive(Debug)]
pub struct Diagnosis {
    pub findings: Vec<Finding>,
    pub fixed: Vec<Fixed>,
}

/// Something that was tried to be put right, with what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    pub check: Check,
    pub result: Result<String, String>,
}

/// Looked at without anybody asking: what images are mostly built for.
const USUAL_PLATFORMS: [&str; 7] = [
    "linux/amd64",
    "linux/arm64",
    "linux/arm/v7",
    "linux/386",
    "linux/riscv64",
    "linux/s390x",
    "linux/ppc64le",
];

impl DoctorOptions {
    fn wants(&self, checks: &[Check]) -> bool {
        self.checks.is_empty() || checks.iter().any(|check| self.checks.contains(check))
    }
}

/// Looks at everything, puts right what it may, and looks again at what changed.
pub async fn doctor(options: &DoctorOptions, facts: &mut Facts) -> Result<Diagnosis, Failure> {
    let mut findings = examine(options, facts).await?;
    let mut fixed = Vec::new();
    if options.is_fixing {
        for finding in &findings {
            let Some(fix) = finding.trouble.as_ref().and_then(|trouble| trouble.fix.as_ref()) else {
                continue;
            };
            fixed.push(Fixed { check: finding.check, result: apply(fix, options, facts).await });
        }
        if fixed.iter().any(|fixed| fixed.result.is_ok()) {
            findings = examine(options, facts).await?;
        }
    }
    Ok(Diagnosis { findings, fixed })
}

async fn examine(options: &DoctorOptions, facts: &mut Facts) -> Result<Vec<Finding>, Failure> {
    // A build file that cannot be read wants nothing; `mab check` is for what is wrong with it.
    let project = project::load(&ProjectOptions::default(), facts).ok().map(|loaded| loaded.project);
    let mut findings =
        host::examine(options, &wanted_platforms(options, project.as_ref(), facts), facts).await?;
    findings.extend(remote::examine(options, project.as_ref(), facts).await);
    findings.retain(|finding| options.wants(&[finding.check]));
    findings.sort_by_key(|finding| finding.check);
    Ok(findings)
}

/// The platforms that somebody builds for here, and the usual ones that nobody asked for; each with which it is.
fn wanted_platforms(
    options: &DoctorOptions,
    project: Option<&Project>,
    facts: &Facts,
) -> Vec<(Platform, bool)> {
    let of_project = project.iter().flat_map(|project| project.targets.values());
    let of_project =
        of_project.flat_map(|target| &target.variants).map(|variant| variant.platform.value.clone());
    let asked = [facts.host.clone()].into_iter().chain(options.platforms.iter().cloned()).chain(of_project);
    let usual = USUAL_PLATFORMS.iter().filter_map(|name| name.parse().ok());
    let mut platforms: Vec<(Platform, bool)> = Vec::new();
    for (platform, is_wanted) in asked.map(|platform| (platform, true)).chain(usual.map(|p| (p, false))) {
        if platforms.iter().all(|(known, _)| *known != platform) {
            platforms.push((platform, is_wanted));
        }
    }
    platforms
}

async fn apply(fix: &Fix, options: &DoctorOptions, facts: &Facts) -> Result<String, String> {
    const TWO_WEEKS: Duration = Duration::from_secs(14 * 24 * 60 * 60);
    match fix {
        Fix::AppArmorProfile { program } => apparmor::install(program)
            .map(|()| format!("AppArmor lets `{}` make user namespaces", program.display()))
            .map_err(|error| format!("the profile of AppArmor was not installed: {error}")),
        Fix::Prune => {
            let rules = PruneRules {
                unused_for: Some(TWO_WEEKS),
                keep_bytes: None,
                kinds: BTreeSet::new(),
                is_dry_run: false,
            };
            let store = session::open_store(&options.session, facts).map_err(|problem| problem.message)?;
            let pruned = prune::prune_store(&store, prune::options(&rules, &Default::default())).await;
            pruned
                .map(|pruned| {
                    let freed: u64 = pruned.kinds.values().map(|kind| kind.bytes).sum();
                    format!("removed {} that no build used for two weeks", bytes(freed))
                })
                .map_err(|problem| problem.message)
        }
    }
}

impl Diagnosis {
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// How much of it `--fix` could put right.
    pub fn fixable(&self) -> usize {
        let has_fix =
            |finding: &&Finding| finding.trouble.as_ref().is_some_and(|trouble| trouble.fix.is_some());
        self.findings.iter().filter(has_fix).count()
    }
}
