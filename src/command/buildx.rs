//! Builders that `docker buildx create` made, read as they are:
//!
//! ```text
//! $BUILDX_CONFIG, else buildx/ in docker's configuration
//!   current            {"Key", "Name"}: the one in use there
//!   instances/NAME     {"Name", "Driver", "Nodes": [{"Name", "Endpoint", "Platforms", "DriverOpts"}]}
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use super::session::surroundings;
use crate::base::Platform;
use crate::diag::{Place, Problem, Source};
use crate::facts::Facts;
use crate::model::{Builder, Results, Tls, Worker};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    name: String,
    driver: String,
    #[serde(default)]
    nodes: Option<Vec<Node>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    name: String,
    #[serde(default)]
    endpoint: String,
    #[serde(default)]
    platforms: Option<Vec<NodePlatform>>,
    #[serde(default)]
    driver_opts: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct NodePlatform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

/// A pod of the deployment that buildx made for a node: `kubernetes:///NAME?deployment=NODE&kubeconfig=PATH`.
fn pod(endpoint: &str, node: &str, options: &mut BTreeMap<String, String>) -> Result<String, String> {
    let query = endpoint.split_once('?').map_or("", |(_, query)| query);
    let mut parameters: BTreeMap<&str, &str> =
        query.split('&').filter_map(|parameter| parameter.split_once('=')).collect();
    if parameters.remove("kubeconfig").is_some_and(|path| !path.is_empty()) {
        return Err("it has a `kubeconfig` of its own; point KUBECONFIG there".to_string());
    }
    let deployment = parameters.get("deployment").filter(|name| !name.is_empty()).unwrap_or(&node);
    let namespace = options.remove("namespace").filter(|name| !name.is_empty());
    let namespace = namespace.map(|name| format!("?namespace={name}")).unwrap_or_default();
    Ok(format!("kube-pod://deployment/{deployment}{namespace}"))
}

/// The name of the builder that `docker buildx use` chose, with its place.
pub fn current(facts: &Facts) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Current {
        name: String,
    }
    let text = fs::read_to_string(folder(facts)?.join("current")).ok()?;
    let current: Current = serde_json::from_str(&text).ok()?;
    Some(current.name).filter(|name| !name.is_empty())
}

/// A builder of buildx's, or why it is none of ours.
pub type Found = Result<Builder, Box<Problem>>;

fn folder(facts: &Facts) -> Option<PathBuf> {
    let named = facts.environment.get("BUILDX_CONFIG").filter(|folder| !folder.is_empty());
    named.map(PathBuf::from).or_else(|| Some(surroundings(facts).configuration()?.join("buildx")))
}

/// All there are, by name. Folders that cannot be read hold none.
pub fn instances(facts: &Facts) -> BTreeMap<String, Found> {
    let Some(folder) = folder(facts) else { return BTreeMap::new() };
    let entries = fs::read_dir(folder.join("instances")).into_iter().flatten().flatten();
    let found = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let text = fs::read_to_string(entry.path()).ok()?;
        Some((name, read(&entry.path().display().to_string(), &text)))
    });
    found.collect()
}

fn read(path: &str, text: &str) -> Found {
    let source = Source::new(path, text);
    let place = Place::new(&source, 0..0);
    let instance: Instance = serde_json::from_str(text).map_err(|error| {
        Box::new(Problem::input("builder::buildx", format!("`{path}` is no builder of buildx's: {error}")))
    })?;
    let nodes = instance.nodes.unwrap_or_default().into_iter();
    let workers = nodes.map(|node| worker(&instance.driver, node));
    let workers = workers.collect::<Result<Vec<_>, String>>().map_err(|why| {
        let message = format!("builder `{}` of buildx cannot be used: {why}", instance.name);
        Box::new(
            Problem::input("builder::buildx", message)
                .at(place.clone(), "declared here")
                .help("declare its workers in `[builder.NAME]` of your configuration"),
        )
    })?;
    Ok(Builder { place, workers, results: Results::default() })
}

