//! What caches are known to have, remembered in the store between runs, so that a run in which nothing changed
//! asks nobody.
//!
//! Others may clean a cache up, so a memory is believed for a day only.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::entry::EntryKind;
use super::place::Place;
use crate::base::Digest;
use crate::store::{KeyKind, NewRecord, Store, StoreError};

const BELIEVED_SECONDS: i64 = 24 * 3600;
const SUBJECT: &str = "cache";

/// Written to the store at the end of a run, all at once.
#[derive(Default)]
pub struct Memory {
    new: Mutex<BTreeSet<Digest>>,
}

impl Memory {
    /// Entries that newer ones replace are not remembered: to have one says nothing.
    pub fn note(&self, place: &Place, kind: EntryKind, key: &Digest) {
        place.note_standing(kind, key);
        if !kind.is_replaced() {
            self.new.lock().unwrap_or_else(PoisonError::into_inner).insert(record_key(place, kind, key));
        }
    }

    pub fn has(&self, store: &Store, place: &Place, kind: EntryKind, key: &Digest) -> bool {
        if kind.is_replaced() || place.is_damaged(kind, key) {
            return false;
        }
        if place.is_standing(kind, key) {
            return true;
        }
        let keys = store.keys();
        let record = keys.get(KeyKind::Shared, &record_key(place, kind, key));
        let is_there = record
            .ok()
            .flatten()
            .is_some_and(|record| keys.now().saturating_sub(record.created) < BELIEVED_SECONDS);
        if is_there {
            place.note_standing(kind, key);
        }
        is_there
    }

    pub fn save(&self, store: &Store) -> Result<(), StoreError> {
        let new = std::mem::take(&mut *self.new.lock().unwrap_or_else(PoisonError::into_inner));
        if new.is_empty() {
            return Ok(());
        }
        let record = |key| NewRecord {
            kind: KeyKind::Shared,
            key,
            subject: SUBJECT,
            value: &[],
            parts: None,
            blobs: &[],
        };
        store.keys().put_all(&new.iter().map(record).collect::<Vec<_>>())
    }
}

fn record_key(place: &Place, kind: EntryKind, key: &Digest) -> Digest {
    Digest::of(format!("{}\n{}\n{key}", place.address, kind.name()))
}
