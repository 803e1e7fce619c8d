//! COPY, ADD and WORKDIR: layers written straight from their sources, without root and without
//! unpacking anything.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use super::fault;
use super::filesystem::{FileSystem, Layer};
use super::solve::{Landed, Task};
use crate::base::payload::Outcome;
use crate::base::{Digest, Parts};
use crate::context::Context;
use crate::diag::Problem;
use crate::engine::SEMANTICS;
use crate::engine::selection::{content_digests, context_of, position};
use crate::layer::{ContentReader, EntrySink, Index, LayerError, LayerWriter, NodeRef, Tree};
use crate::steps::{
    Content, CopyOp, MakeDirectoryOp, Owner, PlaceError, Placed, Placement, Selection, Settings, Step,
    place_copy, place_directory, select,
};
use crate::store::KeyKind;

use super::accounts::{AccountError, Accounts};

pub(super) async fn copy(task: &Task, copy: &CopyOp) -> Landed {
    // A linked copy does not look at what is below it, so nothing needs to be fetched for that.
    let base = match copy.link {
        true => Arc::default(),
        false => task.engine.layers.tree(&task.inputs[0], &task.job).await?,
    };
    let owner = match &copy.chown {
        Some(spec) => Some(owner(task, spec).await?),
        None => None,
    };
    let settings = Settings { owner, keep_owner: task.copy_source(copy).is_some(), now: task.job.now };
    match (context_of(&task.job, copy), task.copy_source(copy)) {
        (Some(context), _) => {
            let (context, placed_task, copy) = (context.clone(), task.clone(), copy.clone());
            let work = move || {
                let tree = context.tree().map_err(|error| error.problem())?;
                let selection = select(&copy, tree).map_err(|error| at_step(&placed_task.step, &error))?;
                refuse_archives(&placed_task.step, &copy, &selection, &context, tree)?;
                let placement = place(&placed_task.step, &copy, &selection, tree, &base, settings)?;
                let digests = content_digests(&context, tree, &selection).map_err(|error| error.problem())?;
                let source = FileSource::Context { context: &context, tree, digests: &digests };
                placed_task.finish(placement, &source)
            };
            fault::blocking(work).await.map_err(Arc::new)
        }
        (None, Some(files)) => {
            let source_tree = task.engine.layers.tree(files, &task.job).await?;
            let indexes = indexes(task, files).await?;
            let (files, placed_task, copy) = (files.clone(), task.clone(), copy.clone());
            let work = move || {
                let selection =
                    select(&copy, &source_tree).map_err(|error| at_step(&placed_task.step, &error))?;
                let placement = place(&placed_task.step, &copy, &selection, &source_tree, &base, settings)?;
                let source = FileSource::Layers { files: &files, indexes: &indexes, tree: &source_tree };
                placed_task.finish(placement, &source)
            };
            fault::blocking(work).await.map_err(Arc::new)
        }
        (None, None) => {
            let (placed_task, copy) = (task.clone(), copy.clone());
            let work = move || {
                let (none, empty) = (Selection::default(), Tree::new());
                let placement = place(&placed_task.step, &copy, &none, &empty, &base, settings)?;
                placed_task.finish(placement, &FileSource::Nothing)
            };
            fault::blocking(work).await.map_err(Arc::new)
        }
    }
}

pub(super) async fn make_directory(task: &Task, make: &MakeDirectoryOp) -> Landed {
    let base = task.engine.layers.tree(&task.inputs[0], &task.job).await?;
    let owner = match make.user.as_str() {
        "" => None,
        user => Some(owner(task, user).await?),
    };
    let settings = Settings { owner, keep_owner: false, now: task.job.now };
    let (placed_task, path) = (task.clone(), make.path.clone());
    let work = move || {
        let placement = place_directory(&path, &base, settings)
            .map_err(|error| place_problem(&placed_task.step, &error))?;
        placed_task.finish(placement, &FileSource::Nothing)
    };
    fault::blocking(work).await.map_err(Arc::new)
}

/// A user and group by name, as the destination knows them.
async fn owner(task: &Task, spec: &str) -> Result<Owner, Arc<Problem>> {
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    // Numbers need no look at the destination.
    let accounts = if spec.split(':').all(is_number) { Accounts::default() } else { accounts(task).await? };
    match accounts.owner(spec) {
        Ok((uid, gid)) => Ok(Owner { uid, gid }),
        Err(error) => Err(Arc::new(account_problem(&task.step, &error))),
    }
}