fn worker(driver: &str, node: Node) -> Result<Worker, String> {
    let endpoint = node.endpoint;
    let mut options = node.driver_opts.unwrap_or_default();
    let (endpoint, tls) = match driver {
        "docker" => (format!("docker://{endpoint}"), None),
        "docker-container" => {
            let context = if endpoint.is_empty() { String::new() } else { format!("?context={endpoint}") };
            (format!("docker-container://buildx_buildkit_{}{context}", node.name), None)
        }
        "remote" => {
            let mut file = |name: &str| options.remove(name).map(PathBuf::from);
            let tls = Tls { ca: file("cacert"), cert: file("cert"), key: file("key") };
            (endpoint, Some(tls).filter(|tls| *tls != Tls::default()))
        }
        "kubernetes" => (pod(&endpoint, &node.name, &mut options)?, None),
        other => return Err(format!("its driver is `{other}`")),
    };
    let platforms = node.platforms.unwrap_or_default().into_iter();
    let platform = |told: NodePlatform| {
        let variant = told.variant.as_deref().filter(|variant| !variant.is_empty());
        Platform::new(&told.os, &told.architecture, variant)
    };
    Ok(Worker { endpoint, platforms: platforms.map(platform).collect(), tls, ..Worker::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_read_as_buildx_writes_them() {
        let check = |driver: &str, node: &str, expected: &str| {
            let text = format!(r#"{{"Name":"b","Driver":"{driver}","Nodes":[{node}],"Dynamic":false}}"#);
            let found = read("b", &text).map(|builder| {
                let worker = &builder.workers[0];
                let platforms: Vec<String> = worker.platforms.iter().map(ToString::to_string).collect();
                let ca = worker.tls.as_ref().and_then(|tls| tls.ca.clone()).unwrap_or_default();
                format!("{} {} {}", worker.endpoint, platforms.join(","), ca.display()).trim_end().to_string()
            });
            assert_eq!(found.unwrap_or_else(|problem| problem.message), expected);
        };
        let container = r#"{"Name":"b0","Endpoint":"unix:///var/run/docker.sock","Platforms":[{"architecture":"arm","os":"linux","variant":"v7"}],"Flags":null,"ConfigFile":""}"#;
        check(
            "docker-container",
            container,
            "docker-container://buildx_buildkit_b0?context=unix:///var/run/docker.sock linux/arm/v7",
        );
        check(
            "docker-container",
            r#"{"Name":"b0","Endpoint":"desktop","Platforms":null}"#,
            "docker-container://buildx_buildkit_b0?context=desktop",
        );
        check("docker", r#"{"Name":"b0","Endpoint":"default"}"#, "docker://default");
        check(
            "remote",
            r#"{"Name":"b0","Endpoint":"tcp://a:1","DriverOpts":{"cacert":"/ca.pem","cert":"/c.pem","key":"/k.pem"}}"#,
            "tcp://a:1  /ca.pem",
        );
        check("kubernetes", r#"{"Name":"b0","Endpoint":"kubernetes:///b"}"#, "kube-pod://deployment/b0");
        check(
            "kubernetes",
            r#"{"Name":"b0","Endpoint":"kubernetes:///b?deployment=b-0&kubeconfig=","DriverOpts":{"namespace":"ci","replicas":"2"}}"#,
            "kube-pod://deployment/b-0?namespace=ci",
        );
        check(
            "kubernetes",
            r#"{"Name":"b0","Endpoint":"kubernetes:///b?deployment=b-0&kubeconfig=/etc/kube"}"#,
            "builder `b` of buildx cannot be used: it has a `kubeconfig` of its own; point KUBECONFIG there",
        );
        check(
            "cloud",
            r#"{"Name":"b0","Endpoint":"cloud://a/b"}"#,
            "builder `b` of buildx cannot be used: its driver is `cloud`",
        );
    }
}
