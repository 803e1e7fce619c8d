//! What a store holds, by what people call it.

/// One sort of thing in a store. Every byte of it is of exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Blobs: layers, configs and manifests, with the keys that find them.
    Images,
    /// Layers that were unpacked for commands.
    Trees,
    /// `RUN --mount=type=cache`
    Mounts,
    /// What was fetched: repositories, archives, files over HTTP.
    Sources,
    /// What is in which layer.
    Indexes,
    /// Output of steps.
    Logs,
    /// The database, and damaged ones that were moved aside.
    Keys,
    /// What dead processes left.
    Remains,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::Images,
        Self::Trees,
        Self::Mounts,
        Self::Sources,
        Self::Indexes,
        Self::Logs,
        Self::Keys,
        Self::Remains,
    ];

    /// Those that prune can be asked for; remains and damaged databases always go, and keys with what they find.
    pub const PRUNED: [Self; 6] =
        [Self::Images, Self::Trees, Self::Mounts, Self::Sources, Self::Indexes, Self::Logs];

    pub fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Trees => "trees",
            Self::Mounts => "mounts",
            Self::Sources => "sources",
            Self::Indexes => "indexes",
            Self::Logs => "logs",
            Self::Keys => "keys",
            Self::Remains => "remains",
        }
    }

    /// Of the snapshots in a folder of `snapshots/`.
    pub(super) fn of_snapshots(folder: &str) -> Self {
        match folder.split('-').next() {
            Some("layer" | "layers" | "chain") => Self::Trees,
            _ => Self::Sources,
        }
    }
}
