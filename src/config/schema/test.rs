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
    /// Absolute paths that must exist in the image. Templates.
    pub files: Option<Vec<String>>,
    /// Ports that must be open: numbers, or `53/udp`.
    pub ports: Option<Vec<Scalar>>,
}
