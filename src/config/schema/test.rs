//! Tests of images.

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::{Network, Scalar};

/// A test that runs in the built image of each platform, before anything is published.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Test {
    /// The command, word by word. Templates.
    pub run: Option<Vec<String>>,
    /// Lines for the shell of the image, instead of a command.
    pub script: Option<String>,
    /// What it reads from standard input.
    pub stdin: Option<String>,
    /// Environment variables besides the image's. Templates.
    pub env: Option<BTreeMap<String, Scalar>>,
    /// The user instead of the image's. A template.
    pub user: Option<Scalar>,
    /// The working directory instead of the image's. A template.
    pub workdir: Option<String>,
    /// What must hold for it to succeed.
    pub expect: Option<Expect>,
    /// How long it may take: seconds, or a text such as `1m30s`.
    pub timeout: Option<Scalar>,
    /// How often it is tried again after a failure; 0 when it is not given.
    #[schemars(range(min = 0, max = 100))]
    pub retries: Option<u32>,
    /// The platforms it runs for, or sets of them; all of the target when it is not given.
    pub platforms: Option<Vec<String>>,
    /// The network it sees; `none` when it is not given.
    pub network: Option<Network>,
    /// Starts the image's own entrypoint beside the test's command, and waits until it is ready.
    pub service: Option<Service>,
    /// Files and folders of this machine, read-only: `SOURCE:TARGET`, or `SOURCE:TARGET:rw`. Templates.
    pub mounts: Option<Vec<String>>,
    /// An expression: the test is left out where it is false.
    pub when: Option<String>,
}

/// What a test expects.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Expect {
    /// The exit code; 0 when it is not given.
    #[schemars(range(min = 0, max = 255))]
    pub exit: Option<u8>,
    /// A regular expression for a part of standard output. A template.
    pub stdout_matches: Option<String>,
    /// A regular expression for a part of standard error. A template.
    pub stderr_matches: Option<String>,
    /// What must be there, with what the command made: absolute paths, links followed. Templates.
    pub files: Option<Vec<ExpectedFile>>,
    /// Paths of the image that must not be there, as patterns of an ignore file: `**/*.pem`, `/var/cache/apt/*`.
    pub absent: Option<Vec<String>>,
    /// Ports that must come to be open: numbers, or `53/udp`. The command is ended then.
    pub ports: Option<Vec<Scalar>>,
    /// What the image's config must say; what is not given may be anything.
    pub config: Option<ExpectedConfig>,
    /// The most that all layers may have as they are transferred: bytes, or `80MB`.
    pub max_size: Option<Scalar>,
    /// The most that each layer may have.
    pub max_layer_size: Option<Scalar>,
}

/// A path, or a path with what it must be.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum ExpectedFile {
    Path(String),
    Table(ExpectedFileTable),
}

#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExpectedFileTable {
    /// An absolute path. A template.
    pub path: String,
    /// Its permission bits in octal, such as `0755`.
    pub mode: Option<String>,
    /// Whose it is: `USER[:GROUP]`, by names of the image or numbers.
    pub owner: Option<String>,
}

/// What the image's config must say.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExpectedConfig {
    /// The user. A template.
    pub user: Option<Scalar>,
    /// The working directory. A template.
    pub workdir: Option<String>,
    /// The signal that stops a container. A template.
    pub stop_signal: Option<Scalar>,
    /// The entrypoint, word by word; `[]` for none. Templates.
    pub entrypoint: Option<Vec<String>>,
    /// The command, word by word; `[]` for none. Templates.
    pub cmd: Option<Vec<String>>,
    /// The shell of commands that are one text. Templates.
    pub shell: Option<Vec<String>>,
    /// Environment variables that must have these values, among others. Templates.
    pub env: Option<BTreeMap<String, Scalar>>,
    /// Regular expressions for parts of their values. Templates.
    pub env_matches: Option<BTreeMap<String, Scalar>>,
    /// Environment variables that must not be set.
    pub unset: Option<Vec<String>>,
    /// Labels that must have these values, among others. Templates.
    pub labels: Option<BTreeMap<String, Scalar>>,
    /// Regular expressions for parts of their values. Templates.
    pub labels_matches: Option<BTreeMap<String, Scalar>>,
    /// The ports that it exposes, these and no others: numbers, or `53/udp`.
    pub ports: Option<Vec<Scalar>>,
    /// The volumes that it declares, these and no others. Templates.
    pub volumes: Option<Vec<String>>,
}

/// The image's own command as a service.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Service {
    /// Words for the image's entrypoint, instead of its command. Templates.
    pub args: Option<Vec<String>>,
    /// Ports that are open once it is ready.
    pub ports: Option<Vec<Scalar>>,
    /// A regular expression for what it says once it is ready. A template.
    pub log_matches: Option<String>,
}
