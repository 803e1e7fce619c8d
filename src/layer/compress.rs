//! How a layer's bytes are compressed: block by block, so that each block stands for itself.
//!
//! A block becomes one gzip member or one zstd frame; concatenated they are a valid stream. What a block is
//! made of is the writer's matter. The result depends on the block, the kind and the level alone.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use crate::oci::media_type;

/// The most uncompressed bytes a block has: what is compressed anew where one byte changes. Blocks of four times this
/// length are smaller by half a per cent.
pub(super) const BLOCK_BYTES: usize = 256 << 10;

/// Version of the bytes that layers have. Bumped by hand when the digests in the tests change, so that no
/// layer is made of blocks of two versions.
pub const FORMAT: u32 = 2;

/// About half the time of the next levels, for some five per cent more bytes.
pub const DEFAULT_GZIP_LEVEL: u32 = 1;
/// As fast as the fastest gzip, and smaller.
pub const DEFAULT_ZSTD_LEVEL: i32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    None,
    /// Levels 0 to 12, as libdeflate counts them.
    Gzip {
        level: u32,
    },
    /// Levels -7 to 22.
    Zstd {
        level: i32,
    },
}

impl Compression {
    pub const GZIP: Self = Self::Gzip { level: DEFAULT_GZIP_LEVEL };
    pub const ZSTD: Self = Self::Zstd { level: DEFAULT_ZSTD_LEVEL };

    pub fn media_type(self) -> &'static str {
        match self {
            Self::None => media_type::OCI_LAYER,
            Self::Gzip { .. } => media_type::OCI_LAYER_GZIP,
            Self::Zstd { .. } => media_type::OCI_LAYER_ZSTD,
        }
    }
}

/// As records name it: `none`, `gzip:1`, `zstd:3`.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Gzip { level } => write!(f, "gzip:{level}"),
            Self::Zstd { level } => write!(f, "zstd:{level}"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("there is no compression `{0}`")]
pub struct UnknownCompression(String);

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = match text.split_once(':') {
            None => (text == "none").then_some(Self::None),
            Some(("gzip", level)) => level.parse().ok().map(|level| Self::Gzip { level }),
            Some(("zstd", level)) => level.parse().ok().map(|level| Self::Zstd { level }),
            Some(_) => None,
        };
        known.ok_or_else(|| UnknownCompression(text.to_string()))
    }
}

/// Compresses one block after the other; each thread has its own.
pub(super) enum BlockCompressor {
    None,
    Gzip(libdeflater::Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl BlockCompressor {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        match compression {
            Compression::None => Ok(Self::None),
            Compression::Gzip { level } => {
                let known = i32::try_from(level).ok().and_then(|l| libdeflater::CompressionLvl::new(l).ok());
                let level = known.ok_or_else(|| no_such_level("gzip", level.into()))?;
                Ok(Self::Gzip(libdeflater::Compressor::new(level)))
            }
            Compression::Zstd { level } => {
                if !(-7..=22).contains(&level) {
                    return Err(no_such_level("zstd", level.into()));
                }
                Ok(Self::Zstd(zstd::bulk::Compressor::new(level)?))
            }
        }
    }

    pub(super) fn compress(&mut self, block: &Arc<Vec<u8>>) -> io::Result<Arc<Vec<u8>>> {
        match self {
            Self::None => Ok(Arc::clone(block)),
            Self::Gzip(compressor) => {
                let mut out = vec![0; compressor.gzip_compress_bound(block.len())];
                let size = compressor.gzip_compress(block, &mut out).map_err(io::Error::other)?;
                out.truncate(size);
                Ok(Arc::new(out))
            }
            Self::Zstd(compressor) => Ok(Arc::new(compressor.compress(block)?)),
        }
    }
}

fn no_such_level(kind: &str, level: i64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{kind} has no compression level {level}"))
}