/// The users and groups of a step's first input.
pub(super) async fn accounts(task: &Task) -> Result<Accounts, Arc<Problem>> {
    let (layers, files, job) = (&task.engine.layers, &task.inputs[0], &task.job);
    Ok(Accounts {
        passwd: layers.text(files, "etc/passwd", job).await?.unwrap_or_default(),
        group: layers.text(files, "etc/group", job).await?.unwrap_or_default(),
    })
}

pub(super) fn account_problem(step: &Step, error: &AccountError) -> Problem {
    at_step(step, error).help("create it with a RUN step before, or give its number")
}

async fn indexes(task: &Task, files: &FileSystem) -> Result<Vec<Arc<Index>>, Arc<Problem>> {
    let mut indexes = Vec::with_capacity(files.layers.len());
    for layer in &files.layers {
        indexes.push(task.engine.layers.index(layer, &task.job).await?);
        task.engine.layers.fetch(layer, &task.job).await?;
    }
    Ok(indexes)
}

fn place(
    step: &Step,
    copy: &CopyOp,
    selection: &Selection,
    source: &Tree,
    base: &Tree,
    settings: Settings,
) -> Result<Placement, Problem> {
    place_copy(copy, selection, source, base, settings).map_err(|error| place_problem(step, &error))
}

fn place_problem(step: &Step, error: &PlaceError) -> Problem {
    at_step(step, error)
}

/// A problem of what a step's instruction says.
pub(super) fn at_step(step: &Step, error: &dyn std::fmt::Display) -> Problem {
    let problem = Problem::input("build::step", format!("`{}`: {error}", step.text));
    match &step.place {
        Some(place) => problem.at(place.clone(), "this step"),
        None => problem,
    }
}

/// ADD unpacks local archives, which this version does not do yet; copying them as files would be wrong.
fn refuse_archives(
    step: &Step,
    copy: &CopyOp,
    selection: &Selection,
    context: &Context,
    tree: &Tree,
) -> Result<(), Problem> {
    if !copy.unpack {
        return Ok(());
    }
    for item in selection.items.iter().filter(|item| !item.is_directory) {
        let Some(position) = position(tree, item.node) else { continue };
        let file = context.open(position).map_err(|error| error.problem())?;
        if is_archive(file).map_err(|error| *fault::io("read a file of the context", &error))? {
            let name = String::from_utf8_lossy(&item.name).into_owned();
            return Err(at_step(
                step,
                &format!("`{name}` is an archive, and ADD does not unpack archives yet"),
            )
            .help("unpack it in a RUN step, or use COPY to keep it as a file"));
        }
    }
    Ok(())
}

/// Whether a file begins like a tar archive, plain or compressed.
fn is_archive(mut file: impl io::Read) -> io::Result<bool> {
    let mut head = Vec::with_capacity(512);
    io::Read::read_to_end(&mut io::Read::take(&mut file, 512), &mut head)?;
    let compressed: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    Ok(compressed.iter().any(|magic| head.starts_with(magic)) || head.get(257..262) == Some(b"ustar"))
}

/// Where the bytes of placed files come from.
enum FileSource<'a> {
    Nothing,
    Context { context: &'a Context, tree: &'a Tree, digests: &'a HashMap<usize, Digest> },
    Layers { files: &'a FileSystem, indexes: &'a [Arc<Index>], tree: &'a Tree },
}

impl FileSource<'_> {
    /// The digest of a file's content, where it is known without reading the file.
    fn digest(&self, node: NodeRef) -> Option<Digest> {
        match self {
            Self::Nothing => None,
            Self::Context { tree, digests, .. } => digests.get(&position(tree, node)?).copied(),
            Self::Layers { indexes, tree, .. } => {
                let origin = tree.origin(node)?;
                indexes[origin.layer as usize].entries[origin.position as usize].content
            }
        }
    }
}

impl Task {
    /// The layer of `placement`: found by its content, or written.
    fn finish(&self, placement: Placement, source: &FileSource<'_>) -> Result<(Layer, Outcome), Problem> {
        let key = placement.digest(|node| source.digest(node)).map(|entries| self.content_key(entries));
        if let Some(key) = key
            && self.job.may_reuse(&self.step)
            && let Some(layer) =
                self.engine.recorded(KeyKind::Content, &key).map_err(|problem| (*problem).clone())?
        {
            return Ok((layer, Outcome::Reused));
        }
        let layer = self.write(&placement, source).map_err(|error| *fault::io("write a layer", &error))??;
        if let Some(key) = key {
            self.record(KeyKind::Content, &key, None, &layer).map_err(|problem| (*problem).clone())?;
        }
        Ok((layer, Outcome::Built))
    }

