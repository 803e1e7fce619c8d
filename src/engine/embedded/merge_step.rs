//! One layer of several that one instruction made: ADD with sources from more than one place.

use std::collections::BTreeMap;
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
    /// The last layer that has a path says what is there.
    fn entries(&self) -> BTreeMap<&[u8], Merged> {
        let mut merged = BTreeMap::new();
        for (layer, index) in self.indexes.iter().enumerate() {
            for (position, indexed) in index.entries.iter().enumerate() {
                let entry = indexed.entry.clone();
                merged.insert(indexed.entry.path.as_slice(), Merged { entry, layer, position });
            }
        }
        let broken: Vec<&[u8]> = merged
            .iter()
            .filter(|(_, link)| self.target_of(link).is_some_and(|(path, at)| merged[path].layer != at.0))
            .map(|(path, _)| *path)
            .collect();
        for path in broken {
            // A later layer replaced the first name of the file: this one has the bytes now.
            if let Some(link) = merged.get(path)
                && let Some((_, (layer, position))) = self.target_of(link)
            {
                let entry =
                    Entry { path: path.to_vec(), ..self.indexes[layer].entries[position].entry.clone() };
                merged.insert(path, Merged { entry, layer, position });
            }
        }
        merged
    }

    /// The first name of a hard link in its own layer, and where that is.
    fn target_of(&self, link: &Merged) -> Option<(&[u8], (usize, usize))> {
        let EntryKind::HardLink { target } = &link.entry.kind else { return None };
        let entries = &self.indexes[link.layer].entries;
        let position = entries.iter().position(|indexed| indexed.entry.path == *target)?;
        Some((entries[position].entry.path.as_slice(), (link.layer, position)))
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
