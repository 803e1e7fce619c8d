//! The shape of multiarch.toml for editors: types that exist for their JSON schema.
//!
//! Their doc comments are the documentation of the keys, and their fields are the one list of keys that
//! there are: the reader takes its suggestions from here, and a test holds that it knows each of them.
//! Keys of the contract that this version does not have yet are in `keys`.

mod append;
mod builder;
mod entries;
mod tagging;
mod test;

use std::collections::BTreeMap;

pub use append::{Append, GroupAppend};
pub use builder::{Builder, Tls, Worker};
pub use entries::*;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::Value;
pub use tagging::{Compat, Floating, Level, Lines, Switch};
pub use test::{Expect, ExpectedConfig, ExpectedFileTable, Service, Test};

/// The build file of mab.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BuildFile {
    /// The version of the format; 1, also when it is not given.
    #[schemars(range(min = 1, max = 1))]
    pub version: Option<u32>,
    /// Further files with vars, targets and groups; patterns with `*`, `?` and `**`, relative to this file.
    pub include: Option<Vec<Include>>,
    /// What holds for all targets. Only in the root file.
    pub project: Option<Project>,
    /// Variables with their defaults, for templates as `vars.NAME`. `--var NAME=VALUE` and `MAB_VAR_NAME`
    /// override them.
    pub vars: Option<BTreeMap<String, VarShort>>,
    /// Variables with more to say about them than a default.
    pub var: Option<BTreeMap<String, Var>>,
    /// Sets of platforms by name, for wherever platforms are listed. Members may be other sets.
    pub platforms: Option<BTreeMap<String, Vec<String>>>,
    /// Places where results are shared, for `cache` of targets.
    pub cache: Option<BTreeMap<String, Cache>>,
    /// Engines on other machines, for `--builder`. One of the same name in the user's configuration is used instead.
    pub builder: Option<BTreeMap<String, Builder>>,
    /// Several targets by one name.
    pub group: Option<BTreeMap<String, Group>>,
    /// Rules of `mab check`. Only in the root file.
    pub lint: Option<Lint>,
    /// Images to build. A name with a leading underscore is a template for `inherits`.
    pub target: Option<BTreeMap<String, Target>>,
}

/// A string, a number or a boolean.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

/// What holds for all targets.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Project {
    /// The name of the project; the name of its directory when it is not given.
    pub name: Option<String>,
    /// The image repository of a target that names none. A template.
    pub image: Option<String>,
    /// Several image repositories. Templates.
    pub images: Option<Vec<String>>,
    /// The platforms of a target that names none, or sets of them; the host's when there are none here either.
    #[schemars(length(min = 1))]
    pub platforms: Option<Vec<PlatformEntry>>,
    /// The branch that releases come from, for templates as `project.default_branch`; what CI or git say when
    /// it is not given.
    pub default_branch: Option<String>,
    /// Seconds since 1970 that no time in an image exceeds, such as `"{{ git.commit_time }}"`. The environment's
    /// `SOURCE_DATE_EPOCH` and a build argument of that name win. A template.
    pub source_date_epoch: Option<Scalar>,
    /// Rules by which the tags of targets are made that have none of their own.
    pub tag_rules: Option<Lines>,
    /// What holds for all rules: `latest=auto`, `prefix=v,onlatest=true`, `suffix=-alpine`.
    pub flavor: Option<Lines>,
    /// Follows docker/metadata-action to the letter; without it tags are valid, and `floating` holds.
    pub compat: Option<Compat>,
    /// Who gets `latest`, `1` and `1.2`; `highest` when it is not given.
    pub floating: Option<Floating>,
    /// What git's tags of a target begin with, such as `"{{ target.name }}/"`; others are not its own. A template.
    pub git_tag_prefix: Option<String>,
    /// Labels `org.opencontainers.image.*` of repository, commit and version, and lines besides. They make another
    /// image of every commit.
    pub oci_labels: Option<Switch>,
    /// The same as annotations; `true` where there are rules.
    pub oci_annotations: Option<Switch>,
    /// What those annotations stand on; the index, or the manifest where there is one alone.
    pub oci_levels: Option<Vec<Level>>,
}

