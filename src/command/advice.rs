//! What a bake says about its Dockerfiles, as BuildKit's builds do: its rules, at the end, in one line; and before
//! anything is built where `# check=error=true` asks for it. Base images are not looked at for that.

use super::Failure;
use super::check::{choice, ignore_file};
use crate::base::Platform;
use crate::context::IgnoreFile;
use crate::diag::{Problem, Severity};
use crate::dockerfile::CheckOptions;
use crate::lint::{self, KnownBases, Report, Unit};
use crate::model::{Lint, LintFailing};
use crate::plan::{BuildNode, Node, Plan};

/// The findings that a Dockerfile says are errors.
pub(super) fn refuse(plan: &Plan, lint: &Lint, build: &Platform) -> Result<(), Failure> {
    let report = look_over(plan, lint, build, wants_errors)?;
    let failing = report.findings.iter().filter(|found| found.severity == Severity::Error);
    let problems: Vec<Problem> = failing.map(lint::Reported::problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// How much there is to say about the nodes that `is_built` takes.
pub(super) fn count(
    plan: &Plan,
    lint: &Lint,
    build: &Platform,
    is_built: impl Fn(&BuildNode) -> bool,
) -> Result<usize, Failure> {
    Ok(look_over(plan, lint, build, is_built)?.findings.len())
}

fn wants_errors(node: &BuildNode) -> bool {
    match node.variant.args.get("BUILDKIT_DOCKERFILE_CHECK") {
        Some(given) => CheckOptions::parse(&given.value).is_ok_and(|options| options.error),
        None => node.dockerfile.directives.check.as_ref().is_some_and(|check| check.value.error),
    }
}

fn look_over(
    plan: &Plan,
    lint: &Lint,
    build: &Platform,
    is_meant: impl Fn(&BuildNode) -> bool,
) -> Result<Report, Failure> {
    let builds = plan.nodes().filter_map(|(_, node)| match node {
        Node::Build(node) => Some(&**node),
        Node::Resolve(_) | Node::Verify(_) | Node::Test(_) | Node::Merge(_) | Node::Publish(_) => None,
    });
    let nodes: Vec<&BuildNode> = builds.filter(|node| is_meant(node)).collect();
    if nodes.is_empty() {
        return Ok(Report::default());
    }
    // An ignore file that cannot be read fails the build, which says so.
    let ignores: Vec<Option<IgnoreFile>> =
        nodes.iter().map(|node| ignore_file(&node.variant, &mut Vec::new())).collect();
    let units: Vec<Unit<'_>> = nodes
        .iter()
        .zip(&ignores)
        .map(|(node, ignore)| Unit {
            target: &node.target,
            dockerfile: &node.dockerfile,
            variants: vec![&node.variant],
            ignore: ignore.as_ref(),
            lock: None,
        })
        .collect();
    let choice = choice(&Lint { skip: lint.skip.clone(), failing: LintFailing::None })?;
    let mut report = lint::check(&units, build, &KnownBases::default(), &choice);
    report.findings.retain(|found| found.rule.is_buildkit());
    Ok(report)
}
