//! The SQLite file: opening, the schema, and what happens when it is damaged.
//!
//! It only holds what can be computed again, so a damaged file is moved aside and an empty one takes its
//! place. Creation and replacement happen under the exclusive gate.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::StoreError;
use super::leases::{random_name, remove_if_there};
use super::lock::{Gate, locked};

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
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Records used and not yet written down as used.
    used: Mutex<BTreeSet<i64>>,
}

impl Database {
    /// The database, and where a damaged one was moved to.
    pub(super) fn open(store: &Path, gate: &Gate) -> Result<(Self, Option<PathBuf>), StoreError> {
        let path = store.join("db.sqlite");
        let (connection, moved_to) = match connect(&path) {
            Ok(Some(connection)) if !rebuild_mark(&path).exists() => (connection, None),
            Err(error) if !is_damage(&error) => return Err(open_error(store, &path, error)),
            _ => gate.exclusive(|| create_or_replace(store, &path))?,
        };
        let found: i64 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(|error| open_error(store, &path, error))?;
        if found > VERSION {
            return Err(StoreError::Newer { path: store.to_path_buf(), found, supported: VERSION });
        }
        Ok((Self { path, connection: Mutex::new(connection), used: Mutex::default() }, moved_to))
    }

    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&locked(&self.connection)).map_err(|error| self.failed(error))
    }

    /// Everything in `work` happens, or nothing.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = locked(&self.connection);
        let run = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        run().map_err(|error| self.failed(error))
    }

    pub(super) fn note_used(&self, ids: &[i64]) {
        locked(&self.used).extend(ids);
    }

    pub(super) fn take_used(&self) -> BTreeSet<i64> {
        std::mem::take(&mut locked(&self.used))
    }

    fn failed(&self, error: rusqlite::Error) -> StoreError {
        if is_damage(&error) {
            // Without the mark the next run fails the same way and its message says what to remove.
            let _ = fs::write(rebuild_mark(&self.path), "");
        }
        StoreError::database(&self.path, error)
    }
}

fn rebuild_mark(path: &Path) -> PathBuf {
    path.with_extension("rebuild")
}

/// `None` when there is no database, or an empty file where one should be.
fn connect(path: &Path) -> rusqlite::Result<Option<Connection>> {
    if !path.exists() {
        return Ok(None);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok((version != 0).then_some(connection))
}

/// Somebody else may have done the same in the meantime, so this looks again.
fn create_or_replace(store: &Path, path: &Path) -> Result<(Connection, Option<PathBuf>), StoreError> {
    let failed = |error| open_error(store, path, error);
    let mark = rebuild_mark(path);
    match connect(path) {
        Ok(Some(connection)) if !mark.exists() => return Ok((connection, None)),
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
        Some(connection) => Ok((connection, moved_to)),
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
