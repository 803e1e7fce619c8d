//! The uncompressed bytes of a blob, whatever compressed it.

use std::io::{self, BufReader, Chain, Cursor, Read, Take};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};

use super::error::LayerError;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BZIP2_MAGIC: [u8; 3] = *b"BZh";
const XZ_MAGIC: [u8; MAGIC_BYTES] = *b"\xfd7zXZ\0";
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Skippable frames, which zstd:chunked and others put around theirs: 0x184D2A50 to 0x184D2A5F.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// A frame may ask for no more window than this: 128 MiB, zstd's own limit for streams.
const ZSTD_WINDOW_LOG: u32 = 27;
/// What an xz stream may ask for: a little more than its strongest preset does.
const XZ_MEMORY: u64 = 128 << 20;
const BUFFER_BYTES: usize = 128 << 10;
/// The longest magic number.
const MAGIC_BYTES: usize = 6;

type Source<R> = BufReader<Chain<Take<Cursor<[u8; MAGIC_BYTES]>>, R>>;

/// The tar in the layer `blob`.
pub fn decompressed(blob: impl Read, media_type: &str) -> Result<impl Read, LayerError> {
    Decompressor::new(blob, media_type)
}

pub(super) enum Decompressor<R: Read> {
    None(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Zstd(Box<zstd::Decoder<'static, Source<R>>>),
    Bzip2(Box<MultiBzDecoder<Source<R>>>),
    Xz(Box<XzDecoder<Source<R>>>),
}

impl<R: Read> Decompressor<R> {
    pub(super) fn new(mut reader: R, media_type: &str) -> Result<Self, LayerError> {
        if media_type.ends_with("+encrypted") {
            return Err(LayerError::MediaType(media_type.to_string()));
        }
        let mut magic = [0; MAGIC_BYTES];
        let mut known = 0;
        while known < magic.len() {
            match reader.read(&mut magic[known..]) {
                Ok(0) => break,
                Ok(count) => known += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let source = Cursor::new(magic).take(known as u64).chain(reader);
        let source = BufReader::with_capacity(BUFFER_BYTES, source);
        if magic[..2] == GZIP_MAGIC {
            return Ok(Self::Gzip(Box::new(MultiGzDecoder::new(source))));
        }
        if magic[..3] == BZIP2_MAGIC {
            return Ok(Self::Bzip2(Box::new(MultiBzDecoder::new(source))));
        }
        if magic == XZ_MAGIC {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED).map_err(io::Error::from)?;
            return Ok(Self::Xz(Box::new(XzDecoder::new_stream(source, stream))));
        }
        if magic[..4] == ZSTD_MAGIC || (magic[1..4] == ZSTD_SKIPPABLE && magic[0] & 0xf0 == 0x50) {
            let mut decoder = zstd::Decoder::with_buffer(source)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            return Ok(Self::Zstd(Box::new(decoder)));
        }
        Ok(Self::None(source))
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None(reader) => reader.read(buffer),
            Self::Gzip(reader) => reader.read(buffer),
            Self::Zstd(reader) => reader.read(buffer),
            Self::Bzip2(reader) => reader.read(buffer),
            Self::Xz(reader) => reader.read(buffer),
        }
    }
}
