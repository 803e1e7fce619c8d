//! What the parent asks of the helper, and what comes back.
//!
//! These are wire types between two processes of the same binary, so they carry no version. Paths and
//! arguments are bytes, not text: see [`super::wire::bytes`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Failure;
use super::wire::{bytes, bytes_list, bytes_pairs};
use crate::base::Digest;
use crate::layer::{Compression, FinishedLayer, Index, LayerError};

/// One command in a root file system of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRequest {
    /// The read-only trees below, topmost first.
    #[serde(with = "bytes_list")]
    pub lowers: Vec<PathBuf>,
    /// Where changes go; exists, and is empty for a fresh step.
    #[serde(with = "bytes")]
    pub upper: PathBuf,
    /// Overlay's scratch directory: exists, is empty, lies on the same file system as `upper`.
    #[serde(with = "bytes")]
    pub work: PathBuf,
    /// In the order they are made; targets are resolved inside the root, symbolic links included.
    pub mounts: Vec<Mount>,
    #[serde(with = "bytes_list")]
    pub argv: Vec<OsString>,
    /// The whole environment: nothing is added.
    #[serde(with = "bytes_pairs")]
    pub env: Vec<(OsString, OsString)>,
    /// Absolute, inside the root; made when missing.
    #[serde(with = "bytes")]
    pub cwd: PathBuf,
    pub user: User,
    pub network: Network,
    pub hostname: String,
    /// The bytes of `/etc/hosts` and `/etc/resolv.conf`; without them the base's own files are seen.
    #[serde(with = "optional_bytes")]
    pub hosts: Option<Vec<u8>>,
    #[serde(with = "optional_bytes")]
    pub resolv_conf: Option<Vec<u8>>,
    /// Bytes of `/dev/shm`.
    pub shm_size: u64,
    pub ulimits: Vec<Limit>,
    /// `RUN --security=insecure`: every capability, no system call filter, nothing masked.
    pub privileged: bool,
    /// Nothing below the root can be changed but what `mounts` allow.
    pub readonly: bool,
    /// The command gets a terminal of this size as its standard streams, whose other end is sent back over the
    /// socket that comes instead of them.
    pub terminal: Option<TerminalSize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    pub rows: u16,
    pub columns: u16,
}

/// A further command in the namespaces of one that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    #[serde(with = "bytes_list")]
    pub argv: Vec<OsString>,
    #[serde(with = "bytes_pairs")]
    pub env: Vec<(OsString, OsString)>,
    #[serde(with = "bytes")]
    pub cwd: PathBuf,
    pub user: User,
    pub ulimits: Vec<Limit>,
}

/// A port of a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPort {
    pub number: u16,
    pub is_udp: bool,
}

impl RunRequest {
    /// The hostname BuildKit gives every step.
    pub const HOSTNAME: &'static str = "buildkitsandbox";
    /// The size of `/dev/shm` when nobody asks for another one.
    pub const SHM_SIZE: u64 = 64 * 1024 * 1024;
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// A network namespace with only a loopback interface.
    None,
    /// The host's.
    Host,
    /// A namespace shared by the supervisor's steps and connected by pasta or slirp4netns; the host's where
    /// neither works, see [`super::Supervisor::network_notice`].
    Default,
}

/// A limit by its name in Docker: `nofile`, `nproc`, …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    pub name: String,
    /// `None` is unlimited.
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A file or a directory of the host.
    Bind {
        #[serde(with = "bytes")]
        source: PathBuf,
        #[serde(with = "bytes")]
        target: PathBuf,
        readonly: bool,
        recursive: bool,
    },
    Tmpfs {
        #[serde(with = "bytes")]
        target: PathBuf,
        /// `None` is the kernel's default, half the memory.
        size: Option<u64>,
        mode: u32,
    },
    /// A read-only file with the given bytes, which never touch a disk: a secret.
    File {
        #[serde(with = "bytes")]
        content: Vec<u8>,
        #[serde(with = "bytes")]
        target: PathBuf,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    /// A read-only program with the given bytes: a heredoc with an interpreter of its own.
    Script {
        #[serde(with = "bytes")]
        content: Vec<u8>,
        #[serde(with = "bytes")]
        target: PathBuf,
    },
    /// A part of a file system made of layers.
    Tree {
        /// Topmost first.
        #[serde(with = "bytes_list")]
        lowers: Vec<PathBuf>,
        /// A file or directory of it; symbolic links are followed inside it.
        #[serde(with = "bytes")]
        source: PathBuf,
        #[serde(with = "bytes")]
        target: PathBuf,
        /// Where changes go, to be thrown away by whoever made it: `RUN --mount=type=bind,rw`. Read-only without.
        changes: Option<Changes>,
    },
    /// A socket of the host, which becomes this user's.
    Socket {
        #[serde(with = "bytes")]
        source: PathBuf,
        #[serde(with = "bytes")]
        target: PathBuf,
        mode: u32,
        uid: u32,
        gid: u32,
    },
}

