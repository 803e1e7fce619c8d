//! What a test of an image does, and what it expects.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Network;
use crate::diag::Place;

/// A test that runs in the image of one platform.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    pub name: String,
    pub place: Place,
    /// `None` for one that only looks at the image.
    pub action: Option<TestAction>,
    pub stdin: Option<String>,
    pub env: BTreeMap<String, String>,
    pub user: Option<String>,
    pub workdir: Option<String>,
    pub expect: Expectation,
    pub timeout: Option<Duration>,
    /// How often it is tried again after a failure.
    pub retries: u32,
    pub network: Network,
    /// The image's own command, which runs beside the test's.
    pub service: Option<Service>,
    /// Files and folders of this machine.
    pub mounts: Vec<TestMount>,
}

/// The image's own command as a service, and when it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Instead of the image's command, for its entrypoint.
    pub args: Vec<String>,
    /// Ports that are open once it is ready.
    pub ports: Vec<Port>,
    /// A regular expression for a line that it says then.
    pub log: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestMount {
    pub source: PathBuf,
    /// Absolute.
    pub target: String,
    pub is_writable: bool,
    pub place: Option<Place>,
}

impl Test {
    /// Whether it runs something, and does not only look.
    pub fn runs(&self) -> bool {
        self.action.is_some() || self.service.is_some() || !self.expect.ports.is_empty()
    }

    /// All that decides what it finds, whatever its place and how often it is tried.
    pub fn definition(&self) -> impl fmt::Debug + '_ {
        let mounts: Vec<_> = self.mounts.iter().map(|mount| (&mount.target, mount.is_writable)).collect();
        let commanded = (&self.action, &self.stdin, &self.env, &self.user, &self.workdir);
        (commanded, &self.expect, &self.service, self.timeout, self.network, mounts)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestAction {
    Run(Vec<String>),
    /// For the shell of the image.
    Script(String),
}

/// What must hold for a test to succeed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectation {
    /// 0 when it is not given.
    pub exit: Option<i32>,
    /// Regular expressions that compile.
    pub stdout: Option<String>,
    pub stderr: Option<String>,
    /// What must be there.
    pub files: Vec<ExpectedFile>,
    /// Patterns of paths that must not be there, as in an ignore file.
    pub absent: Vec<String>,
    /// Ports that must be open.
    pub ports: Vec<Port>,
    /// What its config must say.
    pub config: Option<ExpectedConfig>,
    /// Bytes of all layers, as they are transferred.
    pub max_size: Option<u64>,
    /// Bytes of each layer.
    pub max_layer_size: Option<u64>,
}

/// A file or folder of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedFile {
    /// Absolute.
    pub path: String,
    pub mode: Option<u32>,
    /// `USER[:GROUP]`, by names of the image or numbers.
    pub owner: Option<String>,
}

/// What an image's config must say. What is not given may be anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectedConfig {
    pub user: Option<String>,
    pub workdir: Option<String>,
    pub stop_signal: Option<String>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub shell: Option<Vec<String>>,
    /// Values by name; there may be others.
    pub env: BTreeMap<String, String>,
    /// Regular expressions that compile.
    pub env_matches: BTreeMap<String, String>,
    /// Variables that must not be there.
    pub unset: Vec<String>,
    pub labels: BTreeMap<String, String>,
    pub labels_matches: BTreeMap<String, String>,
    /// These and no others.
    pub ports: Option<Vec<Port>>,
    /// These and no others.
    pub volumes: Option<Vec<String>>,
}

/// A port of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    pub number: u16,
    pub is_udp: bool,
}

impl Port {
    /// `NUMBER[/tcp|/udp]`
    pub fn parse(text: &str) -> Option<Self> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let number = number.parse().ok().filter(|number| *number > 0)?;
        match protocol {
            "tcp" => Some(Self { number, is_udp: false }),
            "udp" => Some(Self { number, is_udp: true }),
            _ => None,
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, if self.is_udp { "/udp" } else { "" })
    }
}
