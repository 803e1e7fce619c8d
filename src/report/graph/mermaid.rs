//! A plan as a Mermaid flowchart, which Markdown viewers draw.

use std::fmt::Write as _;

use super::by_target;
use crate::base::NodeId;
use crate::plan::{Node, Plan};

const CLASSES: &str = "  classDef base fill:#8a93a333,stroke:#8a93a3
  classDef build fill:#3b82f633,stroke:#3b82f6
  classDef verify fill:#8a5cd633,stroke:#8a5cd6
  classDef test fill:#a855f733,stroke:#a855f7
  classDef merge fill:#22a06b33,stroke:#22a06b
  classDef publish fill:#d9822b33,stroke:#d9822b
";

/// A flowchart from left to right with a box for each target.
pub fn mermaid(plan: &Plan) -> String {
    let mut text = String::from("flowchart LR\n");
    let (targets, others) = by_target(plan);
    for id in others {
        node(&mut text, plan, id, "  ");
    }
    for (index, (name, ids)) in targets.iter().enumerate() {
        let _ = writeln!(text, "  subgraph t{index}[\"{}\"]", escaped(name));
        for id in ids {
            node(&mut text, plan, *id, "    ");
        }
        text.push_str("  end\n");
    }
    for (id, _) in plan.nodes() {
        for need in plan.dependencies(id) {
            let _ = writeln!(text, "  {need} --> {id}");
        }
    }
    text.push_str(CLASSES);
    text
}

fn node(text: &mut String, plan: &Plan, id: NodeId, indent: &str) {
    let (open, label, close, class) = match plan.node(id) {
        Node::Resolve(resolve) => ("[(", resolve.source.to_string(), ")]", "base"),
        Node::Build(build) => ("[", build.platform.to_string(), "]", "build"),
        Node::Verify(verify) => ("([", format!("verify {}", verify.platform), "])", "verify"),
        Node::Test(test) => ("[/", format!("test {}", test.platform), "/]", "test"),
        Node::Merge(_) => ("([", "merge".to_string(), "])", "merge"),
        Node::Publish(_) => ("{{", "publish".to_string(), "}}", "publish"),
    };
    let _ = writeln!(text, "{indent}{id}{open}\"{}\"{close}:::{class}", escaped(&label));
}

/// Mermaid has no escapes, but entities with a number sign.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '/' | '.' | ':' | '-' | '_' | ' ' | '@' => {
                escaped.push(character)
            }
            other => {
                let _ = write!(escaped, "#{};", u32::from(other));
            }
        }
    }
    escaped
}
