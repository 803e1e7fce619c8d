//! The immutable graph. petgraph stays behind these methods.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

use super::node::Node;
use crate::base::NodeId;

/// Nodes and what must be done before what. Node ids count from zero in a topological order.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    graph: DiGraph<Node, ()>,
    /// The edges, to be found at once: many nodes may wait for one.
    edges: HashSet<(NodeIndex, NodeIndex)>,
}

/// A cycle that a graph has, as nodes that each wait for the next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cycle(pub Vec<NodeId>);

#[cfg(test)]
impl Plan {
    /// A plan of `nodes`, for tests of what runs plans; the second of an edge waits for the first.
    pub fn of(nodes: Vec<Node>, edges: &[(u32, u32)]) -> Self {
        let mut plan = Self::default();
        for node in nodes {
            plan.add(node);
        }
        for (dependency, node) in edges {
            plan.depend(NodeId(*node), NodeId(*dependency));
        }
        plan
    }
}

impl Plan {
    pub(super) fn add(&mut self, node: Node) -> NodeId {
        to_id(self.graph.add_node(node))
    }

    /// `node` waits for `dependency`.
    pub(super) fn depend(&mut self, node: NodeId, dependency: NodeId) {
        let edge = (to_index(dependency), to_index(node));
        if self.edges.insert(edge) {
            self.graph.add_edge(edge.0, edge.1, ());
        }
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.graph[to_index(id)]
    }

    /// Renumbers the nodes in topological order; or gives the graph back with its cycles.
    pub(super) fn sorted(self) -> Result<Self, (Self, Vec<Cycle>)> {
        let order = self.first_come_order();
        if order.len() < self.len() {
            let cycles = self.cycles();
            return Err((self, cycles));
        }
        let mut places = vec![NodeIndex::end(); order.len()];
        for (place, old) in order.iter().enumerate() {
            places[old.index()] = NodeIndex::new(place);
        }
        let (nodes, edges) = self.graph.into_nodes_edges();
        let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(|node| Some(node.weight)).collect();
        let mut sorted = Self::default();
        for old in order {
            sorted.add(nodes[old.index()].take().expect("an order names every node once"));
        }
        for edge in edges {
            sorted.depend(to_id(places[edge.target().index()]), to_id(places[edge.source().index()]));
        }
        Ok(sorted)
    }

    /// A topological order in which, of the nodes that could come next, the one added first does: what was
    /// asked for first is worked on and told first.
    fn first_come_order(&self) -> Vec<NodeIndex> {
        let count = |node| self.graph.neighbors_directed(node, Direction::Incoming).count();
        let mut unmet: Vec<usize> = self.graph.node_indices().map(count).collect();
        let mut ready: BTreeSet<NodeIndex> =
            self.graph.node_indices().filter(|node| unmet[node.index()] == 0).collect();
        let mut order = Vec::with_capacity(unmet.len());
        while let Some(node) = ready.pop_first() {
            order.push(node);
            for next in self.graph.neighbors(node) {
                unmet[next.index()] -= 1;
                if unmet[next.index()] == 0 {
                    ready.insert(next);
                }
            }
        }
        order
    }

    /// One cycle, a shortest, for each set of nodes that all wait for each other.
    fn cycles(&self) -> Vec<Cycle> {
        // Not Tarjan's: it would recurse as deep as the chain is long.
        let mut cycles: Vec<Cycle> = petgraph::algo::kosaraju_scc(&self.graph)
            .iter()
            .filter_map(|members| self.cycle_among(members))
            .collect();
        cycles.sort();
        cycles
    }

    fn cycle_among(&self, members: &[NodeIndex]) -> Option<Cycle> {
        let start = *members.iter().min()?;
        let members: BTreeSet<NodeIndex> = members.iter().copied().collect();
        // Breadth first from the start to itself; `came` says from where.
        let mut came: BTreeMap<NodeIndex, NodeIndex> = BTreeMap::new();
        let mut waiting = VecDeque::from([start]);
        while let Some(node) = waiting.pop_front() {
            let mut next: Vec<NodeIndex> = self.graph.neighbors_directed(node, Direction::Incoming).collect();
            next.sort_unstable();
            for next in next.into_iter().filter(|next| members.contains(next)) {
                if let Entry::Vacant(entry) = came.entry(next) {
                    entry.insert(node);
                    waiting.push_back(next);
                }
            }
        }
        let mut path = vec![*came.get(&start)?];
        while *path.last()? != start {
            path.push(came[path.last()?]);
        }
        path.reverse();
        Some(Cycle(path.into_iter().map(to_id).collect()))
    }

    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.graph[to_index(id)]
    }

    /// Every node, dependencies before what waits for them.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.graph.node_indices().map(|index| (to_id(index), &self.graph[index]))
    }

    /// What `id` waits for, in the order of ids.
    pub fn dependencies(&self, id: NodeId) -> Vec<NodeId> {
        self.neighbours(id, Direction::Incoming)
    }

    /// What waits for `id`, in the order of ids.
    pub fn dependents(&self, id: NodeId) -> Vec<NodeId> {
        self.neighbours(id, Direction::Outgoing)
    }

    fn neighbours(&self, id: NodeId, direction: Direction) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> =
            self.graph.neighbors_directed(to_index(id), direction).map(to_id).collect();
        ids.sort_unstable();
        ids
    }
}

fn to_id(index: NodeIndex) -> NodeId {
    NodeId(u32::try_from(index.index()).expect("a plan has fewer than 2^32 nodes"))
}

fn to_index(id: NodeId) -> NodeIndex {
    NodeIndex::new(id.0 as usize)
}
