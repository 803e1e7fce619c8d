//! Which nodes a pod may run on: its selector, required affinity and tolerations, as the scheduler reads them.
//!
//! Affinity that is only preferred keeps a pod from nowhere, and is not looked at; nor is how busy a node is.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::{list, text};
use super::nodes::{Node, Taint};
use crate::base::Platform;
use crate::config::yaml;

const ARCHITECTURE: &str = "kubernetes.io/arch";
const SYSTEM: &str = "kubernetes.io/os";

/// What a pod says of the nodes it may run on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    node: Option<String>,
    selector: BTreeMap<String, String>,
    /// One of them must hold, if there are any.
    terms: Vec<Vec<Requirement>>,
    tolerations: Vec<Toleration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    /// A label, or `metadata.name` of a field.
    key: String,
    is_field: bool,
    operator: String,
    values: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Toleration {
    key: String,
    exists: bool,
    value: String,
    effect: String,
}

/// A platform that an image must have, and who needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    pub platform: Platform,
    /// A node, or what the pod says.
    pub because: String,
}

impl Placement {
    /// Of a pod's specification.
    pub fn of(pod: &yaml::Node) -> Self {
        let selector = pod.get("nodeSelector").and_then(yaml::Node::table).into_iter().flatten();
        let affinity = [
            "affinity",
            "nodeAffinity",
            "requiredDuringSchedulingIgnoredDuringExecution",
            "nodeSelectorTerms",
        ];
        let terms = affinity.iter().try_fold(pod, |node, key| node.get(key)).map(list).unwrap_or_default();
        Self {
            node: text(pod, "nodeName").map(String::from),
            selector: selector.filter_map(|(key, value)| Some((key.clone(), value.printed()?))).collect(),
            terms: terms.iter().map(requirements).collect(),
            tolerations: pod
                .get("tolerations")
                .map(list)
                .unwrap_or_default()
                .iter()
                .map(Toleration::of)
                .collect(),
        }
    }

    /// The platforms of the nodes that the pod may run on, each with one of them.
    pub fn on(&self, nodes: &[Node]) -> Vec<Needed> {
        let mut needed: Vec<Needed> = Vec::new();
        for node in nodes.iter().filter(|node| self.admits(node)) {
            if needed.iter().all(|known| known.platform != node.platform) {
                needed.push(Needed {
                    platform: node.platform.clone(),
                    because: format!("node `{}`", node.name),
                });
            }
        }
        needed
    }

    /// The platforms that the pod itself names, where no cluster is known.
    pub fn named(&self) -> Vec<Needed> {
        let systems = self.values(SYSTEM);
        let system = systems.first().map_or("linux", String::as_str);
        let needed = self.values(ARCHITECTURE).into_iter().filter_map(|architecture| {
            let platform: Platform = format!("{system}/{architecture}").parse().ok()?;
            Some(Needed { platform, because: format!("`{ARCHITECTURE}` is asked for") })
        });
        needed.collect()
    }

    /// What a label may be.
    fn values(&self, key: &str) -> BTreeSet<String> {
        let of_terms = self
            .terms
            .iter()
            .flatten()
            .filter(|requirement| requirement.key == key && requirement.operator == "In");
        match self.selector.get(key) {
            Some(value) => BTreeSet::from([value.clone()]),
            None => of_terms.flat_map(|requirement| requirement.values.iter().cloned()).collect(),
        }
    }

    fn admits(&self, node: &Node) -> bool {
        let keeps_away = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
        self.node.as_ref().is_none_or(|name| *name == node.name)
            && self.selector.iter().all(|(key, value)| node.labels.get(key) == Some(value))
            && (self.terms.is_empty() || self.terms.iter().any(|term| holds(term, node)))
            && node
                .taints
                .iter()
                .filter(keeps_away)
                .all(|taint| self.tolerations.iter().any(|one| one.covers(taint)))
    }
}

fn requirements(term: &yaml::Node) -> Vec<Requirement> {
    let of = |list_key: &str, is_field: bool| -> Vec<Requirement> {
        let expressions = term.get(list_key).map(list).unwrap_or_default();
        let requirement = |expression: &yaml::Node| Requirement {
            key: text(expression, "key").unwrap_or_default().to_string(),
            is_field,
            operator: text(expression, "operator").unwrap_or_default().to_string(),
            values: expression
                .get("values")
                .map(list)
                .unwrap_or_default()
                .iter()
                .filter_map(yaml::Node::printed)
                .collect(),
        };
        expressions.iter().map(requirement).collect()
    };
    let mut all = of("matchExpressions", false);
    all.extend(of("matchFields", true));
    all
}

