//! The layers of one image as one tree, with the content of its files.
//!
//! Only names and metadata are kept; content is read from the layers when the tree is emitted.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufReader, Read};

use super::OutputError;
use crate::base::Digest;
use crate::layer::{Entry, EntryKind, EntrySink, LayerReader, Origin, Tree, TreeError};
use crate::oci::{Descriptor, Manifest};
use crate::publish::BlobSource;

pub(super) struct FlatTree {
    layers: Vec<Descriptor>,
    tree: Tree,
}

impl FlatTree {
    pub(super) fn of(blobs: &dyn BlobSource, manifest: Manifest) -> Result<Self, OutputError> {
        let mut tree = Tree::new();
        for (number, layer) in (0..).zip(&manifest.layers) {
            let digest = layer.digest;
            let mut reader = open_layer(blobs, layer)?;
            for position in 0.. {
                let entry = reader.next_entry().map_err(|source| OutputError::Layer { digest, source })?;
                let Some(entry) = entry else { break };
                let put = tree.put(&entry, Origin { layer: number, position });
                put.map_err(|source: TreeError| OutputError::Tree { digest, source })?;
            }
        }
        Ok(Self { layers: manifest.layers, tree })
    }

    /// Everything but the root, directories before what is in them.
    fn entries(&self) -> impl Iterator<Item = (&Entry, Option<Origin>)> {
        let nodes = self.tree.walk(self.tree.root()).skip(1);
        nodes.map(|node| (self.tree.entry(node), self.tree.origin(node)))
    }

    /// Every path, and whether it is a directory.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&[u8], bool)> {
        self.entries().map(|(entry, _)| (entry.path.as_slice(), entry.is_directory()))
    }

    /// Hands the tree to `out`, below the folder `prefix`: what has no content in the order of the tree, files
    /// in the order of their layers, which are read once each, then the other names of files.
    pub(super) fn emit(
        &self,
        blobs: &dyn BlobSource,
        prefix: &str,
        out: &mut Output<'_>,
    ) -> Result<(), OutputError> {
        let mut first_names: HashMap<Origin, &[u8]> = HashMap::new();
        let mut files: BTreeMap<Origin, &Entry> = BTreeMap::new();
        let mut links = Vec::new();
        for (entry, origin) in self.entries() {
            let Some(origin) = origin.filter(|_| !entry.is_directory()) else {
                out.append(prefixed(entry, prefix), &mut io::empty())?;
                continue;
            };
            if let Some(first) = first_names.get(&origin) {
                let kind = EntryKind::HardLink { target: join(prefix, first) };
                links.push(Entry { kind, ..entry.clone() });
                continue;
            }
            first_names.insert(origin, &entry.path);
            match entry.kind {
                EntryKind::File { .. } => drop(files.insert(origin, entry)),
                _ => out.append(prefixed(entry, prefix), &mut io::empty())?,
            }
        }
        for (layer, descriptor) in (0..).zip(&self.layers) {
            let start = Origin { layer, position: 0 };
            let end = Origin { layer: layer + 1, position: 0 };
            let files: Vec<_> = files.range(start..end).collect();
            emit_files(blobs, descriptor, &files, prefix, out)?;
        }
        links.iter().try_for_each(|link| out.append(prefixed(link, prefix), &mut io::empty()))
    }
}

/// Where a tree is emitted to, and what to call it in errors.
pub(super) struct Output<'a> {
    pub(super) sink: &'a mut dyn EntrySink,
    pub(super) failed: &'a dyn Fn(io::Error) -> OutputError,
}

impl Output<'_> {
    pub(super) fn append(&mut self, entry: Entry, content: &mut dyn Read) -> Result<(), OutputError> {
        self.sink.append(&entry, content).map_err(self.failed)
    }
}

/// Reads one layer for the content of `files`, which are in its order.
fn emit_files(
    blobs: &dyn BlobSource,
    descriptor: &Descriptor,
    files: &[(&Origin, &&Entry)],
    prefix: &str,
    out: &mut Output<'_>,
) -> Result<(), OutputError> {
    let digest = descriptor.digest;
    let mut files = files.iter().peekable();
    if files.peek().is_none() {
        return Ok(());
    }
    let mut reader = open_layer(blobs, descriptor)?;
    let mut position = 0;
    while let Some((origin, entry)) = files.peek() {
        let found = reader.next_entry().map_err(|source| OutputError::Layer { digest, source })?;
        if found.is_none() {
            return Err(OutputError::Damaged { digest });
        }
        if origin.position == position {
            let mut content = Watched { inner: &mut reader, failed: None };
            let appended = out.append(prefixed(entry, prefix), &mut content);
            if let Some(source) = content.failed {
                return Err(OutputError::Read { digest, source });
            }
            appended?;
            files.next();
        }
        position += 1;
    }
    Ok(())
}

/// Tells failures to read from failures to write.
struct Watched<'a> {
    inner: &'a mut dyn Read,
    failed: Option<io::Error>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            self.failed = Some(error);
            kind.into()
        })
    }
}

fn open_layer(
    blobs: &dyn BlobSource,
    descriptor: &Descriptor,
) -> Result<LayerReader<impl Read + use<>>, OutputError> {
    let digest: Digest = descriptor.digest;
    let file = blobs.open(&digest).map_err(|source| OutputError::Read { digest, source })?;
    LayerReader::new(BufReader::with_capacity(256 << 10, file), &descriptor.media_type)
        .map_err(|source| OutputError::Layer { digest, source })
}

fn prefixed(entry: &Entry, prefix: &str) -> Entry {
    Entry { path: join(prefix, &entry.path), ..entry.clone() }
}

fn join(prefix: &str, path: &[u8]) -> Vec<u8> {
    if prefix.is_empty() { path.to_vec() } else { [prefix.as_bytes(), b"/", path].concat() }
}

/// A path for people: what a terminal would act on is escaped.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().to_string()
}
