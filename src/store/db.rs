//! The SQLite file: opening, the schema, and what happens when it is damaged.
//!
//! It only holds what can be computed again, so a damaged file is moved aside and an empty one takes its
//! place, also in the middle of a build. Creation and replacement happen under a lock of their own.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use rustix::fs::FlockOperation;

use super::StoreError;
use super::leases::{random_name, remove_if_there};
use super::lock::{locked, open_lock, wait_for};

/// To be raised when the schema or an encoding in it changes.
const VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE keys (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind      TEXT    NOT NULL,
    key       BLOB    NOT NULL,
    subject   TEXT    NOT NULL,
    value     BLOB    NOT NULL,
    parts     BLOB,
    blobs     BLOB    NOT NULL,
    created   INTEGER NOT NULL,
    last_used INTEGER NOT NULL,
    UNIQUE (kind, key)
);
CREATE INDEX keys_by_subject ON keys (kind, subject, id);
CREATE TABLE stat_caches (
    root      BLOB    PRIMARY KEY,
    last_used INTEGER NOT NULL,
    entries   BLOB    NOT NULL
) WITHOUT ROWID;
";

pub(super) struct Database {
    store: PathBuf,
    path: PathBuf,
    /// `None` while nobody needs it.
    opened: Mutex<Option<Opened>>,
    /// Where damaged ones were moved to.
    moved: Mutex<Vec<PathBuf>>,
    /// Records used and not yet written down as used.
    used: Mutex<BTreeSet<i64>>,
}

struct Opened {
    connection: Connection,
    /// Device and inode: another process may put another file in its place.
    file: Option<(u64, u64)>,
}

impl Database {
    pub(super) fn open(store: &Path) -> Result<Self, StoreError> {
        let path = store.join("db.sqlite");
        let (opened, moved) = open(store, &path)?;
        Ok(Self {
            store: store.to_path_buf(),
            path,
            opened: Mutex::new(Some(opened)),
            moved: Mutex::new(moved.into_iter().collect()),
            used: Mutex::default(),
        })
    }

    /// Where damaged databases were moved to, in this process.
    pub(super) fn moved(&self) -> Vec<PathBuf> {
        locked(&self.moved).clone()
    }

    /// Reads. Where that shows damage, it reads from a new database.
    pub(super) fn read<T>(&self, work: impl Fn(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        self.work(|connection| work(connection))
    }

    /// Reads from the database as it is, damaged or not.
    pub(super) fn look<T>(&self, work: impl Fn(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let done = work(&self.again(&mut locked(&self.opened))?.connection);
        done.map_err(|error| StoreError::database(&self.path, error))
    }

    /// Everything in `work` happens, or nothing. Where that shows damage, it happens to a new database.
    pub(super) fn write<T>(
        &self,
        work: impl Fn(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.work(|connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        })
    }

    fn work<T>(&self, work: impl Fn(&mut Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let mut opened = locked(&self.opened);
        let opened = self.again(&mut opened)?;
        let done = match work(&mut opened.connection) {
            Err(error) if is_damage(&error) => {
                *opened = self.replace(opened.file)?;
                work(&mut opened.connection)
            }
            done => done,
        };
        done.map_err(|error| StoreError::database(&self.path, error))
    }

    /// The open database, which may have been closed in the meantime.
    fn again<'o>(&self, opened: &'o mut Option<Opened>) -> Result<&'o mut Opened, StoreError> {
        match opened {
            Some(opened) => Ok(opened),
            closed => {
                let (opened, moved) = open(&self.store, &self.path)?;
                locked(&self.moved).extend(moved);
                Ok(closed.insert(opened))
            }
        }
    }

    /// A new database in the place of a damaged one, unless somebody else has put one there.
    fn replace(&self, damaged: Option<(u64, u64)>) -> Result<Opened, StoreError> {
        let (opened, moved) = exclusively(&self.store, || {
            if identity(&self.path) == damaged {
                self.begin_anew()?;
            }
            create_or_replace(&self.store, &self.path)
        })?;
        locked(&self.moved).extend(moved);
        Ok(opened)
    }

    /// Moves what was written from the log into the database, which makes it durable. What others are at is left to
    /// them.
    pub(super) fn checkpoint(&self) -> Result<(), StoreError> {
        if locked(&self.opened).is_none() {
            return Ok(());
        }
        self.work(|connection| connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())))
    }

    /// Begins the log, for whose first bytes the disk is waited for, beside whoever reads.
    pub(super) fn begin_log(&self) -> Result<(), StoreError> {
        let failed = |error| StoreError::database(&self.path, error);
        let Some(opened) = connect(&self.path).map_err(failed)? else { return Ok(()) };
        rewrite_version(opened).map_err(failed)
    }

    /// Closes it until somebody asks again.
    pub(super) fn close(&self) {
        *locked(&self.opened) = None;
    }

    pub(super) fn note_used(&self, ids: &[i64]) {
        locked(&self.used).extend(ids);
    }

    pub(super) fn take_used(&self) -> BTreeSet<i64> {
        std::mem::take(&mut locked(&self.used))
    }

    /// The next one who opens the store moves this database aside.
    pub(super) fn begin_anew(&self) -> Result<(), StoreError> {
        let mark = rebuild_mark(&self.path);
        fs::write(&mark, "").map_err(|source| StoreError::io("write", &mark, source))
    }
}

