//! What emulation cost a bake, and what would spare it.

use std::time::Duration;

use crate::base::payload::StepCounts;
use crate::diag::Problem;
use crate::lint::way_out;
use crate::model::Emulate;
use crate::plan::{BuildNode, Node, Plan};

/// Less than this is not worth a word.
const NOTABLE: Duration = Duration::from_secs(1);

/// Told where emulation took a fifth of all time in steps or more, of the target that it cost most.
pub(super) fn advice(plan: &Plan, counts: impl Fn(&BuildNode) -> Option<StepCounts>) -> Option<Problem> {
    let builds: Vec<(&BuildNode, StepCounts)> = plan
        .nodes()
        .filter_map(|(_, node)| match node {
            Node::Build(node) => Some((&**node, counts(node)?)),
            Node::Resolve(_) | Node::Verify(_) | Node::Test(_) | Node::Merge(_) | Node::Publish(_) => None,
        })
        .collect();
    let emulated: Duration = builds.iter().map(|(_, counts)| counts.emulated).sum();
    let spent: Duration = builds.iter().map(|(_, counts)| counts.spent).sum();
    if emulated < NOTABLE || emulated * 5 < spent {
        return None;
    }
    let minds = |node: &BuildNode| node.variant.emulate != Emulate::Allow;
    let (node, counts) =
        builds.into_iter().filter(|(node, _)| minds(node)).max_by_key(|(_, counts)| counts.emulated)?;
    let message = format!(
        "emulation took {:.1} s, {} % of all time in steps; most of it, {:.1} s, was `{}` for {}",
        emulated.as_secs_f64(),
        (100.0 * emulated.as_secs_f64() / spent.as_secs_f64()).round(),
        counts.emulated.as_secs_f64(),
        node.target,
        node.platform
    );
    let found = way_out(&node.dockerfile);
    let problem = Problem::warning("emulation::cost", message).help(found.help);
    Some(match found.place {
        Some(place) => problem.at(place, found.label),
        None => problem,
    })
}
