//! Results by key: what a key means is the caller's, the store keeps it with what it needs to live.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params, params};

use super::composed::has_blob;
use super::kind::Kind;
use super::leases::Item;
use super::{Inner, StoreError};
use crate::base::{Digest, Parts};

/// What sort of work a key names. Kinds do not share keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// A node of the plan.
    Node,
    /// A step, by its definition and its inputs' keys.
    Step,
    /// A step, by its definition and its inputs' content.
    Content,
    /// An image in the form some output asked for.
    Export,
    /// A base, http or git source as it was resolved and fetched.
    Source,
    /// What the last run of a node was made of.
    Account,
    /// The files that a step of it reached.
    Reached,
    /// A result that a cache of other machines has.
    Shared,
    /// What was made of a context that looked in some way.
    Derived,
    /// What was judged of an image.
    Verdict,
}

impl KeyKind {
    pub const ALL: [Self; 10] = [
        Self::Node,
        Self::Step,
        Self::Content,
        Self::Export,
        Self::Source,
        Self::Account,
        Self::Reached,
        Self::Shared,
        Self::Derived,
        Self::Verdict,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Step => "step",
            Self::Content => "content",
            Self::Export => "export",
            Self::Source => "source",
            Self::Account => "account",
            Self::Reached => "reached",
            Self::Shared => "shared",
            Self::Derived => "derived",
            Self::Verdict => "verdict",
        }
    }
}

/// A result as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Digest,
    pub subject: String,
    /// The caller's encoding.
    pub value: Vec<u8>,
    /// All of them are in the store.
    pub blobs: Vec<Digest>,
    /// Seconds since the epoch.
    pub created: i64,
    pub last_used: i64,
    parts: Option<Vec<u8>>,
}

impl Record {
    /// The named parts of the key, when they were recorded. Decoded on demand: a hit does not need them.
    pub fn parts(&self) -> Option<Parts> {
        serde_json::from_slice(self.parts.as_deref()?).ok()
    }
}

/// A result to record.
#[derive(Clone, Copy, Debug)]
pub struct NewRecord<'a> {
    pub kind: KeyKind,
    pub key: &'a Digest,
    /// Whose result it is, such as `api linux/arm64`, to find the run before this one.
    pub subject: &'a str,
    pub value: &'a [u8],
    pub parts: Option<&'a Parts>,
    /// Every blob the result needs, directly or through a manifest. They live as long as the record, and a
    /// record that misses one of them is not found.
    pub blobs: &'a [Digest],
}

#[derive(Clone, Copy)]
pub struct Keys<'a> {
    store: &'a Inner,
}

/// Use is noted at most this often, so that a run in which nothing changed writes nothing.
const NOTED_EVERY_SECONDS: i64 = 3600;

const COLUMNS: &str = "id, key, subject, value, blobs, created, last_used, parts";

impl<'a> Keys<'a> {
    pub(super) fn new(store: &'a Inner) -> Self {
        Self { store }
    }

    pub fn get(&self, kind: KeyKind, key: &Digest) -> Result<Option<Record>, StoreError> {
        Ok(self.get_many(kind, &[*key])?.pop().flatten())
    }

    /// Looks all keys up at once; the answers are in the order of the keys. What is found stays, blobs
    /// included, for as long as this process lives.
    pub fn get_many(&self, kind: KeyKind, keys: &[Digest]) -> Result<Vec<Option<Record>>, StoreError> {
        let now = self.store.now();
        let (records, used) = self.store.look_up(|| {
            let rows = self.store.database.read(|connection| select(connection, kind, keys))?;
            let mut items = Vec::new();
            let mut used = Vec::new();
            let mut records = Vec::with_capacity(rows.len());
            for row in rows {
                let hit = row.filter(|(_, record)| self.has_blobs(record));
                if let Some((id, record)) = &hit {
                    items.push(Item::Key(record.key));
                    items.extend(record.blobs.iter().copied().map(Item::Blob));
                    // One of the future is of a clock that was wrong.
                    if !(now.saturating_sub(NOTED_EVERY_SECONDS)..=now).contains(&record.last_used) {
                        used.push(*id);
                    }
                }
                records.push(hit.map(|(_, record)| record));
            }
            Ok(((records, used), items))
        })?;
        self.store.database.note_used(&used);
        Ok(records)
    }

