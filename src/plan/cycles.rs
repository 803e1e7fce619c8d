//! Targets that wait for each other in a circle, told as a chain with the place of every edge.

use super::graph::{Cycle, Plan};
use super::node::{BuildNode, Node};
use crate::base::NodeId;
use crate::diag::{Place, Problem};
use crate::model::Context;

/// Circles that are told.
const MOST_CIRCLES: usize = 100;
/// Links of a circle that are told.
const MOST_LINKS: usize = 12;

/// One problem for every circle; platforms that run in the same circle share one.
pub(super) fn problems(plan: &Plan, cycles: &[Cycle]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for cycle in cycles {
        if problems.len() >= MOST_CIRCLES {
            break;
        }
        let problem = problem(plan, cycle);
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    problems
}

fn problem(plan: &Plan, Cycle(nodes): &Cycle) -> Problem {
    let mut edges = Vec::new();
    for (node, next) in nodes.iter().zip(nodes.iter().cycle().skip(1)) {
        edges.extend(edge(plan, *node, *next));
    }
    // A chain reads best from the name that comes first.
    let first = edges.iter().enumerate().min_by_key(|(_, edge)| edge.from).map_or(0, |(index, _)| index);
    edges.rotate_left(first);
    let names = edges.iter().map(|edge| edge.from).chain(edges.first().map(|edge| edge.from));
    let mut names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.len() > MOST_LINKS {
        let hidden = names.len() - MOST_LINKS;
        names.splice(MOST_LINKS - 1..names.len() - 1, [format!("{hidden} more")]);
        edges.truncate(MOST_LINKS);
    }
    let chain = names.join(" → ");
    let message = format!("targets wait for each other in a circle: {chain}");
    let problem = Problem::input("plan::cycle", message)
        .help("remove one of the `target:` contexts or `needs` on the circle");
    edges.into_iter().fold(problem, |problem, edge| match edge.place {
        Some(place) => problem.at(place, format!("`{}` {} `{}`", edge.from, edge.how, edge.to)),
        None => problem,
    })
}

/// One target that waits for another, or for itself.
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    how: &'static str,
    place: Option<Place>,
}

/// `None` for an edge between the nodes of one target.
fn edge(plan: &Plan, node: NodeId, next: NodeId) -> Option<Edge<'_>> {
    let Node::Build(from) = plan.node(node) else { return None };
    Some(match plan.node(next) {
        Node::Build(to) => Edge {
            from: &from.target,
            to: &to.target,
            how: "builds on",
            place: context_place(from, &to.target),
        },
        Node::Merge(to) => {
            let need = from.needs.iter().find(|need| need.value == to.target);
            let place = need.and_then(|need| need.place.clone());
            Edge { from: &from.target, to: &to.target, how: "needs", place }
        }
        Node::Resolve(_) | Node::Verify(_) | Node::Test(_) | Node::Publish(_) => return None,
    })
}

fn context_place(node: &BuildNode, target: &str) -> Option<Place> {
    let contexts = node.variant.contexts.values();
    let link = contexts.into_iter().find(|context| match &context.value {
        Context::Target(name) => name == target,
        _ => false,
    });
    link.and_then(|context| context.place.clone())
}