/// Overlay's directories, empty and on one file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    #[serde(with = "bytes")]
    pub upper: PathBuf,
    #[serde(with = "bytes")]
    pub work: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    Exited(i32),
    Signaled(i32),
}

/// How a command ended and what it used, descendants it waited for included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunExit {
    pub status: ExitStatus,
    /// From its start to its end; nothing for a command that was started beside another one.
    pub elapsed: Duration,
    pub user_time: Duration,
    pub system_time: Duration,
    /// Kibibytes of the largest process.
    pub peak_memory: u64,
    /// Processes of the supervisor's steps that the kernel killed for want of memory while this one ran.
    /// Only the parent can count them.
    #[serde(skip)]
    pub memory_kills: u64,
}

/// File-system work inside the namespace. Descriptors it needs are passed beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HelperTask {
    /// Deletes trees; a missing one is no error.
    Remove {
        #[serde(with = "bytes_list")]
        paths: Vec<PathBuf>,
    },
    Rename {
        #[serde(with = "bytes")]
        from: PathBuf,
        #[serde(with = "bytes")]
        to: PathBuf,
    },
    /// Makes one directory.
    MakeDirectory {
        #[serde(with = "bytes")]
        path: PathBuf,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    /// Adds up the sizes of all files in each of some trees.
    Measure {
        #[serde(with = "bytes_list")]
        paths: Vec<PathBuf>,
    },
    /// Unpacks the layer whose blob is the first descriptor.
    Unpack { media_type: String, target: UnpackTarget },
    /// Writes what `upper` changed as a layer into the first descriptor, a file.
    Export {
        #[serde(with = "bytes")]
        upper: PathBuf,
        #[serde(with = "bytes_list")]
        lowers: Vec<PathBuf>,
        #[serde(with = "CompressionOnWire")]
        compression: Compression,
        clamp_mtime: Option<i64>,
    },
    /// Looks at absolute paths of a file system, links followed inside of it.
    Look {
        /// Topmost first.
        #[serde(with = "bytes_list")]
        lowers: Vec<PathBuf>,
        #[serde(with = "bytes_list")]
        paths: Vec<PathBuf>,
    },
    /// Tries what steps need, in `store`, by doing it.
    Probe {
        #[serde(with = "bytes")]
        store: PathBuf,
    },
}

/// Where a layer is unpacked to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnpackTarget {
    /// An empty directory, to be a lower directory of overlays: for layers that are independent of those below.
    Lower {
        #[serde(with = "bytes")]
        into: PathBuf,
    },
    /// On top of others: the changes end in `upper`.
    Onto {
        #[serde(with = "bytes_list")]
        lowers: Vec<PathBuf>,
        #[serde(with = "bytes")]
        upper: PathBuf,
        #[serde(with = "bytes")]
        work: PathBuf,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Compression")]
enum CompressionOnWire {
    None,
    Gzip { level: u32 },
    Zstd { level: i32 },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskOutput {
    Done,
    Measured {
        bytes: Vec<u64>,
    },
    Unpacked(Unpacked),
    Exported(Exported),
    Probed(Box<Probe>),
    /// Of each path what is there.
    Seen(Vec<Option<SeenFile>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenFile {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// What was unpacked: see [`crate::layer::ApplyReport`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    pub diff_id: Digest,
    pub entries: u64,
    pub skipped_devices: u64,
    pub dropped_xattrs: u64,
    pub ownership_lost: bool,
    #[serde(with = "bytes_list")]
    pub implied_directories: Vec<Vec<u8>>,
    pub opaque_root: bool,
}

/// A layer that was written: see [`Exported::into_layer`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    pub(super) diff_id: Digest,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) uncompressed_size: u64,
    #[serde(with = "CompressionOnWire")]
    pub(super) compression: Compression,
    #[serde(with = "bytes")]
    pub(super) index: Vec<u8>,
}

impl Exported {
    pub fn into_layer(self) -> Result<FinishedLayer, LayerError> {
        Ok(FinishedLayer {
            diff_id: self.diff_id,
            digest: self.digest,
            size: self.size,
            uncompressed_size: self.uncompressed_size,
            media_type: self.compression.media_type(),
            index: Index::from_bytes(&self.index)?,
        })
    }
}

/// What was tried and what came of it; `None` means it works.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub overlay: Option<Failure>,
    pub proc_mount: Option<Failure>,
    pub sysfs_mount: Option<Failure>,
    pub devpts_mount: Option<Failure>,
    pub mqueue_mount: Option<Failure>,
    pub private_binfmt: Option<Failure>,
    pub network_namespace: Option<Failure>,
}

mod optional_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::super::wire::ByteText;

    pub fn serialize<S: Serializer>(value: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(|bytes| ByteText(bytes.clone())).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u8>>, D::Error> {
        Ok(Option::<ByteText>::deserialize(from)?.map(|text| text.0))
    }
}
