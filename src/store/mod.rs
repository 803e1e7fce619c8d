//! The local content-addressed store: blobs, keys, leases, the stat cache, snapshots' book-keeping, pruning.
//!
//! Many processes share one store, and killing any of them at any moment leaves it valid: content gets its
//! final name by a rename, the database is SQLite in WAL mode, locks are `flock`s that die with their holder.
//! What is in the blobs, what a key means and how a snapshot is filled is not known here.
//!
//! ```text
//! <store>/                     0700
//!   oci-layout, index.json     with blobs/ an OCI image layout; the index lists nothing
//!   blobs/sha256/<hex>         content; the name is its digest
//!   composed/<hex>             what a blob without a file of its own consists of: ranges of others
//!   indexes/<hex>              entry index of the layer with that diff id: its SHA-256, then opaque bytes
//!   snapshots/<kind>/<hex>/fs  a committed file tree; beside it `bytes`, how much is in it, once somebody measured
//!   caches/<hex>/<number>/     a directory that builds keep for the next one, with its lock
//!   db.sqlite                  keys and stat caches
//!   db.lock                    held while the database is made or replaced
//!   db.rebuild                 the database was found damaged; the next `open` moves it aside
//!   db.damaged-<name>          a damaged one, until prune removes it
//!   pruned                     its time is when the store was last pruned without being asked to
//!   lock                       the gate: shared around "look up and protect", exclusive around removal
//!   leases/<process>           locked while the process lives; lists what it uses
//!   flights/<hex>              locks of work that only one process should do
//!   unsynced/<boot id>/<name>  marks: written in that boot and not yet known to be on disk
//!   tmp/<process>.<number>     files and trees being written; names without a dot are places that processes share
//!   dead/<name>                trees nobody can reach any more; the caller deletes them
//!   logs/                      output of build steps
//! ```

mod blobs;
mod caches;
mod composed;
mod db;
mod error;
mod flights;
pub mod free_space;
mod held;
mod holding;
mod indexes;
mod keys;
mod kind;
mod leases;
mod lock;
mod prune;
mod snapshots;
mod stat_cache;
mod unsynced;
mod verify;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::base::Digest;
use crate::diag::Problem;

pub use blobs::{BlobPart, BlobWriter, Blobs};
pub use caches::{CacheFolder, CacheUse, Caches, FoundFolder, Occupancy};
pub use error::{MAKE_SPACE, StoreError, act_problem};
pub use flights::Flight;
pub use holding::{FoundTree, Holding};
pub use indexes::Indexes;
pub use keys::{KeyKind, Keys, NewRecord, Record};
pub use kind::Kind;
pub use prune::{Gone, PruneOptions, Pruned};
pub use snapshots::{PendingSnapshot, Scratch, SnapshotKey, Snapshots};
pub use stat_cache::{Stamp, StampedDigest, StatCache, StatCaches};
pub use verify::{Damage, Flaw, Progress, Verified};

use db::Database;
use leases::{Item, Lease};
use lock::Gate;
use unsynced::Unsynced;

/// What a store takes from the machine, as values so that tests can be another boot or another day.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Changes with every start of the machine.
    pub boot_id: String,
    pub now: fn() -> SystemTime,
}

impl Environment {
    pub fn of_host() -> Self {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let boot_id: String =
            text.trim().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        Self { boot_id: if boot_id.is_empty() { "unknown".into() } else { boot_id }, now: SystemTime::now }
    }
}

/// What had to be repaired. Nothing of it is lost for good: keys are a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The database was damaged. It was moved to the path, and the store forgot its keys.
    DatabaseRebuilt { moved_to: PathBuf },
    /// The machine stopped before the last build was synced; blobs that did not survive were dropped.
    BlobsDropped { count: usize },
}

