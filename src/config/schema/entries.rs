//! Members of lists that are texts or tables, and what is asked of an image beyond its bytes.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::Scalar;

/// A pattern of files, or a table with more to say about them.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum Include {
    Pattern(String),
    Table(IncludeTable),
}

/// Files with a prefix for their names.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IncludeTable {
    /// A pattern with `*`, `?` and `**`, relative to this file.
    pub path: String,
    /// Stands before the names of the files' targets and groups; what they say of their own names means these.
    pub prefix: Option<String>,
    /// There need not be such a file.
    pub optional: Option<bool>,
}

/// A platform such as `linux/arm64`, the name of a set, or one of them under a condition.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum PlatformEntry {
    Name(String),
    Table(PlatformTable),
}

/// A platform, or a set, under a condition.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PlatformTable {
    /// The platform, or the name of a set.
    pub platform: String,
    /// An expression: the entry is left out where it is false.
    pub when: Option<String>,
}

/// A tag, alone or under a condition.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum Tag {
    Name(String),
    Table(TagTable),
}

/// A tag under a condition.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TagTable {
    /// A bare tag, or a full reference. A template.
    pub tag: String,
    /// An expression: the entry is left out where it is false.
    pub when: Option<String>,
}

/// An annotation, alone or under a condition.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum Annotation {
    Text(String),
    Table(AnnotationTable),
}

/// An annotation under a condition.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AnnotationTable {
    /// `[level[platform]:]key=value`. A template.
    pub annotation: String,
    /// An expression: the entry is left out where it is false.
    pub when: Option<String>,
}

/// A place where results are shared between machines.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Cache {
    /// What kind of place it is; docs/caching.md has an example of each.
    pub r#type: CacheType,
    /// The repository of a `registry` cache; its tag does not matter. A template.
    pub r#ref: Option<String>,
    /// The folder of a `local` cache, relative to this file. A template.
    pub path: Option<String>,
    /// The bucket of an `s3` or `gcs` cache. A template.
    pub bucket: Option<String>,
    /// The folder of a `webdav` cache. A template.
    pub url: Option<String>,
    /// What is written: finished images (`min`, the default), or every step as well (`max`).
    pub mode: Option<CacheMode>,
    /// Whether it keeps cache mounts of RUN steps, too: they are restored where a machine has none of that id and
    /// platform, and saved after a run.
    pub mounts: Option<bool>,
    /// Nobody but trusted jobs can write to it, so releases may take results from it.
    pub trust: Option<bool>,
    /// Bake's further keys of the type. Templates.
    #[serde(flatten)]
    pub further: BTreeMap<String, Scalar>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CacheType {
    Registry,
    Local,
    Inline,
    Gha,
    S3,
    Azblob,
    Gcs,
    Webdav,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CacheMode {
    Min,
    Max,
}

/// Bake's `type=…,key=value` or a table of the same keys, which may have a `when`. In `cache-from` and
/// `cache-to` a bare word is the reference of a `registry` cache.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum Entry {
    Line(String),
    Table(BTreeMap<String, Scalar>),
}

/// What RUN steps may use of the machine.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Resources {
    /// Bytes, or a text such as `2g`.
    pub memory: Option<super::Size>,
    /// Memory and swap together; -1 is unlimited.
    pub memory_swap: Option<Scalar>,
    /// The share of the processors, relative to others.
    pub cpu_shares: Option<Scalar>,
    /// The length of a period, in microseconds.
    pub cpu_period: Option<Scalar>,
    /// What may be used of each period, in microseconds.
    pub cpu_quota: Option<Scalar>,
    /// Processors, as `0-3,6`.
    pub cpuset_cpus: Option<Scalar>,
    /// Memory nodes, as `0-1`.
    pub cpuset_mems: Option<Scalar>,
}

/// What becomes of an image with files that are not for its platform.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum Verify {
    Level(VerifyLevel),
    Table(VerifyTable),
}

/// Verification with exceptions.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VerifyTable {
    /// What becomes of it; `error` when it is not given.
    pub level: Option<VerifyLevel>,
    /// Patterns of paths that may be for other platforms.
    pub allow: Option<Vec<String>>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerifyLevel {
    Error,
    Warn,
    Off,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Call {
    /// Build it.
    Build,
    /// Look for mistakes in the Dockerfile, as `mab check`.
    Check,
    /// Tell which arguments, secrets, SSH agents and caches the Dockerfile asks for.
    Outline,
    /// Tell which stages the Dockerfile has.
    Targets,
}
