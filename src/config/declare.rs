//! What build files declare, read but not resolved: names are not looked up, templates not rendered,
//! layers not merged. Every value keeps its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::conditional::Conditional;
use super::entries::EntryDeclaration;
use super::matrix::MatrixDeclaration;
use super::platforms::{PlatformEntry, PlatformSetDeclaration};
use super::removal::Removal;
use super::secret::SecretDeclaration;
use super::ssh::SshDeclaration;
use super::test::TestDeclaration;
use super::text::{File, Text};
use super::value::{Scalar, VarType, VarValue};
use crate::base::Platform;
use crate::diag::{Located, Place};
use crate::model::{
    AnnotationLevel, Builder, Call, Emulate, Entitlement, Lint, Network, Requirement, Ulimit, Verify,
};
use crate::tagging::Floating;

/// Everything all files declare.
#[derive(Debug, Default)]
pub struct Declarations {
    pub project: ProjectDeclaration,
    pub lint: Lint,
    pub platform_sets: BTreeMap<String, PlatformSetDeclaration>,
    pub caches: BTreeMap<String, CacheDeclaration>,
    pub builders: BTreeMap<String, Builder>,
    pub vars: BTreeMap<String, VarDeclaration>,
    pub groups: BTreeMap<String, GroupDeclaration>,
    pub targets: BTreeMap<String, TargetDeclaration>,
}

#[derive(Debug, Default)]
pub struct ProjectDeclaration {
    pub name: Option<Text>,
    pub default_branch: Option<Text>,
    /// Images, platforms and the epoch, which every target starts from.
    pub layer: Layer,
}

/// `[cache.NAME]`
#[derive(Debug)]
pub struct CacheDeclaration {
    pub place: Place,
    pub entry: EntryDeclaration,
    pub trust: Option<bool>,
}

#[derive(Debug)]
pub struct VarDeclaration {
    pub place: Place,
    /// Without it the type is the default's, and `string` when there is none either.
    pub declared_type: Option<VarType>,
    /// Of the declared type.
    pub default: Option<Located<VarValue>>,
    pub one_of: Option<Located<Vec<Scalar>>>,
    /// Matches whole texts.
    pub pattern: Option<Located<regex::Regex>>,
    pub validations: Vec<Validation>,
    pub env: Option<Text>,
    pub help: Option<Text>,
    /// The value must not be seen: it goes into secrets and nowhere else.
    pub is_secret: bool,
}

/// What must hold of a variable's value.
#[derive(Debug)]
pub struct Validation {
    /// An expression.
    pub condition: Text,
    pub message: Option<String>,
}

#[derive(Debug)]
pub struct GroupDeclaration {
    pub place: Place,
    pub description: Option<Text>,
    pub targets: Vec<Text>,
    /// Its delivery keys.
    pub layer: Layer,
    /// Where those stand, by key.
    pub places: BTreeMap<String, Place>,
    pub require: Vec<(Requirement, Place)>,
}

#[derive(Debug)]
pub struct TargetDeclaration {
    pub place: Place,
    pub file: Arc<File>,
    pub inherits: Vec<Text>,
    pub layer: Layer,
    pub on: Vec<(Located<Platform>, Layer)>,
    /// Not inherited.
    pub matrix: Option<MatrixDeclaration>,
}