/// A string, a number, a boolean, or a list.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum VarShort {
    Scalar(Scalar),
    List(Vec<VarValue>),
}

/// A value: plain, a list, or a map.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum VarValue {
    Scalar(Scalar),
    List(Vec<VarValue>),
    Map(BTreeMap<String, VarValue>),
}

/// Rules of `mab check`, which lists them with `--list`.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lint {
    /// Rules that are not looked at.
    pub skip: Option<Vec<String>>,
    /// Whether warnings fail a check: all of them, or those of some rules.
    pub error: Option<LintError>,
}

/// All rules, or some.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum LintError {
    All(bool),
    Rules(Vec<String>),
}

/// A variable.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Var {
    /// The type of its value; without it that of the default, or `string`.
    pub r#type: Option<VarType>,
    /// The value when nothing else gives one.
    pub default: Option<VarValue>,
    /// The values it may have.
    pub one_of: Option<Vec<Scalar>>,
    /// A regular expression that the whole value, or each member of a list, must match.
    pub pattern: Option<String>,
    /// What must hold of the value.
    pub validate: Option<Validations>,
    /// An environment variable that gives the value.
    pub env: Option<String>,
    /// What it is for.
    pub help: Option<String>,
    /// The value must not be seen: it may go into `secret` alone.
    pub secret: Option<bool>,
}

/// The type of a variable. Lists and maps come from outside as JSON, or as `a,b` and `key=value,key=value`.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VarType {
    String,
    Int,
    Number,
    Bool,
    List,
    Map,
}

/// One condition, or several.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum Validations {
    One(Validation),
    Several(Vec<Validation>),
}

/// What must hold of a variable.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Validation {
    /// An expression that must be true, such as `vars.jobs > 0`.
    pub condition: String,
    /// What to say when it is not.
    pub message: Option<String>,
}

/// Several targets by one name.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Group {
    /// Targets, and other groups.
    pub targets: Vec<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Push the images of the members.
    pub push: Option<bool>,
    /// Load the images of the members into a Docker Engine.
    pub load: Option<bool>,
    /// Where the results of the members go, instead of their own outputs. Templates.
    pub output: Option<Vec<Output>>,
    /// Names of the members' images, instead of their own tags. Templates, which see the member as `target`.
    pub tags: Option<Vec<Tag>>,
    /// Annotations of the members: a list instead of their own, or a table beside them. Templates.
    pub annotations: Option<Annotations>,
    /// Entries that are added to the lists of the members.
    pub append: Option<GroupAppend>,
    /// What the work tree must be like before anything is built.
    pub require: Option<Vec<Requirement>>,
    /// Caches that are read and written, instead of the members' own.
    pub cache: Option<Vec<String>>,
    /// Caches that are written, instead of the members' own. Templates.
    pub cache_to: Option<Vec<Entry>>,
    /// Attestations of the images, instead of the members' own. Templates.
    pub attest: Option<Vec<Entry>>,
    /// Rules by which tags are made, instead of the members' own.
    pub tag_rules: Option<Lines>,
    /// What holds for all rules: `latest=auto`, `prefix=v,onlatest=true`, `suffix=-alpine`.
    pub flavor: Option<Lines>,
    /// Follows docker/metadata-action to the letter; without it tags are valid, and `floating` holds.
    pub compat: Option<Compat>,
    /// Who gets `latest`, `1` and `1.2`; `highest` when it is not given.
    pub floating: Option<Floating>,
    /// What git's tags of a target begin with, such as `"{{ target.name }}/"`; others are not its own. A template.
    pub git_tag_prefix: Option<String>,
    /// Labels `org.opencontainers.image.*` of repository, commit and version, and lines besides. They make another
    /// image of every commit.
    pub oci_labels: Option<Switch>,
    /// The same as annotations; `true` where there are rules.
    pub oci_annotations: Option<Switch>,
    /// What those annotations stand on; the index, or the manifest where there is one alone.
    pub oci_levels: Option<Vec<Level>>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Requirement {
    /// Tracked files are as they were committed.
    Clean,
    /// A tag points at HEAD.
    Tag,
    /// The branch is `default-branch` of `[project]`, or what CI or git say it is.
    Branch,
}

