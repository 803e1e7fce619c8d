//! `--metadata-file`: what was built, with the keys of `docker buildx bake` and every platform's digest.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::base::payload::WorkerName;
use crate::base::{Digest, Platform};
use crate::oci::Descriptor;

/// A target that was built.
#[derive(Clone, Debug)]
pub struct TargetResult {
    pub name: String,
    pub names: Vec<String>,
    /// The index, or the only platform's manifest.
    pub root: Descriptor,
    /// The platforms' manifests, in the order of the file.
    pub images: Vec<Descriptor>,
    /// Config digests by platform, in the order of the file.
    pub configs: Vec<(Platform, Digest)>,
    /// Who built which platform in this run.
    pub workers: BTreeMap<Platform, WorkerName>,
}

/// The document, one key per target.
pub fn json(results: &[TargetResult]) -> String {
    let targets: Map<String, Value> =
        results.iter().map(|result| (result.name.clone(), target(result))).collect();
    format!("{:#}\n", Value::Object(targets))
}

fn target(result: &TargetResult) -> Value {
    let mut object = Map::new();
    if let [(_, config)] = &result.configs[..] {
        object.insert("containerimage.config.digest".to_string(), json!(config));
    }
    object.insert("containerimage.descriptor".to_string(), json!(result.root));
    object.insert("containerimage.digest".to_string(), json!(result.root.digest));
    if !result.names.is_empty() {
        object.insert("image.name".to_string(), json!(result.names.join(",")));
    }
    let platforms: Map<String, Value> = result
        .configs
        .iter()
        .zip(&result.images)
        .map(|((platform, config), image)| {
            let mut value = json!({
                "containerimage.config.digest": config,
                "containerimage.digest": image.digest,
                "containerimage.descriptor": image,
            });
            if let Some(worker) = result.workers.get(platform) {
                value["mab.worker"] = self::worker(worker);
            }
            (platform.to_string(), value)
        })
        .collect();
    object.insert("mab.platforms".to_string(), Value::Object(platforms));
    Value::Object(object)
}

fn worker(worker: &WorkerName) -> Value {
    match &worker.endpoint {
        Some(endpoint) => json!({ "builder": worker.builder, "endpoint": endpoint }),
        None => json!({ "builder": worker.builder }),
    }
}
