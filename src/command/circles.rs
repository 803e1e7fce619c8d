//! Targets that wait for each other in a circle, found without their Dockerfiles: for those who plan nothing.

use std::collections::BTreeMap;

use crate::diag::{Place, Problem};
use crate::model::{Context, Target};

/// One target that waits for another.
struct Edge<'t> {
    from: &'t str,
    to: &'t str,
    how: &'static str,
    place: Option<&'t Place>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Done,
}

/// One problem for every circle that is met on the way through the targets.
pub fn find<'t>(targets: impl Iterator<Item = &'t Target>) -> Vec<Problem> {
    let targets: BTreeMap<&str, &Target> = targets.map(|target| (target.name.as_str(), target)).collect();
    let mut states: BTreeMap<&str, State> = BTreeMap::new();
    let mut problems = Vec::new();
    for name in targets.keys() {
        if states.contains_key(name) {
            continue;
        }
        // The way here, each with the edges that were not followed yet.
        let mut way: Vec<(Option<Edge<'_>>, Vec<Edge<'_>>)> = vec![(None, edges(targets[name]))];
        let mut names = vec![*name];
        states.insert(name, State::Open);
        while let Some((_, open)) = way.last_mut() {
            let Some(edge) = open.pop() else {
                way.pop();
                states.extend(names.pop().map(|name| (name, State::Done)));
                continue;
            };
            match (states.get(edge.to), targets.get(edge.to)) {
                (Some(State::Open), _) => {
                    let start = names.iter().position(|name| *name == edge.to).unwrap_or(0);
                    let followed = way[start + 1..].iter().filter_map(|(edge, _)| edge.as_ref());
                    problems.push(problem(followed.chain([&edge])));
                }
                (None, Some(target)) => {
                    states.insert(edge.to, State::Open);
                    names.push(edge.to);
                    way.push((Some(edge), edges(target)));
                }
                (Some(State::Done), _) | (None, None) => {}
            }
        }
    }
    problems
}

fn edges(target: &Target) -> Vec<Edge<'_>> {
    let mut edges: Vec<Edge<'_>> = Vec::new();
    let contexts = target.variants.iter().flat_map(|variant| {
        variant.contexts.values().chain([&variant.context]).filter_map(|context| match &context.value {
            Context::Target(name) => Some((name, context.place.as_ref(), "builds on")),
            _ => None,
        })
    });
    let needs = target.needs.iter().map(|need| (&need.value, need.place.as_ref(), "needs"));
    for (to, place, how) in contexts.chain(needs) {
        if !edges.iter().any(|known| known.to == to) {
            edges.push(Edge { from: &target.name, to, how, place });
        }
    }
    edges
}

fn problem<'e>(edges: impl Iterator<Item = &'e Edge<'e>>) -> Problem {
    let edges: Vec<&Edge<'_>> = edges.collect();
    let names = edges.iter().map(|edge| edge.from).chain(edges.first().map(|edge| edge.from));
    let chain = names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" → ");
    let problem = Problem::input("plan::cycle", format!("targets wait for each other in a circle: {chain}"))
        .help("remove one of the `target:` contexts or `needs` on the circle");
    edges.into_iter().fold(problem, |problem, edge| match edge.place {
        Some(place) => problem.at(place.clone(), format!("`{}` {} `{}`", edge.from, edge.how, edge.to)),
        None => problem,
    })
}
