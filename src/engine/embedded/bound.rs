//! What bind mounts show, known from the indexes of layers: whether it is there, and the digest of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fault;
use super::file_step::at_step;
use super::filesystem::FileSystem;
use super::solve::Task;
use crate::base::{Digest, Hasher, HashingReader};
use crate::diag::Problem;
use crate::layer::{ContentReader, EntryKind, Index, LayerError, NodeRef, Tree};
use crate::steps::{MountKind, RunMount, RunOp, mounted_parts};

/// More bytes than this are not read to find out that nothing has changed.
const MOST_READ: u64 = 256 << 20;

/// The key of a RUN by what its mounts show instead of where they have it from: `None` without such mounts,
/// or when too much would have to be read for it.
pub(super) async fn content_key(task: &Task, run: &RunOp) -> Result<Option<Digest>, Arc<Problem>> {
    let readers: Vec<&RunMount> = run.mounts.iter().filter(|mount| mount.input().is_some()).collect();
    if readers.is_empty() {
        return Ok(None);
    }
    let mut parts = task.surroundings.as_ref().clone();
    parts.parts("mounted step", mounted_parts(&task.step));
    parts.digest_of("root", task.inputs[0].digest());
    for (place, (mount, files)) in readers.into_iter().zip(&task.inputs[1..]).enumerate() {
        let source = match &mount.kind {
            MountKind::Bind { source, .. } => source,
            MountKind::Cache(_)
            | MountKind::Tmpfs { .. }
            | MountKind::Secret { .. }
            | MountKind::Ssh { .. } => "/",
        };
        let shown = shown(task, mount, files, source).await?;
        let Some(digest) = shown else { return Ok(None) };
        parts.digest_of(format!("mount {place}"), digest);
    }
    Ok(Some(parts.digest()))
}

/// The digest of what is at `source`: paths below it, kinds, modes, owners, links and contents; not times.
async fn shown(
    task: &Task,
    mount: &RunMount,
    files: &FileSystem,
    source: &str,
) -> Result<Option<Digest>, Arc<Problem>> {
    let layers = &task.engine.layers;
    let tree = layers.tree(files, &task.job).await?;
    let node = match tree.resolve(source.as_bytes(), true) {
        Ok(Some(node)) => node,
        Ok(None) => return Err(missing(task, mount, &format!("`{source}` does not exist"))),
        Err(error) => return Err(missing(task, mount, &error)),
    };
    let mut indexes = Vec::with_capacity(files.layers.len());
    for layer in &files.layers {
        indexes.push(layers.index(layer, &task.job).await?);
    }
    let unread = unread(&tree, &indexes, node);
    if unread.values().flat_map(BTreeMap::values).sum::<u64>() > MOST_READ {
        return Ok(None);
    }
    for place in unread.keys() {
        layers.fetch(&files.layers[*place as usize], &task.job).await?;
    }
    let (task, files) = (task.clone(), files.clone());
    fault::blocking(move || -> Result<Option<Digest>, Box<Problem>> {
        let read = read(&task, &files, &indexes, &unread)?;
        Ok(digest(&tree, &indexes, &read, node))
    })
    .await
    .map_err(|problem| Arc::new(*problem))
}

/// Positions in layers whose content has no known digest, and their sizes.
type Unread = BTreeMap<u32, BTreeMap<u32, u64>>;

fn unread(tree: &Tree, indexes: &[Arc<Index>], top: NodeRef) -> Unread {
    let mut unread = Unread::new();
    for node in tree.walk(top) {
        let (EntryKind::File { size }, Some(origin)) = (&tree.entry(node).kind, tree.origin(node)) else {
            continue;
        };
        if *size > 0 && indexes[origin.layer as usize].entries[origin.position as usize].content.is_none() {
            unread.entry(origin.layer).or_default().insert(origin.position, *size);
        }
    }
    unread
}

/// The digests of contents that have to be read for that.
fn read(
    task: &Task,
    files: &FileSystem,
    indexes: &[Arc<Index>],
    unread: &Unread,
) -> Result<BTreeMap<(u32, u32), Digest>, Box<Problem>> {
    let mut digests = BTreeMap::new();
    for (place, positions) in unread {
        let layer = &files.layers[*place as usize];
        let blob = task.engine.store.blobs().open(&layer.blob.digest);
        let blob = blob.map_err(|error| fault::io("open a layer", &error))?;
        let positions: Vec<u32> = positions.keys().copied().collect();
        ContentReader::open(blob, &layer.blob.media_type, &indexes[*place as usize])
            .visit::<LayerError>(&positions, |position, _, content| {
                let mut hashing = HashingReader::new(content);
                std::io::copy(&mut hashing, &mut std::io::sink())?;
                digests.insert((*place, position), hashing.finish().0);
                Ok(())
            })
            .map_err(|error| fault::layer(&layer.blob.digest, &error))?;
    }
    Ok(digests)
}

fn missing(task: &Task, mount: &RunMount, error: &dyn std::fmt::Display) -> Arc<Problem> {
    let mut problem =
        at_step(&task.step, error).help("the source of a mount is seen from the root of its `from`");
    problem.labels.clear();
    Arc::new(problem.at(mount.place.clone(), "mounted here"))
}

fn digest(
    tree: &Tree,
    indexes: &[Arc<Index>],
    read: &BTreeMap<(u32, u32), Digest>,
    top: NodeRef,
) -> Option<Digest> {
    let mut hasher = Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    let above = tree.path(top).len();
    for node in tree.walk(top) {
        let entry = tree.entry(node);
        field(&entry.path[above..]);
        field(format!("{:?} {:o} {} {}", entry.kind, entry.mode, entry.uid, entry.gid).as_bytes());
        for (name, value) in &entry.xattrs {
            field(name);
            field(value);
        }
        if matches!(entry.kind, EntryKind::File { size } if size > 0) {
            let origin = tree.origin(node)?;
            let known = indexes[origin.layer as usize].entries[origin.position as usize].content;
            let known = known.or_else(|| read.get(&(origin.layer, origin.position)).copied());
            field(known?.as_bytes());
        }
    }
    Some(hasher.finish())
}
