//! A job as a worker's frontend is asked for it: options, folders, images. The frontend is the one that the worker
//! has built in, whatever a `# syntax` line says, as the embedded engine has one of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard_buildkit_proto::moby::buildkit::v1 as proto;
use proto::sourcepolicy::Policy;

use super::content::Content;
use super::file_sync::Folder;
use super::needs::Language;
use super::policy::policy;
use crate::base::{Hasher, Platform, Reference};
use crate::diag::Problem;
use crate::engine::BuildJob;
use crate::engine::base::{Base, Origin};
use crate::layer::Compression;
use crate::model::Network;
use crate::steps::LoweredBase;

const DOCKERFILE: &str = "Dockerfile";
/// The names of the frontend's own folders.
const DOCKERFILE_FOLDER: &str = "dockerfile";
const CONTEXT_FOLDER: &str = "context";
/// The name of this side's images.
const IMAGES: &str = "mab";

/// Everything that is told to a worker before it begins.
pub(super) struct Asked {
    pub options: HashMap<String, String>,
    pub folders: BTreeMap<String, Folder>,
    /// Where the worker pulls from, as registry and repository.
    pub repositories: BTreeSet<(String, String)>,
    pub policy: Option<Policy>,
    pub entitlements: Vec<String>,
}

impl Asked {
    /// What the worker takes from this side is offered in `content`.
    pub fn new(job: &BuildJob, language: Language, content: &mut Content) -> Result<Self, Box<Problem>> {
        let recipe = &job.recipe;
        let text = recipe.dockerfile.source.text.as_bytes();
        let dockerfile = Folder::File { name: DOCKERFILE, bytes: text.into() };
        let mut asked = Self {
            options: options(job),
            folders: BTreeMap::from([(DOCKERFILE_FOLDER.to_string(), dockerfile)]),
            repositories: BTreeSet::new(),
            policy: policy(&job.sources, language),
            entitlements: recipe
                .entitlements
                .iter()
                .map(|entitlement| entitlement.name().to_string())
                .collect(),
        };
        for (name, context) in &job.contexts {
            let folder = match name {
                None => CONTEXT_FOLDER.to_string(),
                Some(name) => {
                    let folder = format!("named:{name}");
                    asked.options.insert(format!("context:{}", key(name)), format!("local:{folder}"));
                    folder
                }
            };
            asked.folders.insert(folder, Folder::Context(context.clone()));
        }
        for (lowered, base) in job.steps.bases.iter().zip(&job.bases) {
            asked.base(lowered, base, content);
        }
        Ok(asked)
    }

    /// Another text in place of the Dockerfile's.
    pub fn set_dockerfile(&mut self, text: String) {
        let file = Folder::File { name: DOCKERFILE, bytes: text.into_bytes().into() };
        self.folders.insert(DOCKERFILE_FOLDER.to_string(), file);
    }

    /// Pins a base to what was found: from its registry by digest, everything else from this side.
    fn base(&mut self, lowered: &LoweredBase, base: &Base, content: &mut Content) {
        let place = match &base.origin {
            Origin::Registry(reference) => {
                let (registry, repository) = (reference.registry(), reference.repository());
                self.repositories.insert((registry.to_string(), repository.to_string()));
                format!("docker-image://{}@{}", reference.name(), base.manifest)
            }
            Origin::OciLayout(_) | Origin::Store => format!("oci-layout://{IMAGES}@{}", content.offer(base)),
        };
        self.options.insert(format!("context:{}::{}", key(&lowered.name), lowered.platform), place);
    }
}

/// The name that the frontend looks contexts up by.
fn key(name: &str) -> String {
    let familiar = name.to_lowercase().parse::<Reference>().map(|reference| reference.familiar());
    match familiar {
        Ok(familiar) => familiar.strip_suffix(":latest").unwrap_or(&familiar).to_string(),
        Err(_) => name.to_lowercase(),
    }
}

