//! How far the sandbox of a RUN step reaches.

use std::fmt;

/// What a build asks for beyond the plain sandbox. Only who starts the build can allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `RUN --network=host`, or `network = "host"`.
    NetworkHost,
    /// `RUN --security=insecure`
    SecurityInsecure,
}

impl Entitlement {
    pub const ALL: [Self; 2] = [Self::NetworkHost, Self::SecurityInsecure];

    /// Bake's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NetworkHost => "network.host",
            Self::SecurityInsecure => "security.insecure",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entitlement| entitlement.name() == name)
    }
}

impl fmt::Display for Entitlement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A limit of a RUN step's processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// Docker's name: `nofile`, `nproc`, …
    pub name: String,
    /// `None` is unlimited.
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

impl Ulimit {
    /// The limits there are.
    pub const NAMES: [&str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
}

/// `name=soft:hard`, where -1 is unlimited.
impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |limit: Option<u64>| limit.map_or("-1".to_string(), |limit| limit.to_string());
        write!(f, "{}={}:{}", self.name, value(self.soft), value(self.hard))
    }
}