/// What one place says about a target. Values of several layers are put together by `layers`.
#[derive(Debug, Default)]
pub struct Layer {
    /// Takes away what weaker layers say, before anything else of this layer counts.
    pub remove: Vec<Removal>,
    /// Entries that are added to the lists of weaker layers.
    pub append: Option<Box<Layer>>,
    pub when: Option<Text>,
    pub description: Option<Text>,
    pub context: Option<Text>,
    pub dockerfile: Option<DockerfileDeclaration>,
    pub stage: Option<Text>,
    pub args: BTreeMap<String, Text>,
    pub contexts: BTreeMap<String, Text>,
    /// Platforms and sets of them.
    pub platforms: Option<Vec<Conditional<PlatformEntry>>>,
    pub tags: Option<Vec<Conditional<Text>>>,
    pub images: Option<Vec<Text>>,
    pub labels: BTreeMap<String, Text>,
    pub annotations: Option<AnnotationsDeclaration>,
    pub outputs: Option<Vec<Conditional<EntryDeclaration>>>,
    pub needs: Option<Vec<Text>>,
    pub no_cache: Option<bool>,
    pub pull: Option<bool>,
    pub network: Option<Network>,
    pub shm_size: Option<u64>,
    pub extra_hosts: BTreeMap<String, String>,
    pub secrets: Option<Vec<Conditional<SecretDeclaration>>>,
    pub ssh: Option<Vec<SshDeclaration>>,
    pub entitlements: Option<Vec<Located<Entitlement>>>,
    pub ulimits: Option<Vec<Ulimit>>,
    pub no_cache_filter: Option<Vec<Text>>,
    pub emulate: Option<Emulate>,
    pub call: Option<Call>,
    /// Of groups and `--set` alone.
    pub push: Option<bool>,
    /// Of groups and `--set` alone.
    pub load: Option<bool>,
    /// Names of caches.
    pub caches: Option<Vec<Text>>,
    pub cache_from: Option<Vec<Conditional<EntryDeclaration>>>,
    pub cache_to: Option<Vec<Conditional<EntryDeclaration>>>,
    pub attestations: Option<Vec<Conditional<EntryDeclaration>>>,
    pub policies: Option<Vec<Conditional<EntryDeclaration>>>,
    pub tag_rules: Option<Vec<Conditional<EntryDeclaration>>>,
    /// Lines, as those of the rules.
    pub flavor: Option<Vec<Conditional<EntryDeclaration>>>,
    pub compat: Option<Compat>,
    pub floating: Option<Floating>,
    pub git_tag_prefix: Option<Text>,
    pub has_oci_labels: Option<bool>,
    pub oci_labels: Option<Vec<Text>>,
    pub has_oci_annotations: Option<bool>,
    pub oci_annotations: Option<Vec<Text>>,
    pub oci_levels: Option<Vec<Located<AnnotationLevel>>>,
    pub requirements: Option<Vec<Located<Requirement>>>,
    pub resources: BTreeMap<String, Text>,
    pub source_date_epoch: Option<Text>,
    pub verify: Option<Located<Verify>>,
    pub allow_failure: Option<Located<bool>>,
    pub worker_labels: BTreeMap<String, Text>,
    pub tests: BTreeMap<String, TestDeclaration>,
}

/// Whose ways the rules for tags follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compat {
    MetadataAction,
    /// Our own.
    None,
}

#[derive(Debug)]
pub enum DockerfileDeclaration {
    File(Text),
    Inline(Text),
}

#[derive(Debug)]
pub enum AnnotationsDeclaration {
    /// `[levels:]key=value` each.
    List(Vec<Conditional<Text>>),
    /// Of the manifests.
    Table(BTreeMap<String, Text>),
}

impl GroupDeclaration {
    pub fn new(place: Place) -> Self {
        Self {
            place,
            description: None,
            targets: Vec::new(),
            layer: Layer::default(),
            places: BTreeMap::new(),
            require: Vec::new(),
        }
    }

    /// Whether its members' tags are made by rules of its own.
    pub fn has_rules(&self) -> bool {
        let has = |layer: &Layer| layer.tag_rules.is_some() || layer.compat == Some(Compat::MetadataAction);
        has(&self.layer) || self.layer.append.as_deref().is_some_and(has)
    }

    /// Whether it is more than a name for several targets.
    pub fn says_something(&self) -> bool {
        !self.places.is_empty()
    }
}

impl VarDeclaration {
    pub fn new(place: Place) -> Self {
        Self {
            place,
            declared_type: None,
            default: None,
            one_of: None,
            pattern: None,
            validations: Vec::new(),
            env: None,
            help: None,
            is_secret: false,
        }
    }

    pub fn value_type(&self) -> VarType {
        let default = self.default.as_ref().map(|default| VarType::of(&default.value));
        self.declared_type.or(default).unwrap_or(VarType::String)
    }
}

/// Templates are there for `inherits` alone and are never built.
pub fn is_template(name: &str) -> bool {
    name.starts_with('_')
}
