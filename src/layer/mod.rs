//! Layers: tar archives that say what changed in a file tree.
//!
//! A layer is a blob and, beside it, an [`Index`] of its entries. [`LayerWriter`] makes both in one pass from
//! entries, [`LayerReader`] reads what others made, [`ContentReader`] fetches single files. [`ArchiveReader`]
//! reads tars that are no layers.
//! Nothing here knows of images, Dockerfiles or engines.

#[cfg(target_os = "linux")]
mod apply;
mod archive;
mod blocks;
#[cfg(target_os = "linux")]
mod clamp;
mod compress;
mod content;
mod decompress;
#[cfg(target_os = "linux")]
mod diff;
mod entry;
mod error;
mod estargz;
mod extents;
mod former;
mod index;
mod index_codec;
mod later;
mod path;
mod pipeline;
mod read;
mod recompress;
mod reuse;
mod rewrite;
#[cfg(target_os = "linux")]
mod rooted;
mod tar_header;
mod tar_member;
mod tar_sparse;
mod tree;
mod write;

#[cfg(target_os = "linux")]
pub use apply::{Applier, ApplyOptions, ApplyReport, Form, Ids};
pub use archive::{ArchiveReader, MAX_UNPACKED_BYTES, is_archive};
#[cfg(target_os = "linux")]
pub use clamp::{Described, clamp_times};
pub use compress::{Compression, DEFAULT_GZIP_LEVEL, DEFAULT_ZSTD_LEVEL, FORMAT};
pub use content::ContentReader;
pub use decompress::decompressed;
#[cfg(target_os = "linux")]
pub use diff::{DiffReport, export_upper};
pub use entry::{Entry, EntryKind, EntrySink};
pub use error::LayerError;
pub use estargz::{EstargzLayer, TOC_DIGEST, UNCOMPRESSED_SIZE, write_estargz};
pub use extents::Extents;
pub use former::FormerContents;
pub use index::{Block, Index, IndexedEntry, MAX_METADATA_BYTES};
pub use later::{LaterLayer, LaterWriter, ReadContent};
pub use path::MAX_PATH_BYTES;
pub use read::{LayerReader, MAX_ENTRIES};
pub use recompress::recompress;
pub use reuse::{Earlier, Piece};
pub use rewrite::{amend, rewrite};
pub use tar_member::MAX_EXTENSION_BYTES;
pub use tar_sparse::MAX_SEGMENTS;
pub use tree::{NodeRef, Origin, Tree, TreeError, is_independent};
pub use write::{FinishedLayer, LayerOptions, LayerWriter};

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
