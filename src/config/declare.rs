//! What build files declare, read but not resolved: names are not looked up, templates not rendered,
//! layers not merged. Every value keeps its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::secret::SecretDeclaration;
use super::ssh::SshDeclaration;
use super::text::{File, Text};
use crate::base::Platform;
use crate::diag::{Located, Place};
use crate::model::{Emulate, Entitlement, Network, Ulimit};

/// Everything all files declare.
#[derive(Debug, Default)]
pub struct Declarations {
    pub project: ProjectDeclaration,
    pub vars: BTreeMap<String, VarDeclaration>,
    pub groups: BTreeMap<String, GroupDeclaration>,
    pub targets: BTreeMap<String, TargetDeclaration>,
}

#[derive(Debug, Default)]
pub struct ProjectDeclaration {
    pub name: Option<Text>,
    pub default_branch: Option<Text>,
    /// Images and platforms, which every target starts from.
    pub layer: Layer,
}

#[derive(Debug)]
pub struct VarDeclaration {
    pub place: Place,
    pub default: Option<Located<Scalar>>,
    pub one_of: Option<Located<Vec<Scalar>>>,
    pub env: Option<Text>,
}

/// The value of a variable. Numbers with a fraction stay texts, so that `1.20` does not become `1.2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    Text(String),
    Integer(i64),
    Boolean(bool),
}

#[derive(Debug)]
pub struct GroupDeclaration {
    pub place: Place,
    pub description: Option<Text>,
    pub targets: Vec<Text>,
    pub push: Option<bool>,
    pub load: Option<bool>,
    pub outputs: Option<Vec<OutputDeclaration>>,
}

#[derive(Debug)]
pub struct TargetDeclaration {
    pub place: Place,
    pub file: Arc<File>,
    pub inherits: Vec<Text>,
    pub layer: Layer,
    pub on: Vec<(Located<Platform>, Layer)>,
}

/// What one place says about a target. Values of several layers are put together by `layers`.
#[derive(Debug, Default)]
pub struct Layer {
    pub description: Option<Text>,
    pub context: Option<Text>,
    pub dockerfile: Option<DockerfileDeclaration>,
    pub stage: Option<Text>,
    pub args: BTreeMap<String, Text>,
    pub contexts: BTreeMap<String, Text>,
    pub platforms: Option<Vec<Located<Platform>>>,
    pub tags: Option<Vec<Text>>,
    pub images: Option<Vec<Text>>,
    pub labels: BTreeMap<String, Text>,
    pub annotations: Option<AnnotationsDeclaration>,
    pub outputs: Option<Vec<OutputDeclaration>>,
    pub needs: Option<Vec<Text>>,
    pub no_cache: Option<bool>,
    pub pull: Option<bool>,
    pub network: Option<Network>,
    pub shm_size: Option<u64>,
    pub extra_hosts: BTreeMap<String, String>,
    pub secrets: Option<Vec<SecretDeclaration>>,
    pub ssh: Option<Vec<SshDeclaration>>,
    pub entitlements: Option<Vec<Located<Entitlement>>>,
    pub ulimits: Option<Vec<Ulimit>>,
    pub no_cache_filter: Option<Vec<Text>>,
    pub emulate: Option<Emulate>,
}

#[derive(Debug)]
pub enum DockerfileDeclaration {
    File(Text),
    Inline(Text),
}

#[derive(Debug)]
pub enum AnnotationsDeclaration {
    /// `[levels:]key=value` each.
    List(Vec<Text>),
    /// Of the manifests.
    Table(BTreeMap<String, Text>),
}

#[derive(Debug)]
pub enum OutputDeclaration {
    /// `type=…,key=value`.
    Line(Text),
    Table {
        place: Place,
        entries: Vec<(Located<String>, Text)>,
    },
}

impl Scalar {
    /// The value as a template renders it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Boolean(boolean) => boolean.to_string(),
        }
    }
}

/// Templates are there for `inherits` alone and are never built.
pub fn is_template(name: &str) -> bool {
    name.starts_with('_')
}