    fn content_key(&self, entries: Digest) -> Digest {
        let mut parts = Parts::new();
        parts.text("engine", format!("embedded {SEMANTICS}"));
        parts.digest_of("entries", entries);
        if let Some(epoch) = self.job.epoch {
            parts.text("epoch", epoch.to_string());
        }
        parts.digest()
    }

    fn write(&self, placement: &Placement, source: &FileSource<'_>) -> io::Result<Result<Layer, Problem>> {
        let store = &self.engine.store;
        let blob = match store.blobs().writer() {
            Ok(blob) => blob,
            Err(error) => return Ok(Err(error.problem())),
        };
        let mut writer = LayerWriter::create(blob.file().try_clone()?, self.engine.layer_options(&self.job))?;
        if let Some(earlier) = self.earlier() {
            writer = writer.reusing(earlier);
        }
        match source {
            FileSource::Layers { files, indexes, tree } => {
                self.write_from_layers(placement, files, indexes, tree, &mut writer)?;
            }
            FileSource::Context { .. } | FileSource::Nothing => {
                write_in_order(placement, source, &mut writer)?
            }
        }
        self.engine.commit_layer(blob, writer.finish()?, &self.job)
    }

    /// Files of layers come in the order of the layers, so that each is read once from front to back:
    /// directories first, then files by layer and position, hard links last.
    fn write_from_layers(
        &self,
        placement: &Placement,
        files: &FileSystem,
        indexes: &[Arc<Index>],
        tree: &Tree,
        writer: &mut LayerWriter,
    ) -> io::Result<()> {
        let mut by_layer: BTreeMap<u32, BTreeMap<u32, Vec<&Placed>>> = BTreeMap::new();
        let mut links = Vec::new();
        for placed in &placement.entries {
            match &placed.content {
                Content::Source(node) => {
                    let origin = tree.origin(*node).expect("a file of a layer comes from a layer");
                    by_layer
                        .entry(origin.layer)
                        .or_default()
                        .entry(origin.position)
                        .or_default()
                        .push(placed);
                }
                Content::Bytes(bytes) => writer.append(&placed.entry, &mut &bytes[..])?,
                Content::None if matches!(placed.entry.kind, crate::layer::EntryKind::HardLink { .. }) => {
                    links.push(placed);
                }
                Content::None => writer.append(&placed.entry, &mut io::empty())?,
            }
        }
        for (layer, wanted) in by_layer {
            let blob = &files.layers[layer as usize].blob;
            let positions: Vec<u32> = wanted.keys().copied().collect();
            let file = self.engine.store.blobs().open(&blob.digest)?;
            ContentReader::open(file, &blob.media_type, &indexes[layer as usize]).visit::<LayerError>(
                &positions,
                |position, _, content| {
                    append_all(writer, &wanted[&position], content).map_err(LayerError::from)
                },
            )?;
        }
        links.into_iter().try_for_each(|link| writer.append(&link.entry, &mut io::empty()))
    }
}

/// Writes one file under all the names it was copied to. All but the last name need the bytes twice.
fn append_all(writer: &mut LayerWriter, placed: &[&Placed], content: &mut dyn io::Read) -> io::Result<()> {
    let [only] = placed else {
        let mut spool = tempfile::tempfile()?;
        io::copy(content, &mut spool)?;
        return placed.iter().try_for_each(|placed| {
            io::Seek::rewind(&mut spool)?;
            writer.append(&placed.entry, &mut spool)
        });
    };
    writer.append(&only.entry, content)
}

fn write_in_order(
    placement: &Placement,
    source: &FileSource<'_>,
    writer: &mut LayerWriter,
) -> io::Result<()> {
    for placed in &placement.entries {
        match (&placed.content, source) {
            (Content::Source(node), FileSource::Context { context, tree, digests }) => {
                let position = position(tree, *node).expect("a file of a context was walked");
                let mut file = context.open(position).map_err(io::Error::other)?;
                writer.append_with_digest(&placed.entry, &mut file, digests[&position])?;
                context.verify(position, &file).map_err(io::Error::other)?;
            }
            (Content::Bytes(bytes), _) => writer.append(&placed.entry, &mut &bytes[..])?,
            (Content::None | Content::Source(_), _) => writer.append(&placed.entry, &mut io::empty())?,
        }
    }
    Ok(())
}
