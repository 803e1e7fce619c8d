//! Builders, in the build file and in the user's configuration.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::Scalar;

/// An engine of one or more machines.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Builder {
    pub workers: Vec<Worker>,
    /// Where images go first: into the store of this machine, the default, or from the worker into the repository that
    /// they are pushed to, by digest.
    pub results: Option<Results>,
}

/// Where the images of workers go first.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Results {
    Store,
    Registry,
}

/// A machine of a builder.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Worker {
    /// Where it is: `unix:///PATH`, `tcp://HOST:PORT`, `ssh://USER@HOST`, `docker-container://NAME`,
    /// `kube-pod://POD?namespace=NAME`, or `docker://` for a Docker Engine.
    pub endpoint: String,
    /// What it builds for.
    pub platforms: Option<Vec<String>>,
    /// What targets choose it by.
    pub labels: Option<BTreeMap<String, Scalar>>,
    /// How many images it builds at once; 4 without it.
    #[schemars(range(min = 1, max = 1024))]
    pub max_parallelism: Option<u32>,
    /// Files of keys and certificates, relative to this file.
    pub tls: Option<Tls>,
}

/// Files in PEM.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tls {
    /// Who is trusted.
    pub ca: Option<String>,
    /// Who we are.
    pub cert: Option<String>,
    /// The key of `cert`.
    pub key: Option<String>,
}