fn options(job: &BuildJob) -> HashMap<String, String> {
    let recipe = &job.recipe;
    let mut options = HashMap::from([
        ("filename".to_string(), DOCKERFILE.to_string()),
        ("platform".to_string(), job.platform.to_string()),
        // A frontend that was started for a `# syntax` line already.
        ("cmdline".to_string(), "dockerfile.v0".to_string()),
        // Mistakes are told by `mab check` and before the build.
        ("build-arg:BUILDKIT_DOCKERFILE_CHECK".to_string(), "skip=all".to_string()),
    ]);
    for (name, value) in build_platform(&recipe.build_platform) {
        options.insert(format!("build-arg:{name}"), value);
    }
    options.extend(recipe.args.iter().map(|(name, value)| (format!("build-arg:{name}"), value.clone())));
    options.extend(recipe.labels.iter().map(|(name, value)| (format!("label:{name}"), value.clone())));
    options.extend(recipe.stage.iter().map(|stage| ("target".to_string(), stage.clone())));
    if job.no_cache {
        options.insert("no-cache".to_string(), String::new());
    } else if !job.no_cache_stages.is_empty() {
        options.insert("no-cache".to_string(), job.no_cache_stages.join(","));
    }
    let attestations = recipe.attestations.iter();
    options.extend(attestations.map(|asked| (format!("attest:{}", asked.kind.name()), asked.words())));
    match recipe.network {
        Network::Default => {}
        Network::None => drop(options.insert("force-network-mode".to_string(), "none".to_string())),
        Network::Host => drop(options.insert("force-network-mode".to_string(), "host".to_string())),
    }
    options.extend(recipe.shm_size.map(|bytes| ("shm-size".to_string(), bytes.to_string())));
    let hosts: Vec<String> =
        recipe.extra_hosts.iter().map(|(name, address)| format!("{name}={address}")).collect();
    let ulimits: Vec<String> = recipe.ulimits.iter().map(ToString::to_string).collect();
    for (name, values) in [("add-hosts", hosts), ("ulimit", ulimits)] {
        options.extend((!values.is_empty()).then(|| (name.to_string(), values.join(","))));
    }
    options
}

/// A worker has a platform of its own, but what Dockerfiles mean does not depend on who builds them.
fn build_platform(platform: &Platform) -> [(&'static str, String); 4] {
    [
        ("BUILDPLATFORM", platform.to_string()),
        ("BUILDOS", platform.os.clone()),
        ("BUILDARCH", platform.architecture.clone()),
        ("BUILDVARIANT", platform.variant.clone().unwrap_or_default()),
    ]
}

/// How the worker is to hand over the result.
pub(super) fn exporter(job: &BuildJob) -> proto::Exporter {
    let mut attrs = form(job);
    attrs.insert("tar".to_string(), "true".to_string());
    proto::Exporter { r#type: "oci".to_string(), attrs }
}

/// How it is to leave the result in a repository, under no name but its digest, and to keep no image of it.
pub(super) fn pusher(job: &BuildJob, repository: &Reference) -> proto::Exporter {
    let mut attrs = form(job);
    attrs.insert("name".to_string(), repository.name());
    attrs.extend(
        [("push", "true"), ("push-by-digest", "true"), ("name-canonical", "true"), ("store", "false")]
            .map(|(key, value)| (key.to_string(), value.to_string())),
    );
    proto::Exporter { r#type: "image".to_string(), attrs }
}

fn form(job: &BuildJob) -> HashMap<String, String> {
    let (compression, level) = match job.compression {
        Compression::None => ("uncompressed", None),
        Compression::Gzip { level } => ("gzip", Some(i64::from(level.min(9)))),
        Compression::Zstd { level } => ("zstd", Some(i64::from(level.clamp(1, 22)))),
    };
    let mut attrs = HashMap::from([
        ("oci-mediatypes".to_string(), "true".to_string()),
        ("compression".to_string(), compression.to_string()),
    ]);
    attrs.extend(level.map(|level| ("compression-level".to_string(), level.to_string())));
    if let Some(epoch) = job.epoch {
        attrs.insert("source-date-epoch".to_string(), epoch.to_string());
        attrs.insert("rewrite-timestamp".to_string(), "true".to_string());
    }
    attrs
}

/// Under which key a worker finds what it has of a job's contexts: the same for the same folders, so that only what
/// changed travels.
pub(super) fn shared_key(job: &BuildJob) -> String {
    let mut hasher = Hasher::new();
    for (name, context) in &job.contexts {
        hasher.update(name.as_deref().unwrap_or_default().as_bytes());
        hasher.update(b"\0");
        hasher.update(context.root().as_os_str().as_encoded_bytes());
        hasher.update(b"\0");
    }
    hasher.finish().hex()
}
