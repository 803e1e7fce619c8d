//! Places where results are shared between machines.

use std::collections::BTreeMap;

use crate::diag::{Located, Place};

/// What kind of place it is; bake's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKind {
    Registry,
    Local,
    Inline,
    Gha,
    S3,
    Azblob,
    Gcs,
    /// Not of bake.
    Webdav,
}

/// Which results are written: those of the last stage, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    Min,
    Max,
}

/// One place with how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    pub kind: CacheKind,
    /// The kind's own default when it is not given.
    pub mode: Option<CacheMode>,
    /// Everything else by bake's keys; paths are absolute.
    pub parameters: BTreeMap<String, String>,
}

/// `[cache.NAME]`
#[derive(Clone, Debug)]
pub struct Cache {
    pub name: String,
    pub place: Place,
    pub entry: CacheEntry,
    /// Whether releases may take results from it, if the file says so.
    pub trust: Option<bool>,
}

/// The caches of one target.
#[derive(Clone, Debug, Default)]
pub struct CacheUse {
    /// Caches of the project that it reads and writes.
    pub named: Vec<Located<String>>,
    pub from: Vec<Located<CacheEntry>>,
    pub to: Vec<Located<CacheEntry>>,
}

impl CacheEntry {
    /// What tells the place it writes to from others of its kind.
    const ADDRESS: [&str; 8] = ["ref", "dest", "scope", "url", "account_url", "bucket", "prefix", "name"];

    /// The place that it writes to, as bake says it; none when that is the image. A place holds the results of
    /// one target: another that writes there takes them away.
    pub fn destination(&self) -> Option<String> {
        if self.kind == CacheKind::Inline {
            return None;
        }
        let address = Self::ADDRESS.iter().filter_map(|key| Some((*key, self.parameters.get(*key)?)));
        Some(
            address.fold(format!("type={}", self.kind.name()), |text, (key, value)| {
                format!("{text},{key}={value}")
            }),
        )
    }
}

impl CacheKind {
    /// The kinds by their names in the file.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("registry", Self::Registry),
        ("local", Self::Local),
        ("inline", Self::Inline),
        ("gha", Self::Gha),
        ("s3", Self::S3),
        ("azblob", Self::Azblob),
        ("gcs", Self::Gcs),
        ("webdav", Self::Webdav),
    ];

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

impl CacheMode {
    pub const NAMES: [(&'static str, Self); 2] = [("min", Self::Min), ("max", Self::Max)];

    pub fn name(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}
