//! A plan for one machine of several: what builds a part of it, and what joins the parts.

use std::collections::BTreeMap;

use super::graph::Plan;
use super::node::{Node, PublishTarget};
use crate::base::NodeId;
use crate::model::ExportOptions;

impl Plan {
    /// The plan of a machine that builds some of the platforms: nothing is written or tagged. Where images are
    /// published, they are brought there by their digests, unless they are `carried` along.
    pub fn of_part(&self, carried: bool) -> Self {
        let is_kept = |node: &Node| !(carried && matches!(node, Node::Publish(_)));
        self.mapped(is_kept, |node| match node {
            Node::Merge(merge) => merge.outputs.clear(),
            Node::Publish(publish) => publish.targets.iter_mut().for_each(take_tags_away),
            Node::Resolve(_) | Node::Build(_) | Node::Verify(_) | Node::Test(_) => {}
        })
    }

    /// The plan of the machine that joins the parts: merges of what was `requested`, and the publication.
    pub fn of_merge(&self, requested: &[String]) -> Self {
        let is_kept = |node: &Node| match node {
            Node::Merge(merge) => requested.contains(&merge.target),
            Node::Publish(_) => true,
            Node::Resolve(_) | Node::Build(_) | Node::Verify(_) | Node::Test(_) => false,
        };
        self.mapped(is_kept, |_| {})
    }

    /// Of every target the forms that its outputs ask for, the first one first.
    pub fn forms(&self) -> BTreeMap<String, Vec<ExportOptions>> {
        let mut forms: BTreeMap<String, Vec<ExportOptions>> = BTreeMap::new();
        let mut add = |target: &str, options: &ExportOptions| {
            let known = forms.entry(target.to_string()).or_default();
            if !known.contains(options) {
                known.push(options.clone());
            }
        };
        for (_, node) in self.nodes() {
            match node {
                Node::Merge(merge) => {
                    add(&merge.target, &merge.export);
                    let written = merge.outputs.iter().filter_map(|output| output.export_options());
                    written.for_each(|options| add(&merge.target, options));
                }
                Node::Publish(publish) => {
                    publish.targets.iter().for_each(|target| add(&target.target, &target.options));
                }
                Node::Resolve(_) | Node::Build(_) | Node::Verify(_) | Node::Test(_) => {}
            }
        }
        forms
    }

    fn mapped(&self, is_kept: impl Fn(&Node) -> bool, change: impl Fn(&mut Node)) -> Self {
        let mut mapped = Self::default();
        let mut ids: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        for (old, node) in self.nodes().filter(|(_, node)| is_kept(node)) {
            let mut node = node.clone();
            change(&mut node);
            let id = mapped.add(node);
            ids.insert(old, id);
            for dependency in self.dependencies(old) {
                if let Some(dependency) = ids.get(&dependency) {
                    mapped.depend(id, *dependency);
                }
            }
        }
        mapped
    }
}

fn take_tags_away(target: &mut PublishTarget) {
    let mut names: Vec<_> = target.names.iter().map(|name| name.without_tag()).collect();
    names.sort();
    names.dedup();
    target.names = names;
}