    fn has_blobs(&self, record: &Record) -> bool {
        record.blobs.iter().all(|digest| has_blob(&self.store.path, digest))
    }

    pub fn put(&self, record: &NewRecord<'_>) -> Result<(), StoreError> {
        self.put_all(std::slice::from_ref(record))
    }

    /// Records all of them in one transaction. An earlier record of the same kind and key is replaced.
    pub fn put_all(&self, records: &[NewRecord<'_>]) -> Result<(), StoreError> {
        let items: Vec<Item> = records.iter().flat_map(used_by).collect();
        self.store.protect(&items)?;
        let now = self.store.now();
        self.store.database.write(|transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO keys (kind, key, subject, value, parts, blobs, created, last_used)
                 VALUES (:kind, :key, :subject, :value, :parts, :blobs, :now, :now)",
            )?;
            for record in records {
                let parts = record.parts.and_then(|parts| serde_json::to_vec(parts).ok());
                insert.execute(named_params! {
                    ":kind": record.kind.name(),
                    ":key": record.key.as_bytes(),
                    ":subject": record.subject,
                    ":value": record.value,
                    ":parts": parts,
                    ":blobs": pack(record.blobs),
                    ":now": now,
                })?;
            }
            Ok(())
        })
    }

    /// The newest record of a subject, whatever its key: what "why did this run" compares with. Its blobs
    /// may be gone.
    pub fn latest(&self, kind: KeyKind, subject: &str) -> Result<Option<Record>, StoreError> {
        Ok(self.latest_of(kind, &[subject])?.pop().flatten())
    }

    /// The same of several subjects, in their order.
    pub fn latest_of(
        &self,
        kind: KeyKind,
        subjects: &[impl AsRef<str>],
    ) -> Result<Vec<Option<Record>>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM keys WHERE kind = ?1 AND subject = ?2 ORDER BY id DESC LIMIT 1");
        self.store.database.read(|connection| {
            let _view = view(connection, subjects.len())?;
            let mut statement = connection.prepare_cached(&sql)?;
            let latest = subjects.iter().map(|subject| {
                let found = statement.query_row(params![kind.name(), subject.as_ref()], decode).optional()?;
                Ok(found.map(|(_, record)| record))
            });
            latest.collect()
        })
    }

    /// The newest records of a kind, the newest first. Their blobs may be gone.
    pub fn newest(&self, kind: KeyKind, limit: usize) -> Result<Vec<Record>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM keys WHERE kind = ?1 ORDER BY id DESC LIMIT ?2");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.store.database.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let rows = statement
                .query_map(params![kind.name(), limit], |row| decode(row).map(|(_, record)| record))?;
            rows.collect()
        })
    }

    /// The time by the store's clock, in seconds since the epoch.
    pub fn now(&self) -> i64 {
        self.store.now()
    }

    /// Writes down which records were used since the last call. Happens by itself when the store is synced
    /// or closed.
    pub fn flush_last_used(&self) -> Result<(), StoreError> {
        flush_last_used(self.store)
    }
}

fn used_by<'a>(record: &'a NewRecord<'_>) -> impl Iterator<Item = Item> + 'a {
    std::iter::once(Item::Key(*record.key)).chain(record.blobs.iter().copied().map(Item::Blob))
}

pub(super) fn flush_last_used(store: &Inner) -> Result<(), StoreError> {
    let used = store.database.take_used();
    if used.is_empty() {
        return Ok(());
    }
    let now = store.now();
    store.database.write(|transaction| {
        let mut update = transaction.prepare_cached("UPDATE keys SET last_used = ?1 WHERE id = ?2")?;
        used.iter().try_for_each(|id| update.execute(params![now, id]).map(drop))
    })
}

