//! Layers of COPY, ADD and WORKDIR: found by their content, or written straight from their sources.

use std::collections::BTreeMap;
use std::io;

use super::archives::OpenArchives;
use super::earlier::EarlierLayer;
use super::fault;
use super::file_source::FileSource;
use super::filesystem::Layer;
use super::solve::Task;
use crate::base::payload::Outcome;
use crate::base::{Digest, Parts};
use crate::diag::Problem;
use crate::engine::SEMANTICS;
use crate::layer::{
    Compression, Earlier, EntryKind, EntrySink, FormerContents, LaterLayer, LaterWriter, LayerWriter,
    NodeRef, Piece,
};
use crate::steps::{Content, Op, Placed, Placement};
use crate::store::{BlobPart, KeyKind, Store};

/// What is written by position, so that each layer and archive is read once from front to back.
type ByPosition<'p> = BTreeMap<u32, Vec<&'p Placed>>;

/// What does not come in the order of the entries.
#[derive(Default)]
struct Later<'p> {
    layers: BTreeMap<u32, ByPosition<'p>>,
    archives: BTreeMap<NodeRef, ByPosition<'p>>,
    /// Last, since what they link to must come first.
    links: Vec<&'p Placed>,
}

impl Task {
    /// The layer of `placement`: found by its content, or written.
    pub fn finish(
        &self,
        placement: &Placement,
        source: &FileSource<'_>,
        archives: &OpenArchives,
    ) -> Result<(Layer, Outcome), Problem> {
        let key = placement.digest(|node| source.digest(node)).map(|entries| self.content_key(entries));
        // Another platform's step, or another process, may be writing the very same.
        let _flight = match key {
            Some(key) => Some(self.engine.store.exclusive(&key).map_err(|error| error.problem())?),
            None => None,
        };
        if let Some(key) = key
            && self.job.may_reuse(&self.step)
            && let Some(layer) =
                self.engine.recorded(KeyKind::Content, &key).map_err(|problem| (*problem).clone())?
        {
            return Ok((layer, Outcome::Reused));
        }
        let layer = self
            .write(placement, source, archives)
            .map_err(|error| *fault::io("write a layer", &error))??;
        if let Some(key) = key {
            self.record(KeyKind::Content, &key, None, &layer).map_err(|problem| (*problem).clone())?;
        }
        Ok((layer, Outcome::Built))
    }

    fn content_key(&self, entries: Digest) -> Digest {
        let mut parts = Parts::new();
        parts.text("engine", format!("embedded {SEMANTICS}"));
        parts.digest_of("entries", entries);
        // Its layer is written in another way, so it does not serve an image.
        if matches!(&self.step.op, Op::Copy(copy) if copy.is_mounted) {
            parts.text("mounted", "");
        }
        if let Some(epoch) = self.job.epoch {
            parts.text("epoch", epoch.to_string());
        }
        parts.digest()
    }

    fn write(
        &self,
        placement: &Placement,
        source: &FileSource<'_>,
        archives: &OpenArchives,
    ) -> io::Result<Result<Layer, Problem>> {
        let store = &self.engine.store;
        let blob = match store.blobs().writer() {
            Ok(blob) => blob,
            Err(error) => return Ok(Err(error.problem())),
        };
        let options = self.engine.layer_options(self);
        let mut writer = LayerWriter::create(blob.file().try_clone()?, options)?;
        let mut earlier = self.earlier();
        if let Some(EarlierLayer { digest, blocks, .. }) = earlier
            .take_if(|_| options.compression == Compression::None && may_stay_unread(placement, source))
        {
            return match write_unread(placement, source, writer, blocks)? {
                LaterLayer::Whole(finished) => self.engine.commit_layer(blob, finished, self),
                LaterLayer::Composed(finished, pieces) => {
                    let parts: Vec<BlobPart> = pieces.into_iter().map(|piece| part(digest, piece)).collect();
                    let committed = blob.commit_composed(&finished.digest, finished.size, &parts);
                    Ok(self.engine.remember_layer(committed, finished, self))
                }
            };
        }
        let mut former = None;
        if let Some(EarlierLayer { blocks, files, .. }) = earlier {
            writer = writer.reusing(blocks);
            former = Some(files);
        }
        let later = write_in_order(placement, source, former, &mut writer)?;
        write_later(&later, source, archives, store, &mut writer)?;
        self.engine.commit_layer(blob, writer.finish()?, self)
    }
}

fn part(earlier: Digest, piece: Piece) -> BlobPart {
    match piece {
        Piece::Earlier(range) => BlobPart::Of(earlier, range),
        Piece::New(length) => BlobPart::Written(length),
    }
}

/// Whether all content is known by its digest and can be read in any order.
fn may_stay_unread(placement: &Placement, source: &FileSource<'_>) -> bool {
    let is_plain = |placed: &Placed| !matches!(placed.content, Content::Member { .. });
    matches!(source, FileSource::Context { .. }) && placement.entries.iter().all(is_plain)
}

