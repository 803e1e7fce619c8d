//! A plan as a tree of text: under each node what it waits for, each node's own branches once.

use std::collections::HashSet;
use std::fmt::Write as _;

use super::counts;
use crate::base::NodeId;
use crate::plan::{Node, Plan};

/// Behind a node whose branches stand further up.
const ABOVE: &str = " ↑";

/// The nodes that nothing waits for, with what they wait for below them.
pub fn text(plan: &Plan) -> String {
    let mut tree = Tree { plan, shown: HashSet::new(), text: String::new(), has_repeats: false };
    for (id, _) in plan.nodes() {
        if plan.dependents(id).is_empty() {
            tree.root(id);
        }
    }
    let note = if tree.has_repeats { "; ↑ is shown further up" } else { "" };
    match plan.is_empty() {
        true => "nothing to do\n".to_string(),
        false => format!("{}\n{}{note}\n", tree.text, counts(plan)),
    }
}

struct Tree<'a> {
    plan: &'a Plan,
    shown: HashSet<NodeId>,
    text: String,
    has_repeats: bool,
}

/// A node that is to be written, with what stands before it.
struct Branch {
    id: NodeId,
    indent: String,
    is_last: bool,
}

impl Tree<'_> {
    fn root(&mut self, id: NodeId) {
        self.line(id, "", "");
        let mut waiting = self.branches(id, "");
        // A list instead of recursion: chains of targets may be long.
        while let Some(Branch { id, indent, is_last }) = waiting.pop() {
            let (joint, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            if self.line(id, &indent, joint) {
                waiting.extend(self.branches(id, &format!("{indent}{below}")));
            }
        }
    }

    /// What `id` waits for, the last first.
    fn branches(&self, id: NodeId, indent: &str) -> Vec<Branch> {
        let needs = self.plan.dependencies(id);
        let last = needs.last().copied();
        let branch = |id: NodeId| Branch { id, indent: indent.to_string(), is_last: Some(id) == last };
        needs.into_iter().map(branch).rev().collect()
    }

    /// Whether the node's branches are to follow.
    fn line(&mut self, id: NodeId, indent: &str, joint: &str) -> bool {
        let node = self.plan.node(id);
        let is_new = self.shown.insert(id);
        let is_above = !is_new && !self.plan.dependencies(id).is_empty();
        self.has_repeats |= is_above;
        let more = if is_above { ABOVE.to_string() } else { details(node) };
        let _ = writeln!(self.text, "{indent}{joint}{node}{more}");
        is_new
    }
}

fn details(node: &Node) -> String {
    let names: Vec<String> = match node {
        Node::Merge(merge) => merge.names.iter().map(|name| name.familiar()).collect(),
        Node::Resolve(_) | Node::Build(_) | Node::Verify(_) | Node::Test(_) | Node::Publish(_) => Vec::new(),
    };
    if names.is_empty() { String::new() } else { format!(" → {}", names.join(", ")) }
}