fn select(
    connection: &Connection,
    kind: KeyKind,
    keys: &[Digest],
) -> rusqlite::Result<Vec<Option<(i64, Record)>>> {
    let sql = format!("SELECT {COLUMNS} FROM keys WHERE kind = ?1 AND key = ?2");
    let _view = view(connection, keys.len())?;
    let mut statement = connection.prepare_cached(&sql)?;
    keys.iter()
        .map(|key| statement.query_row(params![kind.name(), key.as_bytes()], decode).optional())
        .collect()
}

/// One state of the database for several questions, each of which would lock it by itself.
fn view(connection: &Connection, questions: usize) -> rusqlite::Result<Option<Transaction<'_>>> {
    (questions > 1).then(|| connection.unchecked_transaction()).transpose()
}

fn decode(row: &Row<'_>) -> rusqlite::Result<(i64, Record)> {
    let blobs: Vec<u8> = row.get(4)?;
    let record = Record {
        key: Digest::from_bytes(row.get(1)?),
        subject: row.get(2)?,
        value: row.get(3)?,
        blobs: unpack(&blobs),
        created: row.get(5)?,
        last_used: row.get(6)?,
        parts: row.get(7)?,
    };
    Ok((row.get(0)?, record))
}

fn pack(digests: &[Digest]) -> Vec<u8> {
    digests.iter().flat_map(|digest| *digest.as_bytes()).collect()
}

fn unpack(bytes: &[u8]) -> Vec<Digest> {
    bytes.as_chunks().0.iter().map(|chunk| Digest::from_bytes(*chunk)).collect()
}

/// A record as prune sees it.
pub(super) struct Reference {
    pub(super) id: i64,
    is_source: bool,
    pub(super) key: Digest,
    pub(super) blobs: Vec<Digest>,
    pub(super) last_used: i64,
}

impl Reference {
    /// What the record's blobs are to people.
    pub(super) fn kind(&self) -> Kind {
        if self.is_source { Kind::Sources } else { Kind::Images }
    }
}

/// Records that were used after `now` count as used then: the clock was wrong.
pub(super) fn end_future(store: &Inner, now: i64) -> Result<(), StoreError> {
    let is_future = "SELECT EXISTS (SELECT 1 FROM keys WHERE last_used > ?1)";
    let has_future: bool =
        store.database.read(|connection| connection.query_row(is_future, [now], |row| row.get(0)))?;
    if !has_future {
        return Ok(());
    }
    store.database.write(|transaction| {
        transaction.execute("UPDATE keys SET last_used = ?1 WHERE last_used > ?1", [now]).map(drop)
    })
}

/// All records, the least recently used first.
pub(super) fn references(store: &Inner) -> Result<Vec<Reference>, StoreError> {
    store.database.read(|connection| {
        let mut statement =
            connection.prepare("SELECT id, key, blobs, last_used, kind FROM keys ORDER BY last_used, id")?;
        let rows = statement.query_map([], |row| {
            let blobs: Vec<u8> = row.get(2)?;
            Ok(Reference {
                id: row.get(0)?,
                key: Digest::from_bytes(row.get(1)?),
                blobs: unpack(&blobs),
                last_used: row.get(3)?,
                is_source: row.get_ref(4)?.as_str()? == KeyKind::Source.name(),
            })
        })?;
        rows.collect()
    })
}

/// What each record is about, and the blobs it needs.
pub(super) fn subjects(store: &Inner) -> Result<Vec<(String, Vec<Digest>)>, StoreError> {
    store.database.read(|connection| {
        let mut statement = connection.prepare("SELECT subject, blobs FROM keys")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, unpack(&row.get::<_, Vec<u8>>(1)?))))?;
        rows.collect()
    })
}

pub(super) fn delete(store: &Inner, ids: &[i64]) -> Result<(), StoreError> {
    store.database.write(|transaction| {
        let mut delete = transaction.prepare("DELETE FROM keys WHERE id = ?1")?;
        ids.iter().try_for_each(|id| delete.execute([id]).map(drop))
    })
}

/// How often each blob is referenced.
pub(super) fn counted(references: &[Reference]) -> BTreeMap<Digest, usize> {
    let mut counts = BTreeMap::new();
    for digest in references.iter().flat_map(|reference| &reference.blobs) {
        *counts.entry(*digest).or_insert(0) += 1;
    }
    counts
}
