//! Which content a file had when it looked like this: device, inode, size, times and mode to digest.
//!
//! There is one record per root, so one read answers for a whole context. A file changed so shortly before it
//! was hashed that another change could leave the same times behind is not kept: see [`Stamp::is_settled_at`].
//!
//! Record: entries of 76 bytes, sorted by device and inode, all numbers little-endian: device u64, inode u64,
//! size u64, mtime i64, ctime i64 (nanoseconds since the epoch), mode u16, age u16, digest 32 bytes.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{OptionalExtension, params};

use super::{Inner, StoreError};
use crate::base::Digest;

/// How a file looks from outside. Equal stamps mean equal content, once the stamp is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    /// Nanoseconds since the epoch.
    pub mtime: i64,
    /// Nanoseconds since the epoch.
    pub ctime: i64,
    /// Type and permission bits.
    pub mode: u16,
}

/// The coarsest times file systems in use keep (FAT); far above a tick of the kernel's clock.
const GRANULARITY: Duration = Duration::from_secs(2);

impl Stamp {
    /// Whether a change after `time` is bound to show in the stamp. A file that was changed just before
    /// could change once more within the granularity of its times, and look the same.
    pub fn is_settled_at(&self, time: SystemTime) -> bool {
        let limit = time.checked_sub(GRANULARITY).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let limit = limit.and_then(|passed| i64::try_from(passed.as_nanos()).ok()).unwrap_or(i64::MIN);
        self.mtime < limit && self.ctime < limit
    }
}

/// A file's digest, and how the file looked while it was hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StampedDigest {
    pub stamp: Stamp,
    pub digest: Digest,
}

const ENTRY_LENGTH: usize = 76;

/// An entry no run asked for while the record was saved this often is dropped.
const DROPPED_AT_AGE: u16 = 8;

/// What is known about the files of one root, packed as it is on disk.
#[derive(Clone, Debug, Default)]
pub struct StatCache {
    packed: Vec<u8>,
}

impl StatCache {
    pub fn get(&self, stamp: &Stamp) -> Option<Digest> {
        let entries = self.entries();
        let wanted = (stamp.device, stamp.inode);
        let found =
            entries.binary_search_by_key(&wanted, |entry| (number(entry, 0), number(entry, 8))).ok()?;
        let (known, _, digest) = decode(&entries[found]);
        (known == *stamp).then_some(digest)
    }

    pub fn len(&self) -> usize {
        self.entries().len()
    }

    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    fn entries(&self) -> &[[u8; ENTRY_LENGTH]] {
        self.packed.as_chunks().0
    }
}

/// The stat caches of a store.
#[derive(Clone, Copy)]
pub struct StatCaches<'a> {
    store: &'a Inner,
}

impl<'a> StatCaches<'a> {
    pub(super) fn new(store: &'a Inner) -> Self {
        Self { store }
    }

    /// `root` is any name of the directory that changes when the directory is another one.
    pub fn load(&self, root: &[u8]) -> Result<StatCache, StoreError> {
        let packed = self.store.database.read(|connection| {
            let mut select = connection.prepare_cached("SELECT entries FROM stat_caches WHERE root = ?1")?;
            select.query_row([root], |row| row.get::<_, Vec<u8>>(0)).optional()
        })?;
        Ok(StatCache { packed: packed.filter(|bytes| is_sorted(bytes)).unwrap_or_default() })
    }

    /// Adds what was hashed in this run; `used` are the stamps that were looked up and found. The record is
    /// read again, because another process may have saved in the meantime.
    pub fn save(&self, root: &[u8], hashed: &[StampedDigest], used: &[Stamp]) -> Result<(), StoreError> {
        if hashed.is_empty() {
            return Ok(());
        }
        let now = self.store.now();
        self.store.database.write(|transaction| {
            let select = "SELECT entries FROM stat_caches WHERE root = ?1";
            let existing: Option<Vec<u8>> =
                transaction.prepare_cached(select)?.query_row([root], |row| row.get(0)).optional()?;
            let packed = merge(&existing.unwrap_or_default(), hashed, used);
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO stat_caches (root, last_used, entries) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![root, now, packed])?;
            // Roots that come and go, such as a CI's checkout folders, must not pile up.
            let month = 30 * 24 * 3600;
            transaction
                .execute("DELETE FROM stat_caches WHERE last_used < ?1", [now.saturating_sub(month)])?;
            Ok(())
        })
    }
}

fn merge(existing: &[u8], hashed: &[StampedDigest], used: &[Stamp]) -> Vec<u8> {
    let place = |stamp: &Stamp| (stamp.device, stamp.inode);
    let used: HashMap<(u64, u64), &Stamp> = used.iter().map(|stamp| (place(stamp), stamp)).collect();
    // Of two digests of one file the later one counts.
    let hashed: BTreeMap<(u64, u64), &StampedDigest> =
        hashed.iter().map(|stamped| (place(&stamped.stamp), stamped)).collect();
    let mut new = hashed.iter().peekable();
    let mut merged = Vec::with_capacity(existing.len() + hashed.len() * ENTRY_LENGTH);
    for entry in existing.as_chunks().0 {
        let (stamp, age, digest) = decode(entry);
        while let Some((_, stamped)) = new.next_if(|(new, _)| **new <= place(&stamp)) {
            merged.extend(encode(&stamped.stamp, 0, &stamped.digest));
        }
        let is_used = used.get(&place(&stamp)) == Some(&&stamp);
        let age = if is_used { 0 } else { age + 1 };
        if age < DROPPED_AT_AGE && !hashed.contains_key(&place(&stamp)) {
            merged.extend(encode(&stamp, age, &digest));
        }
    }
    merged.extend(new.flat_map(|(_, stamped)| encode(&stamped.stamp, 0, &stamped.digest)));
    merged
}

