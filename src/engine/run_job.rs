//! A command in an image: all that is needed to run it and throw its changes away.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::base::Base;
use super::job::JobEvents;
use super::run_command::RunCommand;
use crate::base::Platform;
use crate::model::{Network, Ulimit};

/// What runs.
#[derive(Clone)]
pub struct RunJob {
    pub image: Base,
    pub platform: Platform,
    pub command: RunCommand,
    pub surroundings: Surroundings,
    pub events: JobEvents,
}

/// What a command finds around it besides its image.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// In the order they are made.
    pub mounts: Vec<RunMount>,
    pub network: Network,
    pub hostname: String,
    pub extra_hosts: BTreeMap<String, String>,
    /// Nothing of the image can be changed.
    pub is_read_only: bool,
    pub shm_size: Option<u64>,
    pub ulimits: Vec<Ulimit>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            mounts: Vec::new(),
            network: Network::Default,
            hostname: "mab".to_string(),
            extra_hosts: BTreeMap::new(),
            is_read_only: false,
            shm_size: None,
            ulimits: Vec::new(),
        }
    }
}

/// Something of this machine, or of its memory, in the command's file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunMount {
    Bind {
        source: PathBuf,
        target: PathBuf,
        is_read_only: bool,
        is_recursive: bool,
    },
    Tmpfs {
        target: PathBuf,
        size: Option<u64>,
        mode: u32,
    },
    /// A read-only program of these bytes.
    Script {
        content: Vec<u8>,
        target: PathBuf,
    },
}