impl Notice {
    pub fn problem(&self) -> Problem {
        match self {
            Self::DatabaseRebuilt { moved_to } => Problem::warning(
                "store::rebuilt",
                format!(
                    "the store's database was damaged and begins anew; the old one is `{}`",
                    moved_to.display()
                ),
            )
            .help("this build may take longer; nothing else is lost"),
            Self::BlobsDropped { count } => Problem::warning(
                "store::dropped",
                format!("{count} blobs of the store did not survive the last stop of this machine"),
            )
            .help("what is missing is built again"),
        }
    }
}

/// A store that is open. Clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    environment: Environment,
    database: Database,
    gate: Gate,
    lease: Lease,
    unsynced: Unsynced,
    /// Blobs that did not survive the last stop of the machine.
    dropped: usize,
    /// Blobs that this process wrote.
    written: Mutex<HashSet<Digest>>,
}

impl Store {
    /// Opens the store at `path` and creates it when it is missing.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_in(path, &Environment::of_host())
    }

    /// Whether there is one already, which [`Self::open`] would otherwise make.
    pub fn is_at(path: &Path) -> bool {
        path.join("oci-layout").is_file()
    }

    pub fn open_in(path: &Path, environment: &Environment) -> Result<Self, StoreError> {
        if !Self::is_at(path) {
            create_layout(path)?;
        }
        let path = fs::canonicalize(path).map_err(|source| StoreError::unusable(path, source))?;
        let gate = Gate::open(&path)?;
        let database = Database::open(&path)?;
        let unsynced = Unsynced::new(&path, &environment.boot_id);
        let dropped = unsynced.sweep_earlier_boots(&path, &gate)?;
        let lease = Lease::new(&path)?;
        let environment = environment.clone();
        let written = Mutex::default();
        let inner = Inner { path, environment, database, gate, lease, unsynced, dropped, written };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// What had to be repaired up to now, for the user.
    pub fn notices(&self) -> Vec<Notice> {
        self.inner.notices()
    }

    /// A file without a name, for what is too much for memory. It is where blobs are, which has room for them.
    pub fn unnamed_file(&self) -> io::Result<File> {
        tempfile::tempfile_in(self.inner.path.join("tmp"))
    }

    /// The folder for the output of build steps.
    pub fn logs(&self) -> PathBuf {
        self.inner.path.join("logs")
    }

    pub fn blobs(&self) -> Blobs<'_> {
        Blobs::new(&self.inner)
    }

    pub fn keys(&self) -> Keys<'_> {
        Keys::new(&self.inner)
    }

    pub fn indexes(&self) -> Indexes<'_> {
        Indexes::new(&self.inner)
    }

    pub fn snapshots(&self) -> Snapshots<'_> {
        Snapshots::new(&self.inner)
    }

    pub fn caches(&self) -> Caches<'_> {
        Caches::new(&self.inner)
    }

    pub fn stat_caches(&self) -> StatCaches<'_> {
        StatCaches::new(&self.inner)
    }

    /// Waits until no other thread or process does the work named `key`, and keeps others out until the
    /// guard is dropped. Blocks the thread.
    pub fn exclusive(&self, key: &Digest) -> Result<Flight, StoreError> {
        flights::exclusive(&self.inner.path, key)
    }

    /// As [`Store::exclusive`], but `None` at once when somebody else is at it.
    pub fn try_exclusive(&self, key: &Digest) -> Result<Option<Flight>, StoreError> {
        flights::try_exclusive(&self.inner.path, key)
    }

    /// Makes everything written so far survive a loss of power. Called at the end of a run, and costs nothing when
    /// nothing was written.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.keys().flush_last_used()?;
        self.inner.unsynced.sync(&self.inner.path, &self.inner.gate)?;
        self.inner.database.checkpoint()
    }

    /// Has the disk ready for records that are sure to come. Nobody has to wait for it, and who writes sees what is wrong.
    pub fn expect_records(&self) {
        let _ = self.inner.database.begin_log();
    }

    /// Lets go of the database until somebody needs it again: closing it takes its time, and so is done where nobody
    /// waits for it.
    pub fn rest(&self) {
        self.inner.database.close();
    }

    /// What there is, by kind.
    pub fn holdings(&self) -> Result<BTreeMap<Kind, Holding>, StoreError> {
        holding::all(&self.inner)
    }

    /// Writes down how many bytes an unpacked tree of a [`Holding`] has, so that nobody has to measure it again.
    pub fn note_tree_bytes(&self, folder: &Path, bytes: u64) {
        held::note_bytes(folder, bytes);
    }

    /// Whether nobody has been told to prune for so long. Who is told does it; others are told when it is due again.
    pub fn is_prune_due(&self, every: Duration) -> Result<bool, StoreError> {
        prune::is_due(&self.inner, every)
    }

    /// Reads every blob, and looks whether all that is referred to is there. Takes as long as reading does.
    pub fn verify(&self, progress: &(dyn Fn(Progress) + Sync)) -> Result<Verified, StoreError> {
        verify::verify(&self.inner, progress)
    }

    /// Takes away what is damaged, with the records that need it, whose number this is.
    pub fn heal(&self, damages: &[Damage]) -> Result<usize, StoreError> {
        verify::heal(&self.inner, damages)
    }

    /// Removes what no key needs and no running process uses.
    pub fn prune(&self, options: &PruneOptions) -> Result<Pruned, StoreError> {
        prune::prune(&self.inner, options)
    }
}