/// An image to build.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Target {
    /// Targets whose keys this one starts from; later ones win over earlier ones.
    pub inherits: Option<Vec<String>>,
    /// What it is for.
    pub description: Option<String>,
    /// What COPY takes files from: a directory or a tar archive, relative to this file; a repository
    /// (`https://HOST/REPOSITORY.git#REF:FOLDER`); the URL of an archive or a Dockerfile; `-` for standard input.
    /// The file's own directory when it is not given. A template.
    pub context: Option<String>,
    /// The Dockerfile, relative to the context, or `-` for standard input; `Dockerfile` when it is not given.
    pub dockerfile: Option<String>,
    /// The text of the Dockerfile itself.
    pub dockerfile_inline: Option<String>,
    /// The stage to build; the last one when it is not given.
    pub stage: Option<String>,
    /// Build arguments. Templates.
    pub args: Option<BTreeMap<String, Scalar>>,
    /// Further contexts by name: what `context` may be, `target:NAME`, `docker-image://REF` or
    /// `oci-layout://PATH[:TAG][@DIGEST]`. An empty value takes an inherited one away. Templates.
    pub contexts: Option<BTreeMap<String, String>>,
    /// The platforms to build for, or sets of them.
    #[schemars(length(min = 1))]
    pub platforms: Option<Vec<PlatformEntry>>,
    /// Names of the image: bare tags go to every image repository, full references stand for themselves.
    /// Templates; those that come out empty are left out.
    pub tags: Option<Vec<Tag>>,
    /// The image repository. A template.
    pub image: Option<String>,
    /// Several image repositories. Templates.
    pub images: Option<Vec<String>>,
    /// Labels of the image. Templates.
    pub labels: Option<BTreeMap<String, Scalar>>,
    /// Annotations: a list of `[level[platform]:]key=value`, or a table for the manifests. Templates.
    pub annotations: Option<Annotations>,
    /// Where the result goes besides the store. Templates.
    pub output: Option<Vec<Output>>,
    /// Targets that must be done before this one starts.
    pub needs: Option<Vec<String>>,
    /// Build without using results of earlier runs.
    pub no_cache: Option<bool>,
    /// Ask registries for newer base images.
    pub pull: Option<bool>,
    /// The network of RUN steps.
    pub network: Option<Network>,
    /// The size of `/dev/shm`: bytes, or a text such as `64m`.
    pub shm_size: Option<Size>,
    /// Addresses by host name, for `/etc/hosts`.
    pub extra_hosts: Option<BTreeMap<String, String>>,
    /// Secrets for `RUN --mount=type=secret`. Templates.
    pub secret: Option<Vec<Secret>>,
    /// SSH agents and keys for `RUN --mount=type=ssh`. Templates.
    pub ssh: Option<Vec<Ssh>>,
    /// What RUN steps may do beyond the sandbox; `--allow` has to grant it.
    pub entitlements: Option<Vec<Entitlement>>,
    /// Limits of RUN steps: `name=soft[:hard]`, as `nofile=1024:2048`; -1 is unlimited.
    pub ulimits: Option<Vec<String>>,
    /// Stages that are built without using results of earlier runs.
    pub no_cache_filter: Option<Vec<String>>,
    /// What to do when a platform needs emulation; `warn` when it is not given.
    pub emulate: Option<Emulate>,
    /// What a bake does with the target: build it, or look for mistakes in its Dockerfile.
    pub call: Option<Call>,
    /// Entries that are added to the lists of weaker layers; a list itself replaces them.
    pub append: Option<Append>,
    /// What weaker layers give and this target has not: `args.DEBUG`, `labels."org.example.x"`, `secret.npm`,
    /// `platforms.linux/arm64`, or a whole key, such as `tags`.
    pub remove: Option<Vec<String>>,
    /// Caches that are read and written, by their names in `[cache.NAME]`.
    pub cache: Option<Vec<String>>,
    /// Caches that are read: bake's entries. Templates.
    pub cache_from: Option<Vec<Entry>>,
    /// Caches that are written: bake's entries. Templates.
    pub cache_to: Option<Vec<Entry>>,
    /// Attestations of the image: `type=sbom` and `type=provenance,mode=max`. Templates.
    pub attest: Option<Vec<Entry>>,
    /// Policies that sources must fulfil: `filename=FILE`. Templates.
    pub policy: Option<Vec<Entry>>,
    /// What RUN steps may use of the machine.
    pub resources: Option<Resources>,
    /// Rules by which tags are made, as docker/metadata-action has them: `type=semver,pattern={{version}}`, or
    /// `{ semver = "{{version}}" }`. Not templates.
    pub tag_rules: Option<Lines>,
    /// What holds for all rules: `latest=auto`, `prefix=v,onlatest=true`, `suffix=-alpine`.
    pub flavor: Option<Lines>,
    /// Follows docker/metadata-action to the letter; without it tags are valid, and `floating` holds.
    pub compat: Option<Compat>,
    /// Who gets `latest`, `1` and `1.2`; `highest` when it is not given.
    pub floating: Option<Floating>,
    /// What git's tags of a target begin with, such as `"{{ target.name }}/"`; others are not its own. A template.
    pub git_tag_prefix: Option<String>,
    /// Labels `org.opencontainers.image.*` of repository, commit and version, and lines besides. They make another
    /// image of every commit.
    pub oci_labels: Option<Switch>,
    /// The same as annotations; `true` where there are rules.
    pub oci_annotations: Option<Switch>,
    /// What those annotations stand on; the index, or the manifest where there is one alone.
    pub oci_levels: Option<Vec<Level>>,
    /// What must hold of the working tree for a bake.
    pub require: Option<Vec<Requirement>>,
    /// Seconds since 1970 that no time in the image exceeds, or the name of a context that has a time. The
    /// environment's `SOURCE_DATE_EPOCH` and a build argument of that name win. A template.
    pub source_date_epoch: Option<Scalar>,
    /// What becomes of an image with files that are not for its platform.
    pub verify: Option<Verify>,
    /// Tests of the image by name.
    pub test: Option<BTreeMap<String, Test>>,
    /// What is different for one platform.
    pub on: Option<BTreeMap<String, On>>,
    /// Makes several targets of this declaration; its name becomes a group of them.
    pub matrix: Option<Matrix>,
    /// An expression: the target is left out where it is false.
    pub when: Option<String>,
}

