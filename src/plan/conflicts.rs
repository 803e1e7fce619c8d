//! What two targets of one run must not share: tags and destinations.

use std::collections::BTreeMap;

use super::graph::Plan;
use super::node::{Node, PublishTarget};
use crate::base::Reference;
use crate::diag::Problem;
use crate::model::{Dest, Output};

/// Tags that two targets would both move.
pub(super) fn duplicate_tags(targets: &[PublishTarget]) -> Vec<Problem> {
    let mut owners: BTreeMap<&Reference, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for target in targets {
        for name in &target.names {
            match owners.insert(name, &target.target) {
                Some(owner) if owner != target.target => problems.push(
                    Problem::input(
                        "plan::duplicate-tag",
                        format!("`{owner}` and `{}` would both move the tag `{}`", target.target, name.familiar()),
                    )
                    .help("give every target an image or a tag of its own, for instance with `{{ target.name }}`"),
                ),
                _ => {}
            }
        }
    }
    problems
}

/// Files and directories that two outputs would both write.
pub(super) fn duplicate_destinations(plan: &Plan) -> Vec<Problem> {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for (_, node) in plan.nodes() {
        let Node::Merge(merge) = node else { continue };
        for destination in merge.outputs.iter().filter_map(destination) {
            if let Some(owner) = owners.insert(destination.clone(), &merge.target) {
                problems.push(
                    Problem::input(
                        "plan::duplicate-destination",
                        format!("`{owner}` and `{}` would both write to `{destination}`", merge.target),
                    )
                    .help("give every target a `dest` of its own, for instance with `{{ target.name }}`"),
                );
            }
        }
    }
    problems
}

/// The place an output owns alone. OCI layout directories are shared on purpose: each image adds itself.
fn destination(output: &Output) -> Option<String> {
    let dest = match output {
        Output::Oci { dest, tar: true, .. } | Output::Tar { dest, .. } => dest,
        Output::Docker { dest: Some(dest), .. } => dest,
        Output::Local { dest, .. } => return Some(dest.display().to_string()),
        Output::Oci { .. } | Output::Docker { .. } | Output::Image { .. } | Output::CacheOnly => return None,
    };
    Some(match dest {
        Dest::Path(path) => path.display().to_string(),
        Dest::Stdout => "standard output".to_string(),
    })
}
