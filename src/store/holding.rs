//! What a store holds, counted by kind. Unpacked trees are named and not measured: the files in them may belong to ids
//! only a user namespace can look behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::kind::Kind;
use super::unsynced::names;
use super::{Inner, StoreError, held, keys, prune};
use crate::base::Digest;

/// Everything of one kind. Of remains only what waits for its removal: what else dead processes left is told by prune.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    pub count: usize,
    /// Of files, without those of `trees`.
    pub bytes: u64,
    /// Of these bytes, those that several records need.
    pub shared: u64,
    /// The last use of anything of it, in seconds since the epoch.
    pub last_used: Option<i64>,
    pub trees: Vec<FoundTree>,
}

/// A folder with files of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTree {
    pub path: PathBuf,
    /// If somebody measured it, and it has not changed since.
    pub bytes: Option<u64>,
    pub last_used: i64,
}

impl Holding {
    fn note(&mut self, bytes: u64, last_used: Option<i64>) {
        self.count += 1;
        self.bytes += bytes;
        self.last_used = self.last_used.max(last_used);
    }
}

pub(super) fn all(store: &Inner) -> Result<BTreeMap<Kind, Holding>, StoreError> {
    store.gate.shared_long(|| {
        let mut holdings: BTreeMap<Kind, Holding> =
            Kind::ALL.into_iter().map(|kind| (kind, Holding::default())).collect();
        for held in held::all(store)? {
            let holding = holdings.entry(held.kind).or_default();
            let is_folder = held.is_folder();
            holding.note(if is_folder { 0 } else { held.bytes.unwrap_or(0) }, Some(held.last_used));
            if is_folder {
                let (path, bytes, last_used) = (held.path, held.bytes, held.last_used);
                holding.trees.push(FoundTree { path, bytes, last_used });
            }
        }
        count_blobs(store, &mut holdings)?;
        let keys = holdings.entry(Kind::Keys).or_default();
        for name in names(&store.path)?.into_iter().filter(|name| name.starts_with("db.")) {
            keys.bytes += size(store.path.join(&name));
        }
        let remains = holdings.entry(Kind::Remains).or_default();
        for name in names(&store.path.join("dead"))? {
            remains.count += 1;
            let path = store.path.join("dead").join(name);
            remains.trees.push(FoundTree { path, bytes: None, last_used: 0 });
        }
        Ok(holdings)
    })
}

/// Blobs are of the kind of the records that need them; one that is both is an image's.
fn count_blobs(store: &Inner, holdings: &mut BTreeMap<Kind, Holding>) -> Result<(), StoreError> {
    let mut needed: BTreeMap<Digest, (Kind, i64, usize)> = BTreeMap::new();
    let keys = holdings.entry(Kind::Keys).or_default();
    for reference in keys::references(store)? {
        keys.note(0, Some(reference.last_used));
        for digest in reference.blobs.iter().collect::<BTreeSet<_>>() {
            let entry = needed.entry(*digest).or_insert((reference.kind(), reference.last_used, 0));
            *entry = (entry.0.min(reference.kind()), entry.1.max(reference.last_used), entry.2 + 1);
        }
    }
    let composed = names(&store.path.join("composed"))?;
    let composed = composed.into_iter().map(|name| {
        let bytes = size(store.path.join("composed").join(&name));
        (format!("sha256:{name}").parse().ok(), bytes)
    });
    let files = prune::sizes(store)?.into_iter().map(|(digest, bytes)| (Some(digest), bytes));
    for (digest, bytes) in files.chain(composed) {
        let known = digest.and_then(|digest| needed.get(&digest));
        let kind = known.map_or(Kind::Images, |(kind, _, _)| *kind);
        let holding = holdings.entry(kind).or_default();
        holding.note(bytes, known.map(|(_, last_used, _)| *last_used));
        holding.shared += known.filter(|(_, _, count)| *count > 1).map_or(0, |_| bytes);
    }
    Ok(())
}

fn size(path: PathBuf) -> u64 {
    fs::symlink_metadata(path).map_or(0, |metadata| metadata.len())
}