/// Several targets of one declaration, one for each combination of values.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Matrix {
    /// The values of each axis, which templates know as `matrix.AXIS`: a list, or an expression that gives one.
    pub axes: Option<BTreeMap<String, AxisValues>>,
    /// Adds values to the combinations it agrees with, or a combination where there is none.
    pub include: Option<Vec<BTreeMap<String, VarValue>>>,
    /// Leaves out the combinations that have all of an entry's values.
    pub exclude: Option<Vec<BTreeMap<String, VarValue>>>,
    /// The name of each target, a template; the declared name and the values when it is not given.
    pub name: Option<String>,
}

/// The values of an axis.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum AxisValues {
    Listed(Vec<VarValue>),
    Expression(String),
}

/// What is different for one platform of a target.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct On {
    /// What COPY takes files from. A template.
    pub context: Option<String>,
    /// Further contexts by name. Templates.
    pub contexts: Option<BTreeMap<String, String>>,
    /// The Dockerfile, relative to the context.
    pub dockerfile: Option<String>,
    /// The stage to build.
    pub stage: Option<String>,
    /// Build arguments. Templates.
    pub args: Option<BTreeMap<String, Scalar>>,
    /// What to do when the platform needs emulation.
    pub emulate: Option<Emulate>,
    /// What weaker layers give and this platform has not: `args.DEBUG`, `contexts.base`, or a whole key.
    pub remove: Option<Vec<String>>,
    /// What becomes of an image with files that are not for its platform.
    pub verify: Option<Verify>,
    /// Tests of the platform's image by name.
    pub test: Option<BTreeMap<String, Test>>,
    /// The run goes on without the platform when it fails.
    pub allow_failure: Option<bool>,
    /// What a worker must offer to build the platform.
    pub worker_labels: Option<BTreeMap<String, Scalar>>,
}

