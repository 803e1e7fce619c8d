//! Manifests as `kubectl` and `kustomize build` have them: every pod of every document, with the images it names.

use std::sync::Arc;

use super::placement::Placement;
use crate::config::yaml::{self, Kind, Node};
use crate::diag::{Place, Problem, Source};

/// Something that starts pods.
#[derive(Clone, Debug)]
pub struct Workload {
    /// `Deployment shop/api`
    pub name: String,
    pub images: Vec<ImageUse>,
    pub placement: Placement,
}

/// An image where a pod names it.
#[derive(Clone, Debug)]
pub struct ImageUse {
    pub name: String,
    pub place: Place,
}

/// Lists in lists, as `kubectl get -o yaml` never makes them.
const DEEPEST_LIST: usize = 8;

/// The pods of all documents of a file; documents of other kinds have none.
pub fn workloads(source: &Arc<Source>) -> Result<Vec<Workload>, Vec<Problem>> {
    let documents =
        yaml::parse(source).map_err(|problem| vec![Problem { code: "k8s::syntax", ..*problem }])?;
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for document in &documents {
        collect(document, DEEPEST_LIST, &mut found, &mut problems);
    }
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

fn collect(document: &Node, depth: usize, found: &mut Vec<Workload>, problems: &mut Vec<Problem>) {
    let kind = text(document, "kind").unwrap_or_default();
    if kind.ends_with("List") {
        let items = document.get("items").map(list).unwrap_or_default();
        match depth {
            0 => problems.push(
                Problem::input("k8s::nested", "lists are nested too deep").at(document.place.clone(), "here"),
            ),
            depth => items.iter().for_each(|item| collect(item, depth - 1, found, problems)),
        }
        return;
    }
    let path: &[&str] = match kind {
        "Pod" => &["spec"],
        "PodTemplate" => &["template", "spec"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        // Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, ReplicationController, and resources of others that
        // follow them.
        _ => &["spec", "template", "spec"],
    };
    let Some(pod) = path.iter().try_fold(document, |node, key| node.get(key)) else { return };
    let images = images(pod, problems);
    if !images.is_empty() {
        found.push(Workload { name: named(document, kind), images, placement: Placement::of(pod) });
    }
}

fn named(document: &Node, kind: &str) -> String {
    let metadata = |key| document.get("metadata").and_then(|metadata| text(metadata, key));
    let name = metadata("name").or(metadata("generateName")).unwrap_or("(without a name)");
    match metadata("namespace") {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

fn images(pod: &Node, problems: &mut Vec<Problem>) -> Vec<ImageUse> {
    let containers = ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .filter_map(|key| pod.get(key))
        .flat_map(list)
        .filter_map(|container| container.get("image"));
    let volumes = pod.get("volumes").map(list).unwrap_or_default().iter();
    let mounted = volumes.filter_map(|volume| volume.get("image")?.get("reference"));
    let mut images = Vec::new();
    for image in containers.chain(mounted) {
        match image.as_text() {
            Some(name) if !name.is_empty() => {
                images.push(ImageUse { name: name.to_string(), place: image.place.clone() });
            }
            Some(_) => {}
            None => {
                let message = format!("an image must be a text, not {}", image.name());
                problems.push(Problem::input("k8s::image", message).at(image.place.clone(), "no name"));
            }
        }
    }
    images
}

pub(super) fn list(node: &Node) -> &[Node] {
    match &node.kind {
        Kind::List(items) => items,
        _ => &[],
    }
}

pub(super) fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.get(key)?.as_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let found = workloads(&Source::new("m.yaml", text)).unwrap();
        let told = |found: &Workload| {
            let images: Vec<&str> = found.images.iter().map(|image| image.name.as_str()).collect();
            format!("{}: {}", found.name, images.join(" "))
        };
        found.iter().map(told).collect()
    }

    #[test]
    fn every_kind_that_starts_pods_is_read() {
        let pod = "spec: {initContainers: [{image: i}], containers: [{image: a}, {name: x}], volumes: [{image: {reference: v}}]}";
        assert_eq!(names(&format!("kind: Pod\nmetadata: {{name: p}}\n{pod}\n")), ["Pod p: i a v"]);
        for kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Rollout"] {
            let text =
                format!("kind: {kind}\nmetadata: {{name: n, namespace: s}}\nspec: {{template: {{{pod}}}}}\n");
            assert_eq!(names(&text), [format!("{kind} s/n: i a v")]);
        }
        let cron = format!("kind: CronJob\nspec: {{jobTemplate: {{spec: {{template: {{{pod}}}}}}}}}\n");
        assert_eq!(names(&cron), ["CronJob (without a name): i a v"]);
        let list = format!(
            "kind: List\nitems:\n- {{kind: Pod, {pod}}}\n- {{kind: Service, spec: {{}}}}\n---\nkind: ConfigMap\n"
        );
        assert_eq!(names(&list), ["Pod (without a name): i a v"]);
    }

    #[test]
    fn what_is_no_manifest_is_told_with_its_place() {
        for (text, code) in [
            ("a: [", "k8s::syntax"),
            ("kind: Pod\nspec: {containers: [{image: [a]}]}\n", "k8s::image"),
            (&"{kind: List, items: [".repeat(20), "k8s::syntax"),
        ] {
            let problems = workloads(&Source::new("m.yaml", text)).unwrap_err();
            assert_eq!((problems[0].code, problems[0].labels.len()), (code, 1), "{text}");
        }
    }
}
