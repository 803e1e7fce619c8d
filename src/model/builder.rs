//! A builder: a named engine of one or more machines, as the user's configuration or the build file declares it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::base::Platform;
use crate::diag::Place;

/// `[builder.NAME]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Builder {
    /// Where it is declared.
    pub place: Place,
    pub workers: Vec<Worker>,
    pub results: Results,
}

/// Where the images of a builder's workers go first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Results {
    /// Into the store of this machine.
    #[default]
    Store,
    /// From the worker into the repository that they are pushed to, by digest.
    Registry,
}

impl Results {
    pub const ALL: [(&'static str, Self); 2] = [("store", Self::Store), ("registry", Self::Registry)];

    pub fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Registry => "registry",
        }
    }
}

/// One machine of a builder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Worker {
    pub endpoint: String,
    pub platforms: Vec<Platform>,
    pub labels: BTreeMap<String, String>,
    pub tls: Option<Tls>,
    /// How many images it builds at once.
    pub max_parallelism: Option<u32>,
}

impl Worker {
    /// Of workers that say nothing else: a build has parallel steps of its own.
    const SLOTS: u32 = 4;

    /// How many images it builds at once.
    pub fn slots(&self) -> usize {
        self.max_parallelism.unwrap_or(Self::SLOTS).max(1) as usize
    }
}

/// Files in PEM, absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}