/// While nobody else creates or replaces the database. Not the gate: damage shows where that is held.
fn exclusively<T>(store: &Path, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let path = store.join("db.lock");
    let failed = |source: io::Error| StoreError::io("lock", &path, source);
    let file = open_lock(&path).map_err(|source| StoreError::unusable(store, source))?;
    wait_for(&file, FlockOperation::LockExclusive).map_err(|errno| failed(errno.into()))?;
    work()
}

/// Opens a database of this version, a new one where there is none that can be used. Where a damaged one was moved to
/// comes with it.
fn open(store: &Path, path: &Path) -> Result<(Opened, Option<PathBuf>), StoreError> {
    let (opened, moved) = match connect(path) {
        Ok(Some(opened)) if !rebuild_mark(path).exists() => (opened, None),
        Err(error) if !is_damage(&error) => return Err(open_error(store, path, error)),
        _ => exclusively(store, || create_or_replace(store, path))?,
    };
    let found: i64 = opened
        .connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| open_error(store, path, error))?;
    if found > VERSION {
        return Err(StoreError::Newer { path: store.to_path_buf(), found, supported: VERSION });
    }
    Ok((opened, moved))
}

/// Changes nothing: whatever version it is of, a newer one by now perhaps, it is of that version.
fn rewrite_version(mut opened: Opened) -> rusqlite::Result<()> {
    let transaction = opened.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    transaction.pragma_update(None, "user_version", version)?;
    transaction.commit()
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn rebuild_mark(path: &Path) -> PathBuf {
    path.with_extension("rebuild")
}

/// `None` when there is no database, or an empty file where one should be.
fn connect(path: &Path) -> rusqlite::Result<Option<Opened>> {
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok((version != 0).then(|| Opened { connection, file: identity(path) }))
}

/// Somebody else may have done the same in the meantime, so this looks again.
fn create_or_replace(store: &Path, path: &Path) -> Result<(Opened, Option<PathBuf>), StoreError> {
    let failed = |error| open_error(store, path, error);
    let mark = rebuild_mark(path);
    match connect(path) {
        Ok(Some(opened)) if !mark.exists() => return Ok((opened, None)),
        Err(error) if !is_damage(&error) => return Err(failed(error)),
        _ => {}
    }
    let moving = |source: io::Error| StoreError::io("move", path, source);
    let moved_to = if path.exists() { Some(move_aside(path).map_err(moving)?) } else { None };
    remove_if_there(&mark)?;
    let new = store.join("tmp").join(format!("db.{}", random_name()?));
    create_schema(&new).map_err(failed)?;
    fs::rename(&new, path).map_err(moving)?;
    match connect(path).map_err(failed)? {
        Some(opened) => Ok((opened, moved_to)),
        None => Err(failed(rusqlite::Error::InvalidPath(path.to_path_buf()))),
    }
}

/// Made under another name, so that nobody ever opens a database without its tables. Closing it moves the
/// write-ahead log into it.
fn create_schema(path: &Path) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let name = random_name().map_err(io::Error::other)?;
    let aside = path.with_extension(format!("damaged-{name}"));
    for suffix in ["", "-wal", "-shm"] {
        let from = with_suffix(path, suffix);
        match fs::rename(&from, with_suffix(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn open_error(store: &Path, path: &Path, error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            StoreError::unusable(store, io::Error::new(io::ErrorKind::PermissionDenied, error.to_string()))
        }
        _ => StoreError::database(path, error),
    }
}