/// A term without requirements holds nowhere, as the API says.
fn holds(term: &[Requirement], node: &Node) -> bool {
    !term.is_empty() && term.iter().all(|requirement| requirement.holds(node))
}

impl Requirement {
    fn holds(&self, node: &Node) -> bool {
        let value = match self.is_field {
            true => (self.key == "metadata.name").then_some(&node.name),
            false => node.labels.get(&self.key),
        };
        let compared = |is_wanted: fn(i64, i64) -> bool| {
            let bound = self.values.first().and_then(|bound| bound.parse().ok());
            value
                .and_then(|value| value.parse().ok())
                .zip(bound)
                .is_some_and(|(value, bound)| is_wanted(value, bound))
        };
        match self.operator.as_str() {
            "In" => value.is_some_and(|value| self.values.contains(value)),
            "NotIn" => value.is_none_or(|value| !self.values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            "Gt" => compared(|value, bound| value > bound),
            "Lt" => compared(|value, bound| value < bound),
            // The API server refuses other operators.
            _ => false,
        }
    }
}

impl Toleration {
    fn of(node: &yaml::Node) -> Self {
        let field = |key| node.get(key).and_then(yaml::Node::printed).unwrap_or_default();
        let (key, value, effect) = (field("key"), field("value"), field("effect"));
        Self { exists: field("operator") == "Exists", key, value, effect }
    }

    fn covers(&self, taint: &Taint) -> bool {
        (self.key == taint.key || self.key.is_empty() && self.exists)
            && (self.effect.is_empty() || self.effect == taint.effect)
            && (self.exists || self.value == taint.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diag::Source;

    fn node(name: &str, architecture: &str, taint: Option<(&str, &str)>) -> Node {
        Node {
            name: name.into(),
            platform: Platform::linux(architecture),
            labels: [(ARCHITECTURE, architecture), (SYSTEM, "linux"), ("cores", "8")]
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .into(),
            taints: taint
                .map(|(key, value)| Taint {
                    key: key.into(),
                    value: value.into(),
                    effect: "NoSchedule".into(),
                })
                .into_iter()
                .collect(),
        }
    }

    fn check(pod: &str, on: &str, named: &str) {
        let nodes = [
            node("a", "amd64", None),
            node("b", "arm64", None),
            node("c", "s390x", Some((ARCHITECTURE, "s390x"))),
        ];
        let documents = yaml::parse(&Source::new("p.yaml", pod)).unwrap();
        let placement = Placement::of(&documents[0]);
        let names = |needed: Vec<Needed>| {
            needed.iter().map(|one| one.platform.architecture.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            (names(placement.on(&nodes)).as_str(), names(placement.named()).as_str()),
            (on, named),
            "{pod}"
        );
    }

    #[test]
    fn pods_run_where_the_scheduler_would_put_them() {
        check("{}", "amd64 arm64", "");
        check("nodeSelector: {kubernetes.io/arch: arm64}", "arm64", "arm64");
        check("nodeName: a", "amd64", "");
        check("tolerations: [{operator: Exists}]", "amd64 arm64 s390x", "");
        check("tolerations: [{key: kubernetes.io/arch, value: s390x}]", "amd64 arm64 s390x", "");
        check(
            "tolerations: [{key: kubernetes.io/arch, value: arm64, effect: NoSchedule}]",
            "amd64 arm64",
            "",
        );
        let term = |expression: &str| {
            format!(
                "affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: [{{matchExpressions: [{expression}]}}]}}}}}}"
            )
        };
        check(
            &term("{key: kubernetes.io/arch, operator: In, values: [arm64, riscv64]}"),
            "arm64",
            "arm64 riscv64",
        );
        check(&term("{key: kubernetes.io/arch, operator: NotIn, values: [arm64]}"), "amd64", "");
        check(&term("{key: gpu, operator: Exists}"), "", "");
        check(&term("{key: gpu, operator: DoesNotExist}"), "amd64 arm64", "");
        check(&term("{key: cores, operator: Gt, values: ['4']}"), "amd64 arm64", "");
        check(&term("{key: cores, operator: Lt, values: ['4']}"), "", "");
        check(&term(""), "", "");
    }
}
