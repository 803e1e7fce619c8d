//! What an engine needs that reads Dockerfiles itself: the text, and everything that decides what it means.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::buildkit::Need;
use crate::base::Platform;
use crate::diag::Source;
use crate::dockerfile::Dockerfile;
use crate::model::{Attestation, Emulate, Entitlement, Network, Ulimit};
use crate::steps::Setting;

/// A Dockerfile and its setting. The steps of a job were lowered from the same.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub dockerfile: Arc<Dockerfile>,
    pub stage: Option<String>,
    /// The platform that `$BUILDPLATFORM` names.
    pub build_platform: Platform,
    pub args: BTreeMap<String, String>,
    /// Added to the image's labels.
    pub labels: Vec<(String, String)>,
    pub network: Network,
    pub shm_size: Option<u64>,
    pub extra_hosts: BTreeMap<String, String>,
    pub entitlements: Vec<Entitlement>,
    pub ulimits: Vec<Ulimit>,
    pub emulate: Emulate,
    /// What a worker must have to build it.
    pub worker_labels: BTreeMap<String, String>,
    /// What a worker must be able to do to build it.
    pub needs: Vec<Need>,
    /// What is to be stated about the image.
    pub attestations: Vec<Attestation>,
}

impl Recipe {
    pub fn new(dockerfile: Arc<Dockerfile>, setting: &Setting<'_>, emulate: Emulate) -> Self {
        let args = setting.args.iter().map(|(name, value)| (name.clone(), value.value.clone()));
        Self {
            dockerfile,
            stage: setting.stage.map(|stage| stage.value.clone()),
            build_platform: setting.build.clone(),
            args: args.collect(),
            labels: setting.labels.to_vec(),
            network: setting.network,
            shm_size: setting.shm_size,
            extra_hosts: setting.extra_hosts.clone(),
            entitlements: setting.entitlements.iter().map(|asked| asked.value).collect(),
            ulimits: setting.ulimits.to_vec(),
            emulate,
            worker_labels: BTreeMap::new(),
            needs: Vec::new(),
            attestations: Vec::new(),
        }
    }

    /// What says nothing: an image is taken as it is.
    pub fn of_image(platform: &Platform) -> Self {
        let dockerfile = Dockerfile::parse(&Source::new("Dockerfile", "FROM scratch\n"));
        Self {
            dockerfile: Arc::new(dockerfile.expect("its one instruction is well formed")),
            stage: None,
            build_platform: platform.clone(),
            args: BTreeMap::new(),
            labels: Vec::new(),
            network: Network::Default,
            shm_size: None,
            extra_hosts: BTreeMap::new(),
            entitlements: Vec::new(),
            ulimits: Vec::new(),
            emulate: Emulate::Warn,
            worker_labels: BTreeMap::new(),
            needs: Vec::new(),
            attestations: Vec::new(),
        }
    }

    pub fn with_attestations(self, attestations: Vec<Attestation>) -> Self {
        Self { attestations, ..self }
    }

    pub fn with_demands(self, worker_labels: BTreeMap<String, String>, needs: Vec<Need>) -> Self {
        Self { worker_labels, needs, ..self }
    }
}
