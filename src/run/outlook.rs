//! What is known of build nodes before anything is built: which of them are known already, and which somebody will
//! have to build.

use super::build::Prepared;
use super::worker::PlanWorker;
use crate::base::NodeId;
use crate::diag::Problem;
use crate::engine::Engine;
use crate::plan::{BuildNode, Node};

/// Of one node.
pub(super) enum Outlook {
    /// What it stands on must be built first, as target and platform.
    Waits(Vec<String>),
    /// An earlier run made its image, `made` seconds after the epoch; it is found there.
    Known {
        place: String,
        made: i64,
    },
    Unknown(Box<Prepared>),
}

impl<E: Engine> PlanWorker<E> {
    /// The build nodes that nobody knows the results of. What cannot be looked at is not among them: it fails in the
    /// run, with its reason.
    pub async fn unbuilt(&self) -> Vec<NodeId> {
        let mut unbuilt = Vec::new();
        for (id, node) in self.plan.nodes() {
            let Node::Build(node) = node else { continue };
            if let Ok(Outlook::Waits(_) | Outlook::Unknown(_)) = self.outlook(id, node).await {
                unbuilt.push(id);
            }
        }
        unbuilt
    }

    /// Looks at a node; to be asked of what it stands on before it.
    pub(super) async fn outlook(&self, id: NodeId, node: &BuildNode) -> Result<Outlook, Box<Problem>> {
        let needed = self.plan.dependencies(id);
        let waits_for = needed.iter().filter_map(|needed| match self.plan.node(*needed) {
            Node::Build(base) if self.image(&base.target, &base.platform).is_none() => {
                Some(format!("{} {}", base.target, base.platform))
            }
            _ => None,
        });
        let waits_for: Vec<String> = waits_for.collect();
        if !waits_for.is_empty() {
            return Ok(Outlook::Waits(waits_for));
        }
        let prepared = self.prepare(node).await?;
        if let Some((image, made)) = self.known([&prepared])?.pop().flatten() {
            self.foresee_image(&node.target, &node.platform, image);
            return Ok(Outlook::Known { place: "this store".to_string(), made });
        }
        let shared = match prepared.is_forced {
            Some(_) => None,
            None => self.foreign_image(node, &prepared).await?,
        };
        let Some(shared) = shared else { return Ok(Outlook::Unknown(Box::new(prepared))) };
        let (place, made) = (shared.place(), shared.made);
        self.foresee_image(&node.target, &node.platform, shared.image);
        Ok(Outlook::Known { place, made })
    }
}
