//! The programs among the files of one layer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FORMAT, Found};

/// What was found, by the position of the file among the layer's entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    found: BTreeMap<u32, Found>,
    spent: usize,
    is_full: bool,
}

/// What all that is known of one layer's programs may take in memory, roughly. A thousand libraries take a
/// quarter of a megabyte.
const MOST_BYTES: usize = 64 << 20;

/// As it is written down.
#[derive(Serialize, Deserialize)]
struct Written {
    format: u32,
    found: BTreeMap<u32, Found>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_full: bool,
}

impl Programs {
    pub fn insert(&mut self, position: u32, found: Found) {
        self.spent += found.size();
        self.is_full |= self.spent > MOST_BYTES;
        if !self.is_full {
            self.found.insert(position, found);
        }
    }

    pub fn get(&self, position: u32) -> Option<&Found> {
        self.found.get(&position)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Found)> {
        self.found.iter().map(|(position, found)| (*position, found))
    }

    /// There was more than is kept: a layer made to be too much.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let written = Written { format: FORMAT, found: self.found.clone(), is_full: self.is_full };
        serde_json::to_vec(&written).expect("what was found is plain data")
    }

    /// Nothing for what another version found.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let Written { format, found, is_full } = serde_json::from_slice(bytes).ok()?;
        let spent = found.values().map(Found::size).sum();
        (format == FORMAT).then_some(Self { found, spent, is_full })
    }
}

impl Found {
    /// What it takes in memory, roughly.
    fn size(&self) -> usize {
        let texts: usize = match self {
            Self::Elf(elf) => {
                let needed = elf.needed.iter().map(|name| name.len() + 24).sum::<usize>();
                let search = elf.search.iter().map(|path| path.len() + 24).sum::<usize>();
                needed + search + elf.interpreter.as_ref().map_or(0, String::len)
            }
            Self::Script(script) => {
                script.interpreter.len() + script.argument.as_ref().map_or(0, String::len)
            }
            Self::Archive(members) => members.iter().map(|member| member.name.len() + 40).sum(),
            Self::MachO | Self::Pe => 0,
        };
        texts + 96
    }
}