/// Annotations of an image.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum Annotations {
    List(Vec<Annotation>),
    Table(BTreeMap<String, Scalar>),
}

/// An output: bake's `type=…,key=value`, the directory of a local one, or a table.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum Output {
    Line(String),
    Table(OutputTable),
}

/// How layers are compressed.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OutputCompression {
    Gzip,
    Estargz,
    Zstd,
    Uncompressed,
}

/// An output as a table. Keys such as `"annotation-index.org.example.key"` annotate what is written.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("patternProperties" = { "^annotation[-.\\[]": { "type": "string" } }))]
pub struct OutputTable {
    /// What kind of output it is.
    pub r#type: OutputType,
    /// The file or directory to write, relative to this file; `-` is standard output.
    pub dest: Option<String>,
    /// The names of the image, with commas between them; the target's tags when it is not given.
    pub name: Option<String>,
    /// Push the image.
    pub push: Option<bool>,
    /// One tar file; otherwise a directory.
    pub tar: Option<bool>,
    /// One directory for each platform.
    pub platform_split: Option<bool>,
    /// OCI's media types; otherwise Docker's.
    pub oci_mediatypes: Option<bool>,
    /// How layers are compressed; `gzip` when it is not given.
    pub compression: Option<OutputCompression>,
    /// 0 to 9 for gzip and estargz, 0 to 22 for zstd.
    pub compression_level: Option<u8>,
    /// Compress layers of base images anew as well.
    pub force_compression: Option<bool>,
    /// No file of the image is newer than `SOURCE_DATE_EPOCH`.
    pub rewrite_timestamp: Option<bool>,
    /// The time of the image, in seconds since 1970; stronger than the target's.
    pub source_date_epoch: Option<u64>,
    /// Push without a tag.
    pub push_by_digest: Option<bool>,
    /// An expression: the output is left out where it is false.
    pub when: Option<String>,
}

/// A secret: bake's `id=ID,env=NAME` or `id=ID,src=FILE`, or a table.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum Secret {
    Line(String),
    Table(SecretTable),
}

/// A secret as a table.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SecretTable {
    /// The name a mount knows it by.
    pub id: String,
    /// The environment variable that holds it. Without `env` and `src` it is the variable named as the
    /// secret, or the file of that name.
    pub env: Option<String>,
    /// The file that holds it, relative to this file.
    pub src: Option<String>,
    /// The variable of this file that holds it; it has to be `secret`.
    pub var: Option<String>,
    /// An expression: the secret is left out where it is false.
    pub when: Option<String>,
}

/// An SSH agent: `default`, bake's `ID=PATH[,PATH]`, or a table.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum Ssh {
    Line(String),
    Table(SshTable),
}

/// An SSH agent as a table.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SshTable {
    /// The name a mount knows it by.
    pub id: String,
    /// The socket of an agent, or files of private keys, relative to this file; the agent of `SSH_AUTH_SOCK`
    /// when there are none.
    pub paths: Option<Vec<String>>,
}

#[derive(JsonSchema)]
pub enum Entitlement {
    /// `RUN --network=host`
    #[serde(rename = "network.host")]
    NetworkHost,
    /// `RUN --security=insecure`
    #[serde(rename = "security.insecure")]
    SecurityInsecure,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OutputType {
    Image,
    Registry,
    Oci,
    Docker,
    Local,
    Tar,
    Cacheonly,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    Default,
    None,
    Host,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Emulate {
    Allow,
    Warn,
    Deny,
}

/// Bytes, or a text such as `64m`.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum Size {
    Bytes(u64),
    Text(String),
}

/// The schema as the text of `schema/multiarch.schema.json`.
pub fn json() -> String {
    let generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
    let schema = generator.into_root_schema_for::<BuildFile>();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}

/// The keys of one of the types above, in its order.
pub(super) fn keys_of<T: JsonSchema>() -> Vec<String> {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>();
    match schema.get("properties").and_then(Value::as_object) {
        Some(properties) => properties.keys().cloned().collect(),
        None => Vec::new(),
    }
}
