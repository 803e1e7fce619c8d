//! A plan for Graphviz: a cluster for each target.

use std::fmt::Write as _;

use super::by_target;
use crate::base::NodeId;
use crate::plan::{Node, Plan};

/// For `dot -Tsvg`.
pub fn dot(plan: &Plan) -> String {
    let mut text = String::from(
        "digraph mab {\n  rankdir=LR;\n  graph [fontname=\"sans-serif\", color=\"#c4c9d2\", style=rounded];\n  \
         node [shape=box, style=\"rounded,filled\", fontname=\"sans-serif\", color=\"#8a93a3\"];\n  \
         edge [color=\"#8a93a3\"];\n",
    );
    let (targets, others) = by_target(plan);
    for id in others {
        node(&mut text, plan, id, "  ");
    }
    for (index, (name, ids)) in targets.iter().enumerate() {
        let _ = writeln!(text, "  subgraph cluster_{index} {{\n    label={};", quoted(name));
        for id in ids {
            node(&mut text, plan, *id, "    ");
        }
        text.push_str("  }\n");
    }
    for (id, _) in plan.nodes() {
        for need in plan.dependencies(id) {
            let _ = writeln!(text, "  {need} -> {id};");
        }
    }
    text.push_str("}\n");
    text
}

fn node(text: &mut String, plan: &Plan, id: NodeId, indent: &str) {
    let fill = match plan.node(id) {
        Node::Resolve(_) => "#eceff4",
        Node::Build(_) => "#dbe7ff",
        Node::Verify(_) => "#f1e4ff",
        Node::Test(_) => "#f3e1f7",
        Node::Merge(_) => "#d9f2e3",
        Node::Publish(_) => "#ffe9c7",
    };
    let label = quoted(&plan.node(id).to_string());
    let _ = writeln!(text, "{indent}{id} [label={label}, fillcolor=\"{fill}\"];");
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " "))
}
