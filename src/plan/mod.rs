//! Model, parsed Dockerfiles and facts compiled to an immutable graph of nodes.
//!
//! `select` says which targets a request means, `compile` expands them to nodes and edges, `key` gives
//! a build node its identity. All pure: files were read before, nothing here waits. What a node
//! *does* is not known here; `run` does it.

mod compile;
mod conflicts;
mod cycles;
mod definition;
mod graph;
mod key;
mod node;
mod requirements;
mod select;
mod split;
mod unsupported;
mod why;

pub use compile::{Dockerfiles, Request, base_source, compile};
pub use definition::definitions;
pub use graph::Plan;
pub use key::{NodeKeyInputs, node_key};
pub use node::{
    BaseSource, BuildNode, MergeNode, Node, PublishNode, PublishTarget, ResolveNode, TestNode, VerifyNode,
};
pub use requirements::unmet;
pub use select::{Selection, check_only, select};
pub use why::{Account, shared_parts, why};

#[cfg(test)]
mod tests;
