//! Registries and builders: what they answered, judged.

use super::{Check, Finding, Level, Trouble};
use crate::base::Platform;
use crate::diag::Problem;
use crate::engine::buildkit::WorkerReport;
use crate::registry::Greeting;

/// Judges a registry by its greeting.
pub fn registry(name: &str, greeting: Result<&Greeting, &Problem>) -> Finding {
    let found = match greeting {
        Ok(greeting) => {
            let who = match (&greeting.user, greeting.is_closed) {
                (Some(user), _) => format!("lets in {user}"),
                (None, true) => "answers; it lets in nobody without credentials".to_string(),
                (None, false) => "answers; no credentials were found".to_string(),
            };
            let plain = if greeting.is_plain { ", without TLS" } else { "" };
            Finding { level: Level::Good, ..Finding::note(Check::Registry, format!("{who}{plain}")) }
        }
        Err(problem) => {
            let said = if problem.code == "registry::unauthorized" {
                "refuses the credentials"
            } else {
                "does not answer"
            };
            let symptom = format!("nothing is pulled from it or pushed to it, with `{}`", problem.code);
            remote(Check::Registry, said, symptom, problem)
        }
    };
    found.of(name)
}

/// Judges a worker by what it says of itself.
pub fn worker(builder: &str, endpoint: &str, report: Result<&WorkerReport, &Problem>) -> Finding {
    let found = match report {
        Ok(report) => {
            let names = |platforms: &[Platform]| {
                platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            };
            let emulated = match names(&report.emulated) {
                emulated if emulated.is_empty() => String::new(),
                emulated => format!("; emulated: {emulated}"),
            };
            Finding::good(
                Check::Builder,
                format!("{}, {}{emulated}", report.product(), names(&report.native)),
            )
        }
        Err(problem) => {
            let symptom = format!("builds with `--builder {builder}` go to its other workers, or fail");
            remote(Check::Builder, "does not answer", symptom, problem)
        }
    };
    found.of(format!("{builder} {endpoint}"))
}

/// Judges a builder that has no workers to ask.
pub fn builder(name: &str, problem: &Problem) -> Finding {
    let symptom = format!("builds with `--builder {name}` fail");
    remote(Check::Builder, "cannot be used", symptom, problem).of(name)
}

fn remote(check: Check, said: &str, symptom: String, problem: &Problem) -> Finding {
    let remedy = problem.help.clone().unwrap_or_else(|| "ask whoever runs it".to_string());
    Finding::bad(Level::Error, check, said, Trouble::new(symptom, problem.message.clone(), remedy))
}
