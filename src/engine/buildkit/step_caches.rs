//! The caches of a job as its worker uses them: for steps, which are cached by workers in a form of their own. Each
//! platform has a name of its own in a cache, so that none takes away what another one wrote; the plain name is read,
//! too, for what others wrote there.

use std::collections::{BTreeMap, BTreeSet};

use bollard_buildkit_proto::moby::buildkit::v1::{CacheOptions, CacheOptionsEntry};
use serde_json::json;

use crate::base::{Platform, Reference};
use crate::docker::Surroundings;
use crate::engine::{BuildJob, StepCache};
use crate::model::{CacheEntry, CacheKind};

/// What a cache is called by BuildKit that is called nothing.
const NAME: &str = "buildkit";
/// No tag is longer, see the distribution specification.
const LONGEST_TAG: usize = 128;

type Attributes = BTreeMap<String, String>;

/// What a worker is told of caches.
pub(super) struct StepCaches {
    pub imports: Vec<CacheOptionsEntry>,
    pub exports: Vec<CacheOptionsEntry>,
    /// Where it asks for them, as registry and repository.
    pub repositories: BTreeSet<(String, String)>,
}

impl StepCaches {
    pub fn new(job: &BuildJob, surroundings: &Surroundings) -> Self {
        let mut caches = Self { imports: Vec::new(), exports: Vec::new(), repositories: BTreeSet::new() };
        for cache in &job.step_caches.from {
            let own = suffix(job, cache);
            for (kind, attributes) in imports(&cache.entry, &own, &job.step_caches.images, surroundings) {
                let entry = caches.entry(kind, attributes);
                if !caches.imports.contains(&entry) {
                    caches.imports.push(entry);
                }
            }
        }
        for cache in &job.step_caches.to {
            let Some((kind, mut attributes)) = place(&cache.entry, Some(&suffix(job, cache)), surroundings)
            else {
                continue;
            };
            let mode = cache.entry.mode.map(|mode| mode.name().to_string());
            attributes.extend(mode.map(|mode| ("mode".to_string(), mode)));
            // No cache fails a build.
            attributes.insert("ignore-error".to_string(), "true".to_string());
            let entry = caches.entry(kind, attributes);
            caches.exports.push(entry);
        }
        caches
    }

    pub fn options(&self) -> CacheOptions {
        CacheOptions {
            exports: self.exports.clone(),
            imports: self.imports.clone(),
            ..CacheOptions::default()
        }
    }