impl Inner {
    fn notices(&self) -> Vec<Notice> {
        let rebuilt = self.database.moved().into_iter().map(|moved_to| Notice::DatabaseRebuilt { moved_to });
        let dropped = (self.dropped > 0).then_some(Notice::BlobsDropped { count: self.dropped });
        rebuilt.chain(dropped).collect()
    }

    fn now(&self) -> i64 {
        let now = (self.environment.now)();
        now.duration_since(UNIX_EPOCH).map_or(0, |passed| i64::try_from(passed.as_secs()).unwrap_or(i64::MAX))
    }

    /// Runs `look_up` while nothing can be removed, and protects what it names until this process ends.
    /// Looking and protecting are one step to everybody who removes, so a hit stays a hit.
    fn look_up<T>(
        &self,
        look_up: impl FnOnce() -> Result<(T, Vec<Item>), StoreError>,
    ) -> Result<T, StoreError> {
        self.gate.shared(|| {
            let (found, used) = look_up()?;
            self.lease.protect(&used)?;
            Ok(found)
        })
    }

    fn protect(&self, items: &[Item]) -> Result<(), StoreError> {
        if self.lease.covers(items) {
            return Ok(());
        }
        self.gate.shared(|| self.lease.protect(items))
    }

    /// A path in `tmp/` nobody else uses, and which prune leaves alone while this process lives.
    fn temporary(&self) -> Result<PathBuf, StoreError> {
        if !self.lease.is_held() {
            self.gate.shared(|| self.lease.protect(&[]))?;
        }
        Ok(self.path.join("tmp").join(self.lease.temporary_name()))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Losing an update of "last used" only makes an entry look older to prune than it is.
        let _ = keys::flush_last_used(self);
    }
}

const FOLDERS: [&str; 9] =
    ["blobs/sha256", "dead", "flights", "indexes", "leases", "logs", "snapshots", "tmp", "unsynced"];

/// Several processes may do this at once; `oci-layout` comes last and says that all the rest is there.
fn create_layout(path: &Path) -> Result<(), StoreError> {
    let unusable = |source: io::Error| StoreError::unusable(path, source);
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    for folder in FOLDERS {
        builder.create(path.join(folder)).map_err(unusable)?;
    }
    const INDEX: &str =
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    for (name, text) in [("index.json", INDEX), ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)] {
        let temporary = path.join("tmp").join(format!("{name}.{}", leases::random_name()?));
        fs::write(&temporary, text).map_err(unusable)?;
        fs::rename(&temporary, path.join(name)).map_err(unusable)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
