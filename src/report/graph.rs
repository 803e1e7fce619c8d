//! A plan as text, JSON and Graphviz.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::base::NodeId;
use crate::event::NodeKind;
use crate::plan::{Node, Plan};

/// One line per node in the order of work, with what each waits for.
pub fn text(plan: &Plan) -> String {
    let mut text = String::new();
    let width = plan.nodes().map(|(_, node)| node.to_string().chars().count()).max().unwrap_or(0);
    for (id, node) in plan.nodes() {
        let waits: Vec<String> = plan.dependencies(id).iter().map(ToString::to_string).collect();
        let line = format!("{:>4}  {:width$}  {}", id.to_string(), node.to_string(), arrow(&waits));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn arrow(waits: &[String]) -> String {
    if waits.is_empty() { String::new() } else { format!("← {}", waits.join(" ")) }
}

/// `{"version": 1, "nodes": […]}`; a node's `needs` are ids of earlier nodes.
pub fn json(plan: &Plan) -> String {
    let nodes: Vec<Value> = plan.nodes().map(|(id, node)| node_json(plan, id, node)).collect();
    format!("{:#}\n", json!({ "version": 1, "nodes": nodes }))
}

fn node_json(plan: &Plan, id: NodeId, node: &Node) -> Value {
    let info = node.info(id);
    let mut value = json!({
        "id": id.0,
        "kind": kind(info.kind),
        "name": info.name,
        "needs": plan.dependencies(id).iter().map(|need| need.0).collect::<Vec<u32>>(),
    });
    match node {
        Node::Build(_) => value["platform"] = json!(info.platform),
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

fn kind(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Resolve => "resolve",
        NodeKind::Build => "build",
        NodeKind::Merge => "merge",
        NodeKind::Publish => "publish",
    }
}

/// For `dot -Tsvg`.
pub fn dot(plan: &Plan) -> String {
    let mut text =
        String::from("digraph mab {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for (id, node) in plan.nodes() {
        let _ = writeln!(
            text,
            "  {id} [label=\"{}\"];",
            node.to_string().replace('\\', "\\\\").replace('"', "\\\"")
        );
    }
    for (id, _) in plan.nodes() {
        for need in plan.dependencies(id) {
            let _ = writeln!(text, "  {need} -> {id};");
        }
    }
    text.push_str("}\n");
    text
}