    /// The imports as the frontend asks for them.
    pub fn frontend_imports(&self) -> Option<String> {
        let import = |entry: &CacheOptionsEntry| json!({ "Type": entry.r#type, "Attrs": entry.attrs });
        let imports: Vec<_> = self.imports.iter().map(import).collect();
        (!imports.is_empty()).then(|| serde_json::Value::Array(imports).to_string())
    }

    fn entry(&mut self, kind: CacheKind, attributes: Attributes) -> CacheOptionsEntry {
        let reference = attributes.get("ref").and_then(|text| text.parse::<Reference>().ok());
        self.repositories
            .extend(reference.map(|found| (found.registry().to_string(), found.repository().to_string())));
        CacheOptionsEntry { r#type: kind.name().to_string(), attrs: attributes.into_iter().collect() }
    }
}

/// What a job's name in a cache ends with. What the project shares between targets tells these apart, too.
fn suffix(job: &BuildJob, cache: &StepCache) -> String {
    let platform = platform_words(&job.platform);
    if cache.is_of_many { format!("{}-{platform}", job.target) } else { platform }
}

fn platform_words(platform: &Platform) -> String {
    let words = [Some(&platform.os), Some(&platform.architecture), platform.variant.as_ref()];
    words.into_iter().flatten().cloned().collect::<Vec<_>>().join("-")
}

/// Where steps may be, the job's own place first.
fn imports(
    entry: &CacheEntry,
    own: &str,
    images: &[Reference],
    surroundings: &Surroundings,
) -> Vec<(CacheKind, Attributes)> {
    if entry.kind == CacheKind::Inline {
        let of_image = |image: &Reference| {
            (CacheKind::Registry, Attributes::from([("ref".to_string(), image.familiar())]))
        };
        return images.iter().map(of_image).collect();
    }
    [place(entry, Some(own), surroundings), place(entry, None, surroundings)].into_iter().flatten().collect()
}

/// A place with its attributes; none for kinds that workers do not have.
fn place(
    entry: &CacheEntry,
    suffix: Option<&str>,
    surroundings: &Surroundings,
) -> Option<(CacheKind, Attributes)> {
    let mut attributes = entry.parameters.clone();
    // For this side's own way to keep results.
    for key in [
        "mounts",
        "repository",
        "ghtoken",
        "timeout",
        "retry_mode",
        "retry_max_attempts",
        "disable_accept_encoding",
    ] {
        attributes.remove(key);
    }
    match entry.kind {
        CacheKind::Registry => {
            let reference: Reference = attributes.get("ref")?.parse().ok()?;
            attributes.insert("ref".to_string(), tagged(&reference, suffix));
        }
        CacheKind::Inline => attributes.clear(),
        CacheKind::Gha => {
            rename(&mut attributes, "scope", suffix);
            let variables = [
                ("url", "ACTIONS_CACHE_URL"),
                ("url_v2", "ACTIONS_RESULTS_URL"),
                ("token", "ACTIONS_RUNTIME_TOKEN"),
            ];
            fill(&mut attributes, &variables, surroundings);
            if !attributes.contains_key("version")
                && variable(surroundings, "ACTIONS_CACHE_SERVICE_V2").is_some()
            {
                attributes.insert("version".to_string(), "2".to_string());
            }
            // Without both the service is out of reach, which this side has told.
            attributes.get("token")?;
        }
        CacheKind::S3 => {
            rename(&mut attributes, "name", suffix);
            let variables = [
                ("region", "AWS_REGION"),
                ("access_key_id", "AWS_ACCESS_KEY_ID"),
                ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
                ("session_token", "AWS_SESSION_TOKEN"),
            ];
            fill(&mut attributes, &variables, surroundings);
        }
        CacheKind::Azblob => {
            rename(&mut attributes, "name", suffix);
            if let Some(account) = attributes.remove("account_name") {
                let address = format!("https://{account}.blob.core.windows.net");
                attributes.entry("account_url".to_string()).or_insert(address);
            }
        }
        CacheKind::Local | CacheKind::Gcs | CacheKind::Webdav => return None,
    }
    Some((entry.kind, attributes))
}

/// The reference with the suffix on its tag.
fn tagged(reference: &Reference, suffix: Option<&str>) -> String {
    let tag = reference.tag().unwrap_or("latest");
    let tag = suffix.map_or(tag.to_string(), |suffix| format!("{tag}-{suffix}"));
    let tag: String = tag.chars().take(LONGEST_TAG).collect();
    format!("{}:{tag}", reference.name())
}

fn rename(attributes: &mut Attributes, key: &str, suffix: Option<&str>) {
    let name = attributes.get(key).map_or(NAME, String::as_str);
    let name = suffix.map_or(name.to_string(), |suffix| format!("{name}-{suffix}"));
    attributes.insert(key.to_string(), name);
}

/// What is not given comes from the environment, as bake has it.
fn fill(attributes: &mut Attributes, variables: &[(&str, &str)], surroundings: &Surroundings) {
    for (key, name) in variables {
        if let Some(value) = variable(surroundings, name).filter(|_| !attributes.contains_key(*key)) {
            attributes.insert((*key).to_string(), value.to_string());
        }
    }
}

fn variable<'a>(surroundings: &'a Surroundings, name: &str) -> Option<&'a str> {
    surroundings.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn every_platform_has_a_place_of_its_own() {
        let environment = [("ACTIONS_RUNTIME_TOKEN", "secret"), ("AWS_REGION", "here")];
        let environment = environment.map(|(name, value)| (name.to_string(), value.to_string()));
        let surroundings = Surroundings { environment: Arc::new(BTreeMap::from(environment)), home: None };
        let check = |kind: CacheKind, given: &[(&str, &str)], own: Option<&str>, plain: Option<&str>| {
            let given = given.iter().map(|(key, value)| (key.to_string(), value.to_string()));
            let entry = CacheEntry { kind, mode: None, parameters: given.collect() };
            for (suffix, expected) in [(Some("linux-arm-v7"), own), (None, plain)] {
                let placed = place(&entry, suffix, &surroundings).map(|(_, attributes)| {
                    let pairs = attributes.iter().map(|(key, value)| format!("{key}={value}"));
                    pairs.collect::<Vec<_>>().join(",")
                });
                assert_eq!(placed.as_deref(), expected);
            }
        };
        check(
            CacheKind::Registry,
            &[("ref", "r.example/c:v1"), ("registry.insecure", "true"), ("mounts", "true")],
            Some("ref=r.example/c:v1-linux-arm-v7,registry.insecure=true"),
            Some("ref=r.example/c:v1,registry.insecure=true"),
        );
        check(
            CacheKind::Registry,
            &[("ref", "r.example/c")],
            Some("ref=r.example/c:latest-linux-arm-v7"),
            Some("ref=r.example/c:latest"),
        );
        check(CacheKind::Inline, &[], Some(""), Some(""));
        check(
            CacheKind::Gha,
            &[("scope", "main")],
            Some("scope=main-linux-arm-v7,token=secret"),
            Some("scope=main,token=secret"),
        );
        check(
            CacheKind::S3,
            &[("bucket", "b"), ("access_key_id", "me")],
            Some("access_key_id=me,bucket=b,name=buildkit-linux-arm-v7,region=here"),
            Some("access_key_id=me,bucket=b,name=buildkit,region=here"),
        );
        check(
            CacheKind::Azblob,
            &[("account_name", "a")],
            Some("account_url=https://a.blob.core.windows.net,name=buildkit-linux-arm-v7"),
            Some("account_url=https://a.blob.core.windows.net,name=buildkit"),
        );
        check(CacheKind::Webdav, &[("url", "https://a")], None, None);
    }
}
