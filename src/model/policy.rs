//! What is asked of an image beyond its bytes: attestations, policies, requirements, verification.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A statement about an image that goes along with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    pub kind: AttestationKind,
    /// Takes an inherited one away.
    pub is_disabled: bool,
    pub attributes: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttestationKind {
    Sbom,
    Provenance,
}

impl Attestation {
    /// Its attributes as BuildKit reads them: a line of comma-separated values.
    pub fn words(&self) -> String {
        let word = |(key, value): (&String, &String)| {
            let word = format!("{key}={value}");
            let is_plain = !word.contains([',', '"', '\n', '\r']) && !word.starts_with(' ');
            if is_plain { word } else { format!("\"{}\"", word.replace('"', "\"\"")) }
        };
        self.attributes.iter().map(word).collect::<Vec<_>>().join(",")
    }
}

/// Rules about the sources of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub files: Vec<PathBuf>,
    pub reset: bool,
    pub is_disabled: bool,
    pub strict: Option<bool>,
    pub log_level: Option<String>,
}

/// What must hold of the working tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// No tracked file differs from the commit.
    Clean,
    /// A tag points at the commit.
    Tag,
    /// The branch is the one that releases come from.
    Branch,
}

/// What becomes of an image that does not fit its platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verify {
    pub level: VerifyLevel,
    /// Patterns of paths that may be strangers.
    pub allow: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerifyLevel {
    #[default]
    Error,
    Warn,
    Off,
}

impl AttestationKind {
    pub const NAMES: [(&'static str, Self); 2] = [("sbom", Self::Sbom), ("provenance", Self::Provenance)];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sbom => "sbom",
            Self::Provenance => "provenance",
        }
    }
}

impl Requirement {
    pub const NAMES: [(&'static str, Self); 3] =
        [("clean", Self::Clean), ("tag", Self::Tag), ("branch", Self::Branch)];

    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Tag => "tag",
            Self::Branch => "branch",
        }
    }
}

impl VerifyLevel {
    pub const NAMES: [(&'static str, Self); 3] =
        [("error", Self::Error), ("warn", Self::Warn), ("off", Self::Off)];

    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Off => "off",
        }
    }
}
