//! What is set right in the layers of old frontends, where the steps tell how: directories of a context that have the
//! time of the build, and places of mounts that stay in the image.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek};

use crate::engine::BuildJob;
use crate::engine::selection::context_of;
use crate::layer::{Entry, LayerError, LayerReader, Tree};
use crate::oci::media_type;
use crate::steps::{Archives, CopyOp, Op, RunOp, Settings, place_copy, select};

/// The mode that places of mounts are made with.
const PLACE_MODE: u32 = 0o755;

/// What is set right in one layer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Amendment {
    /// Times of directories, by their paths.
    times: BTreeMap<Vec<u8>, i64>,
    /// Places of mounts, and what is above them.
    places: BTreeSet<Vec<u8>>,
    /// Those of them that the layer has something else in.
    kept: BTreeSet<Vec<u8>>,
}

/// One for each of the layers that the job makes, the lowest first; none for frontends that are not old. Blocks where
/// contexts must be read.
pub(super) fn amendments(job: &BuildJob, is_old: bool) -> Vec<Amendment> {
    let mut found = Vec::new();
    if !is_old {
        return found;
    }
    let mut id = job.steps.result;
    loop {
        let (amendment, input) = match &job.steps.step(id).op {
            Op::Scratch | Op::Base(_) => break,
            Op::Run(run) => (of_run(run), run.input),
            Op::Copy(copy) => (of_copy(job, copy), copy.input),
            Op::MakeDirectory(make) => (Amendment::default(), make.input),
            Op::Merge(merge) => (Amendment::default(), merge.input),
        };
        found.push(amendment);
        id = input;
    }
    found.reverse();
    found
}

fn of_run(run: &RunOp) -> Amendment {
    let targets = run.mounts.iter().filter_map(|mount| mount.target.as_deref());
    let places = targets.flat_map(|target| {
        let inner = target.trim_matches('/');
        let ends = inner.match_indices('/').map(|(at, _)| at).chain([inner.len()]);
        ends.map(|end| inner.as_bytes()[..end].to_vec()).collect::<Vec<_>>()
    });
    Amendment { places: places.collect(), ..Amendment::default() }
}

/// What lies below a link of the base is found under another path, and stays as it is.
fn of_copy(job: &BuildJob, copy: &CopyOp) -> Amendment {
    let tree = context_of(job, copy).and_then(|context| context.tree().ok());
    let placed = tree.and_then(|tree| {
        let selection = select(copy, tree).ok()?;
        let settings = Settings { owner: None, keep_owner: false, now: job.now };
        place_copy(copy, &selection, tree, &Archives::default(), &Tree::new(), settings).ok()
    });
    let entries = placed.into_iter().flat_map(|placement| placement.entries).map(|placed| placed.entry);
    let directories = entries.filter(|entry| entry.is_directory() && entry.mtime != job.now);
    Amendment { times: directories.map(|entry| (entry.path, entry.mtime)).collect(), ..Amendment::default() }
}

impl Amendment {
    /// Looks at what the layer has, and leaves it at its beginning.
    pub fn look(&mut self, layer: &mut (impl Read + Seek)) -> Result<(), LayerError> {
        if self.places.is_empty() {
            return Ok(());
        }
        let mut reader = LayerReader::new(&mut *layer, media_type::OCI_LAYER)?;
        let mut kept = BTreeSet::new();
        while let Some(entry) = reader.next_entry()? {
            if !self.is_place(&entry) {
                let ends = entry.path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
                kept.extend(ends.map(|(end, _)| entry.path[..end].to_vec()));
            }
        }
        self.kept = kept;
        layer.rewind()?;
        Ok(())
    }

    /// As the entry is to be; whether it is to be at all.
    pub fn apply(&self, entry: &mut Entry) -> bool {
        if let Some(time) = self.times.get(&entry.path)
            && entry.is_directory()
        {
            entry.mtime = *time;
        }
        !self.is_place(entry) || self.kept.contains(&entry.path)
    }

    fn is_place(&self, entry: &Entry) -> bool {
        entry.is_directory()
            && (entry.mode, entry.uid, entry.gid) == (PLACE_MODE, 0, 0)
            && self.places.contains(&entry.path)
    }
}
