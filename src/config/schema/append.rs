//! What is added to lists of weaker layers.

use schemars::JsonSchema;

use super::{
    Annotations, Entitlement, Entry, Level, Lines, Output, PlatformEntry, Requirement, Secret, Ssh, Tag,
};

/// Entries that are added to the lists of a group's members.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GroupAppend {
    /// Further names of the image. Templates.
    pub tags: Option<Vec<Tag>>,
    /// Further annotations; those of the same level and key are replaced. Templates.
    pub annotations: Option<Annotations>,
    /// Further outputs. Templates.
    pub output: Option<Vec<Output>>,
    /// Further caches by name.
    pub cache: Option<Vec<String>>,
    /// Further caches to write. Templates.
    pub cache_to: Option<Vec<Entry>>,
    /// Further attestations. Templates.
    pub attest: Option<Vec<Entry>>,
    /// Further rules for tags.
    pub tag_rules: Option<Lines>,
    /// Further lines of what holds for all rules.
    pub flavor: Option<Lines>,
    /// Further lines for labels.
    pub oci_labels: Option<Vec<String>>,
    /// Further lines for annotations.
    pub oci_annotations: Option<Vec<String>>,
    /// Further levels of annotations.
    pub oci_levels: Option<Vec<Level>>,
}

/// Entries that are added to the lists of weaker layers.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Append {
    /// Further platforms, or sets of them.
    pub platforms: Option<Vec<PlatformEntry>>,
    /// Further names of the image. Templates.
    pub tags: Option<Vec<Tag>>,
    /// Further image repositories. Templates.
    pub images: Option<Vec<String>>,
    /// Further annotations; those of the same level and key are replaced. Templates.
    pub annotations: Option<Annotations>,
    /// Further outputs. Templates.
    pub output: Option<Vec<Output>>,
    /// Further targets to wait for.
    pub needs: Option<Vec<String>>,
    /// Further secrets; those of the same id are replaced. Templates.
    pub secret: Option<Vec<Secret>>,
    /// Further SSH agents; those of the same id are replaced. Templates.
    pub ssh: Option<Vec<Ssh>>,
    /// Further entitlements.
    pub entitlements: Option<Vec<Entitlement>>,
    /// Further limits; those of the same name are replaced.
    pub ulimits: Option<Vec<String>>,
    /// Further stages that are built without using results of earlier runs.
    pub no_cache_filter: Option<Vec<String>>,
    /// Further caches by name.
    pub cache: Option<Vec<String>>,
    /// Further caches to read. Templates.
    pub cache_from: Option<Vec<Entry>>,
    /// Further caches to write. Templates.
    pub cache_to: Option<Vec<Entry>>,
    /// Further attestations. Templates.
    pub attest: Option<Vec<Entry>>,
    /// Further policies. Templates.
    pub policy: Option<Vec<Entry>>,
    /// Further rules for tags.
    pub tag_rules: Option<Lines>,
    /// Further lines of what holds for all rules.
    pub flavor: Option<Lines>,
    /// Further lines for labels.
    pub oci_labels: Option<Vec<String>>,
    /// Further lines for annotations.
    pub oci_annotations: Option<Vec<String>>,
    /// Further levels of annotations.
    pub oci_levels: Option<Vec<Level>>,
    /// Further requirements.
    pub require: Option<Vec<Requirement>>,
}
