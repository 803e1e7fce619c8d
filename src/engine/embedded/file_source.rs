//! Where the bytes of placed files come from: a context, the layers of another file system, or nowhere.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::Arc;

use super::filesystem::FileSystem;
use crate::base::Digest;
use crate::context::Context;
use crate::engine::selection::position;
use crate::layer::{ContentReader, Index, LayerError, NodeRef, Tree};
use crate::store::Store;

pub(super) enum FileSource<'a> {
    Nothing,
    Context { context: &'a Context, tree: &'a Tree, digests: &'a HashMap<usize, Digest> },
    Layers { files: &'a FileSystem, indexes: &'a [Arc<Index>], tree: &'a Tree, store: &'a Store },
}

impl FileSource<'_> {
    /// The digest of a file's content, where it is known without reading the file.
    pub fn digest(&self, node: NodeRef) -> Option<Digest> {
        match self {
            Self::Nothing => None,
            Self::Context { tree, digests, .. } => digests.get(&position(tree, node)?).copied(),
            Self::Layers { tree, .. } => {
                let origin = tree.origin(node)?;
                self.digest_at(origin.layer, origin.position)
            }
        }
    }

    /// The same for what stands at a position of a layer.
    pub fn digest_at(&self, layer: u32, position: u32) -> Option<Digest> {
        match self {
            Self::Nothing | Self::Context { .. } => None,
            Self::Layers { indexes, .. } => indexes[layer as usize].entries[position as usize].content,
        }
    }

    /// A file's bytes to be read more than once. One of a layer is taken out of it first.
    pub fn open(&self, node: NodeRef) -> io::Result<File> {
        match self {
            Self::Nothing => Err(io::ErrorKind::NotFound.into()),
            Self::Context { context, tree, .. } => {
                let position = position(tree, node).ok_or(io::ErrorKind::NotFound)?;
                context.open(position).map_err(io::Error::other)
            }
            Self::Layers { tree, store, .. } => {
                let origin = tree.origin(node).ok_or(io::ErrorKind::NotFound)?;
                let mut spool = store.unnamed_file()?;
                self.visit_layer(origin.layer, &[origin.position], |_, content| {
                    io::copy(content, &mut spool).map(drop)
                })?;
                spool.rewind()?;
                Ok(spool)
            }
        }
    }

    /// To be asked after a file was read: an error if it is not what was selected any more.
    pub fn verify(&self, node: NodeRef, file: &File) -> io::Result<()> {
        match self {
            Self::Context { context, tree, .. } => {
                let position = position(tree, node).ok_or(io::ErrorKind::NotFound)?;
                context.verify(position, file).map_err(io::Error::other)
            }
            Self::Nothing | Self::Layers { .. } => Ok(()),
        }
    }

    /// The content of files of one layer, by their positions in it, ascending.
    pub fn visit_layer(
        &self,
        layer: u32,
        positions: &[u32],
        mut visit: impl FnMut(u32, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let Self::Layers { files, indexes, store, .. } = self else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let blob = &files.layers[layer as usize].blob;
        let file = store.blobs().open(&blob.digest)?;
        let reader = ContentReader::open(file, &blob.media_type, &indexes[layer as usize]);
        reader.visit::<LayerError>(positions, |position, _, content| Ok(visit(position, content)?))?;
        Ok(())
    }
}
