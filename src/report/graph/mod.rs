//! A plan as text, JSON, Graphviz, Mermaid and a picture.

mod dot;
mod layout;
mod mermaid;
mod svg;
mod tree;

use serde_json::{Value, json};

use crate::base::NodeId;
use crate::event::NodeKind;
use crate::plan::{Node, Plan};

pub use dot::dot;
pub use mermaid::mermaid;
pub use svg::svg;
pub use tree::text;

/// `{"version": 1, "nodes": […]}`; a node's `needs` are ids of earlier nodes.
pub fn json(plan: &Plan) -> Value {
    let nodes: Vec<Value> = plan.nodes().map(|(id, node)| node_json(plan, id, node)).collect();
    json!({ "version": 1, "nodes": nodes })
}

fn node_json(plan: &Plan, id: NodeId, node: &Node) -> Value {
    let info = node.info(id);
    let mut value = json!({
        "id": id.0,
        "kind": kind_name(info.kind),
        "name": info.name,
        "needs": plan.dependencies(id).iter().map(|need| need.0).collect::<Vec<u32>>(),
    });
    match node {
        Node::Build(_) | Node::Verify(_) | Node::Test(_) => value["platform"] = json!(info.platform),
        Node::Resolve(resolve) => {
            value["platforms"] = resolve.wanted.iter().map(|(platform, _)| json!(platform)).collect();
        }
        Node::Merge(merge) => {
            value["platforms"] = json!(merge.platforms);
            value["tags"] = merge.names.iter().map(|name| json!(name.familiar())).collect();
        }
        Node::Publish(publish) => {
            let names = publish.targets.iter().flat_map(|target| &target.names);
            value["tags"] = names.map(|name| json!(name.familiar())).collect();
        }
    }
    value
}

pub(super) fn kind_name(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Resolve => "resolve",
        NodeKind::Build => "build",
        NodeKind::Verify => "verify",
        NodeKind::Test => "test",
        NodeKind::Merge => "merge",
        NodeKind::Publish => "publish",
        NodeKind::Copy => "copy",
        NodeKind::Index => "index",
    }
}

/// The nodes of each target, in the order of the plan, and those of no target.
fn by_target(plan: &Plan) -> (Vec<(&str, Vec<NodeId>)>, Vec<NodeId>) {
    let (mut targets, mut others) = (Vec::<(&str, Vec<NodeId>)>::new(), Vec::new());
    let mut places = std::collections::HashMap::new();
    for (id, node) in plan.nodes() {
        let name = match node {
            Node::Build(build) => build.target.as_str(),
            Node::Verify(verify) => verify.target.as_str(),
            Node::Test(test) => test.target.as_str(),
            Node::Merge(merge) => merge.target.as_str(),
            Node::Resolve(_) | Node::Publish(_) => {
                others.push(id);
                continue;
            }
        };
        let place = *places.entry(name).or_insert_with(|| {
            targets.push((name, Vec::new()));
            targets.len() - 1
        });
        targets[place].1.push(id);
    }
    (targets, others)
}

/// How many nodes of each kind there are.
fn counts(plan: &Plan) -> String {
    let number = |wanted: NodeKind| plan.nodes().filter(|(id, node)| node.info(*id).kind == wanted).count();
    let kinds = [
        (NodeKind::Resolve, "base"),
        (NodeKind::Build, "build"),
        (NodeKind::Verify, "verification"),
        (NodeKind::Test, "test"),
        (NodeKind::Merge, "merge"),
        (NodeKind::Publish, "publish"),
    ];
    let counted = kinds.map(|(kind, word)| match number(kind) {
        0 => String::new(),
        1 => format!("1 {word}"),
        many => format!("{many} {word}s"),
    });
    counted.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
}
