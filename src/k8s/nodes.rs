//! The nodes of a cluster, as `kubectl get nodes -o json` tells of them.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::base::Platform;
use crate::diag::{Kind, Problem};

/// A machine that pods run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub platform: Platform,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
}

/// What keeps pods away that do not tolerate it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Taint {
    #[serde(default)]
    pub key: String,
    #[serde(default)]
    pub value: String,
    #[serde(default)]
    pub effect: String,
}

#[derive(Deserialize)]
struct Answer {
    items: Option<Vec<Item>>,
    #[serde(flatten)]
    single: Item,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Item {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    taints: Vec<Taint>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    node_info: Info,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Info {
    architecture: String,
    operating_system: String,
}

impl Node {
    /// The nodes of an answer, a list or a single one; `name` is where it is from.
    pub fn parse(name: &str, json: &[u8]) -> Result<Vec<Self>, Box<Problem>> {
        let wrong = |why: String| {
            let problem =
                Problem::new(Kind::Input, "k8s::nodes", format!("{name} is no list of nodes: {why}"));
            Box::new(problem.help("make one with `kubectl get nodes -o json`"))
        };
        let answer: Answer = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        let items = answer.items.unwrap_or_else(|| vec![answer.single]);
        items.into_iter().map(|item| item.node().map_err(&wrong)).collect()
    }
}

impl Item {
    fn node(self) -> Result<Node, String> {
        let Metadata { name, labels } = self.metadata;
        let told = |info: String, label: &str| {
            let label = || labels.get(label).cloned().unwrap_or_default();
            if info.is_empty() { label() } else { info }
        };
        let info = self.status.node_info;
        let (os, architecture) =
            (told(info.operating_system, "kubernetes.io/os"), told(info.architecture, "kubernetes.io/arch"));
        if os.is_empty() || architecture.is_empty() {
            return Err(format!("`{name}` does not say what it is"));
        }
        let platform =
            format!("{os}/{architecture}").parse().map_err(|_| format!("`{name}` is {os}/{architecture}"))?;
        Ok(Node { name, platform, labels, taints: self.spec.taints })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_say_what_they_are_in_their_status_or_their_labels() {
        let json = br#"{"kind":"List","items":[
            {"metadata":{"name":"a","labels":{"x":"y"}},"status":{"nodeInfo":{"architecture":"arm64","operatingSystem":"linux"}}},
            {"metadata":{"name":"b","labels":{"kubernetes.io/arch":"amd64","kubernetes.io/os":"linux"}},
             "spec":{"taints":[{"key":"k","effect":"NoSchedule"}]}}]}"#;
        let nodes = Node::parse("nodes.json", json).unwrap();
        let told: Vec<String> = nodes.iter().map(|node| format!("{} {}", node.name, node.platform)).collect();
        assert_eq!(told, ["a linux/arm64", "b linux/amd64"]);
        assert_eq!(nodes[1].taints[0].key, "k");
        for hostile in ["", "[]", "{}", "{\"items\":[{}]}", "{\"items\":5}"] {
            assert_eq!(Node::parse("x", hostile.as_bytes()).unwrap_err().code, "k8s::nodes", "{hostile}");
        }
    }
}
