//! Why a plan's nodes would be built or not, as text and as JSON.

use serde_json::{Value, json};

use super::graph::kind_name;
use crate::base::NodeId;
use crate::base::explanation::Explanation;
use crate::plan::{Node, Plan};

/// One line for every node that there is something to say about.
pub fn text(plan: &Plan, explained: &[(NodeId, Explanation)]) -> String {
    explained.iter().map(|(id, explanation)| format!("{}: {explanation}\n", label(plan.node(*id)))).collect()
}

fn label(node: &Node) -> String {
    match node {
        Node::Build(node) => format!("{} {}", node.target, node.platform),
        node => node.to_string(),
    }
}

/// `{"version": 1, "nodes": […]}`; ids are those of the plan's JSON.
pub fn json(plan: &Plan, explained: &[(NodeId, Explanation)]) -> Value {
    let nodes = explained.iter().map(|(id, explanation)| {
        let info = plan.node(*id).info(*id);
        json!({
            "id": id.0,
            "kind": kind_name(info.kind),
            "name": info.name,
            "platform": info.platform,
            "explanation": explanation.to_json(),
        })
    });
    json!({ "version": 1, "nodes": nodes.collect::<Vec<Value>>() })
}
