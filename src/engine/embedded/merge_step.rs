//! One layer of several that one instruction made: ADD with sources from more than one place.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use super::fault;
use super::filesystem::Layer;
use super::solve::{Landed, Task};
use crate::base::payload::Outcome;
use crate::diag::Problem;
use crate::layer::{ContentReader, Entry, EntryKind, EntrySink, Index, LayerError, LayerWriter};

/// The layers to be merged, lowest first, with their entries.
struct Merging {
    layers: Vec<Layer>,
    indexes: Vec<Arc<Index>>,
}

/// An entry of the merged layer: the layer and position its bytes are at.
struct Merged {
    entry: Entry,
    layer: usize,
    position: usize,
}

pub(super) async fn merge(task: &Task) -> Landed {
    let below = task.inputs[0].layers.len();
    let layers = task.inputs[1].layers[below..].to_vec();
    let mut indexes = Vec::with_capacity(layers.len());
    for layer in &layers {
        indexes.push(task.engine.layers.index(layer, &task.job).await?);
        task.engine.layers.fetch(layer, &task.job).await?;
    }
    let task = task.clone();
    let work = move || {
        let merging = Merging { layers, indexes };
        let store = &task.engine.store;
        let blob = store.blobs().writer().map_err(|error| error.problem())?;
        let written = || -> io::Result<_> {
            let mut writer = LayerWriter::create(blob.file().try_clone()?, task.engine.layer_options(&task))?;
            merging.write(store, &mut writer)?;
            writer.finish()
        };
        let finished = written().map_err(|error| *fault::io("write a layer", &error))?;
        task.engine
            .commit_layer(blob, finished, &task)
            .map_err(|error| *fault::io("write a layer", &error))?
            .map(|layer| (layer, Outcome::Built))
    };
    fault::blocking(work).await.map_err(|problem: Problem| Arc::new(problem))
}

impl Merging {
    /// The last layer that has a path says what is there, and what was below it if that is no directory.
    fn entries(&self) -> BTreeMap<Vec<u8>, Merged> {
        let mut merged = BTreeMap::new();
        for (layer, index) in self.indexes.iter().enumerate() {
            for indexed in index.entries.iter().filter(|indexed| !indexed.entry.is_directory()) {
                remove_below(&mut merged, &indexed.entry.path);
            }
            for (position, indexed) in index.entries.iter().enumerate() {
                let (entry, key) = (indexed.entry.clone(), key(&indexed.entry));
                let stands = merged.get(&key).is_some_and(|below: &Merged| !below.entry.is_directory());
                if stands && entry.is_directory() {
                    // What stood there hid a directory of the base, which must not show again.
                    let mark = Entry::new(entry.path.clone(), EntryKind::Opaque, 0);
                    merged.insert(self::key(&mark), Merged { entry: mark, layer, position });
                }
                merged.insert(key, Merged { entry, layer, position });
            }
        }
        self.mend_links(&mut merged);
        merged
    }

    /// Where a later layer replaced the first name of a file, the next one has the bytes now.
    fn mend_links(&self, merged: &mut BTreeMap<Vec<u8>, Merged>) {
        let first_names: Vec<HashMap<&[u8], usize>> =
            self.indexes.iter().map(|index| positions(index)).collect();
        let mut broken = Vec::new();
        for (path, link) in merged.iter() {
            let EntryKind::HardLink { target } = &link.entry.kind else { continue };
            let is_whole = merged.get(target).is_some_and(|first| first.layer == link.layer);
            if let Some(position) = first_names[link.layer].get(target.as_slice())
                && !is_whole
            {
                broken.push((path.clone(), link.layer, *position));
            }
        }
        let mut heirs: BTreeMap<(usize, usize), Vec<u8>> = BTreeMap::new();
        for (path, layer, position) in broken {
            let mut entry = self.indexes[layer].entries[position].entry.clone();
            entry.path.clone_from(&path);
            match heirs.get(&(layer, position)) {
                Some(heir) => entry.kind = EntryKind::HardLink { target: heir.clone() },
                None => drop(heirs.insert((layer, position), path.clone())),
            }
            merged.insert(path, Merged { entry, layer, position });
        }
    }

    /// What has no bytes first, by path, then files as they lie in their layers, hard links last.
    fn write(&self, store: &crate::store::Store, writer: &mut LayerWriter) -> io::Result<()> {
        let entries = self.entries();
        let mut files: Vec<BTreeMap<u32, &Entry>> = vec![BTreeMap::new(); self.layers.len()];
        let mut links = Vec::new();
        for merged in entries.values() {
            match merged.entry.kind {
                EntryKind::File { size } if size > 0 => {
                    let position = u32::try_from(merged.position).map_err(io::Error::other)?;
                    files[merged.layer].insert(position, &merged.entry);
                }
                EntryKind::HardLink { .. } => links.push(&merged.entry),
                _ => writer.append(&merged.entry, &mut io::empty())?,
            }
        }
        for (layer, (files, index)) in self.layers.iter().zip(files.iter().zip(&self.indexes)) {
            let positions: Vec<u32> = files.keys().copied().collect();
            let blob = store.blobs().open(&layer.blob.digest)?;
            ContentReader::open(blob, &layer.blob.media_type, index)
                .visit::<LayerError>(&positions, |position, _, content| {
                    writer.append(files[&position], content).map_err(LayerError::from)
                })?;
        }
        links.into_iter().try_for_each(|link| writer.append(link, &mut io::empty()))
    }
}

/// Where an entry is sorted: the mark of a directory behind that and before what is in it.
fn key(entry: &Entry) -> Vec<u8> {
    match entry.kind {
        EntryKind::Opaque => [&entry.path, &b"/"[..]].concat(),
        _ => entry.path.clone(),
    }
}

fn remove_below(merged: &mut BTreeMap<Vec<u8>, Merged>, path: &[u8]) {
    let inner = [path, b"/"].concat();
    let gone =
        merged.range(inner.clone()..).map(|(path, _)| path).take_while(|path| path.starts_with(&inner));
    for path in gone.cloned().collect::<Vec<_>>() {
        merged.remove(&path);
    }
}

fn positions(index: &Index) -> HashMap<&[u8], usize> {
    index.entries.iter().enumerate().map(|(place, indexed)| (indexed.entry.path.as_slice(), place)).collect()
}