fn is_sorted(packed: &[u8]) -> bool {
    let (entries, rest) = packed.as_chunks::<ENTRY_LENGTH>();
    rest.is_empty() && entries.is_sorted_by_key(|entry| (number(entry, 0), number(entry, 8)))
}

fn encode(stamp: &Stamp, age: u16, digest: &Digest) -> [u8; ENTRY_LENGTH] {
    let mut bytes = [0; ENTRY_LENGTH];
    bytes[0..8].copy_from_slice(&stamp.device.to_le_bytes());
    bytes[8..16].copy_from_slice(&stamp.inode.to_le_bytes());
    bytes[16..24].copy_from_slice(&stamp.size.to_le_bytes());
    bytes[24..32].copy_from_slice(&stamp.mtime.to_le_bytes());
    bytes[32..40].copy_from_slice(&stamp.ctime.to_le_bytes());
    bytes[40..42].copy_from_slice(&stamp.mode.to_le_bytes());
    bytes[42..44].copy_from_slice(&age.to_le_bytes());
    bytes[44..].copy_from_slice(digest.as_bytes());
    bytes
}

fn decode(bytes: &[u8; ENTRY_LENGTH]) -> (Stamp, u16, Digest) {
    let mut digest = [0; 32];
    digest.copy_from_slice(&bytes[44..]);
    let stamp = Stamp {
        device: number(bytes, 0),
        inode: number(bytes, 8),
        size: number(bytes, 16),
        mtime: number(bytes, 24).cast_signed(),
        ctime: number(bytes, 32).cast_signed(),
        mode: u16::from_le_bytes([bytes[40], bytes[41]]),
    };
    (stamp, u16::from_le_bytes([bytes[42], bytes[43]]), Digest::from_bytes(digest))
}

fn number(bytes: &[u8; ENTRY_LENGTH], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(inode: u64, mtime: i64) -> Stamp {
        Stamp { device: 7, inode, size: 3, mtime, ctime: mtime, mode: 0o100644 }
    }

    fn stamped(inode: u64, mtime: i64) -> StampedDigest {
        StampedDigest { stamp: stamp(inode, mtime), digest: Digest::of(format!("{inode} {mtime}")) }
    }

    #[test]
    fn a_stamp_is_settled_only_well_after_its_times() {
        let second = 1_000_000_000;
        let hashed = UNIX_EPOCH + Duration::from_secs(100);
        for (mtime, ctime, expected) in [
            (97 * second, 97 * second, true),
            (98 * second, 97 * second, false),
            (1, 98 * second + 1, false),
            (1, 200 * second, false),
            (-second, 97 * second, true),
        ] {
            assert_eq!(
                Stamp { mtime, ctime, ..stamp(1, 0) }.is_settled_at(hashed),
                expected,
                "{mtime} {ctime}"
            );
        }
        assert!(!stamp(1, 0).is_settled_at(UNIX_EPOCH));
    }

    #[test]
    fn only_an_equal_stamp_finds_its_digest() {
        let cache = StatCache { packed: merge(&[], &[stamped(5, 1), stamped(2, 1), stamped(9, 1)], &[]) };
        assert!(is_sorted(&cache.packed));
        assert_eq!(cache.len(), 3);
        assert_eq!(cache.get(&stamp(2, 1)), Some(Digest::of("2 1")));
        let known = stamp(2, 1);
        for other in [
            Stamp { device: 8, ..known },
            Stamp { inode: 3, ..known },
            Stamp { size: 4, ..known },
            Stamp { mtime: 2, ..known },
            Stamp { ctime: 2, ..known },
            Stamp { mode: 0o100755, ..known },
        ] {
            assert_eq!(cache.get(&other), None, "{other:?}");
        }
    }

    #[test]
    fn entries_nobody_asks_for_age_out() {
        let mut packed = merge(&[], &[stamped(1, 1), stamped(2, 1)], &[]);
        for round in 0..i64::from(DROPPED_AT_AGE) {
            packed = merge(&packed, &[stamped(3, round)], &[stamp(1, 1)]);
        }
        let cache = StatCache { packed };
        assert_eq!(cache.get(&stamp(1, 1)), Some(Digest::of("1 1")));
        assert_eq!(cache.get(&stamp(2, 1)), None);
    }

    #[test]
    fn a_torn_record_is_no_record() {
        let packed = merge(&[], &[stamped(1, 1), stamped(2, 1)], &[]);
        assert!(!is_sorted(&packed[..100]));
        assert!(!is_sorted(&[&packed[76..], &packed[..76]].concat()));
    }
}