/// As [`write_in_order`], without reading what the earlier layer has.
fn write_unread(
    placement: &Placement,
    source: &FileSource<'_>,
    writer: LayerWriter,
    earlier: Earlier,
) -> io::Result<LaterLayer> {
    let entries = &placement.entries;
    let mut read = |number: usize, append: &mut dyn FnMut(&mut dyn io::Read) -> io::Result<()>| match &entries
        [number]
        .content
    {
        Content::Source(node) => {
            let mut file = source.open(*node)?;
            append(&mut file)?;
            source.verify(*node, &file)
        }
        Content::Bytes(bytes) => append(&mut &bytes[..]),
        Content::None | Content::Member { .. } => append(&mut io::empty()),
    };
    let mut writer = LaterWriter::new(writer, earlier, &mut read);
    let is_link = |placed: &Placed| matches!(placed.entry.kind, EntryKind::HardLink { .. });
    for links in [false, true] {
        for (number, placed) in entries.iter().enumerate().filter(|(_, placed)| is_link(placed) == links) {
            let digest = match &placed.content {
                Content::Source(node) => source.digest(*node),
                Content::Bytes(bytes) => Some(Digest::of(bytes)),
                Content::None | Content::Member { .. } => None,
            };
            writer.append(&placed.entry, digest.map(|digest| (digest, number)))?;
        }
    }
    writer.finish()
}

/// Writes what can be written where it stands, and gives the rest. Files that are in `former` are not opened.
fn write_in_order<'p>(
    placement: &'p Placement,
    source: &FileSource<'_>,
    mut former: Option<FormerContents>,
    writer: &mut LayerWriter,
) -> io::Result<Later<'p>> {
    let mut later = Later::default();
    for placed in &placement.entries {
        match &placed.content {
            Content::Source(node) => match source {
                FileSource::Layers { tree, .. } => {
                    let origin = tree.origin(*node).expect("a file of a layer comes from a layer");
                    let layer = later.layers.entry(origin.layer).or_default();
                    layer.entry(origin.position).or_default().push(placed);
                }
                FileSource::Context { .. } | FileSource::Nothing => {
                    let digest = source.digest(*node).expect("what is selected of a context was hashed");
                    let (path, size) = (&placed.entry.path, placed.entry.size());
                    if let Some(mut content) =
                        former.as_mut().and_then(|former| former.find(path, &digest, size))
                    {
                        writer.append_with_digest(&placed.entry, &mut content, digest)?;
                        continue;
                    }
                    let mut file = source.open(*node)?;
                    writer.append_with_digest(&placed.entry, &mut file, digest)?;
                    source.verify(*node, &file)?;
                }
            },
            Content::Member { archive, position } => {
                later.archives.entry(*archive).or_default().entry(*position).or_default().push(placed);
            }
            Content::Bytes(bytes) => {
                writer.append_with_digest(&placed.entry, &mut &bytes[..], Digest::of(bytes))?;
            }
            Content::None if matches!(placed.entry.kind, EntryKind::HardLink { .. }) => {
                later.links.push(placed);
            }
            Content::None => writer.append(&placed.entry, &mut io::empty())?,
        }
    }
    Ok(later)
}

fn write_later(
    later: &Later<'_>,
    source: &FileSource<'_>,
    archives: &OpenArchives,
    store: &Store,
    writer: &mut LayerWriter,
) -> io::Result<()> {
    for (layer, wanted) in &later.layers {
        let positions: Vec<u32> = wanted.keys().copied().collect();
        source.visit_layer(*layer, &positions, |position, content| {
            append_all(store, writer, &wanted[&position], content, source.digest_at(*layer, position))
        })?;
    }
    for (archive, wanted) in &later.archives {
        let positions: Vec<u32> = wanted.keys().copied().collect();
        archives.visit(*archive, &positions, source, |position, content| {
            append_all(store, writer, &wanted[&position], content, None)
        })?;
    }
    later.links.iter().try_for_each(|link| writer.append(&link.entry, &mut io::empty()))
}

/// Writes one file under all the names it was copied to. All but the last name need the bytes twice.
fn append_all(
    store: &Store,
    writer: &mut LayerWriter,
    placed: &[&Placed],
    content: &mut dyn io::Read,
    digest: Option<Digest>,
) -> io::Result<()> {
    let mut append = |placed: &Placed, content: &mut dyn io::Read| match digest {
        Some(digest) => writer.append_with_digest(&placed.entry, content, digest),
        None => writer.append(&placed.entry, content),
    };
    let [only] = placed else {
        let mut spool = store.unnamed_file()?;
        io::copy(content, &mut spool)?;
        return placed.iter().try_for_each(|placed| {
            io::Seek::rewind(&mut spool)?;
            append(placed, &mut spool)
        });
    };
    append(only, content)
}
