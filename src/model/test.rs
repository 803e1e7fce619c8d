//! What a test of an image does, and what it expects.

use std::collections::BTreeMap;
use std::fmt;
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
    /// Absolute paths that must exist.
    pub files: Vec<String>,
    /// Ports that must be open.
    pub ports: Vec<Port>,
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
